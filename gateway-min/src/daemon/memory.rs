//! The memory of what was accepted, shared by those who judge and those who keep: the
//! core's [`Replay`] behind a lock, and the wait for a copy's fate.

use std::{
    prelude::v1::*,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

#[cfg(feature = "journal")]
use crate::verify::{ContentDigest, MessageId};
use crate::{Reject, Replay, Reservation, Slot, Ticket, UnixTime, Verified, slots_for};

/// What the memory knows of a message.
pub(crate) enum Standing {
    /// Not seen before.
    New(Held),
    /// The same content was accepted before.
    Duplicate {
        /// Whether this copy lives longer than what was kept.
        longer: bool,
    },
}

/// Whoever makes acceptances last longer than the process.
pub(crate) trait Keep: Send + Sync {
    /// Keeps a message that is accepted at `now`: returns when it is durable and its
    /// reservation committed.
    ///
    /// # Errors
    /// Why it could not be kept; where it took longer than `until`, it may have been.
    fn keep(
        &self,
        message: &Verified<'_>,
        held: Held,
        now: UnixTime,
        until: Instant,
    ) -> Result<(), Reject>;

    /// Keeps that a message which was accepted before lives longer.
    ///
    /// # Errors
    /// As [`Self::keep`].
    fn extend(&self, message: &Verified<'_>, now: UnixTime, until: Instant) -> Result<(), Reject>;

    /// How deliveries go; `None` where nothing is delivered from here.
    fn deliveries(&self) -> Option<Deliveries>;
}

/// How deliveries go, for whoever tests the whole way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deliveries {
    /// How many messages wait.
    pub(crate) waiting: usize,
    /// The phase that fails at present.
    pub(crate) failing: Option<&'static str>,
}

/// See the module's documentation.
pub(crate) struct Memory {
    replay: Mutex<Replay<Vec<Slot>>>,
    /// A reservation was committed or released.
    settled: Condvar,
    /// How many wait for that; changed under the lock. Waking nobody is a system call that
    /// every message would pay for.
    waiting: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            replay: Mutex::new(Replay::new(vec![Slot::EMPTY; slots_for(capacity)])),
            settled: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Asks for a message to be accepted at `now`; waits for the fate of a copy, until
    /// `wait_until` at most.
    ///
    /// # Errors
    /// The core's, and [`Reject::InProgress`] where the wait was too short.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        message: &Verified<'_>,
        now: UnixTime,
        leeway_secs: u32,
        wait_until: Instant,
    ) -> Result<Standing, Reject> {
        let mut replay = self.lock();
        loop {
            match replay.reserve(message, now, leeway_secs)? {
                Reservation::New(ticket) => {
                    return Ok(Standing::New(Held {
                        memory: Arc::clone(self),
                        ticket: Some(ticket),
                    }));
                }
                Reservation::Duplicate { longer } => {
                    return Ok(Standing::Duplicate { longer });
                }
                Reservation::Busy => {
                    let left = wait_until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Reject::InProgress);
                    }
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    (replay, _) = self
                        .settled
                        .wait_timeout(replay, left)
                        .unwrap_or_else(PoisonError::into_inner);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Notes that a copy's longer life was kept.
    pub(crate) fn extended(&self, message: &Verified<'_>) {
        self.lock().extended(message);
    }

    /// Remembers what was accepted before this start.
    #[cfg(feature = "journal")]
    pub(crate) fn restore(
        &self,
        floor: UnixTime,
        messages: impl Iterator<Item = (MessageId, ContentDigest, UnixTime)>,
    ) {
        self.lock().restore(floor, messages);
    }

    /// How many messages are remembered, and how many can be.
    pub(crate) fn size(&self) -> (usize, usize) {
        let replay = self.lock();
        (replay.held(), replay.capacity())
    }

    fn lock(&self) -> MutexGuard<'_, Replay<Vec<Slot>>> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, settle: impl FnOnce(&mut Replay<Vec<Slot>>)) {
        settle(&mut self.lock());
        if self.is_awaited() {
            self.settled.notify_all();
        }
    }

    /// Whether somebody waits for the fate of a copy.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// A reservation in hand: released when it is dropped without having been committed.
pub(crate) struct Held {
    memory: Arc<Memory>,
    ticket: Option<Ticket>,
}

impl Held {
    /// The message was kept: from now on its copies are duplicates.
    pub(crate) fn commit(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.memory.settle(|replay| replay.commit(ticket));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.memory.settle(|replay| replay.release(ticket));
        }
    }
}
