//! The journal: what *accepted* rests on. A message is on the disk before it is answered,
//! is found again after every crash, and leaves when it was delivered and has expired.
//!
//! | file | what lives there |
//! |---|---|
//! | `record` | the bytes: header, records, their checks; pure |
//! | `scan` | reading a segment past what is damaged |
//! | `segments` | what is in which segment, and every change of it; owned by one thread |
//! | `keeper` | that thread |
//! | `print` | the `journal` command |
//!
//! Whoever judges messages hands them in with [`Keep::keep`] and waits. The keeper takes
//! all that were handed in while it wrote the last ones, writes them at once, and pays one
//! fsync for them all. It, not the one who waits, commits or releases their reservations:
//! where the disk takes longer than a client's patience the answer is 503, and what the
//! disk says later still counts.
//!
//! A failure is told once, with its reason, and so is its end. Asking again always tries
//! again, so that nothing has to be restarted when its cause is gone.

use std::{
    io,
    path::Path,
    prelude::v1::*,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{
    clock::Clock,
    deliver::{Letter, Outbox, Parcel, Queue, Settled, Unreadable},
    exit::{Code, Stop},
    files::{
        self,
        folder::{self, Disk, Folder, Home},
    },
    health::{PATIENCE, PERIOD, STALE, Trouble},
    memory::{Deliveries, Held, Keep, Memory},
    meter::{Counter, Histogram, Latest},
};
use crate::{
    Reject, UnixTime, Verified,
    claims::ActionType,
    verify::{ContentDigest, MessageId},
};

mod keeper;
pub(crate) mod print;
mod record;
mod scan;
mod segments;

use record::{Entry, Fate};
pub(crate) use segments::Bounds;
use segments::{Fault, Segments, Unopened};

/// What is wrong with the journal, as the readiness path and the log call it.
pub(crate) const FULL: &str = "journal_full";
pub(crate) const UNAVAILABLE: &str = "journal_unavailable";
pub(crate) const DAMAGED: &str = "journal_damaged";

/// Most bytes of tokens that wait while the disk takes its time. Behind a disk that hangs,
/// whoever comes is refused at once.
const MAX_INBOX: usize = 1024 * 1024;

impl From<Fault> for Reject {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::JournalFull,
            Fault::Unavailable => Self::JournalUnavailable,
        }
    }
}

/// Something that is handed in.
struct Order {
    number: u64,
    what: What,
    entry: Unwritten,
    /// Where its token is among all that were handed in.
    token: (usize, usize),
    held: Option<Held>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Keep,
    Extend,
    Probe,
}

/// An entry without its number and its token.
#[derive(Clone, Copy)]
struct Unwritten {
    accepted: UnixTime,
    exp: UnixTime,
    id: MessageId,
    digest: ContentDigest,
    subject: u64,
    fate: Fate,
}

impl Unwritten {
    const NOTHING: Self = Self {
        accepted: UnixTime::EPOCH,
        exp: UnixTime::EPOCH,
        id: [0; 16],
        digest: [0; 16],
        subject: 0,
        fate: Fate::NotForDelivery,
    };

    fn of(message: &Verified<'_>, accepted: UnixTime, fate: Fate) -> Self {
        Self {
            accepted,
            exp: message.expires(),
            id: message.id(),
            digest: message.digest(),
            subject: message.subject().map_or(0, subject),
            fate,
        }
    }

    const fn with<'a>(&self, token: &'a [u8]) -> Entry<'a> {
        Entry {
            seq: 0,
            accepted: self.accepted,
            exp: self.exp,
            id: self.id,
            digest: self.digest,
            subject: self.subject,
            fate: self.fate,
            token,
        }
    }
}

/// What a message is about, as a number that is never 0.
fn subject(sub: &str) -> u64 {
    let hash = Sha256::digest(sub.as_bytes());
    let first = hash.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first).max(1)
}

/// Handed in and not taken yet.
#[derive(Default)]
struct Inbox {
    orders: Vec<Order>,
    tokens: Vec<u8>,
    /// What became of entries.
    notes: Vec<(u64, Fate)>,
}

impl Inbox {
    const fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.notes.is_empty()
    }
}

/// What those who hand in share with the keeper.
#[derive(Default)]
struct Desk {
    inbox: Inbox,
    next: u64,
    results: Vec<(u64, Result<(), Fault>)>,
    /// Whose results nobody waits for any more.
    left: Vec<u64>,
    /// Which folder the journal is in.
    home: Home,
    stop: bool,
    stopped: bool,
}

/// What is counted, for the metrics.
#[derive(Debug)]
pub(crate) struct Gauges {
    /// Bytes of all segments.
    pub(crate) bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) messages: AtomicU64,
    /// From the first byte written to the end of its fsync.
    pub(crate) commits: Histogram,
    /// Commits that failed.
    pub(crate) failures: Counter,
    /// When something was written last.
    last: Latest,
}

struct Shared {
    desk: Mutex<Desk>,
    work: Condvar,
    done: Condvar,
    gauges: Gauges,
    max_bytes: u64,
    max_age_secs: u32,
    /// Whether messages wait here for their delivery.
    delivers: bool,
    /// Not writable: messages are answered 503.
    trouble: Arc<Trouble>,
    damage: Arc<Trouble>,
}

impl Shared {
    fn new(bounds: &Bounds) -> Self {
        Self {
            desk: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            gauges: Gauges {
                bytes: AtomicU64::new(0),
                segments: AtomicU64::new(0),
                messages: AtomicU64::new(0),
                commits: Histogram::default(),
                failures: Counter::new(),
                last: Latest::new(),
            },
            max_bytes: bounds.max_bytes,
            max_age_secs: bounds.max_age_secs,
            delivers: bounds.delivers,
            trouble: Arc::default(),
            damage: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal as everybody but the keeper sees it.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    disk: Arc<Folder>,
    clock: Clock,
    queue: Arc<Queue>,
}

/// A journal that was read, before anybody writes to it.
pub(crate) struct Opened {
    disk: Arc<Folder>,
    segments: Segments<Folder>,
    damaged: bool,
    /// The latest time at which something in it was accepted.
    pub(crate) newest: UnixTime,
}

/// Reads the journal in a folder into the memory of what was accepted. The folder is made
/// where it is missing.
///
/// # Errors
/// [`Stop`]: a folder that is not believed, another gateway that has it, a journal of a
/// newer version, a disk that cannot be read.
pub(crate) fn open(path: &Path, bounds: Bounds, memory: &Memory) -> Result<Opened, Stop> {
    let folder = Folder::new(path.to_path_buf()).map_err(|error| stop(path, error.into()))?;
    folder.make().map_err(|error| stop(path, error.into()))?;
    let disk = Arc::new(folder);
    let (segments, found) =
        Segments::open(Arc::clone(&disk), bounds).map_err(|fault| stop(path, fault))?;
    for damage in &found.damage {
        log::error!("journal: {damage}; what else is in that segment is kept");
    }
    if let Some(torn) = &found.torn {
        log::warn!("journal: {torn} were cut off: nobody was told that they were kept");
    }
    let mut remembered = found.remembered;
    remembered.sort_unstable_by_key(|(_, _, exp)| core::cmp::Reverse(*exp));
    let messages = remembered.len();
    memory.restore(segments.state().floor, remembered.into_iter());
    log::info!(
        "journal: {messages} messages in {} segments, {} bytes",
        segments.count(),
        segments.len()
    );
    Ok(Opened {
        disk,
        damaged: !found.damage.is_empty(),
        newest: segments.state().newest,
        segments,
    })
}

/// Judges the folder as [`open`] does, without taking it or changing anything: a gateway may
/// have it. One that is not there is made at the start, where only it is missing.
///
/// # Errors
/// As [`open`].
pub(crate) fn check(path: &Path) -> Result<(), Stop> {
    let judged = Folder::new(path.to_path_buf())
        .and_then(|folder| folder.look().map(|_| folder))
        .map_err(Unopened::Io)
        .and_then(|folder| segments::versions(&folder));
    match judged {
        Err(Unopened::Io(error))
            if error.kind() == io::ErrorKind::NotFound && files::parent(path).is_dir() =>
        {
            Ok(())
        }
        judged => judged.map_err(|fault| stop(path, fault)),
    }
}

/// Why the journal at `path` is not opened.
fn stop(path: &Path, fault: Unopened) -> Stop {
    let (code, what) = match fault {
        Unopened::Io(error) => {
            let code = match error.kind() {
                io::ErrorKind::PermissionDenied => Code::NoPermission,
                io::ErrorKind::ResourceBusy => Code::Unavailable,
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Code::NoInput,
                _ => Code::Io,
            };
            (code, error.to_string())
        }
        Unopened::Newer { name, version } => (
            Code::Data,
            format!(
                "{name} was written by a newer gateway, in format {version}: \
                 run that one, or give this one another folder"
            ),
        ),
    };
    Stop::new(code, format!("GATEWAY_JOURNAL: {}: {what}", path.display()))
}

impl Opened {
    /// Begins to keep. What waits for its delivery goes to `queue`.
    ///
    /// # Errors
    /// The system's, where it refuses the thread.
    pub(crate) fn start(self, queue: Arc<Queue>, clock: Clock) -> io::Result<Journal> {
        let journal = Journal::start(self.segments, self.disk, queue, clock)?;
        if self.damaged {
            let damage = &journal.shared.damage;
            damage.set(Some(DAMAGED), clock(), Instant::now());
        }
        Ok(journal)
    }
}

impl Journal {
    /// With a keeper of `segments`, whose folder is also read from `disk`.
    fn start<D: Disk>(
        segments: Segments<D>,
        disk: Arc<Folder>,
        queue: Arc<Queue>,
        clock: Clock,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(segments.bounds()));
        let of_keeper = Arc::clone(&queue);
        keeper::start(segments, Arc::clone(&shared), of_keeper, clock)?;
        Ok(Self {
            shared,
            disk,
            clock,
            queue,
        })
    }

    /// Proves that the journal can be written, unless that was proved lately. Whether it can
    /// is told by [`Self::writable`].
    pub(crate) fn probe(&self) {
        let lately = self.shared.gauges.last.age();
        if self.shared.trouble.get().is_some() || lately.is_none_or(|age| age >= PERIOD) {
            let until = Instant::now() + PATIENCE;
            // What is wrong was told by whoever found it.
            self.wait(What::Probe, Unwritten::NOTHING, b"", None, until)
                .ok();
        }
    }

    /// Whether something was written lately, and nothing failed since.
    pub(crate) fn writable(&self) -> bool {
        let lately = self.shared.gauges.last.age();
        self.shared.trouble.get().is_none() && lately.is_some_and(|age| age < STALE)
    }

    /// Whether the folder is there, and the one that the journal is in.
    fn is_home(&self) -> bool {
        let there = self.disk.check();
        there.is_ok_and(|there| there == self.shared.lock().home)
    }

    fn wait(
        &self,
        what: What,
        entry: Unwritten,
        token: &[u8],
        held: Option<Held>,
        until: Instant,
    ) -> Result<(), Fault> {
        let begun = Instant::now();
        let mut desk = self.shared.lock();
        if desk.stopped || desk.inbox.tokens.len() >= MAX_INBOX {
            return Err(Fault::Unavailable);
        }
        let number = desk.next;
        desk.next += 1;
        let start = desk.inbox.tokens.len();
        desk.inbox.tokens.extend_from_slice(token);
        let token = (start, desk.inbox.tokens.len());
        desk.inbox.orders.push(Order {
            number,
            what,
            entry,
            token,
            held,
        });
        self.shared.work.notify_one();
        loop {
            let mine = desk.results.iter().position(|(of, _)| *of == number);
            if let Some(at) = mine {
                return desk.results.swap_remove(at).1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Not taken yet: it never will be. Else its fate is somebody else's to settle.
                let orders = &mut desk.inbox.orders;
                let waiting = orders.iter().position(|order| order.number == number);
                let order = waiting.map(|at| orders.swap_remove(at));
                if order.is_none() {
                    desk.left.push(number);
                }
                drop(desk);
                drop(order);
                self.is_slow(begun.elapsed());
                return Err(Fault::Unavailable);
            }
            (desk, _) = self
                .shared
                .done
                .wait_timeout(desk, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells that the disk does not answer, where somebody has waited long enough to say so:
    /// the keeper, which waits for it, cannot. It tells the end, with what it writes next.
    fn is_slow(&self, waited: Duration) {
        if waited >= PATIENCE && self.shared.trouble.get().is_none() {
            log::error!(
                "journal: {UNAVAILABLE}: messages cannot be kept: \
                 the disk takes longer than {PATIENCE:?}"
            );
            let trouble = &self.shared.trouble;
            trouble.set(Some(UNAVAILABLE), (self.clock)(), Instant::now());
        }
    }

    /// What is counted.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// Bytes of all segments at most.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.shared.max_bytes
    }

    /// How long a message may stay after it could have gone.
    pub(crate) fn max_age_secs(&self) -> u32 {
        self.shared.max_age_secs
    }

    /// Set while nothing can be kept.
    pub(crate) fn trouble(&self) -> &Arc<Trouble> {
        &self.shared.trouble
    }

    /// Set where a segment was found damaged.
    pub(crate) fn damage(&self) -> &Arc<Trouble> {
        &self.shared.damage
    }

    /// Lets the keeper write what it was given, and end; waits at most `limit` for it.
    pub(crate) fn stop(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut desk = self.shared.lock();
        desk.stop = true;
        self.shared.work.notify_one();
        while !desk.stopped {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::warn!("journal: the disk did not end in time");
                return;
            }
            (desk, _) = self
                .shared
                .done
                .wait_timeout(desk, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Keep for Journal {
    /// [`Reject::JournalFull`] and [`Reject::JournalUnavailable`] are its errors.
    fn keep(
        &self,
        message: &Verified<'_>,
        held: Held,
        now: UnixTime,
        until: Instant,
    ) -> Result<(), Reject> {
        // An echo is for the gateway itself, and what has no route has nowhere to go.
        let fate = match message.action() {
            Some(action) if action != ActionType::Echo && self.shared.delivers => Fate::Waiting,
            _ => Fate::NotForDelivery,
        };
        let entry = Unwritten::of(message, now, fate);
        let token = message.token().as_bytes();
        Ok(self.wait(What::Keep, entry, token, Some(held), until)?)
    }

    fn extend(&self, message: &Verified<'_>, now: UnixTime, until: Instant) -> Result<(), Reject> {
        let entry = Unwritten::of(message, now, Fate::NotForDelivery);
        let token = message.token().as_bytes();
        Ok(self.wait(What::Extend, entry, token, None, until)?)
    }

    fn deliveries(&self) -> Option<Deliveries> {
        self.shared.delivers.then(|| Deliveries {
            waiting: self.queue.waiting().0,
            failing: self.queue.failing(),
        })
    }
}

impl Outbox for Journal {
    fn read(&self, parcel: &Parcel, letter: &mut Letter) -> Result<(), Unreadable> {
        let mut bytes = Vec::new();
        let read = segments::read_entry(&*self.disk, parcel.place, &mut bytes);
        match read {
            Ok(Some(entry)) => {
                letter.token.clear();
                letter.token.extend_from_slice(entry.token);
                Ok(())
            }
            // What is not there in a folder that is ours will not come back.
            Ok(None) if self.is_home() => Err(Unreadable::Lost),
            // Limits of this process pass, and say nothing about the message.
            Err(error) if folder::is_bad_block(&error) => Err(Unreadable::Stuck),
            Ok(None) | Err(_) => Err(Unreadable::Unavailable),
        }
    }

    fn settle(&self, parcel: &Parcel, how: Settled) {
        let fate = match how {
            Settled::Delivered => Fate::Delivered,
            Settled::Refused => Fate::Refused,
            Settled::Expired => Fate::Expired,
            Settled::Lost => Fate::Lost,
        };
        self.shared.lock().inbox.notes.push((parcel.seq, fate));
        self.shared.work.notify_one();
    }
}

impl Gauges {
    fn set(&self, segments: &Segments<impl Disk>) {
        let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        self.bytes.store(segments.len(), Ordering::Relaxed);
        self.segments
            .store(count(segments.count()), Ordering::Relaxed);
        self.messages
            .store(count(segments.entries().len()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
