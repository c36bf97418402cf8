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
    let token = text
        .decode(&mut Room::new(buf))
        .ok_or(Reject::TokenTooLong {
            len: text.inner.len(),
        })?;
    Ok(token.as_bytes())
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
    let token = text
        .decode(&mut Room::new(buf))
        .ok_or(Reject::TokenTooLong {
            len: text.inner.len(),
        })?;
    Ok(token.as_bytes())
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
