//! What the log says, what it never says, and that nothing waits for it.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::json;

use crate::{
    signer::{KID, PUBLIC_JWK},
    support::{Client, Gateway, Unread, command, message, post, request},
};

#[test]
fn an_accepted_message_is_one_line() {
    let gateway = Gateway::start(&[]);
    gateway.post(&message(&[("jti", json!("m-1"))]));
    let line = gateway.lines.wait_for("accepted");
    let (_, said) = line.split_once("] ").unwrap();
    assert_eq!(
        said,
        format!(
            "accepted jti=\"m-1\" kid=\"{KID}\" sub=\"appointment-1\" action_type=\"worklist.create_item\""
        )
    );
    assert!(line.contains(" INFO "), "{line}");
}

#[test]
fn content_is_printed_only_where_it_was_asked_for() {
    let silent = Gateway::start(&[]);
    let spoken = Gateway::start(&[("GATEWAY_LOG_CONTENT", "1")]);
    for gateway in [&silent, &spoken] {
        gateway.post(&message(&[("jti", json!("m-1"))]));
        gateway.lines.wait_for("jti=\"m-1\"");
    }
    let line = spoken.lines.wait_for("accepted");
    assert!(
        line.ends_with(
            r#" parameters={"worklist_item":{"participant":{"name":"ZZTEST, Ann","nhs_number":"9990000018"}}}"#
        ),
        "{line}"
    );
    let text = silent.lines.text();
    for content in ["ZZTEST", "9990000018", "parameters"] {
        assert!(!text.contains(content), "{text}");
    }
}

/// The line about it is the only one that these levels let through.
#[test]
fn a_log_that_leaves_messages_out_says_so() {
    for level in ["error", "warn"] {
        let mut child = command(&[
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_ID", "site"),
            ("GATEWAY_LOG", level),
            ("JWT_PUBLIC_KEY", PUBLIC_JWK),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.contains(" ERROR "), "{level}: {line}");
        assert!(line.contains("they are kept nowhere"), "{level}: {line}");
    }
}

#[test]
fn claims_cannot_write_lines_of_their_own() {
    let gateway = Gateway::start(&[("GATEWAY_LOG_CONTENT", "1"), ("GATEWAY_LOG", "debug")]);
    let forged = "x\" kid=\"none\u{202e}";
    let token = message(&[
        ("jti", json!(forged)),
        (
            "sub",
            json!("a\nINFO accepted jti=\"forged\"\r\u{1b}[2J\u{9b}"),
        ),
        ("action_type", json!("b\u{2028}c\\")),
        ("parameters", json!({"text": "\u{85}\u{7f}d"})),
    ]);
    assert_eq!(gateway.post(&token).outcome(), "accepted");
    let line = gateway.lines.wait_for("accepted");
    let (_, said) = line.split_once("accepted ").unwrap();
    assert_eq!(
        said,
        format!(
            r#"jti="x\" kid=\"none\u{{202e}}" kid="{KID}" sub="a\nINFO accepted jti=\"forged\"\r\u{{1b}}[2J\u{{9b}}" action_type="b\u{{2028}}c\\" parameters={{"text":"\u{{85}}\u{{7f}}d"}}"#
        )
    );
    let text = gateway.lines.text();
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
    for line in text.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "{line}");
    }
}

#[test]
fn strangers_leave_no_lines_and_no_token_is_ever_logged() {
    let token = message(&[]);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    let quiet = Gateway::start(&[]);
    let verbose = Gateway::start(&[("GATEWAY_LOG", "debug")]);
    for gateway in [&quiet, &verbose] {
        gateway.ask(b"\x16\x03\x01");
        gateway.ask(&request("GET /", &[("Host", "evil.example")], b""));
        gateway.ask(&request("GET /secret", &[], b""));
        assert_eq!(gateway.post(&forged).refusal().1, "bad_signature");
        assert_eq!(
            gateway.post(&message(&[("aud", json!("x"))])).refusal().1,
            "wrong_audience"
        );
    }
    quiet.lines.wait_for("wrong_audience");
    let quiet = quiet.lines.text();
    for stranger in [
        "head_malformed",
        "host_not_allowed",
        "not_found",
        "bad_signature",
        "evil",
    ] {
        assert!(!quiet.contains(stranger), "{quiet}");
    }
    assert!(
        quiet.contains(" WARN "),
        "signed by someone we know: {quiet}"
    );
    verbose.lines.wait_for("bad_signature");
    verbose.lines.wait_for("wrong_audience");
    for part in token.split('.') {
        assert!(!verbose.lines.text().contains(part));
        assert!(!quiet.contains(part));
    }
}

#[test]
fn each_setting_is_told_with_its_origin_and_keys_by_their_ids() {
    let gateway = Gateway::start(&[("GATEWAY_SLOTS", "9")]);
    let text = gateway.lines.text();
    for line in [
        "GATEWAY_SLOTS=9 (environment)",
        "GATEWAY_PER_ADDRESS=9 (default)",
        "GATEWAY_LEEWAY_SECS=30 (default)",
        "GATEWAY_HOSTS=127.0.0.1,localhost,screening-gateway (default)",
        "no GATEWAY_JOURNAL: a message is kept in this log alone",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains(&format!("key \"{KID}\"")), "{text}");
}

#[test]
fn a_closed_console_stops_no_answer() {
    let mut gateway = Unread::start();
    // Nobody reads any more, and nobody ever will.
    drop(gateway.console.take());
    let mut client = Client::new(gateway.address);
    for _ in 0..20 {
        client.send(&post(&message(&[])));
        assert_eq!(client.answer().outcome(), "accepted");
    }
    assert!(gateway.stop().success());
}

#[test]
fn a_stalled_console_stops_no_answer() {
    // The pipe stays open and is not read: it takes 64 KiB, and then waits for ever.
    let gateway = Unread::start();
    let mut client = Client::new(gateway.address);
    let filler = "x".repeat(3000);
    for _ in 0..200 {
        let token = message(&[("parameters", json!({"filler": filler}))]);
        client.send(&post(&token));
        assert_eq!(client.answer().outcome(), "accepted");
    }
    assert!(gateway.stop().success(), "it even stops in order");
}
