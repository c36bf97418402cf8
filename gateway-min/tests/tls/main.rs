//! The binary with TLS on a free port of the loopback: handshakes, requests over them,
//! what is no handshake, certificates that change, and what stops the start.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod certificates;
mod client;
#[path = "../signer/mod.rs"]
mod signer;
#[path = "../daemon/support.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::{
    fs,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    HandshakeKind, ProtocolVersion, SupportedProtocolVersion,
    pki_types::CertificateDer,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};

use certificates::{ALL, Certificate, DAY, ED25519, ENDED, GOOD, Key, LOCKED, Life, OTHER, P256};
use client::{BOTH, Secure, client_hello, config};
use signer::PUBLIC_JWK;
use support::{Folder, Gateway, ID, PATIENCE, command, message, post, request};

/// A gateway with its certificate.
struct Site {
    gateway: Gateway,
    folder: Folder,
    der: CertificateDer<'static>,
}

impl Site {
    fn new() -> Self {
        Self::with(P256, GOOD, &[])
    }

    fn with(key: Key, life: Life, more: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let made = certificates::certificate(key, 1, life);
        let cert = folder.file("cert.pem", &made.pem, 0o644);
        let key = folder.file("key.pem", key.pem, 0o600);
        let mut settings = vec![
            ("GATEWAY_TLS_CERT", cert.as_str()),
            ("GATEWAY_TLS_KEY", key.as_str()),
        ];
        settings.extend(more);
        Self {
            gateway: Gateway::start(&settings),
            folder,
            der: made.der,
        }
    }

    fn client(&self) -> Secure {
        Secure::new(&self.gateway, config(&self.der, BOTH, &["http/1.1"]))
    }

    /// One that meets this certificate, and is served.
    #[track_caller]
    fn serves(&self, der: &CertificateDer<'static>) -> Secure {
        let mut client = Secure::new(&self.gateway, config(der, BOTH, &["http/1.1"]));
        client.send(&post(&message(&[])));
        assert_eq!(client.answer().outcome(), "accepted");
        client
    }

    #[track_caller]
    fn is_well(&self) {
        self.serves(&self.der);
    }

    /// Exchanges both files, each in one step.
    fn put(&self, made: &Certificate, key: &str) {
        for (name, text) in [("key.pem", key), ("cert.pem", &made.pem)] {
            let next = self.folder.file("next", text, 0o600);
            fs::rename(next, self.folder.path().join(name)).unwrap();
        }
    }

    /// What the readiness path says, once `enough` of it is so.
    #[track_caller]
    fn ready_when(&self, der: &CertificateDer<'static>, enough: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut client = Secure::new(&self.gateway, config(der, BOTH, &[]));
            client.send(&request("GET /healthcheck/ready", &[], b""));
            let said = client.answer().json();
            if said["ready"] == json!(true) && enough(&said) {
                return said;
            }
            assert!(Instant::now() < until, "{said}");
            // Asked again a little later, so that the machine has time for what is awaited.
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn degraded_by(&self, der: &CertificateDer<'static>, codes: &[&str]) {
        self.ready_when(der, |said| {
            let told = said["degraded"].as_array().unwrap().iter();
            told.map(|one| one["code"].as_str().unwrap())
                .eq(codes.iter().copied())
        });
    }
}

#[test]
fn messages_are_taken_over_either_version_with_every_kind_of_key() {
    for key in ALL {
        let site = Site::with(key, GOOD, &[]);
        let versions: [(&'static SupportedProtocolVersion, _); 2] = [
            (&TLS12, ProtocolVersion::TLSv1_2),
            (&TLS13, ProtocolVersion::TLSv1_3),
        ];
        for (version, wanted) in versions {
            let config = config(&site.der, &[version], &["h2", "http/1.1"]);
            // Twice with one memory: nothing is taken up again.
            for _ in 0..2 {
                let mut client = Secure::new(&site.gateway, Arc::clone(&config));
                client.send(&post(&message(&[])));
                assert_eq!(client.answer().outcome(), "accepted", "{}", key.name);
                assert_eq!(client.version(), Some(wanted), "{}", key.name);
                assert_eq!(client.alpn(), Some(&b"http/1.1"[..]), "{}", key.name);
                assert_eq!(client.kind(), Some(HandshakeKind::Full), "{}", key.name);
            }
        }
        let for_browsers = site.gateway.lines.count("browsers do not take") == 0;
        assert_eq!(for_browsers, key.name != ED25519.name);
    }
}

#[test]
fn a_client_of_another_protocol_is_refused_and_one_that_names_none_is_served() {
    let site = Site::new();
    let mut foreign = Secure::new(&site.gateway, config(&site.der, BOTH, &["h2"]));
    let refused = foreign.shake_hands().unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    let mut silent = Secure::new(&site.gateway, config(&site.der, BOTH, &[]));
    silent.send(&request("GET /", &[], b""));
    assert_eq!((silent.answer().status, silent.alpn()), (200, None));
}

#[test]
fn requests_follow_each_other_and_may_be_sent_at_once() {
    let site = Site::new();
    let mut client = site.client();
    for n in 0..10 {
        client.send(&post(&message(&[("jti", json!(format!("kept-{n}")))])));
        assert_eq!(client.answer().json()["jti"], format!("kept-{n}"));
    }
    let mut all = Vec::new();
    for n in 0..30 {
        all.extend(post(&message(&[("jti", json!(format!("pipelined-{n}")))])));
        all.extend(request("GET /", &[], b""));
    }
    client.send(&all);
    for n in 0..30 {
        assert_eq!(client.answer().json()["jti"], format!("pipelined-{n}"));
        assert!(client.answer().body.contains("running"));
    }
    // Byte by byte, each in a record of its own.
    for byte in post(&message(&[])) {
        client.send(&[byte]);
    }
    assert_eq!(client.answer().outcome(), "accepted");
}

#[test]
fn an_end_is_said_both_ways() {
    let site = Site::new();
    let mut client = site.client();
    client.send(&request("GET /", &[("Connection", "close")], b""));
    let answer = client.answer();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert_eq!(client.rest(), (String::new(), true));
    // A client that has said its last word still gets its answer.
    for (name, bytes, status) in [
        ("whole", post(&message(&[])), 200),
        (
            "refused before its body",
            request("POST /x", &[("Content-Length", "5")], b""),
            404,
        ),
    ] {
        let mut client = site.client();
        client.send(&bytes);
        client.finish_sending();
        assert_eq!(client.answer().status, status, "{name}");
        assert_eq!(client.rest(), (String::new(), true), "{name}");
    }
    // What is cut off is nobody's message.
    let mut client = site.client();
    client.send(b"POST /do HTTP/1.1\r\n");
    client.finish_sending();
    assert_eq!(client.rest(), (String::new(), true));
    site.is_well();
}

#[test]
fn a_body_that_is_refused_while_it_comes_does_not_cost_the_answer() {
    let site = Site::new();
    for _ in 0..10 {
        let mut client = site.client();
        let large = vec![b'x'; 100_000];
        client.send(&request(
            "POST /do",
            &[("Content-Type", "application/json")],
            &large,
        ));
        assert_eq!(client.answer().refusal(), (413, "body_too_large".into()));
        client.finish_sending();
        assert_eq!(client.rest(), (String::new(), true));
    }
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let site = Site::new();
    let hello = client_hello(&site.der);
    let silent = site.gateway.client();
    let mut truncated = site.gateway.client();
    truncated.send(&hello[..hello.len() / 2]);
    let mut unanswered = site.gateway.client();
    unanswered.send(&hello);
    let mut dripping = site.gateway.client();
    let drip = thread::spawn({
        let hello = hello.clone();
        move || {
            // A byte at a time, for as long as the gateway takes them.
            for byte in hello {
                if dripping.send_anyway(&[byte]).is_err()
                    || !dripping.nothing_within(Duration::from_millis(100))
                {
                    return true;
                }
            }
            false
        }
    });
    let mut mute = site.client();
    mute.shake_hands().unwrap();
    let mut cut = site.client();
    cut.send(b"POST /do HTTP/1.1\r\nHost: localhost\r\n");
    assert_eq!(silent.rest(), "");
    assert_eq!(truncated.rest(), "");
    // The gateway's part of the handshake came; nothing was said behind it.
    unanswered.rest_of_bytes();
    assert!(drip.join().unwrap(), "it was taken to its end");
    assert_eq!(mute.rest(), (String::new(), true));
    let (rest, said) = cut.rest();
    assert!(
        rest.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{rest}"
    );
    assert!(said, "and that it was the end");
    site.is_well();
}

/// Ticks of the processor that a process has used: hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<u64>().unwrap())
        .sum()
}

/// An alert that ends a handshake, in the clear: rustls before 0.23.5 turned in a circle
/// for ever (RUSTSEC-2024-0336).
#[test]
fn a_good_bye_in_the_middle_of_a_handshake_keeps_nobody_busy() {
    let site = Site::new();
    let mut bytes = client_hello(&site.der);
    bytes.extend([0x15, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00]);
    let leaving: Vec<_> = (0..4)
        .map(|_| {
            let mut client = site.gateway.client();
            client.send(&bytes);
            client
        })
        .collect();
    site.is_well();
    let before = ticks(site.gateway.id());
    thread::park_timeout(Duration::from_secs(1));
    let used = ticks(site.gateway.id()) - before;
    assert!(used < 30, "{used} ticks in a second");
    for client in leaving {
        client.rest_of_bytes();
    }
    site.is_well();
}

#[test]
fn what_is_no_handshake_ends_quietly_and_is_counted() {
    let site = Site::new();
    let hello = client_hello(&site.der);
    let garbage: Vec<_> = (0..2000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    let damaged: Vec<_> = hello
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == 5 { 0xff } else { *byte })
        .collect();
    let all = [
        ("plain HTTP", request("GET /", &[], b"")),
        ("a plain message", post(&message(&[]))),
        ("garbage", garbage),
        ("no ClientHello", damaged),
        (
            "an empty record for ever",
            [0x16, 0x03, 0x01, 0, 0].repeat(1000),
        ),
    ];
    for (name, bytes) in &all {
        let mut client = site.gateway.client();
        // The gateway may have closed before it has all.
        client.send_anyway(bytes).ok();
        let rest = client.rest_of_bytes();
        assert!(
            !rest.starts_with(b"HTTP/"),
            "{name}: {}",
            rest.escape_ascii()
        );
        site.is_well();
    }
    let silent = site.gateway.client();
    silent.finish_sending();
    assert_eq!(silent.rest(), "");
    assert_eq!(site.gateway.lines.count("handshake"), 0);
    site.gateway.signal("TERM");
    let lines = site.gateway.lines.clone();
    assert!(site.gateway.status().success());
    lines.wait_for(&format!("TLS handshakes that failed: {}", all.len()));
}

#[test]
fn idle_connections_keep_nobody_out() {
    let site = Site::new();
    let idle: Vec<_> = (0..200).map(|_| site.gateway.client()).collect();
    for _ in 0..10 {
        site.is_well();
    }
    drop(idle);
    site.is_well();
}

#[test]
fn the_newest_connection_wins_over_the_longest_reader() {
    let few = [("GATEWAY_SLOTS", "2"), ("GATEWAY_PER_ADDRESS", "2")];
    let site = Site::with(P256, GOOD, &few);
    // The first probe is over, and the next is ten seconds away.
    site.ready_when(&site.der, |_| true);
    let begin = || {
        let mut client = site.client();
        client.send(b"GET / HTTP/1.1\r\n");
        client
    };
    let (first, mut second) = (begin(), begin());
    let mut third = begin();
    let (rest, _) = first.rest();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 429 "),
        "{rest}"
    );
    for client in [&mut second, &mut third] {
        client.send(b"Host: localhost\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn what_has_begun_is_finished_on_a_stop() {
    let site = Site::new();
    let bytes = post(&message(&[]));
    let mut client = site.client();
    client.send(&bytes[..40]);
    let mut shaken = site.client();
    // Its hello is answered: the gateway knows that something has begun.
    shaken.shake_hands().unwrap();
    site.gateway.signal("TERM");
    site.gateway.lines.wait_for("asked to stop");
    client.send(&bytes[40..]);
    shaken.send(&post(&message(&[])));
    for mut client in [client, shaken] {
        assert_eq!(client.answer().outcome(), "accepted");
        assert_eq!(client.rest(), (String::new(), true));
    }
    assert!(site.gateway.status().success());
}

#[test]
fn a_new_certificate_is_taken_in_and_old_connections_go_on() {
    let site = Site::new();
    let mut old = site.serves(&site.der);
    // The probe got through by the old certificate.
    site.ready_when(&site.der, |_| true);
    let next = certificates::certificate(OTHER, 2, GOOD);
    site.put(&next, OTHER.pem);
    site.gateway.signal("HUP");
    let line = site
        .gateway
        .lines
        .wait_for("taken: its certificate ends in ");
    assert!(
        line.contains("GATEWAY_TLS_CERT") && line.contains(" INFO "),
        "{line}"
    );
    site.serves(&next.der);
    let mut meets_another = site.client();
    assert!(meets_another.shake_hands().is_err());
    old.send(&post(&message(&[])));
    assert_eq!(old.answer().outcome(), "accepted");
    site.degraded_by(&next.der, &[]);
    // And by the new one: its age falls when the next has got through.
    let age = |said: &Value| said["probe_age_secs"].as_u64().unwrap();
    let aged = age(&site.ready_when(&next.der, |said| age(said) >= 5));
    site.ready_when(&next.der, |said| age(said) < aged);
    // Asked for without a change, that is said.
    site.gateway.signal("HUP");
    site.gateway
        .lines
        .wait_for("read again, the same certificate");
}

#[test]
fn a_change_is_found_without_being_told() {
    let site = Site::new();
    let next = certificates::certificate(P256, 2, GOOD);
    site.put(&next, P256.pem);
    site.gateway.lines.wait_for("taken: ");
    site.serves(&next.der);
}

#[test]
fn a_bad_pair_keeps_the_old_one_until_it_is_good() {
    let site = Site::new();
    let good = certificates::certificate(P256, 2, GOOD);
    let ended = certificates::certificate(P256, 3, ENDED);
    let garbage = Certificate {
        pem: "garbage".to_owned(),
        der: site.der.clone(),
    };
    let mut seen = 0;
    for (name, made, key, words) in [
        (
            "another's key",
            &good,
            OTHER.pem,
            "not the key of the certificate",
        ),
        ("garbage", &garbage, P256.pem, "no PEM certificate"),
        ("no key", &good, "", "not one PEM private key"),
        (
            "ended",
            &ended,
            P256.pem,
            "its certificate ended 3 days ago",
        ),
    ] {
        site.put(made, key);
        site.gateway.signal("HUP");
        let line = site.gateway.lines.wait_for(words);
        assert!(
            line.contains(" ERROR ") && line.contains("GATEWAY_TLS_"),
            "{name}: {line}"
        );
        assert!(line.contains("stays in use"), "{name}: {line}");
        site.degraded_by(&site.der, &["certificate_invalid"]);
        site.is_well();
        seen += 1;
    }
    assert_eq!(seen, 4);
    fs::remove_file(site.folder.path().join("key.pem")).unwrap();
    site.degraded_by(&site.der, &["certificate_unreadable"]);
    site.folder.file("key.pem", P256.pem, 0o644);
    site.degraded_by(&site.der, &["certificate_unprotected"]);
    site.is_well();
    site.put(&good, P256.pem);
    site.gateway.lines.wait_for("good again");
    site.degraded_by(&good.der, &[]);
    site.serves(&good.der);
}

#[test]
fn dates_are_told_and_stop_nothing() {
    for (name, life, code, words, level) in [
        (
            "ended",
            ENDED,
            "certificate_expired",
            "its certificate ended 3 days ago",
            " ERROR ",
        ),
        (
            "ends soon",
            Life(-DAY, 3 * DAY + 60),
            "certificate_ends_soon",
            "its certificate ends in 3 days",
            " WARN ",
        ),
        (
            "not yet",
            Life(2 * DAY + 60, 9 * DAY),
            "certificate_not_yet_valid",
            "its certificate begins in 2 days",
            " ERROR ",
        ),
    ] {
        let site = Site::with(P256, life, &[]);
        let lines = site.gateway.lines.text();
        let told = |line: &str| line.contains(words) && line.contains(level);
        assert!(lines.lines().any(told), "{name}: {lines}");
        site.degraded_by(&site.der, &[code]);
        site.is_well();
        let next = certificates::certificate(P256, 2, GOOD);
        site.put(&next, P256.pem);
        site.gateway.signal("HUP");
        site.gateway
            .lines
            .wait_for("taken: its certificate ends in ");
        site.degraded_by(&next.der, &[]);
    }
}

/// What the command said, and how it ended.
fn run(settings: &[(&str, &str)], args: &[&str]) -> (i32, String) {
    let output = command(settings)
        .args(args)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said
        .lines()
        .filter(|line| line.starts_with("gateway-min: "));
    (
        output.status.code().unwrap(),
        said.collect::<Vec<_>>().join("\n"),
    )
}

#[test]
fn what_stops_the_start_stops_a_check_in_the_same_words() {
    let folder = Folder::new();
    let jwk = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let made = certificates::certificate(P256, 1, GOOD);
    let cert = &folder.file("cert.pem", &made.pem, 0o644);
    let key = &folder.file("key.pem", P256.pem, 0o600);
    let group = &folder.file("group.pem", P256.pem, 0o640);
    let shared = &folder.file("shared.pem", P256.pem, 0o644);
    let other = &folder.file("other.pem", OTHER.pem, 0o600);
    let locked = &folder.file("locked.pem", LOCKED, 0o600);
    let two = &folder.file("two.pem", &[P256.pem, OTHER.pem].concat(), 0o600);
    let open = &folder.file("open.pem", &made.pem, 0o666);
    let broken = &folder.file("broken.pem", &made.pem.replace("MII", "MIA"), 0o644);
    let none = &folder.file("none.pem", &made.pem, 0o600);
    let both = &folder.file("both.pem", &[&made.pem, P256.pem].concat(), 0o600);
    let absent = &format!("{cert}.absent");
    let here = "127.0.0.1:0";
    let everywhere = "0.0.0.0:0";
    for (name, listen, cert, key, code, words) in [
        (
            "another's key",
            here,
            Some(cert),
            Some(other),
            65,
            "GATEWAY_TLS_KEY: {}: not the key of the certificate",
        ),
        (
            "no certificate",
            here,
            Some(key),
            Some(key),
            65,
            "no PEM certificate in it",
        ),
        (
            "a broken one",
            here,
            Some(broken),
            Some(key),
            65,
            "its first certificate: ",
        ),
        (
            "no key",
            here,
            Some(cert),
            Some(none),
            65,
            "not one PEM private key in it",
        ),
        (
            "a locked key",
            here,
            Some(cert),
            Some(locked),
            65,
            "without a password",
        ),
        (
            "two keys",
            here,
            Some(cert),
            Some(two),
            65,
            "not one PEM private key in it",
        ),
        ("absent", here, Some(absent), Some(key), 66, "No such file"),
        (
            "a key for all",
            here,
            Some(cert),
            Some(shared),
            77,
            "chmod o-r",
        ),
        (
            "a certificate of others",
            here,
            Some(open),
            Some(key),
            77,
            "chmod go-w",
        ),
        (
            "no key named",
            here,
            Some(cert),
            None,
            78,
            "GATEWAY_TLS_CERT: GATEWAY_TLS_KEY belongs to it",
        ),
        (
            "no certificate named",
            here,
            None,
            Some(key),
            78,
            "GATEWAY_TLS_KEY: GATEWAY_TLS_CERT belongs to it",
        ),
        (
            "reachable",
            everywhere,
            None,
            None,
            78,
            "set GATEWAY_TLS_CERT and GATEWAY_TLS_KEY, or set GATEWAY_ALLOW_PLAIN_HTTP=1",
        ),
    ] {
        let mut settings = vec![
            ("GATEWAY_ID", ID),
            ("JWT_PUBLIC_KEY", jwk.as_str()),
            ("GATEWAY_LISTEN", listen),
        ];
        settings.extend(cert.map(|path| ("GATEWAY_TLS_CERT", path.as_str())));
        settings.extend(key.map(|path| ("GATEWAY_TLS_KEY", path.as_str())));
        let (started, said) = run(&settings, &[]);
        let words = words.replace("{}", key.map_or("", |path| path));
        assert!(said.contains(&words), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert_eq!(
            (started, run(&settings, &["--check"])),
            (code, (code, said)),
            "{name}"
        );
    }
    for (name, cert, key) in [
        ("two files", cert, key),
        ("a group's key", cert, group),
        ("one file", both, both),
    ] {
        let settings = [
            ("GATEWAY_ID", ID),
            ("JWT_PUBLIC_KEY", &jwk),
            ("GATEWAY_LISTEN", everywhere),
            ("GATEWAY_TLS_CERT", cert),
            ("GATEWAY_TLS_KEY", key),
        ];
        assert_eq!(run(&settings, &["--check"]), (0, String::new()), "{name}");
    }
    let ended = folder.file(
        "ended.pem",
        &certificates::certificate(P256, 1, ENDED).pem,
        0o644,
    );
    let settings = [
        ("GATEWAY_ID", ID),
        ("JWT_PUBLIC_KEY", &jwk),
        ("GATEWAY_TLS_CERT", &ended),
        ("GATEWAY_TLS_KEY", key),
    ];
    let (code, said) = run(&settings, &["--check"]);
    assert_eq!(code, 0);
    assert!(said.contains("its certificate ended 3 days ago"), "{said}");
}

#[test]
fn a_listener_that_others_can_reach_serves_over_tls() {
    let site = Site::with(P256, GOOD, &[("GATEWAY_LISTEN", "0.0.0.0:0")]);
    assert_eq!(site.gateway.lines.count("no TLS"), 0);
    site.is_well();
    site.ready_when(&site.der, |_| true);
}
