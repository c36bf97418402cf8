use std::{prelude::v1::*, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
};

use super::Trust;
use crate::daemon::sink::{
    Answered, Delivery, Phase, Sink, Target,
    http::Http,
    sink_server::{Door, OK, Reply, SinkServer},
};

#[path = "../../../../tests/tls/certificates.rs"]
#[allow(dead_code, reason = "the flows over TLS use all of it")]
mod certificates;

/// What the certificates of the flows are dated by.
mod support {
    pub(super) fn now() -> u64 {
        u64::try_from(crate::daemon::clock::system().as_secs()).unwrap()
    }
}

use certificates::{Certificate, ENDED, GOOD, Life, P256, certificate};

const PATIENCE: Duration = Duration::from_secs(60);
const DELIVERY: Delivery<'_> = Delivery {
    key: "\"a\"",
    redelivered: false,
    body: b"{}",
};

/// A receiver that shows this certificate, for `localhost`.
fn server(certificate: &Certificate) -> SinkServer {
    let key = PrivateKeyDer::from_pem_slice(P256.pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der.clone()], key)
        .unwrap();
    SinkServer::start_tls(Arc::new(config))
}

/// One that believes this certificate, and calls the receiver by that name.
fn http(port: u16, name: &str, believed: &Certificate, timeout: Duration) -> Http {
    let target = Target::read(&format!("http://127.0.0.1:{port}/in")).unwrap();
    let mut http = Http::new(target, timeout).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(believed.der.clone()).unwrap();
    http.trust = Some(Trust::new(roots, name).unwrap());
    http
}

#[test]
fn messages_travel_over_tls_and_the_connection_is_kept() {
    let own = certificate(P256, 1, GOOD);
    let server = server(&own);
    let mut http = http(server.address.port(), "localhost", &own, PATIENCE);
    for _ in 0..2 {
        assert_eq!(http.deliver(&DELIVERY), Ok(Answered::Taken));
    }
    let received = server.received();
    assert_eq!(
        (received.len(), received[0].body.as_slice()),
        (2, &b"{}"[..])
    );
    assert_eq!(server.connections(), 1);
    // An end that was not said is no end of a body.
    server.reply([Reply::SayAndClose("HTTP/1.1 200 OK\r\n\r\nok".into())]);
    let fault = http.deliver(&DELIVERY).unwrap_err();
    assert_eq!((fault.phase, fault.sent), (Phase::Read, true), "{fault:?}");
    server.reply([Reply::Say(OK.to_owned()), Reply::Close]);
    assert_eq!(http.deliver(&DELIVERY), Ok(Answered::Taken));
    let fault = http.deliver(&DELIVERY).unwrap_err();
    assert_eq!(fault.phase, Phase::Await, "{fault:?}");
}

#[test]
fn who_is_not_believed_gets_nothing() {
    let own = certificate(P256, 1, GOOD);
    let rows = [
        (
            "another authority",
            certificate(P256, 1, GOOD),
            "localhost",
            certificate(certificates::OTHER, 2, GOOD),
            "BadSignature",
        ),
        (
            "another name",
            certificate(P256, 1, GOOD),
            "ris.example",
            own,
            "not valid for name",
        ),
        (
            "ended",
            certificate(P256, 1, ENDED),
            "localhost",
            certificate(P256, 1, ENDED),
            "expired",
        ),
        (
            "not begun",
            certificate(P256, 1, Life(86_400, 2 * 86_400)),
            "localhost",
            certificate(P256, 1, Life(86_400, 2 * 86_400)),
            "not valid yet",
        ),
    ];
    for (name, shown, host, believed, detail) in rows {
        let server = server(&shown);
        let mut http = http(server.address.port(), host, &believed, PATIENCE);
        let fault = http.deliver(&DELIVERY).unwrap_err();
        assert_eq!(
            (fault.phase, fault.sent),
            (Phase::Tls, false),
            "{name}: {fault:?}"
        );
        assert!(fault.detail.contains(detail), "{name}: {fault:?}");
        assert!(server.received().is_empty(), "{name}");
    }
}

#[test]
fn what_is_no_handshake_fails_as_one() {
    let own = certificate(P256, 1, GOOD);
    let short = Duration::from_millis(500);
    for (name, door, timeout, detail) in [
        // The plain receiver waits for the end of a head that never comes.
        ("plain HTTP", Door::Open, short, "not done within 0.5 s"),
        ("never answers", Door::Deaf, short, "not done within 0.5 s"),
        ("closes", Door::Slammed, PATIENCE, ""),
    ] {
        let server = SinkServer::start();
        server.doors([door]);
        let mut http = http(server.address.port(), "localhost", &own, timeout);
        let fault = http.deliver(&DELIVERY).unwrap_err();
        assert_eq!(
            (fault.phase, fault.sent),
            (Phase::Tls, false),
            "{name}: {fault:?}"
        );
        assert!(fault.detail.starts_with(detail), "{name}: {fault:?}");
    }
}

#[test]
fn an_answer_in_the_clear_fails_the_handshake() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the other end has had enough.
        std::io::Read::read_to_end(&mut stream, &mut Vec::new()).ok();
    });
    let own = certificate(P256, 1, GOOD);
    let fault = http(port, "localhost", &own, PATIENCE)
        .deliver(&DELIVERY)
        .unwrap_err();
    assert_eq!((fault.phase, fault.sent), (Phase::Tls, false), "{fault:?}");
    assert!(fault.detail.contains("corrupt message"), "{fault:?}");
    plain.join().unwrap();
}
