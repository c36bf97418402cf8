//! What is counted and timed: atomics that whoever works adds to without waiting and
//! without allocating, and that `metrics` reads.
//!
//! Adding releases and reading acquires: whoever reads a count sees everything that was
//! added, anywhere, before the last that it counts. So what is added first and read last is
//! never seen to lag behind.

use core::fmt;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A number that only grows, until the process ends.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Upper bounds of the buckets of every histogram, in microseconds, inclusive: from less
/// than a fast machine needs for a signature to more than any deadline.
const BOUNDS_MICROS: [u32; 18] = [
    20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// How many times lay where, and their sum.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS_MICROS.len()],
    /// Past the last bound.
    beyond: Counter,
    /// Nanoseconds: enough for five hundred years of them.
    sum: AtomicU64,
}

/// A histogram as it was read: what lies in a bucket lies in all behind it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    /// Upper bound, and how many are not above it.
    pub(crate) buckets: [(Duration, u64); BOUNDS_MICROS.len()],
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let bound = BOUNDS_MICROS
            .iter()
            .position(|bound| took <= Duration::from_micros(u64::from(*bound)));
        let bucket = bound.and_then(|at| self.buckets.get(at));
        bucket.unwrap_or(&self.beyond).add();
        // Last: a sum without what it is the sum of would contradict itself.
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum.fetch_add(nanos, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Reading {
        let sum = Duration::from_nanos(self.sum.load(Ordering::Acquire));
        let mut count = 0;
        let mut at = self.buckets.iter().zip(BOUNDS_MICROS);
        let buckets = [(); BOUNDS_MICROS.len()].map(|()| {
            at.next()
                .map_or((Duration::ZERO, count), |(bucket, bound)| {
                    count += bucket.get();
                    (Duration::from_micros(u64::from(bound)), count)
                })
        });
        Reading {
            buckets,
            count: count + self.beyond.get(),
            sum,
        }
    }
}

/// When something happened last, by a clock that nobody sets.
#[derive(Debug)]
pub(crate) struct Latest {
    born: Instant,
    /// Milliseconds from `born`, and one; 0 is never.
    last: AtomicU64,
}

impl Latest {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// It happened just now.
    pub(crate) fn note(&self) {
        let since = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Of several at once the latest stays.
        self.last
            .fetch_max(since.saturating_add(1), Ordering::Release);
    }

    /// How long ago it was, to a millisecond; `None` where it never happened.
    pub(crate) fn age(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        let age = self.born.elapsed();
        Some(age.saturating_sub(Duration::from_millis(last)))
    }
}

/// A time in seconds, without zeros at its end: `0.00002`, `10`.
pub(crate) fn seconds(time: Duration) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{}", time.as_secs())?;
        let (mut fraction, mut digits) = (time.subsec_nanos(), 9);
        if fraction == 0 {
            return Ok(());
        }
        while fraction % 10 == 0 {
            (fraction, digits) = (fraction / 10, digits - 1);
        }
        write!(f, ".{fraction:0digits$}")
    })
}

#[cfg(test)]
mod tests {
    use std::{prelude::v1::*, thread, time::Duration};

    use super::{BOUNDS_MICROS, Histogram, Latest, seconds};

    #[test]
    fn a_time_lies_in_the_first_bucket_that_holds_it_and_in_all_behind() {
        for (name, nanos, wanted) in [
            ("nothing", 0, Some(0)),
            ("a bound itself", 20_000, Some(0)),
            ("just above", 20_001, Some(1)),
            ("in the middle", 999_999, Some(5)),
            ("the last bound", 10_000_000_000, Some(17)),
            ("beyond", 10_000_000_001, None),
        ] {
            let histogram = Histogram::default();
            histogram.add(Duration::from_nanos(nanos));
            let read = histogram.read();
            assert_eq!(
                (read.count, read.sum),
                (1, Duration::from_nanos(nanos)),
                "{name}"
            );
            let first = read.buckets.iter().position(|(_, count)| *count == 1);
            assert_eq!(first, wanted, "{name}");
            let counts: Vec<_> = read.buckets.iter().map(|(_, count)| *count).collect();
            assert!(counts.is_sorted(), "{name}: {counts:?}");
        }
        assert!(BOUNDS_MICROS.is_sorted());
    }

    #[test]
    fn nothing_is_lost_where_many_add_at_once() {
        let histogram = Histogram::default();
        thread::scope(|scope| {
            for micros in [10, 1_500, 20_000_000] {
                let histogram = &histogram;
                scope.spawn(move || {
                    for _ in 0..1000 {
                        histogram.add(Duration::from_micros(micros));
                    }
                });
            }
        });
        let read = histogram.read();
        assert_eq!(read.count, 3000);
        assert_eq!(read.sum, Duration::from_micros(1000 * 20_001_510));
        assert_eq!(read.buckets[0].1, 1000);
        assert_eq!(read.buckets[17].1, 2000);
    }

    #[test]
    fn what_never_happened_has_no_age() {
        let latest = Latest::new();
        assert_eq!(latest.age(), None);
        latest.note();
        assert!(latest.age().is_some());
    }

    #[test]
    fn seconds_are_written_as_numbers() {
        for (nanos, wanted) in [
            (0, "0"),
            (1, "0.000000001"),
            (20_000, "0.00002"),
            (500_000_000, "0.5"),
            (10_000_000_000, "10"),
            (12_000_000_340, "12.00000034"),
        ] {
            assert_eq!(seconds(Duration::from_nanos(nanos)).to_string(), wanted);
        }
    }
}
