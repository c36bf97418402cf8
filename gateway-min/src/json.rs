//! JSON (RFC 8259), read in one bounded pass. This file alone names `serde_json_core`.
//!
//! [`scan`] walks a text once, without recursion, and refuses what readers disagree on:
//! a byte-order mark, bad UTF-8, raw control characters, unknown escapes, half surrogate
//! pairs, numbers no reader can hold, a member name twice at the outermost level, deep
//! nesting, trailing bytes. What it yields are the byte spans of the outermost members.
//! `serde_json_core` then reads flat spans of known type only: its own skipping of unknown
//! values recurses without bound and does not check what it skips, so it is never used.
//!
//! Nothing here allocates. Stack use is fixed: the spans of [`MAX_MEMBERS`] members.

use heapless::Vec;

use crate::{
    error::{JsonFault, Part, Reject},
    limits::{MAX_DEPTH, MAX_MEMBERS, MAX_NUMBER},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The outermost value a caller expects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Top {
    Object,
    Array,
}

/// Members of an object, or elements of an array (whose names are empty), in their order.
pub(crate) struct Members<'a> {
    list: Vec<(Text<'a>, Value<'a>), MAX_MEMBERS>,
}

impl<'a> Members<'a> {
    /// The value of the member of that name, compared after escapes are resolved.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        self.list
            .iter()
            .find(|(known, _)| known.is(name))
            .map(|&(_, value)| value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = Value<'a>> {
        self.list.iter().map(|&(_, value)| value)
    }
}

/// Scans a whole text whose outermost value is an object.
///
/// # Errors
///
/// [`Reject::Json`] with `part` and the offset of the fault.
pub(crate) fn scan(text: &[u8], part: Part) -> Result<Members<'_>, Reject> {
    checked(text, part, Top::Object)
}

fn checked(text: &[u8], part: Part, top: Top) -> Result<Members<'_>, Reject> {
    let fault = |fault, at| Reject::Json { part, fault, at };
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(fault(JsonFault::ByteOrderMark, 0));
    }
    let text =
        core::str::from_utf8(text).map_err(|error| fault(JsonFault::Utf8, error.valid_up_to()))?;
    Scanner { text, at: 0 }
        .outermost(top)
        .map_err(|(kind, at)| fault(kind, at))
}

/// One JSON value that [`scan`] has walked over: well-formed, with no space around it.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    raw: &'a str,
}

impl<'a> Value<'a> {
    /// The string, or `None` for any other type.
    pub(crate) fn text(self) -> Option<Text<'a>> {
        Text::between_quotes(self.raw)
    }

    /// The whole number, or `None` for any other type, a fraction, an exponent, or a
    /// number outside 64 bits.
    pub(crate) fn int(self) -> Option<i64> {
        let (number, _) = serde_json_core::from_str::<i64>(self.raw).ok()?;
        Some(number)
    }

    /// The object's text, byte for byte, or `None` for any other type.
    pub(crate) fn object(self) -> Option<&'a str> {
        self.raw.starts_with('{').then_some(self.raw)
    }

    /// The members of the object, or `None` for any other type.
    pub(crate) fn members(self, part: Part) -> Option<Result<Members<'a>, Reject>> {
        self.object()
            .map(|raw| checked(raw.as_bytes(), part, Top::Object))
    }

    /// The elements of the array, or `None` for any other type.
    pub(crate) fn elements(self, part: Part) -> Option<Result<Members<'a>, Reject>> {
        self.raw
            .starts_with('[')
            .then(|| checked(self.raw.as_bytes(), part, Top::Array))
    }
}

/// A JSON string that [`scan`] has walked over, its escapes not yet resolved.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    /// What stands between the quotes.
    inner: &'a str,
}

impl<'a> Text<'a> {
    const EMPTY: Self = Self { inner: "" };

    fn between_quotes(raw: &'a str) -> Option<Self> {
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        Some(Self { inner })
    }

    /// Whether the string says exactly `other`, escapes resolved.
    pub(crate) fn is(self, other: &str) -> bool {
        if self.is_plain() {
            self.inner == other
        } else {
            self.chars().eq(other.chars())
        }
    }

    fn same(self, other: Self) -> bool {
        if self.is_plain() && other.is_plain() {
            self.inner == other.inner
        } else {
            self.chars().eq(other.chars())
        }
    }

    fn is_plain(self) -> bool {
        !self.inner.as_bytes().contains(&b'\\')
    }

    fn chars(self) -> Unescaped<'a> {
        Unescaped {
            rest: self.inner.chars(),
        }
    }

    /// The string with its escapes resolved: borrowed from the text where it has none,
    /// else written to `room`. `None` where `room` has too little of it, which room as
    /// long as the scanned text never has: no escape is shorter than what it stands for.
    pub(crate) fn decode(self, room: &mut Room<'a>) -> Option<&'a str> {
        if self.is_plain() {
            return Some(self.inner);
        }
        let buffer = core::mem::take(&mut room.rest);
        let mut len = 0_usize;
        for c in self.chars() {
            let end = len.checked_add(c.len_utf8())?;
            c.encode_utf8(buffer.get_mut(len..end)?);
            len = end;
        }
        let (decoded, rest) = buffer.split_at_mut_checked(len)?;
        room.rest = rest;
        core::str::from_utf8(decoded).ok()
    }

    /// The bytes of a string that is to be a token; `buf` is used where it has escapes.
    fn token(self, buf: &'a mut [u8]) -> Result<&'a [u8], Reject> {
        let too_long = Reject::TokenTooLong {
            len: self.inner.len(),
        };
        let token = self.decode(&mut Room::new(buf)).ok_or(too_long)?;
        Ok(token.as_bytes())
    }
}

/// Memory that the caller lends for decoded strings, handed out from its front.
pub(crate) struct Room<'a> {
    rest: &'a mut [u8],
}

impl<'a> Room<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { rest: buffer }
    }
}

/// The characters of a well-formed string.
struct Unescaped<'a> {
    rest: core::str::Chars<'a>,
}

impl Unescaped<'_> {
    /// The unit of `\uXXXX`, whose first two characters are already taken.
    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0_u32, |unit, _| {
            unit.checked_mul(16)?
                .checked_add(self.rest.next()?.to_digit(16)?)
        })
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self.rest.next()? {
            '\\' => match self.rest.next()? {
                'b' => Some('\u{8}'),
                'f' => Some('\u{c}'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                'u' => {
                    let first = self.unit()?;
                    if !(0xd800..0xdc00).contains(&first) {
                        return char::from_u32(first);
                    }
                    // The scan has seen that `\u` and a low half follow.
                    self.rest.next()?;
                    self.rest.next()?;
                    let (high, low) = (first & 0x3ff, self.unit()? & 0x3ff);
                    char::from_u32(0x1_0000_u32.checked_add((high << 10) | low)?)
                }
                quoted => Some(quoted),
            },
            plain => Some(plain),
        }
    }
}

/// The token in a request's body `{"message": "<token>", "timestamp": "<RFC 3339>"}`.
/// `timestamp` is optional and only its type is looked at; other members are passed over.
/// `buf` is used where the token is written with escapes; [`MAX_BODY`](crate::limits::MAX_BODY)
/// bytes are always enough.
///
/// # Errors
///
/// [`Reject::BodyMissing`], [`Reject::Json`], [`Reject::MessageMissing`] or
/// [`Reject::MessageType`].
pub fn message_of<'a>(body: &'a [u8], buf: &'a mut [u8]) -> Result<&'a [u8], Reject> {
    if body.is_empty() {
        return Err(Reject::BodyMissing);
    }
    let members = scan(body, Part::Body)?;
    if members
        .get("timestamp")
        .is_some_and(|value| value.text().is_none())
    {
        return Err(Reject::MessageType);
    }
    let text = members
        .get("message")
        .ok_or(Reject::MessageMissing)?
        .text()
        .ok_or(Reject::MessageType)?;
    text.token(buf)
}

/// One JSON string that stands alone in `line`, its escapes resolved: how the `verify`
/// command is given tokens with odd bytes in them. `buf` as for [`message_of`].
///
/// # Errors
///
/// [`Reject::Json`], or [`Reject::TokenTooLong`] where `buf` is too small.
pub fn json_string<'a>(line: &'a [u8], buf: &'a mut [u8]) -> Result<&'a [u8], Reject> {
    let fault = |(fault, at)| Reject::Json {
        part: Part::Body,
        fault,
        at,
    };
    let text = core::str::from_utf8(line)
        .map_err(|error| fault((JsonFault::Utf8, error.valid_up_to())))?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    let text = scanner.string().map_err(fault)?;
    scanner.end().map_err(fault)?;
    text.token(buf)
}

type Fault = (JsonFault, usize);

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

impl<'a> Scanner<'a> {
    fn outermost(mut self, top: Top) -> Result<Members<'a>, Fault> {
        let mut list = Vec::new();
        self.space();
        match (self.peek(), top) {
            (Some(b'{'), Top::Object) | (Some(b'['), Top::Array) => {}
            (Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'), _) => {
                return Err((JsonFault::NotObject, self.at));
            }
            _ => return Err((JsonFault::Syntax, self.at)),
        }
        // One bit a level, the innermost lowest: set inside an object.
        let mut objects = 0_u32;
        let mut depth = 0_usize;
        let mut expect = Expect::Value;
        let mut name = Text::EMPTY;
        let mut value_at = self.at;
        loop {
            self.space();
            let start = self.at;
            let byte = self.peek().ok_or((JsonFault::Syntax, start))?;
            if depth == 1 && matches!(expect, Expect::Value | Expect::ValueOrEnd) {
                value_at = start;
            }
            let in_object = objects & 1 == 1;
            let ended = match (expect, byte) {
                (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => {
                    if depth == MAX_DEPTH {
                        return Err((JsonFault::Depth, start));
                    }
                    depth = depth.saturating_add(1);
                    let object = byte == b'{';
                    objects = (objects << 1) | u32::from(object);
                    expect = if object {
                        Expect::NameOrEnd
                    } else {
                        Expect::ValueOrEnd
                    };
                    self.step();
                    continue;
                }
                (Expect::Value | Expect::ValueOrEnd, b'"') => {
                    self.string()?;
                    false
                }
                (Expect::Value | Expect::ValueOrEnd, b'-' | b'0'..=b'9') => {
                    self.number()?;
                    false
                }
                (Expect::Value | Expect::ValueOrEnd, b't' | b'f' | b'n') => {
                    self.literal()?;
                    false
                }
                (Expect::NameOrEnd | Expect::Name, b'"') => {
                    let text = self.string()?;
                    self.space();
                    if self.peek() != Some(b':') {
                        return Err((JsonFault::Syntax, self.at));
                    }
                    self.step();
                    if depth == 1 {
                        if list
                            .iter()
                            .any(|&(known, _): &(Text<'_>, _)| known.same(text))
                        {
                            return Err((JsonFault::Duplicate, start));
                        }
                        name = text;
                    }
                    expect = Expect::Value;
                    continue;
                }
                (Expect::CommaOrEnd, b',') => {
                    self.step();
                    expect = if in_object {
                        Expect::Name
                    } else {
                        Expect::Value
                    };
                    continue;
                }
                (Expect::NameOrEnd | Expect::CommaOrEnd, b'}') if in_object => true,
                (Expect::ValueOrEnd | Expect::CommaOrEnd, b']') if !in_object => true,
                _ => return Err((JsonFault::Syntax, start)),
            };
            if ended {
                self.step();
                objects >>= 1;
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    self.end()?;
                    return Ok(Members { list });
                }
            }
            if depth == 1 {
                let raw = self
                    .text
                    .get(value_at..self.at)
                    .ok_or((JsonFault::Syntax, start))?;
                list.push((name, Value { raw }))
                    .map_err(|_full| (JsonFault::Members, value_at))?;
            }
            expect = Expect::CommaOrEnd;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err((JsonFault::Trailing, self.at))
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Fault> {
        let open = self.at;
        if self.peek() != Some(b'"') {
            return Err((JsonFault::Syntax, open));
        }
        self.step();
        loop {
            match self.peek() {
                None => return Err((JsonFault::Syntax, self.at)),
                Some(b'"') => {
                    self.step();
                    let raw = self.text.get(open..self.at);
                    return raw
                        .and_then(Text::between_quotes)
                        .ok_or((JsonFault::Syntax, open));
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err((JsonFault::Control, self.at)),
                Some(_) => self.step(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.step();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step();
                Ok(())
            }
            Some(b'u') => {
                self.step();
                match self.unit(start)? {
                    0xd800..=0xdbff => {
                        let pair = self
                            .text
                            .as_bytes()
                            .get(self.at..)
                            .is_some_and(|rest| rest.starts_with(b"\\u"));
                        if !pair {
                            return Err((JsonFault::Surrogate, start));
                        }
                        self.step();
                        self.step();
                        match self.unit(start)? {
                            0xdc00..=0xdfff => Ok(()),
                            _ => Err((JsonFault::Surrogate, start)),
                        }
                    }
                    0xdc00..=0xdfff => Err((JsonFault::Surrogate, start)),
                    _ => Ok(()),
                }
            }
            _ => Err((JsonFault::Escape, start)),
        }
    }

    fn unit(&mut self, start: usize) -> Result<u32, Fault> {
        let mut unit = 0_u32;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or((JsonFault::Escape, start))?;
            unit = (unit << 4) | digit;
            self.step();
        }
        Ok(unit)
    }

    fn literal(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let literal = ["true", "false", "null"]
            .into_iter()
            .find(|literal| rest.starts_with(literal));
        let literal = literal.ok_or((JsonFault::Syntax, self.at))?;
        self.at = self.at.saturating_add(literal.len());
        Ok(())
    }

    /// A number by the grammar, of a written length and a magnitude that every reader
    /// holds: RFC 8259 section 6 leaves both open, and readers differ from 1e308 on.
    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let fault = (JsonFault::Number, start);
        if self.peek() == Some(b'-') {
            self.step();
        }
        let whole = self.digits();
        let leading_zero = whole.starts_with('0');
        if whole.is_empty() || (leading_zero && whole.len() > 1) {
            return Err(fault);
        }
        let mut fraction = "";
        if self.peek() == Some(b'.') {
            self.step();
            fraction = self.digits();
            if fraction.is_empty() {
                return Err(fault);
            }
        }
        let mut exponent = 0_i64;
        if let Some(b'e' | b'E') = self.peek() {
            self.step();
            let negative = self.peek() == Some(b'-');
            if negative || self.peek() == Some(b'+') {
                self.step();
            }
            let digits = self.digits();
            if digits.is_empty() {
                return Err(fault);
            }
            // Written with more digits than 64 bits hold, it is as good as endless.
            exponent = digits.parse().unwrap_or(i64::MAX);
            if negative {
                exponent = exponent.saturating_neg();
            }
        }
        if self.at.saturating_sub(start) > MAX_NUMBER {
            return Err(fault);
        }
        // Power of ten of the first digit that is not zero.
        let first = if leading_zero {
            fraction
                .bytes()
                .position(|digit| digit != b'0')
                .map(|zeros| (false, zeros.saturating_add(1)))
        } else {
            Some((true, whole.len().saturating_sub(1)))
        };
        let Some((above, places)) = first else {
            return Ok(());
        };
        let places = i64::try_from(places).unwrap_or(i64::MAX);
        let power = if above {
            exponent.saturating_add(places)
        } else {
            exponent.saturating_sub(places)
        };
        if power >= 308 { Err(fault) } else { Ok(()) }
    }

    fn digits(&mut self) -> &'a str {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.step();
        }
        self.text.get(start..self.at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, string::String, vec, vec::Vec};

    use proptest::prelude::*;

    use super::{Room, json_string, message_of, scan};
    use crate::{
        error::{JsonFault, Part, Reject},
        limits::{MAX_DEPTH, MAX_MEMBERS},
    };

    fn fault(text: &[u8]) -> Result<(), (JsonFault, usize)> {
        match scan(text, Part::Claims) {
            Ok(_) => Ok(()),
            Err(Reject::Json {
                part: Part::Claims,
                fault,
                at,
            }) => Err((fault, at)),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_readers_disagree_on_is_refused_by_name() {
        use JsonFault as J;
        let rows: &[(&str, &[u8], Result<(), (JsonFault, usize)>)] = &[
            ("empty object", b"{}", Ok(())),
            ("space of every kind", b" \t\r\n{ \"a\" : [ ] } \n", Ok(())),
            (
                "every type",
                br#"{"a":"x","b":-0.5e+10,"c":true,"d":false,"e":null,"f":[1,{"g":[]}],"h":{}}"#,
                Ok(()),
            ),
            ("DEL is no control character", b"{\"a\":\"\x7f\"}", Ok(())),
            ("same name deeper", br#"{"a":{"a":1}}"#, Ok(())),
            ("empty", b"", Err((J::Syntax, 0))),
            ("only space", b"  ", Err((J::Syntax, 2))),
            ("word", b"hello", Err((J::Syntax, 0))),
            ("array", b"[]", Err((J::NotObject, 0))),
            ("string", b"\"x\"", Err((J::NotObject, 0))),
            ("number", b" 1", Err((J::NotObject, 1))),
            ("null", b"null", Err((J::NotObject, 0))),
            (
                "byte-order mark",
                b"\xef\xbb\xbf{}",
                Err((J::ByteOrderMark, 0)),
            ),
            ("UTF-16", b"\xff\xfe{\0}\0", Err((J::Utf8, 0))),
            ("overlong UTF-8", b"{\"a\":\"\xc0\xaf\"}", Err((J::Utf8, 6))),
            (
                "surrogate in UTF-8",
                b"{\"a\":\"\xed\xa0\x80\"}",
                Err((J::Utf8, 6)),
            ),
            ("cut UTF-8", b"{\"a\":\"\xe2\x82", Err((J::Utf8, 6))),
            (
                "raw line feed in a string",
                b"{\"a\":\"x\ny\"}",
                Err((J::Control, 7)),
            ),
            (
                "raw NUL in a string",
                b"{\"a\":\"\0\"}",
                Err((J::Control, 6)),
            ),
            ("raw tab in a name", b"{\"\t\":1}", Err((J::Control, 2))),
            ("NUL between tokens", b"{\0}", Err((J::Syntax, 1))),
            ("form feed between tokens", b"{\x0c}", Err((J::Syntax, 1))),
            ("unknown escape", br#"{"a":"\x41"}"#, Err((J::Escape, 6))),
            (
                "short unicode escape",
                br#"{"a":"\u12"}"#,
                Err((J::Escape, 6)),
            ),
            (
                "signed unicode escape",
                br#"{"a":"\u+123"}"#,
                Err((J::Escape, 6)),
            ),
            ("escaped end", br#"{"a":"\"#, Err((J::Escape, 6))),
            (
                "lone high surrogate",
                br#"{"a":"\ud83d"}"#,
                Err((J::Surrogate, 6)),
            ),
            (
                "lone low surrogate",
                br#"{"a":"\ude00"}"#,
                Err((J::Surrogate, 6)),
            ),
            (
                "high surrogate, then a letter",
                br#"{"a":"\ud83dx"}"#,
                Err((J::Surrogate, 6)),
            ),
            (
                "high surrogate twice",
                br#"{"a":"\ud83d\ud83d"}"#,
                Err((J::Surrogate, 6)),
            ),
            ("surrogate pair", br#"{"a":"\ud83d\ude00"}"#, Ok(())),
            ("leading zero", br#"{"a":01}"#, Err((J::Number, 5))),
            ("plus sign", br#"{"a":+1}"#, Err((J::Syntax, 5))),
            ("bare minus", br#"{"a":-}"#, Err((J::Number, 5))),
            (
                "no digit behind the point",
                br#"{"a":1.}"#,
                Err((J::Number, 5)),
            ),
            (
                "no digit before the point",
                br#"{"a":.5}"#,
                Err((J::Syntax, 5)),
            ),
            (
                "no digit in the exponent",
                br#"{"a":1e}"#,
                Err((J::Number, 5)),
            ),
            ("NaN", br#"{"a":NaN}"#, Err((J::Syntax, 5))),
            ("hexadecimal", br#"{"a":0x10}"#, Err((J::Syntax, 6))),
            ("1e400", br#"{"a":1e400}"#, Err((J::Number, 5))),
            ("1e308", br#"{"a":1e308}"#, Err((J::Number, 5))),
            ("1e307", br#"{"a":1e307}"#, Ok(())),
            ("0.001e310 is 1e307", br#"{"a":0.001e310}"#, Ok(())),
            (
                "0.001e311 is 1e308",
                br#"{"a":0.001e311}"#,
                Err((J::Number, 5)),
            ),
            ("100e306 is 1e308", br#"{"a":100e306}"#, Err((J::Number, 5))),
            ("zero with any exponent", br#"{"a":0e999}"#, Ok(())),
            ("tiny", br#"{"a":1e-999}"#, Ok(())),
            (
                "an exponent of thirty digits",
                br#"{"a":1e999999999999999999999999999999}"#,
                Err((J::Number, 5)),
            ),
            (
                "64 digits",
                br#"{"a":1111111111111111111111111111111111111111111111111111111111111111}"#,
                Ok(()),
            ),
            (
                "65 digits",
                br#"{"a":11111111111111111111111111111111111111111111111111111111111111111}"#,
                Err((J::Number, 5)),
            ),
            (
                "same name twice",
                br#"{"a":1,"b":2,"a":1}"#,
                Err((J::Duplicate, 13)),
            ),
            (
                "same name, once escaped",
                br#"{"exp":1,"\u0065xp":2}"#,
                Err((J::Duplicate, 9)),
            ),
            ("two objects", b"{}{}", Err((J::Trailing, 2))),
            ("comma behind the end", b"{},", Err((J::Trailing, 2))),
            ("NUL behind the end", b"{}\0", Err((J::Trailing, 2))),
            (
                "trailing comma in an object",
                br#"{"a":1,}"#,
                Err((J::Syntax, 7)),
            ),
            (
                "trailing comma in an array",
                br#"{"a":[1,]}"#,
                Err((J::Syntax, 8)),
            ),
            ("two commas", br#"{"a":1,,"b":2}"#, Err((J::Syntax, 7))),
            ("no comma", br#"{"a":1 "b":2}"#, Err((J::Syntax, 7))),
            ("no colon", br#"{"a" 1}"#, Err((J::Syntax, 5))),
            ("no value", br#"{"a":}"#, Err((J::Syntax, 5))),
            ("name that is no string", b"{a:1}", Err((J::Syntax, 1))),
            (
                "nonsense that serde-json-core skips",
                br#"{"a":nonsense}"#,
                Err((J::Syntax, 5)),
            ),
            ("word run on", br#"{"a":truex}"#, Err((J::Syntax, 9))),
            ("crossed brackets", br#"{"a":[1}]"#, Err((J::Syntax, 7))),
            (
                "closed by the other bracket",
                br#"{"a":1]"#,
                Err((J::Syntax, 6)),
            ),
            ("never closed", br#"{"a":{"b":1}"#, Err((J::Syntax, 12))),
            ("comment", b"{/**/}", Err((J::Syntax, 1))),
            ("single quotes", b"{'a':1}", Err((J::Syntax, 1))),
        ];
        for (name, text, expected) in rows {
            assert_eq!(fault(text), *expected, "{name}");
        }
    }

    #[test]
    fn depth_and_members_end_at_their_bounds() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert_eq!(fault(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(
            fault(nested(MAX_DEPTH + 1).as_bytes()),
            Err((JsonFault::Depth, 4 + MAX_DEPTH))
        );
        assert_eq!(
            fault(nested(10_000).as_bytes()),
            Err((JsonFault::Depth, 4 + MAX_DEPTH))
        );
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(fault(many(MAX_MEMBERS).as_bytes()), Ok(()));
        assert!(matches!(
            fault(many(MAX_MEMBERS + 1).as_bytes()),
            Err((JsonFault::Members, _))
        ));
    }

    #[test]
    fn values_are_read_by_type_and_never_as_an_absence() {
        let text = br#"{"i":-7,"big":9223372036854775808,"f":1.0,"e":1e3,"s":"x","n":null,"b":true,"o":{"k":[1]},"a":["\u0078",2]}"#;
        let members = scan(text, Part::Claims).unwrap();
        let ints = ["i", "big", "f", "e", "s", "n", "b", "o", "a"]
            .map(|name| members.get(name).unwrap().int());
        assert_eq!(
            ints,
            [Some(-7), None, None, None, None, None, None, None, None]
        );
        assert!(members.get("s").unwrap().text().unwrap().is("x"));
        assert!(members.get("n").unwrap().text().is_none());
        assert_eq!(members.get("o").unwrap().object(), Some(r#"{"k":[1]}"#));
        assert_eq!(members.get("a").unwrap().object(), None);
        let elements = members
            .get("a")
            .unwrap()
            .elements(Part::Claims)
            .unwrap()
            .unwrap();
        let texts: Vec<bool> = elements
            .values()
            .map(|value| value.text().is_some_and(|text| text.is("x")))
            .collect();
        assert_eq!(texts, [true, false]);
        assert!(members.get("absent").is_none());
    }

    #[test]
    fn every_escape_is_understood() {
        let text = br#"{"s":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00\uDBFF\uDFFF\u0000"}"#;
        let members = scan(text, Part::Claims).unwrap();
        let mut buffer = [0; 64];
        let decoded = members
            .get("s")
            .unwrap()
            .text()
            .unwrap()
            .decode(&mut Room::new(&mut buffer));
        assert_eq!(
            decoded,
            Some("\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{20ac}\u{1f600}\u{10ffff}\0")
        );
        let mut short = [0; 10];
        assert_eq!(
            members
                .get("s")
                .unwrap()
                .text()
                .unwrap()
                .decode(&mut Room::new(&mut short)),
            None
        );
    }

    #[test]
    fn a_body_holds_one_token() {
        let json = |fault, at| Reject::Json {
            part: Part::Body,
            fault,
            at,
        };
        let rows: &[(&str, &[u8], Result<&[u8], Reject>)] = &[
            ("message alone", br#"{"message":"a.b.c"}"#, Ok(b"a.b.c")),
            (
                "with its time",
                br#"{"message":"a.b.c","timestamp":"2026-11-21T09:00:00Z"}"#,
                Ok(b"a.b.c"),
            ),
            (
                "other members are passed over",
                br#"{"x":[1],"message":"a"}"#,
                Ok(b"a"),
            ),
            ("escapes", br#"{"message":"\u0061\/b"}"#, Ok(b"a/b")),
            ("no body", b"", Err(Reject::BodyMissing)),
            (
                "no message",
                br#"{"timestamp":"x"}"#,
                Err(Reject::MessageMissing),
            ),
            (
                "undefined, as JSON.stringify leaves it out",
                b"{}",
                Err(Reject::MessageMissing),
            ),
            ("null", br#"{"message":null}"#, Err(Reject::MessageType)),
            ("number", br#"{"message":5}"#, Err(Reject::MessageType)),
            (
                "time as a number",
                br#"{"message":"a","timestamp":5}"#,
                Err(Reject::MessageType),
            ),
            ("not JSON", b"message=a", Err(json(JsonFault::Syntax, 0))),
            (
                "two messages",
                br#"{"message":"a","message":"b"}"#,
                Err(json(JsonFault::Duplicate, 15)),
            ),
        ];
        for (name, body, expected) in rows {
            let mut buffer = [0; 32];
            assert_eq!(message_of(body, &mut buffer), *expected, "{name}");
        }
    }

    #[test]
    fn a_line_holds_one_string() {
        let json = |fault, at| Reject::Json {
            part: Part::Body,
            fault,
            at,
        };
        let rows: &[(&[u8], Result<&[u8], Reject>)] = &[
            (br#""a\n\u00e9""#, Ok("a\n\u{e9}".as_bytes())),
            (br#" "a" "#, Ok(b"a")),
            (br#""a"b"#, Err(json(JsonFault::Trailing, 3))),
            (br#""a"#, Err(json(JsonFault::Syntax, 2))),
            (b"a", Err(json(JsonFault::Syntax, 0))),
        ];
        for (line, expected) in rows {
            let mut buffer = [0; 32];
            assert_eq!(json_string(line, &mut buffer), *expected);
        }
    }

    /// Ways of serde-json-core 0.7 that the scan stands in front of. An upgrade that
    /// changes one is noticed here.
    #[test]
    fn serde_json_core_needs_a_scan_before_it() {
        use serde_json_core::from_slice;
        assert!(
            from_slice::<&str>(b"\"raw\nline\"").is_ok(),
            "takes raw control characters"
        );
        assert!(
            from_slice::<&str>(br#""\ud83d\ude00""#).is_ok(),
            "leaves escapes unread in a borrowed string"
        );
        let mut buffer = [0; 16];
        let pair = serde_json_core::from_slice_escaped::<String>(br#""\ud83d\ude00""#, &mut buffer);
        assert!(pair.is_err(), "refuses surrogate pairs");
        assert!(from_slice::<i64>(b"01").is_err());
        assert_eq!(from_slice::<i64>(b" 7 ").unwrap().0, 7);
        assert!(from_slice::<i64>(b"1.0").is_err());
        assert!(from_slice::<i64>(b"9223372036854775808").is_err());
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(String::from("null")),
            Just(String::from("true")),
            "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
            "\"([ -!#-\\[\\]-~é😀]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-7][0-9a-f]|\\\\ud83d\\\\ude0[0-9]){0,6}\"",
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|list| format!("[{}]", list.join(" ,"))),
                prop::collection::vec(("\"[a-e]{1,2}\"", inner), 0..4).prop_map(|list| {
                    let members: Vec<String> = list
                        .into_iter()
                        .map(|(name, value)| format!("{name}: {value}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        /// serde_json is the second opinion on texts that are JSON or nearly so.
        #[test]
        fn agrees_with_serde_json(object in json(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..3)) {
            let mut text = format!("{{\"m\":{object}}}").into_bytes();
            for (at, byte, kind) in edits {
                let at = at.index(text.len());
                match kind {
                    0 => text[at] = byte,
                    1 => { text.remove(at); }
                    _ => text.insert(at, byte),
                }
                if text.is_empty() { text = vec![b' ']; }
            }
            let theirs = serde_json::from_slice::<serde_json::Value>(&text);
            match fault(&text) {
                Ok(()) => {
                    let members = scan(&text, Part::Claims).unwrap();
                    let theirs = theirs.unwrap();
                    prop_assert_eq!(members.values().count(), theirs.as_object().unwrap().len());
                    for (name, value) in &members.list {
                        let name: String = name.chars().collect();
                        let ours: serde_json::Value = serde_json::from_str(value.raw).unwrap();
                        prop_assert_eq!(&ours, &theirs[&name]);
                        if let Some(text) = value.text() {
                            prop_assert_eq!(text.chars().collect::<String>(), ours.as_str().unwrap());
                        }
                        // serde_json reads -0 as a fraction.
                        if value.raw != "-0" {
                            prop_assert_eq!(value.int(), ours.as_i64().filter(|_| !value.raw.contains(['.', 'e', 'E'])));
                        }
                    }
                }
                Err((JsonFault::NotObject, _)) => prop_assert!(theirs.is_err() || !theirs.unwrap().is_object()),
                // Narrower than the grammar on purpose.
                Err((JsonFault::Duplicate | JsonFault::Depth | JsonFault::Members | JsonFault::Number, _)) => {}
                Err(_) => prop_assert!(theirs.is_err(), "serde_json reads {:?}", String::from_utf8_lossy(&text)),
            }
        }
    }
}
