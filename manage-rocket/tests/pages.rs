//! The pages themselves: headers, escaping, what is shown when something is missing, the
//! key set, and health.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Browser, RADIOGRAPHER, Site, public_url};
use gateway_min::KeySet;
use serde_json::Value;

const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                   connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

async fn every_address(browser: &Browser) -> Vec<(String, u16)> {
    let clinic = browser.clinic_address("Morning clinic").await;
    let missing = "/clinics/0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11";
    let addresses = [
        ("/", 303),
        ("/clinics", 200),
        (&clinic, 200),
        (missing, 404),
        ("/clinics/1", 404),
        ("/nowhere", 404),
        ("/sign-in", 200),
        ("/session", 200),
        ("/healthcheck/live", 200),
        ("/healthcheck/ready", 200),
    ];
    addresses
        .map(|(address, status)| (address.to_owned(), status))
        .to_vec()
}

#[rocket::async_test]
async fn every_answer_has_the_headers() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let mut addresses = every_address(&browser).await;
    let page = browser.get("/clinics").await;
    for asset in page
        .body
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
    {
        addresses.push((asset.to_owned(), 200));
    }
    addresses.push(("/.well-known/jwks.json".to_owned(), 200));
    assert_eq!(
        addresses.len(),
        15,
        "style, icon, script and words among them"
    );
    for (address, status) in &addresses {
        let answer = browser.get(address).await;
        assert_eq!(answer.status, *status, "{address}");
        let kept = match address.as_str() {
            "/.well-known/jwks.json" => "public, max-age=300",
            asset if asset.starts_with("/assets/") => "public, max-age=31536000, immutable",
            _ => "no-store",
        };
        for (name, expected) in [
            ("content-security-policy", CSP),
            ("cache-control", kept),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", ""),
            ("server", ""),
        ] {
            assert_eq!(answer.header(name), expected, "{name} of {address}");
        }
        // Nothing inline: the policy would not run it.
        for inline in [" style=\"", " onclick", "<style", "javascript:"] {
            assert!(!answer.body.contains(inline), "{inline} in {address}");
        }
        assert!(!answer.body.contains("<script>"), "{address}");
    }
    let mut config = site.config.clone();
    config.public_url = public_url("http://manage-breast-screening:8080");
    let answer = site.browser_of(config).await.get("/sign-in").await;
    assert_eq!(
        answer.header("cross-origin-opener-policy"),
        "",
        "browsers ignore it there"
    );
    let mut config = site.config.clone();
    config.public_url = public_url("https://manage.example");
    let answer = site.browser_of(config).await.get("/sign-in").await;
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000"
    );
}

#[rocket::async_test]
async fn the_clinic_page_has_the_forebears_table() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let page = browser.clinic().await;
    for column in ["Time", "Name", "NHS number", "Status", "Action"] {
        assert!(
            page.body.contains(&format!(r#"scope="col">{column}</th>"#)),
            "{column}"
        );
    }
    for (name, time, number, tag, button) in [
        (
            "Beatrix Larkfield",
            "09:00",
            "999 526 0182",
            "Screened",
            None,
        ),
        (
            "Ngozi Amberley",
            "09:12",
            "999 159 0838",
            "Checked in",
            Some("Send for scan"),
        ),
        (
            "Yukiko Tanemura",
            "09:48",
            "999 390 9963",
            "Not arrived",
            Some("Check in"),
        ),
        (
            "Dorothy Winterbourne",
            "10:12",
            "999 628 1949",
            "Did not attend",
            None,
        ),
        ("Zofia Żurawska", "10:24", "999 821 9930", "Cancelled", None),
    ] {
        let row = page.row(name);
        for text in [time, number, &format!(">{tag}</strong>")] {
            assert!(row.contains(text), "{name}: no {text}");
        }
        // A button names its person to those who hear it.
        let named = button.map(|button| {
            format!(r#"{button}<span class="nhsuk-u-visually-hidden"> {name}</span></button>"#)
        });
        match named {
            Some(named) => assert!(row.contains(&named), "{name}"),
            None => assert!(!row.contains("<button"), "{name}"),
        }
        assert!(row.contains(r#"role="status""#), "{name}");
    }
    // What is missing is said in the page; the extension hides its own note.
    assert!(
        page.body
            .contains(r#"class="nhsuk-warning-callout app-needs-extension""#)
    );
    assert!(page.body.contains("<noscript>"));
    // Whoever arrives gets a button.
    let form = page.row("Yukiko Tanemura");
    let address = common::between(form, r#"action=""#, '"').unwrap();
    browser.post(address, &[("csrf", page.csrf())], &[]).await;
    assert!(
        browser
            .clinic()
            .await
            .row("Yukiko Tanemura")
            .contains("data-gateway-message")
    );
}

#[rocket::async_test]
async fn a_hostile_name_is_only_a_name() {
    let site = Site::new().await;
    site.execute(
        r#"UPDATE participants SET first_name = '"><script>alert(1)</script>', last_name = '''&amp;<img src=x onerror=alert(2)>' WHERE last_name = 'Amberley'"#,
    )
    .await;
    site.execute("UPDATE users SET name = '<b>Rosalind</b>' WHERE uid = 'radiographer'")
        .await;
    site.execute("UPDATE clinics SET name = 'Morning clinic <i>'")
        .await;
    let browser = site.signed_in("Rosalind").await;
    let page = browser.clinic().await;
    for hostile in ["<script>alert", "<img", "<b>", "<i>"] {
        assert!(!page.body.contains(hostile), "{hostile}");
    }
    assert!(
        page.body
            .contains("&#60;script&#62;alert(1)&#60;/script&#62;")
    );
    assert!(page.body.contains("&#38;amp;"));
    // And the message carries the name as it is: the row and the token agree.
    let button = &page.buttons()[0];
    assert!(button.name.contains("&#60;img src=x onerror=alert(2)&#62;"));
    let keys = site.gateway_keys();
    let mut scratch = gateway_min::Scratch::new();
    let token = button.token.as_bytes();
    let message = gateway_min::verify(token, &keys, &common::POLICY, site.now(), &mut scratch);
    let parameters: Value = serde_json::from_str(message.unwrap().parameters().unwrap()).unwrap();
    assert_eq!(parameters["first_name"], r#""><script>alert(1)</script>"#);
    assert_eq!(
        parameters["last_name"],
        "'&amp;<img src=x onerror=alert(2)>"
    );
}

#[rocket::async_test]
async fn where_sending_is_switched_off_no_message_is_made() {
    let site = Site::new().await;
    site.execute("UPDATE gateways SET state = 'off'").await;
    let page = site.signed_in(RADIOGRAPHER).await.clinic().await;
    assert!(page.body.contains("Sending is switched off for this site"));
    assert!(page.buttons().is_empty());
    assert_eq!(site.number("SELECT COUNT(*) FROM messages").await, 0);
}

#[rocket::async_test]
async fn clinics_are_grouped_by_their_own_day() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let order = |body: &str| -> Vec<&'static str> {
        let mut found: Vec<_> = [
            "Today<",
            "Upcoming<",
            "Past<",
            "Morning clinic",
            "Afternoon clinic",
        ]
        .into_iter()
        .filter_map(|text| Some((body.find(text)?, text)))
        .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, text)| text).collect()
    };
    let page = browser.get("/clinics").await;
    let expected = ["Today<", "Morning clinic", "Upcoming<", "Afternoon clinic"];
    assert_eq!(order(&page.body), expected);
    assert!(page.body.contains("Monday 6 July 2026, 09:00"));
    assert!(
        page.body.contains("7 appointments, 1 cancelled"),
        "the cancelled one is not counted"
    );
    // 23:30 in London is half past ten at night by UTC: still the same day, both ways.
    site.pass(14 * 3600);
    browser.sign_in(RADIOGRAPHER).await;
    assert_eq!(order(&browser.get("/clinics").await.body), expected);
    // 00:30 in London: the next day, though not yet by UTC.
    site.pass(3600);
    browser.sign_in(RADIOGRAPHER).await;
    let page = browser.get("/clinics").await;
    let expected = [
        "Today<",
        "Afternoon clinic",
        "Upcoming<",
        "Past<",
        "Morning clinic",
    ];
    assert_eq!(order(&page.body), expected);
}

#[rocket::async_test]
async fn demonstration_data_is_only_put_into_an_empty_database() {
    let site = Site::new().await;
    site.execute("UPDATE clinics SET name = 'Renamed'").await;
    drop(site.browser().await);
    assert_eq!(site.number("SELECT COUNT(*) FROM clinics").await, 2);
    assert_eq!(
        site.number("SELECT COUNT(*) FROM clinics WHERE name = 'Renamed'")
            .await,
        2
    );
    assert_eq!(site.number("SELECT COUNT(*) FROM participants").await, 12);
    let distinct = "SELECT COUNT(DISTINCT accession_number) FROM appointments";
    assert_eq!(site.number(distinct).await, 12);

    let empty = Site::with(|_| {}).await;
    assert_eq!(empty.number("SELECT COUNT(*) FROM organisations").await, 0);
    let page = empty.browser().await.get("/sign-in").await;
    assert!(page.body.contains("There is nobody to sign in as."));
}

#[rocket::async_test]
async fn a_gateway_reads_the_published_key_set() {
    let site = Site::new().await;
    let answer = site.browser().await.get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let mut keys = KeySet::<4>::new();
    keys.add(answer.body.as_bytes()).unwrap();
    assert!(keys.kids().eq([site.key.kid()]));
    assert!(!answer.body.contains(r#""d""#), "no private half");
}

#[rocket::async_test]
async fn the_script_finds_words_for_every_code() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let page = browser.clinic().await;
    let address = common::between(&page.body, r#"data-words=""#, '"').unwrap();
    let answer = browser.get(address).await;
    let words: Value = serde_json::from_str(&answer.body).unwrap();
    for code in gateway_min::Reject::CODES.iter().chain(&["bad_answer"]) {
        assert!(words["codes"][code]["what"].is_string(), "{code}");
    }
    // An address of another version is answered, but not kept.
    let other = browser.get("/assets/0000000000000000/manage.js").await;
    assert_eq!(
        (other.status, other.header("cache-control")),
        (200, "no-store")
    );
    assert_eq!(
        browser
            .get("/assets/0000000000000000/other.js")
            .await
            .status,
        404
    );
}

#[rocket::async_test]
async fn ready_means_that_the_database_answers() {
    let site = Site::new().await;
    let browser = site.browser().await;
    assert_eq!(browser.get("/healthcheck/ready").await.status, 200);
    site.execute("ALTER TABLE organisations RENAME TO gone")
        .await;
    let answer = browser.get("/healthcheck/ready").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, "the database does not answer\n")
    );
    assert_eq!(browser.get("/healthcheck/live").await.status, 200);
    // A page says so without saying what.
    let answer = browser.get("/sign-in").await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("Sorry, something went wrong"));
    assert!(!answer.body.contains("organisations"));
}
