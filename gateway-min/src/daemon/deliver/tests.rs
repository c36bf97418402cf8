use std::{
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex, mpsc},
    time::Duration,
};

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{Letter, Outbox, Pace, Parcel, Place, Queue, Running, Settled, Unreadable, start};
use crate::{
    UnixTime,
    daemon::{
        clock::{COMMIT, Clock},
        sink::{
            Answered, Delivery, Fault, Phase, Sink, Target, open,
            sink_server::{OK, Reply, SinkServer},
        },
    },
};

/// Longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbered, about that subject, one second after the one before.
pub(super) fn parcel(seq: u64, subject: u64) -> Parcel {
    let accepted = COMMIT.plus(u32::try_from(seq).unwrap());
    Parcel {
        place: Place {
            segment: 1,
            offset: 0,
            len: 0,
        },
        seq,
        subject,
        accepted,
        exp: accepted.plus(100),
        found: false,
    }
}

/// A token as it was kept: nobody judges its signature any more.
pub(super) fn token(header: &str, claims: &str) -> String {
    let b64 = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    format!("{}.{}.{}", b64(header), b64(claims), b64("signature"))
}

/// An outbox in memory: what is in segment 1 or where it was moved to.
#[derive(Default)]
struct Shelf {
    state: Mutex<ShelfState>,
    changed: Condvar,
}

#[derive(Default)]
struct ShelfState {
    settled: Vec<(u64, Settled)>,
    unavailable: u32,
    /// These are gone from where they were, and from everywhere.
    moved: Vec<u64>,
    lost: Vec<u64>,
    stuck: Vec<u64>,
    queue: Option<Arc<Queue>>,
}

impl Shelf {
    #[track_caller]
    fn wait_for(&self, count: usize) -> Vec<(u64, Settled)> {
        let few = |state: &mut ShelfState| state.settled.len() < count;
        let state = self.state.lock().unwrap();
        let wait = self.changed.wait_timeout_while(state, PATIENCE, few);
        let settled = wait.unwrap().0.settled.clone();
        assert!(settled.len() >= count, "{settled:?}");
        settled
    }
}

impl Outbox for Shelf {
    fn read(&self, parcel: &Parcel, letter: &mut Letter) -> Result<(), Unreadable> {
        let mut state = self.state.lock().unwrap();
        if state.unavailable > 0 {
            state.unavailable -= 1;
            return Err(Unreadable::Unavailable);
        }
        if state.stuck.contains(&parcel.seq) {
            return Err(Unreadable::Stuck);
        }
        if state.lost.contains(&parcel.seq) {
            return Err(Unreadable::Lost);
        }
        if parcel.place.segment == 1 && state.moved.contains(&parcel.seq) {
            // It moves at the very moment.
            let place = Place {
                segment: 2,
                ..parcel.place
            };
            state.queue.as_ref().unwrap().moved(parcel.seq, place);
            return Err(Unreadable::Lost);
        }
        let claims = match parcel.seq {
            99 => "{}".to_owned(),
            seq => format!(r#"{{"jti":"j{seq}"}}"#),
        };
        let token = token(r#"{"alg":"EdDSA","kid":"k"}"#, &claims);
        letter.token.extend_from_slice(token.as_bytes());
        Ok(())
    }

    fn settle(&self, parcel: &Parcel, how: Settled) {
        self.state.lock().unwrap().settled.push((parcel.seq, how));
        self.changed.notify_all();
    }
}

fn quick() -> Arc<Queue> {
    let pace = Pace::new(Duration::from_millis(4), Duration::from_millis(20));
    Arc::new(Queue::with(pace))
}

fn soon_after() -> UnixTime {
    COMMIT.plus(10)
}

/// A courier to a real receiver, and what it delivers from.
struct Site {
    server: SinkServer,
    shelf: Arc<Shelf>,
    queue: Arc<Queue>,
    running: Option<Running>,
}

impl Site {
    fn new() -> Self {
        Self {
            server: SinkServer::start(),
            shelf: Arc::default(),
            queue: quick(),
            running: None,
        }
    }

    fn run(&mut self) {
        self.run_at(soon_after);
    }

    fn run_at(&mut self, clock: Clock) {
        let target = Target::read(&self.server.url("/in")).unwrap();
        let http = open(target, PATIENCE).unwrap();
        let outbox = Arc::clone(&self.shelf);
        self.running = Some(start(&self.queue, outbox, http, 3600, clock).unwrap());
    }

    fn push(&self, parcels: impl IntoIterator<Item = Parcel>) {
        parcels
            .into_iter()
            .for_each(|parcel| self.queue.push(parcel));
    }

    /// What the receiver got: which message, and whether it was marked.
    fn got(&self) -> Vec<(String, bool)> {
        let received = self.server.received();
        received
            .iter()
            .map(|one| (one.jti(), one.is_marked()))
            .collect()
    }

    fn outcome(&self, name: &str) -> u64 {
        let ended = self.queue.outcomes.ended().into_iter();
        let mut all = ended.chain(self.queue.outcomes.failed());
        all.find(|(known, _)| *known == name).unwrap().1
    }
}

fn wanted(rows: &[(&str, bool)]) -> Vec<(String, bool)> {
    rows.iter()
        .map(|(jti, marked)| ((*jti).to_owned(), *marked))
        .collect()
}

/// There can be many.
const _: () = assert!(size_of::<Parcel>() == 56);

#[test]
fn what_is_kept_is_delivered_in_order_and_once() {
    let mut site = Site::new();
    let mut found = parcel(1, 1);
    found.found = true;
    site.push([found, parcel(2, 1)]);
    assert_eq!(site.queue.waiting(), (2, Some(COMMIT.plus(1))));
    site.run();
    site.push([parcel(3, 2)]);
    let all = [1, 2, 3].map(|seq| (seq, Settled::Delivered));
    assert_eq!(site.shelf.wait_for(3), all);
    assert_eq!(
        site.got(),
        wanted(&[("j1", true), ("j2", false), ("j3", false)])
    );
    assert_eq!(site.queue.waiting(), (0, None));
    assert_eq!((site.outcome("delivered"), site.outcome("status")), (3, 0));
    assert!(site.queue.last.age().is_some());
    assert_eq!(site.queue.trouble.get(), None);
    assert!(site.running.take().unwrap().stop(PATIENCE));
}

#[test]
fn a_message_that_is_refused_for_good_is_settled_and_the_next_goes_on() {
    let mut site = Site::new();
    site.server
        .reply([Reply::status(422, ""), Reply::Say(OK.to_owned())]);
    site.push([parcel(1, 1), parcel(2, 1)]);
    site.run();
    let settled = site.shelf.wait_for(2);
    assert_eq!(settled, [(1, Settled::Refused), (2, Settled::Delivered)]);
    assert_eq!((site.outcome("refused"), site.outcome("status")), (1, 0));
    assert_eq!(site.queue.trouble.get(), None);
}

#[test]
fn a_poisoned_message_waits_alone_with_its_subject() {
    let mut site = Site::new();
    site.server.reply([
        Reply::status(500, ""),
        Reply::Say(OK.to_owned()),
        Reply::status(500, ""),
        Reply::Say(OK.to_owned()),
    ]);
    site.push([parcel(1, 1), parcel(2, 2), parcel(3, 1)]);
    site.run();
    let settled = site.shelf.wait_for(3);
    let order: Vec<_> = settled.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(order, [2, 1, 3]);
    assert_eq!(
        site.got(),
        wanted(&[
            ("j1", false),
            ("j2", false),
            ("j1", true),
            ("j1", true),
            ("j3", false)
        ])
    );
    let attempts: Vec<_> = site
        .server
        .received()
        .iter()
        .map(|one| one.json()["attempt"].as_u64())
        .collect();
    assert_eq!(attempts, [1, 1, 2, 3, 1].map(Some));
    assert_eq!((site.outcome("status"), site.outcome("delivered")), (2, 3));
}

#[test]
fn each_end_before_the_answer_marks_the_next_attempt() {
    for (name, reply, phase) in [
        ("closed", Reply::Close, "await"),
        (
            "cut",
            Reply::SayAndClose("HTTP/1.1 200 OK\r\n".into()),
            "read",
        ),
        (
            "told to wait",
            Reply::status(503, "Retry-After: 0\r\n"),
            "status",
        ),
    ] {
        let mut site = Site::new();
        site.server.reply([reply, Reply::Say(OK.to_owned())]);
        site.push([parcel(1, 1)]);
        site.run();
        assert_eq!(site.shelf.wait_for(1), [(1, Settled::Delivered)], "{name}");
        assert_eq!(site.got(), wanted(&[("j1", false), ("j1", true)]), "{name}");
        assert_eq!(site.outcome(phase), 1, "{name}");
    }
}

#[test]
fn a_kept_connection_that_breaks_is_no_trouble() {
    let mut site = Site::new();
    let ok = || Reply::Say(OK.to_owned());
    site.server.reply([ok(), Reply::Close, ok()]);
    site.push([parcel(1, 1), parcel(2, 2)]);
    site.run();
    site.shelf.wait_for(2);
    assert_eq!(
        site.got(),
        wanted(&[("j1", false), ("j2", false), ("j2", true)])
    );
    assert_eq!((site.outcome("await"), site.queue.trouble.get()), (1, None));
}

#[test]
fn what_cannot_be_read_is_told_from_what_cannot_be_read_now() {
    let mut site = Site::new();
    {
        let mut state = site.shelf.state.lock().unwrap();
        state.unavailable = 3;
        state.moved = vec![1];
        state.lost = vec![2];
        state.queue = Some(Arc::clone(&site.queue));
    }
    site.push([parcel(1, 1), parcel(2, 1), parcel(99, 1), parcel(100, 1)]);
    site.run();
    let settled = site.shelf.wait_for(4);
    assert_eq!(
        settled,
        [
            (1, Settled::Delivered),
            (2, Settled::Lost),
            (99, Settled::Lost),
            (100, Settled::Delivered)
        ]
    );
    assert_eq!(site.got(), wanted(&[("j1", false), ("j100", false)]));
    assert_eq!((site.outcome("lost"), site.outcome("refused")), (2, 0));
    assert_eq!(site.queue.trouble.get(), None);
    site.shelf.state.lock().unwrap().queue = None;
}

#[test]
fn a_bad_block_of_the_disk_holds_up_its_own_message_alone() {
    let mut site = Site::new();
    site.shelf.state.lock().unwrap().stuck = vec![1];
    site.push([parcel(1, 1), parcel(2, 2), parcel(3, 1), parcel(4, 3)]);
    site.run();
    let settled = site.shelf.wait_for(2);
    assert_eq!(settled, [(2, Settled::Delivered), (4, Settled::Delivered)]);
    let trouble = site.queue.trouble.get().map(|trouble| trouble.code);
    assert_eq!(trouble, Some("delivery_failing"));
    // What the disk gives in the end is not lost, and never was sent.
    site.shelf.state.lock().unwrap().stuck.clear();
    let settled = site.shelf.wait_for(4);
    assert_eq!(settled[2..], [1, 3].map(|seq| (seq, Settled::Delivered)));
    assert!(site.got().iter().all(|(_, marked)| !marked));
    assert!(site.running.take().unwrap().stop(PATIENCE));
    assert_eq!(site.queue.trouble.get(), None);
}

#[test]
fn what_is_too_old_is_given_up_by_a_clock_that_is_set() {
    let rows: [(&str, Clock, [(u64, Settled); 2]); 3] = [
        (
            "just past",
            || COMMIT.plus(1 + 100 + 3600),
            [(1, Settled::Expired), (2, Settled::Delivered)],
        ),
        (
            "just not",
            || COMMIT.plus(100 + 3600),
            [(1, Settled::Delivered), (2, Settled::Delivered)],
        ),
        (
            "not set",
            || UnixTime::EPOCH,
            [(1, Settled::Delivered), (2, Settled::Delivered)],
        ),
    ];
    for (name, clock, wanted) in rows {
        let mut site = Site::new();
        site.push([parcel(1, 1), parcel(2, 1)]);
        site.run_at(clock);
        assert_eq!(site.shelf.wait_for(2), wanted, "{name}");
        let expired = wanted
            .iter()
            .filter(|(_, how)| *how == Settled::Expired)
            .count();
        assert_eq!(
            site.outcome("expired"),
            u64::try_from(expired).unwrap(),
            "{name}"
        );
    }
}

/// A receiver that is asked by the test what to do.
struct Puppet {
    asked: mpsc::Sender<bool>,
    told: mpsc::Receiver<Result<Answered, Fault>>,
}

impl Sink for Puppet {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<Answered, Fault> {
        self.asked.send(delivery.redelivered).unwrap();
        self.told.recv().unwrap()
    }

    fn rest(&mut self) {}

    fn name(&self) -> &str {
        "puppet"
    }
}

fn puppet() -> (
    Box<Puppet>,
    mpsc::Receiver<bool>,
    mpsc::Sender<Result<Answered, Fault>>,
) {
    let (asked, asks) = mpsc::channel();
    let (tells, told) = mpsc::channel();
    (Box::new(Puppet { asked, told }), asks, tells)
}

fn fault(phase: Phase) -> Fault {
    Fault {
        phase,
        detail: "told to".to_owned(),
        status: None,
        retry_after: None,
        sent: false,
        stale: false,
    }
}

#[test]
fn trouble_is_told_until_the_receiver_answers() {
    let (queue, shelf) = (quick(), Arc::new(Shelf::default()));
    let (sink, asks, tells) = puppet();
    let outbox = Arc::clone(&shelf);
    let running = start(&queue, outbox, sink, 3600, soon_after).unwrap();
    queue.push(parcel(1, 1));
    for phase in [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Tls] {
        // What was not sent is not marked.
        assert!(!asks.recv().unwrap());
        tells.send(Err(fault(phase))).unwrap();
    }
    assert!(!asks.recv().unwrap());
    let trouble = queue.trouble.get().unwrap();
    assert_eq!(
        (trouble.code, trouble.since),
        ("delivery_failing", soon_after())
    );
    tells.send(Ok(Answered::Taken)).unwrap();
    shelf.wait_for(1);
    assert!(running.stop(PATIENCE));
    assert_eq!(queue.trouble.get(), None);
    let failed: Vec<_> = queue.outcomes.failed().map(|(_, count)| count).collect();
    assert_eq!(failed, [1, 1, 2, 0, 0, 0, 0]);
}

#[test]
fn a_stop_waits_for_no_receiver() {
    let (queue, shelf) = (quick(), Arc::new(Shelf::default()));
    let (sink, asks, tells) = puppet();
    let outbox = Arc::clone(&shelf);
    let running = start(&queue, outbox, sink, 3600, soon_after).unwrap();
    queue.push(parcel(1, 1));
    queue.push(parcel(2, 2));
    asks.recv().unwrap();
    assert!(
        !running.stop(Duration::from_millis(50)),
        "an attempt is under way"
    );
    assert_eq!(queue.waiting().0, 2);
    tells.send(Ok(Answered::Taken)).unwrap();
    // It is settled when it comes to its end all the same, and nothing new begins.
    shelf.wait_for(1);
    let state = queue.lock();
    let wait = queue
        .changed
        .wait_timeout_while(state, PATIENCE, |state| !state.ended);
    assert!(wait.unwrap().0.ended);
    assert!(asks.try_recv().is_err());
}

#[test]
fn a_panic_costs_an_attempt_and_no_more() {
    let (queue, shelf) = (quick(), Arc::new(Shelf::default()));
    let (sink, asks, tells) = puppet();
    let outbox = Arc::clone(&shelf);
    let running = start(&queue, outbox, sink, 3600, soon_after).unwrap();
    drop(tells);
    queue.push(parcel(1, 1));
    for marked in [false, true, true] {
        // The puppet has nobody to ask.
        assert_eq!(asks.recv(), Ok(marked));
    }
    assert!(running.stop(PATIENCE));
    assert!(shelf.state.lock().unwrap().settled.is_empty());
}
