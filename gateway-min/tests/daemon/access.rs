//! Who is answered at all: names in `Host`, origins, and what a browser may hand on.

use crate::support::{EXTENSION, Gateway, message, post, request};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn only_names_of_the_gateway_are_answered() {
    let gateway = Gateway::start(&[]);
    let named = Gateway::start(&[("GATEWAY_HOSTS", "Gateway.Example,[::1]")]);
    for (gateway, host, wanted) in [
        (&gateway, "127.0.0.1", 200),
        (&gateway, "127.0.0.1:9090", 200),
        (&gateway, "localhost:1", 200),
        (&gateway, "LocalHost", 200),
        (&gateway, "screening-gateway:9090", 200),
        (&gateway, "evil.example", 421),
        (&gateway, "localhost.evil.example", 421),
        (&gateway, "gateway.example", 421),
        (&gateway, "", 400),
        (&gateway, "localhost:9090:1", 400),
        (&gateway, "user@localhost", 400),
        (&named, "gateway.example:8443", 200),
        (&named, "[0:0::1]:9090", 200),
        (&named, "localhost", 421),
    ] {
        let answer = gateway.ask(&request("GET /", &[("Host", host)], b""));
        assert_eq!(answer.status, wanted, "{host}");
        match wanted {
            421 => assert_eq!(answer.refusal().1, "host_not_allowed", "{host}"),
            400 => assert_eq!(answer.refusal().1, "host_header", "{host}"),
            _ => {}
        }
    }
}

#[test]
fn only_configured_extensions_are_answered() {
    let gateway = Gateway::start(&[]);
    for (origins, wanted) in [
        (&[][..], 200),
        (&[EXTENSION][..], 200),
        (&["http://localhost:8080"][..], 403),
        (&["null"][..], 403),
        (
            &["chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba"][..],
            403,
        ),
        (&[EXTENSION, EXTENSION][..], 403),
        (&[""][..], 403),
    ] {
        let fields: Vec<_> = origins.iter().map(|origin| ("Origin", *origin)).collect();
        let answer = gateway.ask(&request("GET /healthcheck/live", &fields, b""));
        if wanted == 403 {
            assert_eq!(
                answer.refusal(),
                (403, "origin_not_allowed".into()),
                "{origins:?}"
            );
        } else {
            assert!(answer.json()["live"].is_boolean(), "{origins:?}");
        }
    }
    let none = Gateway::start(&[(
        "GATEWAY_ORIGINS",
        "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba",
    )]);
    assert_eq!(
        none.post(&message(&[])).refusal(),
        (403, "origin_not_allowed".into())
    );
}

#[test]
fn every_answer_after_a_whole_head_can_be_read_by_the_extension() {
    let gateway = Gateway::start(&[]);
    let origin = ("Origin", EXTENSION);
    for (name, bytes, status) in [
        ("accepted", post(&message(&[])), 200),
        ("refused", post("a.b.c"), 400),
        ("wrong type", request("POST /do", &[origin], b"x"), 415),
        (
            "too large",
            request("POST /do", &[origin, JSON], &[b' '; 17_000]),
            413,
        ),
        (
            "no length",
            request(
                "POST /do",
                &[origin, JSON, ("Transfer-Encoding", "chunked")],
                b"",
            ),
            411,
        ),
        ("no body", request("POST /do", &[origin, JSON], b""), 400),
        ("no path", request("GET /x", &[origin], b""), 404),
        ("no method", request("GET /do", &[origin], b""), 405),
        (
            "other host",
            request("GET /", &[origin, ("Host", "evil.example")], b""),
            421,
        ),
        (
            "two hosts",
            request("GET /", &[origin, ("Host", "a"), ("Host", "a")], b""),
            400,
        ),
        ("page", request("GET /", &[origin], b""), 200),
    ] {
        let answer = gateway.ask(&bytes);
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.field("Vary"), Some("Origin"), "{name}");
        assert_eq!(
            answer.field("Access-Control-Allow-Origin"),
            Some(EXTENSION),
            "{name}"
        );
        assert_eq!(
            answer.field("Access-Control-Expose-Headers"),
            Some("Retry-After"),
            "{name}"
        );
        assert_eq!(
            answer.field("Access-Control-Allow-Credentials"),
            None,
            "{name}"
        );
    }
    for origin in [None, Some("https://evil.example")] {
        let fields: Vec<_> = origin
            .map(|origin| ("Origin", origin))
            .into_iter()
            .collect();
        let answer = gateway.ask(&request("GET /", &fields, b""));
        assert_eq!(answer.field("Vary"), Some("Origin"));
        assert_eq!(answer.field("Access-Control-Allow-Origin"), None);
    }
}

#[test]
fn an_extension_that_asks_first_may_post_json() {
    let gateway = Gateway::start(&[]);
    let ask = |origin: &'static str| {
        let fields = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        gateway.ask(&request("OPTIONS /do", &fields, b""))
    };
    let answer = ask(EXTENSION);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for (name, wanted) in [
        ("Access-Control-Allow-Origin", EXTENSION),
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
        ("Allow", "POST, OPTIONS"),
    ] {
        assert_eq!(answer.field(name), Some(wanted), "{name}");
    }
    let foreign = ask("https://evil.example");
    assert_eq!(foreign.refusal(), (403, "origin_not_allowed".into()));
    assert_eq!(foreign.field("Access-Control-Allow-Methods"), None);
    let no_browser = gateway.ask(&request("OPTIONS /do", &[], b""));
    assert_eq!(no_browser.status, 200);
    assert_eq!(no_browser.field("Access-Control-Allow-Methods"), None);
}

#[test]
fn the_page_says_what_is_running_and_can_do_nothing() {
    let gateway = Gateway::start(&[("GATEWAY_ID", "<ward & 7>"), ("GATEWAY_HOSTS", "localhost")]);
    let answer = gateway.ask(&request("GET /?x=<script>", &[], b""));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("The gateway is running"));
    assert!(
        answer.body.contains("&lt;ward &amp; 7&gt;"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains(env!("CARGO_PKG_VERSION")));
    assert!(!answer.body.contains("<script"));
    let policy = answer.field("Content-Security-Policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
}
