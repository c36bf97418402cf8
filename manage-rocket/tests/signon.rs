//! Signing in at Signon, as gds-sso does it: against Doorkeeper, which Signon is made of,
//! with Signon's pushes, and signing out.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    Site,
    web::{Peer, Reply, Served, Web, free_port},
};

const CONTENT_ID: &str = "91e57ad9-29a3-4f94-9ab4-5e9ae6d13588";

struct Scene {
    site: Site,
    manage: String,
    signon: Peer,
    _served: Served,
}

impl Scene {
    async fn new() -> Self {
        Self::with_secret("test-oauth-secret").await
    }

    async fn with_secret(secret: &str) -> Self {
        let port = free_port();
        let manage = format!("http://localhost:{port}");
        let signon = Peer::signon(&manage);
        let vars = [
            ("MANAGE_PUBLIC_URL", manage.as_str()),
            ("MANAGE_SIGN_IN", "signon"),
            ("MANAGE_SIGNON_URL", &signon.url),
            ("GDS_SSO_OAUTH_ID", "test-oauth-id"),
            ("GDS_SSO_OAUTH_SECRET", secret),
        ];
        let site = Site::with_vars(&vars, |config| config.demonstration = true).await;
        let organisation =
            "UPDATE organisations SET content_id = '91e57ad9-29a3-4f94-9ab4-5e9ae6d13588'";
        site.execute(organisation).await;
        let served = Served::start(&site, port).await;
        Self {
            site,
            manage,
            signon,
            _served: served,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.manage)
    }

    fn come_back(&self, web: &Web, login: &str) -> Reply {
        let back = web.through_signon(&self.at("/auth/gds"), login);
        web.get(&back.location)
    }

    async fn sessions(&self) -> i64 {
        self.site.number("SELECT COUNT(*) FROM sessions").await
    }

    /// The bearer header of a token that belongs to `login`.
    fn bearer(&self, login: &str) -> String {
        let token = Web::new().post(&format!("{}/test/tokens/{login}", self.signon.url), &[]);
        assert_eq!(token.status, 200);
        format!("Bearer {}", token.body)
    }
}

fn code(reply: &Reply) -> &str {
    common::between(&reply.body, "Code <code>", '<').unwrap_or_default()
}

#[rocket::async_test]
async fn the_whole_way_there_and_back() {
    let scene = Scene::new().await;
    let web = Web::new();
    let begin = web.get(&scene.at("/clinics"));
    assert_eq!(begin.location, scene.at("/auth/gds?next=%2Fclinics"));
    let leave = web.get(&begin.location);
    let authorize = format!("{}/oauth/authorize?", scene.signon.url);
    assert!(leave.location.starts_with(&authorize));
    let url = url::Url::parse(&leave.location).unwrap();
    let names: Vec<_> = url
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    // No scope: Signon has none.
    assert_eq!(
        names,
        [
            "client_id",
            "redirect_uri",
            "response_type",
            "state",
            "code_challenge",
            "code_challenge_method"
        ]
    );
    assert_eq!(leave.parameter("client_id").unwrap(), "test-oauth-id");
    assert_eq!(
        leave.parameter("redirect_uri").unwrap(),
        scene.at("/auth/gds/callback")
    );
    assert_eq!(leave.parameter("code_challenge_method").unwrap(), "S256");

    let back = web.through_signon(&leave.location, "jo");
    let arrived = web.get(&back.location);
    assert_eq!(
        (arrived.status, &arrived.location),
        (303, &scene.at("/clinics"))
    );
    let page = web.get(&arrived.location);
    assert!(page.body.contains("Jo Radiographer") && page.body.contains("(Can send)"));
    let stored = "SELECT uid FROM users WHERE strategy = 'signon'";
    assert_eq!(scene.site.text(stored).await, "uid-jo");

    let again = web.get(&back.location);
    assert_eq!((again.status, code(&again)), (400, "not_begun_here"));
    // Somebody else's way back, planted in a browser that began its own.
    let (thief, victim) = (Web::new(), Web::new());
    let back = thief.through_signon(&scene.at("/clinics"), "jo");
    let own = victim
        .get(&scene.at("/auth/gds"))
        .parameter("state")
        .unwrap();
    let planted = victim.get(&back.location);
    assert_eq!((planted.status, code(&planted)), (400, "not_begun_here"));
    // Its code with the victim's own state: the verifier is another one.
    let stolen = back.parameter("code").unwrap();
    let injected = format!("/auth/gds/callback?state={own}&code={stolen}");
    let refused = victim.get(&scene.at(&injected));
    assert_eq!((refused.status, code(&refused)), (502, "peer"));
    assert!(victim.cookies("localhost").is_empty());

    // By a form, too, but not by another site's.
    let begun = web.post(&scene.at("/auth/gds"), &[]);
    assert!(begun.location.starts_with(&authorize));
    let foreign = [("Origin", "https://evil.example")];
    let refused = web.send_json("POST", &scene.at("/auth/gds"), &foreign, "");
    assert_eq!(refused.status, 403);
}

#[rocket::async_test]
async fn who_gets_in() {
    let scene = Scene::new().await;
    for (login, refusal) in [("sam", "no_permission"), ("kim", "no_organisation")] {
        let refused = scene.come_back(&Web::new(), login);
        assert_eq!((refused.status, code(&refused)), (403, refusal), "{login}");
    }
    // Signon does not know this installation.
    let wrong = Scene::with_secret("another secret").await;
    let refused = wrong.come_back(&Web::new(), "jo");
    assert_eq!((refused.status, code(&refused)), (502, "peer"));
    assert_eq!(scene.sessions().await + wrong.sessions().await, 0);
    // Signon itself says no.
    let web = Web::new();
    let state = web.get(&scene.at("/auth/gds")).parameter("state").unwrap();
    let denied = format!("/auth/gds/callback?state={state}&error=access_denied");
    let refused = web.get(&scene.at(&denied));
    assert_eq!((refused.status, code(&refused)), (403, "peer_refused"));
}

#[rocket::async_test]
async fn signon_tells_of_changes() {
    let scene = Scene::new().await;
    let web = Web::new();
    scene.come_back(&web, "jo");
    let (good, powerless) = (scene.bearer("api"), scene.bearer("jo"));
    let user = |changes: &str| {
        format!(
            r#"{{"user":{{"uid":"uid-jo","name":"Jo Newname","email":"new@example.gov.uk",
            "permissions":["signin"],"organisation_slug":"demo",
            "organisation_content_id":"{CONTENT_ID}","disabled":false{changes}}}}}"#
        )
    };
    let address = scene.at("/auth/gds/api/users/uid-jo");
    let reauth = scene.at("/auth/gds/api/users/uid-jo/reauth");
    let body = user("");
    for (name, authorization, status, challenge) in [
        ("no token", None, 401, r#"Bearer error="invalid_request""#),
        (
            "another scheme",
            Some("Basic eDp5"),
            401,
            r#"Bearer error="invalid_request""#,
        ),
        (
            "a token that Signon does not know",
            Some("Bearer abc"),
            401,
            r#"Bearer error="invalid_token""#,
        ),
        ("a token without the permission", Some(&*powerless), 403, ""),
    ] {
        let headers: Vec<_> = authorization
            .iter()
            .map(|value| ("Authorization", *value))
            .collect();
        for (method, address) in [("PUT", &address), ("POST", &reauth)] {
            let reply = web.send_json(method, address, &headers, &body);
            assert_eq!(reply.status, status, "{name}");
            assert_eq!(reply.header("www-authenticate"), challenge, "{name}");
            assert!(reply.body.starts_with(r#"{"message":""#), "{name}");
        }
    }
    assert!(web.get(&scene.at("/clinics")).body.contains("(Can send)"));

    let bearer = [("Authorization", good.as_str())];
    let told = web.send_json("PUT", &address, &bearer, &body);
    assert_eq!((told.status, told.body.as_str()), (200, ""));
    let page = web.get(&scene.at("/clinics"));
    assert!(page.body.contains("Jo Newname") && page.body.contains("(Can look)"));

    // The token's judgement is kept for five minutes.
    let tell = |address: &str, changes: &str| {
        web.send_json("PUT", address, &bearer, &user(changes))
            .status
    };
    let of_api = format!("{}/test/people/api", scene.signon.url);
    web.send_json("POST", &of_api, &[], r#"{"permissions":[]}"#);
    assert_eq!(tell(&address, ""), 200);
    scene.site.pass(300);
    assert_eq!(tell(&address, ""), 403);
    web.send_json(
        "POST",
        &of_api,
        &[],
        r#"{"permissions":["user_update_permission"]}"#,
    );
    scene.site.pass(300);

    let someone = scene.at("/auth/gds/api/users/uid-kim");
    assert_eq!(tell(&someone, ""), 400, "about another one");
    let broken = web.send_json("PUT", &address, &bearer, r#"{"uid":"uid-jo"}"#);
    assert_eq!(broken.status, 400);

    // Must sign in again: every session at once, and nobody else's.
    let again = Web::new();
    scene.come_back(&again, "jo");
    assert_eq!(again.get(&scene.at("/clinics")).status, 200);
    let nobody = scene.at("/auth/gds/api/users/uid-nobody/reauth");
    assert_eq!(web.send_json("POST", &nobody, &bearer, "").status, 200);
    assert_eq!(again.get(&scene.at("/clinics")).status, 200);
    assert_eq!(web.send_json("POST", &reauth, &bearer, "").status, 200);
    assert_eq!(again.get(&scene.at("/clinics")).status, 303);
    assert_eq!(scene.come_back(&again, "jo").status, 303, "and may");
    assert_eq!(again.get(&scene.at("/clinics")).status, 200);

    // Suspended, without permission, or gone to another organisation: out, and back.
    for (name, changes) in [
        ("suspended", r#","disabled":true"#),
        (
            "no organisation",
            r#","organisation_slug":null,"organisation_content_id":null"#,
        ),
    ] {
        let changed = user(changes)
            .replace(r#""disabled":false,"disabled":true"#, r#""disabled":true"#)
            .replace(
                &format!(
                    r#""organisation_slug":"demo",
            "organisation_content_id":"{CONTENT_ID}","disabled":false,"#
                ),
                "",
            );
        let told = web.send_json("PUT", &address, &bearer, &changed);
        assert_eq!(told.status, 200, "{name}: {}", told.body);
        assert_eq!(scene.sessions().await, 0, "{name}");
        assert_eq!(again.get(&scene.at("/clinics")).status, 303, "{name}");
        assert_eq!(tell(&address, ""), 200, "{name}");
        assert_eq!(scene.come_back(&again, "jo").status, 303, "{name}");
        assert_eq!(again.get(&scene.at("/clinics")).status, 200, "{name}");
    }
    let removed = user("").replace(r#"["signin"]"#, "[]");
    assert_eq!(
        web.send_json("PUT", &address, &bearer, &removed).status,
        200
    );
    assert_eq!(again.get(&scene.at("/clinics")).status, 303);
}

#[rocket::async_test]
async fn signing_out() {
    let scene = Scene::new().await;
    let web = Web::new();
    scene.come_back(&web, "jo");
    let address = scene.at("/auth/gds/sign_out");
    // Another site's link asks first.
    let asked = web.get_with(&address, &[("Sec-Fetch-Site", "cross-site")]);
    assert_eq!(asked.status, 200);
    assert!(asked.body.contains("Sign out here, too?"));
    assert_eq!(scene.sessions().await, 1);
    for headers in [
        &[("Sec-Fetch-Site", "none")][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[],
    ] {
        scene.come_back(&web, "jo");
        let out = web.get_with(&address, headers);
        let there = format!("{}/users/sign_out", scene.signon.url);
        assert_eq!((out.status, out.location), (303, there));
        assert_eq!(scene.sessions().await, 0);
        assert!(web.cookies("localhost").is_empty());
    }
    let page = web.get(&scene.at("/sign-in?why=signed-out"));
    assert!(
        page.body
            .contains(&format!("{}/users/sign_out", scene.signon.url))
    );
    // What belongs to another strategy is not there.
    for path in ["/auth/oidc", "/auth/oidc/jwks", "/auth/oidc/callback"] {
        assert_eq!(web.get(&scene.at(path)).status, 404, "{path}");
    }
}
