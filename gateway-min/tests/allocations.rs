//! How often a `POST /do` allocates, transport, judgement and log line included: the
//! daemon runs in this process, behind an allocator that counts. The client allocates
//! nothing while it is counted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

#[path = "signer/mod.rs"]
mod signer;
#[path = "daemon/support.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::{
    alloc::System,
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use signer::PUBLIC_JWK;
use support::{EXTENSION, ID, ISSUER, PATIENCE, message, post, post_jose, request};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The budget for one request.
const MOST: usize = 20;
/// Requests in one count.
const REQUESTS: usize = 32;

/// The port on which this process listens, once it does.
fn port() -> u16 {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "nobody listens");
        let files = fs::read_dir("/proc/self/fd").unwrap();
        let ours: Vec<_> = files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .map(|link| link.to_string_lossy().into_owned())
            .collect();
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let found = table.lines().skip(1).find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            // State 0A listens; the tenth word is the socket's number.
            let ours = ours.contains(&format!("socket:[{}]", words[9]));
            let (_, port) = words[1].split_once(':')?;
            (words[3] == "0A" && ours).then(|| u16::from_str_radix(port, 16).ok())?
        });
        match found {
            Some(port) => return port,
            None => thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// Reads one answer into `buffer`: its status, and how long it is.
fn answer(mut stream: &TcpStream, buffer: &mut [u8]) -> (u16, usize) {
    let mut filled = 0;
    loop {
        filled += stream.read(&mut buffer[filled..]).unwrap();
        let text = str::from_utf8(&buffer[..filled]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (_, rest) = head.split_once("Content-Length: ").unwrap();
            let len: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() == len {
                return (text[9..12].parse().unwrap(), filled);
            }
        }
    }
}

/// Allocations of these requests, sent one after another on a connection of their own.
fn count(on: SocketAddr, requests: &[Vec<u8>], status: u16, buffer: &mut [u8]) -> usize {
    let stream = TcpStream::connect(on).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |bytes: &[u8], buffer: &mut [u8]| {
        (&stream).write_all(bytes).unwrap();
        let (said, len) = answer(&stream, buffer);
        assert_eq!(said, status, "{}", buffer[..len].escape_ascii());
    };
    // The slot's own memory is there after its first request.
    ask(&requests[0], buffer);
    let region = Region::new(ALLOCATOR);
    for bytes in &requests[1..] {
        ask(bytes, buffer);
    }
    // A line that is still being printed counts for the next.
    let counted = region.change();
    counted.allocations + counted.reallocations
}

#[test]
fn a_message_costs_at_most_twenty_whatever_it_says() {
    let settings = [
        ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ("GATEWAY_ID", ID),
        ("GATEWAY_ISSUER", ISSUER),
        ("GATEWAY_ORIGINS", EXTENSION),
        ("JWT_PUBLIC_KEY", PUBLIC_JWK),
    ];
    let settings = settings.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let daemon = thread::spawn(|| {
        gateway_min::daemon::main(std::iter::empty(), settings.into_iter());
    });
    let on = SocketAddr::from((Ipv4Addr::LOCALHOST, port()));
    let mut buffer = vec![0; 64 * 1024];

    let one = message(&[]);
    let (signed, _) = one.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    let long = json!({"filler": "x".repeat(3000)});
    let kinds: [(&str, u16, &dyn Fn() -> Vec<u8>); 13] = [
        ("accepted", 200, &|| post(&message(&[]))),
        ("accepted, bare", 200, &|| {
            post_jose(message(&[]).as_bytes())
        }),
        ("accepted, long", 200, &|| {
            post(&message(&[("parameters", long.clone())]))
        }),
        ("duplicate", 200, &|| post(&one)),
        ("expired", 403, &|| {
            post(&message(&[("iat", json!(1)), ("exp", json!(2))]))
        }),
        ("for another", 403, &|| {
            post(&message(&[("aud", json!("x"))]))
        }),
        ("forged", 401, &|| post(&forged)),
        ("no token", 400, &|| post("a.b.c")),
        ("no JSON", 400, &|| {
            let json = ("Content-Type", "application/json");
            request("POST /do", &[json], b"hello")
        }),
        ("another type", 415, &|| {
            request("POST /do", &[("Content-Type", "text/plain")], b"hello")
        }),
        ("another host", 421, &|| {
            request("POST /do", &[("Host", "evil.example")], b"hello")
        }),
        ("a web page", 403, &|| {
            request("POST /do", &[("Origin", "https://evil.example")], b"hello")
        }),
        ("no such path", 404, &|| request("POST /x", &[], b"hello")),
    ];
    for (name, status, make) in kinds {
        // What else runs in this process (a probe every ten seconds, a line that is printed
        // late) can only add: of several counts the least is the requests' own.
        let least = (0..3).map(|_| {
            let requests: Vec<_> = (0..=REQUESTS).map(|_| make()).collect();
            count(on, &requests, status, &mut buffer)
        });
        let least = least.min().unwrap().div_ceil(REQUESTS);
        println!("{name}: {least} allocations");
        assert!(least > 0 && least <= MOST, "{name}: {least}");
    }
    let stopped = Command::new("kill")
        .args(["-TERM", &std::process::id().to_string()])
        .status();
    assert!(stopped.unwrap().success());
    daemon.join().unwrap();
}
