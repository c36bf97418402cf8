//! The gateway's end of a connection to a receiver, plain or TLS, on which everything ends
//! with a deadline: each turn has what is left until then, however little the other end
//! gives or takes. Called by `http`, and by `tls` for its handshake.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    prelude::v1::*,
    time::Instant,
};

#[cfg(feature = "tls")]
use super::tls::Session;

pub(super) enum Wire {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<Session>),
}

impl Wire {
    pub(super) fn write_all(&mut self, out: &[u8], deadline: Instant) -> io::Result<()> {
        match self {
            Self::Plain(stream) => Timed { stream, deadline }.write_all(out),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.write_all(out, deadline),
        }
    }

    /// 0 where the receiver has closed in order.
    pub(super) fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Plain(stream) => Timed { stream, deadline }.read(into),
                #[cfg(feature = "tls")]
                Self::Tls(session) => session.read(into, deadline),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Whether another request may be sent: the receiver has neither closed nor said
    /// anything since its last answer.
    pub(super) fn is_open(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.stream(),
        };
        let peeked = stream
            .set_nonblocking(true)
            .and_then(|()| stream.peek(&mut [0]));
        let quiet = matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        quiet && stream.set_nonblocking(false).is_ok()
    }
}

/// A socket whose every turn ends with the deadline.
pub(super) struct Timed<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<core::time::Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            left if left.is_zero() => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, out: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
