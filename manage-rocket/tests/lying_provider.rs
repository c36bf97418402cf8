//! A provider that lies, in each way it can: every rule for ID tokens, userinfo, discovery
//! and logout tokens, broken one at a time. Beside each lie stands the honest answer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use common::{
    START, Site,
    web::{Reply, Served, Web, free_port},
};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

const CLIENT: &str = "manage";
const KID: &str = "key-1";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn sign(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = key.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", b64(signature))
}

fn jwk(key: &SigningKey, kid: &str) -> Value {
    let x = b64(key.verifying_key().to_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig" })
}

/// What the provider answers, by path; and how often keys were asked for.
#[derive(Default)]
struct Answers {
    discovery: Value,
    keys: Value,
    token: Value,
    userinfo: Value,
    keys_asked: u32,
}

struct Liar {
    url: String,
    answers: Arc<Mutex<Answers>>,
}

fn serve(mut stream: &TcpStream, answers: &Mutex<Answers>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut length = 0;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).unwrap();
        if field.trim().is_empty() {
            break;
        }
        let (name, value) = field.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut answers = answers.lock().unwrap();
    let answer = match line.split(' ').nth(1).unwrap() {
        "/.well-known/openid-configuration" => answers.discovery.clone(),
        "/jwks" => {
            answers.keys_asked += 1;
            answers.keys.clone()
        }
        "/token" => answers.token.clone(),
        "/userinfo" => answers.userinfo.clone(),
        path => panic!("{path}"),
    };
    let body = answer.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}

impl Liar {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers {
            keys: json!({ "keys": [jwk(&key(1), KID)] }),
            discovery: discovery(&url),
            ..Answers::default()
        }));
        let shared = Arc::clone(&answers);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &shared);
            }
        });
        Self { url, answers }
    }
}

fn discovery(url: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
    })
}

/// One sign-in's honest answers, to be bent.
struct Honest {
    header: Value,
    claims: Value,
    key: SigningKey,
    userinfo: Value,
    token_type: &'static str,
}

struct Scene {
    site: Site,
    manage: String,
    liar: Liar,
    _served: Served,
}

impl Scene {
    async fn new() -> Self {
        let port = free_port();
        let manage = format!("http://localhost:{port}");
        let liar = Liar::start();
        let vars = [
            ("MANAGE_PUBLIC_URL", manage.as_str()),
            ("MANAGE_SIGN_IN", "oidc"),
            ("MANAGE_OIDC_ISSUER", &liar.url),
            ("MANAGE_OIDC_CLIENT_ID", CLIENT),
            ("MANAGE_OIDC_CLIENT_SECRET", "secret"),
        ];
        let site = Site::with_vars(&vars, |config| config.demonstration = true).await;
        let served = Served::start(&site, port).await;
        Self {
            site,
            manage,
            liar,
            _served: served,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.manage)
    }

    /// Begins a sign-in, lets the provider answer as `bend` bends it, and comes back.
    fn come_back(&self, web: &Web, bend: impl FnOnce(&mut Honest)) -> Reply {
        let leave = web.get(&self.at("/auth/oidc"));
        let sent = |name| leave.parameter(name).unwrap();
        let now = self.site.now().as_secs();
        let mut honest = Honest {
            header: json!({ "alg": "EdDSA", "kid": KID, "typ": "JWT" }),
            claims: json!({
                "iss": self.liar.url, "sub": "uid-1", "aud": CLIENT, "iat": now, "exp": now + 300,
                "nonce": sent("nonce"), "auth_time": now, "sid": "sid-1",
                "at_hash": b64(&Sha512::digest("access")[..32]),
            }),
            key: key(1),
            userinfo: json!({
                "sub": "uid-1", "name": "Ada", "organisation": "DEMO", "permissions": ["signin"],
            }),
            token_type: "Bearer",
        };
        bend(&mut honest);
        let token = sign(&honest.key, &honest.header, &honest.claims);
        {
            let mut answers = self.liar.answers.lock().unwrap();
            answers.userinfo = honest.userinfo;
            answers.token = json!({
                "access_token": "access", "token_type": honest.token_type, "id_token": token,
            });
        }
        let state = sent("state");
        web.get(&self.at(&format!("/auth/oidc/callback?state={state}&code=x")))
    }

    fn log_out(&self, token: &str) -> Reply {
        let address = self.at("/auth/oidc/back-channel-logout");
        Web::new().post(&address, &[("logout_token", token)])
    }

    async fn sessions(&self) -> i64 {
        self.site.number("SELECT COUNT(*) FROM sessions").await
    }
}

fn code(reply: &Reply) -> &str {
    common::between(&reply.body, "Code <code>", '<').unwrap_or_default()
}

type Bend = fn(&mut Honest);

#[rocket::async_test]
async fn each_lie_about_a_person_is_found_out() {
    const ID_TOKEN: (u16, &str) = (403, "id_token");
    let scene = Scene::new().await;
    let bent: &[(&str, Bend, (u16, &str))] = &[
        ("honest", |_| (), (303, "")),
        (
            "no at_hash, which need not be",
            |h| {
                h.claims.as_object_mut().unwrap().remove("at_hash");
            },
            (303, ""),
        ),
        (
            "several audiences and azp",
            |h| {
                h.claims["aud"] = json!(["x", CLIENT]);
                h.claims["azp"] = json!(CLIENT);
            },
            (303, ""),
        ),
        (
            "within the leeway of a clock that is behind",
            |h| h.claims["iat"] = json!(START + 60),
            (303, ""),
        ),
        (
            "the key's newer name for its algorithm",
            |h| h.header["alg"] = json!("Ed25519"),
            (303, ""),
        ),
        (
            "another issuer",
            |h| h.claims["iss"] = json!("https://evil.example"),
            ID_TOKEN,
        ),
        (
            "another audience",
            |h| h.claims["aud"] = json!("another"),
            ID_TOKEN,
        ),
        (
            "an audience that begins so",
            |h| h.claims["aud"] = json!("manage2"),
            ID_TOKEN,
        ),
        (
            "several audiences without azp",
            |h| h.claims["aud"] = json!(["x", CLIENT]),
            ID_TOKEN,
        ),
        (
            "another azp",
            |h| h.claims["azp"] = json!("another"),
            ID_TOKEN,
        ),
        (
            "another nonce",
            |h| h.claims["nonce"] = json!("x".repeat(43)),
            ID_TOKEN,
        ),
        (
            "no nonce",
            |h| {
                h.claims.as_object_mut().unwrap().remove("nonce");
            },
            ID_TOKEN,
        ),
        ("expired", |h| h.claims["exp"] = json!(START - 60), ID_TOKEN),
        (
            "no exp",
            |h| {
                h.claims.as_object_mut().unwrap().remove("exp");
            },
            ID_TOKEN,
        ),
        (
            "exp as a text",
            |h| h.claims["exp"] = json!("1900000000"),
            ID_TOKEN,
        ),
        (
            "made in the future",
            |h| h.claims["iat"] = json!(START + 61),
            ID_TOKEN,
        ),
        (
            "no auth_time, though asked for",
            |h| {
                h.claims.as_object_mut().unwrap().remove("auth_time");
            },
            ID_TOKEN,
        ),
        (
            "proved longer ago than asked for",
            |h| h.claims["auth_time"] = json!(START - 43_261),
            ID_TOKEN,
        ),
        (
            "another access token's hash",
            |h| h.claims["at_hash"] = json!(b64(&Sha512::digest("other")[..32])),
            ID_TOKEN,
        ),
        (
            "the hash by another algorithm",
            |h| h.claims["at_hash"] = json!(b64(&Sha256::digest("access")[..16])),
            ID_TOKEN,
        ),
        (
            "nobody",
            |h| {
                h.claims["sub"] = json!("");
                h.userinfo["sub"] = json!("");
            },
            ID_TOKEN,
        ),
        ("another key by the same kid", |h| h.key = key(2), ID_TOKEN),
        (
            "a kid that is not published",
            |h| h.header["kid"] = json!("key-2"),
            ID_TOKEN,
        ),
        (
            "a logout token's type",
            |h| h.header["typ"] = json!("logout+jwt"),
            ID_TOKEN,
        ),
        ("crit", |h| h.header["crit"] = json!(["exp"]), ID_TOKEN),
        ("alg none", |h| h.header["alg"] = json!("none"), ID_TOKEN),
        ("alg HS256", |h| h.header["alg"] = json!("HS256"), ID_TOKEN),
        (
            "alg of another kind of key",
            |h| h.header["alg"] = json!("ES256"),
            ID_TOKEN,
        ),
        (
            "a key that it brings along",
            |h| {
                h.key = key(2);
                h.header["jwk"] = jwk(&key(2), KID);
            },
            ID_TOKEN,
        ),
        (
            "userinfo of somebody else",
            |h| h.userinfo["sub"] = json!("uid-2"),
            (403, "identity"),
        ),
        (
            "userinfo of nobody",
            |h| {
                h.userinfo.as_object_mut().unwrap().remove("sub");
            },
            (403, "identity"),
        ),
        (
            "another kind of access token",
            |h| h.token_type = "DPoP",
            (400, "answer"),
        ),
        (
            "permissions as one text",
            |h| h.userinfo["permissions"] = json!("signin send"),
            (403, "no_permission"),
        ),
    ];
    for (name, bend, expected) in bent {
        let web = Web::new();
        let reply = scene.come_back(&web, bend);
        assert_eq!((reply.status, code(&reply)), *expected, "{name}");
        let signed_in = web.get(&scene.at("/clinics")).status == 200;
        assert_eq!(signed_in, expected.0 == 303, "{name}");
        scene.site.execute("DELETE FROM sessions").await;
    }
    // An HMAC by the public key's bytes, as if it were a secret.
    let leave = Web::new();
    let reply = scene.come_back(&leave, |_| ());
    assert_eq!(reply.status, 303);
    let confused = {
        let signed = format!("{}.{}", b64(r#"{"alg":"HS512"}"#), b64("{}"));
        let secret = key(1).verifying_key().to_bytes();
        let mut mac = Hmac::<Sha512>::new_from_slice(&secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", b64(mac.finalize().into_bytes()))
    };
    assert_eq!(scene.log_out(&confused).status, 400);
}

#[rocket::async_test]
async fn a_session_ends_twelve_hours_after_the_proof() {
    let scene = Scene::new().await;
    let web = Web::new();
    let reply = scene.come_back(&web, |h| h.claims["auth_time"] = json!(START - 43_000));
    assert_eq!(reply.status, 303);
    scene.site.pass(199);
    assert_eq!(web.get(&scene.at("/clinics")).status, 200);
    scene.site.pass(1);
    assert_eq!(web.get(&scene.at("/clinics")).status, 303);
}

#[rocket::async_test]
async fn keys_are_looked_for_again_but_not_for_every_stranger() {
    let scene = Scene::new().await;
    let asked = || scene.liar.answers.lock().unwrap().keys_asked;
    assert_eq!(scene.come_back(&Web::new(), |_| ()).status, 303);
    assert_eq!(asked(), 1);
    let new_key: Bend = |h| {
        h.key = key(2);
        h.header["kid"] = json!("key-2");
    };
    for _ in 0..3 {
        assert_eq!(code(&scene.come_back(&Web::new(), new_key)), "id_token");
    }
    assert_eq!(asked(), 1, "named by strangers, within half a minute");
    scene.liar.answers.lock().unwrap().keys =
        json!({ "keys": [jwk(&key(1), KID), jwk(&key(2), "key-2")] });
    scene.site.pass(30);
    assert_eq!(scene.come_back(&Web::new(), new_key).status, 303);
    assert_eq!(asked(), 2);
    // Two that fit and no kid to choose by.
    let reply = scene.come_back(&Web::new(), |h| {
        h.header.as_object_mut().unwrap().remove("kid");
    });
    assert_eq!(code(&reply), "id_token");
}

#[rocket::async_test]
async fn another_provider_s_description_does_not_do() {
    type Bend = fn(&mut Value);
    let bent: &[(&str, Bend)] = &[
        ("another issuer", |d| {
            d["issuer"] = json!("https://evil.example");
        }),
        ("a token endpoint in the clear", |d| {
            d["token_endpoint"] = json!("http://evil.example/token");
        }),
        ("keys in the clear", |d| {
            d["jwks_uri"] = json!("http://evil.example/jwks");
        }),
        ("a way there that is a script", |d| {
            d["authorization_endpoint"] = json!("javascript:alert(1)");
        }),
        ("no userinfo", |d| {
            d.as_object_mut().unwrap().remove("userinfo_endpoint");
        }),
    ];
    let scene = Scene::new().await;
    for (name, bend) in bent {
        let mut lie = discovery(&scene.liar.url);
        bend(&mut lie);
        scene.liar.answers.lock().unwrap().discovery = lie;
        let reply = Web::new().get(&scene.at("/auth/oidc"));
        assert_eq!((reply.status, code(&reply)), (502, "peer"), "{name}");
        assert!(reply.location.is_empty(), "{name}");
    }
    // And no fault is kept: the next honest answer does.
    scene.liar.answers.lock().unwrap().discovery = discovery(&scene.liar.url);
    assert_eq!(Web::new().get(&scene.at("/auth/oidc")).status, 303);
}

#[rocket::async_test]
async fn only_a_logout_token_ends_sessions() {
    type Bend = fn(&mut Value, &mut Value);
    let scene = Scene::new().await;
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let (web, other) = (Web::new(), Web::new());
    assert_eq!(scene.come_back(&web, |_| ()).status, 303);
    let second: fn(&mut Honest) = |h| h.claims["sid"] = json!("sid-2");
    assert_eq!(scene.come_back(&other, second).status, 303);
    let mut number = 0;
    let mut token = |bend: Bend| {
        number += 1;
        let now = scene.site.now().as_secs();
        let mut header = json!({ "alg": "EdDSA", "kid": KID, "typ": "logout+jwt" });
        let mut claims = json!({
            "iss": scene.liar.url, "aud": CLIENT, "iat": now, "exp": now + 120, "sub": "uid-1",
            "sid": "sid-1", "jti": format!("jti-{number}"), "events": { event: {} },
        });
        bend(&mut header, &mut claims);
        (
            sign(&key(1), &header, &claims),
            sign(&key(2), &header, &claims),
        )
    };
    let bent: &[(&str, Bend)] = &[
        ("another issuer", |_, c| {
            c["iss"] = json!("https://evil.example");
        }),
        ("another audience", |_, c| c["aud"] = json!("another")),
        ("expired", |_, c| c["exp"] = json!(START - 60)),
        ("no exp", |_, c| {
            c.as_object_mut().unwrap().remove("exp");
        }),
        ("made in the future", |_, c| c["iat"] = json!(START + 61)),
        ("no event", |_, c| c["events"] = json!({})),
        ("another event", |_, c| c["events"] = json!({ "x": {} })),
        ("an event that is no object", |_, c| {
            c["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": true });
        }),
        ("an ID token's nonce", |_, c| c["nonce"] = json!("x")),
        ("no jti", |_, c| {
            c.as_object_mut().unwrap().remove("jti");
        }),
        ("about nobody", |_, c| {
            c["sub"] = json!("");
            c["sid"] = json!("");
        }),
        ("an access token's type", |h, _| h["typ"] = json!("at+jwt")),
        ("alg none", |h, _| h["alg"] = json!("none")),
    ];
    for (name, bend) in bent {
        let reply = scene.log_out(&token(*bend).0);
        assert_eq!(
            (reply.status, &*reply.body),
            (400, r#"{"error":"invalid_request"}"#),
            "{name}"
        );
        assert_eq!(reply.header("cache-control"), "no-store", "{name}");
        assert_eq!(scene.sessions().await, 2, "{name}");
    }
    let honest: Bend = |_, _| ();
    assert_eq!(
        scene.log_out(&token(honest).1).status,
        400,
        "by another key"
    );
    assert_eq!(scene.log_out("").status, 400);
    // A person's session that another one's token names is not ended.
    let mixed: Bend = |_, c| c["sub"] = json!("uid-2");
    assert_eq!(scene.log_out(&token(mixed).0).status, 200);
    assert_eq!(scene.sessions().await, 2);

    let (good, _) = token(honest);
    let reply = scene.log_out(&good);
    assert_eq!(
        (reply.status, reply.header("cache-control")),
        (200, "no-store")
    );
    assert_eq!(scene.sessions().await, 1, "the one it names");
    assert_eq!(web.get(&scene.at("/clinics")).status, 303);
    assert_eq!(other.get(&scene.at("/clinics")).status, 200);
    assert_eq!(scene.come_back(&web, |_| ()).status, 303);
    assert_eq!(scene.log_out(&good).status, 400, "once");
    assert_eq!(scene.sessions().await, 2);
    let all: Bend = |_, c| {
        c.as_object_mut().unwrap().remove("sid");
    };
    assert_eq!(scene.log_out(&token(all).0).status, 200);
    assert_eq!(
        scene.sessions().await,
        0,
        "without a sid: all of that person's"
    );
}
