//! What is no request, or no message: each gets its own 4xx, and the next good request is
//! served. The rows are the ways in which an unguarded server of this kind was killed or
//! wedged, and the ones that smuggle one request inside another.

use crate::{
    signer::{b64, sign},
    support::{Gateway, header, message, post, post_jose, request},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Status and code for bytes after which nothing is promised but an answer and a close.
#[track_caller]
fn answered(gateway: &Gateway, bytes: &[u8]) -> (u16, String) {
    let mut client = gateway.client();
    // The gateway may have answered and closed before the last byte is sent.
    client.send_anyway(bytes).ok();
    let answer = client.answer();
    answer.refusal()
}

#[test]
fn bad_bodies_are_named() {
    let gateway = Gateway::start(&[]);
    let post = |body: &[u8]| request("POST /do", &[JSON], body);
    let nested = |depth| {
        let claims = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        sign(
            header().as_bytes(),
            format!(r#"{{"parameters":{claims}}}"#).as_bytes(),
        )
    };
    let deep = format!(r#"{{"message":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for (name, bytes, wanted) in [
        (
            "missing",
            request("POST /do", &[JSON], b""),
            (400, "body_missing"),
        ),
        (
            "missing, said",
            request("POST /do", &[JSON, ("Content-Length", "0")], b""),
            (400, "body_missing"),
        ),
        ("not JSON", post(b"hello"), (400, "json_syntax")),
        ("cut", post(b"{\"message\":"), (400, "json_syntax")),
        ("an array", post(b"[]"), (400, "json_not_object")),
        ("no message", post(b"{}"), (400, "message_missing")),
        (
            "message of another type",
            post(br#"{"message":1}"#),
            (400, "message_type"),
        ),
        (
            "timestamp of another type",
            post(br#"{"message":"a.b.c","timestamp":1}"#),
            (400, "message_type"),
        ),
        (
            "message twice",
            post(br#"{"message":"a","message":"b"}"#),
            (400, "json_duplicate"),
        ),
        (
            "byte-order mark",
            post(b"\xef\xbb\xbf{}"),
            (400, "json_bom"),
        ),
        (
            "not UTF-8",
            post(b"{\"message\":\"\xff\"}"),
            (400, "json_utf8"),
        ),
        ("deep", post(deep.as_bytes()), (400, "json_depth")),
        (
            "text/plain",
            request("POST /do", &[("Content-Type", "text/plain")], b"a.b.c"),
            (415, "content_type"),
        ),
        (
            "form",
            request(
                "POST /do",
                &[("Content-Type", "application/x-www-form-urlencoded")],
                b"a=b",
            ),
            (415, "content_type"),
        ),
        (
            "no type",
            request("POST /do", &[], b"a.b.c"),
            (415, "content_type"),
        ),
        (
            "two types",
            request("POST /do", &[JSON, JSON], b"{}"),
            (415, "content_type"),
        ),
        (
            "a type among others",
            request(
                "POST /do",
                &[("Content-Type", "application/json, text/plain")],
                b"{}",
            ),
            (415, "content_type"),
        ),
        (
            "100 KB",
            request("POST /do", &[JSON], &[b'x'; 100_000]),
            (413, "body_too_large"),
        ),
        (
            "one byte too many",
            request("POST /do", &[JSON], &[b'x'; 16_385]),
            (413, "body_too_large"),
        ),
        (
            "the largest",
            request("POST /do", &[JSON], &[b'x'; 16_384]),
            (400, "json_syntax"),
        ),
        (
            "32 GB announced",
            request("POST /do", &[JSON, ("Content-Length", "34359738368")], b"x"),
            (413, "body_too_large"),
        ),
        (
            "2^63 announced",
            request(
                "POST /do",
                &[JSON, ("Content-Length", "9223372036854775808")],
                b"x",
            ),
            (413, "body_too_large"),
        ),
        (
            "32 GB to a page",
            request("GET /", &[("Content-Length", "34359738368")], b"x"),
            (413, "body_too_large"),
        ),
        (
            "chunks",
            request("POST /do", &[JSON, ("Transfer-Encoding", "chunked")], b""),
            (411, "length_required"),
        ),
        (
            "bare, with line end",
            post_jose(b"a.b.c\n"),
            (400, "header_encoding"),
        ),
        (
            "claims nested 10,000 deep",
            post_jose(nested(10_000).as_bytes()),
            (413, "body_too_large"),
        ),
        (
            "claims nested 5,000 deep",
            post_jose(nested(5000).as_bytes()),
            (413, "token_too_long"),
        ),
        (
            "claims nested 2,500 deep",
            post_jose(nested(2500).as_bytes()),
            (400, "json_depth"),
        ),
        (
            "490 brackets",
            post_jose(format!("{}..", b64("[".repeat(490).as_bytes())).as_bytes()),
            (400, "json_not_object"),
        ),
    ] {
        let (status, code) = answered(&gateway, &bytes);
        assert_eq!((status, code.as_str()), wanted, "{name}");
        gateway.is_well();
    }
}

#[test]
fn bad_heads_are_named() {
    let gateway = Gateway::start(&[]);
    let get = |fields: &[(&str, &str)]| request("GET /", fields, b"");
    let many: Vec<_> = (0..60).map(|_| ("A", "b")).collect();
    let long = "x".repeat(100_000);
    for (name, bytes, wanted) in [
        (
            "HTTP/2.0",
            b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(),
            (400, "http_version"),
        ),
        (
            "HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            (400, "http_version"),
        ),
        (
            "HTTP/0.9",
            b"GET /\r\n\r\n".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "two Hosts",
            get(&[("Host", "localhost"), ("Host", "localhost")]),
            (400, "host_header"),
        ),
        (
            "no Host",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            (400, "host_header"),
        ),
        (
            "100 KB in one field",
            get(&[("A", &long)]),
            (431, "head_too_large"),
        ),
        (
            "100 KB of target",
            request(&format!("GET /{long}"), &[], b""),
            (431, "head_too_large"),
        ),
        ("60 fields", get(&many), (431, "too_many_headers")),
        (
            "fields without end",
            b"a:\r\n".repeat(5000),
            (431, "head_too_large"),
        ),
        (
            "bare LF",
            b"GET / HTTP/1.1\nHost: localhost\n\n".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "bare CR",
            b"GET / HTTP/1.1\r\nA: b\rContent-Length: 5\r\n\r\n".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "NUL",
            b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "folding",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n Content-Length: 5\r\n\r\n".to_vec(),
            (400, "head_malformed"),
        ),
        (
            "blank before colon",
            get(&[("Content-Length ", "5")]),
            (400, "head_malformed"),
        ),
        (
            "absolute target",
            request("GET http://localhost/", &[], b""),
            (400, "target_form"),
        ),
        (
            "CONNECT",
            request("CONNECT localhost:1", &[], b""),
            (400, "target_form"),
        ),
        (
            "two lengths",
            get(&[("Content-Length", "5"), ("Content-Length", "6")]),
            (400, "content_length"),
        ),
        (
            "a list of lengths",
            get(&[("Content-Length", "5, 5")]),
            (400, "content_length"),
        ),
        (
            "length and chunks",
            get(&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]),
            (411, "length_required"),
        ),
        (
            "some other coding",
            get(&[("Transfer-Encoding", "xchunked")]),
            (411, "length_required"),
        ),
        (
            "other expectation",
            get(&[("Expect", "the worst")]),
            (417, "unknown_expectation"),
        ),
        (
            "no such path",
            request("GET /nothing", &[], b""),
            (404, "not_found"),
        ),
        (
            "path with dots",
            request("GET /healthcheck/../do", &[], b""),
            (404, "not_found"),
        ),
        (
            "method of another path",
            request("GET /do", &[], b""),
            (405, "method_not_allowed"),
        ),
        (
            "method of none",
            request("DELETE /", &[], b""),
            (405, "method_not_allowed"),
        ),
        (
            "TRACE",
            request("TRACE /do", &[], b""),
            (405, "method_not_allowed"),
        ),
        (
            "unknown method",
            request("BREW /do", &[], b""),
            (501, "method_unknown"),
        ),
    ] {
        let (status, code) = answered(&gateway, &bytes);
        assert_eq!((status, code.as_str()), wanted, "{name}");
        gateway.is_well();
    }
}

#[test]
fn methods_that_a_path_has_are_listed() {
    let gateway = Gateway::start(&[]);
    for (line, wanted) in [
        ("GET /do", "POST, OPTIONS"),
        ("PUT /", "GET, HEAD"),
        ("POST /healthcheck/live", "GET, HEAD"),
        ("OPTIONS /healthcheck/ready", "GET, HEAD"),
    ] {
        let answer = gateway.ask(&request(line, &[], b""));
        assert_eq!(
            answer.refusal(),
            (405, "method_not_allowed".into()),
            "{line}"
        );
        assert_eq!(answer.field("Allow"), Some(wanted), "{line}");
    }
}

/// After each of these nobody can be sure where the next request begins: the one that was
/// hidden behind it is never served.
#[test]
fn nothing_is_smuggled_behind_an_unclear_end() {
    let gateway = Gateway::start(&[]);
    let hidden = post(&message(&[("jti", "smuggled".into())]));
    for (name, fields) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 5"),
        ("unreadable length", "Content-Length: -1"),
        (
            "length and chunks",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
        ),
        ("chunks", "Transfer-Encoding: chunked"),
        ("identity", "Transfer-Encoding: identity"),
        ("blank before colon", "Content-Length : 5"),
        ("too large", "Content-Length: 100000"),
    ] {
        let head = format!(
            "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n\r\n"
        );
        let mut client = gateway.client();
        client.send(&[head.as_bytes(), &hidden, b"0\r\n\r\n"].concat());
        client.finish_sending();
        let rest = client.rest();
        assert_eq!(rest.matches("\r\nServer: ").count(), 1, "{name}: {rest}");
        assert!(rest.starts_with("HTTP/1.1 4"), "{name}: {rest}");
        assert!(rest.contains("\r\nConnection: close\r\n"), "{name}: {rest}");
    }
    gateway.is_well();
    assert!(!gateway.lines.text().contains("smuggled"));
}

/// Requests and then a reset, as a client that is killed does it.
#[test]
fn clients_that_vanish_are_not_noticed() {
    let gateway = Gateway::start(&[]);
    for _ in 0..200 {
        let mut client = gateway.client();
        client.send(&request("GET /", &[], b""));
        // Dropped with its answer unread: the kernel resets the connection.
    }
    gateway.is_well();
    assert!(!gateway.lines.text().contains("panic"));
}
