//! What was answered since the start, one counter for each code, how long it took, and how
//! much of it is worth a line.
//!
//! What a stranger can cause by sending bytes is counted, and told at level `debug` only.
//! A refusal behind a signature that held is a warning: it was signed by someone we know,
//! and a site's clock, settings or keys may be wrong. Even those are limited, because a
//! recorded message can be sent for ever.

use core::fmt;
use std::{
    prelude::v1::*,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    log::quoted,
    meter::{Counter, Histogram, Latest},
};
use crate::{Reject, Stage};

/// Most warnings in one [`WINDOW`].
const MAX_WARNINGS: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Counts of outcomes, and times. A message is first judged, then has its outcome, then is
/// answered.
pub(crate) struct Tallies {
    /// From the last byte of a `POST /do` to the verdict on its token.
    pub(crate) judgements: Histogram,
    /// From the first byte of such a request to its answer having been written.
    pub(crate) answers: Histogram,
    pub(crate) accepted: Counter,
    pub(crate) duplicates: Counter,
    /// When a message was accepted last.
    pub(crate) last_accepted: Latest,
    /// Seconds, or [`NO_SKEW`].
    skew_secs: AtomicI64,
    /// In the order of [`Reject::CODES`].
    refused: Box<[Counter]>,
    warnings: Mutex<Warnings>,
}

/// No message with an `iat` was accepted yet. No clock and no claim that is taken are so far
/// apart.
const NO_SKEW: i64 = i64::MIN;

struct Warnings {
    since: Instant,
    asked: u64,
}

impl Tallies {
    pub(crate) fn new() -> Self {
        Self {
            judgements: Histogram::default(),
            answers: Histogram::default(),
            accepted: Counter::new(),
            duplicates: Counter::new(),
            last_accepted: Latest::new(),
            skew_secs: AtomicI64::new(NO_SKEW),
            refused: Reject::CODES.iter().map(|_| Counter::new()).collect(),
            warnings: Mutex::new(Warnings {
                since: Instant::now(),
                asked: 0,
            }),
        }
    }

    /// Counts an acceptance; `skew_secs` lie between the message's `iat`, where it has one,
    /// and now.
    pub(crate) fn accepted(&self, skew_secs: Option<i64>) {
        self.last_accepted.note();
        if let Some(secs) = skew_secs {
            self.skew_secs.store(secs, Ordering::Release);
        }
        self.accepted.add();
    }

    /// How many seconds lay between the `iat` of the message that was accepted last, of those
    /// that have one, and that moment; negative where this clock is behind.
    pub(crate) fn skew_secs(&self) -> Option<i64> {
        let secs = self.skew_secs.load(Ordering::Acquire);
        (secs != NO_SKEW).then_some(secs)
    }

    /// Every code with its count.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(Counter::get);
        Reject::CODES.iter().copied().zip(counts)
    }

    /// Counts a refusal; `jti` is known where its message was judged to be genuine.
    pub(crate) fn refused(&self, reject: &Reject, jti: Option<&str>) {
        let code = reject.code();
        let at = Reject::CODES.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.refused.get(at)) {
            count.add();
        }
        let jti = fmt::from_fn(|f| match jti {
            Some(jti) => write!(f, " jti={}", quoted(jti)),
            None => Ok(()),
        });
        if !worth_a_warning(reject) {
            log::debug!("refused {code} at {}: {reject}{jti}", reject.stage());
        } else if self.may_warn(Instant::now()) {
            log::warn!("refused {code} at {}: {reject}{jti}", reject.stage());
        }
    }

    /// Whether another warning may be written, at `now`. The first that may after some
    /// that might not says how many they were.
    fn may_warn(&self, now: Instant) -> bool {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(warnings.since) >= WINDOW {
            let left_out = warnings.asked.saturating_sub(MAX_WARNINGS);
            if left_out > 0 {
                log::warn!("{left_out} more refusals were not told");
            }
            *warnings = Warnings {
                since: now,
                asked: 0,
            };
        }
        warnings.asked += 1;
        warnings.asked <= MAX_WARNINGS
    }
}

/// Whether this can only be met behind a signature that held, or is our own fault.
const fn worth_a_warning(reject: &Reject) -> bool {
    match reject.stage() {
        Stage::Claims | Stage::Time | Stage::Audience | Stage::Replay | Stage::Internal => true,
        // Not set is told once, at the start; stepped back is found behind the signature.
        Stage::Clock => !matches!(reject, Reject::ClockNotSet),
        // Told by the journal, with its reason, when it begins and when it ends.
        Stage::Journal
        | Stage::Size
        | Stage::Split
        | Stage::Header
        | Stage::Key
        | Stage::Signature
        | Stage::Connection
        | Stage::Head
        | Stage::Access
        | Stage::Route
        | Stage::Body => false,
    }
}

impl fmt::Display for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} duplicates",
            self.accepted.get(),
            self.duplicates.get()
        )?;
        for (code, count) in self.refusals().filter(|(_, count)| *count > 0) {
            write!(f, ", {count} {code}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        prelude::v1::*,
        time::{Duration, Instant},
    };

    use assert_no_alloc::{AllocDisabler, assert_no_alloc};

    use super::{MAX_WARNINGS, Tallies, WINDOW, worth_a_warning};
    use crate::{JsonFault, Part, Reject, UnixTime};

    #[test]
    fn outcomes_are_told_by_their_codes() {
        let tallies = Tallies::new();
        tallies.accepted(None);
        tallies.duplicates.add();
        tallies.refused(&Reject::BadSignature, None);
        tallies.refused(&Reject::BadSignature, None);
        tallies.refused(&Reject::JtiConflict, Some("j"));
        assert_eq!(
            tallies.to_string(),
            "1 accepted, 1 duplicates, 2 bad_signature, 1 jti_conflict"
        );
    }

    #[global_allocator]
    static ALLOCATOR: AllocDisabler = AllocDisabler;

    #[test]
    fn counting_allocates_nothing() {
        let tallies = Tallies::new();
        let took = Duration::from_micros(70);
        assert_no_alloc(|| {
            tallies.judgements.add(took);
            tallies.accepted(Some(1));
            tallies.duplicates.add();
            tallies.refused(&Reject::BadSignature, None);
            tallies.answers.add(took);
        });
        assert_eq!(tallies.answers.read().count, 1);
    }

    #[test]
    fn the_skew_is_the_last_that_was_seen() {
        let tallies = Tallies::new();
        assert_eq!(
            (tallies.skew_secs(), tallies.last_accepted.age()),
            (None, None)
        );
        for (seen, wanted) in [
            (None, None),
            (Some(-3), Some(-3)),
            (None, Some(-3)),
            (Some(0), Some(0)),
        ] {
            tallies.accepted(seen);
            assert_eq!(tallies.skew_secs(), wanted, "{seen:?}");
            assert!(tallies.last_accepted.age().is_some());
        }
    }

    #[test]
    fn warnings_are_limited_by_the_window() {
        let tallies = Tallies::new();
        let start = Instant::now();
        let warned = (0..100).filter(|_| tallies.may_warn(start)).count();
        assert_eq!(u64::try_from(warned), Ok(MAX_WARNINGS));
        assert!(!tallies.may_warn(start + WINDOW - Duration::from_millis(1)));
        assert!(tallies.may_warn(start + WINDOW));
    }

    #[test]
    fn a_stranger_cannot_cause_a_warning() {
        let at = UnixTime::EPOCH;
        let in_part = |part| Reject::Json {
            part,
            fault: JsonFault::Syntax,
            at: 0,
        };
        for (reject, wanted) in [
            (Reject::TokenEmpty, false),
            (Reject::HeaderEncoding, false),
            (in_part(Part::Header), false),
            (in_part(Part::Body), false),
            (in_part(Part::Claims), true),
            (Reject::UnknownKey, false),
            (Reject::BadSignature, false),
            (Reject::Expired { exp: at, now: at }, true),
            (Reject::WrongAudience, true),
            (Reject::JtiConflict, true),
            (Reject::ClockNotSet, false),
            (Reject::ClockSteppedBack { exp: at, floor: at }, true),
            (Reject::HostNotAllowed, false),
            (Reject::RequestTimeout, false),
            (Reject::Internal, true),
        ] {
            assert_eq!(worth_a_warning(&reject), wanted, "{}", reject.code());
        }
    }
}
