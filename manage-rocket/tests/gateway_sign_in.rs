//! Signing in at a gateway through manage (steps 2 and 3 of the protocol): what the token
//! says, who gets one, and that a browser is led to no other place.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use common::{CLERK, GATEWAY, RADIOGRAPHER, Site, person_on, web::parameter};
use ed25519_dalek::{Signature, VerifyingKey};
use gateway_min::{Reject, Scratch, verify};
use manage_rocket::MessageKey;
use serde_json::Value;

const NONCE: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

fn address() -> String {
    format!("/gateway/sign-in?gateway={GATEWAY}&state=aZ0_&nonce={NONCE}")
}

async fn site() -> (Site, MessageKey) {
    let key = MessageKey::generate().unwrap();
    let pem = key.to_private_pem().unwrap();
    let site = Site::with_vars(&[("MANAGE_SESSION_KEY", &pem)], |config| {
        config.demonstration = true;
    })
    .await;
    (site, key)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap()
}

#[rocket::async_test]
async fn the_token_says_who_for_which_gateway_and_how_long() {
    let (site, key) = site().await;
    let browser = site.browser().await;
    // Not signed in: first here, then there. The form's redirects may lead to that gateway
    // and to no other place.
    let first = browser.get(&address()).await;
    assert_eq!(first.status, 303);
    assert!(
        first
            .location
            .starts_with("/sign-in?next=%2Fgateway%2Fsign-in%3F")
    );
    let page = browser.get(&first.location).await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.ends_with("form-action 'self' http://127.0.0.1:9090"),
        "{policy}"
    );
    let plain = browser.get("/sign-in").await;
    assert!(
        plain
            .header("content-security-policy")
            .ends_with("form-action 'self'")
    );
    let elsewhere = "/sign-in?next=%2Fgateway%2Fsign-in%3Fgateway%3Dhttps%3A%2F%2Fevil.example";
    let elsewhere = browser.get(elsewhere).await;
    assert!(
        elsewhere
            .header("content-security-policy")
            .ends_with("form-action 'self'")
    );

    let person = person_on(&page, RADIOGRAPHER);
    let next = address();
    let fields = [
        ("csrf", page.csrf()),
        ("person", &*person),
        ("next", &*next),
    ];
    let signed_in = browser.post("/sign-in", &fields, &[]).await;
    assert_eq!(signed_in.location, next);
    site.pass(60);
    let back = browser.get(&next).await;
    assert_eq!(back.status, 303);
    assert_eq!(back.header("cache-control"), "no-store");
    assert_eq!(back.header("referrer-policy"), "no-referrer");
    let callback = "http://127.0.0.1:9090/auth/callback?state=aZ0_&token=";
    assert!(back.location.starts_with(callback), "{}", back.location);

    let token = parameter(&back.location, "token").unwrap();
    assert!(token.len() < 2048, "{}", token.len());
    let header = part(&token, 0);
    assert_eq!(
        header,
        serde_json::json!({ "alg": "EdDSA", "kid": key.kid(), "typ": "gateway-session+jwt" })
    );
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    let public = VerifyingKey::from_bytes(&key.public_bytes()).unwrap();
    public.verify_strict(signed.as_bytes(), &signature).unwrap();
    let claims = part(&token, 1);
    let now = site.now().as_secs();
    let organisation = site.text("SELECT content_id FROM organisations").await;
    for (name, expected) in [
        ("iss", Value::from("http://localhost:8080")),
        ("aud", GATEWAY.into()),
        ("sub", "radiographer".into()),
        ("org", organisation.into()),
        ("nonce", NONCE.into()),
        ("iat", now.into()),
        ("exp", (now + 60).into()),
        ("auth_time", (now - 60).into()),
        ("session_exp", (now - 60 + 43_200).into()),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    let names: Vec<_> = claims.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "aud",
            "auth_time",
            "exp",
            "iat",
            "iss",
            "jti",
            "nonce",
            "org",
            "session_exp",
            "sid",
            "sub"
        ],
        "and nothing else: no name, no e-mail address"
    );

    // What was given out is on record, and another one is another one.
    let jti = site.text("SELECT jti FROM gateway_sign_ins").await;
    assert_eq!(claims["jti"], jti.as_str());
    let again = browser.get(&next).await;
    let again = part(&parameter(&again.location, "token").unwrap(), 1);
    assert_ne!(again["jti"], claims["jti"]);
    assert_eq!(again["sid"], claims["sid"], "the same session");
    assert_eq!(
        site.number("SELECT COUNT(*) FROM gateway_sign_ins").await,
        2
    );
    // The id that gateways know is not what the cookie holds or what finds it.
    let cookie = browser
        .client
        .cookies()
        .get("manage_session")
        .unwrap()
        .value()
        .to_owned();
    let hash = site.text("SELECT id_hash FROM sessions").await;
    assert!(claims["sid"] != cookie.as_str() && claims["sid"] != hash.as_str());

    // The key has an address of its own; neither key is in the other's set.
    let sessions = browser.get("/.well-known/session-jwks.json").await.body;
    let messages = browser.get("/.well-known/jwks.json").await.body;
    assert!(sessions.contains(key.kid()) && !sessions.contains(site.key.kid()));
    assert!(messages.contains(site.key.kid()) && !messages.contains(key.kid()));
}

#[rocket::async_test]
async fn a_session_token_is_no_message_and_the_reverse() {
    let (site, key) = site().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let token = parameter(&browser.get(&address()).await.location, "token").unwrap();
    // Even at a gateway that was given the wrong key for its messages.
    let mut keys = site.gateway_keys();
    let judge = |keys: &gateway_min::KeySet<4>| {
        let mut scratch = Scratch::new();
        verify(
            token.as_bytes(),
            keys,
            &common::POLICY,
            site.now(),
            &mut scratch,
        )
        .unwrap_err()
    };
    assert_eq!(judge(&keys), Reject::UnsupportedTyp);
    keys.add(key.to_public_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(judge(&keys), Reject::UnsupportedTyp);
    let message = browser.clinic().await.buttons().remove(0).token;
    assert_eq!(part(&message, 0)["typ"], "gateway-message+jwt");
    assert_ne!(part(&message, 0)["kid"], part(&token, 0)["kid"]);
}

#[rocket::async_test]
async fn whoever_asks_wrongly_is_led_nowhere() {
    let (site, _) = site().await;
    let browser = site.signed_in(CLERK).await;
    let good = address();
    assert_eq!(browser.get(&good).await.status, 303);
    for (name, address, status) in [
        ("no such gateway", good.replace(GATEWAY, "another"), 404),
        (
            "an address for a gateway",
            good.replace(GATEWAY, "https://evil.example"),
            404,
        ),
        ("no gateway", good.replace("gateway=", "x="), 404),
        ("no nonce", good.replace("nonce=", "x="), 404),
        ("a short nonce", good.replace(NONCE, &NONCE[1..]), 400),
        ("a long state", good.replace("aZ0_", "aZ0_0"), 400),
        ("no state", good.replace("aZ0_", ""), 400),
        ("a gateway twice", format!("{good}&gateway={GATEWAY}"), 400),
        ("a nonce twice", format!("{good}&nonce={NONCE}"), 400),
    ] {
        let answer = browser.get(&address).await;
        assert_eq!((answer.status, &*answer.location), (status, ""), "{name}");
    }
    // Addresses of the query go nowhere, by whatever name.
    for name in ["redirect_uri", "return_to", "callback", "next"] {
        let answer = browser
            .get(&format!("{good}&{name}=https://evil.example/"))
            .await;
        let callback = "http://127.0.0.1:9090/auth/callback?";
        assert!(answer.location.starts_with(callback), "{name}");
        assert!(!answer.location.contains("evil"), "{name}");
    }
    // What the register says is looked at, too.
    for (name, change, status) in [
        ("off", "UPDATE gateways SET state = 'off'", 404),
        ("on again", "UPDATE gateways SET state = 'active'", 303),
        ("no callback", "UPDATE gateways SET callback = NULL", 404),
        (
            "a callback in the clear",
            "UPDATE gateways SET callback = 'http://gateway.example/auth/callback'",
            404,
        ),
        (
            "a callback with HTTPS",
            "UPDATE gateways SET callback = 'https://gateway.example/auth/callback'",
            303,
        ),
        (
            "another organisation's person",
            "UPDATE users SET organisation_id = '3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90'",
            404,
        ),
    ] {
        if name.starts_with("another") {
            site.execute("INSERT INTO organisations (id, code, name) VALUES ('3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90', 'OTHER', 'Other')").await;
        }
        site.execute(change).await;
        assert_eq!(browser.get(&good).await.status, status, "{name}");
    }
    // What was given out can be neither changed nor removed.
    for sql in [
        "DELETE FROM gateway_sign_ins",
        "UPDATE gateway_sign_ins SET jti = 'x'",
    ] {
        let error = sqlx::query(sql).execute(&site.pool).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[rocket::async_test]
async fn without_a_session_key_there_is_none() {
    let site = Site::new().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    assert_eq!(browser.get(&address()).await.status, 404);
    let keys = browser.get("/.well-known/session-jwks.json").await;
    assert_eq!(keys.body, r#"{"keys":[]}"#);
}

#[rocket::async_test]
async fn whoever_signed_out_at_a_gateway_is_asked_here() {
    let (site, _) = site().await;
    let browser = site.signed_in(RADIOGRAPHER).await;
    let asked = browser.get("/auth/sign-out").await;
    assert_eq!(asked.status, 200);
    assert!(asked.body.contains("Sign out here, too?"));
    assert_eq!(site.number("SELECT COUNT(*) FROM sessions").await, 1);
    let out = browser
        .post("/sign-out", &[("csrf", asked.csrf())], &[])
        .await;
    assert_eq!(out.location, "/sign-in?why=signed-out");
    assert_eq!(
        browser.get("/auth/sign-out").await.location,
        "/sign-in?why=signed-out"
    );
}
