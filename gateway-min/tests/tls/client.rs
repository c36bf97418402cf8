//! A client that speaks TLS and believes one certificate.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

use crate::support::{Answer, Gateway, PATIENCE};

/// Believes whom it is to meet; that they have the key is checked.
#[derive(Debug)]
struct Meet(CertificateDer<'static>);

impl ServerCertVerifier for Meet {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

pub(crate) fn config(
    meet: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Meet(meet.clone())))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A connection that begins its handshake with its first words.
pub(crate) struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl Secure {
    pub(crate) fn new(gateway: &Gateway, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        Self {
            stream: StreamOwned::new(connection, stream),
            read: Vec::new(),
        }
    }

    /// Does the handshake now: how it ended.
    pub(crate) fn shake_hands(&mut self) -> std::io::Result<()> {
        while self.stream.conn.is_handshaking() {
            self.stream.conn.complete_io(&mut self.stream.sock)?;
        }
        Ok(())
    }

    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.stream.conn.protocol_version()
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.stream.conn.alpn_protocol()
    }

    pub(crate) fn kind(&self) -> Option<HandshakeKind> {
        self.stream.conn.handshake_kind()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Says that nothing more will be sent; what comes can still be read.
    pub(crate) fn finish_sending(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer {
            status: 0,
            head: String::new(),
            body: String::new(),
        };
        let end = |read: &[u8]| read.windows(4).position(|four| four == b"\r\n\r\n");
        let at = loop {
            match end(&self.read) {
                Some(at) => break at + 4,
                None => self.fill(),
            }
        };
        answer.head = String::from_utf8(self.read.drain(..at).collect()).unwrap();
        answer.status = answer.head["HTTP/1.1 ".len()..][..3].parse().unwrap();
        let len: usize = answer.field("Content-Length").unwrap().parse().unwrap();
        while self.read.len() < len {
            self.fill();
        }
        answer.body = String::from_utf8(self.read.drain(..len).collect()).unwrap();
        answer
    }

    #[track_caller]
    fn fill(&mut self) {
        let mut chunk = [0; 4096];
        let len = self.stream.read(&mut chunk).unwrap();
        assert!(len > 0, "closed after {}", self.read.escape_ascii());
        self.read.extend_from_slice(&chunk[..len]);
    }

    /// Waits for the end: what came before it, and whether the gateway said that it was
    /// the end.
    #[track_caller]
    pub(crate) fn rest(mut self) -> (String, bool) {
        let mut chunk = [0; 4096];
        let said = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(len) => self.read.extend_from_slice(&chunk[..len]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ) =>
                {
                    break false;
                }
                Err(error) => panic!("{error}"),
            }
        };
        (String::from_utf8(self.read).unwrap(), said)
    }
}

/// The first bytes that a client sends.
pub(crate) fn client_hello(meet: &CertificateDer<'static>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(config(meet, BOTH, &[]), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}
