//! Who may hold a connection, and for how long: a fixed number of slots, one thread each,
//! and one table that says what every connection is doing.
//!
//! * Nothing is started and nothing grows after start-up: a connection is in a slot, or is
//!   one of the few that wait for a slot that is being emptied for them.
//! * When all slots are taken, the newest connection wins over the one that has been
//!   idle, or else has been sending its request, for longest. One that is being worked on
//!   is never given up; where all are, the new one is turned away.
//! * A request that is complete when its connection is given up is answered, and is the
//!   connection's last.
//! * Where one had to go for another, nobody is accepted until that one has its slot.
//! * Past its share, an address competes with itself in the same way.
//! * The reaper ends what is past its deadline. It never touches a thread: it closes the
//!   socket, and the thread that reads or writes there sees it.
//! * Every connection that was accepted is open or has met one [`Fate`]: both are counted
//!   under the table's lock, so that a [`Census`] always adds up.

use core::net::IpAddr;
use std::{
    collections::VecDeque,
    net::{Shutdown, TcpStream},
    prelude::v1::*,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

mod address;

use address::Address;

/// How long each phase may last. The answer is there before the extension gives up (10 s).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Head and body together.
    pub(crate) reading: Duration,
    /// Work and answer.
    pub(crate) working: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// From the last answer until the client has closed too.
    pub(crate) closing: Duration,
}

impl Deadlines {
    pub(crate) const LOCAL: Self = Self {
        reading: Duration::from_secs(5),
        working: Duration::from_secs(8),
        idle: Duration::from_secs(15),
        closing: Duration::from_secs(2),
    };

    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Idle => self.idle,
            Phase::Fresh | Phase::Reading => self.reading,
            Phase::Working => self.working,
            Phase::Closing => self.closing,
        }
    }
}

/// How often the reaper looks. Every deadline may be late by so much.
const TICK: Duration = Duration::from_millis(250);
/// From a connection's reading end being closed until all of it is: time to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing has come since the last answer.
    Idle,
    /// New: nothing has come at all.
    Fresh,
    /// A request has begun to come in.
    Reading,
    /// A request is complete, and its answer is not written yet.
    Working,
    /// The last answer is written; what still comes in is thrown away.
    Closing,
}

/// Why a connection was ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doom {
    /// Past its deadline.
    Late,
    /// Given up for a newer one.
    Evicted,
}

/// How a connection came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// The client closed it, or stopped sending in the middle of a request.
    Client,
    /// Closed behind an answer: asked for, a refusal, or a stop.
    Answered,
    /// Nothing came for too long after an answer.
    Idle,
    /// A request was not complete, or its answer not taken, in time.
    Late,
    /// Given up for a newer one.
    Evicted,
    /// Never taken in: every connection was being worked on.
    TurnedAway,
    /// Reading or writing failed: reset by the client, or lost on the way.
    Broken,
    /// The gateway's own fault.
    Failed,
}

impl Fate {
    /// Every one, in the order of their numbers.
    const ALL: [Self; 8] = [
        Self::Client,
        Self::Answered,
        Self::Idle,
        Self::Late,
        Self::Evicted,
        Self::TurnedAway,
        Self::Broken,
        Self::Failed,
    ];

    /// Stable name, the metric's label.
    const fn code(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Answered => "answered",
            Self::Idle => "idle",
            Self::Late => "late",
            Self::Evicted => "evicted",
            Self::TurnedAway => "turned_away",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}

/// What became of connections, all at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    pub(crate) slots: usize,
    /// Slots that have a connection.
    pub(crate) busy: usize,
    /// Connections that are not over: in a slot, or waiting for theirs.
    pub(crate) open: usize,
    /// Connections that the system handed over: as many as are open and as met their fate.
    pub(crate) accepted: u64,
    /// Times that it failed to hand one over.
    pub(crate) accept_errors: u64,
    /// By the names of the fates.
    pub(crate) ended: [(&'static str, u64); Fate::ALL.len()],
}

struct Live {
    stream: Arc<TcpStream>,
    address: Address,
    phase: Phase,
    since: Instant,
    deadline: Instant,
    doom: Option<(Doom, Instant)>,
    /// It was given up, and its request was complete: that is answered, and no other.
    last: bool,
}

impl Live {
    /// Whether this connection keeps others out. One whose end was asked for leaves its
    /// slot at once, unless a request of its is being worked on.
    fn occupies(&self) -> bool {
        self.doom.is_none() || self.phase == Phase::Working
    }

    /// Order of giving up: the least goes first; `None` never goes.
    fn rank(&self) -> Option<(u8, Instant)> {
        let class = match self.phase {
            Phase::Closing => 0,
            Phase::Idle => 1,
            Phase::Fresh | Phase::Reading => 2,
            Phase::Working => return None,
        };
        self.doom.is_none().then_some((class, self.since))
    }

    /// What this connection's end is called, where its thread calls it `fate`.
    fn fate(&self, fate: Fate) -> Fate {
        match (self.doom, self.phase) {
            // It had its answer, and the client was only slow to close.
            (None, _) | (Some(_), Phase::Closing) => fate,
            (Some((Doom::Evicted, _)), _) => Fate::Evicted,
            (Some((Doom::Late, _)), Phase::Idle) => Fate::Idle,
            (Some((Doom::Late, _)), Phase::Fresh | Phase::Reading | Phase::Working) => Fate::Late,
        }
    }

    /// Ends what is read; what is being said may still be said.
    fn doom(&mut self, doom: Doom, now: Instant) {
        self.doom = Some((doom, now));
        let how = match self.phase {
            Phase::Idle | Phase::Fresh | Phase::Reading => Shutdown::Read,
            Phase::Working | Phase::Closing => Shutdown::Both,
        };
        // A socket that its peer has closed already cannot be: it is at its end.
        self.stream.shutdown(how).ok();
    }
}

struct Arrival {
    stream: TcpStream,
    address: Address,
    at: Instant,
}

struct Table {
    slots: Box<[Option<Live>]>,
    arrivals: VecDeque<Arrival>,
    /// The newest connection came at another's cost.
    pressed: bool,
    accepted: u64,
    accept_errors: u64,
    /// In the order of [`Fate::ALL`].
    ended: [u64; Fate::ALL.len()],
}

impl Table {
    fn count(&mut self, fate: Fate) {
        let at = Fate::ALL.iter().position(|known| *known == fate);
        if let Some(count) = at.and_then(|at| self.ended.get_mut(at)) {
            *count += 1;
        }
    }

    fn live(&self) -> impl Iterator<Item = &Live> {
        self.slots.iter().flatten()
    }

    /// Connections that are not over.
    fn open(&self) -> usize {
        self.live().count() + self.arrivals.len()
    }

    fn load(&self, of: impl Fn(Address) -> bool) -> usize {
        let live = self
            .live()
            .filter(|live| live.occupies() && of(live.address));
        live.count() + self.arrivals.iter().filter(|new| of(new.address)).count()
    }

    /// Gives up one connection of those addresses, where there is one to give up.
    fn evict(&mut self, of: impl Fn(Address) -> bool, now: Instant) -> Evicted {
        let victim = self
            .slots
            .iter_mut()
            .flatten()
            .filter(|live| of(live.address))
            .filter_map(|live| live.rank().map(|rank| (rank, live)))
            .min_by_key(|(rank, _)| *rank);
        if let Some((_, live)) = victim {
            live.doom(Doom::Evicted, now);
            return Evicted::FromItsSlot;
        }
        // One that has not even reached a slot has sent nothing that anybody read.
        let waiting = self.arrivals.iter().position(|new| of(new.address));
        match waiting.and_then(|at| self.arrivals.remove(at)) {
            Some(arrival) => {
                self.count(Fate::Evicted);
                Evicted::BeforeItsSlot(arrival.stream)
            }
            None => Evicted::Nobody,
        }
    }

    /// Whether the newest connection cost another one its place, and some were not taken
    /// from the queue yet: one more could cost one of these its own.
    fn crowded(&self) -> bool {
        self.pressed && !self.arrivals.is_empty()
    }
}

/// Who was given up.
enum Evicted {
    Nobody,
    /// Its thread sees to it.
    FromItsSlot,
    /// No thread knows of it.
    BeforeItsSlot(TcpStream),
}

/// The table, and those who wait for it to change.
pub(crate) struct Slots {
    per_address: usize,
    deadlines: Deadlines,
    table: Mutex<Table>,
    /// Changed under the table's lock.
    stopping: AtomicBool,
    /// A connection has arrived, or it is time to stop.
    arrived: Condvar,
    /// A slot has been taken, after none was.
    busy: Condvar,
    /// A slot has been left, or the last that waited for one has it.
    left: Condvar,
}

impl Slots {
    pub(crate) fn new(slots: usize, per_address: usize, deadlines: Deadlines) -> Self {
        Self {
            per_address,
            deadlines,
            table: Mutex::new(Table {
                slots: core::iter::repeat_with(|| None).take(slots).collect(),
                arrivals: VecDeque::with_capacity(slots),
                pressed: false,
                accepted: 0,
                accept_errors: 0,
                ended: [0; Fate::ALL.len()],
            }),
            stopping: AtomicBool::new(false),
            arrived: Condvar::new(),
            busy: Condvar::new(),
            left: Condvar::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// What became of every connection so far.
    pub(crate) fn census(&self) -> Census {
        let table = self.lock();
        let busy = table.live().count();
        let mut counts = table.ended.iter();
        Census {
            slots: table.slots.len(),
            busy,
            open: table.open(),
            accepted: table.accepted,
            accept_errors: table.accept_errors,
            ended: Fate::ALL.map(|fate| (fate.code(), counts.next().copied().unwrap_or(0))),
        }
    }

    /// The system failed to hand over a connection; gives how often it did so far.
    pub(super) fn accept_failed(&self) -> u64 {
        let mut table = self.lock();
        table.accept_errors += 1;
        table.accept_errors
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in, at another's cost if need be. Gives back one that is to be
    /// turned away: the new one, where everything is being worked on, or one that waited
    /// for a slot.
    pub(super) fn offer(&self, stream: TcpStream, ip: IpAddr) -> Option<TcpStream> {
        let address = Address::from(ip);
        let now = Instant::now();
        let mut table = self.lock();
        table.accepted += 1;
        let evicted = if table.load(|of| of == address) >= self.per_address {
            Some(table.evict(|of| of == address, now))
        } else if table.load(|_| true) >= table.slots.len() {
            Some(table.evict(|_| true, now))
        } else {
            None
        };
        table.pressed = evicted.is_some();
        let turned_away = match evicted {
            _ if self.stopping() => {
                table.count(Fate::TurnedAway);
                return Some(stream);
            }
            Some(Evicted::Nobody) => {
                table.count(Fate::TurnedAway);
                return Some(stream);
            }
            Some(Evicted::BeforeItsSlot(other)) => Some(other),
            Some(Evicted::FromItsSlot) | None => None,
        };
        table.arrivals.push_back(Arrival {
            stream,
            address,
            at: now,
        });
        drop(table);
        self.arrived.notify_one();
        turned_away
    }

    /// Waits until every connection that was accepted has a slot, at most `limit`; where
    /// nobody had to go, not at all.
    pub(super) fn wait_for_room(&self, limit: Duration) {
        let table = self.lock();
        // The table is as good as before, whether there is room now or not.
        drop(
            self.left
                .wait_timeout_while(table, limit, |table| table.crowded() && !self.stopping()),
        );
    }

    /// Gives up one connection for nobody in particular, and waits until it is gone, at most
    /// `limit`; whether there was one.
    pub(super) fn evict_one(&self, limit: Duration) -> bool {
        let mut table = self.lock();
        // Nobody comes meanwhile: the caller is who would take them in.
        let before = table.open();
        match table.evict(|_| true, Instant::now()) {
            Evicted::Nobody => false,
            Evicted::BeforeItsSlot(_) => true,
            Evicted::FromItsSlot => {
                drop(self.left.wait_timeout_while(table, limit, |table| {
                    table.open() >= before && !self.stopping()
                }));
                true
            }
        }
    }

    /// Waits for a connection for this slot; `None` when no more will come.
    pub(super) fn take(&self, slot: usize) -> Option<Arc<TcpStream>> {
        let mut table = self.lock();
        loop {
            if let Some(new) = table.arrivals.pop_front() {
                if table.arrivals.is_empty() {
                    self.left.notify_all();
                }
                let stream = Arc::new(new.stream);
                if self.stopping() {
                    stream.shutdown(Shutdown::Read).ok();
                }
                if table.live().next().is_none() {
                    self.busy.notify_one();
                }
                table.slots[slot] = Some(Live {
                    stream: Arc::clone(&stream),
                    address: new.address,
                    phase: Phase::Fresh,
                    since: new.at,
                    deadline: new.at + self.deadlines.reading,
                    doom: None,
                    last: false,
                });
                return Some(stream);
            }
            if self.stopping() {
                return None;
            }
            table = self
                .arrived
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The connection of this slot begins a phase; gives its deadline.
    ///
    /// # Errors
    /// Why it is ended instead.
    pub(super) fn enter(&self, slot: usize, phase: Phase) -> Result<Instant, Doom> {
        let mut table = self.lock();
        let Some(live) = &mut table.slots[slot] else {
            return Err(Doom::Late);
        };
        if let Some((doom, _)) = live.doom {
            return Err(doom);
        }
        if phase == Phase::Idle && self.stopping() {
            // Its last answer was begun before the stop: treated as those that were idle.
            live.stream.shutdown(Shutdown::Read).ok();
        }
        // The time to read a first request runs from the connection's beginning, and a
        // handshake before it is a part of it.
        if !matches!(live.phase, Phase::Fresh | Phase::Reading) || phase != Phase::Reading {
            live.since = Instant::now();
            live.deadline = live.since + self.deadlines.of(phase);
        }
        live.phase = phase;
        Ok(live.deadline)
    }

    /// The connection of this slot has a whole request; gives the answer's deadline. One
    /// that was given up meanwhile is not: this is its last request.
    ///
    /// # Errors
    /// Why it is ended instead.
    pub(super) fn begin_work(&self, slot: usize) -> Result<Instant, Doom> {
        let mut table = self.lock();
        if let Some(live) = &mut table.slots[slot]
            && let Some((Doom::Evicted, _)) = live.doom
        {
            live.doom = None;
            live.last = true;
        }
        drop(table);
        self.enter(slot, Phase::Working)
    }

    /// Whether the connection of this slot has had its last request.
    pub(super) fn is_last(&self, slot: usize) -> bool {
        let table = self.lock();
        let live = table.slots[slot].as_ref();
        self.stopping() || live.is_some_and(|live| live.last || live.doom.is_some())
    }

    /// Why the connection of this slot was ended from outside, if it was.
    pub(super) fn doom(&self, slot: usize) -> Option<Doom> {
        let table = self.lock();
        let live = table.slots[slot].as_ref()?;
        live.doom.map(|(doom, _)| doom)
    }

    /// The connection of this slot is over, by `fate` unless it was ended from outside.
    pub(super) fn leave(&self, slot: usize, fate: Fate) {
        let mut table = self.lock();
        let gone = table.slots[slot].take();
        if let Some(live) = &gone {
            table.count(live.fate(fate));
        }
        drop(table);
        // Closed outside the lock.
        drop(gone);
        self.left.notify_all();
    }

    /// Whether no further request is to be taken.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends connections past their deadlines, for ever.
    pub(super) fn reap(&self) -> ! {
        let mut table = self.lock();
        loop {
            if table.live().next().is_none() {
                table = self
                    .busy
                    .wait(table)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            (table, _) = self
                .busy
                .wait_timeout(table, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            for live in table.slots.iter_mut().flatten() {
                match live.doom {
                    None if now >= live.deadline => live.doom(Doom::Late, now),
                    Some((_, at)) if now >= at + LAST_WORDS => {
                        live.stream.shutdown(Shutdown::Both).ok();
                    }
                    _ => {}
                }
            }
        }
    }

    /// No more connections: what is idle ends, what has begun is finished.
    pub(super) fn stop(&self) {
        let table = self.lock();
        self.stopping.store(true, Ordering::SeqCst);
        for live in table.live() {
            if matches!(live.phase, Phase::Idle | Phase::Fresh) {
                // What has arrived can still be read, and a request that is complete with
                // it is answered.
                live.stream.shutdown(Shutdown::Read).ok();
            }
        }
        drop(table);
        self.arrived.notify_all();
        self.left.notify_all();
    }

    /// Waits until every connection is over; whether that came to pass within `limit`.
    pub(super) fn drained_within(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut table = self.lock();
        while !table.arrivals.is_empty() || table.live().next().is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (table, _) = self
                .left
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        prelude::v1::*,
        time::{Duration, Instant},
    };

    use super::{Deadlines, Doom, Fate, Phase, Slots};

    /// Longer than anything here takes; only a failure waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A connection: the gateway's end, and the client's.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn from(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// Slots of which each has a connection in one of `phases`, in the order of their age;
    /// the clients' ends.
    fn filled(phases: &[(Phase, u8)], per_address: usize) -> (Slots, Vec<TcpStream>) {
        let slots = Slots::new(phases.len(), per_address, Deadlines::LOCAL);
        let clients = phases
            .iter()
            .enumerate()
            .map(|(slot, (phase, last))| {
                let (stream, client) = pair();
                assert!(slots.offer(stream, from(*last)).is_none());
                slots.take(slot).unwrap();
                slots.enter(slot, Phase::Working).unwrap();
                if *phase != Phase::Working {
                    slots.enter(slot, *phase).unwrap();
                }
                client
            })
            .collect();
        (slots, clients)
    }

    #[test]
    fn who_goes_for_a_new_connection() {
        use Phase::{Closing, Idle, Reading, Working};
        for (name, phases, wanted) in [
            (
                "the longest reader",
                [(Working, 1), (Reading, 2), (Reading, 3)],
                Some(1),
            ),
            (
                "the longest idle",
                [(Idle, 1), (Idle, 2), (Working, 3)],
                Some(0),
            ),
            (
                "idle before reading",
                [(Reading, 1), (Reading, 2), (Idle, 3)],
                Some(2),
            ),
            (
                "closing before idle",
                [(Idle, 1), (Reading, 2), (Closing, 3)],
                Some(2),
            ),
            (
                "nobody who works",
                [(Working, 1), (Working, 2), (Working, 3)],
                None,
            ),
        ] {
            let (slots, _clients) = filled(&phases, 3);
            let (stream, _client) = pair();
            assert_eq!(
                slots.offer(stream, from(9)).is_none(),
                wanted.is_some(),
                "{name}"
            );
            let gone: Vec<_> = (0..3).filter(|slot| slots.doom(*slot).is_some()).collect();
            assert_eq!(gone, Vec::from_iter(wanted), "{name}");
            for slot in gone {
                assert_eq!(slots.doom(slot), Some(Doom::Evicted), "{name}");
                assert_eq!(slots.enter(slot, Working), Err(Doom::Evicted), "{name}");
                slots.leave(slot, Fate::Client);
                assert!(
                    slots.take(slot).is_some(),
                    "{name}: its slot is the new one's"
                );
            }
        }
    }

    #[test]
    fn past_its_share_an_address_competes_with_itself() {
        use Phase::{Idle, Reading, Working};
        for (name, phases, wanted) in [
            (
                "its own reader, not another's idle",
                [(Idle, 1), (Reading, 2), (Working, 2)],
                Some(1),
            ),
            (
                "nobody where it only works",
                [(Idle, 1), (Working, 2), (Working, 2)],
                None,
            ),
        ] {
            let (slots, _clients) = filled(&phases, 2);
            let (stream, _client) = pair();
            assert_eq!(
                slots.offer(stream, from(2)).is_none(),
                wanted.is_some(),
                "{name}"
            );
            let gone: Vec<_> = (0..3).filter(|slot| slots.doom(*slot).is_some()).collect();
            assert_eq!(gone, Vec::from_iter(wanted), "{name}");
        }
    }

    /// More at once than the slots' threads can take: the newest of them are kept.
    #[test]
    fn connections_that_wait_for_a_slot_are_no_more_than_slots() {
        let slots = Slots::new(2, 2, Deadlines::LOCAL);
        let clients: Vec<_> = (1..=5)
            .map(|last| {
                let (stream, client) = pair();
                let turned_away = slots.offer(stream, from(last));
                assert_eq!(turned_away.is_some(), last > 2, "{last}");
                client
            })
            .collect();
        let kept: Vec<_> = (0..2)
            .map(|slot| slots.take(slot).unwrap().peer_addr().unwrap())
            .collect();
        let newest: Vec<_> = clients[3..]
            .iter()
            .map(|c| c.local_addr().unwrap())
            .collect();
        assert_eq!(kept, newest);
        let mut closed = &clients[0];
        assert_eq!(closed.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_request_that_is_complete_is_answered_though_its_connection_was_given_up() {
        for (name, doom, wanted) in [
            ("in time", None, Ok(false)),
            ("given up", Some(Doom::Evicted), Ok(true)),
            ("late", Some(Doom::Late), Err(Doom::Late)),
        ] {
            let slots = Slots::new(2, 2, Deadlines::LOCAL);
            let (stream, _client) = pair();
            assert!(slots.offer(stream, from(1)).is_none());
            slots.take(0).unwrap();
            slots.enter(0, Phase::Reading).unwrap();
            if let Some(doom) = doom {
                let mut table = slots.lock();
                table.slots[0].as_mut().unwrap().doom(doom, Instant::now());
            }
            let begun = slots.begin_work(0).map(|_deadline| slots.is_last(0));
            assert_eq!(begun, wanted, "{name}");
            assert_eq!(slots.doom(0), begun.err(), "{name}");
        }
    }

    /// What is accepted while its slot is being emptied could be given up unread.
    #[test]
    fn whoever_was_accepted_is_waited_for_until_there_is_a_slot() {
        let (slots, _clients) = filled(&[(Phase::Idle, 1), (Phase::Idle, 1)], 2);
        let crowded = || slots.lock().crowded();
        assert!(!crowded());
        let (stream, _client) = pair();
        assert!(slots.offer(stream, from(2)).is_none());
        assert!(crowded());
        slots.wait_for_room(Duration::ZERO);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                slots.leave(0, Fate::Client);
                slots.take(0).unwrap();
            });
            slots.wait_for_room(PATIENCE);
        });
        assert!(!crowded());
    }

    #[test]
    fn one_is_given_up_where_file_descriptors_are_wanted() {
        let (slots, _clients) = filled(&[(Phase::Working, 1), (Phase::Idle, 1)], 2);
        assert!(slots.evict_one(Duration::ZERO));
        assert_eq!((slots.doom(0), slots.doom(1)), (None, Some(Doom::Evicted)));
        assert!(!slots.evict_one(Duration::ZERO), "nobody is left");
        slots.leave(1, Fate::Client);
        let (stream, _client) = pair();
        assert!(slots.offer(stream, from(2)).is_none());
        assert!(slots.evict_one(Duration::ZERO), "one that waits for a slot");
        assert_eq!(slots.census().open, 1);
    }

    #[test]
    fn a_first_request_is_timed_from_the_connections_beginning() {
        let slots = Slots::new(2, 2, Deadlines::LOCAL);
        let (stream, _client) = pair();
        assert!(slots.offer(stream, from(1)).is_none());
        slots.take(0).unwrap();
        let first = slots.enter(0, Phase::Reading).unwrap();
        // A handshake, and what follows it.
        assert_eq!(slots.enter(0, Phase::Reading), Ok(first));
        let idle = slots.enter(0, Phase::Idle).unwrap();
        assert!(idle >= first + Duration::from_secs(10));
        assert!(slots.enter(0, Phase::Reading).unwrap() > first);
    }

    /// An answer that was begun before the stop does not say that it is the last: the
    /// connection must not wait for a next request.
    #[test]
    fn what_becomes_idle_after_the_stop_is_at_its_end() {
        let slots = Slots::new(2, 2, Deadlines::LOCAL);
        let (stream, mut client) = pair();
        assert!(slots.offer(stream, from(1)).is_none());
        let stream = slots.take(0).unwrap();
        stream.set_nonblocking(true).unwrap();
        slots.enter(0, Phase::Working).unwrap();
        client.write_all(b"x").unwrap();
        slots.stop();
        slots.enter(0, Phase::Idle).unwrap();
        let mut rest = Vec::new();
        // What has arrived is read; nothing more is waited for.
        (&*stream).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"x");
    }

    /// How many met each fate, those that nobody met left out.
    fn ended(slots: &Slots) -> Vec<(&'static str, u64)> {
        let census = slots.census();
        let sum: u64 = census.ended.iter().map(|(_, count)| count).sum();
        let open = u64::try_from(census.open).unwrap();
        assert_eq!(census.accepted, sum + open, "{census:?}");
        let met = census.ended.into_iter().filter(|(_, count)| *count > 0);
        met.collect()
    }

    #[test]
    fn every_connection_meets_one_fate() {
        use Phase::{Closing, Fresh, Idle, Reading, Working};
        for (name, phase, doom, wanted) in [
            ("left alone", Working, None, "client"),
            ("silent after an answer", Idle, Some(Doom::Late), "idle"),
            ("silent from the start", Fresh, Some(Doom::Late), "late"),
            ("a slow sender", Reading, Some(Doom::Late), "late"),
            ("a slow reader", Working, Some(Doom::Late), "late"),
            ("slow to close", Closing, Some(Doom::Late), "client"),
            ("idle, for another", Idle, Some(Doom::Evicted), "evicted"),
            (
                "reading, for another",
                Reading,
                Some(Doom::Evicted),
                "evicted",
            ),
            (
                "closing, for another",
                Closing,
                Some(Doom::Evicted),
                "client",
            ),
        ] {
            let slots = Slots::new(2, 2, Deadlines::LOCAL);
            let (stream, _client) = pair();
            assert!(slots.offer(stream, from(1)).is_none());
            slots.take(0).unwrap();
            if phase != Fresh {
                slots.enter(0, phase).unwrap();
            }
            assert_eq!(ended(&slots), [], "{name}");
            if let Some(doom) = doom {
                let mut table = slots.lock();
                table.slots[0].as_mut().unwrap().doom(doom, Instant::now());
            }
            let census = slots.census();
            assert_eq!(
                (census.slots, census.busy, census.open),
                (2, 1, 1),
                "{name}"
            );
            slots.leave(0, Fate::Client);
            assert_eq!(ended(&slots), [(wanted, 1)], "{name}");
        }
    }

    #[test]
    fn whoever_never_had_a_slot_met_a_fate_too() {
        let (slots, _clients) = filled(&[(Phase::Working, 1), (Phase::Working, 2)], 2);
        let (stream, _client) = pair();
        slots.offer(stream, from(3)).unwrap();
        assert_eq!(ended(&slots), [("turned_away", 1)]);

        let slots = Slots::new(2, 2, Deadlines::LOCAL);
        let _clients = [1, 2, 3].map(|last| {
            let (stream, client) = pair();
            assert_eq!(slots.offer(stream, from(last)).is_some(), last == 3);
            client
        });
        assert_eq!(ended(&slots), [("evicted", 1)]);
        assert_eq!((slots.census().busy, slots.census().open), (0, 2));
        assert_eq!((slots.accept_failed(), slots.accept_failed()), (1, 2));
        assert_eq!(slots.census().accept_errors, 2);
    }
}
