//! A soak: many requests, good, repeated and bad, on connections that are kept and on fresh
//! ones; then what the gateway counted against what its clients counted, and the memory that
//! it took. Messages live for seconds and there is room for half of them, so that it has to
//! forget while it works. What is sent is decided by the number of the request: the same in
//! every run.
//!
//! `SOAK_REQUESTS=1000000 cargo test --release -p gateway-min --test soak -- --nocapture`
//! is the long run; benches/RESULTS.md has its date.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]
#![expect(clippy::print_stdout, reason = "the long run is recorded")]

mod client;
#[path = "../daemon/exposition.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod exposition;
mod requests;
#[path = "../signer/mod.rs"]
mod signer;
#[path = "../daemon/support.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::{
    env, fs,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use gateway_min::Reject;

use client::{Counts, Worker};
use exposition::Page;
use signer::PUBLIC_JWK;
use support::{Client, Gateway, PATIENCE, request};

/// Requests of the run that is part of every test run.
const REQUESTS: u64 = 20_000;
const WORKERS: u64 = 4;
/// More than workers and the gateway's probe have at once, those that are just ending
/// among them.
const SLOTS: usize = 32;
/// Times that memory is looked at.
const LOOKS: u64 = 20;
/// The rule, made before the first run: in the second half of the looks the gateway has at
/// most so many KiB more of its own memory than when a tenth of the requests were answered.
const GROWTH: u64 = 256;

/// What all workers share.
struct Run {
    address: SocketAddr,
    /// Requests that there are.
    requests: u64,
    /// Requests that were taken up.
    taken: AtomicU64,
    /// Requests that were answered.
    answered: AtomicU64,
    /// Live messages that one worker may have.
    window: usize,
    process: u32,
    /// Answered requests, and the KiB of memory then.
    memory: Mutex<Vec<(u64, u64)>>,
}

impl Run {
    /// The number of a request that nobody has taken yet.
    fn take(&self) -> Option<u64> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.requests).then_some(number)
    }

    fn answered(&self) {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if answered.is_multiple_of(self.requests / LOOKS) {
            let look = (answered, own_memory(self.process));
            self.memory.lock().unwrap().push(look);
        }
    }
}

/// KiB of a process's memory that are no file's.
fn own_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse().unwrap()
}

#[test]
fn counts_agree_and_memory_is_flat() {
    #[expect(clippy::disallowed_methods, reason = "the length of the run")]
    let requests = env::var("SOAK_REQUESTS").map_or(REQUESTS, |count| count.parse().unwrap());
    // A fifth are new messages; there is room for half of those.
    let capacity = requests / 10;
    let gateway = Gateway::start(&[
        ("GATEWAY_REPLAY_CAPACITY", &capacity.to_string()),
        // Text, not a file: a file is read again soon after the start, and the allocator keeps
        // that half megabyte, which is no request's.
        ("JWT_PUBLIC_KEY", PUBLIC_JWK),
        ("GATEWAY_LEEWAY_SECS", "0"),
        ("GATEWAY_SLOTS", &SLOTS.to_string()),
        ("GATEWAY_METRICS_LISTEN", "127.0.0.1:0"),
    ]);
    let line = gateway.lines.wait_for("metrics on ");
    let metrics = line.split_once("metrics on ").unwrap().1.trim();
    let metrics = metrics.parse().unwrap();
    let run = Run {
        address: gateway.address,
        requests,
        taken: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        window: usize::try_from(capacity / WORKERS).unwrap(),
        process: gateway.id(),
        memory: Mutex::new(Vec::new()),
    };
    let run = &run;
    let mut all = Counts::default();
    all.opened += visit_slots(&gateway);
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| scope.spawn(move || Worker::new(run, number).work()))
            .collect();
        for worker in workers {
            all.add(&worker.join().unwrap());
        }
    });
    let secs = begun.elapsed().as_secs_f64();
    all.print(secs);
    let page = settled(metrics, &all);
    agree(&page, &all);
    assert_eq!(all.requests(), requests as f64);
    let held = page.value("gateway_replay_entries", "");
    let accepted = all.of("accepted");
    assert!(
        held < accepted,
        "{held} of {accepted}: nothing was forgotten"
    );

    let looks = run.memory.lock().unwrap().clone();
    print_memory(&looks, requests);
    flat(&looks);

    gateway.signal("TERM");
    let lines = gateway.lines.clone();
    let (status, closing) = gateway.ended();
    assert!(status.success(), "{closing}");
    assert_eq!(closing.split_once("stopped: ").unwrap().1, all.closing());
    let told = lines.count("] accepted jti=") as f64;
    let lost = page.value("gateway_log_lines_lost_total", "");
    assert!(told <= accepted && accepted <= told + lost, "{told} {lost}");
}

/// Has nearly every slot answer a request, so that each has the memory that it keeps: how
/// many connections that took. Not all, because the gateway's probe may have one.
fn visit_slots(gateway: &Gateway) -> u64 {
    let mut clients: Vec<_> = (0..SLOTS - 2).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(&request("GET /", &[], b""));
        assert_eq!(client.answer().status, 200);
    }
    clients.len() as u64
}

/// The metrics once every connection is over, those of the gateway's own probe included.
fn settled(metrics: SocketAddr, all: &Counts) -> Page {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::new(metrics);
        client.send(&request("GET /metrics", &[], b""));
        let page = Page::read(&client.answer().body);
        page.adds_up();
        let accepted = page.value("gateway_connections_accepted_total", "");
        let probes = ["good", "bad"].map(|result| page.value("gateway_probes_total", result));
        let open = page.value("gateway_connections_open", "");
        if open == 0.0 && accepted == all.opened as f64 + probes.iter().sum::<f64>() {
            return page;
        }
        assert!(Instant::now() < until, "{} opened: {page:#?}", all.opened);
    }
}

/// That the gateway counted what its clients did.
fn agree(page: &Page, all: &Counts) {
    for outcome in ["accepted", "duplicate"] {
        let counted = page.value("gateway_messages_total", outcome);
        assert_eq!(counted, all.of(outcome), "{outcome}");
    }
    for code in Reject::CODES {
        let counted = page.value("gateway_refusals_total", code);
        assert_eq!(counted, all.of(code), "{code}");
    }
    let families = ["gateway_messages_total", "gateway_refusals_total"];
    let counted: f64 = families.iter().map(|name| page.family(name).sum()).sum();
    assert_eq!(counted, all.requests());
    for times in ["judgement", "answer"] {
        let counted = page.value(&format!("gateway_{times}_duration_seconds_count"), "");
        assert_eq!(counted, all.judged as f64, "{times}");
    }
    // Nobody was cut off and nothing failed.
    for (name, is) in [
        ("gateway_connections_ended_total", "idle"),
        ("gateway_connections_ended_total", "late"),
        ("gateway_connections_ended_total", "evicted"),
        ("gateway_connections_ended_total", "turned_away"),
        ("gateway_connections_ended_total", "broken"),
        ("gateway_connections_ended_total", "failed"),
        ("gateway_accept_errors_total", ""),
        ("gateway_panics_total", ""),
        ("gateway_probes_total", "bad"),
        ("gateway_slots_busy", ""),
    ] {
        assert_eq!(page.value(name, is), 0.0, "{name} {is}");
    }
}

fn print_memory(looks: &[(u64, u64)], requests: u64) {
    println!("\n| answered | own memory, KiB |\n|---|---|");
    for (answered, kib) in looks {
        println!("| {} % ({answered}) | {kib} |", answered * 100 / requests);
    }
}

/// The rule that [`GROWTH`] states.
fn flat(looks: &[(u64, u64)]) {
    let (early, late) = looks.split_at(looks.len() / 2);
    // Of twenty looks the second is a tenth of the way.
    let (_, base) = early[1];
    for (answered, kib) in late {
        assert!(*kib <= base + GROWTH, "{answered}: {looks:?}");
    }
}
