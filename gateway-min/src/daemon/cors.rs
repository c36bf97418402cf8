//! Which origins are answered, and the header fields that let a browser hand an answer on
//! (Fetch standard, CORS protocol). The list holds browser extensions only; a web page,
//! whatever its origin, gets nothing. Pure: built once from the configuration, asked by
//! `route` for every request.

use std::prelude::v1::*;

use crate::Reject;

/// How an extension's origin begins, in every Chromium-family browser.
const SCHEME: &str = "chrome-extension://";

/// Whether this is an extension's origin: an id is 32 letters from a to p.
pub(crate) fn is_extension(origin: &str) -> bool {
    origin
        .strip_prefix(SCHEME)
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| (b'a'..=b'p').contains(&b)))
}

/// The allowed origins, each with the field lines that its answers carry.
#[derive(Debug)]
pub(crate) struct Cors {
    allowed: Vec<(String, String)>,
}

impl Cors {
    /// For origins of which [`is_extension`] holds: nothing else may reach a header line.
    pub(crate) fn new(origins: &[String]) -> Self {
        let lines = |origin: &String| {
            format!(
                "Vary: Origin\r\n\
                 Access-Control-Allow-Origin: {origin}\r\n\
                 Access-Control-Expose-Headers: Retry-After\r\n"
            )
        };
        Self {
            allowed: origins
                .iter()
                .filter(|origin| is_extension(origin))
                .map(|origin| (origin.clone(), lines(origin)))
                .collect(),
        }
    }

    /// The field lines of an answer to a request with this `Origin`. Answers vary by it
    /// also where it is absent or not allowed.
    pub(crate) fn lines(&self, origin: Option<&str>) -> &str {
        origin
            .and_then(|origin| self.allowed.iter().find(|(allowed, _)| allowed == origin))
            .map_or("Vary: Origin\r\n", |(_, lines)| lines)
    }

    /// Whether a request with this `Origin` is answered. Without one it is no page's
    /// request: `curl`, a probe.
    ///
    /// # Errors
    /// [`Reject::OriginNotAllowed`].
    pub(crate) fn judge(&self, origin: Option<&str>) -> Result<(), Reject> {
        match origin {
            Some(origin) if !self.allowed.iter().any(|(allowed, _)| allowed == origin) => {
                Err(Reject::OriginNotAllowed)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{Cors, is_extension};
    use crate::Reject;

    const ID: &str = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";

    #[test]
    fn only_extensions_can_be_listed() {
        for (origin, wanted) in [
            (ID, true),
            ("chrome-extension://abcdefghijklmnopabcdefghijklmnoq", false),
            ("chrome-extension://abcdefghijklmnopabcdefghijklmno", false),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop/",
                false,
            ),
            ("https://abcdefghijklmnopabcdefghijklmnop", false),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmn\r\n",
                false,
            ),
            ("null", false),
            ("*", false),
        ] {
            assert_eq!(is_extension(origin), wanted, "{origin}");
        }
        assert!(
            Cors::new(&["https://evil.example".to_owned()])
                .allowed
                .is_empty()
        );
    }

    #[test]
    fn an_answer_names_the_one_origin_that_asked() {
        let cors = Cors::new(&[ID.to_owned()]);
        let named = format!("Access-Control-Allow-Origin: {ID}\r\n");
        for (origin, judged, carries) in [
            (None, Ok(()), false),
            (Some(ID), Ok(()), true),
            (Some("null"), Err(Reject::OriginNotAllowed), false),
            (
                Some("https://evil.example"),
                Err(Reject::OriginNotAllowed),
                false,
            ),
            (Some(""), Err(Reject::OriginNotAllowed), false),
        ] {
            assert_eq!(cors.judge(origin), judged, "{origin:?}");
            let lines = cors.lines(origin);
            assert_eq!(lines.contains(&named), carries, "{origin:?}");
            assert!(lines.starts_with("Vary: Origin\r\n") && lines.ends_with("\r\n"));
        }
    }
}
