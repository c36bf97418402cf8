//! Every outcome of `POST /do`, as the extension sees it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Barrier},
    thread,
};

use serde_json::{Value, json};

use crate::{
    signer::{KID, b64, sign},
    support::{Gateway, claims, header, message, now, post, post_jose},
};

#[test]
fn a_message_is_accepted_once_in_either_body() {
    let gateway = Gateway::start(&[]);
    for (jti, wrap) in [
        ("in-json", post as fn(&str) -> Vec<u8>),
        ("bare", |token| post_jose(token.as_bytes())),
    ] {
        let token = message(&[("jti", json!(jti))]);
        let first = gateway.ask(&wrap(&token));
        assert_eq!(first.status, 200);
        assert_eq!(first.field("Content-Type"), Some("application/json"));
        assert_eq!(first.field("Cache-Control"), Some("no-store"));
        let wanted = json!({"outcome": "accepted", "jti": jti, "routed": true});
        assert_eq!(first.json(), wanted);
        let second = gateway.ask(&wrap(&token));
        assert_eq!(second.status, 200);
        assert_eq!(second.json(), json!({"outcome": "duplicate", "jti": jti}));
    }
    // Signed again, with a later end: still the same message.
    let again = message(&[("jti", json!("bare")), ("exp", json!(now() + 7200))]);
    assert_eq!(gateway.post(&again).outcome(), "duplicate");
}

#[test]
fn what_is_routed_is_said() {
    let gateway = Gateway::start(&[]);
    for (action, routed) in [
        (json!("worklist.create_item"), true),
        (json!("worklist.update_status"), true),
        (json!("worklist.remove_item"), true),
        (json!("echo"), true),
        (json!("worklist.invent"), false),
        (json!(""), false),
        (Value::Null, false),
    ] {
        let answer = gateway.post(&message(&[("action_type", action.clone())]));
        assert_eq!(answer.json()["outcome"], "accepted", "{action}");
        assert_eq!(answer.json()["routed"], routed, "{action}");
    }
}

#[test]
fn a_jti_comes_back_as_json_whatever_is_in_it() {
    let gateway = Gateway::start(&[]);
    for jti in ["\"quoted\\", "ünïcode 😀", "</script>"] {
        let answer = gateway.post(&message(&[("jti", json!(jti))]));
        assert_eq!(answer.json()["jti"], jti);
    }
}

#[test]
fn an_echo_tells_what_each_stage_did() {
    let gateway = Gateway::start(&[]);
    let token = message(&[("action_type", json!("echo"))]);
    for outcome in ["accepted", "duplicate"] {
        let answer = gateway.post(&token).json();
        assert_eq!(answer["outcome"], outcome);
        assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(answer["schema_versions"], json!([1]));
        assert_eq!(answer["kids"], json!([KID]));
        let phases = answer["phases"].as_array().unwrap();
        let names: Vec<_> = phases
            .iter()
            .map(|phase| phase["phase"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["read", "verify", "replay", "log"]);
        for phase in phases {
            assert!(phase["micros"].is_u64(), "{phase}");
        }
    }
}

/// One row for each stage at least; the core's own tests have every refusal.
#[test]
fn each_refusal_has_its_status_and_code() {
    let gateway = Gateway::start(&[]);
    let forged = {
        let token = message(&[]);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        format!("{signed}.{other}{}", &signature[1..])
    };
    let with_header = |header: &str| sign(header.as_bytes(), claims(&[]).as_bytes());
    let deep = format!(r#"{{"parameters":{{"a":{}"#, "[".repeat(4000));
    for (name, token, wanted) in [
        ("empty", String::new(), (400, "token_empty")),
        ("long", "x".repeat(8193), (413, "token_too_long")),
        ("two parts", "a.b".into(), (400, "token_segments")),
        ("no base64", "!!.e30.AA".into(), (400, "header_encoding")),
        (
            "490 brackets",
            format!("{}.e30.{}", b64("[".repeat(490).as_bytes()), b64(&[0; 64])),
            (400, "json_not_object"),
        ),
        (
            "490 brackets inside",
            with_header(&format!(r#"{{"alg":"EdDSA","x":{}}}"#, "[".repeat(490))),
            (400, "json_depth"),
        ),
        (
            "no algorithm",
            with_header(r#"{"alg":"none"}"#),
            (401, "unsupported_alg"),
        ),
        (
            "HS256",
            with_header(r#"{"alg":"HS256"}"#),
            (401, "unsupported_alg"),
        ),
        (
            "a session",
            with_header(r#"{"alg":"EdDSA","typ":"gateway-session+jwt"}"#),
            (400, "unsupported_typ"),
        ),
        (
            "crit",
            with_header(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#),
            (400, "unsupported_crit"),
        ),
        (
            "unknown key",
            with_header(r#"{"alg":"EdDSA","kid":"other"}"#),
            (401, "unknown_key"),
        ),
        ("forged", forged, (401, "bad_signature")),
        (
            "deep claims",
            sign(header().as_bytes(), deep.as_bytes()),
            (400, "json_depth"),
        ),
        (
            "no exp",
            message(&[("exp", Value::Null)]),
            (400, "claim_missing"),
        ),
        (
            "no jti",
            message(&[("jti", Value::Null)]),
            (400, "claim_missing"),
        ),
        (
            "exp as text",
            message(&[("exp", json!("soon"))]),
            (400, "claim_type"),
        ),
        (
            "control in jti",
            message(&[("jti", json!("a\nb"))]),
            (400, "claim_characters"),
        ),
        (
            "schema 2",
            message(&[("schema_version", json!(2))]),
            (403, "unsupported_schema"),
        ),
        (
            "expired",
            message(&[("iat", json!(now() - 7200)), ("exp", json!(now() - 3600))]),
            (403, "expired"),
        ),
        (
            "future",
            message(&[("iat", json!(now() + 600))]),
            (403, "issued_in_future"),
        ),
        (
            "not yet",
            message(&[("nbf", json!(now() + 600))]),
            (403, "not_yet_valid"),
        ),
        (
            "too long a life",
            message(&[("exp", json!(now() + 50_000))]),
            (403, "lifetime_too_long"),
        ),
        (
            "backwards",
            message(&[("exp", json!(now() - 1))]),
            (400, "lifetime_empty"),
        ),
        (
            "other issuer",
            message(&[("iss", json!("http://evil.example"))]),
            (403, "wrong_issuer"),
        ),
        (
            "other gateway",
            message(&[("aud", json!("other-gateway"))]),
            (403, "wrong_audience"),
        ),
    ] {
        let answer = gateway.post(&token);
        let (status, code) = answer.refusal();
        assert_eq!((status, code.as_str()), wanted, "{name}");
        assert_eq!(answer.field("Retry-After"), None, "{name}");
        for secret in ["screening-gateway", "localhost:8080", KID] {
            assert!(!answer.body.contains(secret), "{name}: {}", answer.body);
        }
    }
    gateway.is_well();
}

#[test]
fn the_same_id_with_other_content_is_a_conflict() {
    let gateway = Gateway::start(&[]);
    let jti = ("jti", json!("one"));
    assert_eq!(
        gateway.post(&message(std::slice::from_ref(&jti))).outcome(),
        "accepted"
    );
    let other = message(&[jti, ("sub", json!("appointment-2"))]);
    assert_eq!(gateway.post(&other).refusal(), (409, "jti_conflict".into()));
}

#[test]
fn a_full_memory_says_so_and_when_to_come_back() {
    let gateway = Gateway::start(&[("GATEWAY_REPLAY_CAPACITY", "1")]);
    let first = message(&[]);
    assert_eq!(gateway.post(&first).outcome(), "accepted");
    let answer = gateway.post(&message(&[]));
    assert_eq!(answer.refusal(), (503, "replay_full".into()));
    assert_eq!(answer.field("Retry-After"), Some("30"));
    assert_eq!(gateway.post(&first).outcome(), "duplicate");
}

#[test]
fn of_fifty_copies_at_once_one_is_accepted() {
    const COPIES: usize = 50;
    let gateway = Gateway::start(&[("GATEWAY_PER_ADDRESS", "64")]);
    let token = message(&[("jti", json!("storm"))]);
    let ready = Arc::new(Barrier::new(COPIES));
    let senders: Vec<_> = (0..COPIES)
        .map(|_| {
            let (mut client, token, ready) = (gateway.client(), post(&token), Arc::clone(&ready));
            thread::spawn(move || {
                ready.wait();
                client.send(&token);
                client.answer().outcome()
            })
        })
        .collect();
    let mut outcomes = BTreeMap::new();
    for sender in senders {
        *outcomes.entry(sender.join().unwrap()).or_insert(0) += 1;
    }
    let wanted = [
        ("accepted".to_owned(), 1),
        ("duplicate".to_owned(), COPIES - 1),
    ];
    assert_eq!(outcomes, BTreeMap::from(wanted));
    // Lines are written in order: once a later one is there, all of the storm's are.
    gateway.post(&message(&[("jti", json!("after"))]));
    gateway.lines.wait_for("jti=\"after\"");
    assert_eq!(gateway.lines.text().matches("jti=\"storm\"").count(), 1);
}
