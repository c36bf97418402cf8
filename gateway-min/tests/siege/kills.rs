//! What kills or wedges a bare server of this kind, each way by its number (K12, TLS, is in
//! `tests/tls`): the process lives, the next good request is answered, and memory, threads
//! and file descriptors are as before.

use std::{
    io::{ErrorKind, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    time::Duration,
};

use crate::{
    answers::everything,
    crowd::connect,
    either,
    support::{Gateway, request},
    vitals::{Vitals, next_good_request},
};

const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const WORSE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// How the gateway may answer: the beginnings of all that an attacker is ever told.
const REFUSED: &[u8] = b"HTTP/1.1 4";

fn page() -> Vec<u8> {
    request("GET /", &[], b"")
}

/// Sends all of it and reads to the close: what came.
fn sent(gateway: &Gateway, bytes: &[u8], name: &str) -> Vec<u8> {
    let stream = connect(gateway.address, BAD);
    // The gateway may have answered and closed before the last byte is sent.
    (&stream).write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    everything(&stream, name)
}

#[track_caller]
fn refused(gateway: &Gateway, bytes: &[u8], name: &str) {
    let came = sent(gateway, bytes, name);
    assert!(
        came.is_empty() || came.starts_with(REFUSED),
        "{name}: {}",
        came.escape_ascii()
    );
}

/// Sends over and over until so much is sent, the gateway takes no more for a second, or
/// it has closed: how much went.
fn flood(stream: &TcpStream, first: &[u8], then: &[u8], most: usize) -> usize {
    let mut stream = stream;
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut went = 0;
    let mut next = first;
    while went < most {
        match stream.write(next) {
            Ok(len) => went += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        next = then;
    }
    went
}

/// An attack, and afterwards all is as before.
#[track_caller]
fn survives(name: &str, attack: impl FnOnce(&Gateway)) {
    let gateway = Gateway::start(&[]);
    let before = Vitals::at_rest(&gateway);
    attack(&gateway);
    next_good_request(&gateway, name);
    before.come_back(&gateway, name);
    assert!(!gateway.lines.text().contains("panic"), "{name}");
}

#[test]
fn k1_and_k2_bodies_larger_than_memory() {
    survives("K1, K2", |gateway| {
        for length in [
            "500000000",
            "2147483648",
            "100000000000",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            for line in ["POST /x", "POST /do", "GET /"] {
                let bytes = request(line, &[("Content-Length", length)], b"x");
                refused(gateway, &bytes, &format!("{line} of {length}"));
            }
        }
    });
}

#[test]
fn k3_versions_of_the_future() {
    survives("K3", |gateway| {
        for version in ["2.0", "3.0"] {
            for _ in 0..200 {
                let bytes = format!("GET / HTTP/{version}\r\nHost: localhost\r\n\r\n");
                refused(gateway, bytes.as_bytes(), version);
            }
        }
    });
}

#[test]
fn k5_requests_whose_answers_nobody_reads() {
    survives("K5", |gateway| {
        let many = page().repeat(500);
        let greedy = [(); 4].map(|()| connect(gateway.address, BAD));
        let went: usize = greedy
            .iter()
            .map(|stream| flood(stream, &many, &many, 12_000_000))
            .sum();
        println!("K5: {went} bytes of requests went");
        next_good_request(gateway, "K5, meanwhile");
    });
}

#[test]
fn k6_fields_without_end() {
    survives("K6", |gateway| {
        let stream = connect(gateway.address, BAD);
        let fields = b"a:\r\n".repeat(10_000);
        let went = flood(&stream, b"GET / HTTP/1.1\r\n", &fields, 20_000_000);
        println!("K6: {went} bytes of fields went");
    });
}

#[test]
fn k7_lines_without_end() {
    survives("K7", |gateway| {
        let long = vec![b'a'; 100_000];
        for (name, first) in [
            ("request line", &b"GET /"[..]),
            ("method", b"G"),
            ("field", b"GET / HTTP/1.1\r\nA: "),
            ("field name", b"GET / HTTP/1.1\r\nA"),
            (
                "chunk size",
                b"POST /do HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1",
            ),
        ] {
            let stream = connect(gateway.address, BAD);
            let went = flood(&stream, first, &long, 20_000_000);
            println!("K7: {went} bytes of {name} went");
        }
    });
}

/// As many as there are slots, from two addresses, which may hold all of them.
#[test]
fn k8_bodies_that_never_come() {
    survives("K8", |gateway| {
        let kinds: [&[(&str, &str)]; 3] = [
            &[
                ("Content-Type", "application/json"),
                ("Content-Length", "8000"),
            ],
            &[("Transfer-Encoding", "chunked")],
            &[
                ("Content-Type", "application/json"),
                ("Content-Length", "8000"),
                ("Expect", "100-continue"),
            ],
        ];
        let stalled: Vec<_> = (0..64)
            .map(|n| {
                let stream = connect(gateway.address, if n % 2 == 0 { BAD } else { WORSE });
                let head = request("POST /do", kinds[n % kinds.len()], b"");
                (&stream).write_all(&head).ok();
                stream
            })
            .collect();
        for _ in 0..10 {
            next_good_request(gateway, "K8, meanwhile");
        }
        drop(stalled);
    });
}

#[test]
fn k9_clients_that_do_not_read() {
    survives("K9", |gateway| {
        let asks = request("GET /metrics", &[], b"").repeat(100);
        let deaf: Vec<_> = (0..either(8, 60))
            .map(|n| {
                let stream = connect(gateway.address, if n % 2 == 0 { BAD } else { WORSE });
                flood(&stream, &asks, &asks, 2_000_000);
                stream
            })
            .collect();
        for _ in 0..10 {
            next_good_request(gateway, "K9, meanwhile");
        }
        drop(deaf);
    });
}

/// Nobody who connects with others is left unanswered while they hold their connections.
#[test]
fn k10_bursts() {
    survives("K10", |gateway| {
        for burst in [8, 16, 30] {
            for _ in 0..either(5, 30) {
                let at_once: Vec<_> = (0..burst).map(|_| connect(gateway.address, BAD)).collect();
                for stream in &at_once {
                    (&*stream).write_all(&page()).unwrap();
                }
                for stream in &at_once {
                    stream.shutdown(Shutdown::Write).unwrap();
                    let came = everything(stream, "K10");
                    assert!(
                        came.starts_with(b"HTTP/1.1 200 "),
                        "{}",
                        came.escape_ascii()
                    );
                }
            }
        }
    });
}

#[test]
fn k11_resets() {
    survives("K11", |gateway| {
        for n in 0..either(300, 3000) {
            let stream = socket2::Socket::from(connect(gateway.address, BAD));
            stream.set_linger(Some(Duration::ZERO)).unwrap();
            if n % 3 > 0 {
                stream
                    .send(&page()[..if n % 3 == 1 { 10 } else { 30 }])
                    .ok();
            }
        }
    });
}
