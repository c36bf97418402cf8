//! One worker: takes requests up by their numbers, sends them, checks each answer and
//! counts it.

use core::fmt::Write as _;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use gateway_min::Reject;

use crate::{
    Run,
    requests::{BAD, Dice, Message},
    support::{Answer, Client, now, post, post_jose, request},
};

/// Accepted messages that a worker can repeat.
const RECENT: usize = 64;

/// What the clients saw.
#[derive(Default)]
pub(crate) struct Counts {
    /// Answers by outcome or code.
    answers: BTreeMap<String, u64>,
    /// Those of them that were given to a `POST /do` that reached judgement.
    pub(crate) judged: u64,
    /// Connections.
    pub(crate) opened: u64,
}

impl Counts {
    pub(crate) fn of(&self, what: &str) -> f64 {
        self.answers.get(what).copied().unwrap_or(0) as f64
    }

    /// Requests that were made, the health checks between them left out.
    pub(crate) fn requests(&self) -> f64 {
        self.answers.values().sum::<u64>() as f64 - self.of("live")
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.answers {
            *self.answers.entry(what.clone()).or_default() += count;
        }
        self.judged += other.judged;
        self.opened += other.opened;
    }

    pub(crate) fn print(&self, secs: f64) {
        println!(
            "{} requests on {} connections in {secs:.0} s",
            self.requests(),
            self.opened
        );
        println!("\n| answer | times |\n|---|---|");
        for (what, count) in &self.answers {
            println!("| {what} | {count} |");
        }
    }

    /// What the gateway's last line must say of them.
    pub(crate) fn closing(&self) -> String {
        let mut line = format!(
            "{} accepted, {} duplicates",
            self.of("accepted"),
            self.of("duplicate")
        );
        for code in Reject::CODES {
            let count = self.of(code);
            if count > 0.0 {
                write!(line, ", {count} {code}").unwrap();
            }
        }
        line
    }
}

pub(crate) struct Worker<'a> {
    run: &'a Run,
    number: u64,
    client: Option<Client>,
    counts: Counts,
    /// When the messages end that may be alive.
    ends: VecDeque<u64>,
    recent: VecDeque<Message>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(run: &'a Run, number: u64) -> Self {
        Self {
            run,
            number,
            client: None,
            counts: Counts::default(),
            ends: VecDeque::new(),
            recent: VecDeque::new(),
        }
    }

    /// Works until no request is left.
    pub(crate) fn work(mut self) -> Counts {
        while let Some(number) = self.run.take() {
            let mut dice = Dice::new(number);
            match dice.below(5) {
                0 => self.send_new(number, &mut dice),
                1 | 2 => self.send_again(number, &mut dice),
                _ => self.send_bad(&mut dice),
            }
            self.run.answered();
            if dice.below(32) == 0 {
                self.client = None;
            }
        }
        self.counts
    }

    fn client(&mut self) -> &mut Client {
        self.client.get_or_insert_with(|| {
            self.counts.opened += 1;
            Client::new(self.run.address)
        })
    }

    /// Asks, and closes the connection where the answer says so: after that nothing comes.
    fn ask(&mut self, bytes: &[u8]) -> Answer {
        let client = self.client();
        client.send(bytes);
        let answer = client.answer();
        if answer.field("Connection") == Some("close") {
            let client = self.client.take().unwrap();
            assert_eq!(client.rest(), "");
        }
        answer
    }

    /// Posts a token: what became of it. Expired is right where its time is over.
    fn post(&mut self, token: &str, end: u64, dice: &mut Dice) -> String {
        let bytes = if dice.below(2) == 0 {
            post(token)
        } else {
            post_jose(token.as_bytes())
        };
        let answer = self.ask(&bytes);
        let outcome = if answer.status == 200 {
            answer.outcome()
        } else {
            answer.refusal().1
        };
        assert!(outcome != "expired" || now() >= end, "{answer:?}");
        self.counts.judged += 1;
        self.count(&outcome);
        outcome
    }

    fn count(&mut self, what: &str) {
        *self.counts.answers.entry(what.to_owned()).or_default() += 1;
    }

    fn send_new(&mut self, number: u64, dice: &mut Dice) {
        if self.ends.len() >= self.run.window {
            let end = self.ends.pop_front().unwrap();
            // The gateway says nothing unasked, however long.
            while now() < end {
                assert!(self.client().nothing_within(Duration::from_millis(20)));
            }
        }
        let message = Message::new(self.number, number);
        self.ends.push_back(message.end);
        match self.post(&message.token, message.end, dice).as_str() {
            "accepted" => {
                self.recent.truncate(RECENT - 1);
                self.recent.push_front(message);
            }
            outcome => assert_eq!(outcome, "expired"),
        }
    }

    /// Sends what was accepted before, or, now and then, other content under its id.
    fn send_again(&mut self, number: u64, dice: &mut Dice) {
        let now = now();
        self.recent.retain(|message| message.end > now);
        let Some(message) = dice.pick(self.recent.make_contiguous()) else {
            return self.send_new(number, dice);
        };
        let end = message.end;
        let (token, wanted) = if dice.below(16) == 0 {
            (message.changed(), "jti_conflict")
        } else {
            (message.token.clone(), "duplicate")
        };
        let outcome = self.post(&token, end, dice);
        assert!(outcome == wanted || outcome == "expired", "{outcome}");
    }

    fn send_bad(&mut self, dice: &mut Dice) {
        let bad = dice.pick(&BAD).unwrap();
        let answer = self.ask(&(bad.request)(dice));
        let refusal = answer.refusal();
        assert_eq!(refusal, (bad.status, bad.code.to_owned()), "{}", bad.name);
        let closed = answer.field("Connection") == Some("close");
        assert_eq!(closed, bad.closes, "{}", bad.name);
        self.counts.judged += u64::from(bad.judged);
        self.count(bad.code);
        if dice.below(8) == 0 {
            // A good request behind a bad one is served.
            let page = self.ask(&request("GET /healthcheck/live", &[], b""));
            assert_eq!(page.status, 200);
            self.count("live");
        }
    }
}
