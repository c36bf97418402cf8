//! What is sent: messages that are good for seconds, and requests that are bad in every
//! stage.

use serde_json::json;
use sha2::{Digest, Sha512};

use crate::{
    signer::{b64, sign},
    support::{claims, header, message, now, post, post_jose, request},
};

/// Seconds that a message lives, of which the one that has begun may be nearly over.
const LIFE: u64 = 4;

/// Random numbers that follow from the number of a request.
pub(crate) struct Dice {
    thrown: [u8; 64],
    at: usize,
}

impl Dice {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            thrown: Sha512::digest(number.to_be_bytes()).into(),
            at: 0,
        }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let two = [self.thrown[self.at], self.thrown[self.at + 1]];
        self.at += 2;
        usize::from(u16::from_be_bytes(two)) % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len().max(1));
        from.get(at)
    }
}

/// A good message.
pub(crate) struct Message {
    pub(crate) token: String,
    /// The second from which it is expired.
    pub(crate) end: u64,
    jti: String,
}

impl Message {
    pub(crate) fn new(worker: u64, number: u64) -> Self {
        let jti = format!("soak-{worker}-{number}");
        let end = now() + LIFE;
        let token = message(&[("jti", json!(jti)), ("exp", json!(end))]);
        Self { token, end, jti }
    }

    /// Other content under the same id.
    pub(crate) fn changed(&self) -> String {
        message(&[
            ("jti", json!(self.jti)),
            ("exp", json!(self.end)),
            ("sub", json!("appointment-2")),
        ])
    }
}

/// A request that is refused, always in the same way.
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    pub(crate) request: fn(&mut Dice) -> Vec<u8>,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// Whether it gets as far as judgement.
    pub(crate) judged: bool,
    /// Whether its connection is closed behind the answer.
    pub(crate) closes: bool,
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// One that is judged, and refused for its body or its token.
const fn judged(
    name: &'static str,
    status: u16,
    code: &'static str,
    request: fn(&mut Dice) -> Vec<u8>,
) -> Bad {
    Bad {
        name,
        request,
        status,
        code,
        judged: true,
        closes: false,
    }
}

/// One that is refused for its head.
const fn turned_away(
    name: &'static str,
    status: u16,
    code: &'static str,
    request: fn(&mut Dice) -> Vec<u8>,
) -> Bad {
    Bad {
        name,
        request,
        status,
        code,
        judged: false,
        closes: false,
    }
}

pub(crate) const BAD: [Bad; 25] = [
    judged("forged", 401, "bad_signature", |dice| {
        let token = message(&[]);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        // Not the last character, of which some bits are nobody's.
        let at = dice.below(85);
        let other = if signature.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        let (front, rest) = signature.split_at(at);
        post(&format!("{signed}.{front}{other}{}", &rest[1..]))
    }),
    judged("signed for another text", 401, "bad_signature", |_| {
        let (one, other) = (message(&[]), message(&[]));
        let (signed, _) = one.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        post(&format!("{signed}.{signature}"))
    }),
    judged("of an unknown key", 401, "unknown_key", |_| {
        post(&sign(
            br#"{"alg":"EdDSA","kid":"x"}"#,
            claims(&[]).as_bytes(),
        ))
    }),
    judged("not signed", 401, "unsupported_alg", |_| {
        let claims = b64(claims(&[]).as_bytes());
        post_jose(format!("{}.{claims}.", b64(br#"{"alg":"none"}"#)).as_bytes())
    }),
    judged("in two parts", 400, "token_segments", |_| post("e30.e30")),
    judged("too long a token", 413, "token_too_long", |_| {
        post_jose(&[b'a'; 8193])
    }),
    judged("no base64url", 400, "header_encoding", |_| {
        post_jose(b"+.e30.e30")
    }),
    judged("of another type", 400, "unsupported_typ", |_| {
        post(&sign(br#"{"alg":"EdDSA","typ":"x"}"#, b"{}"))
    }),
    judged("claims twice", 400, "json_duplicate", |_| {
        post(&sign(header().as_bytes(), br#"{"aud":"a","aud":"b"}"#))
    }),
    judged("a claim of another type", 400, "claim_type", |_| {
        post(&message(&[("jti", json!(1))]))
    }),
    judged("without a claim", 400, "claim_missing", |_| {
        post(&message(&[("exp", json!(null))]))
    }),
    judged("for another gateway", 403, "wrong_audience", |_| {
        post(&message(&[("aud", json!("another"))]))
    }),
    judged("of another issuer", 403, "wrong_issuer", |_| {
        post(&message(&[("iss", json!("http://localhost:8081"))]))
    }),
    judged("expired", 403, "expired", |_| {
        let now = now();
        post(&message(&[
            ("iat", json!(now - 20)),
            ("exp", json!(now - 10)),
        ]))
    }),
    judged("of tomorrow", 403, "issued_in_future", |_| {
        let now = now();
        post(&message(&[
            ("iat", json!(now + 80_000)),
            ("exp", json!(now + 90_000)),
        ]))
    }),
    judged("no JSON", 400, "json_syntax", |_| {
        request("POST /do", &[JSON], b"{\"message\":")
    }),
    judged("no message", 400, "message_missing", |_| {
        request("POST /do", &[JSON], b"{}")
    }),
    turned_away("another type", 415, "content_type", |_| {
        request("POST /do", &[("Content-Type", "text/plain")], b"x")
    }),
    turned_away("no such path", 404, "not_found", |dice| {
        request(&format!("GET /{}", dice.below(60_000)), &[], b"")
    }),
    turned_away("no such method", 405, "method_not_allowed", |_| {
        request("GET /do", &[], b"")
    }),
    turned_away("another host", 421, "host_not_allowed", |_| {
        request("GET /", &[("Host", "evil.example")], b"")
    }),
    turned_away("a page's origin", 403, "origin_not_allowed", |_| {
        request("GET /", &[("Origin", "https://evil.example")], b"")
    }),
    Bad {
        closes: true,
        ..turned_away("no request", 400, "head_malformed", |_| {
            b"\x16\x03\x01\r\n\r\n".to_vec()
        })
    },
    Bad {
        closes: true,
        ..turned_away("no length", 411, "length_required", |_| {
            request("POST /do", &[JSON, ("Transfer-Encoding", "chunked")], b"")
        })
    },
    Bad {
        closes: true,
        ..turned_away("long head", 431, "head_too_large", |dice| {
            let filler = "x".repeat(8192 + dice.below(8192));
            request("GET /", &[("X", &filler)], b"")
        })
    },
];
