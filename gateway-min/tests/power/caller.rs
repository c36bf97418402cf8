//! A client whose gateway may be killed while it asks: what did not come is no failure.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::support::{PATIENCE, post_jose, request};

/// A connection that is kept.
pub(crate) struct Caller(BufReader<TcpStream>);

impl Caller {
    /// `None` where nobody listens any more.
    pub(crate) fn new(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self(BufReader::new(stream)))
    }

    /// The outcome or the refusal's code; `None` where the answer did not come whole.
    pub(crate) fn post(&mut self, token: &str) -> Option<String> {
        let (_, body) = self.ask(&post_jose(token.as_bytes()))?;
        let named = |name: &str| body[name].as_str().map(str::to_owned);
        Some(named("outcome").or_else(|| named("code")).unwrap())
    }

    /// Status and body of the readiness path.
    pub(crate) fn ready(&mut self) -> (u16, Value) {
        self.ask(&request("GET /healthcheck/ready", &[], b""))
            .unwrap()
    }

    fn ask(&mut self, request: &[u8]) -> Option<(u16, Value)> {
        self.0.get_mut().write_all(request).ok()?;
        let mut line = String::new();
        self.line(&mut line)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut len = 0;
        while line != "\r\n" {
            self.line(&mut line)?;
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                len = value.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).ok()?;
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    /// The next line, which is whole.
    fn line(&mut self, line: &mut String) -> Option<()> {
        line.clear();
        self.0.read_line(line).ok()?;
        line.ends_with('\n').then_some(())
    }
}
