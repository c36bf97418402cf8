//! Traffic: good, repeated, forged and late messages in an order that is always the same,
//! so that each count is known before.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{Client, PATIENCE, message::Message};

/// Answers by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken for the first time.
    pub accepted: u32,
    /// Taken before.
    pub duplicate: u32,
    /// Whose signature does not hold.
    pub forged: u32,
    /// Which came too late.
    pub expired: u32,
    /// Health checks.
    pub healthy: u32,
    /// Everything else, which there must not be.
    pub other: u32,
}

/// Of so many requests one is a new message, fourteen repeat one, five are forged, three
/// are late and two ask for the gateway's health.
const ROUND: u32 = 25;

impl Counts {
    fn of_rounds(rounds: u32) -> Self {
        Self {
            accepted: rounds,
            duplicate: 14 * rounds,
            forged: 5 * rounds,
            expired: 3 * rounds,
            healthy: 2 * rounds,
            other: 0,
        }
    }

    fn add(&mut self, said: (u16, &str)) {
        let count = match said {
            (200, "accepted") => &mut self.accepted,
            (200, "duplicate") => &mut self.duplicate,
            (401, "bad_signature") => &mut self.forged,
            (403, "expired") => &mut self.expired,
            (200, "nothing") => &mut self.healthy,
            _ => &mut self.other,
        };
        *count += 1;
    }

    fn sum(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            duplicate: self.duplicate + other.duplicate,
            forged: self.forged + other.forged,
            expired: self.expired + other.expired,
            healthy: self.healthy + other.healthy,
            other: self.other + other.other,
        }
    }
}

/// Sends `requests` (a multiple of 100) over four kept connections, and checks that each
/// was answered as it should be: how long it took. `name` keeps apart the messages of
/// several calls.
pub fn load(address: SocketAddr, name: &str, requests: u32) -> Duration {
    const CONNECTIONS: u32 = 4;
    let rounds = requests / ROUND / CONNECTIONS;
    assert_eq!(rounds * ROUND * CONNECTIONS, requests);
    let began = Instant::now();
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let name = format!("{name}-{connection}");
                scope.spawn(move || rounds_of(address, &name, rounds))
            })
            .collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold(Counts::default(), Counts::sum)
    });
    assert_eq!(counts, Counts::of_rounds(rounds * CONNECTIONS));
    began.elapsed()
}

fn rounds_of(address: SocketAddr, name: &str, rounds: u32) -> Counts {
    let mut client = Client::new(address).unwrap();
    let mut counts = Counts::default();
    let forged = Message::new("forged").forged();
    let late = Message::ended("late").sign();
    for round in 0..rounds {
        let new = Message::new(&format!("{name}-{round}")).sign();
        for place in 0..ROUND {
            let answer = match place {
                0..15 => client.post(&new),
                15..20 => client.post(&forged),
                20..23 => client.post(&late),
                _ => client.get("/healthcheck/live"),
            };
            let (status, said) = answer.unwrap().said();
            counts.add((status, &said));
        }
    }
    counts
}

/// Opens as many connections as there are slots, sends the longest message over each in the
/// longest body, and waits until all are there at once. One more asks for the metrics
/// meanwhile, always the same: their page takes memory in each slot that makes it.
pub fn fill_every_slot(address: SocketAddr, slots: u32) {
    let deadline = Instant::now() + PATIENCE;
    let busy = format!("gateway_slots_busy {slots}");
    let mut reader = Client::new(address).unwrap();
    let mut opened = Vec::new();
    for number in 0_u32.. {
        let mut client = Client::new(address).unwrap();
        let jti = format!("slot-{number}");
        let message = Message {
            padding: 4600,
            ..Message::new(&jti)
        };
        let answer = client.post_longest(&message.sign()).unwrap();
        assert_eq!(answer.said(), (200, "accepted".to_owned()), "{answer:?}");
        opened.push(client);
        if number + 1 < slots {
            continue;
        }
        // It may have been idle for too long while the slots filled.
        let page = reader.get("/metrics").or_else(|_| {
            reader = Client::new(address)?;
            reader.get("/metrics")
        });
        let page = page.unwrap();
        if page.body.lines().any(|line| line == busy) {
            return;
        }
        // The gateway's probe takes a slot for a moment, and the longest idle goes for it.
        assert!(Instant::now() < deadline, "never all busy:\n{}", page.body);
    }
}
