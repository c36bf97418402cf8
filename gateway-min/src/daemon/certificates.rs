//! The listener's certificate and key: where they are read from, that nobody else can
//! change them or read the key, and the pair that is in use. `keys::watch` keeps it at what
//! stands in the files, as it does with the keys of messages.
//!
//! Dates stop nothing at the start: a certificate that has ended is served, told at
//! `error`, and *degraded*. Browsers judge dates by clocks that are set, and a gateway that
//! does not come up after a power cut cannot even say what is wrong with it. A pair that
//! has ended never replaces one that has not.

use core::fmt;
use std::{path::PathBuf, prelude::v1::*, sync::Arc, time::Instant};

use log::Level;

use super::{
    clock::{self, Clock},
    exit::{Code, Stop},
    files::{self, Sight},
    health::Trouble,
    keys::watch::Source,
    listen::{Certificates, Half, Pair},
    log::raw,
};
use crate::UnixTime;

const CERT: &str = "GATEWAY_TLS_CERT";
const KEY: &str = "GATEWAY_TLS_KEY";
/// Longest file, in bytes: a chain of certificates with what tools write between them.
const MAX_PEM: usize = 64 * 1024;
/// So long before its end a certificate is *degraded*: a week to renew it by hand.
const SOON_SECS: i64 = 7 * DAY_SECS;
const DAY_SECS: i64 = 86_400;

/// The files of a pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PairFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// Reads a pair.
///
/// # Errors
/// [`Stop`] that names the setting, the file and the fault.
pub(crate) fn load(files: &PairFiles) -> Result<Pair, Stop> {
    let cert = files::read_guarded(CERT, &files.cert, MAX_PEM)?;
    let key = files::read_secret(KEY, &files.key, MAX_PEM)?;
    Pair::read(&cert, &key).map_err(|(half, what)| {
        let (name, path) = match half {
            Half::Certificate => (CERT, &files.cert),
            Half::Key => (KEY, &files.key),
        };
        Stop::new(Code::Data, format!("{name}: {}: {what}", path.display()))
    })
}

/// What an operator should know about a pair that is good, by a clock that may not be.
pub(crate) fn notes(pair: &Pair, now: UnixTime) -> Vec<(Level, String)> {
    note_of_dates(pair, now)
        .into_iter()
        .chain(note_of_kind(pair))
        .collect()
}

fn note_of_dates(pair: &Pair, now: UnixTime) -> Option<(Level, String)> {
    let level = match judge(pair, now)? {
        Fault::EndsSoon => Level::Warn,
        Fault::Ended | Fault::NotYet => Level::Error,
    };
    Some((level, format!("{CERT}: {}", told(pair, now))))
}

fn note_of_kind(pair: &Pair) -> Option<(Level, String)> {
    (!pair.for_browsers).then(|| {
        let told = format!("{CERT}: an Ed25519 certificate, which browsers do not take");
        (Level::Warn, told)
    })
}

/// What dates can be at fault in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    NotYet,
    EndsSoon,
    Ended,
}

impl Fault {
    /// Stable name, listed in the README.
    const fn code(self) -> &'static str {
        match self {
            Self::NotYet => "certificate_not_yet_valid",
            Self::EndsSoon => "certificate_ends_soon",
            Self::Ended => "certificate_expired",
        }
    }
}

/// A clock that was never set judges nothing.
fn judge(pair: &Pair, now: UnixTime) -> Option<Fault> {
    if clock::plausible(now) {
        judge_dates(pair.not_before, pair.not_after, now)
    } else {
        None
    }
}

/// Both dates are inclusive (RFC 5280 section 4.1.2.5).
fn judge_dates(not_before: UnixTime, not_after: UnixTime, now: UnixTime) -> Option<Fault> {
    if now < not_before {
        Some(Fault::NotYet)
    } else if now > not_after {
        Some(Fault::Ended)
    } else if not_after.since(now) < SOON_SECS {
        Some(Fault::EndsSoon)
    } else {
        None
    }
}

/// Its dates and its print, in words.
fn told(pair: &Pair, now: UnixTime) -> impl fmt::Display {
    let (from, until) = (pair.not_before, pair.not_after);
    fmt::from_fn(move |f| {
        let days = |late: UnixTime, early| late.since(early).div_euclid(DAY_SECS);
        match judge_dates(from, until, now) {
            Some(Fault::NotYet) => write!(
                f,
                "its certificate begins in {} days (at {from}), and until then browsers refuse it",
                days(from, now)
            ),
            Some(Fault::Ended) => write!(
                f,
                "its certificate ended {} days ago (at {until}), and browsers refuse it: renew it",
                days(now, until)
            ),
            Some(Fault::EndsSoon) => write!(
                f,
                "its certificate ends in {} days (at {until}): renew it",
                days(until, now)
            ),
            None => write!(
                f,
                "its certificate ends in {} days (at {until})",
                days(until, now)
            ),
        }?;
        write!(f, "; sha256 {}", pair.fingerprint())
    })
}

/// The files that a pair is kept at.
pub(crate) struct CertificateFiles {
    files: PairFiles,
    certificates: Arc<Certificates>,
    clock: Clock,
    /// Of the files: what stands in them is not in use.
    of_files: Arc<Trouble>,
    /// Of the pair in use: its dates.
    of_dates: Arc<Trouble>,
}

impl CertificateFiles {
    /// `files`, which `certificates` were loaded from.
    pub(crate) fn new(files: PairFiles, certificates: Arc<Certificates>, clock: Clock) -> Self {
        Self {
            files,
            certificates,
            clock,
            of_files: Arc::default(),
            of_dates: Arc::default(),
        }
    }

    /// What can be degraded about them.
    pub(crate) fn troubles(&self) -> Vec<Arc<Trouble>> {
        vec![Arc::clone(&self.of_files), Arc::clone(&self.of_dates)]
    }

    /// Tells what is in use, at the start.
    pub(crate) fn tell(&self) {
        let pair = self.certificates.current();
        let now = (self.clock)();
        // What is wrong with its dates is told by whoever judges them.
        if judge(&pair, now).is_none() {
            log::info!("{}: {}", raw(&self.place()), told(&pair, now));
        }
        if let Some((level, told)) = note_of_kind(&pair) {
            log::log!(level, "{told}");
        }
    }

    /// Judges the dates of the pair in use, at `now`; tells what has become of them.
    pub(crate) fn judge(&self, now: Instant) {
        let time = (self.clock)();
        let pair = self.certificates.current();
        let before = self.of_dates.get().map(|degraded| degraded.code);
        let code = judge(&pair, time).map(Fault::code);
        self.of_dates.set(code, time, now);
        if code != before
            && let Some((level, told)) = note_of_dates(&pair, time)
        {
            log::log!(level, "{told}");
        }
    }
}

impl Source for CertificateFiles {
    type Loaded = Pair;

    const KEPT: &'static str = "the certificate that was read before stays in use";

    fn place(&self) -> String {
        format!("{CERT}: {}", self.files.cert.display())
    }

    fn look(&self) -> Vec<Sight> {
        vec![files::look(&self.files.cert), files::look(&self.files.key)]
    }

    fn load(&self) -> Result<Pair, Stop> {
        let pair = load(&self.files)?;
        let now = (self.clock)();
        let ended = |pair: &Pair| judge(pair, now) == Some(Fault::Ended);
        if ended(&pair) && !ended(&self.certificates.current()) {
            let fault = format!("{}: {}", self.place(), told(&pair, now));
            return Err(Stop::new(Code::Data, fault));
        }
        Ok(pair)
    }

    fn take(&self, pair: Pair, asked: bool) -> Vec<(Level, String)> {
        let now = (self.clock)();
        if self.certificates.current().same_as(&pair) {
            let told = format!("{}: read again, the same certificate", raw(&self.place()));
            return asked.then_some((Level::Info, told)).into_iter().collect();
        }
        let news = format!("{}: taken: {}", raw(&self.place()), told(&pair, now));
        // Its dates are told by whoever judges them next.
        let lines = [(Level::Info, news)]
            .into_iter()
            .chain(note_of_kind(&pair))
            .collect();
        self.certificates.swap(pair);
        lines
    }

    fn trouble(&self) -> &Trouble {
        &self.of_files
    }

    fn code_of(&self, code: Code) -> &'static str {
        match code {
            Code::Data => "certificate_invalid",
            Code::NoPermission => "certificate_unprotected",
            Code::NoInput
            | Code::Io
            | Code::Os
            | Code::Usage
            | Code::Unavailable
            | Code::Config => "certificate_unreadable",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{DAY_SECS, Fault, SOON_SECS, judge_dates};
    use crate::UnixTime;

    #[test]
    fn both_dates_are_inclusive_and_the_last_week_is_told() {
        let (from, until) = (1_000, 1_000 + 90 * DAY_SECS);
        for (name, now, wanted) in [
            ("before", from - 1, Some(Fault::NotYet)),
            ("the first second", from, None),
            ("a week before the end", until - SOON_SECS, None),
            ("less", until - SOON_SECS + 1, Some(Fault::EndsSoon)),
            ("the last second", until, Some(Fault::EndsSoon)),
            ("behind it", until + 1, Some(Fault::Ended)),
        ] {
            let [from, until, now] = [from, until, now].map(UnixTime::from_secs);
            assert_eq!(judge_dates(from, until, now), wanted, "{name}");
        }
    }
}
