//! What two readers of one connection could cut in two ways. Behind each row stands a good
//! message: it is answered as what it is, behind a request whose end is certain, or not at
//! all, and the connection is closed.

use std::{
    io::Write,
    net::{Ipv4Addr, Shutdown},
};

use serde_json::json;

use crate::{
    answers::{cut, everything},
    crowd::connect,
    support::{Gateway, message, post},
};

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// Answered so, and the connection is closed: the message behind it is not answered.
    Closed(u16, &'static str),
    /// Answered so, and then the message behind it is.
    Next(u16, &'static str),
    /// Neither is answered: the message belongs to a body that is not whole.
    Nothing,
}

use Then::{Closed, Next, Nothing};

const LENGTH: Then = Closed(400, "content_length");
const CODING: Then = Closed(411, "length_required");
const MALFORMED: Then = Closed(400, "head_malformed");
const VERSION: Then = Closed(400, "http_version");
const TARGET: Then = Closed(400, "target_form");
const EXPECTATION: Then = Closed(417, "unknown_expectation");

/// Fields of a `POST /do` with `Host` and a type, and what stands in its body's place.
const FIELDS: &[(&str, &str, &str, Then)] = &[
    (
        "length, coding",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "coding, length",
        "Transfer-Encoding: chunked\nContent-Length: 5",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "two lengths",
        "Content-Length: 5\nContent-Length: 6",
        "hello",
        LENGTH,
    ),
    (
        "two lengths, one empty",
        "Content-Length: 0\nContent-Length: 5",
        "hello",
        LENGTH,
    ),
    (
        "the same length twice",
        "Content-Length: 5\nContent-Length: 5",
        "hello",
        LENGTH,
    ),
    (
        "the same length twice in one",
        "Content-Length: 5, 5",
        "hello",
        LENGTH,
    ),
    ("two lengths in one", "Content-Length: 5 6", "hello", LENGTH),
    ("negative", "Content-Length: -1", "hello", LENGTH),
    ("hexadecimal", "Content-Length: 0x5", "hello", LENGTH),
    ("empty length", "Content-Length:", "hello", LENGTH),
    (
        "beyond 64 bits",
        "Content-Length: 18446744073709551621",
        "hello",
        LENGTH,
    ),
    ("a plus", "Content-Length: +5", "hello", LENGTH),
    ("a fraction", "Content-Length: 5.0", "hello", LENGTH),
    ("an exponent", "Content-Length: 5e0", "hello", LENGTH),
    ("with a parameter", "Content-Length: 5;a=b", "hello", LENGTH),
    ("quoted", "Content-Length: \"5\"", "hello", LENGTH),
    ("identity", "Transfer-Encoding: identity", "", CODING),
    (
        "gzip, chunked",
        "Transfer-Encoding: gzip, chunked",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "xchunked",
        "Transfer-Encoding: xchunked",
        "0\r\n\r\n",
        CODING,
    ),
    ("empty coding", "Transfer-Encoding:", "0\r\n\r\n", CODING),
    (
        "odd case",
        "tRANSFER-eNCODING: CHUNKED",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "quoted coding",
        "Transfer-Encoding: \"chunked\"",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "two codings",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "two codings, turned",
        "Transfer-Encoding: identity\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        CODING,
    ),
    (
        "chunk size with a plus",
        "Transfer-Encoding: chunked",
        "+5\r\nhello\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "chunk size with a blank",
        "Transfer-Encoding: chunked",
        " 5\r\nhello\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "chunk size behind LF",
        "Transfer-Encoding: chunked",
        "\n5\r\nhello\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "chunk size as 0x5",
        "Transfer-Encoding: chunked",
        "0x5\r\nhello\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "chunk size of 64 bits",
        "Transfer-Encoding: chunked",
        "ffffffffffffffff\r\nhello",
        CODING,
    ),
    (
        "chunk size beyond them",
        "Transfer-Encoding: chunked",
        "10000000000000005\r\nhello",
        CODING,
    ),
    (
        "chunk ends with bare LF",
        "Transfer-Encoding: chunked",
        "5\nhello\n0\n\n",
        CODING,
    ),
    (
        "chunk extension with LF",
        "Transfer-Encoding: chunked",
        "5;a\nxx\r\nhello\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "chunk extension like a request",
        "Transfer-Encoding: chunked",
        "22; /SMUGGLED HTTP/1.1\r\n",
        CODING,
    ),
    (
        "trailers",
        "Transfer-Encoding: chunked",
        "0\r\nHost: evil.example\r\n\r\n",
        CODING,
    ),
    (
        "chunk cut short",
        "Transfer-Encoding: chunked",
        "1000\r\nhello",
        CODING,
    ),
    (
        "a request in a chunk",
        "Transfer-Encoding: chunked",
        "2a\r\nGET /SMUGGLED HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    ("cut short", "Content-Length: 5000", "{", Nothing),
    ("folded", "A: b\n Content-Length: 5", "hello", MALFORMED),
    (
        "folded with a tab",
        "A: b\n\tContent-Length: 5",
        "hello",
        MALFORMED,
    ),
    ("folded without colon", "A: b\n c", "", MALFORMED),
    (
        "blank before colon",
        "Content-Length : 5",
        "hello",
        MALFORMED,
    ),
    (
        "tab before colon",
        "Content-Length\t: 5",
        "hello",
        MALFORMED,
    ),
    ("blank in a name", "Content Length: 5", "hello", MALFORMED),
    (
        "a vertical tab in a value",
        "A: b\x0bContent-Length: 5",
        "hello",
        MALFORMED,
    ),
    ("NUL in a value", "A: b\0c", "", MALFORMED),
    ("escape in a value", "A: \x1b[2J", "", MALFORMED),
    ("DEL in a value", "A: \x7f", "", MALFORMED),
    ("a control in a name", "A\x01: b", "", MALFORMED),
    ("no name", ": b", "", MALFORMED),
    ("no colon", "Content-Length", "", MALFORMED),
    ("not ASCII", "Ä: b", "", MALFORMED),
    ("not ASCII in a value", "A: ä", "", MALFORMED),
    (
        "another expectation",
        "Expect: 200-ok\nContent-Length: 5",
        "hello",
        EXPECTATION,
    ),
    (
        "two expectations",
        "Expect: 100-continue\nExpect: 100-continue\nContent-Length: 5",
        "hello",
        EXPECTATION,
    ),
    (
        "a length and blanks",
        "Content-Length: \t 5 \t",
        "hello",
        Next(400, "json_syntax"),
    ),
    (
        "zeros before the length",
        "Content-Length: 0005",
        "hello",
        Next(400, "json_syntax"),
    ),
    ("no length", "A: b", "", Next(400, "body_missing")),
    (
        "body that was asked for",
        "Expect: 100-continue\nContent-Length: 5",
        "hello",
        Next(400, "json_syntax"),
    ),
    (
        "upgrade",
        "Connection: upgrade\nUpgrade: h2c\nContent-Length: 5",
        "hello",
        Next(400, "json_syntax"),
    ),
    (
        "upgrade to a socket",
        "Connection: Upgrade\nUpgrade: websocket\nContent-Length: 5",
        "hello",
        Next(400, "json_syntax"),
    ),
    (
        "a close",
        "Connection: close\nContent-Length: 5",
        "hello",
        Closed(400, "json_syntax"),
    ),
    (
        "a close in another field",
        "Connection: te\nConnection: close\nContent-Length: 5",
        "hello",
        Closed(400, "json_syntax"),
    ),
    (
        "no close",
        "Connection: closed, xclose\nContent-Length: 5",
        "hello",
        Next(400, "json_syntax"),
    ),
    (
        "a request in a body",
        "Content-Length: 45",
        "GET /SMUGGLED HTTP/1.1\r\nHost: localhost\r\n\r\n..",
        Next(400, "json_syntax"),
    ),
];

/// Whole heads.
const HEADS: &[(&str, &str, Then)] = &[
    ("bare LF", "GET / HTTP/1.1\nHost: localhost\n\n", MALFORMED),
    (
        "one bare LF",
        "GET / HTTP/1.1\r\nHost: localhost\n\r\n",
        MALFORMED,
    ),
    (
        "LF in a value",
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nContent-Length: 5\r\n\r\n",
        MALFORMED,
    ),
    (
        "CR in a value",
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: b\rContent-Length: 5\r\n\r\n",
        MALFORMED,
    ),
    (
        "an end of CR CR LF",
        "GET / HTTP/1.1\r\nHost: localhost\r\r\n\r\n",
        MALFORMED,
    ),
    (
        "blank before the first field",
        "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "no Host",
        "GET / HTTP/1.1\r\n\r\n",
        Closed(400, "host_header"),
    ),
    (
        "two Hosts",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        Closed(400, "host_header"),
    ),
    (
        "HTTP/1.0",
        "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        Closed(200, ""),
    ),
    (
        "HTTP/1.0 kept alive",
        "GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
        Closed(200, ""),
    ),
    (
        "HTTP/1.0 with a coding",
        "POST /do HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "HTTP/0.9, said",
        "GET / HTTP/0.9\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "HTTP/1.2",
        "GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "HTTP/2.0",
        "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "HTTP/3.0",
        "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "HTTP/11.1",
        "GET / HTTP/11.1\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "HTTP/1.1 and more",
        "GET / HTTP/1.1 x\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "a word too many",
        "GET / x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        VERSION,
    ),
    (
        "a word too few",
        "GET /\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "blank before the method",
        " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "two blanks",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "a tab for a blank",
        "GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "two empty lines before",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "absolute form",
        "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        TARGET,
    ),
    (
        "authority form",
        "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        TARGET,
    ),
    (
        "asterisk form",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        TARGET,
    ),
    (
        "no form",
        "GET x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        TARGET,
    ),
    (
        "a fragment",
        "GET /#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        TARGET,
    ),
    (
        "a control in the target",
        "GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        MALFORMED,
    ),
    (
        "dots",
        "GET /healthcheck/../do HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(404, "not_found"),
    ),
    (
        "two slashes",
        "GET //do HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(404, "not_found"),
    ),
    (
        "an empty line before",
        "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(200, ""),
    ),
    (
        "an unknown method",
        "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(501, "method_unknown"),
    ),
    (
        "a method in small letters",
        "get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(501, "method_unknown"),
    ),
    (
        "a page",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(200, ""),
    ),
    (
        "a body to a page",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        Next(200, ""),
    ),
    (
        "a body to nobody",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        Next(404, "not_found"),
    ),
    (
        "a head alone",
        "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Next(200, ""),
    ),
];

#[test]
fn nothing_is_served_that_was_not_asked_for() {
    let gateway = Gateway::start(&[]);
    let rows = FIELDS.iter().map(|(name, fields, body, then)| {
        let fields = fields.replace('\n', "\r\n");
        let text = format!(
            "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n\r\n{body}"
        );
        (*name, text, *then)
    });
    let heads = HEADS.iter();
    let heads = heads.map(|(name, text, then)| (*name, (*text).to_owned(), *then));
    for (n, (name, text, then)) in rows.chain(heads).enumerate() {
        let jti = format!("behind-{n}");
        let behind = post(&message(&[("jti", json!(jti))]));
        let stream = connect(gateway.address, Ipv4Addr::LOCALHOST);
        (&stream)
            .write_all(&[text.as_bytes(), &behind].concat())
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let came = everything(&stream, name);
        let heads_alone = usize::from(text.starts_with("HEAD "));
        let answers = cut(&came, heads_alone, name);
        let said: Vec<_> = answers
            .iter()
            .map(|answer| (answer.status, answer.word.as_str(), answer.closes))
            .collect();
        match then {
            Closed(status, word) => assert_eq!(said, [(status, word, true)], "{name}"),
            Next(status, word) => {
                let wanted = [(status, word, false), (200, jti.as_str(), false)];
                assert_eq!(said, wanted, "{name}");
            }
            Nothing => assert_eq!(said, [], "{name}"),
        }
    }
    gateway.is_well();
}
