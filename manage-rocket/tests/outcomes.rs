//! What came back for a message: told by the page with the message's own report token, kept
//! append-only, and shown in words after a reload.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Answer, Browser, Button, CLERK, RADIOGRAPHER, START, Site};
use serde_json::{Value, json};
use sqlx::Row as _;

async fn tell(browser: &Browser, button: &Button, outcome: &str, routed: Option<bool>) -> Answer {
    let body = json!({
        "jti": button.jti,
        "token": button.report_token,
        "outcome": outcome,
        "routed": routed,
    });
    browser.post_json("/outcomes", &body.to_string(), &[]).await
}

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[rocket::async_test]
async fn an_outcome_is_kept_with_who_when_which_and_source() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = &browser.clinic().await.buttons()[0];
    site.pass(120);
    let answer = tell(&browser, button, "accepted", Some(true)).await;
    assert_eq!(
        (answer.status, read(&answer)),
        (
            200,
            json!({
                "recorded": true,
                "note": "Recorded at 09:32 by Rosalind Achebe",
                "sent": true,
                "no_further": false,
                "signed_in_secs": 900,
            })
        )
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let row = sqlx::query("SELECT o.*, u.uid FROM outcomes o JOIN users u ON u.id = o.reported_by")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>("jti"), button.jti);
    assert_eq!(row.get::<i64, _>("serial"), 1);
    assert_eq!(row.get::<i64, _>("reported_at"), START + 120);
    assert_eq!(row.get::<String, _>("uid"), "radiographer");
    assert_eq!(row.get::<String, _>("outcome"), "accepted");
    assert_eq!(row.get::<Option<i64>, _>("routed"), Some(1));
    assert_eq!(row.get::<String, _>("source"), "browser");
    assert_eq!(row.get::<Option<String>, _>("receipt"), None);
}

#[rocket::async_test]
async fn a_reload_shows_the_last_outcome_in_words() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = browser.clinic().await.buttons().remove(0);
    let empty = r#"role="status"></div>"#;
    assert!(
        browser.clinic().await.row("Amberley").contains(empty),
        "there from the start"
    );
    for (outcome, routed, tag, words) in [
        (
            "unreachable",
            None,
            "Checked in",
            &["Not sent", "could not reach the gateway"][..],
        ),
        (
            "refused:expired",
            None,
            "Checked in",
            &["Not sent", "open too long", ">expired<"],
        ),
        (
            "unavailable:clock_not_set",
            None,
            "Checked in",
            &["Not sent yet", ">clock_not_set<"],
        ),
        (
            "refused:code_of_next_year",
            None,
            "Checked in",
            &["did not accept it", ">code_of_next_year<"],
        ),
        (
            "accepted",
            Some(false),
            "Checked in",
            &["Sent, but no further", "nowhere to pass it on"],
        ),
        (
            "duplicate",
            None,
            "Checked in",
            &["Already sent, but no further", "by hand"],
        ),
        ("accepted", Some(true), "Sent", &["The gateway has it."]),
        (
            "timeout",
            None,
            "Sent",
            &[
                "Not confirmed",
                "sending twice does no harm",
                "It had been sent before. Recorded",
            ],
        ),
        (
            "reload",
            None,
            "Sent",
            &["updated or removed", "Reload this page"],
        ),
    ] {
        let answer = tell(&browser, &button, outcome, routed).await;
        assert_eq!(answer.status, 200, "{outcome}");
        assert_eq!(read(&answer)["sent"], tag == "Sent", "{outcome}");
        let no_further = words[0].ends_with("no further");
        assert_eq!(read(&answer)["no_further"], no_further, "{outcome}");
        let page = browser.clinic().await;
        let row = page.row("Amberley");
        for text in words
            .iter()
            .chain(&["Recorded at 09:30 by Rosalind Achebe", tag])
        {
            assert!(row.contains(text), "{outcome}: no {text:?} in {row}");
        }
        assert!(!page.row("Prys-Holloway").contains("Recorded"), "{outcome}");
    }
    assert_eq!(
        site.number("SELECT COUNT(*) FROM outcomes").await,
        9,
        "each is kept"
    );
    let first = "SELECT outcome FROM outcomes ORDER BY serial LIMIT 1";
    assert_eq!(site.text(first).await, "unreachable");
    // The next day it says which day it was.
    site.pass(86_400);
    browser.sign_in(RADIOGRAPHER).await;
    let address = site.signed_in(CLERK).await.clinic_address("Morning").await;
    let page = browser.get(&address).await;
    assert!(
        page.row("Amberley")
            .contains("Recorded at 09:30 on 6 July 2026 by")
    );
}

#[rocket::async_test]
async fn what_was_sent_before_a_correction_is_said_to_be_so() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = browser.clinic().await.buttons().remove(0);
    tell(&browser, &button, "accepted", Some(true)).await;
    site.execute("UPDATE participants SET birth_date = '1964-10-01' WHERE last_name = 'Amberley'")
        .await;
    let page = browser.clinic().await;
    assert!(page.row("Amberley").contains("Changed since sent"));
    let button = page.buttons().remove(0);
    tell(&browser, &button, "accepted", Some(true)).await;
    let page = browser.clinic().await;
    assert!(page.row("Amberley").contains(">Sent</strong>"));
    // Who may not send sees the same.
    assert!(
        site.signed_in(CLERK)
            .await
            .clinic()
            .await
            .row("Amberley")
            .contains(">Sent</strong>")
    );
}

#[rocket::async_test]
async fn each_bad_report_is_refused_by_reason_and_not_kept() {
    const SAME: &[(&str, &str)] = &[
        ("Sec-Fetch-Site", "same-origin"),
        ("Origin", "http://localhost:8080"),
    ];
    const CROSS: &[(&str, &str)] = &[("Sec-Fetch-Site", "cross-site")];
    const EVIL: &[(&str, &str)] = &[("Origin", "https://evil.example")];
    const NULL: &[(&str, &str)] = &[("Origin", "null")];

    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let buttons = browser.clinic().await.buttons();
    let (jti, token) = (&buttons[0].jti, &buttons[0].report_token);
    let clerk = site.text("SELECT id FROM users WHERE uid = 'clerk'").await;
    let (person, rest) = token.split_once('.').unwrap();
    let other_person = format!("{clerk}.{rest}");
    let later = token.replace(&(START + 43_260).to_string(), &(START + 90_000).to_string());
    assert!(token.starts_with(person) && later != *token);
    let body = |jti: &str, token: &str, outcome: &str| {
        json!({ "jti": jti, "token": token, "outcome": outcome }).to_string()
    };
    let good = body(jti, token, "accepted");
    let strange = good.replacen('{', r#"{"reported_by":"x","#, 1);
    let long = body(jti, token, &"a".repeat(2048));
    for (name, body, headers, status, error) in [
        (
            "a forged tag",
            &body(jti, &format!("{token}x"), "accepted"),
            SAME,
            403,
            "report_token",
        ),
        (
            "no token",
            &body(jti, "", "accepted"),
            SAME,
            403,
            "report_token",
        ),
        (
            "another message",
            &body(&buttons[1].jti, token, "accepted"),
            SAME,
            403,
            "report_token",
        ),
        (
            "another person",
            &body(jti, &other_person, "accepted"),
            SAME,
            403,
            "report_token",
        ),
        (
            "a later end",
            &body(jti, &later, "accepted"),
            SAME,
            403,
            "report_token",
        ),
        (
            "not a message's id",
            &body("1", token, "accepted"),
            SAME,
            400,
            "jti",
        ),
        (
            "an unknown outcome",
            &body(jti, token, "delivered"),
            SAME,
            422,
            "outcome",
        ),
        (
            "markup for an outcome",
            &body(jti, token, "refused:<b>"),
            SAME,
            422,
            "outcome",
        ),
        ("an unknown member", &strange, SAME, 400, "body"),
        ("not JSON", &"accepted".to_owned(), SAME, 400, "body"),
        ("nothing", &String::new(), SAME, 400, "body"),
        ("too long", &long, SAME, 413, "body"),
        ("another site, by fetch metadata", &good, CROSS, 403, ""),
        ("another site", &good, EVIL, 403, ""),
        ("a page without an origin", &good, NULL, 403, ""),
    ] {
        let answer = browser.post_json("/outcomes", body, headers).await;
        assert_eq!(answer.status, status, "{name}");
        if !error.is_empty() {
            assert_eq!(
                read(&answer),
                json!({ "recorded": false, "error": error }),
                "{name}"
            );
        }
    }
    let form = browser.post("/outcomes", &[("jti", jti)], SAME).await;
    assert_eq!(
        (form.status, read(&form)["error"].as_str()),
        (415, Some("content_type"))
    );
    assert_eq!(site.number("SELECT COUNT(*) FROM outcomes").await, 0);
    assert_eq!(
        browser.post_json("/outcomes", &good, SAME).await.status,
        200
    );
}

#[rocket::async_test]
async fn a_report_needs_no_session_and_lasts_as_long_as_its_message() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let page = browser.clinic().await;
    let button = &page.buttons()[0];
    site.pass(3600);
    assert_eq!(browser.get("/clinics").await.status, 303, "idled out");
    let answer = tell(&browser, button, "accepted", Some(true)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        read(&answer)["signed_in_secs"],
        0,
        "and the page can say so"
    );
    // Nor does it sign anybody in, or open anything else.
    assert_eq!(browser.get("/clinics").await.status, 303);
    let elsewhere = site.browser().await;
    assert_eq!(
        tell(&elsewhere, button, "duplicate", None).await.status,
        200
    );
    let by = "SELECT COUNT(*) FROM outcomes o JOIN users u ON u.id = o.reported_by WHERE u.uid = 'radiographer'";
    assert_eq!(site.number(by).await, 2);

    site.pass(43_200 - 3600 + 59);
    assert_eq!(
        tell(&elsewhere, button, "refused:expired", None)
            .await
            .status,
        200
    );
    site.pass(1);
    let answer = tell(&elsewhere, button, "accepted", None).await;
    assert_eq!(
        (answer.status, read(&answer)["error"].as_str()),
        (403, Some("report_token"))
    );
    assert_eq!(site.number("SELECT COUNT(*) FROM outcomes").await, 3);
}

#[rocket::async_test]
async fn a_click_is_activity() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = &browser.clinic().await.buttons()[0];
    for _ in 0..3 {
        site.pass(600);
        assert_eq!(tell(&browser, button, "duplicate", None).await.status, 200);
    }
    assert_eq!(
        browser.get("/clinics").await.status,
        200,
        "after half an hour of clicks"
    );
}

#[rocket::async_test]
async fn many_reports_at_once_are_all_kept_in_an_order() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let button = &browser.clinic().await.buttons()[0];
    let reports = (0..8).map(|_| tell(&browser, button, "duplicate", None));
    for answer in rocket::futures::future::join_all(reports).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(site.number("SELECT MAX(serial) FROM outcomes").await, 8);
    // A script with a report token cannot fill the disk.
    for _ in 8..200 {
        assert_eq!(tell(&browser, button, "duplicate", None).await.status, 200);
    }
    let answer = tell(&browser, button, "duplicate", None).await;
    assert_eq!(
        (answer.status, read(&answer)["error"].as_str()),
        (429, Some("too_many"))
    );
    assert_eq!(site.number("SELECT COUNT(*) FROM outcomes").await, 200);
}
