//! What is sent for a message: the body and the key of its delivery, made from the token
//! that was kept. Only `deliver` calls it.
//!
//! The token was judged before it was kept, so this decodes and judges nothing but form; what
//! has lost its form on the disk is refused. Claims are handed on byte for byte as they were
//! signed.

use core::fmt;
use std::prelude::v1::*;

use super::line::Attempt;
use crate::{
    UnixTime, b64,
    claims::{header, name},
    compact::Compact,
    daemon::{
        listen::{json, put},
        sink::Delivery,
    },
    error::Part,
    json::{Room, Value, scan},
    limits::{MAX_CLAIMS, MAX_HEADER, MAX_JTI},
};

/// A delivery in the making. Its memory is used again for the next.
#[derive(Debug)]
pub(super) struct Note {
    /// Decoded parts of the token; and room for a name with escapes in it.
    header: Box<[u8]>,
    claims: Box<[u8]>,
    text: Box<[u8]>,
    jti: String,
    key: String,
    body: Vec<u8>,
}

/// What was kept is not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoMessage;

impl Note {
    pub(super) fn new() -> Self {
        Self {
            header: vec![0; MAX_HEADER].into(),
            claims: vec![0; MAX_CLAIMS].into(),
            text: vec![0; MAX_CLAIMS].into(),
            jti: String::with_capacity(MAX_JTI),
            key: String::with_capacity(MAX_JTI),
            body: Vec::new(),
        }
    }

    /// Makes what an attempt sends.
    ///
    /// # Errors
    /// [`NoMessage`], where the token is none.
    pub(super) fn fill(&mut self, token: &[u8], attempt: &Attempt) -> Result<(), NoMessage> {
        let compact = Compact::split(token).map_err(|_reject| NoMessage)?;
        let token = core::str::from_utf8(token).map_err(|_fault| NoMessage)?;
        let claims =
            b64::decode_public(compact.claims, &mut self.claims).map_err(|_fault| NoMessage)?;
        let members = scan(claims, Part::Claims).map_err(|_reject| NoMessage)?;
        let claims = core::str::from_utf8(claims).map_err(|_fault| NoMessage)?;
        let mut room = Room::new(&mut self.text);
        let jti = members.get(name::JTI).and_then(Value::text);
        let jti = jti.and_then(|jti| jti.decode(&mut room)).ok_or(NoMessage)?;
        jti.clone_into(&mut self.jti);
        self.key.clear();
        fmt::Write::write_fmt(&mut self.key, format_args!("{}", key(jti)))
            .map_err(|_fault| NoMessage)?;

        self.body.clear();
        put(
            &mut self.body,
            format_args!(r#"{{"token":"{token}","claims":{claims}"#),
        );
        let head =
            b64::decode_public(compact.header, &mut self.header).map_err(|_fault| NoMessage)?;
        let members = scan(head, Part::Header).map_err(|_reject| NoMessage)?;
        let kid = members.get(header::KID).and_then(Value::text);
        let mut room = Room::new(&mut self.text);
        if let Some(kid) = kid.and_then(|kid| kid.decode(&mut room)) {
            put(&mut self.body, format_args!(r#","kid":{}"#, json(kid)));
        }
        put(
            &mut self.body,
            format_args!(
                r#","accepted_at":"{}","attempt":{},"redelivered":{}}}"#,
                date(attempt.parcel.accepted),
                attempt.number,
                attempt.redelivered
            ),
        );
        Ok(())
    }

    /// The `jti` of the message.
    pub(super) fn jti(&self) -> &str {
        &self.jti
    }

    /// What the sink sends.
    pub(super) fn delivery(&self, redelivered: bool) -> Delivery<'_> {
        Delivery {
            key: &self.key,
            redelivered,
            body: &self.body,
        }
    }
}

/// A `jti` as the value of `Idempotency-Key`: a String of RFC 9651 (section 3.3.3) where it
/// is printable ASCII, which is all that a String can hold; else a Display String (section
/// 3.3.8), which says the same in UTF-8. Different texts never give the same value, and it
/// never ends its line.
fn key(jti: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let is_plain = jti.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        f.write_str(if is_plain { "\"" } else { "%\"" })?;
        for byte in jti.bytes() {
            let c = char::from(byte);
            match byte {
                b'"' | b'\\' if is_plain => write!(f, "\\{c}")?,
                b'"' | b'%' if !is_plain => write!(f, "%{byte:02x}")?,
                b' '..=b'~' => fmt::Write::write_char(f, c)?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        f.write_str("\"")
    })
}

/// A moment as RFC 3339 writes it, in UTC.
fn date(time: UnixTime) -> impl fmt::Display {
    const DAY: i64 = 86_400;
    let secs = time.as_secs();
    let (days, rest) = (secs.div_euclid(DAY), secs.rem_euclid(DAY));
    // Years from March, so that a leap day is the last of its year: eras of 400 years have
    // 146,097 days, the first of them since 1 March of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    fmt::from_fn(move |f| {
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{
        super::{
            line::Attempt,
            tests::{parcel, token},
        },
        NoMessage, Note, date, key,
    };
    use crate::UnixTime;

    const README: &str = include_str!("../../../README.md");

    fn attempt(number: u32, redelivered: bool) -> Attempt {
        let mut parcel = parcel(1, 1);
        parcel.accepted = UnixTime::from_secs(1_795_253_400);
        Attempt {
            parcel,
            number,
            redelivered,
        }
    }

    #[test]
    fn the_documented_example_is_what_is_sent() {
        let (_, example) = README
            .split_once("\n    POST /worklist HTTP/1.1\n")
            .unwrap();
        let example: Vec<_> = example
            .lines()
            .take_while(|line| line.is_empty() || line.starts_with("    "))
            .map(str::trim)
            .collect();
        let body = example.iter().find(|line| line.starts_with('{')).unwrap();
        let documented: serde_json::Value = serde_json::from_str(body).unwrap();
        let token = documented["token"].as_str().unwrap();
        let mut note = Note::new();
        note.fill(token.as_bytes(), &attempt(1, false)).unwrap();
        let delivery = note.delivery(false);
        assert_eq!(core::str::from_utf8(delivery.body), Ok(*body));
        let key = format!("Idempotency-Key: {}", delivery.key);
        assert!(example.contains(&key.as_str()), "{key}");
        let length = format!("Content-Length: {}", body.len());
        assert!(example.contains(&length.as_str()), "{length}");
    }

    #[test]
    fn claims_are_handed_on_byte_for_byte() {
        let claims =
            "{ \"exp\" :1e3,\"jti\":\"\\u0061\\\"b\",\"parameters\":{\"n\":\"Zo\\u00eb ë\"}\n}";
        let kept = token(r#"{"alg":"EdDSA","kid":"k\u0031\n"}"#, claims);
        let mut note = Note::new();
        for (number, redelivered) in [(1, false), (7, true)] {
            note.fill(kept.as_bytes(), &attempt(number, redelivered))
                .unwrap();
            assert_eq!(note.jti(), "a\"b");
            let wanted = format!(
                "{{\"token\":\"{kept}\",\"claims\":{claims},\"kid\":\"k1\\u000a\",\
                 \"accepted_at\":\"2026-11-21T09:30:00Z\",\"attempt\":{number},\
                 \"redelivered\":{redelivered}}}"
            );
            let sent = note.delivery(redelivered);
            assert_eq!(core::str::from_utf8(sent.body), Ok(wanted.as_str()));
            serde_json::from_slice::<serde_json::Value>(sent.body).unwrap();
        }
        let anonymous = token(r#"{"alg":"EdDSA"}"#, r#"{"jti":"j"}"#);
        note.fill(anonymous.as_bytes(), &attempt(1, false)).unwrap();
        let body: serde_json::Value = serde_json::from_slice(note.delivery(false).body).unwrap();
        assert_eq!(body.get("kid"), None);
    }

    #[test]
    fn what_is_no_message_is_not_sent() {
        let whole = token(r#"{"alg":"EdDSA"}"#, r#"{"jti":"j"}"#);
        for (name, kept) in [
            ("nothing", String::new()),
            ("cut", whole[..whole.rfind('.').unwrap()].to_owned()),
            ("no base64url", whole.replacen('.', ".=", 1)),
            ("no JSON", token(r#"{"alg":"EdDSA"}"#, "{")),
            ("no jti", token(r#"{"alg":"EdDSA"}"#, "{}")),
            ("no header", token("", r#"{"jti":"j"}"#)),
        ] {
            let mut note = Note::new();
            let filled = note.fill(kept.as_bytes(), &attempt(1, false));
            assert_eq!(filled, Err(NoMessage), "{name}");
        }
    }

    #[test]
    fn a_key_is_one_structured_value_and_two_texts_never_share_it() {
        for (jti, wanted) in [
            ("0c9a2a6e-4c0b", r#""0c9a2a6e-4c0b""#),
            ("a b", r#""a b""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("100%", r#""100%""#),
            ("é", r#"%"%c3%a9""#),
            ("é%\"", r#"%"%c3%a9%25%22""#),
            (r#"%"%c3%a9""#, r#""%\"%c3%a9\"""#),
            ("\u{2028}", r#"%"%e2%80%a8""#),
        ] {
            assert_eq!(key(jti).to_string(), wanted, "{jti}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_253_400, "2026-11-21T09:30:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            let time = UnixTime::from_secs(secs);
            assert_eq!(date(time).to_string(), wanted, "{secs}");
        }
    }
}
