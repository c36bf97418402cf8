//! The program, and a provider behind HTTPS whose certificate only some systems know.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs::File,
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::web::{Peer, Web, free_port};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it, and waits until it listens.
    fn start(folder: &Path, name: &str, port: u16, issuer: &str, roots: Option<&Path>) -> Self {
        let keys = folder.join(format!("{name}-keys"));
        let program = env!("CARGO_BIN_EXE_manage-rocket");
        let made = Command::new(program).arg("keygen").arg(&keys).output();
        assert!(made.unwrap().status.success());
        let log = folder.join(format!("{name}.log"));
        let database = folder.join(format!("{name}.db"));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("JWT_PRIVATE_KEY", keys.join("message-private.pem"))
            .env("MANAGE_PUBLIC_URL", format!("http://localhost:{port}"))
            .env("MANAGE_DATABASE", format!("sqlite:{}", database.display()))
            .env("MANAGE_DEMONSTRATION", "1")
            .env("MANAGE_SIGN_IN", "oidc")
            .env("MANAGE_OIDC_ISSUER", issuer)
            .env("MANAGE_OIDC_CLIENT_ID", "manage RS256")
            .env("MANAGE_OIDC_CLIENT_SECRET", "a secret: with+signs/and%more")
            .env("ROCKET_PORT", port.to_string())
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap());
        if let Some(roots) = roots {
            command.env("SSL_CERT_FILE", roots);
        }
        let child = command.spawn().unwrap();
        let started = Self { child, log };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{}", started.said());
            thread::yield_now();
        }
        started
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has these words.
    fn says(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            assert!(Instant::now() < end, "{words}: {}", self.said());
            thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_provider_is_believed_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    };
    let certificate = write("certificate.pem", &made.cert.pem());
    let key = write("key.pem", &made.signing_key.serialize_pem());
    let port = free_port();
    let manage = format!("http://localhost:{port}");
    let more = [
        ("CERT", certificate.to_str().unwrap()),
        ("KEY", key.to_str().unwrap()),
    ];
    let provider = Peer::provider(&manage, &more);
    assert!(provider.url.starts_with("https://"));

    // A system that does not know it: nobody signs in, and the log names the phase.
    let other = free_port();
    let stranger = Program::start(folder.path(), "stranger", other, &provider.url, None);
    let refused = Web::new().get(&format!("http://localhost:{other}/auth/oidc"));
    assert_eq!(refused.status, 502);
    assert!(refused.body.contains("<code>peer</code>"));
    stranger.says("not signed in: peer: discovery: tls: ");

    let program = Program::start(
        folder.path(),
        "known",
        port,
        &provider.url,
        Some(&certificate),
    );
    let root = Certificate::from_der(made.cert.der()).to_owned();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(vec![root]))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let web = Web::with(ureq::Agent::config_builder().tls_config(tls));
    let back = web.through_provider(&format!("{manage}/clinics"), "uid-radiographer");
    let arrived = web.get(&back.location);
    assert_eq!(
        arrived.location,
        format!("{manage}/clinics"),
        "{}",
        arrived.body
    );
    let page = web.get(&arrived.location);
    assert!(page.body.contains("Jo Radiographer"));
    // What is secret or somebody's name is in no log.
    program.says("GET /clinics 200");
    let said = program.said();
    let code = back.parameter("code").unwrap();
    let state = back.parameter("state").unwrap();
    for hidden in [
        "with+signs",
        "Radiographer",
        "uid-radiographer",
        &code,
        &state,
    ] {
        assert!(!said.contains(hidden), "{hidden}: {said}");
    }
}
