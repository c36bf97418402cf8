//! The page of bypass tokens: what it gives out, that a gateway takes it, who sees it, and
//! what it never shows.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use common::{Answer, Browser, CLERK, GATEWAY, RADIOGRAPHER, Site};
use gateway_min::{BypassPolicy, BypassSecret, Scratch, verify_bypass};

const ADMINISTRATOR: &str = "Winifred Okonjo";
const SECRET: &str = "a secret of thirty-two bytes, ok";

fn write_private(path: &Path, text: &str) {
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

async fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    // As an editor leaves it, with a line end.
    write_private(&folder.path().join(GATEWAY), &format!("{SECRET}\n"));
    write_private(&folder.path().join(".hidden"), "short");
    let path = folder.path().to_str().unwrap();
    Site::with_vars(&[("MANAGE_BYPASS_SECRETS", path)], |config| {
        config.demonstration = true;
    })
    .await
}

fn address() -> String {
    format!("/gateways/{GATEWAY}/bypass-tokens")
}

async fn issue(browser: &Browser, csrf: &str, fields: [&str; 3]) -> Answer {
    let [subject, purpose, days] = fields;
    let fields = [
        ("csrf", csrf),
        ("subject", subject),
        ("purpose", purpose),
        ("days", days),
    ];
    browser.post(&address(), &fields, &[]).await
}

#[rocket::async_test]
async fn a_token_is_shown_once_and_the_gateway_takes_it_until_it_ends() {
    let site = site().await;
    let browser = site.signed_in(ADMINISTRATOR).await;
    let list = browser.get("/gateways").await;
    assert!(list.body.contains(&format!(r#"href="{}""#, address())));
    let page = browser.get(&address()).await;
    assert!(page.body.contains("A token cannot be taken back"));
    assert!(page.body.contains("No token has been given out"));
    assert!(page.body.contains("until 13 July 2026, 09:30"), "7 days");

    let fields = ["draft-4711", "Dr Quill reads the <draft>", "7"];
    let made = issue(&browser, page.csrf(), fields).await;
    assert_eq!(made.status, 200);
    assert_eq!(made.header("cache-control"), "no-store");
    let token = common::between(
        &made.body,
        r#"id="token" rows="8" readonly spellcheck="false">"#,
        '<',
    );
    let token = token.unwrap();
    let link = format!("http://127.0.0.1:9090/?token={token}");
    assert!(made.body.contains(&link));
    assert!(
        made.body.contains("Dr Quill reads the &#60;draft&#62;"),
        "escaped"
    );

    let policy = BypassPolicy {
        leeway_secs: 0,
        allow_endless: false,
    };
    let secret = BypassSecret::new(SECRET.as_bytes()).unwrap();
    let judge = |now| {
        let mut scratch = Scratch::new();
        let verdict = verify_bypass(token.as_bytes(), &secret, &policy, now, &mut scratch);
        verdict.map(|bypass| bypass.subject().to_owned())
    };
    let week = 7 * 86_400;
    assert_eq!(judge(site.now()).unwrap(), "draft-4711");
    assert_eq!(judge(site.now().plus(week - 1)).unwrap(), "draft-4711");
    assert_eq!(judge(site.now().plus(week)).unwrap_err().code(), "expired");

    // Never again, and the secret never.
    let later = browser.get(&address()).await;
    assert!(later.body.contains("draft-4711") && later.body.contains(ADMINISTRATOR));
    assert!(later.body.contains(">Works<") && !later.body.contains(">Ended<"));
    for body in [&page.body, &made.body, &later.body, &list.body] {
        assert!(!body.contains(SECRET));
    }
    assert!(!later.body.contains(token));
    let columns = "SELECT id || subject || purpose FROM bypass_tokens";
    assert!(!site.text(columns).await.contains(token));
    site.pass(i64::from(week));
    browser.sign_in(ADMINISTRATOR).await;
    let ended = browser.get(&address()).await;
    assert!(ended.body.contains(">Ended<") && !ended.body.contains(">Works<"));
    for sql in [
        "DELETE FROM bypass_tokens",
        "UPDATE bypass_tokens SET expires_at = 0",
    ] {
        let error = sqlx::query(sql).execute(&site.pool).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[rocket::async_test]
async fn what_is_wrong_is_said_beside_its_field() {
    let site = site().await;
    let browser = site.signed_in(ADMINISTRATOR).await;
    let page = browser.get(&address()).await;
    let long = "x".repeat(201);
    for (name, fields, said) in [
        ("no subject", ["", "a", "1"], "Enter what the token is for"),
        (
            "spaces alone",
            ["  ", "a", "1"],
            "Enter what the token is for",
        ),
        (
            "two words",
            ["a b", "a", "1"],
            "Use letters, digits and signs, without spaces or accents",
        ),
        (
            "an accent",
            ["é", "a", "1"],
            "Use letters, digits and signs, without spaces or accents",
        ),
        (
            "a line break",
            ["a\nb", "a", "1"],
            "Use letters, digits and signs, without spaces or accents",
        ),
        (
            "a long subject",
            [&long, "a", "1"],
            "Use 128 characters or fewer",
        ),
        ("no purpose", ["a", "", "1"], "Enter who gets it and why"),
        (
            "a long purpose",
            ["a", &long, "1"],
            "Use 200 characters or fewer",
        ),
        ("two lines", ["a", "b\nc", "1"], "Use one line of text"),
        ("no days", ["a", "b", ""], "Choose how long it lasts"),
        ("for ever", ["a", "b", "36500"], "Choose how long it lasts"),
        (
            "a negative time",
            ["a", "b", "-1"],
            "Choose how long it lasts",
        ),
    ] {
        let answer = issue(&browser, page.csrf(), fields).await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.body.matches(said).count(), 2, "{name}");
        assert!(
            answer.body.contains("<title>Error: Bypass tokens"),
            "{name}"
        );
        assert!(!answer.body.contains(r#"id="token""#), "{name}");
    }
    assert_eq!(site.number("SELECT COUNT(*) FROM bypass_tokens").await, 0);
}

#[rocket::async_test]
async fn only_administrators_of_the_gateway_s_organisation_see_it() {
    let site = site().await;
    for name in [RADIOGRAPHER, CLERK] {
        let browser = site.signed_in(name).await;
        let home = browser.get("/clinics").await;
        assert!(!home.body.contains(r#"href="/gateways""#));
        assert_eq!(browser.get("/gateways").await.status, 403, "{name}");
        assert_eq!(browser.get(&address()).await.status, 403, "{name}");
        let answer = issue(&browser, home.csrf(), ["a", "b", "1"]).await;
        assert_eq!(answer.status, 403, "{name}");
    }
    let stranger = site.browser().await;
    assert_eq!(stranger.get(&address()).await.status, 303);

    let browser = site.signed_in(ADMINISTRATOR).await;
    let page = browser.get(&address()).await;
    let fields = [
        ("csrf", page.csrf()),
        ("subject", "a"),
        ("purpose", "b"),
        ("days", "1"),
    ];
    let evil = [("Origin", "https://evil.example")];
    assert_eq!(browser.post(&address(), &fields, &evil).await.status, 403);
    let answer = issue(&browser, "", ["a", "b", "1"]).await;
    assert_eq!(answer.status, 403, "no form of ours");
    assert_eq!(
        browser.get("/gateways/another/bypass-tokens").await.status,
        404
    );
    site.execute("INSERT INTO organisations (id, code, name) VALUES ('3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90', 'OTHER', 'Other')").await;
    site.execute("UPDATE users SET organisation_id = '3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90'")
        .await;
    assert_eq!(browser.get(&address()).await.status, 404);
    let answer = issue(&browser, page.csrf(), ["a", "b", "1"]).await;
    assert_eq!(answer.status, 404);
    assert!(!browser.get("/gateways").await.body.contains(GATEWAY));
    assert_eq!(site.number("SELECT COUNT(*) FROM bypass_tokens").await, 0);

    // Without a secret there is nothing to give out.
    let bare = Site::new().await;
    let browser = bare.signed_in(ADMINISTRATOR).await;
    assert_eq!(browser.get(&address()).await.status, 404);
    assert!(browser.get("/gateways").await.body.contains("Not set up"));
}
