//! The thread that writes the journal. It alone waits for the disk; everybody else waits
//! for it, as long as they like.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    prelude::v1::*,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    FULL, Inbox, Order, Shared, UNAVAILABLE, What,
    record::{Fate, MAX_RECORD},
    segments::{Done, Fault, Kept, Segments, Wish},
};
use crate::{
    UnixTime,
    daemon::{
        clock::{self, Clock},
        deliver::{Parcel, Queue},
        files::folder::Disk,
    },
};

/// From one look at what may go to the next; notes that could not be written are tried as
/// often.
const PERIOD: Duration = Duration::from_secs(60);
/// What a busy moment's tokens may leave behind in memory.
const USUAL: usize = 16 * MAX_RECORD;

pub(super) struct Keeper<D: Disk> {
    segments: Segments<D>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    clock: Clock,
    inbox: Inbox,
    results: Vec<Result<Done, Fault>>,
    looked: Option<Instant>,
}

/// Starts the thread.
pub(super) fn start<D: Disk>(
    segments: Segments<D>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    clock: Clock,
) -> io::Result<()> {
    let keeper = Keeper {
        segments,
        shared,
        queue,
        clock,
        inbox: Inbox::default(),
        results: Vec::new(),
        looked: None,
    };
    keeper.queue_what_was_found();
    keeper.shared.gauges.set(&keeper.segments);
    thread::Builder::new()
        .name("journal".to_owned())
        .stack_size(192 * 1024)
        .spawn(move || keeper.run())?;
    Ok(())
}

impl<D: Disk> Keeper<D> {
    fn queue_what_was_found(&self) {
        if !self.shared.delivers {
            return;
        }
        for (seq, kept) in self.segments.entries() {
            if kept.fate == Fate::Waiting {
                self.queue.push(parcel(*seq, kept, true));
            }
        }
    }

    fn run(mut self) {
        while self.take() {
            // Whatever happens, those who wait are answered, and the next are served.
            let done = catch_unwind(AssertUnwindSafe(|| self.work()));
            if done.is_err() {
                self.segments.seal();
                self.results.clear();
            }
            self.answer();
        }
        let mut desk = self.shared.lock();
        desk.stopped = true;
        drop(desk);
        self.shared.done.notify_all();
    }

    /// Waits for something to do; `false` where that is to end.
    fn take(&mut self) -> bool {
        let mut desk = self.shared.lock();
        while desk.inbox.is_empty() && !desk.stop {
            let due = self.looked.map_or(Duration::ZERO, |looked| {
                PERIOD.saturating_sub(looked.elapsed())
            });
            if due.is_zero() {
                break;
            }
            (desk, _) = self
                .shared
                .work
                .wait_timeout(desk, due)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let go_on = !desk.inbox.is_empty() || !desk.stop;
        core::mem::swap(&mut desk.inbox.orders, &mut self.inbox.orders);
        core::mem::swap(&mut desk.inbox.tokens, &mut self.inbox.tokens);
        self.inbox.notes.append(&mut desk.inbox.notes);
        go_on
    }

    fn work(&mut self) {
        let time = ((self.clock)(), Instant::now());
        if self
            .looked
            .is_none_or(|looked| time.1.saturating_duration_since(looked) >= PERIOD)
        {
            self.looked = Some(time.1);
            self.reclaim(time);
        }
        if self.inbox.is_empty() {
            return;
        }
        let coming = self.inbox.tokens.len() + self.inbox.orders.len() * MAX_RECORD / 8;
        if self.segments.is_tight(coming) {
            self.reclaim(time);
        }
        let Inbox {
            orders,
            tokens,
            notes,
        } = &mut self.inbox;
        let wishes = orders.iter().map(|order| {
            let (start, end) = order.token;
            let entry = order.entry.with(tokens.get(start..end).unwrap_or_default());
            match order.what {
                What::Keep => Wish::Keep(entry),
                What::Extend => Wish::Extend(entry),
                What::Probe => Wish::Probe,
            }
        });
        let committed = self.segments.commit(wishes, notes, time, &mut self.results);
        self.shared.gauges.commits.add(time.1.elapsed());
        self.shared.gauges.set(&self.segments);
        let full = self.results.contains(&Err(Fault::Full));
        match committed {
            Ok(()) => {
                self.shared.gauges.last.note();
                // A probe fits where a message does not.
                let still = self
                    .shared
                    .trouble
                    .get()
                    .is_some_and(|told| told.code == FULL)
                    && self.segments.is_tight(MAX_RECORD);
                self.tell((full || still).then_some((FULL, None)), time);
            }
            Err(error) => {
                self.shared.gauges.failures.add();
                let code = if full { FULL } else { UNAVAILABLE };
                self.tell(Some((code, Some(error))), time);
            }
        }
        for (order, result) in self.inbox.orders.iter_mut().zip(&self.results) {
            if let Ok(Done::Kept(seq, kept)) = result
                && let Some(held) = order.held.take()
            {
                held.commit();
                if kept.fate == Fate::Waiting {
                    self.queue.push(parcel(*seq, kept, false));
                }
            }
        }
    }

    /// Tells those who wait what became of what they handed in.
    fn answer(&mut self) {
        let mut results = self.results.drain(..);
        let mut desk = self.shared.lock();
        for Order { number, .. } in self.inbox.orders.drain(..) {
            // Where there is none, it is not known: somebody panicked.
            let result = results.next().unwrap_or(Err(Fault::Unavailable));
            match desk.left.iter().position(|left| *left == number) {
                Some(at) => {
                    desk.left.swap_remove(at);
                    if result.is_ok() {
                        log::warn!("journal: something was kept too late for its answer");
                    }
                }
                None => desk.results.push((number, result.map(|_done| ()))),
            }
        }
        drop(desk);
        self.shared.done.notify_all();
        self.inbox.tokens.clear();
        self.inbox.tokens.shrink_to(USUAL);
    }

    /// Lets go what may go. Nothing may by a clock that is not set.
    fn reclaim(&mut self, time: (UnixTime, Instant)) {
        let newest = self.segments.state().newest;
        let leeway = self.segments.bounds().leeway_secs;
        if !clock::plausible(time.0) || time.0.plus(leeway) < newest {
            return;
        }
        let queue = &self.queue;
        let moved = &mut |seq, place| queue.moved(seq, place);
        let reclaimed = self.segments.reclaim(time, moved);
        self.shared.gauges.set(&self.segments);
        if let Err(error) = reclaimed {
            log::warn!("journal: what has expired cannot be removed yet: {error}");
        }
    }

    /// Notes whether messages can be kept, and tells when that changes.
    fn tell(&self, now: Option<(&'static str, Option<io::Error>)>, time: (UnixTime, Instant)) {
        let trouble = &self.shared.trouble;
        let before = trouble.get().map(|trouble| trouble.code);
        match now {
            Some((code, reason)) => {
                if before != Some(code) {
                    match reason {
                        Some(error) => {
                            log::error!("journal: {code}: messages cannot be kept: {error}");
                        }
                        None => log::error!(
                            "journal: {code}: no room below GATEWAY_JOURNAL_MAX_MB until messages \
                             were delivered and have expired"
                        ),
                    }
                }
                trouble.set(Some(code), time.0, time.1);
            }
            None => {
                if before.is_some() {
                    log::info!("journal: messages are kept again");
                }
                trouble.set(None, time.0, time.1);
            }
        }
    }
}

/// An entry as deliveries know it.
fn parcel(seq: u64, kept: &Kept, found: bool) -> Parcel {
    Parcel {
        place: kept.place,
        seq,
        // What says nothing of the kind is about itself.
        subject: match kept.subject {
            0 => !seq,
            subject => subject,
        },
        accepted: kept.accepted,
        exp: kept.exp,
        found,
    }
}
