//! The message behind a button: what it claims, that a gateway takes it, and that it is
//! one message whoever looks and however often it is signed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::HashSet;

use common::{CLERK, GATEWAY, ISSUER, POLICY, RADIOGRAPHER, START, Site};
use gateway_min::{
    Policy, Reject, Replay, Reservation, Scratch, Slot,
    claims::{ActionType, TYP_MESSAGE},
    limits, slots_for, verify,
};
use manage_rocket::MessageKey;
use serde_json::{Value, json};
use sqlx::Row as _;

fn decode(part: &str) -> Value {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    let bytes = Base64UrlUnpadded::decode_vec(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn claims(token: &str) -> Value {
    decode(token.split('.').nth(1).unwrap())
}

#[rocket::async_test]
async fn a_gateway_takes_the_message_of_a_rendered_button() {
    let site = Site::new().await;
    let page = site.signed_in(RADIOGRAPHER).await.clinic().await;
    let keys = site.gateway_keys();
    let buttons = page.buttons();
    assert_eq!(buttons.len(), 3, "everyone who has arrived has one");
    for button in &buttons {
        let mut scratch = Scratch::new();
        let message = verify(
            button.token.as_bytes(),
            &keys,
            &POLICY,
            site.now(),
            &mut scratch,
        );
        let message = message.unwrap();
        assert_eq!(message.jti(), button.jti);
        assert_eq!(message.issuer(), Some(ISSUER));
        assert_eq!(message.action(), Some(ActionType::WorklistCreateItem));
        assert_eq!(message.expires().since(site.now()), 43_200);
        let parameters: Value = serde_json::from_str(message.parameters().unwrap()).unwrap();
        let (first, last) = (&parameters["first_name"], &parameters["last_name"]);
        let name = format!("{} {}", first.as_str().unwrap(), last.as_str().unwrap());
        assert_eq!(name, button.name, "the message says what the row shows");
    }
}

#[rocket::async_test]
async fn another_gateway_or_time_refuses_it() {
    let site = Site::new().await;
    let button = &site.signed_in(RADIOGRAPHER).await.clinic().await.buttons()[0];
    let keys = site.gateway_keys();
    let end = site.now().plus(43_200);
    let elsewhere = Policy {
        audience: "other-gateway",
        ..POLICY
    };
    let stranger = Policy {
        issuer: Some("http://localhost:8081"),
        ..POLICY
    };
    let short = Policy {
        max_lifetime_secs: 43_199,
        ..POLICY
    };
    for (name, policy, now, expected) in [
        (
            "another gateway",
            &elsewhere,
            site.now(),
            Reject::WrongAudience,
        ),
        ("another issuer", &stranger, site.now(), Reject::WrongIssuer),
        (
            "a gateway with a shorter bound",
            &short,
            site.now(),
            Reject::LifetimeTooLong {
                secs: 43_200,
                max_secs: 43_199,
            },
        ),
        (
            "after its end",
            &POLICY,
            end.plus(30),
            Reject::Expired {
                exp: end,
                now: end.plus(30),
            },
        ),
    ] {
        let mut scratch = Scratch::new();
        let got = verify(button.token.as_bytes(), &keys, policy, now, &mut scratch);
        assert_eq!(got.unwrap_err(), expected, "{name}");
    }
}

#[rocket::async_test]
async fn the_claims_are_the_designed_ones() {
    let site = Site::new().await;
    let button = &site.signed_in(RADIOGRAPHER).await.clinic().await.buttons()[0];
    let row = sqlx::query(
        "SELECT a.id, a.clinic_id, a.participant_id, a.accession_number, a.study_instance_uid, \
         u.id AS user_id FROM appointments a JOIN participants p ON p.id = a.participant_id, \
         users u WHERE p.last_name = 'Amberley' AND u.uid = 'radiographer'",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    let stored = |column: &str| row.get::<String, _>(column);
    let accession = stored("accession_number");
    assert_eq!(
        claims(&button.token),
        json!({
            "iss": ISSUER,
            "aud": GATEWAY,
            "iat": START,
            "exp": START + 43_200,
            "jti": button.jti,
            "sub": stored("id"),
            "act": { "sub": stored("user_id") },
            "org": "DEMO",
            "schema_version": 1,
            "action_type": "worklist.create_item",
            "source_reference": {
                "appointment_id": stored("id"),
                "clinic_id": stored("clinic_id"),
                "participant_id": stored("participant_id"),
            },
            "parameters": {
                "id": stored("id"),
                "first_name": "Ngozi",
                "last_name": "Amberley",
                "worklist_item": {
                    "accession_number": accession,
                    "study_instance_uid": stored("study_instance_uid"),
                    "requested_procedure_id": accession,
                    "scheduled_procedure_step_id": format!("{accession}-1"),
                    "revision": 1,
                    "participant": {
                        "nhs_number": "9991590838",
                        "name": "AMBERLEY^NGOZI",
                        "birth_date": "19640930",
                        "sex": "F",
                    },
                    // Summer time, as on the clinic's wall.
                    "scheduled": {
                        "date": "20260706",
                        "time": "091200",
                        "offset": "+0100",
                        "location": "Ashdown Road Screening Unit",
                    },
                    "procedure": {
                        "modality": "MG",
                        "study_description": "Breast screening mammography",
                        "code": {
                            "value": "1224585002",
                            "scheme": "SCT",
                            "meaning": "Breast screening mammography",
                        },
                    },
                },
            },
        })
    );
    assert_eq!(
        decode(button.token.split('.').next().unwrap()),
        json!({ "alg": "EdDSA", "kid": site.key.kid(), "typ": TYP_MESSAGE })
    );
    assert!(button.token.len() <= limits::MAX_TOKEN);
    assert!(accession.len() <= 14);
}

#[rocket::async_test]
async fn one_message_whoever_looks_and_however_often_it_is_signed() {
    const TWO_THIRDS: i64 = 28_800;
    let site = Site::new().await;
    sqlx::query("UPDATE users SET may_send = 1")
        .execute(&site.pool)
        .await
        .unwrap();
    let first = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();

    let again = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();
    assert_eq!(again, first, "a reload");
    let tokens = |buttons: &[common::Button]| -> Vec<String> {
        buttons.iter().map(|button| button.token.clone()).collect()
    };
    let jtis = |buttons: &[common::Button]| -> Vec<String> {
        buttons.iter().map(|button| button.jti.clone()).collect()
    };
    let other = site.signed_in(CLERK).await.clinic().await.buttons();
    assert_eq!(tokens(&other), tokens(&first), "a second person");
    assert_ne!(other[0].report_token, first[0].report_token);

    site.pass(TWO_THIRDS - 1);
    let late = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();
    assert_eq!(
        tokens(&late),
        tokens(&first),
        "the last second of two thirds"
    );

    site.pass(1);
    let resigned = site.signed_in(CLERK).await.clinic().await.buttons();
    assert_eq!(
        jtis(&resigned),
        jtis(&first),
        "the last third: the same messages"
    );
    let distinct: HashSet<_> = tokens(&first)
        .into_iter()
        .chain(tokens(&resigned))
        .collect();
    assert_eq!(distinct.len(), 6, "the last third: signed again");
    let (old, new) = (claims(&first[0].token), claims(&resigned[0].token));
    assert_eq!(new["iat"], START + TWO_THIRDS);
    assert_eq!(new["exp"], START + TWO_THIRDS + 43_200);
    assert_ne!(new["act"], old["act"], "for whom it was signed this time");
    assert_eq!(new["parameters"], old["parameters"]);
    let reload = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();
    assert_eq!(
        tokens(&reload),
        tokens(&resigned),
        "the new signing lasts too"
    );

    // A gateway that had the first has the second already.
    let keys = site.gateway_keys();
    let mut replay = Replay::new(vec![Slot::EMPTY; slots_for(16)]);
    for (token, expected) in [(&first[0].token, "new"), (&resigned[0].token, "duplicate")] {
        let mut scratch = Scratch::new();
        let message = verify(token.as_bytes(), &keys, &POLICY, site.now(), &mut scratch).unwrap();
        let got = match replay
            .reserve(&message, site.now(), POLICY.leeway_secs)
            .unwrap()
        {
            Reservation::New(ticket) => {
                replay.commit(ticket);
                "new"
            }
            Reservation::Duplicate { .. } => "duplicate",
            Reservation::Busy => "busy",
        };
        assert_eq!(got, expected);
    }
}

#[rocket::async_test]
async fn what_changes_the_signature_signs_again_and_keeps_the_message() {
    let site = Site::new().await;
    let first = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();
    let mut rows = Vec::new();
    let mut config = site.config.clone();
    config.public_url = common::public_url("https://manage.example");
    rows.push(("another address", config));
    let mut config = site.config.clone();
    config.lifetime_secs = 3600;
    rows.push(("a shorter lifetime", config));
    let mut config = site.config.clone();
    config.key = MessageKey::generate().unwrap();
    rows.push(("another key", config));
    for (name, config) in rows {
        let browser = site.browser_of(config.clone()).await;
        browser.sign_in(RADIOGRAPHER).await;
        let buttons = browser.clinic().await.buttons();
        assert_eq!(buttons[0].jti, first[0].jti, "{name}");
        assert_ne!(buttons[0].token, first[0].token, "{name}");
        let claims = claims(&buttons[0].token);
        assert_eq!(claims["iss"], config.public_url.origin(), "{name}");
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!(life <= i64::from(config.lifetime_secs), "{name}");
    }
    // A clock that was set back: nobody would take what seems to come from the future.
    site.pass(-3600);
    let buttons = site.signed_in(RADIOGRAPHER).await.clinic().await.buttons();
    assert_eq!(claims(&buttons[0].token)["iat"], START - 3600);
    assert_eq!(buttons[0].jti, first[0].jti);
}

#[rocket::async_test]
async fn a_correction_is_a_new_message() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let first = browser.clinic().await.buttons();

    let bump = "UPDATE appointments SET revision = revision + 1 WHERE participant_id = \
                (SELECT id FROM participants WHERE last_name = 'Amberley')";
    assert_eq!(site.execute(bump).await, 1);
    let second = browser.clinic().await.buttons();
    assert_ne!(second[0].jti, first[0].jti, "another revision");
    assert_eq!(second[1], first[1], "the others stay as they are");
    let revision = |token: &str| claims(token)["parameters"]["worklist_item"]["revision"].clone();
    assert_eq!(
        (revision(&first[0].token), revision(&second[0].token)),
        (json!(1), json!(2))
    );

    // Corrected by somebody who did not say so: the button still says what the row shows.
    let rename = "UPDATE participants SET last_name = 'Amberleigh' WHERE last_name = 'Amberley'";
    assert_eq!(site.execute(rename).await, 1);
    let third = browser.clinic().await.buttons();
    assert_eq!(third[0].name, "Ngozi Amberleigh");
    assert_ne!(third[0].jti, second[0].jti);
    assert_eq!(revision(&third[0].token), json!(3));
    assert_eq!(
        claims(&third[0].token)["parameters"]["last_name"],
        "Amberleigh"
    );
    assert_eq!(
        browser.clinic().await.buttons(),
        third,
        "and no more than once"
    );
}

#[rocket::async_test]
async fn a_revision_that_is_taken_is_never_shown_with_other_details() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    browser.clinic().await;
    site.execute("UPDATE appointments SET revision = 2").await;
    browser.clinic().await;
    // Back to the first, with other details than either message has.
    site.execute("UPDATE appointments SET revision = 1").await;
    site.execute("UPDATE participants SET first_name = 'Ngọzi' WHERE last_name = 'Amberley'")
        .await;
    let page = browser.clinic().await;
    assert!(
        page.row("Amberley")
            .contains("the details are being changed, reload the page")
    );
    assert_eq!(page.buttons().len(), 2);
    // And a reload finds the next free one.
    let button = browser.clinic().await.buttons().remove(0);
    let parameters = &claims(&button.token)["parameters"];
    assert_eq!(parameters["first_name"], "Ngọzi");
    assert_eq!(parameters["worklist_item"]["revision"], 3);
}

#[rocket::async_test]
async fn many_first_looks_at_once_make_one_message() {
    let site = Site::new().await;
    let mut browsers = Vec::new();
    for _ in 0..6 {
        browsers.push(site.signed_in(RADIOGRAPHER).await);
    }
    let address = browsers[0].clinic_address("Morning clinic").await;
    for (name, secs) in [("first signing", 0), ("signing again", 28_800)] {
        site.pass(secs);
        if secs > 0 {
            for browser in &browsers {
                browser.sign_in(RADIOGRAPHER).await;
            }
        }
        let looks = browsers.iter().map(|browser| browser.get(&address));
        let pages = rocket::futures::future::join_all(looks).await;
        let seen: HashSet<_> = pages
            .iter()
            .map(|page| {
                page.buttons()
                    .into_iter()
                    .map(|b| b.token)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(seen.len(), 1, "{name}");
        assert_eq!(seen.iter().next().unwrap().len(), 3, "{name}");
    }
    assert_eq!(site.number("SELECT COUNT(*) FROM messages").await, 3);
    assert_eq!(site.number("SELECT COUNT(*) FROM signings").await, 6);
}

#[rocket::async_test]
async fn what_no_worklist_has_room_for_is_not_signed_and_said_so() {
    let site = Site::new().await;
    let long = "UPDATE participants SET first_name = \
                'Wolfeschlegelsteinhausenbergerdorffwelchevoralternwarengewissenhaft' \
                WHERE last_name = 'Amberley'";
    assert_eq!(site.execute(long).await, 1);
    let page = site.signed_in(RADIOGRAPHER).await.clinic().await;
    assert_eq!(page.buttons().len(), 2);
    let row = page.row("Amberley");
    assert!(row.contains("Cannot be sent."), "{row}");
    assert!(row.contains("name does not fit a worklist"), "{row}");
    assert_eq!(site.number("SELECT COUNT(*) FROM messages").await, 2);
}

#[rocket::async_test]
async fn what_was_written_stays_written() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = &browser.clinic().await.buttons()[0];
    let body = json!({ "jti": button.jti, "token": button.report_token, "outcome": "accepted" });
    let told = browser.post_json("/outcomes", &body.to_string(), &[]).await;
    assert_eq!(told.status, 200, "{}", told.body);
    for (name, sql) in [
        ("a message changed", "UPDATE messages SET parameters = '{}'"),
        ("a message removed", "DELETE FROM messages"),
        ("a signing changed", "UPDATE signings SET claims = '{}'"),
        ("a signing removed", "DELETE FROM signings"),
        (
            "an outcome changed",
            "UPDATE outcomes SET outcome = 'timeout'",
        ),
        ("an outcome removed", "DELETE FROM outcomes"),
        (
            "an accession number changed",
            "UPDATE accession_numbers SET number = 'X'",
        ),
        (
            "an accession number removed",
            "DELETE FROM accession_numbers",
        ),
    ] {
        let error = sqlx::query(sql).execute(&site.pool).await.unwrap_err();
        assert!(
            error.to_string().contains("is append-only"),
            "{name}: {error}"
        );
    }
    // A number that was given out is never another appointment's, even where its own is gone.
    let gone = "DELETE FROM appointments WHERE status = 'cancelled'";
    assert_eq!(site.execute(gone).await, 1);
    let reuse = "UPDATE appointments SET accession_number = (SELECT number FROM accession_numbers \
                 WHERE appointment_id NOT IN (SELECT id FROM appointments)) WHERE status = 'screened'";
    let error = sqlx::query(reuse).execute(&site.pool).await.unwrap_err();
    let error = error.into_database_error().unwrap();
    assert!(error.is_foreign_key_violation(), "{error}");
}
