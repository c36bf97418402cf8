//! Time as an argument: seconds since 1970-01-01T00:00:00Z (RFC 7519 `NumericDate`,
//! whole seconds only). Nothing in the core reads a clock.
//!
//! Windows, with `leeway` in seconds on both ends:
//!
//! * a token is alive while `now < exp + leeway` (`exp` itself is outside: RFC 7519 section 4.1.4);
//! * `nbf` and `iat` are reached when `now + leeway >= nbf` (inclusive: section 4.1.5).
//!
//! Sums saturate, so that no claim can wrap a comparison round.

/// A moment, in whole seconds since the Unix epoch; negative before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `secs` seconds after (or, negative, before) the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs)
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// `secs` later, at most the last representable moment.
    #[must_use]
    pub fn plus(self, secs: u32) -> Self {
        Self(self.0.saturating_add_unsigned(u64::from(secs)))
    }

    /// `secs` earlier, at least the first representable moment.
    #[must_use]
    pub fn minus(self, secs: u32) -> Self {
        Self(self.0.saturating_sub_unsigned(u64::from(secs)))
    }

    /// Seconds from `earlier` to `self`; negative where `self` is the earlier one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl core::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::UnixTime;

    #[test]
    fn sums_saturate_at_both_ends() {
        let last = UnixTime::from_secs(i64::MAX);
        let first = UnixTime::from_secs(i64::MIN);
        assert_eq!(last.plus(1), last);
        assert_eq!(first.minus(1), first);
        assert_eq!(last.since(first), i64::MAX);
        assert_eq!(
            UnixTime::from_secs(10)
                .plus(5)
                .since(UnixTime::from_secs(12)),
            3
        );
    }
}
