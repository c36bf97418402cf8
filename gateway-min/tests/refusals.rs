//! Every refusal of the judging core, by name, through its one door. The rows are signed
//! where the signature comes before the fault: nothing of the claims is judged without it.

#![expect(clippy::panic, reason = "a row that fails says which")]

mod signer;

use std::collections::BTreeSet;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use gateway_min::{
    JsonFault, KeyError, KeySet, Part, Policy, Reject, Replay, Reservation, Scratch, Slot, Stage,
    UnixTime, claims, limits, slots_for, verify,
};
use signer::{KID, PUBLIC_JWK, b64, sign, sign_encoded};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const POLICY: Policy<'_> = Policy {
    audience: "screening-gateway",
    issuer: Some("http://localhost:8080"),
    leeway_secs: 30,
    max_lifetime_secs: 43_200,
};
const HEADER: &str = r#"{"alg":"EdDSA","typ":"gateway-message+jwt"}"#;

fn keys() -> KeySet<4> {
    let mut keys = KeySet::new();
    keys.add(PUBLIC_JWK.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"));
    keys
}

fn judge(token: &str) -> Result<(), Reject> {
    verify(token.as_bytes(), &keys(), &POLICY, NOW, &mut Scratch::new()).map(drop)
}

/// Claims that are accepted, and `more`; a member of `more` takes the place of its namesake.
fn with(more: &str) -> String {
    let mut claims = String::from("{");
    for (name, value) in [
        ("iss", r#""http://localhost:8080""#),
        ("aud", r#""screening-gateway""#),
        ("iat", "1799999990"),
        ("exp", "1800003600"),
        ("jti", r#""j-1""#),
    ] {
        if !more.contains(&format!("\"{name}\":")) {
            claims.push_str(&format!("\"{name}\":{value},"));
        }
    }
    claims.push_str(more);
    format!("{}}}", claims.trim_end_matches(','))
}

fn without(name: &str) -> String {
    let all = with("");
    let start = all.find(&format!("\"{name}\":")).unwrap_or(0);
    let end = all[start..]
        .find(',')
        .map_or(all.len() - 1, |comma| start + comma + 1);
    format!("{}{}", &all[..start], &all[end..]).replace(",}", "}")
}

fn claims_of(more: &str) -> String {
    sign(HEADER.as_bytes(), with(more).as_bytes())
}

fn header_of(header: &str) -> String {
    sign(header.as_bytes(), with("").as_bytes())
}

fn json(part: Part, fault: JsonFault, at: usize) -> Reject {
    Reject::Json { part, fault, at }
}

#[expect(clippy::too_many_lines, reason = "one row a refusal")]
fn rows() -> Vec<(&'static str, String, Reject)> {
    let good = claims_of("");
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let at = UnixTime::from_secs;
    let wrong_type = |claim| Reject::ClaimType { claim };
    let mut rows = vec![
        ("no token", String::new(), Reject::TokenEmpty),
        (
            "8,193 characters",
            "a".repeat(8193),
            Reject::TokenTooLong { len: 8193 },
        ),
        ("one part", header.to_owned(), Reject::TokenSegments),
        (
            "two parts",
            format!("{header}.{claims}"),
            Reject::TokenSegments,
        ),
        ("four parts", format!("{good}.x"), Reject::TokenSegments),
        (
            "five parts, as JWE has",
            format!("{good}.x.y"),
            Reject::TokenSegments,
        ),
        (
            "padded header",
            format!("{header}=.{claims}.{signature}"),
            Reject::HeaderEncoding,
        ),
        (
            "space before the token",
            format!(" {good}"),
            Reject::HeaderEncoding,
        ),
        (
            "header of 513 bytes",
            sign(&[b' '; 513], b"{}"),
            Reject::HeaderTooLong,
        ),
        (
            "header of 490 opening brackets",
            sign(&[b'['; 490], b"{}"),
            json(Part::Header, JsonFault::NotObject, 0),
        ),
        (
            "header with 480 opening brackets inside",
            header_of(&format!("{{\"x\":{}", "[".repeat(480))),
            json(Part::Header, JsonFault::Depth, 20),
        ),
        (
            "empty header",
            format!(".{claims}.{signature}"),
            json(Part::Header, JsonFault::Syntax, 0),
        ),
        (
            "header with a byte-order mark",
            header_of("\u{feff}{}"),
            json(Part::Header, JsonFault::ByteOrderMark, 0),
        ),
        (
            "alg twice",
            header_of(r#"{"alg":"EdDSA","alg":"none"}"#),
            json(Part::Header, JsonFault::Duplicate, 15),
        ),
        ("no alg", header_of("{}"), Reject::UnsupportedAlg),
        (
            "alg none",
            header_of(r#"{"alg":"none"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg None",
            header_of(r#"{"alg":"None"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg eddsa",
            header_of(r#"{"alg":"eddsa"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg HS256",
            header_of(r#"{"alg":"HS256"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg RS256",
            header_of(r#"{"alg":"RS256"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg Ed448",
            header_of(r#"{"alg":"Ed448"}"#),
            Reject::UnsupportedAlg,
        ),
        (
            "alg a number",
            header_of(r#"{"alg":5}"#),
            Reject::HeaderType { member: "alg" },
        ),
        (
            "alg null",
            header_of(r#"{"alg":null}"#),
            Reject::HeaderType { member: "alg" },
        ),
        (
            "kid a number",
            header_of(r#"{"alg":"EdDSA","kid":5}"#),
            Reject::HeaderType { member: "kid" },
        ),
        (
            "typ an array",
            header_of(r#"{"alg":"EdDSA","typ":["JWT"]}"#),
            Reject::HeaderType { member: "typ" },
        ),
        (
            "crit",
            header_of(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#),
            Reject::UnsupportedCrit,
        ),
        (
            "empty crit",
            header_of(r#"{"alg":"EdDSA","crit":[]}"#),
            Reject::UnsupportedCrit,
        ),
        (
            "a session token",
            header_of(r#"{"alg":"EdDSA","typ":"gateway-session+jwt"}"#),
            Reject::UnsupportedTyp,
        ),
        (
            "an access token",
            header_of(r#"{"alg":"EdDSA","typ":"at+jwt"}"#),
            Reject::UnsupportedTyp,
        ),
        (
            "empty kid",
            header_of(r#"{"alg":"EdDSA","kid":""}"#),
            Reject::KidLength,
        ),
        (
            "kid of 129 bytes",
            header_of(&format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, "k".repeat(129))),
            Reject::KidLength,
        ),
        (
            "kid of another key",
            header_of(r#"{"alg":"EdDSA","kid":"other"}"#),
            Reject::UnknownKey,
        ),
        (
            "key brought along under an unknown kid",
            header_of(&format!(
                r#"{{"alg":"EdDSA","kid":"mine","jwk":{PUBLIC_JWK}}}"#
            )),
            Reject::UnknownKey,
        ),
        (
            "no signature",
            format!("{header}.{claims}."),
            Reject::SignatureLength,
        ),
        (
            "signature of 63 bytes",
            format!("{header}.{claims}.{}", b64(&[0; 63])),
            Reject::SignatureLength,
        ),
        (
            "signature of 65 bytes",
            format!("{header}.{claims}.{}", b64(&[0; 65])),
            Reject::SignatureLength,
        ),
        (
            "signature of zeros",
            format!("{header}.{claims}.{}", b64(&[0; 64])),
            Reject::BadSignature,
        ),
        (
            "signature with trailing bits",
            format!("{header}.{claims}.{}", last_bit_set(signature)),
            Reject::SignatureEncoding,
        ),
        (
            "padded signature",
            format!("{good}=="),
            Reject::SignatureLength,
        ),
        (
            "line end behind the token",
            format!("{good}\n"),
            Reject::SignatureLength,
        ),
        (
            "claims of another message",
            format!(
                "{header}.{}.{signature}",
                b64(with(r#""sub":"x""#).as_bytes())
            ),
            Reject::BadSignature,
        ),
        (
            "header of another message",
            format!("{}.{claims}.{signature}", b64(br#"{"alg":"Ed25519"}"#)),
            Reject::BadSignature,
        ),
        (
            "unreadable claims without a signature",
            format!("{header}.!.{}", b64(&[0; 64])),
            Reject::BadSignature,
        ),
        (
            "claims in padded base64",
            sign_encoded(header, &format!("{claims}=")),
            Reject::ClaimsEncoding,
        ),
        (
            "claims with a space",
            sign_encoded(header, &format!("{claims} ")),
            Reject::ClaimsEncoding,
        ),
        (
            "claims of 5,121 bytes",
            sign(HEADER.as_bytes(), &[b' '; 5121]),
            Reject::ClaimsTooLong,
        ),
        (
            "claims an array",
            sign(HEADER.as_bytes(), b"[]"),
            json(Part::Claims, JsonFault::NotObject, 0),
        ),
        (
            "claims a word",
            sign(HEADER.as_bytes(), b"hello"),
            json(Part::Claims, JsonFault::Syntax, 0),
        ),
        (
            "claims not UTF-8",
            sign(HEADER.as_bytes(), b"{\"a\":\"\xff\"}"),
            json(Part::Claims, JsonFault::Utf8, 6),
        ),
        (
            "raw line feed",
            sign(HEADER.as_bytes(), b"{\"a\":\"\n\"}"),
            json(Part::Claims, JsonFault::Control, 6),
        ),
        (
            "escape \\x",
            sign(HEADER.as_bytes(), br#"{"a":"\x"}"#),
            json(Part::Claims, JsonFault::Escape, 6),
        ),
        (
            "half a surrogate pair",
            sign(HEADER.as_bytes(), br#"{"a":"\ud800"}"#),
            json(Part::Claims, JsonFault::Surrogate, 6),
        ),
        (
            "1e400",
            sign(HEADER.as_bytes(), br#"{"a":1e400}"#),
            json(Part::Claims, JsonFault::Number, 5),
        ),
        (
            "two objects",
            sign(HEADER.as_bytes(), b"{}{}"),
            json(Part::Claims, JsonFault::Trailing, 2),
        ),
        (
            "exp twice",
            sign(HEADER.as_bytes(), br#"{"exp":1,"exp":2}"#),
            json(Part::Claims, JsonFault::Duplicate, 9),
        ),
        (
            "parameters nested 2,000 deep",
            claims_of(&format!("\"parameters\":{}", "{\"a\":".repeat(800))),
            json(
                Part::Claims,
                JsonFault::Depth,
                with("").len() - 1 + 14 + 5 * 15,
            ),
        ),
        (
            "33 claims",
            sign(HEADER.as_bytes(), many_members(33).as_bytes()),
            json(
                Part::Claims,
                JsonFault::Members,
                many_members(32).len() - 1 + 7,
            ),
        ),
        (
            "no exp",
            sign(HEADER.as_bytes(), without("exp").as_bytes()),
            Reject::ClaimMissing { claim: "exp" },
        ),
        (
            "no jti",
            sign(HEADER.as_bytes(), without("jti").as_bytes()),
            Reject::ClaimMissing { claim: "jti" },
        ),
        (
            "empty jti",
            claims_of(r#""jti":"""#),
            Reject::ClaimLength {
                claim: "jti",
                len: 0,
            },
        ),
        (
            "jti of 129 bytes",
            claims_of(&format!(r#""jti":"{}""#, "j".repeat(129))),
            Reject::ClaimLength {
                claim: "jti",
                len: 129,
            },
        ),
        (
            "jti with a line feed",
            claims_of(r#""jti":"a\nb""#),
            Reject::ClaimCharacters { claim: "jti" },
        ),
        (
            "jti with a NUL",
            claims_of(r#""jti":"a\u0000""#),
            Reject::ClaimCharacters { claim: "jti" },
        ),
        (
            "sub of 513 bytes",
            claims_of(&format!(r#""sub":"{}""#, "s".repeat(513))),
            Reject::ClaimLength {
                claim: "sub",
                len: 513,
            },
        ),
        (
            "schema 2",
            claims_of(r#""schema_version":2"#),
            Reject::UnsupportedSchema { version: 2 },
        ),
        (
            "expired at the second",
            claims_of(r#""exp":1799999970,"iat":1799990000"#),
            Reject::Expired {
                exp: at(1_799_999_970),
                now: NOW,
            },
        ),
        (
            "not yet valid",
            claims_of(r#""nbf":1800000031"#),
            Reject::NotYetValid {
                nbf: at(1_800_000_031),
                now: NOW,
            },
        ),
        (
            "issued in the future",
            claims_of(r#""iat":1800000031"#),
            Reject::IssuedInFuture {
                iat: at(1_800_000_031),
                now: NOW,
            },
        ),
        (
            "ends when it begins",
            claims_of(r#""iat":1799999990,"exp":1799999990"#),
            Reject::LifetimeEmpty,
        ),
        (
            "lives a second too long",
            claims_of(r#""iat":1799999990,"exp":1800043191"#),
            Reject::LifetimeTooLong {
                secs: 43_201,
                max_secs: 43_200,
            },
        ),
        (
            "another issuer",
            claims_of(r#""iss":"http://localhost:8080/""#),
            Reject::WrongIssuer,
        ),
        (
            "no issuer",
            sign(HEADER.as_bytes(), without("iss").as_bytes()),
            Reject::WrongIssuer,
        ),
        (
            "another audience",
            claims_of(r#""aud":"other""#),
            Reject::WrongAudience,
        ),
        (
            "audience in another case",
            claims_of(r#""aud":"Screening-Gateway""#),
            Reject::WrongAudience,
        ),
        (
            "no audience",
            sign(HEADER.as_bytes(), without("aud").as_bytes()),
            Reject::WrongAudience,
        ),
        (
            "empty audiences",
            claims_of(r#""aud":[]"#),
            Reject::WrongAudience,
        ),
        (
            "other audiences",
            claims_of(r#""aud":["a","b"]"#),
            Reject::WrongAudience,
        ),
        (
            "a number among the audiences",
            claims_of(r#""aud":["screening-gateway",5]"#),
            wrong_type("aud"),
        ),
        (
            "actor a text",
            claims_of(r#""act":"uid-1""#),
            wrong_type("act"),
        ),
        (
            "actor without sub",
            claims_of(r#""act":{}"#),
            wrong_type("act"),
        ),
    ];
    for (claim, values) in [
        (
            "exp",
            [
                "\"1800003600\"",
                "1800003600.0",
                "18e8",
                "null",
                "9223372036854775808",
            ],
        ),
        ("nbf", ["\"1\"", "1.5", "true", "null", "[1]"]),
        ("iat", ["\"1\"", "1.5", "{}", "null", "-1e3"]),
        ("jti", ["5", "null", "[\"j\"]", "{}", "true"]),
        (
            "iss",
            ["5", "null", "[\"http://localhost:8080\"]", "{}", "false"],
        ),
        ("aud", ["5", "null", "{}", "true", "0"]),
        ("sub", ["5", "null", "[]", "{}", "false"]),
        ("act", ["5", "null", "[]", "{\"sub\":5}", "false"]),
        ("org", ["5", "null", "[]", "{}", "false"]),
        ("action_type", ["5", "null", "[]", "{}", "false"]),
        ("schema_version", ["\"1\"", "null", "1.0", "{}", "true"]),
        ("parameters", ["\"x\"", "null", "[]", "1", "true"]),
        ("source_reference", ["\"x\"", "null", "[]", "1", "true"]),
    ] {
        for value in values {
            rows.push((
                "a claim of another type",
                claims_of(&format!("\"{claim}\":{value}")),
                wrong_type(claim),
            ));
        }
    }
    rows
}

fn many_members(count: usize) -> String {
    let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
    format!("{{{}}}", members.join(","))
}

/// The same bytes in other characters: a bit behind the last byte is set.
fn last_bit_set(signature: &str) -> String {
    let (rest, last) = signature.split_at(85);
    let other = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        _ => "x",
    };
    format!("{rest}{other}")
}

#[test]
fn the_rows_build_on_a_message_that_is_accepted() {
    assert_eq!(judge(&claims_of("")), Ok(()));
    assert_eq!(judge(&header_of(r#"{"alg":"EdDSA"}"#)), Ok(()));
}

#[test]
fn each_refusal_is_exact() {
    for (name, token, expected) in rows() {
        let verdict = judge(&token);
        assert_eq!(
            verdict,
            Err(expected),
            "{name}: {}",
            &token[..token.len().min(60)]
        );
    }
}

/// Codes that the socket, the route and the replay memory answer with; the rest arises
/// from tokens and has a row above.
const NOT_FROM_TOKENS: &[&str] = &[
    "jti_conflict",
    "replay_full",
    "in_progress",
    "clock_stepped_back",
    "clock_not_set",
    "journal_full",
    "journal_unavailable",
    "request_timeout",
    "too_many_connections",
    "head_malformed",
    "head_too_large",
    "too_many_headers",
    "http_version",
    "target_form",
    "content_length",
    "host_header",
    "unknown_expectation",
    "host_not_allowed",
    "origin_not_allowed",
    "not_found",
    "method_not_allowed",
    "method_unknown",
    "length_required",
    "body_missing",
    "body_too_large",
    "content_type",
    "message_missing",
    "message_type",
    "internal",
];

#[test]
fn every_code_that_a_token_can_earn_has_a_row() {
    // A token of its own is needed where several keys are configured.
    let mut seen: BTreeSet<&str> = rows().iter().map(|(_, _, reject)| reject.code()).collect();
    seen.insert(Reject::KidRequired.code());
    let elsewhere: BTreeSet<&str> = NOT_FROM_TOKENS.iter().copied().collect();
    let all: BTreeSet<&str> = Reject::CODES.iter().copied().collect();
    assert_eq!(&seen | &elsewhere, all);
    assert_eq!(&seen & &elsewhere, BTreeSet::new());
}

/// RFC 8037 appendix A.4 signs a sentence: its signature holds, and what it signs is no
/// claims set.
#[test]
fn the_rfc_8037_example_holds_and_is_no_message() {
    let token = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert_eq!(judge(token), Err(json(Part::Claims, JsonFault::Syntax, 0)));
    assert_eq!(
        judge(&token.replace("RXhh", "RXhi")),
        Err(Reject::BadSignature)
    );
}

#[test]
fn without_a_kid_only_a_single_key_is_meant() {
    let mut keys = keys();
    let other = r#"{"kty":"OKP","crv":"Ed25519","kid":"other","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}"#;
    keys.add(other.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"));
    let judge = |header: &str| {
        let token = sign(header.as_bytes(), with("").as_bytes());
        verify(token.as_bytes(), &keys, &POLICY, NOW, &mut Scratch::new()).map(drop)
    };
    assert_eq!(judge(HEADER), Err(Reject::KidRequired));
    assert_eq!(
        judge(&format!(r#"{{"alg":"EdDSA","kid":"{KID}"}}"#)),
        Ok(())
    );
    assert_eq!(
        judge(r#"{"alg":"EdDSA","kid":"other"}"#),
        Err(Reject::BadSignature)
    );
    let none = KeySet::<1>::new();
    let token = claims_of("");
    let verdict = verify(token.as_bytes(), &none, &POLICY, NOW, &mut Scratch::new()).map(drop);
    assert_eq!(verdict, Err(Reject::KidRequired));
}

/// What libraries other than manage's write, within the rules.
fn accepted() -> Vec<(&'static str, String)> {
    let kid = KID;
    vec![
        ("alg Ed25519", header_of(r#"{"alg":"Ed25519"}"#)),
        ("typ JWT", header_of(r#"{"typ":"JWT","alg":"EdDSA"}"#)),
        (
            "kid with an escape",
            header_of(&format!(r#"{{"alg":"EdDSA","kid":"\u006b{}"}}"#, &kid[1..])),
        ),
        (
            "member name with an escape",
            header_of(r#"{"\u0061lg":"EdDSA"}"#),
        ),
        (
            "unknown members",
            header_of(r#"{"alg":"EdDSA","cty":"x","jku":"https://evil.example","x":{"y":[1]}}"#),
        ),
        (
            "audience with an escape",
            claims_of(r#""aud":"screening\u002dgateway""#),
        ),
        (
            "audience among others",
            claims_of(r#""aud":["a","screening-gateway","b"]"#),
        ),
        ("claims with space", claims_of(" \"sub\" : \"x\" ")),
        ("no schema_version", claims_of(r#""sub":"x""#)),
        (
            "an action that is not routed",
            claims_of(r#""action_type":"worklist.dance""#),
        ),
        ("no iat", sign(HEADER.as_bytes(), without("iat").as_bytes())),
        (
            "jti of 128 bytes",
            claims_of(&format!(r#""jti":"{}""#, "j".repeat(128))),
        ),
    ]
}

#[test]
fn what_other_signers_write_is_understood() {
    for (name, token) in accepted() {
        assert_eq!(judge(&token), Ok(()), "{name}");
    }
}

#[test]
fn a_verified_message_says_what_was_signed() {
    let token = claims_of(
        r#""sub":"caf\u00e9 \ud83d\ude00","act":{"sub":"uid-1","x":[]},"org":"RVN","schema_version":1,"action_type":"worklist.create_item","source_reference":{"appointment_id" : "7"},"parameters":{"a":"\u00e9","b":[1, 2]}"#,
    );
    let (keys, mut scratch) = (keys(), Scratch::new());
    let message = verify(token.as_bytes(), &keys, &POLICY, NOW, &mut scratch)
        .unwrap_or_else(|reject| panic!("{reject}"));
    assert_eq!(message.kid(), KID);
    assert_eq!(message.jti(), "j-1");
    assert_eq!(message.issuer(), Some("http://localhost:8080"));
    assert_eq!(message.subject(), Some("caf\u{e9} \u{1f600}"));
    assert_eq!(message.actor(), Some("uid-1"));
    assert_eq!(message.organisation(), Some("RVN"));
    assert_eq!(
        message.action(),
        Some(claims::ActionType::WorklistCreateItem)
    );
    assert_eq!(
        message.source_reference(),
        Some(r#"{"appointment_id" : "7"}"#)
    );
    assert_eq!(message.parameters(), Some(r#"{"a":"\u00e9","b":[1, 2]}"#));
    assert_eq!(message.issued(), Some(UnixTime::from_secs(1_799_999_990)));
    assert_eq!(message.expires(), UnixTime::from_secs(1_800_003_600));
    assert_eq!(message.token(), token);
}

/// What makes two messages the same: issuer and `jti`; what makes their content the
/// same: `sub`, `action_type` and `parameters`.
#[test]
fn a_second_token_is_a_duplicate_a_conflict_or_new() {
    let first = r#""sub":"a","action_type":"echo","parameters":{"x":1}"#;
    for (name, second, expected) in [
        (
            "signed again for longer",
            r#""iat":1799999999,"exp":1800009999,"sub":"a","action_type":"echo","parameters":{"x":1}"#,
            "duplicate",
        ),
        (
            "by another person",
            r#""act":{"sub":"u"},"sub":"a","action_type":"echo","parameters":{"x":1}"#,
            "duplicate",
        ),
        (
            "other parameters",
            r#""sub":"a","action_type":"echo","parameters":{"x":2}"#,
            "jti_conflict",
        ),
        (
            "no parameters",
            r#""sub":"a","action_type":"echo""#,
            "jti_conflict",
        ),
        (
            "another action",
            r#""sub":"a","action_type":"ech","parameters":{"x":1}"#,
            "jti_conflict",
        ),
        (
            "letters moved from one claim to the next",
            r#""sub":"ae","action_type":"cho","parameters":{"x":1}"#,
            "jti_conflict",
        ),
        (
            "another jti",
            r#""jti":"j-2","sub":"a","action_type":"echo","parameters":{"x":1}"#,
            "new",
        ),
    ] {
        let (keys, mut scratch) = (keys(), Scratch::new());
        let mut replay = Replay::new(vec![Slot::EMPTY; slots_for(4)]);
        let mut outcome = "";
        for token in [claims_of(first), claims_of(second)] {
            let message = verify(token.as_bytes(), &keys, &POLICY, NOW, &mut scratch)
                .unwrap_or_else(|reject| panic!("{reject}"));
            outcome = match replay.reserve(&message, NOW, POLICY.leeway_secs) {
                Ok(Reservation::New(ticket)) => {
                    replay.commit(ticket);
                    "new"
                }
                Ok(Reservation::Duplicate { .. }) => "duplicate",
                Ok(Reservation::Busy) => "busy",
                Err(reject) => reject.code(),
            };
        }
        assert_eq!(outcome, expected, "{name}");
    }
}

#[test]
fn answers_tell_refused_from_not_now() {
    for (_, _, reject) in rows() {
        assert!((400..=413).contains(&reject.status()), "{reject}");
        assert_eq!(reject.retry_after_secs(), None, "{reject}");
    }
    for reject in [Reject::ClockNotSet, Reject::ReplayFull, Reject::InProgress] {
        assert_eq!(reject.status(), 503);
        assert!(reject.retry_after_secs().is_some());
    }
    assert_eq!(Reject::BadSignature.stage(), Stage::Signature);
    assert_eq!(Reject::ClockNotSet.stage(), Stage::Clock);
    const { assert!(limits::MAX_TOKEN == 8192) };
}

/// Aborts where anything is allocated or freed.
#[test]
fn no_verdict_allocates() {
    let rows = rows()
        .into_iter()
        .map(|(name, token, _)| (name, token))
        .chain(accepted());
    let (keys, mut scratch) = (Box::new(keys()), Box::new(Scratch::new()));
    let mut replay = Replay::new(vec![Slot::EMPTY; slots_for(8)]);
    let mut accepted = 0;
    for (name, token) in rows {
        let verdict = assert_no_alloc(|| {
            let message = verify(token.as_bytes(), &keys, &POLICY, NOW, &mut scratch)?;
            match replay.reserve(&message, NOW, POLICY.leeway_secs)? {
                Reservation::New(ticket) if message.subject().is_some() => replay.release(ticket),
                Reservation::New(ticket) => replay.commit(ticket),
                Reservation::Duplicate { .. } | Reservation::Busy => {}
            }
            Ok::<(), Reject>(())
        });
        match verdict {
            // Most rows share one `jti`, so some of the good ones are conflicts by now.
            Ok(()) | Err(Reject::JtiConflict) => accepted += 1,
            Err(reject) => assert_ne!(reject, Reject::Internal, "{name}"),
        }
    }
    assert_eq!(accepted, self::accepted().len());
    let other = PUBLIC_JWK.replace('}', r#","kid":"other"}"#);
    let mut set = Box::new(KeySet::<4>::new());
    assert_no_alloc(|| {
        assert!(set.add(other.as_bytes()).is_ok());
        assert!(set.add(PUBLIC_JWK.as_bytes()).is_ok());
        assert_eq!(set.add(PUBLIC_JWK.as_bytes()), Err(KeyError::Duplicate));
    });
}
