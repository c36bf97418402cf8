//! One question over HTTP/1.1: does a server on this machine answer? No TLS, no
//! redirects, no more than 64 KiB; the demonstration and the tests ask health paths.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks for `path` and gives the status and everything after the head.
///
/// # Errors
/// The connection failed, took longer than 2 s for a step, or did not speak HTTP/1.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1 answer"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    let version = words.next()?;
    let status = words.next()?.get(..3)?.parse().ok()?;
    version
        .starts_with("HTTP/1.")
        .then(|| (status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn answers() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nbody", Some((200, "body"))),
            ("HTTP/1.1 503\r\nA: b\r\n\r\n", Some((503, ""))),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0 200 x\r\n\r\n", None),
            ("HTTP/1.1 2\r\n\r\n", None),
            ("", None),
        ] {
            let expected = expected.map(|(status, body)| (status, body.to_owned()));
            assert_eq!(parse(answer), expected, "{answer:?}");
        }
    }
}
