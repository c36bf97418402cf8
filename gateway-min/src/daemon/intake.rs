//! `POST /do`: from a request's body to one outcome. Judges with the core, asks the memory
//! of what was accepted, has it kept, logs, answers.
//!
//! A message is reserved before anything is done with it, and committed after it is in the
//! journal; a copy that comes in between waits for its fate, so that nobody is told
//! *duplicate* of what was then not kept. Whatever goes wrong in between, a panic included,
//! releases it.

use core::fmt;
use std::{
    prelude::v1::*,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    clock::{self, Clock},
    config::Config,
    keys::{KeyRing, Keys},
    listen::{Answer, Fields, json, put},
    log::{quoted, raw},
    memory::{Deliveries, Held, Keep, Memory, Standing},
    tallies::Tallies,
};
use crate::{
    Policy, Reject, Scratch, UnixTime, Verified,
    claims::{ActionType, SCHEMA_VERSION},
    limits::MAX_BODY,
    message_of, verify,
};

/// What is left of the deadline for writing the answer, when waiting for another copy.
const TO_ANSWER: Duration = Duration::from_secs(1);

/// How a body carries its token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carrier {
    /// `application/json`: `{"message": "<token>", "timestamp": "<RFC 3339>"}`.
    Json,
    /// `application/jose`: the bare token.
    Jose,
}

/// What one thread needs to judge, about 27 KB.
pub(crate) struct Desk {
    scratch: Box<Scratch>,
    text: Box<[u8]>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            scratch: Box::default(),
            text: vec![0; MAX_BODY].into_boxed_slice(),
        }
    }
}

/// When the parts of a judgement were done.
struct Phases {
    started: Instant,
    read: Instant,
    judged: Instant,
    reserved: Instant,
    kept: Instant,
    logged: Instant,
}

/// A request's body, and the times that its answer tells or obeys.
pub(crate) struct Submission<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) carrier: Carrier,
    pub(crate) started: Instant,
    pub(crate) read: Instant,
    pub(crate) deadline: Instant,
}

/// Everything that judges messages for one gateway.
pub(crate) struct Intake {
    id: String,
    issuer: Option<String>,
    leeway_secs: u32,
    max_lifetime_secs: u32,
    log_content: bool,
    ring: Arc<KeyRing>,
    clock: Clock,
    tallies: Arc<Tallies>,
    memory: Arc<Memory>,
    /// When something was accepted last before this start: no clock that is set is earlier.
    not_before: UnixTime,
    /// What makes acceptances last, where anything does.
    journal: Option<Arc<dyn Keep>>,
}

impl Intake {
    pub(crate) fn new(
        config: &Config,
        ring: Arc<KeyRing>,
        clock: Clock,
        tallies: Arc<Tallies>,
    ) -> Self {
        Self {
            id: config.id.clone(),
            issuer: config.issuer.clone(),
            leeway_secs: config.leeway_secs,
            max_lifetime_secs: config.max_lifetime_secs,
            log_content: config.log_content,
            ring,
            clock,
            tallies,
            memory: Arc::new(Memory::new(config.replay_capacity)),
            not_before: UnixTime::from_secs(i64::MIN),
            journal: None,
        }
    }

    /// The memory of what was accepted.
    #[cfg(feature = "journal")]
    pub(crate) const fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Has every message kept by `journal` from now on. The last one of an earlier start was
    /// accepted at `newest`.
    #[cfg(feature = "journal")]
    pub(crate) fn keep_in(&mut self, journal: Arc<dyn Keep>, newest: UnixTime) {
        self.not_before = newest.minus(self.leeway_secs);
        self.journal = Some(journal);
    }

    /// The gateway's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The keys that messages are judged with.
    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The time that messages are judged by, whether it is one or not.
    #[cfg(feature = "journal")]
    pub(crate) fn time(&self) -> UnixTime {
        (self.clock)()
    }

    /// Whether there is a time to judge messages by.
    pub(crate) fn clock_is_set(&self) -> bool {
        self.now().is_ok()
    }

    /// The site's rules.
    fn policy(&self) -> Policy<'_> {
        Policy {
            audience: &self.id,
            issuer: self.issuer.as_deref(),
            leeway_secs: self.leeway_secs,
            max_lifetime_secs: self.max_lifetime_secs,
        }
    }

    /// Judges a token with `keys` as its first presentation would be, without remembering
    /// it: at `now`, or by the clock.
    ///
    /// # Errors
    /// The core's, and [`Reject::ClockNotSet`] by a clock that is not.
    pub(crate) fn judge<'a>(
        &'a self,
        keys: &'a Keys,
        token: &'a [u8],
        now: Option<UnixTime>,
        scratch: &'a mut Scratch,
    ) -> Result<Verified<'a>, Reject> {
        let now = match now {
            Some(now) => now,
            None => self.now()?,
        };
        verify(token, keys, &self.policy(), now, scratch)
    }

    fn now(&self) -> Result<UnixTime, Reject> {
        let now = (self.clock)();
        if clock::plausible(now) && now >= self.not_before {
            Ok(now)
        } else {
            Err(Reject::ClockNotSet)
        }
    }

    /// Takes a message in, or says why not: makes the answer, counts the outcome.
    pub(crate) fn take(&self, submission: &Submission<'_>, desk: &mut Desk, answer: &mut Answer) {
        // One set from here to the answer, whatever is swapped in meanwhile.
        let set = self.ring.current();
        let keys = &set.keys;
        let judged = self.now().and_then(|now| {
            let token = match submission.carrier {
                Carrier::Json => message_of(submission.body, &mut desk.text)?,
                Carrier::Jose => submission.body,
            };
            let message = self.judge(keys, token, Some(now), &mut desk.scratch)?;
            Ok((message, now))
        });
        let done = Instant::now();
        let took = done.saturating_duration_since(submission.read);
        self.tallies.judgements.add(took);
        let (message, now) = match judged {
            Ok(judged) => judged,
            Err(reject) => return self.refuse(&reject, None, answer),
        };
        let wait_until = submission
            .deadline
            .checked_sub(TO_ANSWER)
            .unwrap_or(submission.deadline);
        let standing = match self.reserve(&message, now, wait_until) {
            Ok(standing) => standing,
            Err(reject) => return self.refuse(&reject, Some(message.jti()), answer),
        };
        let reserved = Instant::now();
        let duplicate = matches!(standing, Standing::Duplicate { .. });
        let kept = match standing {
            Standing::New(held) => self.keep(&message, held, now, wait_until),
            Standing::Duplicate { longer: true } => self.extend(&message, now, wait_until),
            Standing::Duplicate { longer: false } => Ok(()),
        };
        if let Err(reject) = kept {
            return self.refuse(&reject, Some(message.jti()), answer);
        }
        let kept = Instant::now();
        if duplicate {
            self.tallies.duplicates.add();
        } else {
            self.log(&message);
            let skew_secs = message.issued().map(|iat| now.since(iat));
            self.tallies.accepted(skew_secs);
        }
        let phases = Phases {
            started: submission.started,
            read: submission.read,
            judged: done,
            reserved,
            kept,
            logged: Instant::now(),
        };
        self.tell(&message, keys, duplicate, &phases, answer);
    }

    fn refuse(&self, reject: &Reject, jti: Option<&str>, answer: &mut Answer) {
        self.tallies.refused(reject, jti);
        answer.problem(reject, None);
    }

    fn reserve(
        &self,
        message: &Verified<'_>,
        now: UnixTime,
        wait_until: Instant,
    ) -> Result<Standing, Reject> {
        self.memory
            .reserve(message, now, self.leeway_secs, wait_until)
    }

    /// Makes a new message durable where there is a journal, and its reservation final.
    fn keep(
        &self,
        message: &Verified<'_>,
        held: Held,
        now: UnixTime,
        until: Instant,
    ) -> Result<(), Reject> {
        match &self.journal {
            Some(journal) => journal.keep(message, held, now, until),
            None => {
                held.commit();
                Ok(())
            }
        }
    }

    /// Makes durable that a message is remembered for longer.
    fn extend(&self, message: &Verified<'_>, now: UnixTime, until: Instant) -> Result<(), Reject> {
        if let Some(journal) = &self.journal {
            journal.extend(message, now, until)?;
        }
        self.memory.extended(message);
        Ok(())
    }

    /// How many messages are remembered, and how many can be.
    pub(crate) fn remembered(&self) -> (usize, usize) {
        self.memory.size()
    }

    /// The console line of an accepted message.
    fn log(&self, message: &Verified<'_>) {
        let content = fmt::from_fn(|f| match message.parameters() {
            Some(parameters) if self.log_content => write!(f, " parameters={}", raw(parameters)),
            _ => Ok(()),
        });
        log::info!(
            "accepted jti={} kid={}{}{}{content}",
            quoted(message.jti()),
            quoted(message.kid()),
            field("sub", message.subject()),
            field("action_type", message.action_type()),
        );
    }

    /// The answer to a message that was accepted, now or before.
    fn tell(
        &self,
        message: &Verified<'_>,
        keys: &Keys,
        duplicate: bool,
        phases: &Phases,
        answer: &mut Answer,
    ) {
        let body = answer.begin(200, "application/json", Fields::default());
        let jti = json(message.jti());
        if duplicate {
            put(body, format_args!(r#"{{"outcome":"duplicate","jti":{jti}"#));
        } else {
            let routed = message.action().is_some();
            put(
                body,
                format_args!(r#"{{"outcome":"accepted","jti":{jti},"routed":{routed}"#),
            );
        }
        if message.action() == Some(ActionType::Echo) {
            self.tell_echo(keys, phases, body);
        }
        put(body, format_args!("}}"));
    }

    /// What an echo comes back with: who answers, and how long each stage took.
    fn tell_echo(&self, keys: &Keys, phases: &Phases, body: &mut Vec<u8>) {
        let version = env!("CARGO_PKG_VERSION");
        put(
            body,
            format_args!(r#","version":"{version}","schema_versions":[{SCHEMA_VERSION}],"kids":["#),
        );
        for (at, kid) in keys.kids().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            put(body, format_args!("{comma}{}", json(kid)));
        }
        put(body, format_args!(r#"],"phases":["#));
        let times = [
            ("read", phases.started, phases.read),
            ("verify", phases.read, phases.judged),
            ("replay", phases.judged, phases.reserved),
            ("journal", phases.reserved, phases.kept),
            ("log", phases.kept, phases.logged),
        ];
        let mut comma = "";
        for (phase, from, to) in times {
            if phase == "journal" && self.journal.is_none() {
                continue;
            }
            let micros = to.saturating_duration_since(from).as_micros();
            put(
                body,
                format_args!(r#"{comma}{{"phase":"{phase}","micros":{micros}}}"#),
            );
            comma = ",";
        }
        put(body, format_args!("]"));
        if let Some(deliveries) = self.journal.as_ref().and_then(|kept| kept.deliveries()) {
            let Deliveries { waiting, failing } = deliveries;
            put(
                body,
                format_args!(r#","delivery":{{"waiting":{waiting},"failing":"#),
            );
            match failing {
                Some(phase) => put(body, format_args!(r#""{phase}"}}"#)),
                None => put(body, format_args!("null}}")),
            }
        }
    }
}

/// A claim on a log line, where it is there.
fn field(name: &str, value: Option<&str>) -> impl fmt::Display {
    fmt::from_fn(move |f| match value {
        Some(value) => write!(f, " {name}={}", quoted(value)),
        None => Ok(()),
    })
}

#[cfg(test)]
pub(super) mod tests;
