//! A receiver's answer, read as its bytes come in (RFC 9112 sections 4 to 7): its status,
//! where it ends, and whether another request may follow. Its body is passed over. Pure:
//! `http` brings the bytes.
//!
//! Refused: a head above [`MAX_HEAD`] or [`MAX_FIELDS`], a length that is said in two ways,
//! chunks that are none. A body is passed over up to [`MAX_BODY`]: whoever sends more has
//! said what it wanted to say in its status.

use std::{prelude::v1::*, time::Duration};

use httparse::{EMPTY_HEADER, Header, Status, parse_chunk_size};

/// Longest head, interim answers before it included.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 64;
/// Most of a body that is passed over, chunk heads and trailers included.
const MAX_BODY: u64 = 64 * 1024;
/// Longest line that says a chunk's size, or of a trailer.
const MAX_LINE: usize = 4096;

/// Why bytes are no answer.
pub(super) type Wrong = &'static str;

/// How far an answer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There is more to it.
    More,
    /// It is whole; the connection can be kept.
    Whole,
    /// It is whole or longer than anybody needs; the connection is of no more use.
    Last,
}

/// What is left of the body.
#[derive(Debug)]
enum Rest {
    /// The head is not whole.
    Head,
    Bytes(u64),
    Chunks(Chunk),
    /// As much as comes until the receiver closes.
    UntilClose,
    Nothing,
}

/// Where in a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunk {
    /// In the line that says how long the next is.
    Size,
    Data(u64),
    /// Behind its data, before its line end.
    End,
    Trailer,
}

/// An answer on its way. Its memory is used again for the next.
#[derive(Debug)]
pub(super) struct Answer {
    /// Bytes of the head, or of a line.
    held: Vec<u8>,
    rest: Rest,
    /// Bytes of the body so far.
    passed: u64,
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    keeps: bool,
    began: bool,
}

impl Answer {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::new(),
            rest: Rest::Head,
            passed: 0,
            status: 0,
            retry_after: None,
            keeps: false,
            began: false,
        }
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        let mut held = core::mem::take(&mut self.held);
        held.clear();
        *self = Self {
            held,
            ..Self::new()
        };
    }

    /// Whether a byte of it has come.
    pub(super) fn began(&self) -> bool {
        self.began
    }

    /// Whether the status is known.
    pub(super) fn has_status(&self) -> bool {
        !matches!(self.rest, Rest::Head)
    }

    /// Takes bytes that came.
    ///
    /// # Errors
    /// Why this is no answer.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Progress, Wrong> {
        self.began |= !bytes.is_empty();
        let mut body = Vec::new();
        let mut bytes = bytes;
        if let Rest::Head = self.rest {
            self.held.extend_from_slice(bytes);
            let Some(end) = self.head()? else {
                return match self.held.len() {
                    0..=MAX_HEAD => Ok(Progress::More),
                    _ => Err("its head is too long"),
                };
            };
            body.extend(self.held.drain(..).skip(end));
            bytes = &body;
        }
        self.body(bytes)
    }

    /// The receiver has closed: whether the answer was whole.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn closed(&self) -> Result<(), Wrong> {
        match self.rest {
            Rest::UntilClose | Rest::Nothing => Ok(()),
            Rest::Head if !self.began => Err("closed without an answer"),
            Rest::Head => Err("closed within the head"),
            Rest::Bytes(_) | Rest::Chunks(_) => Err("closed within the body"),
        }
    }

    /// Reads the head, where it is whole: where it ends.
    fn head(&mut self) -> Result<Option<usize>, Wrong> {
        let mut start = 0;
        loop {
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut head = httparse::Response::new(&mut fields);
            let len = match head.parse(&self.held[start..]) {
                Ok(Status::Complete(len)) => len,
                Ok(Status::Partial) => return Ok(None),
                Err(httparse::Error::TooManyHeaders) => return Err("its head has too many fields"),
                Err(_) => return Err("not HTTP/1"),
            };
            let (status, version) = (head.code.unwrap_or(0), head.version.unwrap_or(0));
            start += len;
            if start > MAX_HEAD {
                return Err("its head is too long");
            }
            match status {
                101 => return Err("another protocol, which was not asked for"),
                // Interim: another head follows (RFC 9110 section 15.2).
                100..=199 => continue,
                200..=599 => {}
                _ => return Err("a status that does not exist"),
            }
            self.status = status;
            self.retry_after = one(head.headers, "retry-after")
                .and_then(digits)
                .map(Duration::from_secs);
            self.rest = framing(status, head.headers)?;
            let close =
                tokens(head.headers, "connection").any(|token| token.eq_ignore_ascii_case("close"));
            self.keeps = version == 1 && !close && !matches!(self.rest, Rest::UntilClose);
            return Ok(Some(start));
        }
    }

    /// Passes over what came of the body.
    fn body(&mut self, mut bytes: &[u8]) -> Result<Progress, Wrong> {
        let came = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.passed = self.passed.saturating_add(came);
        loop {
            match &mut self.rest {
                Rest::Head => return Ok(Progress::More),
                Rest::UntilClose => break,
                Rest::Bytes(left) => {
                    bytes = pass(left, bytes);
                    if *left > 0 {
                        break;
                    }
                    self.rest = Rest::Nothing;
                }
                Rest::Nothing => {
                    // What comes behind its end belongs to nothing that was asked.
                    let keeps = self.keeps && bytes.is_empty();
                    return Ok(if keeps {
                        Progress::Whole
                    } else {
                        Progress::Last
                    });
                }
                Rest::Chunks(Chunk::Data(left)) => {
                    bytes = pass(left, bytes);
                    if *left > 0 {
                        break;
                    }
                    self.rest = Rest::Chunks(Chunk::End);
                }
                Rest::Chunks(chunk) => {
                    let at = *chunk;
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.held.extend_from_slice(bytes);
                        if self.held.len() > MAX_LINE {
                            return Err("a line of its body is too long");
                        }
                        break;
                    };
                    let (line, behind) = bytes.split_at(end + 1);
                    self.held.extend_from_slice(line);
                    bytes = behind;
                    self.rest = next(at, &self.held)?;
                    self.held.clear();
                }
            }
        }
        Ok(if self.passed > MAX_BODY {
            Progress::Last
        } else {
            Progress::More
        })
    }
}

/// Passes over `left` bytes at most: those behind.
fn pass<'a>(left: &mut u64, bytes: &'a [u8]) -> &'a [u8] {
    let len = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *left = left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
    &bytes[len..]
}

/// What follows a line of a chunked body (RFC 9112 section 7.1), its line end included.
fn next(at: Chunk, line: &[u8]) -> Result<Rest, Wrong> {
    const NONE: Wrong = "its body is not in chunks as it says";
    let text = line.strip_suffix(b"\r\n").ok_or(NONE)?;
    Ok(match at {
        Chunk::Size => match parse_chunk_size(line) {
            Ok(Status::Complete((_, 0))) => Rest::Chunks(Chunk::Trailer),
            Ok(Status::Complete((_, size))) => Rest::Chunks(Chunk::Data(size)),
            _ => return Err(NONE),
        },
        Chunk::Data(_) | Chunk::End if text.is_empty() => Rest::Chunks(Chunk::Size),
        Chunk::Data(_) | Chunk::End => return Err(NONE),
        Chunk::Trailer if text.is_empty() => Rest::Nothing,
        Chunk::Trailer => Rest::Chunks(Chunk::Trailer),
    })
}

/// Where the body ends (RFC 9112 section 6.3).
fn framing(status: u16, fields: &[Header<'_>]) -> Result<Rest, Wrong> {
    if matches!(status, 204 | 304) {
        return Ok(Rest::Nothing);
    }
    let coded = tokens(fields, "transfer-encoding").last();
    let mut lengths = tokens(fields, "content-length");
    match (coded, lengths.next()) {
        (Some(_), Some(_)) => Err("it says its length in two ways"),
        (Some(last), None) if last.eq_ignore_ascii_case("chunked") => Ok(Rest::Chunks(Chunk::Size)),
        (Some(_), None) | (None, None) => Ok(Rest::UntilClose),
        (None, Some(length)) => {
            if lengths.any(|other| other != length) {
                return Err("it says two lengths");
            }
            digits(length)
                .map(Rest::Bytes)
                .ok_or("its length is no number")
        }
    }
}

/// The values of a field, as a list.
fn tokens<'a>(fields: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = &'a str> {
    let named = fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name));
    // What is no text equals nothing that is looked for.
    named
        .map(|field| core::str::from_utf8(field.value).unwrap_or("\u{0}"))
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The one value of a field.
fn one<'a>(fields: &'a [Header<'_>], name: &'static str) -> Option<&'a str> {
    let mut values = tokens(fields, name);
    values.next().filter(|_| values.next().is_none())
}

fn digits(text: &str) -> Option<u64> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use std::{prelude::v1::*, time::Duration};

    use super::{Answer, MAX_BODY, MAX_FIELDS, MAX_HEAD, MAX_LINE, Progress, Wrong};

    /// Gives an answer in pieces of so many bytes, then closes where it is not at its end.
    fn read(text: &[u8], piece: usize) -> Result<(u16, bool), Wrong> {
        let mut answer = Answer::new();
        for bytes in text.chunks(piece) {
            match answer.take(bytes)? {
                Progress::More => {}
                Progress::Whole => return Ok((answer.status, true)),
                Progress::Last => return Ok((answer.status, false)),
            }
        }
        answer.closed()?;
        Ok((answer.status, false))
    }

    #[test]
    fn answers_end_where_they_say() {
        let rows: [(&str, &str, Result<(u16, bool), Wrong>); 35] = [
            (
                "no body",
                "HTTP/1.1 204 No Content\r\n\r\n",
                Ok((204, true)),
            ),
            ("a status alone", "HTTP/1.1 204\r\n\r\n", Ok((204, true))),
            (
                "a length",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Ok((200, true)),
            ),
            (
                "no length, nothing",
                "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
                Ok((200, true)),
            ),
            (
                "the same length twice",
                "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
                Ok((200, true)),
            ),
            (
                "not modified",
                "HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
                Ok((304, true)),
            ),
            (
                "until the close",
                "HTTP/1.1 200 OK\r\n\r\nwhatever",
                Ok((200, false)),
            ),
            (
                "asked to close",
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
                Ok((200, false)),
            ),
            (
                "an old version",
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
                Ok((200, false)),
            ),
            (
                "chunks",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                Ok((200, true)),
            ),
            (
                "a trailer",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nA: b\r\n\r\n",
                Ok((200, true)),
            ),
            (
                "coded otherwise",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nx",
                Ok((200, false)),
            ),
            (
                "an interim answer",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n",
                Ok((201, true)),
            ),
            (
                "a redirect",
                "HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
                Ok((302, true)),
            ),
            ("nothing", "", Err("closed without an answer")),
            (
                "cut in the head",
                "HTTP/1.1 200 OK\r\nConte",
                Err("closed within the head"),
            ),
            (
                "cut behind an interim one",
                "HTTP/1.1 100 C\r\n\r\n",
                Err("closed within the head"),
            ),
            (
                "cut in the body",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
                Err("closed within the body"),
            ),
            (
                "cut before the body",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
                Err("closed within the body"),
            ),
            (
                "cut in a chunk",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
                Err("closed within the body"),
            ),
            (
                "cut before the last chunk",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                Err("closed within the body"),
            ),
            (
                "cut in the trailer",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                Err("closed within the body"),
            ),
            ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", Err("not HTTP/1")),
            ("another version", "HTTP/2 200\r\n\r\n", Err("not HTTP/1")),
            ("TLS", "\u{15}\u{3}\u{1}\0\u{2}", Err("not HTTP/1")),
            (
                "a field without a name",
                "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
                Err("not HTTP/1"),
            ),
            (
                "another protocol",
                "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
                Err("another protocol, which was not asked for"),
            ),
            (
                "no such status",
                "HTTP/1.1 999 X\r\n\r\n",
                Err("a status that does not exist"),
            ),
            (
                "no number",
                "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
                Err("its length is no number"),
            ),
            (
                "two lengths",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
                Err("it says two lengths"),
            ),
            (
                "two ways",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
                Err("it says its length in two ways"),
            ),
            (
                "no chunk",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                Err("its body is not in chunks as it says"),
            ),
            (
                "a chunk longer than it says",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\noka\r\n",
                Err("its body is not in chunks as it says"),
            ),
            (
                "a bare line end",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n",
                Err("its body is not in chunks as it says"),
            ),
            (
                "a chunk of any size",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                Err("its body is not in chunks as it says"),
            ),
        ];
        for (name, text, wanted) in rows {
            for piece in [1, 2, 7, 4096] {
                assert_eq!(read(text.as_bytes(), piece), wanted, "{name} by {piece}");
            }
        }
    }

    #[test]
    fn what_follows_an_answer_ends_the_connection() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!";
        assert_eq!(read(text, text.len()), Ok((200, false)));
    }

    #[test]
    fn everything_is_bounded() {
        let long = |head: &str, byte: u8, len: usize, tail: &str| {
            [head.as_bytes(), &vec![byte; len], tail.as_bytes()].concat()
        };
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = usize::try_from(MAX_BODY).unwrap();
        let many = "A: b\r\n".repeat(MAX_FIELDS + 1);
        let interim = "HTTP/1.1 100 C\r\n\r\n".repeat(MAX_HEAD / 18 + 2);
        for (name, text, wanted) in [
            (
                "a field",
                long("HTTP/1.1 200 OK\r\nA: ", b'a', MAX_HEAD, "\r\n\r\n"),
                Err("its head is too long"),
            ),
            (
                "no end of the status line",
                long("HTTP/1.1 200 ", b'a', MAX_HEAD, ""),
                Err("its head is too long"),
            ),
            (
                "fields",
                format!("HTTP/1.1 200 OK\r\n{many}\r\n").into(),
                Err("its head has too many fields"),
            ),
            (
                "interim answers",
                interim.into(),
                Err("its head is too long"),
            ),
            (
                "a size",
                long(chunked, b'0', MAX_LINE + 8192, ""),
                Err("a line of its body is too long"),
            ),
            (
                "a body",
                long(
                    "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
                    b'a',
                    body + 8192,
                    "",
                ),
                Ok((200, false)),
            ),
            (
                "a body without an end",
                long("HTTP/1.1 500 X\r\n\r\n", b'a', body + 8192, ""),
                Ok((500, false)),
            ),
            (
                "a chunk",
                long(&format!("{chunked}fffffff\r\n"), b'a', body + 8192, ""),
                Ok((200, false)),
            ),
            (
                "trailers",
                long(
                    &format!("{chunked}0\r\n"),
                    b'a',
                    1,
                    &": b\r\na".repeat(20_000),
                ),
                Ok((200, false)),
            ),
        ] {
            assert_eq!(read(&text, 1000), wanted, "{name}");
        }
    }

    #[test]
    fn when_to_come_back_is_a_number_of_seconds() {
        for (value, wanted) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("-7", None),
            ("7, 8", None),
            ("Sat, 21 Nov 2026 09:00:00 GMT", None),
            ("99999999999999999999", None),
        ] {
            let mut answer = Answer::new();
            let text =
                format!("HTTP/1.1 503 X\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(answer.take(text.as_bytes()), Ok(Progress::Whole), "{value}");
            assert_eq!(
                answer.retry_after,
                wanted.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
