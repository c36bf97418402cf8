//! What was answered since the start, one counter for each code, and how much of it is
//! worth a line.
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
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::log::quoted;
use crate::{Reject, Stage};

/// Most warnings in one [`WINDOW`].
const MAX_WARNINGS: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Counts of outcomes.
pub(crate) struct Tallies {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    /// In the order of [`Reject::CODES`].
    refused: Box<[AtomicU64]>,
    warnings: Mutex<Warnings>,
}

struct Warnings {
    since: Instant,
    asked: u64,
}

impl Tallies {
    pub(crate) fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            refused: Reject::CODES.iter().map(|_| AtomicU64::new(0)).collect(),
            warnings: Mutex::new(Warnings {
                since: Instant::now(),
                asked: 0,
            }),
        }
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refusal; `jti` is known where its message was judged to be genuine.
    pub(crate) fn refused(&self, reject: &Reject, jti: Option<&str>) {
        let code = reject.code();
        let at = Reject::CODES.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
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
        Stage::Size
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
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} accepted, {} duplicates",
            of(&self.accepted),
            of(&self.duplicates)
        )?;
        for (code, count) in Reject::CODES.iter().zip(&self.refused) {
            if of(count) > 0 {
                write!(f, ", {} {code}", of(count))?;
            }
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

    use super::{MAX_WARNINGS, Tallies, WINDOW, worth_a_warning};
    use crate::{JsonFault, Part, Reject, UnixTime};

    #[test]
    fn outcomes_are_told_by_their_codes() {
        let tallies = Tallies::new();
        tallies.accepted();
        tallies.duplicate();
        tallies.refused(&Reject::BadSignature, None);
        tallies.refused(&Reject::BadSignature, None);
        tallies.refused(&Reject::JtiConflict, Some("j"));
        assert_eq!(
            tallies.to_string(),
            "1 accepted, 1 duplicates, 2 bad_signature, 1 jti_conflict"
        );
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
