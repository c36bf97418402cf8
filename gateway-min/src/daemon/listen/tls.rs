//! TLS of the listener, and with `sink/tls` the only file that names `rustls`: a certificate
//! with its key, made ready to serve with; the server's end of a connection; and the
//! client's end that the probe has.
//!
//! TLS 1.2 and 1.3, ALPN `http/1.1`; no client certificates, no renegotiation, no session
//! that could be taken up again (a browser's connection lasts longer than what a ticket
//! would save). What is not TLS, or not ours to speak, ends the handshake and nothing else.
//!
//! A [`Session`] reads and writes in the thread of its slot and keeps no time: whoever is
//! late finds its socket shut by the reaper. It never calls rustls in a loop that could
//! turn without the socket giving or taking bytes.

use core::fmt;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    prelude::v1::*,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme, StreamOwned,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{self, CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{NoServerSessionStorage, ParsedCertificate},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};

use super::slots::Fate;
use crate::{UnixTime, daemon::log::raw};

/// Which of the two files a fault is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Half {
    Certificate,
    Key,
}

/// A certificate and its key, judged to belong together.
pub(crate) struct Pair {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    /// Of the first certificate, both inclusive; what stands behind it is the issuer's care.
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    /// Whether its key is of a kind that browsers take.
    pub(crate) for_browsers: bool,
}

impl Pair {
    /// Reads PEM: certificates, the gateway's own first, and one private key (PKCS#8,
    /// PKCS#1 or SEC1; RSA, ECDSA on P-256 and P-384, Ed25519). Sections of other kinds are
    /// passed over, so that both can stand in one file.
    ///
    /// # Errors
    /// Where the fault is, and what it is. Dates are not judged.
    pub(crate) fn read(certificates: &[u8], key: &[u8]) -> Result<Self, (Half, String)> {
        let of_certificate = |what: String| (Half::Certificate, what);
        let of_key = |what: String| (Half::Key, what);
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_certificate(format!("not readable PEM: {error}")))?;
        let Some(first) = chain.first() else {
            return Err(of_certificate("no PEM certificate in it".to_owned()));
        };
        let parsed = ParsedCertificate::try_from(first)
            .map_err(|error| of_certificate(format!("its first certificate: {error}")))?;
        let (not_before, not_after) = dates(&parsed).map_err(|error| {
            of_certificate(format!("the dates of its first certificate: {error}"))
        })?;
        let keys = PrivateKeyDer::pem_slice_iter(key)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_key(format!("not readable PEM: {error}")))?;
        let Ok([key]) = <[_; 1]>::try_from(keys) else {
            return Err(of_key(
                "not one PEM private key in it, without a password".to_owned(),
            ));
        };
        let provider = Arc::new(ring::default_provider());
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| of_key(error.to_string()))?;
        let for_browsers = key.algorithm() != SignatureAlgorithm::ED25519;
        let certified = CertifiedKey::new(chain.clone(), key);
        certified.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(_) => of_key("not the key of the certificate".to_owned()),
            error => of_key(error.to_string()),
        })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| of_key(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            chain,
            not_before,
            not_after,
            for_browsers,
        })
    }

    /// Whether both would show the same; the key follows from the certificate.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.chain == other.chain
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` has it.
    pub(crate) fn fingerprint(&self) -> impl fmt::Display {
        let digest = self.chain.first().map(Sha256::digest);
        fmt::from_fn(move |f| {
            for (at, byte) in digest.iter().flatten().enumerate() {
                let colon = if at > 0 { ":" } else { "" };
                write!(f, "{colon}{byte:02X}")?;
            }
            Ok(())
        })
    }

    fn is_shown_by(&self, certificate: &CertificateDer<'_>) -> bool {
        self.chain.first().is_some_and(|own| own == certificate)
    }
}

/// From when until when a certificate holds. rustls tells dates only to whom they are in
/// the way of: so it is asked at the beginning and at the end of all time.
fn dates(certificate: &ParsedCertificate<'_>) -> Result<(UnixTime, UnixTime), Error> {
    let ask = |secs| {
        let at = pki_types::UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let none = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(certificate, &none, &[], at, &[])
    };
    let ours = |time: pki_types::UnixTime| {
        UnixTime::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    };
    let not_before = match ask(0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => ours(not_before),
        // They contradict each other, or cannot be read.
        Err(
            error @ Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::BadEncoding,
            ),
        ) => return Err(error),
        // It begins with time, and what else is said of it is no matter of dates.
        Ok(()) | Err(_) => UnixTime::EPOCH,
    };
    match ask(u64::MAX) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok((not_before, ours(not_after)))
        }
        Err(error) => Err(error),
        Ok(()) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

/// The pair in use. New connections take it; those that have begun keep theirs.
pub(crate) struct Certificates {
    current: RwLock<Arc<Pair>>,
    failed: AtomicU64,
}

impl Certificates {
    pub(crate) fn new(pair: Pair) -> Self {
        Self {
            current: RwLock::new(Arc::new(pair)),
            failed: AtomicU64::new(0),
        }
    }

    /// The pair in use.
    pub(crate) fn current(&self) -> Arc<Pair> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another pair in use.
    pub(crate) fn swap(&self, pair: Pair) {
        let pair = Arc::new(pair);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
    }

    /// How many handshakes were begun by a client and came to nothing.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the client's handshake; calls `begun` when its first bytes are there.
    /// Where it came to nothing: how the connection ended.
    pub(super) fn open<'a>(
        &self,
        stream: &'a TcpStream,
        begun: impl FnOnce(),
    ) -> Result<Session<'a>, Fate> {
        match Session::open(stream, &self.current(), begun) {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(Fate::Client),
            Err(error) => {
                // What a stranger can cause is counted, and told to whoever looks for it.
                self.failed.fetch_add(1, Ordering::Relaxed);
                log::debug!("no TLS handshake: {}", raw(&error.to_string()));
                Err(Fate::Broken)
            }
        }
    }

    /// The client's end of a connection to this gateway itself: believed is who shows the
    /// certificate in use, whatever its names, dates and issuer, and nobody else.
    ///
    /// # Errors
    /// rustls's: a fault of this program.
    pub(crate) fn call(self: &Arc<Self>, stream: TcpStream) -> io::Result<impl Read + Write> {
        let provider = Arc::new(ring::default_provider());
        let pinned = Pinned {
            provider: Arc::clone(&provider),
            before: self.current(),
            certificates: Arc::clone(self),
        };
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        let connection = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(pinned))
                    .with_no_client_auth()
            })
            .and_then(|config| ClientConnection::new(Arc::new(config), name))
            .map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Believes who shows a certificate of our own, and proves that it has its key.
struct Pinned {
    provider: Arc<CryptoProvider>,
    /// In use when the call began: it can have been exchanged since.
    before: Arc<Pair>,
    certificates: Arc<Certificates>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({})", self.before.fingerprint())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = self.certificates.current();
        if self.before.is_shown_by(end_entity) || now.is_shown_by(end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The server's end of one connection, its handshake done.
pub(super) struct Session<'a> {
    stream: &'a TcpStream,
    tls: ServerConnection,
}

impl<'a> Session<'a> {
    /// `None`: the client left without a word.
    fn open(stream: &'a TcpStream, pair: &Pair, begun: impl FnOnce()) -> io::Result<Option<Self>> {
        let tls = ServerConnection::new(Arc::clone(&pair.config)).map_err(io::Error::other)?;
        let mut session = Self { stream, tls };
        let mut begun = Some(begun);
        while session.tls.is_handshaking() {
            let goes_on = session.receive()?;
            if goes_on && let Some(begun) = begun.take() {
                begun();
            }
            session.flush()?;
            if !goes_on && session.tls.is_handshaking() {
                return match begun {
                    Some(_) => Ok(None),
                    None => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        Ok(Some(session))
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.stream
    }

    /// Waits for bytes and takes them in; whether more can come.
    fn receive(&mut self) -> io::Result<bool> {
        let len = loop {
            match self.tls.read_tls(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        match self.tls.process_new_packets() {
            Ok(state) => Ok(len > 0 && !state.peer_has_closed()),
            Err(error) => {
                // Its alert, where the client takes it; the connection is over.
                self.say_at_once(b"").ok();
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }

    /// Writes what rustls has ready.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// 0 where no more will come, whether that was said (`close_notify`) or not: a request
    /// says where it ends by itself.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            // Where it is at its end, the reader tells: this loop ends then.
            self.receive()?;
            // A client may ask for new keys, which is answered.
            self.flush()?;
        }
    }

    pub(super) fn write_all(&mut self, mut out: &[u8]) -> io::Result<()> {
        while !out.is_empty() {
            let taken = self.tls.writer().write(out)?;
            if taken == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            out = out.get(taken..).unwrap_or_default();
            self.flush()?;
        }
        Ok(())
    }

    /// Says that nothing more will be written.
    pub(super) fn say_the_end(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()
    }

    /// The last words, and that they are the last, as far as the socket takes them without
    /// waiting.
    pub(super) fn say_at_once(&mut self, out: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        self.write_all(out)?;
        self.say_the_end()
    }
}
