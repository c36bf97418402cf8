//! Stopping in order: what has begun is finished, what is idle ends, the exit code is 0.

use serde_json::json;

use crate::support::{Gateway, message, post, request};

#[test]
fn a_request_that_has_begun_is_answered() {
    for signal in ["TERM", "INT"] {
        let gateway = Gateway::start(&[]);
        let mut idle = gateway.client();
        idle.send(&request("GET /", &[], b""));
        assert_eq!(idle.answer().status, 200);
        let silent = gateway.client();
        let mut begun = gateway.client();
        let bytes = post(&message(&[]));
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        begun.send(first);
        // The three connections are in their slots, in order, once a fourth is answered.
        gateway.is_well();
        gateway.signal(signal);
        assert_eq!(idle.rest(), "", "{signal}: an idle connection is closed");
        assert_eq!(silent.rest(), "", "{signal}: so is one that never spoke");
        begun.send(rest);
        let answer = begun.answer();
        assert_eq!(answer.outcome(), "accepted", "{signal}");
        assert_eq!(answer.field("Connection"), Some("close"), "{signal}");
        let (status, closing) = gateway.ended();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(closing.contains("2 accepted, 0 duplicates"), "{closing}");
    }
}

#[test]
fn nobody_is_let_in_after_the_signal_and_refusals_are_told_at_the_end() {
    let gateway = Gateway::start(&[]);
    gateway.post("a.b.c");
    gateway.post(&message(&[("aud", json!("x"))]));
    let mut begun = gateway.client();
    begun.send(b"GET / HTTP/1.1\r\n");
    gateway.is_well();
    gateway.signal("TERM");
    gateway.lines.wait_for("asked to stop");
    begun.send(b"Host: localhost\r\n\r\n");
    assert_eq!(begun.answer().status, 200);
    let address = gateway.address;
    let (status, closing) = gateway.ended();
    assert_eq!(status.code(), Some(0));
    assert!(
        closing.ends_with("1 accepted, 0 duplicates, 1 header_encoding, 1 wrong_audience"),
        "{closing}"
    );
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_second_signal_ends_at_once() {
    let gateway = Gateway::start(&[]);
    let mut begun = gateway.client();
    begun.send(b"GET / HTTP/1.1\r\n");
    gateway.is_well();
    gateway.signal("INT");
    gateway.lines.wait_for("asked to stop");
    gateway.signal("INT");
    assert_eq!(gateway.status().code(), Some(130));
}
