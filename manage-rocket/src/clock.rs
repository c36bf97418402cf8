//! The only file that reads the clock. Everyone else is handed a [`Clock`]; tests hand in
//! their own.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_min::UnixTime;

/// Where the time comes from. Clones tell the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    /// The machine's own clock. A machine set before 1970 reads as 1970: no message signed
    /// then is taken anywhere.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads the clock"
    )]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let secs = since.map_or(0, |since| since.as_secs());
            UnixTime::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
        })
    }

    /// A clock that tells what `now` returns.
    pub fn new(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment, in whole seconds.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
