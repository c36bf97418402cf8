//! Reads what came back as a client that trusts nothing: a row of whole answers, or a
//! failed test.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
};

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The code of a refusal, the `jti` of an outcome, or neither.
    pub(crate) word: String,
    pub(crate) closes: bool,
}

/// Cuts bytes into answers; the first `without_body` of them are to HEAD.
///
/// # Panics
/// Where they are anything but whole answers.
#[track_caller]
pub(crate) fn cut(mut bytes: &[u8], mut without_body: usize, name: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let shown = bytes.escape_ascii();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            panic!("{name}: no head: {shown}");
        };
        let head = str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").map(|rest| &rest[..3]);
        let Some(Ok(status)) = status.map(str::parse::<u16>) else {
            panic!("{name}: no status line: {shown}");
        };
        if status == 100 {
            continue;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let mut len: usize = field("Content-Length: ").unwrap().parse().unwrap();
        if without_body > 0 {
            without_body -= 1;
            len = 0;
        }
        assert!(bytes.len() >= len, "{name}: cut short: {shown}");
        let body: serde_json::Value =
            serde_json::from_slice(&bytes[..len]).unwrap_or(serde_json::Value::Null);
        let word = body["code"].as_str().or_else(|| body["jti"].as_str());
        answers.push(Answer {
            status,
            word: word.unwrap_or_default().to_owned(),
            closes: field("Connection: ") == Some("close"),
        });
        bytes = &bytes[len..];
    }
    answers
}

/// Everything up to the close. A reset is a close too; silence is a hang.
#[track_caller]
pub(crate) fn everything(mut stream: &TcpStream, name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return all,
            Ok(len) => all.extend_from_slice(&chunk[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("{name}: {error} after {}", all.escape_ascii()),
        }
    }
}
