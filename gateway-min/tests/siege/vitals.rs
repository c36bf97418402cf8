//! What an attack must not cost: memory, threads, file descriptors. Read from `/proc`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::support::{Gateway, PATIENCE, message};

/// Most memory that may stay behind for each slot: 8 MiB for the usual 64.
const LEFT_KIB: u64 = 128;
/// Threads that are no slot's.
const OTHERS: u64 = 5;

/// A process at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vitals {
    /// Memory of its own (`RssAnon`).
    pub(crate) kib: u64,
    pub(crate) threads: u64,
    pub(crate) files: usize,
}

impl Vitals {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        let id = gateway.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.unwrap().split_whitespace().next();
            word.unwrap().parse().unwrap()
        };
        Self {
            kib: number("RssAnon:"),
            threads: number("Threads:"),
            files: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
        }
    }

    /// Of a gateway that nobody has asked anything yet but its own probe.
    pub(crate) fn at_rest(gateway: &Gateway) -> Self {
        gateway.settle();
        Self::of(gateway)
    }

    /// Waits until the gateway is as it was, but for what memory may stay; tells what did.
    #[track_caller]
    pub(crate) fn come_back(self, gateway: &Gateway, name: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = Self::of(gateway);
            assert_eq!(now.threads, self.threads, "{name}: threads");
            if now.files == self.files
                && now.kib <= self.kib + LEFT_KIB * self.threads.saturating_sub(OTHERS)
            {
                let more = now.kib.saturating_sub(self.kib);
                println!("{name}: {} KiB at rest, {more} KiB more after", self.kib);
                return;
            }
            assert!(Instant::now() < until, "{name}: {self:?} became {now:?}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// That the next good request is answered; how long it took is told, not judged.
#[track_caller]
pub(crate) fn next_good_request(gateway: &Gateway, name: &str) {
    let token = message(&[]);
    let began = Instant::now();
    let answer = gateway.post(&token);
    let took = began.elapsed();
    assert_eq!(
        (answer.status, answer.outcome()),
        (200, "accepted".into()),
        "{name}"
    );
    println!("{name}: next good request after {took:.1?}");
}
