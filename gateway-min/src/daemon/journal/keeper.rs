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
        clock::{self, Clock, Steadiness},
        deliver::{Parcel, Queue},
        files::folder::Disk,
    },
};

/// From one look at what may go to the next; notes that could not be written are tried as
/// often.
const PERIOD: Duration = Duration::from_secs(60);
/// How long the clock has to go on as it was at the start before what it says is too old is
/// given up: it may be ahead until somebody sets it.
const SETTLED: Duration = Duration::from_secs(60 * 60);
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
    /// Found at the start, and too old to be delivered by the clock of that time.
    late: Vec<u64>,
    steadiness: Steadiness,
    born: Instant,
}

/// Starts the thread.
pub(super) fn start<D: Disk>(
    segments: Segments<D>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    clock: Clock,
) -> io::Result<()> {
    let mut keeper = Keeper::new(segments, shared, queue, clock);
    keeper.queue_what_was_found();
    keeper.shared.lock().home = keeper.segments.home();
    keeper.shared.gauges.set(&keeper.segments);
    thread::Builder::new()
        .name("journal".to_owned())
        .stack_size(192 * 1024)
        .spawn(move || keeper.run())?;
    Ok(())
}

impl<D: Disk> Keeper<D> {
    fn new(segments: Segments<D>, shared: Arc<Shared>, queue: Arc<Queue>, clock: Clock) -> Self {
        Self {
            segments,
            shared,
            queue,
            clock,
            inbox: Inbox::default(),
            results: Vec::new(),
            looked: None,
            late: Vec::new(),
            steadiness: Steadiness::default(),
            born: Instant::now(),
        }
    }

    fn queue_what_was_found(&mut self) {
        if !self.shared.delivers {
            return;
        }
        let time = (self.clock)();
        for (seq, kept) in self.segments.entries() {
            if kept.fate == Fate::Waiting {
                if clock::plausible(time) && kept.is_past(self.segments.bounds(), time) {
                    self.late.push(*seq);
                } else {
                    self.queue.push(parcel(*seq, kept, true));
                }
            }
        }
        if !self.late.is_empty() {
            log::warn!(
                "journal: {} were to be delivered long ago: they wait for {SETTLED:?}, in case it \
                 is the clock",
                self.late.len()
            );
        }
    }

    /// Sees to what was too old at the start: it is delivered after all where the clock was
    /// ahead then, and given up where it has gone on steadily since.
    fn see_to_the_late(&mut self, time: (UnixTime, Instant)) {
        let jumped = self.steadiness.look(time.0, time.1);
        let since = time.1.saturating_duration_since(self.born);
        let steady = jumped.unwrap_or(since).min(since) >= SETTLED && clock::plausible(time.0);
        let mut given_up = 0;
        for seq in core::mem::take(&mut self.late) {
            let Some(kept) = self.segments.entries().get(&seq) else {
                continue;
            };
            if !kept.is_past(self.segments.bounds(), time.0) {
                self.queue.push(parcel(seq, kept, true));
            } else if steady {
                self.inbox.notes.push((seq, Fate::Expired));
                self.queue.note_expired();
                given_up += 1;
            } else {
                self.late.push(seq);
            }
        }
        if given_up > 0 {
            log::error!("given up: {given_up} that had expired before the start");
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
            self.see_to_the_late(time);
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
                // Of the disk, whoever met it: what became of entries has no result of its own.
                let code = match Fault::of(&error) {
                    Fault::Full => FULL,
                    Fault::Unavailable => UNAVAILABLE,
                };
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
        desk.home = self.segments.home();
        for Order { number, what, .. } in self.inbox.orders.drain(..) {
            // Where there is none, it is not known: somebody panicked.
            let result = results.next().unwrap_or(Err(Fault::Unavailable));
            match desk.left.iter().position(|left| *left == number) {
                Some(at) => {
                    desk.left.swap_remove(at);
                    if result.is_ok() && what != What::Probe {
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

#[cfg(test)]
mod tests {
    use std::{
        prelude::v1::*,
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::{Keeper, SETTLED, Segments};
    use crate::{
        UnixTime,
        daemon::{
            clock::COMMIT,
            deliver::Queue,
            files::{folder::Folder, tests as files},
            journal::{
                Bounds, Shared,
                record::{Entry, Fate},
                segments::Wish,
            },
        },
    };

    const BOUNDS: Bounds = Bounds {
        max_bytes: 1 << 20,
        max_age_secs: 3600,
        leeway_secs: 30,
        delivers: true,
    };

    /// A journal in which a message waits that expired at the date of the commit, as a start
    /// by `clock` finds it.
    fn found(outer: &files::Folder, clock: fn() -> UnixTime) -> Keeper<Folder> {
        let folder = Folder::new(outer.0.join("journal")).unwrap();
        folder.make().unwrap();
        let (mut segments, _) = Segments::open(Arc::new(folder), BOUNDS).unwrap();
        let wish = Wish::Keep(Entry {
            seq: 0,
            accepted: COMMIT,
            exp: COMMIT,
            id: [1; 16],
            digest: [1; 16],
            subject: 1,
            fate: Fate::Waiting,
            token: b"token",
        });
        let time = (COMMIT, Instant::now());
        let wishes = [wish].into_iter();
        segments
            .commit(wishes, &mut Vec::new(), time, &mut Vec::new())
            .unwrap();
        let shared = Arc::new(Shared::new(&BOUNDS));
        let mut keeper = Keeper::new(segments, shared, Arc::new(Queue::default()), clock);
        keeper.queue_what_was_found();
        keeper
    }

    #[test]
    fn what_is_too_old_at_a_start_waits_for_the_clock_to_prove_right() {
        let outer = files::Folder::new("journal-late");
        let old = COMMIT.plus(3600);
        let mut keeper = found(&outer, || COMMIT.plus(3600));
        let born = keeper.born;
        let waiting = |keeper: &Keeper<Folder>| (keeper.queue.waiting().0, keeper.late.len());
        let late = |keeper: &mut Keeper<Folder>, time: UnixTime, real: Duration| {
            keeper.see_to_the_late((time, born + real));
            (waiting(keeper), keeper.inbox.notes.len())
        };
        let second = Duration::from_secs(1);
        let (first, last) = (SETTLED - second, SETTLED);
        assert_eq!(waiting(&keeper), (0, 1));
        assert_eq!(late(&mut keeper, old, Duration::ZERO), ((0, 1), 0));
        assert_eq!(late(&mut keeper, old.plus(3599), first), ((0, 1), 0));
        assert_eq!(late(&mut keeper, old.plus(3600), last), ((0, 0), 1));
        assert_eq!(keeper.inbox.notes, [(1, Fate::Expired)]);
    }

    #[test]
    fn what_only_looked_too_old_is_delivered_when_the_clock_is_set_right() {
        let outer = files::Folder::new("journal-ahead");
        let mut keeper = found(&outer, || COMMIT.plus(1_000_000));
        let born = keeper.born;
        keeper.see_to_the_late((COMMIT.plus(1_000_000), born));
        assert_eq!(keeper.queue.waiting().0, 0);
        keeper.see_to_the_late((COMMIT.plus(60), born + Duration::from_secs(60)));
        assert_eq!((keeper.queue.waiting().0, keeper.late.len()), (1, 0));
        assert_eq!(keeper.inbox.notes, []);
    }

    #[test]
    fn what_is_not_too_old_is_queued_at_once() {
        let outer = files::Folder::new("journal-in-time");
        let keeper = found(&outer, || COMMIT.plus(3599));
        assert_eq!((keeper.queue.waiting().0, keeper.late.len()), (1, 0));
    }
}
