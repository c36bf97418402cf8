//! Whether this process may open as many files as its slots need: each connection is one.
//! The system's limit is not a setting, so nothing but a start can judge it: a start that
//! could never serve is refused, one that could not fill its slots is warned about.
//!
//! It knows Linux's `/proc`; where there is none, or no limit in it, it says nothing. Called
//! by `daemon`, once.

use std::prelude::v1::*;

use super::exit::{Code, Stop};

/// What is open beside connections, with room: the console, signals, listeners, the line to
/// the service manager, the probe's end, key files while they are read. 9 were counted in a
/// running gateway (`ls /proc/<pid>/fd`).
const OWN: u64 = 24;
/// Fewer connections than this serve nobody: the probe has one.
const LEAST: u64 = 2;

/// Judges the limit that `limits` tells, which is the text of `/proc/self/limits`, for so
/// many connections at once. What to warn of, where there is something.
///
/// # Errors
/// [`Stop`] where not even one client could be served.
pub(crate) fn judge(limits: &str, connections: usize) -> Result<Option<String>, Stop> {
    let Some(limit) = soft_limit(limits) else {
        return Ok(None);
    };
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_add(OWN);
    if limit >= needed {
        return Ok(None);
    }
    let told = format!(
        "file descriptors: {limit} are allowed, and {connections} connections need {needed}: \
         raise LimitNOFILE= of the unit (ulimit -n), or lower GATEWAY_SLOTS"
    );
    if limit < LEAST + OWN {
        Err(Stop::new(Code::Os, told))
    } else {
        Ok(Some(told))
    }
}

/// The soft limit of open files, where there is one.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::judge;
    use crate::daemon::exit::Code;

    #[test]
    fn the_limit_is_held_against_the_slots() {
        let said = |limit: &str, connections| {
            let limits = format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             1                    1                    processes \n\
                 Max open files            {limit}              4096                 files     \n"
            );
            match judge(&limits, connections) {
                Ok(None) => "nothing".to_owned(),
                Ok(Some(told)) => told,
                Err(stop) => {
                    assert_eq!(stop.code, Code::Os);
                    format!("refused: {}", stop.lines.join("; "))
                }
            }
        };
        let line = |limit, connections, needed| {
            format!(
                "file descriptors: {limit} are allowed, and {connections} connections need {needed}: \
                 raise LimitNOFILE= of the unit (ulimit -n), or lower GATEWAY_SLOTS"
            )
        };
        for (name, limit, connections, wanted) in [
            ("enough", "88", 64, "nothing".to_owned()),
            ("one too few", "87", 64, line("87", 64, 88)),
            ("the least", "26", 64, line("26", 64, 88)),
            (
                "less than that",
                "25",
                64,
                format!("refused: {}", line("25", 64, 88)),
            ),
            ("the least slots", "26", 2, "nothing".to_owned()),
            ("no limit", "unlimited", 1024, "nothing".to_owned()),
        ] {
            assert_eq!(said(limit, connections), wanted, "{name}");
        }
        assert_eq!(judge("", 64).unwrap(), None, "no such line");
    }
}
