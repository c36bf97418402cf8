//! The one file that reads the wall clock, and what the gateway thinks of it.

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
