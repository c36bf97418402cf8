//! Connections: how requests follow each other, how long they may take, and who has to go
//! when there are too many.

use std::{process::Command, time::Duration};

use serde_json::json;

use crate::{
    signer::PUBLIC_JWK,
    support::{Client, Folder, Gateway, ID, message, post, request},
};

fn page() -> Vec<u8> {
    request("GET /", &[], b"")
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let gateway = Gateway::start(&[]);
    let mut client = gateway.client();
    for n in 0..20 {
        client.send(&post(&message(&[("jti", json!(format!("kept-{n}")))])));
        let answer = client.answer();
        assert_eq!(answer.json()["jti"], format!("kept-{n}"));
        assert_eq!(answer.field("Connection"), None);
    }
    // A refusal of a whole request leaves the connection as good as it was.
    for (bytes, status) in [
        (post("a.b.c"), 400),
        (
            request("POST /do", &[("Content-Type", "text/plain")], b"x"),
            415,
        ),
        (request("GET /nothing", &[], b""), 404),
        (request("BREW /", &[], b""), 501),
        (request("GET /", &[("Host", "evil.example")], b""), 421),
        (page(), 200),
    ] {
        client.send(&bytes);
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("Connection")), (status, None));
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let gateway = Gateway::start(&[]);
    let mut client = gateway.client();
    let mut all = Vec::new();
    for n in 0..50 {
        all.extend(post(&message(&[("jti", json!(format!("pipelined-{n}")))])));
        all.extend(page());
        // An empty line that a client left behind a body (RFC 9112 section 2.2).
        all.extend(b"\r\n");
    }
    let sender = std::thread::spawn({
        let mut client = client.another();
        move || client.send(&all)
    });
    for n in 0..50 {
        let answer = client.answer();
        assert_eq!(answer.json()["jti"], format!("pipelined-{n}"));
        assert!(client.answer().body.contains("running"));
    }
    sender.join().unwrap();
}

#[test]
fn a_request_may_come_in_pieces() {
    let gateway = Gateway::start(&[]);
    let mut client = gateway.client();
    for byte in post(&message(&[])) {
        client.send(&[byte]);
    }
    assert_eq!(client.answer().outcome(), "accepted");
}

#[test]
fn a_close_is_said_and_done() {
    let gateway = Gateway::start(&[]);
    for (name, bytes) in [
        ("asked", request("GET /", &[("Connection", "close")], b"")),
        (
            "asked among others",
            request("GET /", &[("Connection", "te, Close")], b""),
        ),
        (
            "HTTP/1.0",
            b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "refused with a body to come",
            request("POST /x", &[("Content-Length", "5")], b""),
        ),
    ] {
        let mut client = gateway.client();
        client.send(&bytes);
        let answer = client.answer();
        assert_eq!(answer.field("Connection"), Some("close"), "{name}");
        client.finish_sending();
        assert_eq!(client.rest(), "", "{name}");
    }
}

#[test]
fn a_head_request_is_answered_without_body() {
    let gateway = Gateway::start(&[]);
    let mut client = gateway.client();
    client.send(&page());
    let whole = client.answer();
    client.send(&request("HEAD /", &[], b""));
    let (status, head) = client.head();
    assert_eq!(status, 200);
    let without_date = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("Date: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_date(&head), without_date(&whole.head));
    // Nothing of a body came: the next answer begins at once.
    client.send(&request("HEAD /do", &[], b""));
    assert_eq!(client.head().0, 405);
    client.send(&page());
    assert_eq!(client.answer().status, 200);
    // Nor where the request's end is not known.
    for (name, fields, wanted) in [
        ("chunks", &[("Transfer-Encoding", "chunked")][..], 411),
        ("two lengths", &[("Content-Length", "0, 0")], 400),
        ("two hosts", &[("Host", "localhost"), ("Host", "a")], 400),
    ] {
        let mut client = gateway.client();
        client.send(&request("HEAD /", fields, b""));
        assert_eq!(client.head().0, wanted, "{name}");
        client.finish_sending();
        assert_eq!(client.rest(), "", "{name}");
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let gateway = Gateway::start(&[]);
    let body = json!({"message": message(&[])}).to_string();
    let length = body.len().to_string();
    let fields = |kind| {
        [
            ("Content-Type", kind),
            ("Content-Length", length.as_str()),
            ("Expect", "100-continue"),
        ]
    };
    let mut client = gateway.client();
    client.send(&request("POST /do", &fields("application/json"), b""));
    assert_eq!(client.head(), (100, "HTTP/1.1 100 Continue\r\n\r\n".into()));
    client.send(body.as_bytes());
    assert_eq!(client.answer().outcome(), "accepted");
    // With the body in hand there is nothing to wait for.
    client.send(&request(
        "POST /do",
        &fields("application/json"),
        body.as_bytes(),
    ));
    assert_eq!(client.answer().outcome(), "duplicate");
    // Refused by its head: the body is never asked for.
    client.send(&request("POST /do", &fields("text/plain"), b""));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.field("Connection")),
        (415, Some("close"))
    );
}

#[test]
fn a_body_that_is_refused_while_it_comes_does_not_cost_the_answer() {
    let gateway = Gateway::start(&[]);
    for _ in 0..20 {
        let mut client = gateway.client();
        let large = vec![b'x'; 200_000];
        client.send(&request(
            "POST /do",
            &[("Content-Type", "application/json")],
            &large,
        ));
        assert_eq!(client.answer().refusal(), (413, "body_too_large".into()));
        client.finish_sending();
        assert_eq!(client.rest(), "");
    }
}

/// The one test that waits for deadlines; what is asserted is their effects, not the times.
#[test]
fn what_does_not_come_is_not_waited_for() {
    let gateway = Gateway::start(&[]);
    let head = b"POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n";
    let silent = gateway.client();
    let mut cut_head = gateway.client();
    cut_head.send(&head[..30]);
    let mut cut_body = gateway.client();
    cut_body.send(head);
    cut_body.send(b"{");
    let mut dripping = gateway.client();
    let drip = std::thread::spawn(move || {
        // A byte at a time, for as long as the gateway takes them.
        dripping.send(b"GET / HTTP/1.1\r\nX: ");
        while dripping.send_anyway(b"x").is_ok()
            && dripping.nothing_within(Duration::from_millis(100))
        {}
        dripping.rest()
    });
    let mut idle = gateway.client();
    idle.send(&page());
    assert_eq!(idle.answer().status, 200);

    assert_eq!(
        silent.rest(),
        "",
        "a client that sent nothing is told nothing"
    );
    for (name, client) in [("head", cut_head), ("body", cut_body)] {
        let rest = client.rest();
        assert!(
            rest.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{name}: {rest}"
        );
        assert!(rest.contains("\r\nRetry-After: 1\r\n"), "{name}: {rest}");
        assert!(
            rest.contains(r#""code":"request_timeout""#),
            "{name}: {rest}"
        );
    }
    let dripped = drip.join().unwrap();
    assert!(
        dripped.is_empty() || dripped.starts_with("HTTP/1.1 408 "),
        "{dripped}"
    );
    assert_eq!(idle.rest(), "");
    gateway.is_well();
}

#[test]
fn the_newest_connection_wins_over_the_longest_reader() {
    let gateway = Gateway::start(&[("GATEWAY_SLOTS", "2"), ("GATEWAY_PER_ADDRESS", "2")]);
    gateway.settle();
    let begin = |gateway: &Gateway| {
        let mut client = gateway.client();
        client.send(b"GET / HTTP/1.1\r\n");
        client
    };
    let first = begin(&gateway);
    let mut second = begin(&gateway);
    let mut third = begin(&gateway);
    let rest = first.rest();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 429 "),
        "{rest}"
    );
    for client in [&mut second, &mut third] {
        client.send(b"Host: localhost\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn hundreds_of_idle_connections_keep_nobody_out() {
    let gateway = Gateway::start(&[]);
    let idle: Vec<_> = (0..400).map(|_| gateway.client()).collect();
    for _ in 0..20 {
        gateway.is_well();
    }
    drop(idle);
    gateway.is_well();
}

#[test]
fn a_client_that_never_reads_is_left_behind() {
    let gateway = Gateway::start(&[("GATEWAY_SLOTS", "8"), ("GATEWAY_PER_ADDRESS", "8")]);
    let mut greedy = gateway.client();
    let page = page();
    // Until the gateway, whose answers nobody takes, reads no more.
    greedy.send_until_full(&page);
    for _ in 0..10 {
        gateway.is_well();
    }
    // Its answers are due, too: in the end it is closed.
    let closed = |client: &mut Client| client.send_anyway(&page).is_err();
    while !closed(&mut greedy) {}
    gateway.is_well();
}

#[test]
fn slots_without_file_descriptors_are_told_or_refused_at_the_start() {
    let line = |limit: u32, connections: u32| {
        format!(
            "file descriptors: {limit} are allowed, and {connections} connections need {}: \
             raise LimitNOFILE= of the unit (ulimit -n), or lower GATEWAY_SLOTS",
            connections + 24
        )
    };
    let apart = [("GATEWAY_METRICS_LISTEN", "127.0.0.1:0")];
    for (name, limit, settings, told) in [
        ("enough", "-n 88", &[][..], None),
        ("one too few", "-n 87", &[], Some(line(87, 64))),
        (
            "metrics have slots too",
            "-n 88",
            &apart,
            Some(line(88, 68)),
        ),
    ] {
        let gateway = Gateway::start_within(limit, settings);
        gateway.is_well();
        let said = gateway.lines.text();
        let said = said.lines().find(|line| line.contains("descriptors"));
        let said = said.and_then(|line| Some(line.split_once("] ")?.1.to_owned()));
        assert_eq!(said, told, "{name}");
    }
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 25 && exec \"$0\""])
        .arg(env!("CARGO_BIN_EXE_gateway-min"))
        .env_clear()
        .envs([
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_ID", ID),
            ("JWT_PUBLIC_KEY", &key),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(71));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let reasons = stderr
        .lines()
        .filter(|line| line.starts_with("gateway-min"));
    let wanted = format!("gateway-min: {}", line(25, 64));
    assert_eq!(reasons.collect::<Vec<_>>(), [wanted]);
}

#[test]
fn a_lack_of_file_descriptors_is_waited_out() {
    let settings = [("GATEWAY_SLOTS", "64"), ("GATEWAY_PER_ADDRESS", "64")];
    let gateway = Gateway::start_within("-n 40", &settings);
    let idle: Vec<_> = (0..60).map(|_| gateway.client()).collect();
    gateway.lines.wait_for("accept failed");
    // Nobody closes anything but the gateway: it ends what sends nothing.
    gateway.is_well();
    drop(idle);
    gateway.is_well();
}
