//! `kill -9` at random moments under load, over and over on the same journal: what was
//! answered *accepted* is kept and delivered, whatever the moment; nothing is told
//! *duplicate* that is not kept; and of the deliveries of one message none but the first
//! goes unmarked.

use std::{collections::BTreeMap, sync::Mutex, thread, time::Duration};

use crate::{
    caller::Caller,
    chance::Chance,
    is_full,
    sink_server::{OK, Reply, SinkServer},
    site::{Printed, Site, token_at},
    support::now,
};

/// Client threads at once.
const CLIENTS: usize = 4;
/// Messages of one client in one life, at most.
const PER_LIFE: usize = 40;
/// Rounds on one journal.
const ERA: usize = 20;

/// A message that was sent, and what was said about it.
struct Sent {
    jti: String,
    token: String,
    exp: u64,
    accepted: usize,
    duplicate: usize,
}

impl Sent {
    /// Whether anybody was told that it is kept.
    const fn is_promised(&self) -> bool {
        self.accepted + self.duplicate > 0
    }
}

/// All messages of one journal.
#[derive(Default)]
struct Book(Mutex<Vec<Sent>>);

impl Book {
    /// A new message's number.
    fn write(&self, life: u64, chance: &Chance) -> usize {
        let mut sent = self.0.lock().unwrap();
        let number = sent.len();
        let jti = format!("m-{number}");
        let sub = format!("appointment-{}", chance.below(50));
        let iat = now();
        sent.push(Sent {
            token: token_at(&jti, &sub, iat, life),
            exp: iat + life,
            jti,
            accepted: 0,
            duplicate: 0,
        });
        number
    }

    fn token(&self, number: usize) -> String {
        self.0.lock().unwrap()[number].token.clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Notes an answer; what is neither *accepted* nor *duplicate* promises nothing.
    fn note(&self, number: usize, answer: &str) {
        let mut sent = self.0.lock().unwrap();
        match answer {
            "accepted" => sent[number].accepted += 1,
            "duplicate" => sent[number].duplicate += 1,
            "expired" | "in_progress" | "journal_unavailable" => {}
            other => panic!("{}: {other}", sent[number].jti),
        }
    }
}

/// One journal, its receiver, and everything that was said.
struct Era {
    site: Site,
    sink: SinkServer,
    book: Book,
    /// How long its messages live.
    life: u64,
    /// What the journal said when the process had ended last.
    last: BTreeMap<String, u64>,
    /// Messages that have left it, delivered and expired.
    gone: usize,
}

impl Era {
    fn new(life: u64) -> Self {
        let sink = SinkServer::start();
        let site = Site::new(&[
            ("GATEWAY_DELIVER_URL", &sink.url("/")),
            ("GATEWAY_DELIVER_TIMEOUT_SECS", "1"),
            ("GATEWAY_JOURNAL_MAX_MB", "8"),
            ("GATEWAY_REPLAY_CAPACITY", "20000"),
            ("GATEWAY_LEEWAY_SECS", "0"),
        ]);
        Self {
            site,
            sink,
            book: Book::default(),
            life,
            last: BTreeMap::new(),
            gone: 0,
        }
    }

    /// One life of the process, from its start to its end at a moment of chance.
    fn round(&mut self, chance: &Chance) {
        self.misbehave(chance);
        if chance.once_in(6) {
            self.killed_while_it_starts(chance);
            // The very first one may not have come as far as its folder.
            if self.site.journal.exists() {
                self.look();
            }
        }
        let gateway = self.site.start();
        self.ask_again(gateway.address, chance);
        let moment = Duration::from_micros(u64::try_from(chance.below(150_000)).unwrap());
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (chance, book, life) = (chance.split(), &self.book, self.life);
                let address = gateway.address;
                scope.spawn(move || {
                    let Some(mut caller) = Caller::new(address) else {
                        return;
                    };
                    for _ in 0..PER_LIFE {
                        let copy = chance.once_in(3) && book.len() > 0;
                        let number = if copy {
                            // Mostly of what others have only just sent.
                            let known = book.len();
                            known - 1 - chance.below(known.min(2 * CLIENTS))
                        } else {
                            book.write(life, &chance)
                        };
                        match caller.post(&book.token(number)) {
                            Some(answer) => book.note(number, &answer),
                            None => return,
                        }
                    }
                });
            }
            // The moment itself is what is drawn: there is nothing to wait for.
            thread::park_timeout(moment);
            drop(gateway);
        });
        self.look();
    }

    /// Ends a process within the first moments of its life.
    fn killed_while_it_starts(&self, chance: &Chance) {
        let mut child = self
            .site
            .command()
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let moment = u64::try_from(chance.below(15_000)).unwrap();
        thread::park_timeout(Duration::from_micros(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What the receiver does with the next messages.
    fn misbehave(&self, chance: &Chance) {
        let ok = || Reply::Say(OK.to_owned());
        let one = |chance: &Chance| match chance.below(12) {
            0 => Reply::Silence,
            1 => Reply::Close,
            2 => Reply::status(500, ""),
            3 => Reply::status(503, "Retry-After: 1\r\n"),
            4 => Reply::SayAndClose(OK.to_owned()),
            // Taken, and the gateway will not hear of it.
            5 => Reply::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok".to_owned()),
            _ => ok(),
        };
        let many = if chance.once_in(2) { 1 } else { 30 };
        let replies: Vec<_> = (0..chance.below(many)).map(|_| one(chance)).collect();
        self.sink.reply(replies.into_iter().chain([ok()]));
    }

    /// Compares what was said with what is on the disk, while nobody writes to it.
    #[track_caller]
    fn look(&mut self) {
        let printed = self.site.printed();
        let received = self.received();
        let sent = self.book.0.lock().unwrap();
        for one in &*sent {
            assert!(one.accepted <= 1, "{} was accepted twice", one.jti);
            match printed.messages.get(&one.jti) {
                Some(told) => {
                    let before = self.last.insert(one.jti.clone(), told.seq);
                    assert!(
                        before.is_none_or(|before| before == told.seq),
                        "{}: {before:?}, then {}",
                        one.jti,
                        told.seq
                    );
                }
                None => {
                    let delivered = received.contains_key(&one.jti);
                    assert!(
                        !one.is_promised() || (now() >= one.exp && delivered),
                        "{} was promised, and is not there; delivered: {delivered}",
                        one.jti
                    );
                    assert!(
                        !self.last.contains_key(&one.jti) || now() >= one.exp,
                        "{} was there before",
                        one.jti
                    );
                }
            }
        }
        let known = |jti: &String| sent.iter().any(|one| one.jti == *jti);
        let invented = printed.messages.keys().find(|jti| !known(jti));
        assert_eq!(invented, None);
        let mut seqs: Vec<_> = self.last.values().collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), self.last.len(), "a number was used twice");
        self.gone = self.last.len() - printed.messages.len();
    }

    /// Marks of all deliveries of each message, in the order in which they were sent.
    fn received(&self) -> BTreeMap<String, Vec<bool>> {
        let mut received = self.sink.received();
        // The reading of an ended process's last request may be overtaken.
        received.sort_by_key(|one| one.connection);
        let mut marks: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for one in received {
            marks.entry(one.jti()).or_default().push(one.is_marked());
        }
        marks
    }

    /// What a new process says of what an earlier one was sent: exactly what the journal said.
    #[track_caller]
    fn ask_again(&self, address: std::net::SocketAddr, chance: &Chance) {
        let printed = self.site.printed();
        let mut caller = Caller::new(address).unwrap();
        let count = self.book.len();
        for number in 0..count {
            let sent = self.book.0.lock().unwrap();
            let one = &sent[number];
            // Everything that nobody was told of, the newest, and some of the rest.
            let asked = !one.is_promised() || number + 10 > count || chance.once_in(50);
            let alive = now() < one.exp;
            let (token, kept) = (one.token.clone(), printed.messages.contains_key(&one.jti));
            drop(sent);
            if asked && alive {
                let answer = caller.post(&token).unwrap();
                let wanted = if kept { "duplicate" } else { "accepted" };
                assert!(
                    answer == wanted || answer == "expired",
                    "{number}: {answer}, and not {wanted}"
                );
                self.book.note(number, &answer);
            }
        }
    }

    /// Lets everything be delivered, and looks at what came: how many messages, how many
    /// deliveries, how many of them marked.
    #[track_caller]
    fn end(mut self) -> (usize, usize, usize) {
        self.sink.reply([Reply::Say(OK.to_owned())]);
        let gateway = self.site.start();
        let Printed { sum, .. } = self.site.wait_for_deliveries();
        drop(gateway);
        self.look();
        let received = self.received();
        let sent = self.book.0.lock().unwrap();
        for one in sent.iter().filter(|one| one.is_promised()) {
            assert!(received.contains_key(&one.jti), "{} never came", one.jti);
        }
        for (jti, marks) in &received {
            let unmarked = marks.iter().skip(1).any(|marked| !marked);
            assert!(!unmarked, "{jti} came again unmarked: {marks:?}");
            assert!(self.last.contains_key(jti), "{jti} came and was never kept");
        }
        let all: Vec<_> = received.into_values().flatten().collect();
        let marked = all.iter().filter(|marked| **marked).count();
        eprintln!(
            "{} sent, {} gone, {} deliveries, {marked} marked; {sum}",
            sent.len(),
            self.gone,
            all.len()
        );
        (sent.len(), all.len(), marked)
    }
}

#[test]
fn killed_at_any_moment_nothing_that_was_accepted_is_lost_or_sent_again_unmarked() {
    let chance = Chance::told("kills");
    let rounds = if is_full() { 1000 } else { 15 };
    let (mut done, mut totals) = (0, (0, 0, 0));
    // Every other journal's messages expire while it is used, so that segments go.
    for life in [3600, 1].into_iter().cycle() {
        let mut era = Era::new(life);
        let count = if is_full() { ERA } else { 8 };
        for _ in 0..count.min(rounds - done) {
            era.round(&chance);
            done += 1;
        }
        let (sent, deliveries, marked) = era.end();
        totals = (totals.0 + sent, totals.1 + deliveries, totals.2 + marked);
        if done == rounds {
            break;
        }
    }
    let (sent, deliveries, marked) = totals;
    eprintln!("{done} kills: {sent} messages, {deliveries} deliveries, {marked} of them marked");
    assert!(sent > 10 * done && marked > 0, "there was hardly any load");
}
