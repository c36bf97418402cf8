//! Delivery: a queue of kept messages, and the one thread that takes them to the site's own
//! system, in order, until each is delivered, refused for good, or too old.
//!
//! At least once: a message leaves the queue when the receiver has answered for it, and what
//! is not known to have failed before anything was sent is marked when it is sent again.
//! Exactly once where no connection and no process breaks in between.
//!
//! The queue holds places, not messages: those are with the [`Outbox`] (the journal), which
//! also remembers how each ended. Whoever pushes never waits for the network; the lock is
//! held for bookkeeping alone. Who is next is decided by [`line`], what is sent is made by
//! [`note`], and it is sent by `sink`. Nothing of a message is logged but its `jti`.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    clock::{self, Clock, Steadiness},
    health::Trouble,
    log::{quoted, raw},
    meter::{Counter, Latest},
    sink::{Answered, Fault, Phase, Sink},
};
use crate::UnixTime;

mod line;
mod note;

pub(crate) use line::Pace;

use line::{Attempt, Blame, Line, Turn};
use note::Note;

/// From one second to one minute.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often messages that are too old are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a connection is kept with nothing to send. Shorter than servers keep theirs,
/// so that the end of one seldom crosses with a message.
const KEEP: Duration = Duration::from_secs(4);
/// Like a slot's: a TLS handshake needs the room, and only what is touched is memory.
const STACK: usize = 256 * 1024;

/// Where a message is; only the outbox knows what that means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// A kept message that is not delivered: where it is, and what decides its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) place: Place,
    /// Order of acceptance.
    pub(crate) seq: u64,
    /// What it is about: of the same subject none overtakes another. A message without one
    /// has a number of its own.
    pub(crate) subject: u64,
    pub(crate) accepted: UnixTime,
    pub(crate) exp: UnixTime,
    /// Found at a start: an earlier process may have delivered it.
    pub(crate) found: bool,
}

/// How a message left the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    /// The receiver has it.
    Delivered,
    /// The receiver will never take it.
    Refused,
    /// It was never delivered, and is now too old.
    Expired,
    /// It cannot be read back.
    Lost,
}

/// What keeps messages until they are settled.
pub(crate) trait Outbox: Send + Sync {
    /// Reads a kept message into `letter`, whose memory is used again.
    ///
    /// # Errors
    /// Why it cannot be had: for good, or now. What is lost is given up, and settled
    /// as that.
    fn read(&self, parcel: &Parcel, letter: &mut Letter) -> Result<(), Unreadable>;

    /// Notes how it ended, durable soon and not before this returns: a crash in between
    /// delivers it again, marked. Its number names it: it can have been moved just now.
    fn settle(&self, parcel: &Parcel, how: Settled);
}

/// Why a kept message cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// Gone or damaged.
    Lost,
    /// The disk does not give it: one bad block, behind which others are good.
    Stuck,
    /// Nothing can be read at present.
    Unavailable,
}

/// A message as it was kept.
#[derive(Debug, Default)]
pub(crate) struct Letter {
    pub(crate) token: Vec<u8>,
}

/// How messages and attempts ended, since the start. An attempt that failed is counted by
/// its phase, and so is the next one.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    delivered: Counter,
    refused: Counter,
    expired: Counter,
    lost: Counter,
    failed: [Counter; Phase::ALL.len()],
}

impl Outcomes {
    /// Messages by how they ended.
    pub(crate) fn ended(&self) -> [(&'static str, u64); 4] {
        [
            ("delivered", &self.delivered),
            ("refused", &self.refused),
            ("expired", &self.expired),
            ("lost", &self.lost),
        ]
        .map(|(name, counter)| (name, counter.get()))
    }

    /// Attempts that failed, by their phase.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.failed.iter().map(Counter::get);
        Phase::ALL.iter().map(|phase| phase.as_str()).zip(counts)
    }

    fn count(&self, failed: Phase) {
        let at = Phase::ALL.iter().position(|phase| *phase == failed);
        if let Some(counter) = at.and_then(|at| self.failed.get(at)) {
            counter.add();
        }
    }
}

/// What is behind the lock.
#[derive(Debug)]
struct State {
    line: Line,
    stopping: bool,
    /// No thread delivers any more.
    ended: bool,
}

/// Messages that wait to be delivered, and what is known about delivery. It is there, and
/// empty, where nothing is delivered.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) outcomes: Outcomes,
    /// When something was delivered last.
    pub(crate) last: Latest,
    /// Told by the readiness path: delivery fails.
    pub(crate) trouble: Arc<Trouble>,
    /// In which phase it failed last.
    phase: Mutex<Option<Phase>>,
}

impl Default for Queue {
    fn default() -> Self {
        Self::with(Pace::new(FIRST_WAIT, LONGEST_WAIT))
    }
}

impl Queue {
    fn with(pace: Pace) -> Self {
        Self {
            state: Mutex::new(State {
                line: Line::new(pace),
                stopping: false,
                ended: true,
            }),
            changed: Condvar::new(),
            outcomes: Outcomes::default(),
            last: Latest::new(),
            trouble: Arc::default(),
            phase: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message that was made durable.
    pub(crate) fn push(&self, parcel: Parcel) {
        self.lock().line.push(parcel);
        self.changed.notify_all();
    }

    /// Notes where a message is now. To be called before its old place ceases to be: a
    /// message that is not found in a place is looked for in a newer one, once.
    pub(crate) fn moved(&self, seq: u64, place: Place) {
        self.lock().line.moved(seq, place);
    }

    /// Counts a message that was given up before it came here.
    pub(crate) fn note_expired(&self) {
        self.outcomes.expired.add();
    }

    /// In which phase delivery fails at present.
    pub(crate) fn failing(&self) -> Option<&'static str> {
        self.trouble.get()?;
        let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        phase.map(Phase::as_str)
    }

    /// How many messages are not delivered, and when the oldest of them was accepted.
    pub(crate) fn waiting(&self) -> (usize, Option<UnixTime>) {
        let state = self.lock();
        (state.line.len(), state.line.oldest())
    }
}

/// Running deliveries. Dropped, they end after the attempt that is under way.
pub(crate) struct Running(Arc<Queue>);

impl Running {
    /// Asks for the end and waits for it, `limit` at most; whether it came. What is not
    /// delivered by then is with the outbox.
    pub(crate) fn stop(self, limit: Duration) -> bool {
        let mut state = self.0.lock();
        state.stopping = true;
        self.0.changed.notify_all();
        let wait = self
            .0
            .changed
            .wait_timeout_while(state, limit, |state| !state.ended);
        (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().stopping = true;
        self.0.changed.notify_all();
    }
}

/// Starts delivering what is in `queue` and what will be. A message that is not delivered
/// `keep_secs` after its `exp` is given up.
///
/// # Errors
/// The system's, where it refuses the thread.
pub(crate) fn start(
    queue: &Arc<Queue>,
    outbox: Arc<dyn Outbox>,
    sink: Box<dyn Sink>,
    keep_secs: u32,
    clock: Clock,
) -> io::Result<Running> {
    let courier = Courier {
        queue: Arc::clone(queue),
        outbox,
        sink,
        keep_secs,
        clock,
        note: Note::new(),
        letter: Letter::default(),
        told: Vec::new(),
        failing: false,
        hitches: 0,
        swept: None,
        steadiness: Steadiness::default(),
        warm: None,
    };
    queue.lock().ended = false;
    let started = thread::Builder::new()
        .name("deliver".to_owned())
        .stack_size(STACK)
        .spawn(move || courier.run());
    if let Err(error) = started {
        queue.lock().ended = true;
        return Err(error);
    }
    Ok(Running(Arc::clone(queue)))
}

/// The thread that delivers.
struct Courier {
    queue: Arc<Queue>,
    outbox: Arc<dyn Outbox>,
    sink: Box<dyn Sink>,
    keep_secs: u32,
    clock: Clock,
    note: Note,
    letter: Letter,
    /// Faults that were told since all was well.
    told: Vec<(Phase, Option<u16>)>,
    failing: bool,
    /// Times in a row that the gateway itself could not go on.
    hitches: u32,
    swept: Option<Instant>,
    steadiness: Steadiness,
    /// Until when the sink may keep its connection.
    warm: Option<Instant>,
}

impl Courier {
    fn run(mut self) {
        loop {
            let turn = panic::catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn {
                Ok(true) => {}
                Ok(false) => break,
                // Told and counted by its hook. What was in hand may have been sent, and
                // may be the reason; where it was not, nothing turns without a pause.
                Err(_) => {
                    let now = Instant::now();
                    let mut state = self.queue.lock();
                    state.line.failed(Blame::Message, true, now);
                    state.line.not_now(1, now);
                }
            }
        }
        self.queue.lock().ended = true;
        self.queue.changed.notify_all();
    }

    /// Waits for something to do and does it; whether to go on.
    fn turn(&mut self) -> bool {
        let now = Instant::now();
        if self.swept.is_none_or(|swept| swept + SWEEP <= now) {
            self.swept = Some(now);
            self.give_up(now);
        }
        if self.warm.is_some_and(|warm| warm <= now) {
            self.warm = None;
            self.sink.rest();
        }
        let mut state = self.queue.lock();
        if state.stopping {
            return false;
        }
        match state.line.next(now) {
            Turn::Try(attempt) => {
                drop(state);
                self.attempt(attempt);
            }
            Turn::Wait(until) => {
                let sweep = (state.line.len() > 0).then(|| now + SWEEP);
                let until = [until, sweep, self.warm].into_iter().flatten().min();
                let changed = &self.queue.changed;
                match until {
                    Some(until) => {
                        let limit = until.saturating_duration_since(now);
                        drop(changed.wait_timeout(state, limit));
                    }
                    None => drop(changed.wait(state)),
                }
            }
        }
        true
    }

    /// Gives up what is too old, where there is a time to judge that by: a clock that jumped
    /// is believed when it has gone on for as long as a message is kept.
    fn give_up(&mut self, now: Instant) {
        let time = (self.clock)();
        let jumped = self.steadiness.look(time, now);
        let keep = Duration::from_secs(u64::from(self.keep_secs));
        if !clock::plausible(time) || jumped.is_some_and(|ago| ago < keep) {
            return;
        }
        let is_past = |parcel: &Parcel| parcel.exp.plus(self.keep_secs) <= time;
        let past = self.queue.lock().line.give_up(now, is_past);
        // One line, however many a long outage has cost.
        if let Some(first) = past.iter().min_by_key(|parcel| parcel.seq) {
            log::error!(
                "given up: {} expired and never delivered, the first of them message {} of the \
                 journal, accepted at {}",
                past.len(),
                first.seq,
                first.accepted
            );
        }
        for parcel in past {
            self.queue.outcomes.expired.add();
            self.outbox.settle(&parcel, Settled::Expired);
        }
    }

    fn attempt(&mut self, attempt: Attempt) {
        let parcel = match self.read(attempt.parcel) {
            Ok(parcel) => parcel,
            Err(Unreadable::Unavailable) => {
                if self.hitches == 0 {
                    log::warn!("the journal cannot be read: delivery waits");
                }
                return self.hitch();
            }
            Err(Unreadable::Stuck) => return self.stuck(&attempt),
            Err(Unreadable::Lost) => {
                log::error!(
                    "lost: message {} of the journal cannot be read, and is not delivered",
                    attempt.parcel.seq
                );
                self.queue.outcomes.lost.add();
                return self.settle(Settled::Lost);
            }
        };
        self.hitches = 0;
        let attempt = Attempt { parcel, ..attempt };
        let filled = self.note.fill(&self.letter.token, &attempt);
        if filled.is_err() {
            log::error!(
                "lost: message {} of the journal is no message, and is not delivered",
                parcel.seq
            );
            self.queue.outcomes.lost.add();
            return self.settle(Settled::Lost);
        }
        let answered = self.sink.deliver(&self.note.delivery(attempt.redelivered));
        self.warm = Some(Instant::now() + KEEP);
        match answered {
            Ok(Answered::Taken) => {
                self.queue.outcomes.delivered.add();
                self.queue.last.note();
                log::debug!("delivered jti={}", quoted(self.note.jti()));
                self.settle(Settled::Delivered);
                self.well();
            }
            Ok(Answered::Refused(status)) => {
                self.queue.outcomes.refused.add();
                log::error!(
                    "the receiver refused a message with status {status}, for good: jti={}",
                    quoted(self.note.jti())
                );
                self.settle(Settled::Refused);
                self.well();
            }
            Err(fault) => self.failed(&fault),
        }
    }

    /// Reads a message, which can be moved at that moment; gives where it was found.
    fn read(&mut self, mut parcel: Parcel) -> Result<Parcel, Unreadable> {
        loop {
            self.letter.token.clear();
            match self.outbox.read(&parcel, &mut self.letter) {
                Ok(()) => return Ok(parcel),
                Err(Unreadable::Lost) => {}
                Err(other) => return Err(other),
            }
            match self.queue.lock().line.in_hand() {
                Some(newest) if newest.place != parcel.place => parcel = newest,
                _ => return Err(Unreadable::Lost),
            }
        }
    }

    /// What was tried is over.
    fn settle(&self, how: Settled) {
        let over = self.queue.lock().line.over(Instant::now());
        if let Some(parcel) = over {
            self.outbox.settle(&parcel, how);
        }
    }

    /// The receiver does what it should.
    fn well(&mut self) {
        let mut state = self.queue.lock();
        state.line.well();
        let (still, waiting) = (state.line.has_failed(), state.line.len());
        drop(state);
        if self.failing && !still {
            self.failing = false;
            self.told.clear();
            self.tell(false);
            log::info!("{} takes messages again: {waiting} wait", self.sink.name());
        }
    }

    fn failed(&mut self, fault: &Fault) {
        self.queue.outcomes.count(fault.phase);
        let phase = self.queue.phase.lock();
        *phase.unwrap_or_else(PoisonError::into_inner) = Some(fault.phase);
        let blame = match fault.status {
            _ if fault.stale => Blame::Connection,
            Some(_) if fault.retry_after.is_none() => Blame::Message,
            Some(_) | None => Blame::Receiver {
                wait: fault.retry_after,
            },
        };
        let mut state = self.queue.lock();
        state.line.failed(blame, fault.sent, Instant::now());
        let waiting = state.line.len();
        drop(state);
        if fault.stale {
            log::debug!(
                "a connection that was kept had ended: {}",
                raw(&fault.detail)
            );
            return;
        }
        let kind = (fault.phase, fault.status);
        if !self.told.contains(&kind) {
            self.told.push(kind);
            log::warn!(
                "cannot deliver to {}: {}: {}; {waiting} wait",
                self.sink.name(),
                fault.phase.as_str(),
                raw(&fault.detail)
            );
        }
        self.failing = true;
        self.tell(true);
    }

    fn tell(&self, failing: bool) {
        let code = failing.then_some("delivery_failing");
        self.queue.trouble.set(code, (self.clock)(), Instant::now());
    }

    /// The disk does not give this message: it waits, and those about others go on.
    fn stuck(&mut self, attempt: &Attempt) {
        if attempt.number == 1 {
            log::error!(
                "message {} of the journal cannot be read now, and is tried again: the disk \
                 reports an error",
                attempt.parcel.seq
            );
        }
        self.hitches = 0;
        let mut state = self.queue.lock();
        state.line.failed(Blame::Message, false, Instant::now());
        drop(state);
        self.failing = true;
        self.tell(true);
    }

    /// Something of our own is in the way: everything waits.
    fn hitch(&mut self) {
        self.hitches = self.hitches.saturating_add(1);
        self.queue.lock().line.not_now(self.hitches, Instant::now());
    }
}

#[cfg(test)]
mod tests;
