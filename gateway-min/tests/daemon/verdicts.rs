//! `gateway-min verify`: for each line the verdict of the daemon.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    signer::{KID, PUBLIC_JWK},
    support::{Gateway, ID, ISSUER, command, message, now},
};

fn verify() -> Command {
    let mut command = command(&[
        ("GATEWAY_ID", ID),
        ("GATEWAY_ISSUER", ISSUER),
        ("JWT_PUBLIC_KEY", PUBLIC_JWK),
    ]);
    command.arg("verify");
    command
}

fn verdicts(command: &mut Command, input: &[u8]) -> Vec<Value> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr.escape_ascii().to_string(), "");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_line_has_its_verdict() {
    let exp = now() + 3600;
    let good = message(&[("jti", json!("v-1")), ("exp", json!(exp))]);
    let long = "x".repeat(100_000);
    let input = [
        good.clone(),
        good.clone(),
        serde_json::to_string(&good).unwrap(),
        format!("{good}\r"),
        message(&[("action_type", json!("later"))]),
        message(&[("aud", json!("other"))]),
        String::new(),
        long,
        "\"a\\u0000b\"".into(),
        "\"open".into(),
        format!("{good} "),
    ]
    .join("\n");
    let accepted = json!({
        "outcome": "accepted", "jti": "v-1", "kid": KID, "routed": true, "expires": exp,
        "sub": "appointment-1", "action_type": "worklist.create_item",
    });
    let got = verdicts(&mut verify(), input.as_bytes());
    for (at, line) in got[..4].iter().enumerate() {
        assert_eq!(*line, accepted, "line {at}");
    }
    assert_eq!(
        (&got[4]["outcome"], &got[4]["routed"]),
        (&json!("accepted"), &json!(false))
    );
    let codes: Vec<_> = got[5..]
        .iter()
        .map(|line| line["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "wrong_audience",
            "token_empty",
            "token_too_long",
            "token_segments",
            "json_syntax",
            "signature_length"
        ]
    );
    let refused = json!({
        "outcome": "refused", "code": "wrong_audience", "stage": "audience",
        "detail": "not for this gateway",
    });
    assert_eq!(got[5], refused);
    assert_eq!(got[7]["detail"], "token of 100000 bytes, longest is 8192");
}

#[test]
fn the_verdict_is_the_daemons() {
    let gateway = Gateway::start(&[]);
    let tokens = [
        message(&[]),
        message(&[("exp", json!(now() - 100)), ("iat", json!(now() - 200))]),
        message(&[("iss", json!("other"))]),
        "a.b.c".to_owned(),
        "x".repeat(9000),
    ];
    let verdicts = verdicts(&mut verify(), tokens.join("\n").as_bytes());
    for (token, verdict) in tokens.iter().zip(verdicts) {
        let answer = gateway.post(token).json();
        let outcome = if answer["code"].is_string() {
            "refused"
        } else {
            "accepted"
        };
        assert_eq!(verdict["outcome"], outcome, "{answer}");
        assert_eq!(verdict["code"], answer["code"]);
        assert_eq!(verdict["stage"], answer["stage"]);
    }
}

#[test]
fn a_time_can_be_given() {
    let token = message(&[("iat", json!(1_700_000_000)), ("exp", json!(1_700_003_600))]);
    for (time, wanted) in [
        ("1700000000", Value::Null),
        ("1700003629", Value::Null),
        ("1700003630", json!("expired")),
        ("1699999969", json!("issued_in_future")),
    ] {
        let got = verdicts(verify().args(["--now", time]), token.as_bytes());
        assert_eq!(got[0]["code"], wanted, "{time}: {}", got[0]);
    }
    let by_the_clock = verdicts(&mut verify(), token.as_bytes());
    assert_eq!(by_the_clock[0]["code"], "expired");
}

#[test]
fn a_reader_that_has_read_enough_is_no_fault() {
    let mut child = verify()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // The command may end before it has been told everything.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&b"a.b.c\n".repeat(100_000))
        .ok();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
