//! What a connection's bytes pass through: nothing, or TLS. Whoever reads requests and
//! writes answers knows only a [`Wire`]; what a site is reached by is its [`Transport`].
//! Called by the slots' threads, and by the probe from the other end.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    prelude::v1::*,
};

use super::slots::{Fate, Slots};
#[cfg(feature = "tls")]
use super::{
    slots::Phase,
    tls::{Certificates, Session},
};

/// How much is thrown away at most behind last words: a request of the largest size.
const MAX_FORGOTTEN: usize = 32 * 1024;

/// How a listener is spoken to.
#[derive(Clone)]
pub(crate) enum Transport {
    /// As it comes.
    Plain,
    /// TLS, with the pair that is in use when a connection begins.
    #[cfg(feature = "tls")]
    Tls(std::sync::Arc<Certificates>),
}

impl Transport {
    /// Whether a client that has just connected understands an answer.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Tells at the end what it has counted.
    pub(crate) fn tell(&self) {
        match self {
            Self::Plain => {}
            #[cfg(feature = "tls")]
            Self::Tls(certificates) => {
                log::info!("TLS handshakes that failed: {}", certificates.failed());
            }
        }
    }

    /// Begins to speak on the new connection of this slot: a handshake, where there is one,
    /// has its time from the time of the first request. Where it came to nothing:
    /// how the connection ended.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "only a handshake takes time")
    )]
    pub(super) fn open<'a>(
        &self,
        stream: &'a TcpStream,
        slots: &Slots,
        slot: usize,
    ) -> Result<Wire<'a>, Fate> {
        match self {
            Self::Plain => Ok(Wire::Plain(stream)),
            #[cfg(feature = "tls")]
            Self::Tls(certificates) => {
                // A handshake is the beginning of a request: a stop waits for it. Where the
                // connection was given up already, reading will tell.
                let begun = || {
                    slots.enter(slot, Phase::Reading).ok();
                };
                let session = certificates.open(stream, begun)?;
                Ok(Wire::Tls(Box::new(session)))
            }
        }
    }
}

/// The gateway's end of a connection.
pub(super) enum Wire<'a> {
    Plain(&'a TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<Session<'a>>),
}

impl Wire<'_> {
    /// Waits for bytes of requests; 0 where no more will come.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.read(into),
        }
    }

    /// Waits for bytes of whatever kind, to throw them away; 0 where no more will come.
    pub(super) fn discard(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream();
        stream.read(into)
    }

    pub(super) fn write_all(&mut self, out: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(out),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.write_all(out),
        }
    }

    /// A few words that a client waits for, without waiting for a client that does not
    /// read: its slot may be wanted meanwhile.
    pub(super) fn say_in_passing(&mut self, out: &[u8]) -> io::Result<()> {
        self.stream().set_nonblocking(true)?;
        let said = self.write_all(out);
        self.stream().set_nonblocking(false)?;
        said
    }

    /// Says that nothing more will be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Self::Tls(session) = self {
            session.say_the_end()?;
        }
        self.stream().shutdown(Shutdown::Write)
    }

    /// The last words, as far as the socket takes them without waiting; after them nothing
    /// can be written, and what has come is forgotten.
    pub(super) fn say_at_once(&mut self, out: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => say_at_once(stream, out),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.say_at_once(out),
        }?;
        forget(self.stream());
        Ok(())
    }

    /// Ends in order what is closed next, without waiting.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Plain(_) => {}
            #[cfg(feature = "tls")]
            Self::Tls(session) => {
                // Whoever is gone already needs no good-bye.
                session.say_at_once(b"").ok();
            }
        }
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.stream(),
        }
    }
}

/// Throws away what has come, without waiting: closing a socket with unread bytes resets
/// it, and the client may lose what was said to it last.
pub(super) fn forget(mut stream: &TcpStream) {
    let mut chunk = [0; 2048];
    let most = MAX_FORGOTTEN / chunk.len();
    for _ in 0..most {
        if !matches!(stream.read(&mut chunk), Ok(len) if len > 0) {
            return;
        }
    }
}

/// As much as the socket takes without waiting; after it nothing waits.
///
/// # Errors
/// The socket's.
pub(super) fn say_at_once(mut stream: &TcpStream, out: &[u8]) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.write_all(out)
}
