//! Who is delivered next: order, back-off and what waits for what, as a state that is told
//! the time and touches nothing. Only `deliver` calls it, one attempt at a time.
//!
//! * Messages go in the order in which they were accepted.
//! * A message that failed is put *aside*, with its own back-off. Later messages about the
//!   same subject wait behind it; those about others go on. At most [`MAX_ASIDE`] subjects
//!   are aside: then nothing new begins.
//! * What is the receiver's own fault (it cannot be reached, it says when to come back)
//!   holds everything. So do refusals of [`SUSPECTS`] messages in a row: that is no longer
//!   the messages' doing.
//! * After a failed second attempt a message that was not tried yet goes first, so that one
//!   that makes the receiver stumble does not stop the others.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    prelude::v1::*,
    time::{Duration, Instant},
};

use super::{Parcel, Place};
use crate::UnixTime;

/// Most subjects that are aside at once.
pub(super) const MAX_ASIDE: usize = 256;
/// So many messages in a row, each at its first attempt, are not all to blame.
const SUSPECTS: u32 = 4;

/// How long to wait after a failure: doubled from `first` to `most`, and of that a part by
/// chance, so that gateways that lost the same receiver do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
    chance: RandomState,
    drawn: u64,
}

impl Pace {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            chance: RandomState::new(),
            drawn: 0,
        }
    }

    /// The wait after the `failures`th failure in a row: anything from a quarter of `first`
    /// to the doubled time.
    fn draw(&mut self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let longest = self.first.saturating_mul(1 << doublings).min(self.most);
        let least = self.first / 4;
        self.drawn = self.drawn.wrapping_add(1);
        // Millionths are chance enough.
        let part = u32::try_from(self.chance.hash_one(self.drawn) % 1_000_001).unwrap_or(0);
        least + longest.saturating_sub(least) / 1_000_000 * part
    }
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// This message is tried; [`Line::delivered`] or one of its kind says how it went.
    Try(Attempt),
    /// Nothing before then; `None`: nothing until something comes in.
    Wait(Option<Instant>),
}

/// One attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attempt {
    pub(super) parcel: Parcel,
    /// From 1, of this process.
    pub(super) number: u32,
    /// Whether the receiver may have it already.
    pub(super) redelivered: bool,
}

/// What a failure says about who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blame {
    /// The receiver as a whole; it may say for how long.
    Receiver { wait: Option<Duration> },
    /// This message, as far as one can tell.
    Message,
    /// A connection that was kept and had ended meanwhile: tried again at once.
    Connection,
}

/// A message that was begun, and those about the same subject that wait for it.
#[derive(Debug)]
struct Aside {
    parcel: Parcel,
    /// Attempts that failed.
    failed: u32,
    /// Whether one of them may have reached the receiver.
    sent: bool,
    due: Instant,
    behind: VecDeque<Parcel>,
}

/// Everything that is not delivered.
#[derive(Debug)]
pub(super) struct Line {
    /// Not begun, in their order.
    fresh: VecDeque<Parcel>,
    /// Begun; each about another subject.
    aside: Vec<Aside>,
    /// The subject that is being tried.
    trying: Option<u64>,
    /// Nothing is tried before.
    hold: Option<Instant>,
    /// Failures in a row that were the receiver's.
    strikes: u32,
    /// Messages in a row whose first attempt failed.
    suspects: u32,
    /// Whether something new goes before what has failed.
    fresh_first: bool,
    pace: Pace,
}

impl Line {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            fresh: VecDeque::new(),
            aside: Vec::new(),
            trying: None,
            hold: None,
            strikes: 0,
            suspects: 0,
            fresh_first: false,
            pace,
        }
    }

    pub(super) fn push(&mut self, parcel: Parcel) {
        let at = self
            .fresh
            .partition_point(|waiting| waiting.seq <= parcel.seq);
        self.fresh.insert(at, parcel);
    }

    /// Notes where a message is now.
    pub(super) fn moved(&mut self, seq: u64, place: Place) {
        let fresh = find(&mut self.fresh, seq);
        let parcel = fresh.or_else(|| {
            self.aside.iter_mut().find_map(|aside| {
                if aside.parcel.seq == seq {
                    Some(&mut aside.parcel)
                } else {
                    find(&mut aside.behind, seq)
                }
            })
        });
        if let Some(parcel) = parcel {
            parcel.place = place;
        }
    }

    /// How many are not delivered.
    pub(super) fn len(&self) -> usize {
        let aside = self.aside.iter().map(|aside| 1 + aside.behind.len());
        self.fresh.len() + aside.sum::<usize>()
    }

    /// When the oldest of them was accepted.
    pub(super) fn oldest(&self) -> Option<UnixTime> {
        let aside = self.aside.iter().map(|aside| aside.parcel);
        let first = self.fresh.front().copied();
        aside.chain(first).map(|parcel| parcel.accepted).min()
    }

    /// Whether something that failed waits for another attempt.
    pub(super) fn has_failed(&self) -> bool {
        self.aside.iter().any(|aside| aside.failed > 0)
    }

    /// What is to be done at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Turn {
        if let Some(hold) = self.hold.filter(|hold| *hold > now) {
            return Turn::Wait(Some(hold));
        }
        self.hold = None;
        let first = self.fresh_first.then(|| self.begin(now)).flatten();
        let index = first.or_else(|| self.due(now)).or_else(|| self.begin(now));
        let Some(aside) = index.and_then(|index| self.aside.get(index)) else {
            return Turn::Wait(self.aside.iter().map(|aside| aside.due).min());
        };
        self.trying = Some(aside.parcel.subject);
        Turn::Try(Attempt {
            parcel: aside.parcel,
            number: aside.failed.saturating_add(1),
            redelivered: aside.sent || aside.parcel.found,
        })
    }

    /// The oldest of those aside whose time has come.
    fn due(&self, now: Instant) -> Option<usize> {
        let due = self.aside.iter().enumerate();
        due.filter(|(_, aside)| aside.due <= now)
            .min_by_key(|(_, aside)| aside.parcel.seq)
            .map(|(index, _)| index)
    }

    /// Begins the first message that waits for no other.
    fn begin(&mut self, now: Instant) -> Option<usize> {
        while self.aside.len() < MAX_ASIDE {
            let parcel = self.fresh.pop_front()?;
            let same = |aside: &&mut Aside| aside.parcel.subject == parcel.subject;
            if let Some(aside) = self.aside.iter_mut().find(same) {
                aside.behind.push_back(parcel);
                continue;
            }
            self.fresh_first = false;
            self.aside.push(Aside {
                parcel,
                failed: 0,
                sent: false,
                due: now,
                behind: VecDeque::new(),
            });
            return self.aside.len().checked_sub(1);
        }
        None
    }

    fn tried(&mut self) -> Option<usize> {
        let subject = self.trying?;
        let same = |aside: &Aside| aside.parcel.subject == subject;
        self.aside.iter().position(same)
    }

    /// The message that is being tried, as it is known now.
    pub(super) fn in_hand(&mut self) -> Option<Parcel> {
        let index = self.tried()?;
        self.aside.get(index).map(|aside| aside.parcel)
    }

    /// What was tried is over, at `now`; gives it. The next about its subject takes its place.
    pub(super) fn over(&mut self, now: Instant) -> Option<Parcel> {
        let index = self.tried()?;
        self.trying = None;
        self.end(index, now)
    }

    /// Takes away what stands at `index`, of which something new may go on.
    fn end(&mut self, index: usize, now: Instant) -> Option<Parcel> {
        let aside = self.aside.get_mut(index)?;
        let ended = aside.parcel;
        match aside.behind.pop_front() {
            Some(next) => {
                aside.parcel = next;
                (aside.failed, aside.sent, aside.due) = (0, false, now);
            }
            None => drop(self.aside.swap_remove(index)),
        }
        Some(ended)
    }

    /// The receiver answered as it should.
    pub(super) fn well(&mut self) {
        (self.strikes, self.suspects, self.hold) = (0, 0, None);
    }

    /// What was tried did not get through: `sent` where the receiver may have it all the
    /// same.
    pub(super) fn failed(&mut self, blame: Blame, sent: bool, now: Instant) {
        let Some(index) = self.tried() else { return };
        self.trying = None;
        let Some(aside) = self.aside.get_mut(index) else {
            return;
        };
        aside.failed = aside.failed.saturating_add(1);
        aside.sent |= sent;
        let failed = aside.failed;
        let mut holds = None;
        match blame {
            Blame::Connection => {
                aside.due = now;
                return;
            }
            Blame::Receiver { wait } => {
                self.strikes = self.strikes.saturating_add(1);
                let drawn = self.pace.draw(self.strikes);
                holds = Some(wait.map_or(drawn, |wait| wait.max(drawn)));
            }
            Blame::Message => {
                self.strikes = 0;
                if failed == 1 {
                    self.suspects = self.suspects.saturating_add(1);
                }
                if let Some(over @ 0..) = self.suspects.checked_sub(SUSPECTS) {
                    holds = Some(self.pace.draw(over + 1));
                    // Until one gets through, it goes on like this whoever fails.
                    self.suspects = self.suspects.saturating_add(1);
                }
            }
        }
        self.hold = holds.map(|wait| now + wait);
        // Where nothing was sent it says nothing about the message: it stays the first.
        aside.due = match self.hold {
            Some(hold) if !sent => hold,
            hold => (now + self.pace.draw(failed)).max(hold.unwrap_or(now)),
        };
        self.fresh_first = sent && failed > 1;
    }

    /// It was never tried, for a reason of the gateway's own: everything waits a while.
    pub(super) fn not_now(&mut self, failures: u32, now: Instant) {
        if let Some(index) = self.tried()
            && let Some(aside) = self.aside.get_mut(index)
        {
            aside.due = now;
        }
        self.trying = None;
        self.hold = Some(now + self.pace.draw(failures));
    }

    /// Takes out every message that is not worth delivering any more.
    pub(super) fn give_up(
        &mut self,
        now: Instant,
        is_past: impl Fn(&Parcel) -> bool,
    ) -> Vec<Parcel> {
        let mut past = Vec::new();
        let mut keep = |parcel: &Parcel| {
            let stays = !is_past(parcel);
            if !stays {
                past.push(*parcel);
            }
            stays
        };
        self.fresh.retain(&mut keep);
        for aside in &mut self.aside {
            aside.behind.retain(&mut keep);
        }
        for index in (0..self.aside.len()).rev() {
            if self
                .aside
                .get(index)
                .is_some_and(|aside| is_past(&aside.parcel))
            {
                past.extend(self.end(index, now));
            }
        }
        past
    }
}

/// The message of that number, among messages in their order.
fn find(parcels: &mut VecDeque<Parcel>, seq: u64) -> Option<&mut Parcel> {
    let at = parcels
        .binary_search_by_key(&seq, |parcel| parcel.seq)
        .ok()?;
    parcels.get_mut(at)
}

#[cfg(test)]
mod tests;
