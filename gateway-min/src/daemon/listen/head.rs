//! The head of a request, read strictly (RFC 9112). The only file that names `httparse`.
//!
//! Refused: bare CR or LF, control characters, bytes outside ASCII, folded lines, blanks
//! before a colon, other versions than HTTP/1.0 and 1.1, targets that are not paths, none
//! or two `Host`s, a `Content-Length` that is repeated or not plain digits, any
//! `Transfer-Encoding`. Whatever two readers of one connection could cut in two ways is not
//! cut at all. [`Scan`] looks at bytes as they arrive, so that nonsense is refused before
//! its end comes; [`Head::parse`] reads what `Scan` found complete.

use std::prelude::v1::*;

use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

use super::answer::Method;
use crate::{
    Reject,
    limits::{MAX_HEAD, MAX_HEADER_FIELDS},
};

/// Where the head ends, found while it arrives. Each byte is looked at once.
#[derive(Default)]
pub(super) struct Scan {
    /// Bytes looked at.
    at: usize,
    /// Where the head begins: behind one empty line, which a client may have left behind
    /// an earlier request (RFC 9112 section 2.2).
    start: usize,
    /// Where the present line begins.
    line: usize,
}

impl Scan {
    /// Looks at what has arrived; `Some((start, end))` where the head is complete.
    ///
    /// # Errors
    /// [`Reject::HeadMalformed`] or [`Reject::HeadTooLarge`].
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Reject> {
        while let Some(&byte) = bytes.get(self.at) {
            if self.at - self.start >= MAX_HEAD {
                return Err(Reject::HeadTooLarge);
            }
            let after_cr = self.at > self.line && bytes[self.at - 1] == b'\r';
            match byte {
                b'\n' if after_cr => {
                    let empty = self.at - self.line == 1;
                    if empty && self.line > self.start {
                        return Ok(Some((self.start, self.at + 1)));
                    }
                    if empty && self.start > 0 {
                        return Err(Reject::HeadMalformed);
                    }
                    self.line = self.at + 1;
                    if empty {
                        self.start = self.line;
                    }
                }
                _ if after_cr => return Err(Reject::HeadMalformed),
                // What does not begin with a method (TLS, for one) is told at once.
                _ if self.at == self.start => {
                    if !byte.is_ascii_alphanumeric() && byte != b'\r' {
                        return Err(Reject::HeadMalformed);
                    }
                }
                b'\r' | b'\t' | b' '..=b'~' => {}
                _ => return Err(Reject::HeadMalformed),
            }
            self.at += 1;
        }
        Ok(None)
    }
}

/// A header field that may stand once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Once<'a> {
    Absent,
    One(&'a str),
    Repeated,
}

/// A head whose grammar holds.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// `None`: a method that nobody here knows.
    pub(crate) method: Option<Method>,
    /// The target as it was sent.
    pub(crate) target: &'a str,
    pub(crate) host: Once<'a>,
    pub(crate) origin: Once<'a>,
    pub(crate) content_type: Once<'a>,
    /// Whether the connection may be used again, as the client sees it.
    pub(crate) keep_alive: bool,
    content_length: Once<'a>,
    transfer_encoding: bool,
    expect: Once<'a>,
    version_1_1: bool,
}

/// How much follows a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Framing {
    /// Bytes of body; `None` where no length was given, which means none.
    pub(crate) length: Option<u64>,
    /// Whether the client waits for `100 Continue` before it sends them.
    pub(crate) expects_continue: bool,
}

impl<'a> Head<'a> {
    /// Reads the bytes that [`Scan`] found to be a head.
    ///
    /// # Errors
    /// [`Reject::HeadMalformed`], [`Reject::HttpVersion`] or [`Reject::TooManyHeaders`].
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut fields = [EMPTY_HEADER; MAX_HEADER_FIELDS];
        let mut request = Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(Status::Complete(len)) if len == bytes.len() => {}
            Err(Error::Version) => return Err(Reject::HttpVersion),
            Err(Error::TooManyHeaders) => return Err(Reject::TooManyHeaders),
            _ => return Err(Reject::HeadMalformed),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Reject::HeadMalformed);
        };
        let mut head = Self {
            method: known_method(method),
            target,
            host: Once::Absent,
            origin: Once::Absent,
            content_type: Once::Absent,
            keep_alive: minor == 1,
            content_length: Once::Absent,
            transfer_encoding: false,
            expect: Once::Absent,
            version_1_1: minor == 1,
        };
        for field in request.headers.iter() {
            head.note(field)?;
        }
        Ok(head)
    }

    fn note(&mut self, field: &Header<'a>) -> Result<(), Reject> {
        // The scan let ASCII only through.
        let value = str::from_utf8(field.value).map_err(|_not_ascii| Reject::HeadMalformed)?;
        let name = field.name;
        let once = if name.eq_ignore_ascii_case("host") {
            &mut self.host
        } else if name.eq_ignore_ascii_case("origin") {
            &mut self.origin
        } else if name.eq_ignore_ascii_case("content-type") {
            &mut self.content_type
        } else if name.eq_ignore_ascii_case("content-length") {
            &mut self.content_length
        } else if name.eq_ignore_ascii_case("expect") {
            &mut self.expect
        } else {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                self.transfer_encoding = true;
            } else if name.eq_ignore_ascii_case("connection") {
                let mut options = value.split(',').map(str::trim);
                self.keep_alive &= !options.any(|option| option.eq_ignore_ascii_case("close"));
            }
            return Ok(());
        };
        *once = match once {
            Once::Absent => Once::One(value),
            Once::One(_) | Once::Repeated => Once::Repeated,
        };
        Ok(())
    }

    /// The path: the target up to its query.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether the answer must come without its body.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Some(Method::Head)
    }

    /// How much follows. After an error nobody can tell where the next request begins.
    ///
    /// # Errors
    /// [`Reject::HostHeader`], [`Reject::TargetForm`], [`Reject::LengthRequired`],
    /// [`Reject::ContentLength`] or [`Reject::UnknownExpectation`].
    pub(super) fn framing(&self) -> Result<Framing, Reject> {
        if self.transfer_encoding {
            return Err(Reject::LengthRequired);
        }
        let length = match self.content_length {
            Once::Absent => None,
            Once::One(digits) => Some(content_length(digits).ok_or(Reject::ContentLength)?),
            Once::Repeated => return Err(Reject::ContentLength),
        };
        if !matches!(self.host, Once::One(_)) {
            return Err(Reject::HostHeader);
        }
        if !self.target.starts_with('/') || self.target.contains('#') {
            return Err(Reject::TargetForm);
        }
        let expects_continue = match self.expect {
            Once::Absent => false,
            // A client of HTTP/1.0 does not wait (RFC 9110 section 10.1.1).
            Once::One(what) if what.eq_ignore_ascii_case("100-continue") => self.version_1_1,
            Once::One(_) | Once::Repeated => return Err(Reject::UnknownExpectation),
        };
        Ok(Framing {
            length,
            expects_continue,
        })
    }
}

/// Plain digits, at most 19 of them: every such number fits.
fn content_length(digits: &str) -> Option<u64> {
    let plain = digits.len() <= 19 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn known_method(name: &str) -> Option<Method> {
    [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Connect,
        Method::Options,
        Method::Trace,
        Method::Patch,
    ]
    .into_iter()
    .find(|method| method.as_str() == name)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{Framing, Head, Once, Scan};
    use crate::{Reject, daemon::listen::Method, limits::MAX_HEAD};

    fn scan(bytes: &[u8]) -> Result<Option<(usize, usize)>, Reject> {
        let whole = Scan::default().look(bytes);
        // The same bytes one at a time come to the same end.
        let mut drip = Scan::default();
        let mut last = Ok(None);
        for end in 0..=bytes.len() {
            last = drip.look(&bytes[..end]);
            if !matches!(last, Ok(None)) {
                break;
            }
        }
        assert_eq!(whole, last, "{}", bytes.escape_ascii());
        whole
    }

    fn framing(text: &str) -> Result<Framing, Reject> {
        let (start, end) = scan(text.as_bytes())?.expect("complete");
        assert_eq!(end, text.len(), "{text:?}");
        Head::parse(&text.as_bytes()[start..end])?.framing()
    }

    #[test]
    fn the_end_of_a_head_is_found_and_nonsense_is_told_at_once() {
        for (bytes, wanted) in [
            (&b""[..], Ok(None)),
            (b"GET / HTTP/1.1\r\n", Ok(None)),
            (b"GET / HTTP/1.1\r\n\r\n", Ok(Some((0, 18)))),
            (b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest", Ok(Some((0, 24)))),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some((2, 20)))),
            (
                b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                Err(Reject::HeadMalformed),
            ),
            (b"\n", Err(Reject::HeadMalformed)),
            (b"\r\r", Err(Reject::HeadMalformed)),
            (b"GET / HTTP/1.1\n", Err(Reject::HeadMalformed)),
            (b"GET / HTTP/1.1\rX", Err(Reject::HeadMalformed)),
            (b"GET / HTTP/1.1\r\nA: b\0", Err(Reject::HeadMalformed)),
            (b"GET / HTTP/1.1\r\nA: \xe9", Err(Reject::HeadMalformed)),
            (b"\x16\x03\x01", Err(Reject::HeadMalformed)),
        ] {
            assert_eq!(scan(bytes), wanted, "{}", bytes.escape_ascii());
        }
        let mut longest = b"GET /".to_vec();
        longest.resize(MAX_HEAD - 4, b'a');
        longest.extend(b"\r\n\r\n");
        assert_eq!(scan(&longest), Ok(Some((0, MAX_HEAD))));
        longest.insert(5, b'a');
        assert_eq!(scan(&longest), Err(Reject::HeadTooLarge));
    }

    #[test]
    fn framing_is_clear_or_refused() {
        let none = Framing {
            length: None,
            expects_continue: false,
        };
        let body = |length| Framing {
            length: Some(length),
            ..none
        };
        let waits = Framing {
            length: Some(5),
            expects_continue: true,
        };
        for (line, fields, wanted) in [
            ("GET / HTTP/1.1", "Host: a", Ok(none)),
            ("GET / HTTP/1.0", "Host: a", Ok(none)),
            ("GET /a?b=c HTTP/1.1", "hOST: a", Ok(none)),
            ("POST / HTTP/1.1", "Host: a\nContent-Length: 5", Ok(body(5))),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length:  5 ",
                Ok(body(5)),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 34359738368",
                Ok(body(34_359_738_368)),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 5\nExpect: 100-Continue",
                Ok(waits),
            ),
            (
                "POST / HTTP/1.0",
                "Host: a\nContent-Length: 5\nExpect: 100-continue",
                Ok(body(5)),
            ),
            ("GET / HTTP/2.0", "Host: a", Err(Reject::HttpVersion)),
            ("GET / HTTP/1.2", "Host: a", Err(Reject::HttpVersion)),
            ("GET / HTTP/0.9", "Host: a", Err(Reject::HttpVersion)),
            ("GET / http/1.1", "Host: a", Err(Reject::HttpVersion)),
            ("GET / x HTTP/1.1", "Host: a", Err(Reject::HttpVersion)),
            ("GET /", "Host: a", Err(Reject::HeadMalformed)),
            ("GET  / HTTP/1.1", "Host: a", Err(Reject::HeadMalformed)),
            (" GET / HTTP/1.1", "Host: a", Err(Reject::HeadMalformed)),
            ("G@T / HTTP/1.1", "Host: a", Err(Reject::HeadMalformed)),
            ("GET / HTTP/1.1", "Host : a", Err(Reject::HeadMalformed)),
            (
                "GET / HTTP/1.1",
                "Host: a\n Folded: b",
                Err(Reject::HeadMalformed),
            ),
            ("GET / HTTP/1.1", " Host: a", Err(Reject::HeadMalformed)),
            (
                "GET / HTTP/1.1",
                "Host: a\nno colon",
                Err(Reject::HeadMalformed),
            ),
            (
                "GET / HTTP/1.1",
                "Host: a\n: empty",
                Err(Reject::HeadMalformed),
            ),
            ("GET / HTTP/1.1", "A: b", Err(Reject::HostHeader)),
            ("GET / HTTP/1.0", "A: b", Err(Reject::HostHeader)),
            (
                "GET / HTTP/1.1",
                "Host: a\nHost: a",
                Err(Reject::HostHeader),
            ),
            ("GET http://a/ HTTP/1.1", "Host: a", Err(Reject::TargetForm)),
            ("OPTIONS * HTTP/1.1", "Host: a", Err(Reject::TargetForm)),
            ("CONNECT a:1 HTTP/1.1", "Host: a", Err(Reject::TargetForm)),
            ("GET /#a HTTP/1.1", "Host: a", Err(Reject::TargetForm)),
            (
                "POST / HTTP/1.1",
                "Host: a\nTransfer-Encoding: chunked",
                Err(Reject::LengthRequired),
            ),
            (
                "POST / HTTP/1.0",
                "Host: a\nTransfer-Encoding: identity",
                Err(Reject::LengthRequired),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 5\ntransfer-encoding: xchunked",
                Err(Reject::LengthRequired),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 5\nContent-Length: 5",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 5, 5",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: +5",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: -1",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 0x5",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length:",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nContent-Length: 99999999999999999999",
                Err(Reject::ContentLength),
            ),
            (
                "POST / HTTP/1.1",
                "Host: a\nExpect: 200-ok",
                Err(Reject::UnknownExpectation),
            ),
        ] {
            let text = format!("{line}\r\n{}\r\n\r\n", fields.replace('\n', "\r\n"));
            let got = if line.starts_with(' ') {
                Head::parse(text.as_bytes()).and_then(|head| head.framing())
            } else {
                framing(&text)
            };
            assert_eq!(got, wanted, "{line} {fields}");
        }
    }

    #[test]
    fn fields_are_counted() {
        let head = |fields: usize| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "A: b\r\n".repeat(fields)
            );
            Head::parse(text.as_bytes()).map(|head| head.host == Once::One("a"))
        };
        assert_eq!(head(47), Ok(true));
        assert_eq!(head(48), Err(Reject::TooManyHeaders));
    }

    #[test]
    fn what_a_handler_asks_is_read_once_or_known_to_be_repeated() {
        let text = "OPTIONS /do?x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\norigin: c\r\n\
                    Content-Type: d\r\nConnection: keep-alive, Close\r\n\r\n";
        let head = Head::parse(text.as_bytes()).unwrap();
        assert_eq!(head.method, Some(Method::Options));
        assert_eq!((head.target, head.path()), ("/do?x", "/do"));
        assert_eq!(head.origin, Once::Repeated);
        assert_eq!(head.content_type, Once::One("d"));
        assert!(!head.keep_alive);
        let unknown = Head::parse(b"BREW / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((unknown.method, unknown.host), (None, Once::Absent));
        assert!(unknown.keep_alive);
    }
}
