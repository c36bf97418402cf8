//! Signing in by OpenID Connect at a real provider: the whole flow with each proof and
//! signature algorithm, who gets in, the provider's logout, and over HTTPS.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{
    Site,
    web::{Peer, Reply, Served, Web, free_port},
};
use serde_json::Value;

const SECRET: &str = "a secret: with+signs/and%more";

/// An installation, its provider, and what serves it.
struct Scene {
    site: Site,
    manage: String,
    provider: Peer,
    _served: Served,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real provider has the machine's time"
)]
fn machine_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Scene {
    async fn new(vars: &[(&str, &str)]) -> Self {
        let port = free_port();
        let manage = format!("http://localhost:{port}");
        let provider = Peer::provider(&manage, &[]);
        let mut all = vec![
            ("MANAGE_PUBLIC_URL", manage.as_str()),
            ("MANAGE_SIGN_IN", "oidc"),
            ("MANAGE_OIDC_ISSUER", &provider.url),
        ];
        all.extend(vars);
        let site = Site::with_vars(&all, |config| config.demonstration = true).await;
        site.now.store(machine_time(), Ordering::SeqCst);
        let served = Served::start(&site, port).await;
        Self {
            site,
            manage,
            provider,
            _served: served,
        }
    }

    async fn with_secret() -> Self {
        Self::new(&[
            ("MANAGE_OIDC_CLIENT_ID", "manage RS256"),
            ("MANAGE_OIDC_CLIENT_SECRET", SECRET),
        ])
        .await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.manage)
    }

    /// Comes back from the provider as `login`, and says what came of it.
    fn come_back(&self, web: &Web, login: &str) -> Reply {
        let back = web.through_provider(&self.at("/clinics"), login);
        web.get(&back.location)
    }

    async fn sessions(&self) -> i64 {
        self.site.number("SELECT COUNT(*) FROM sessions").await
    }
}

fn code(reply: &Reply) -> &str {
    common::between(&reply.body, "Code <code>", '<').unwrap_or_default()
}

/// A private RSA key in PKCS#8 PEM, made by the runtime that the provider needs anyway.
fn rsa_key() -> String {
    let script = "const { privateKey } = require('crypto').generateKeyPairSync('rsa', { modulusLength: 2048 }); \
         process.stdout.write(privateKey.export({ type: 'pkcs8', format: 'pem' }))";
    let output = Command::new("node").args(["-e", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[rocket::async_test]
async fn the_whole_way_there_and_back() {
    let scene = Scene::with_secret().await;
    let web = Web::new();
    // To the page that was asked for.
    let begin = web.get(&scene.at("/clinics?x=1"));
    assert_eq!(begin.status, 303);
    assert_eq!(
        begin.location,
        scene.at("/auth/oidc?next=%2Fclinics%3Fx%3D1")
    );
    let leave = web.get(&begin.location);
    let sent = |name| leave.parameter(name).unwrap_or_default();
    assert!(
        leave
            .location
            .starts_with(&format!("{}/auth?", scene.provider.url))
    );
    for (name, expected) in [
        ("client_id", "manage RS256"),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
        ("max_age", "43200"),
        ("prompt", ""),
    ] {
        assert_eq!(sent(name), expected, "{name}");
    }
    assert_eq!(sent("redirect_uri"), scene.at("/auth/oidc/callback"));
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(sent(name).len(), 43, "{name}");
    }
    assert_ne!(sent("state"), sent("nonce"));
    // Of these the browser holds none; what it holds goes nowhere else.
    let cookie = leave.set_cookies();
    let cookie = cookie
        .iter()
        .find(|set| set.starts_with("manage_flow_"))
        .unwrap();
    assert!(!cookie.contains(&sent("state")) && !cookie.contains(&sent("nonce")));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Domain"));

    let back = web.through_provider(&leave.location, "uid-radiographer");
    assert_eq!(back.parameter("state"), Some(sent("state")));
    assert_eq!(back.parameter("iss").as_ref(), Some(&scene.provider.url));
    let arrived = web.get(&back.location);
    assert_eq!(
        (arrived.status, &arrived.location),
        (303, &scene.at("/clinics?x=1"))
    );
    assert!(
        web.cookies("localhost")
            .iter()
            .all(|(name, _)| name == "manage_session")
    );
    let page = web.get(&arrived.location);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Jo Radiographer") && page.body.contains("(Can send)"));
    let stored =
        "SELECT uid FROM users WHERE strategy = 'oidc' AND may_send = 1 AND administrator = 0";
    assert_eq!(scene.site.text(stored).await, "uid-radiographer");

    // The same answer again, in this browser and in another one.
    let again = web.get(&back.location);
    assert_eq!((again.status, code(&again)), (400, "not_begun_here"));
    let other = Web::new();
    let elsewhere = other.get(&back.location);
    assert_eq!(
        (elsewhere.status, code(&elsewhere)),
        (400, "not_begun_here")
    );
    assert!(elsewhere.location.is_empty() && elsewhere.body.contains(r#"href="/sign-in""#));
    assert!(other.cookies("localhost").is_empty());

    // Signing in again is a new session, and the old cookie is worth nothing.
    let before = web.cookies("localhost");
    let back = web.through_provider(&scene.at("/auth/oidc"), "uid-radiographer");
    assert_eq!(web.get(&back.location).location, scene.at("/clinics"));
    assert_ne!(web.cookies("localhost"), before);
    assert_eq!(scene.sessions().await, 1);
    let old = Web::new();
    old.set_cookie("localhost", &before[0].0, &before[0].1);
    assert_eq!(old.get(&scene.at("/clinics")).status, 303);
}

#[rocket::async_test]
async fn each_signature_algorithm_and_proof_of_the_client() {
    for alg in ["PS384", "ES256", "ES384", "EdDSA"] {
        let client = format!("manage {alg}");
        let scene = Scene::new(&[
            ("MANAGE_OIDC_CLIENT_ID", &client),
            ("MANAGE_OIDC_CLIENT_SECRET", SECRET),
        ])
        .await;
        let arrived = scene.come_back(&Web::new(), "uid-radiographer");
        assert_eq!(
            arrived.location,
            scene.at("/clinics"),
            "{alg}: {}",
            arrived.body
        );
    }

    // private_key_jwt with RS512, judged by the key that the provider fetches from here.
    let key = rsa_key();
    let scene = Scene::new(&[
        ("MANAGE_OIDC_CLIENT_ID", "manage-key"),
        ("MANAGE_OIDC_CLIENT_KEY", &key),
    ])
    .await;
    let web = Web::new();
    let keys = web.get(&scene.at("/auth/oidc/jwks"));
    let keys: Value = serde_json::from_str(&keys.body).unwrap();
    assert_eq!(keys["keys"][0]["alg"], "RS512");
    assert_eq!(keys["keys"][0]["kid"].as_str().unwrap().len(), 43);
    assert!(keys["keys"][0].get("d").is_none());
    let arrived = scene.come_back(&web, "uid-radiographer");
    assert_eq!(arrived.location, scene.at("/clinics"), "{}", arrived.body);

    // With a secret that is not the client's.
    let scene = Scene::new(&[
        ("MANAGE_OIDC_CLIENT_ID", "manage RS256"),
        ("MANAGE_OIDC_CLIENT_SECRET", "another"),
    ])
    .await;
    let refused = scene.come_back(&Web::new(), "uid-radiographer");
    assert_eq!((refused.status, code(&refused)), (502, "peer"));
    assert_eq!(scene.sessions().await, 0);
}

#[rocket::async_test]
async fn who_gets_in() {
    let scene = Scene::with_secret().await;
    let second = "INSERT INTO organisations (id, code, name) \
         VALUES ('3b0b2a56-6a0b-4b8e-8a51-1f3c6d1f2a90', 'SECOND', 'Second Service')";
    scene.site.execute(second).await;
    for (login, status, refusal) in [
        ("uid-no-permission", 403, "no_permission"),
        ("uid-elsewhere", 403, "no_organisation"),
        ("uid-two", 403, "no_organisation"),
    ] {
        let reply = scene.come_back(&Web::new(), login);
        assert_eq!((reply.status, code(&reply)), (status, refusal), "{login}");
        assert!(reply.location.is_empty(), "nothing goes round in circles");
    }
    assert_eq!(scene.sessions().await, 0);

    // The same e-mail address is another person.
    for login in ["uid-radiographer", "uid-other"] {
        assert_eq!(scene.come_back(&Web::new(), login).status, 303, "{login}");
    }
    let people = "SELECT COUNT(*) FROM users WHERE strategy = 'oidc'";
    assert_eq!(scene.site.number(people).await, 2);

    let administrator = Web::new();
    scene.come_back(&administrator, "uid-administrator");
    let page = administrator.get(&scene.at("/gateways"));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("screening-gateway"));

    // Disabled here: out at once, and the provider's word does not lift it.
    let web = Web::new();
    scene.come_back(&web, "uid-other");
    assert_eq!(web.get(&scene.at("/clinics")).status, 200);
    assert_eq!(web.get(&scene.at("/gateways")).status, 403);
    let disable = "UPDATE users SET disabled = 1 WHERE uid = 'uid-other'";
    scene.site.execute(disable).await;
    assert_eq!(web.get(&scene.at("/clinics")).status, 303);
    let refused = scene.come_back(&web, "uid-other");
    assert_eq!((refused.status, code(&refused)), (403, "disabled"));

    // Whoever cancels comes back with the provider's code for it.
    let cancelled = Web::new();
    let leave = cancelled.get(&scene.at("/auth/oidc"));
    let state = leave.parameter("state").unwrap();
    let issuer = &scene.provider.url;
    let back = format!("/auth/oidc/callback?state={state}&error=access_denied&iss={issuer}");
    let refused = cancelled.get(&scene.at(&back));
    assert_eq!((refused.status, code(&refused)), (403, "peer_refused"));
}

#[rocket::async_test]
async fn cis2_as_it_is_set_up_there() {
    let key = rsa_key();
    let scene = Scene::new(&[
        ("MANAGE_OIDC_CLIENT_ID", "manage-key"),
        ("MANAGE_OIDC_CLIENT_KEY", &key),
        (
            "MANAGE_OIDC_SCOPES",
            "openid profile email nhsperson associatedorgs",
        ),
        ("MANAGE_OIDC_ACR_VALUES", "AAL3_ANY"),
        ("MANAGE_OIDC_PROMPT", "login"),
        ("MANAGE_OIDC_ORGANISATION_CLAIM", "nhsid_user_orgs"),
        ("MANAGE_OIDC_MIN_ID_ASSURANCE", "3"),
        ("MANAGE_OIDC_MIN_AUTHENTICATION_ASSURANCE", "3"),
    ])
    .await;
    let web = Web::new();
    let leave = web.get(&scene.at("/auth/oidc"));
    assert_eq!(leave.parameter("acr_values").unwrap(), "AAL3_ANY");
    assert_eq!(leave.parameter("prompt").unwrap(), "login");
    let arrived = scene.come_back(&web, "uid-cis2");
    assert_eq!(arrived.location, scene.at("/clinics"), "{}", arrived.body);
    let weak = scene.come_back(&Web::new(), "uid-weak");
    assert_eq!((weak.status, code(&weak)), (403, "assurance"));
    // No level at all is none.
    let none = scene.come_back(&Web::new(), "uid-radiographer");
    assert_eq!((none.status, code(&none)), (403, "assurance"));
}

#[rocket::async_test]
async fn a_sign_in_belongs_to_the_browser_and_the_time_it_was_begun() {
    let scene = Scene::with_secret().await;
    let web = Web::new();
    let back = web.through_provider(&scene.at("/clinics"), "uid-radiographer");
    let address = &back.location;
    let state = back.parameter("state").unwrap();
    let mut other_state = state.clone();
    other_state.replace_range(42.., if state.ends_with('A') { "E" } else { "A" });
    // Somebody else's way back, planted here: this browser began another one.
    let victim = Web::new();
    victim.get(&scene.at("/auth/oidc"));
    let planted = victim.get(address);
    assert_eq!((planted.status, code(&planted)), (400, "not_begun_here"));
    for (name, address, refusal) in [
        (
            "no state",
            address.replace("state=", "x="),
            "not_begun_here",
        ),
        (
            "another state of the same name",
            address.replace(&state, &other_state),
            "not_begun_here",
        ),
        (
            "a state cut short",
            address.replace(&state, &state[..20]),
            "not_begun_here",
        ),
        ("state twice", format!("{address}&state={state}"), ""),
        ("code twice", format!("{address}&code=x"), ""),
    ] {
        let reply = web.get(&address);
        assert_eq!((reply.status, code(&reply)), (400, refusal), "{name}");
    }
    // A cookie that was altered, at each of its parts.
    let jar = web.cookies("localhost");
    let (name, value) = jar
        .iter()
        .find(|(name, _)| name.starts_with("manage_flow_"))
        .unwrap();
    for part in 0..4 {
        let mut parts: Vec<String> = value.split('.').map(str::to_owned).collect();
        parts[part] = match part {
            1 => "9999999999".to_owned(),
            2 => "L2V2aWw".to_owned(),
            _ => format!("A{}", &parts[part][1..]).replace("AA", "BB"),
        };
        let altered = Web::new();
        altered.set_cookie("localhost", name, &parts.join("."));
        let reply = altered.get(address);
        assert_eq!(code(&reply), "not_begun_here", "part {part}");
    }
    // Another provider's answer (RFC 9207), and one that does not say whose it is.
    let issuer = url::form_urlencoded::byte_serialize(scene.provider.url.as_bytes());
    let issuer: String = issuer.collect();
    for (name, altered) in [
        (
            "another issuer",
            address.replace(&issuer, "https%3A%2F%2Fevil.example"),
        ),
        ("no issuer", address.replace("iss=", "x=")),
    ] {
        // Each try begins anew, because a sign-in is over with its first answer.
        let browser = Web::new();
        browser.set_cookie("localhost", name_of(&jar), value);
        let reply = browser.get(&altered);
        assert_eq!((reply.status, code(&reply)), (400, "issuer"), "{name}");
    }
    // A code that is not this sign-in's verifier's: stolen from another browser's answer.
    let thief = Web::new();
    let own = thief.get(&scene.at("/auth/oidc"));
    let code_of_victim = back.parameter("code").unwrap();
    let injected = scene.at(&format!(
        "/auth/oidc/callback?state={}&code={code_of_victim}&iss={issuer}",
        own.parameter("state").unwrap()
    ));
    let reply = thief.get(&injected);
    assert_eq!((reply.status, code(&reply)), (502, "peer"));
    assert!(
        thief.cookies("localhost").is_empty(),
        "it is over all the same"
    );
    assert_eq!(scene.sessions().await, 0);

    // Ten minutes later it is over.
    let slow = Web::new();
    let back = slow.through_provider(&scene.at("/clinics"), "uid-radiographer");
    scene.site.pass(600);
    assert_eq!(code(&slow.get(&back.location)), "not_begun_here");
    // And a browser with many beginnings keeps few.
    let tabs = Web::new();
    for _ in 0..12 {
        tabs.get(&scene.at("/auth/oidc"));
    }
    assert!(tabs.cookies("localhost").len() <= 5);
}

fn name_of(jar: &[(String, String)]) -> &str {
    let found = jar
        .iter()
        .find(|(name, _)| name.starts_with("manage_flow_"));
    &found.unwrap().0
}

#[rocket::async_test]
async fn the_provider_ends_sessions() {
    let scene = Scene::with_secret().await;
    let (web, bystander) = (Web::new(), Web::new());
    scene.come_back(&web, "uid-radiographer");
    scene.come_back(&bystander, "uid-other");
    assert_eq!(scene.sessions().await, 2);

    // Signed out here: the way to sign out there is offered, and taken.
    let page = web.get(&scene.at("/clinics"));
    let csrf = common::between(&page.body, r#"name="csrf" value=""#, '"').unwrap();
    // A second session of the same person at the provider, in this browser, stays behind.
    let web_two = Web::new();
    scene.come_back(&web_two, "uid-radiographer");
    assert_eq!(scene.sessions().await, 3);
    let out = web.post(&scene.at("/sign-out"), &[("csrf", csrf)]);
    assert_eq!(out.location, scene.at("/sign-in?why=signed-out"));
    assert_eq!(scene.sessions().await, 2);
    let page = web_two.get(&scene.at("/sign-in?why=signed-out"));
    let there = common::between(&page.body, r#"still be signed in there. <a href=""#, '"').unwrap();
    assert_eq!(
        there,
        format!("{}/session/end?client_id=manage+RS256", scene.provider.url)
    );
    let ask = web_two.get(there);
    let xsrf = common::between(&ask.body, r#"name="xsrf" value=""#, '"').unwrap();
    let end = format!("{}/session/end/confirm", scene.provider.url);
    web_two.post(&end, &[("xsrf", xsrf), ("logout", "yes")]);
    // The provider tells of it in its own time.
    let patience = Instant::now() + Duration::from_secs(30);
    while scene.sessions().await != 1 {
        assert!(Instant::now() < patience, "no back-channel logout came");
        rocket::tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(web_two.get(&scene.at("/clinics")).status, 303);
    assert_eq!(
        bystander.get(&scene.at("/clinics")).status,
        200,
        "another person"
    );
}
