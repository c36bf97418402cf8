//! The client's end of TLS to a receiver: TLS 1.2 and 1.3 by rustls, and whom to believe:
//! the authorities of the system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, read
//! once at the start. There is no way to believe anybody else, and no client certificate.
//! Called by `http`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    prelude::v1::*,
    sync::Arc,
    time::Instant,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    client::Resumption,
    crypto::ring,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

use super::wire::Timed;

/// Whom to believe to be the receiver.
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// The authorities of the system, and the name or address that the receiver has to
    /// show.
    ///
    /// # Errors
    /// There are none, or that is no name.
    pub(super) fn of_the_system(host: &str) -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(found.certs);
        if good == 0 {
            let why = found.errors.first().map(ToString::to_string);
            return Err(io::Error::other(format!(
                "no certificate authorities to trust: install the system's, or name a file in SSL_CERT_FILE{}",
                why.map(|why| format!(" ({why})")).unwrap_or_default()
            )));
        }
        Self::new(roots, host)
    }

    fn new(roots: RootCertStore, host: &str) -> io::Result<Self> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// The handshake.
    ///
    /// # Errors
    /// The socket's, or why the other end is not believed.
    pub(super) fn open(&self, stream: TcpStream, deadline: Instant) -> io::Result<Session> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut tls = tls.map_err(io::Error::other)?;
        while tls.is_handshaking() {
            let mut timed = Timed {
                stream: &stream,
                deadline,
            };
            match tls.complete_io(&mut timed) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => drop(done?),
            }
        }
        Ok(Session { stream, tls })
    }
}

/// A connection whose handshake is done.
pub(super) struct Session {
    stream: TcpStream,
    tls: ClientConnection,
}

impl Session {
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn write_all(&mut self, out: &[u8], deadline: Instant) -> io::Result<()> {
        let stream = &self.stream;
        let mut timed = Timed { stream, deadline };
        let mut wire = Stream::new(&mut self.tls, &mut timed);
        wire.write_all(out)?;
        wire.flush()
    }

    /// 0 where the receiver said that it closes; an end that was not said is an error.
    pub(super) fn read(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let stream = &self.stream;
        let mut timed = Timed { stream, deadline };
        Stream::new(&mut self.tls, &mut timed).read(into)
    }
}

#[cfg(test)]
mod tests;
