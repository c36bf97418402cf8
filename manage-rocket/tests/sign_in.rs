//! Signing in and out, who may see and do what, and that no other site can make a browser
//! do it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Answer, Browser, CLERK, RADIOGRAPHER, Site, person_on, public_url};

fn session_cookie(answer: &Answer) -> String {
    let cookies = answer.headers("set-cookie");
    let set = cookies
        .iter()
        .find(|cookie| cookie.contains("manage_session="));
    (*set.expect("a session's cookie")).to_owned()
}

/// Signs in by hand, with these headers besides.
async fn try_to_sign_in(
    browser: &Browser,
    csrf: &str,
    person: &str,
    headers: &[(&'static str, &'static str)],
) -> Answer {
    let fields = [("csrf", csrf), ("person", person), ("next", "")];
    browser.post("/sign-in", &fields, headers).await
}

#[rocket::async_test]
async fn every_page_leads_to_sign_in_and_back() {
    let site = Site::new().await;
    let clinic = site
        .signed_in(RADIOGRAPHER)
        .await
        .clinic_address("Morning")
        .await;
    let browser = site.browser().await;
    assert_eq!(browser.get("/").await.location, "/clinics");
    for (address, expected) in [
        ("/clinics", "/sign-in?next=%2Fclinics"),
        (
            clinic.as_str(),
            &format!("/sign-in?next={}", clinic.replace('/', "%2F")),
        ),
    ] {
        let answer = browser.get(address).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (303, expected),
            "{address}"
        );
        assert!(!answer.body.contains("Amberley"));
    }

    let page = browser.get(&browser.get(&clinic).await.location).await;
    assert!(
        page.body
            .contains(&format!(r#"name="next" value="{clinic}""#))
    );
    let person = person_on(&page, RADIOGRAPHER);
    let fields = [
        ("csrf", page.csrf()),
        ("person", &person),
        ("next", &clinic),
    ];
    let answer = browser.post("/sign-in", &fields, &[]).await;
    assert_eq!(
        (answer.status, answer.location.as_str()),
        (303, clinic.as_str())
    );
    assert_eq!(browser.get(&clinic).await.status, 200);
}

#[rocket::async_test]
async fn nobody_is_led_to_another_site() {
    let site = Site::new().await;
    for next in [
        "//evil.example/",
        "/\\evil.example",
        "https://evil.example/",
        "",
    ] {
        let browser = site.browser().await;
        let page = browser.get("/sign-in").await;
        let person = person_on(&page, RADIOGRAPHER);
        let fields = [("csrf", page.csrf()), ("person", &person), ("next", next)];
        let answer = browser.post("/sign-in", &fields, &[]).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (303, "/clinics"),
            "{next}"
        );
    }
}

#[rocket::async_test]
async fn the_cookie_is_as_safe_as_the_address_allows() {
    let site = Site::new().await;
    let plain = session_cookie(&site.browser().await.sign_in(RADIOGRAPHER).await);
    assert!(plain.starts_with("manage_session="), "{plain}");
    let mut config = site.config.clone();
    config.public_url = public_url("https://manage.example");
    let secure = session_cookie(&site.browser_of(config).await.sign_in(RADIOGRAPHER).await);
    assert!(secure.starts_with("__Host-manage_session="), "{secure}");
    assert!(secure.contains("; Secure"), "{secure}");
    for cookie in [plain, secure] {
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        let value = common::between(&cookie, "manage_session=", ';').unwrap();
        assert_eq!(value.len(), 43, "256 random bits");
        // The database does not have what the browser has.
        let stored = site.number("SELECT COUNT(*) FROM sessions").await;
        assert_eq!(stored, 2);
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sessions WHERE id_hash = $1")
            .bind(value)
            .fetch_one(&site.pool)
            .await
            .unwrap();
        assert_eq!(found, 0);
    }
}

#[rocket::async_test]
async fn signing_in_makes_a_new_session_and_ends_the_old_one() {
    let site = Site::new().await;
    let browser = site.browser().await;
    let first = session_cookie(&browser.sign_in(RADIOGRAPHER).await);
    let second = session_cookie(&browser.sign_in(CLERK).await);
    assert_ne!(first, second);
    assert_eq!(site.number("SELECT COUNT(*) FROM sessions").await, 1);
    assert!(browser.get("/clinics").await.body.contains(CLERK));

    // An id that somebody planted is worth nothing.
    let victim = site.browser().await;
    let planted = rocket::http::Cookie::new("manage_session", "planted");
    victim.client.cookies().add(planted);
    let signed_in = session_cookie(&victim.sign_in(RADIOGRAPHER).await);
    assert!(!signed_in.contains("planted"));
}

#[rocket::async_test]
async fn a_database_that_cannot_be_written_can_still_be_read() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    // Read as before, and never updated, on either database.
    site.execute("ALTER TABLE sessions RENAME TO kept").await;
    site.execute("CREATE VIEW sessions AS SELECT DISTINCT * FROM kept")
        .await;
    site.pass(899);
    assert_eq!(browser.get("/clinics").await.status, 200);
    site.pass(1);
    let answer = browser.get("/clinics").await;
    assert_eq!(answer.location, "/sign-in?next=%2Fclinics&why=ended");
}

#[rocket::async_test]
async fn a_session_idles_out_and_ends() {
    let site = Site::new().await;
    let secs_left = async |browser: &Browser| -> i64 {
        let state = browser.get("/session").await.body;
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["signed_in_secs"].as_i64().unwrap()
    };
    let browser = site.signed_in(RADIOGRAPHER).await;
    assert_eq!(secs_left(&browser).await, 900);
    site.pass(899);
    assert_eq!(secs_left(&browser).await, 1, "asking is no activity");
    assert_eq!(browser.get("/clinics").await.status, 200, "the last second");
    assert_eq!(secs_left(&browser).await, 900, "a page is");
    site.pass(900);
    assert_eq!(secs_left(&browser).await, 0);
    let answer = browser.get("/clinics").await;
    assert_eq!(answer.location, "/sign-in?next=%2Fclinics&why=ended");
    let page = browser.get(&answer.location).await;
    assert!(
        page.body
            .contains("You have been signed out because nothing happened for 15 minutes")
    );

    browser.sign_in(RADIOGRAPHER).await;
    for _ in 0..(12 * 60 * 60 / 600 - 1) {
        site.pass(600);
        assert_eq!(browser.get("/clinics").await.status, 200);
    }
    assert_eq!(
        secs_left(&browser).await,
        600,
        "the end of twelve hours comes first"
    );
    site.pass(600);
    assert_eq!(
        browser.get("/clinics").await.status,
        303,
        "twelve hours, used throughout"
    );
}

#[rocket::async_test]
async fn with_the_invalid_mock_everyone_is_a_stranger() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let cookie = browser
        .client
        .cookies()
        .get("manage_session")
        .unwrap()
        .clone();
    let page = browser.get("/sign-in").await;
    let person = person_on(&page, RADIOGRAPHER);
    let mut config = site.config.clone();
    config.sign_in = manage_rocket::config::SignIn::Mock { nobody: true };
    let stranger = site.browser_of(config).await;
    stranger.client.cookies().add(cookie.into_owned());
    assert_eq!(stranger.get("/clinics").await.status, 303);
    let page = stranger.get("/sign-in").await;
    assert!(page.body.contains("There is nobody to sign in as"));
    let answer = try_to_sign_in(
        &stranger,
        &sign_in_csrf(&site, &stranger).await,
        &person,
        &[],
    )
    .await;
    assert_eq!(answer.status, 403);
}

/// The form's token, which the page without people does not show: another page of the same
/// browser did.
async fn sign_in_csrf(site: &Site, browser: &Browser) -> String {
    let cookie = browser
        .client
        .cookies()
        .get("manage_sign_in")
        .unwrap()
        .clone();
    let other = site.browser().await;
    other.client.cookies().add(cookie.into_owned());
    other.get("/sign-in").await.csrf().to_owned()
}

#[rocket::async_test]
async fn a_session_of_another_strategy_is_none() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    assert_eq!(browser.get("/clinics").await.status, 200);
    site.execute("UPDATE users SET strategy = 'oidc' WHERE uid = 'radiographer'")
        .await;
    assert_eq!(browser.get("/clinics").await.status, 303);
    // And what belongs to the other strategies is not there.
    for address in [
        "/auth/gds",
        "/auth/gds/callback",
        "/auth/gds/sign_out",
        "/auth/oidc",
    ] {
        assert_eq!(browser.get(address).await.status, 404, "{address}");
    }
    let reauth = "/auth/gds/api/users/radiographer/reauth";
    assert_eq!(browser.post(reauth, &[], &[]).await.status, 404);
}

#[rocket::async_test]
async fn over_https_every_cookie_of_a_sign_in_is_bound_to_this_host() {
    let site = Site::with_vars(
        &[
            ("MANAGE_PUBLIC_URL", "https://manage.example"),
            ("MANAGE_SIGN_IN", "signon"),
            ("MANAGE_SIGNON_URL", "https://signon.example"),
            ("GDS_SSO_OAUTH_ID", "id"),
            ("GDS_SSO_OAUTH_SECRET", "secret"),
        ],
        |_| (),
    )
    .await;
    let leave = site
        .browser()
        .await
        .get("/auth/gds?next=//evil.example/")
        .await;
    assert!(
        leave
            .location
            .starts_with("https://signon.example/oauth/authorize?")
    );
    assert!(!leave.location.contains("evil"));
    let cookies = leave.headers("set-cookie");
    assert_eq!(cookies.len(), 1);
    assert!(cookies[0].starts_with("__Host-manage_flow_"), "{cookies:?}");
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookies[0].contains(attribute), "{attribute}");
    }
    assert!(!cookies[0].contains("Domain"));
    // The place to go on to is in the cookie, sealed, and was none of another host's.
    let value = common::between(cookies[0], "=", ';').unwrap();
    assert_eq!(value.split('.').nth(2), Some(""));
}

#[rocket::async_test]
async fn whoever_is_disabled_is_out_at_once() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    site.execute("UPDATE users SET disabled = 1 WHERE uid = 'radiographer'")
        .await;
    assert_eq!(browser.get("/clinics").await.status, 303);
    let page = browser.get("/sign-in").await;
    assert!(!page.body.contains(RADIOGRAPHER) && page.body.contains(CLERK));
}

#[rocket::async_test]
async fn signing_out_ends_the_session() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let page = browser.get("/clinics").await;
    let answer = browser
        .post("/sign-out", &[("csrf", page.csrf())], &[])
        .await;
    assert_eq!(
        (answer.status, answer.location.as_str()),
        (303, "/sign-in?why=signed-out")
    );
    assert_eq!(site.number("SELECT COUNT(*) FROM sessions").await, 0);
    assert_eq!(browser.get("/clinics").await.status, 303);
    let page = browser.get(&answer.location).await;
    assert!(page.body.contains("You have signed out."));
    // A link cannot do it.
    assert_eq!(browser.get("/sign-out").await.status, 404);
}

#[rocket::async_test]
async fn a_foreign_or_stale_form_does_nothing() {
    const EVIL: &[(&str, &str)] = &[("Origin", "https://evil.example")];
    const CROSS: &[(&str, &str)] = &[("Sec-Fetch-Site", "cross-site")];
    const SIBLING: &[(&str, &str)] = &[("Sec-Fetch-Site", "same-site")];
    const NULL_CROSS: &[(&str, &str)] = &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")];
    const PORT: &[(&str, &str)] = &[("Origin", "http://localhost:8081")];
    const OURS: &[(&str, &str)] = &[
        ("Origin", "http://localhost:8080"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    // What Chromium sends from our own pages: they have `Referrer-Policy: no-referrer`.
    const OURS_NULL: &[(&str, &str)] = &[("Origin", "null"), ("Sec-Fetch-Site", "same-origin")];

    let site = Site::new().await;
    let other = site.signed_in(RADIOGRAPHER).await.get("/clinics").await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let page = browser.clinic().await;
    let own = page.csrf();
    let mut altered = own.to_owned();
    altered.replace_range(0..1, if own.starts_with('A') { "B" } else { "A" });
    let address = common::between(&page.body, r#"action="/appointments"#, '"').unwrap();
    let check_in = format!("/appointments{address}");
    assert_ne!(other.csrf(), own);
    for (name, csrf, headers, status) in [
        ("no token", "", OURS, 403),
        ("an altered token", altered.as_str(), OURS, 403),
        ("another session's token", other.csrf(), OURS, 403),
        ("another site", own, EVIL, 403),
        ("another site, by fetch metadata", own, CROSS, 403),
        ("a sibling site", own, SIBLING, 403),
        ("a sandboxed page of another site", own, NULL_CROSS, 403),
        ("another port", own, PORT, 403),
    ] {
        for address in [check_in.as_str(), "/sign-out"] {
            let answer = browser.post(address, &[("csrf", csrf)], headers).await;
            assert_eq!(answer.status, status, "{name} at {address}");
        }
    }
    let arrived = "SELECT COUNT(*) FROM appointments WHERE status = 'checked_in'";
    assert_eq!(site.number(arrived).await, 3);
    let no_field = browser.post(&check_in, &[], OURS).await;
    assert_eq!(no_field.status, 422);
    for (headers, arrived_now) in [(OURS, 4), (OURS_NULL, 4)] {
        let answer = browser.post(&check_in, &[("csrf", own)], headers).await;
        assert_eq!(answer.status, 303);
        assert_eq!(site.number(arrived).await, arrived_now, "twice is once");
    }
    assert_eq!(
        browser
            .post("/sign-out", &[("csrf", own)], OURS_NULL)
            .await
            .status,
        303
    );
    // And nobody signed in is led to sign in, whatever the token.
    assert_eq!(
        browser
            .post(&check_in, &[("csrf", own)], OURS)
            .await
            .location,
        "/sign-in"
    );
}

#[rocket::async_test]
async fn the_sign_in_form_is_guarded_before_there_is_a_session() {
    let site = Site::new().await;
    let attacker = site.browser().await.get("/sign-in").await;
    let browser = site.browser().await;
    let page = browser.get("/sign-in").await;
    let person = person_on(&page, RADIOGRAPHER);
    let nobody = "0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11";
    for (name, csrf, person, headers) in [
        ("no token", "", person.as_str(), &[][..]),
        ("another browser's token", attacker.csrf(), &person, &[]),
        (
            "another site",
            page.csrf(),
            &person,
            &[("Origin", "https://evil.example")],
        ),
        ("nobody", page.csrf(), nobody, &[]),
        ("not an id", page.csrf(), "1' OR '1'='1", &[]),
    ] {
        let answer = try_to_sign_in(&browser, csrf, person, headers).await;
        assert_eq!(answer.status, 403, "{name}");
    }
    assert_eq!(site.number("SELECT COUNT(*) FROM sessions").await, 0);
    // Two tabs: the form of the first still works after the second was opened.
    assert_eq!(browser.get("/sign-in").await.csrf(), page.csrf());
    assert_eq!(
        try_to_sign_in(&browser, page.csrf(), &person, &[])
            .await
            .status,
        303
    );
    // Without the cookie the token is worth nothing.
    let bare = site.browser().await;
    assert_eq!(
        try_to_sign_in(&bare, page.csrf(), &person, &[])
            .await
            .status,
        403
    );
}

#[rocket::async_test]
async fn who_may_not_send_sees_the_clinic_and_no_message() {
    let site = Site::new().await;
    let browser = site.signed_in(CLERK).await;
    let page = browser.clinic().await;
    assert!(page.body.contains("Ngozi Amberley") && page.body.contains("999 159 0838"));
    assert!(page.body.contains("You can see this clinic."));
    assert!(page.buttons().is_empty());
    assert!(!page.body.contains("data-gateway-message"));
    assert!(!page.body.contains("Check in<"));
    assert_eq!(site.number("SELECT COUNT(*) FROM messages").await, 0);
    let id = site
        .text("SELECT id FROM appointments WHERE status = 'booked' LIMIT 1")
        .await;
    let address = format!("/appointments/{id}/check-in");
    let answer = browser.post(&address, &[("csrf", page.csrf())], &[]).await;
    assert_eq!(answer.status, 403);
}

#[rocket::async_test]
async fn another_organisation_sees_none_of_it() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let clinic = browser.clinic_address("Morning").await;
    let page = browser.get(&clinic).await;
    let address = common::between(&page.body, r#"action="/appointments"#, '"').unwrap();
    site.execute("INSERT INTO organisations (id, code, name) VALUES ('3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90', 'OTHER', 'Other Service')").await;
    site.execute("UPDATE users SET organisation_id = '3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90' WHERE uid = 'radiographer'").await;
    let list = browser.get("/clinics").await;
    assert!(list.body.contains("Other Service") && !list.body.contains("Morning clinic"));
    let answer = browser.get(&clinic).await;
    assert_eq!(answer.status, 404);
    assert!(!answer.body.contains("Amberley"));
    let check_in = format!("/appointments{address}");
    let answer = browser.post(&check_in, &[("csrf", list.csrf())], &[]).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        site.number("SELECT COUNT(*) FROM appointments WHERE status = 'checked_in'")
            .await,
        3
    );
}
