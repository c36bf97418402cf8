//! The one file that reads the wall clock, and what the gateway thinks of it.

#[cfg(feature = "journal")]
use std::time::{Duration, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::UnixTime;

/// The wall clock, injected so that tests can turn it.
pub(crate) type Clock = fn() -> UnixTime;

/// Date of the commit that this was built from (see `build.rs`). A clock that is earlier
/// was never set: every message would be judged by 1970.
pub(crate) const COMMIT: UnixTime = match i64::from_str_radix(env!("COMMIT_SECS"), 10) {
    Ok(secs) => UnixTime::from_secs(secs),
    Err(_) => UnixTime::EPOCH,
};

/// The system's clock, in whole seconds. Before 1970 it is the epoch: not plausible either.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the gateway reads the wall clock"
)]
pub(crate) fn system() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .map_or(UnixTime::EPOCH, UnixTime::from_secs)
}

/// Whether a message can be judged by this time.
pub(crate) fn plausible(now: UnixTime) -> bool {
    now >= COMMIT
}

/// How far the wall clock may run from real time between two looks before that is a jump.
#[cfg(feature = "journal")]
const JUMP_SECS: u64 = 60;

/// Watches whether the wall clock goes as real time does, for decisions that cannot be taken
/// back.
#[cfg(feature = "journal")]
#[derive(Debug, Default)]
pub(crate) struct Steadiness {
    last: Option<(UnixTime, Instant)>,
    jumped: Option<Instant>,
}

#[cfg(feature = "journal")]
impl Steadiness {
    /// Looks at both clocks: how long ago the wall clock was seen to jump; `None` where it
    /// never was.
    pub(crate) fn look(&mut self, time: UnixTime, now: Instant) -> Option<Duration> {
        if let Some((before, then)) = self.last {
            let real = now.saturating_duration_since(then).as_secs();
            let real = i64::try_from(real).unwrap_or(i64::MAX);
            if time.since(before).abs_diff(real) > JUMP_SECS {
                self.jumped = Some(now);
            }
        }
        self.last = Some((time, now));
        self.jumped
            .map(|jumped| now.saturating_duration_since(jumped))
    }
}

#[cfg(all(test, feature = "journal"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::{COMMIT, Steadiness};

    #[test]
    fn a_jump_is_told_by_its_age_and_drift_is_none() {
        let mut steadiness = Steadiness::default();
        let begun = Instant::now();
        let secs = Duration::from_secs;
        for (name, wall, real, wanted) in [
            ("the first look", 0, 0, None),
            ("in step", 1000, 1000, None),
            ("a minute fast", 2060, 2000, None),
            ("a minute slow again", 3000, 3000, None),
            ("set forward", 4100, 4000, Some(0)),
            ("in step again", 5100, 5000, Some(1000)),
            ("set back", 100, 6000, Some(0)),
            ("in step once more", 160, 6060, Some(60)),
        ] {
            let age = steadiness.look(COMMIT.plus(wall), begun + secs(real));
            assert_eq!(age, wanted.map(secs), "{name}");
        }
    }
}
