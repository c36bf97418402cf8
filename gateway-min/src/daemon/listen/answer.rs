//! Answers, and the one file that names `tiny_http`: its vocabulary (methods, status codes,
//! header fields) and its writer.
//!
//! tiny_http's writer drops `Connection`, and each field given to it costs two allocations.
//! So it writes the status line, date, length, rare fields and body; the fields of every
//! answer are put in behind the status line here. No text from outside ever reaches a field: values are constants, numbers, or lines
//! that `cors` made from the configuration.

use core::fmt;
use std::{
    io::{self, Write},
    prelude::v1::*,
};

use tiny_http::{HTTPVersion, Header, Response, StatusCode};

pub(crate) use tiny_http::Method;

use super::connection::KEPT;
use crate::Reject;

/// On every answer: nothing here is to be kept, guessed at or framed.
const ALWAYS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
const CLOSE: &str = "Connection: close\r\n";

/// An answer that is being made. Each slot has one and uses it again, so that its body's
/// memory is allocated once.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    fields: Fields,
    body: Vec<u8>,
}

/// Header fields that only some answers have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) allow: Option<&'static str>,
    pub(crate) retry_after_secs: Option<u32>,
    /// Constant lines, each with its line end.
    pub(crate) lines: &'static str,
}

impl Answer {
    /// Begins anew: status, type, and fields beside the ones that every answer has. Gives
    /// the body, which is empty.
    pub(crate) fn begin(
        &mut self,
        status: u16,
        content_type: &'static str,
        fields: Fields,
    ) -> &mut Vec<u8> {
        self.status = status;
        self.content_type = content_type;
        self.fields = fields;
        self.body.clear();
        &mut self.body
    }

    /// A refusal, as problem details (RFC 9457): what went wrong and where, nothing of the
    /// token, the keys or what was expected.
    pub(crate) fn problem(&mut self, reject: &Reject, allow: Option<&'static str>) {
        let fields = Fields {
            allow,
            retry_after_secs: reject.retry_after_secs(),
            lines: "",
        };
        let body = self.begin(reject.status(), "application/problem+json", fields);
        put(
            body,
            format_args!(
                r#"{{"type":"about:blank","status":{},"title":"{}","code":"{}","stage":"{}"}}"#,
                reject.status(),
                reject.title(),
                reject.code(),
                reject.stage(),
            ),
        );
    }

    /// Gives back what a long body took, now that it is written.
    pub(super) fn give_back(&mut self) {
        self.body.clear();
        self.body.shrink_to(KEPT);
    }

    /// Writes the answer into `out`, which it clears first: `lines` and, to `close`, a
    /// `Connection` field behind the status line; no body where `head_only`.
    ///
    /// # Errors
    /// A field or status that tiny_http does not take: a fault of this program.
    pub(super) fn print(
        &self,
        lines: &str,
        close: bool,
        head_only: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        out.clear();
        let mut response = Response::new(
            StatusCode(self.status),
            Vec::new(),
            self.body.as_slice(),
            Some(self.body.len()),
            None,
        )
        // A length is always known; chunks would only cost.
        .with_chunked_threshold(usize::MAX);
        response.add_header(field("Server", "gateway-min")?);
        if let Some(allow) = self.fields.allow {
            response.add_header(field("Allow", allow)?);
        }
        if let Some(secs) = self.fields.retry_after_secs {
            response.add_header(field("Retry-After", &secs.to_string())?);
        }
        response.raw_print(&mut *out, HTTPVersion(1, 1), &[], head_only, None)?;

        let first = out
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(out.len(), |end| end + 1);
        let before = out.len();
        for lines in [
            "Content-Type: ",
            self.content_type,
            "\r\n",
            ALWAYS,
            self.fields.lines,
            lines,
            if close { CLOSE } else { "" },
        ] {
            out.extend_from_slice(lines.as_bytes());
        }
        let added = out.len() - before;
        out[first..].rotate_right(added);
        Ok(())
    }
}

fn field(name: &str, value: &str) -> io::Result<Header> {
    Header::from_bytes(name, value).map_err(|()| io::Error::other("not a header field"))
}

/// Appends text to a body.
pub(crate) fn put(body: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A Vec takes everything; a Display that fails leaves what it wrote.
    body.write_fmt(text).ok();
}

/// `text` as a JSON string, quotes included (RFC 8259 section 7).
pub(crate) fn json(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        f.write_str("\"")?;
        for c in text.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => fmt::Write::write_char(f, c)?,
                // Controls must be escaped. The rest of what is not printed as itself (marks
                // that turn the direction of writing, invisible ones) is escaped too, as it
                // is in the log: `verify` is read on a terminal.
                _ if c.is_ascii() || c.escape_debug().len() > 1 => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
                _ => fmt::Write::write_char(f, c)?,
            }
        }
        f.write_str("\"")
    })
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{Answer, Fields, json, put};
    use crate::Reject;

    fn print(answer: &Answer, lines: &str, close: bool, head_only: bool) -> String {
        let mut out = b"what stood here before".to_vec();
        answer.print(lines, close, head_only, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        // The date is the clock's.
        let date = text
            .lines()
            .find(|line| line.starts_with("Date: "))
            .unwrap();
        text.replace(&format!("{date}\r\n"), "")
    }

    #[test]
    fn an_answer_is_one_status_line_its_fields_and_its_body() {
        let mut answer = Answer::default();
        let body = answer.begin(200, "application/json", Fields::default());
        put(body, format_args!("{{}}"));
        assert_eq!(
            print(&answer, "Vary: Origin\r\n", false, false),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Vary: Origin\r\nServer: gateway-min\r\n\
             Content-Length: 2\r\n\r\n{}"
        );
        answer.problem(&Reject::InProgress, None);
        let head = print(&answer, "", true, true);
        assert!(
            head.starts_with(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
                 Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                 Connection: close\r\nServer: gateway-min\r\n\
                 Retry-After: 1\r\nContent-Length: "
            ),
            "{head}"
        );
        let body = r#"{"type":"about:blank","status":503,"title":"the same message is being kept at this moment","code":"in_progress","stage":"replay"}"#;
        assert_eq!(print(&answer, "", true, false), format!("{head}{body}"));
        assert!(head.ends_with(&format!("Content-Length: {}\r\n\r\n", body.len())));
    }

    #[test]
    fn fields_of_one_answer_do_not_reach_the_next() {
        let mut answer = Answer::default();
        answer.problem(&Reject::MethodNotAllowed, Some("GET"));
        assert!(print(&answer, "", false, false).contains("\r\nAllow: GET\r\n"));
        let fields = Fields {
            lines: "A: b\r\n",
            ..Fields::default()
        };
        answer.begin(200, "text/plain", fields);
        let text = print(&answer, "", false, false);
        assert!(
            text.contains("\r\nA: b\r\n") && !text.contains("Allow"),
            "{text}"
        );
    }

    #[test]
    fn every_text_becomes_a_json_string_that_reads_back() {
        for text in [
            "",
            "plain",
            "\"\\/",
            "\0\u{1}\n\r\t\u{1f} \u{7f}\u{9b}",
            "é\u{2028}😀",
            "\u{202e}\u{200b}\u{feff}\u{e0041}",
        ] {
            let written = json(text).to_string();
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
            assert!(!written.chars().any(char::is_control), "{written:?}");
        }
        // What a terminal would not show as itself.
        assert_eq!(
            json("a\u{202e}é\u{2066}\u{9b}\u{e0041}").to_string(),
            r#""a\u202eé\u2066\u009b\udb40\udc41""#
        );
    }
}
