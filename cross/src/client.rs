//! A connection to the gateway that is kept.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::PATIENCE;

/// An answer: its status and its body.
#[derive(Debug)]
pub struct Answer {
    /// Of the status line.
    pub status: u16,
    /// As it came.
    pub body: String,
}

impl Answer {
    /// Status with outcome or code, which every answer of `/do` has.
    #[must_use]
    pub fn said(&self) -> (u16, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let said = body["outcome"].as_str().or_else(|| body["code"].as_str());
        (self.status, said.unwrap_or("nothing").to_owned())
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// GETs a path.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.ask(&request)
    }

    /// Posts a token.
    ///
    /// # Errors
    /// The connection was lost: nothing is known of the message.
    pub fn post(&mut self, token: &str) -> io::Result<Answer> {
        let len = token.len();
        let request = format!(
            "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose\r\n\
             Content-Length: {len}\r\n\r\n{token}"
        );
        self.ask(&request)
    }

    /// Posts a token in a body of 16 KiB, the longest that is taken.
    ///
    /// # Errors
    /// The connection was lost: nothing is known of the message.
    pub fn post_longest(&mut self, token: &str) -> io::Result<Answer> {
        const LONGEST: usize = 16 * 1024;
        let begin = format!(r#"{{"message":"{token}","timestamp":""#);
        let filling = "x".repeat(LONGEST - begin.len() - 2);
        let request = format!(
            "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {LONGEST}\r\n\r\n{begin}{filling}\"}}"
        );
        self.ask(&request)
    }

    fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, status.clone()))?;
        let mut len = 0;
        loop {
            let field = self.line()?;
            if field.is_empty() {
                break;
            }
            if let Some((name, value)) = field.split_once(": ")
                && name.eq_ignore_ascii_case("Content-Length")
            {
                len = value.parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}
