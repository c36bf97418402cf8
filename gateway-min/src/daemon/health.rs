//! Health is proved by traffic. Every ten seconds, or sooner for a watchdog's sake, a probe
//! makes a real request through the real listener; the health paths only report what it
//! found and how long ago, so that asking costs nothing and can prove nothing by itself.
//!
//! *Live*: a probe got through lately. *Ready*: live, and messages can be judged and kept:
//! keys are loaded, the clock is plausible, and where there is a journal, something was
//! written to it lately. *Degraded*: ready all the same, and somebody must see
//! to something.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    prelude::v1::*,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    listen::Transport,
    meter::{Counter, Latest},
};
use crate::UnixTime;

/// From one probe to the next, at most.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);
/// At least: whoever asks for less would have the gateway talk to itself alone.
const LEAST_PERIOD: Duration = Duration::from_millis(100);
/// A probe older than this proves nothing: two were missed.
pub(crate) const STALE: Duration = Duration::from_secs(25);
/// How long a probe waits for each step.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Something that is wrong and takes nothing out of service yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Degraded {
    /// Stable name, listed in the README.
    pub(crate) code: &'static str,
    /// When it began, by the wall clock of that time.
    pub(crate) since: UnixTime,
    /// When it began, by a clock that nobody sets.
    pub(crate) began: Instant,
}

/// One thing that can be degraded: somebody sets it, the readiness path tells it.
#[derive(Debug, Default)]
pub(crate) struct Trouble(RwLock<Option<Degraded>>);

impl Trouble {
    /// What is wrong, where something is.
    pub(crate) fn get(&self) -> Option<Degraded> {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong now, by the clock and by one that nobody sets. What was wrong before
    /// keeps its date, whatever it is called now.
    pub(crate) fn set(&self, code: Option<&'static str>, time: UnixTime, now: Instant) {
        let mut trouble = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *trouble = code.map(|code| match *trouble {
            Some(before) => Degraded { code, ..before },
            None => Degraded {
                code,
                since: time,
                began: now,
            },
        });
    }
}

/// What the probe found, for whoever asks.
#[derive(Debug)]
pub(crate) struct Health {
    last: Latest,
    /// Probes that got through, and those that did not.
    pub(crate) good: Counter,
    pub(crate) bad: Counter,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            last: Latest::new(),
            good: Counter::new(),
            bad: Counter::new(),
        }
    }

    /// How long ago a probe got through; `None` where none did yet.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.last.age()
    }

    /// Whether a probe got through lately.
    pub(crate) fn live(&self) -> bool {
        self.age().is_some_and(|age| age < STALE)
    }

    /// Notes that a probe got through just now.
    pub(crate) fn note(&self) {
        self.last.note();
        self.good.add();
    }
}

/// A running probe; it ends when this is dropped.
pub(crate) struct Probe {
    _stop: mpsc::Sender<()>,
}

/// What is proved with every probe beside the listener, and tells by itself what it found.
pub(crate) type Also = Box<dyn Fn() + Send>;

/// How the gateway is called by itself.
pub(crate) struct Call {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    /// A name that it answers to.
    pub(crate) host: String,
    /// From one call to the next, where somebody wants it sooner than usual.
    pub(crate) period: Option<Duration>,
}

/// Starts probing, the first time at once, and `also`; `told` hears of each probe whether it
/// came through.
///
/// # Errors
/// The system's, where it refuses the thread.
pub(crate) fn start(
    health: Arc<Health>,
    call: Call,
    also: Also,
    told: impl Fn(bool) + Send + 'static,
) -> io::Result<Probe> {
    let period = call.period.unwrap_or(PERIOD).clamp(LEAST_PERIOD, PERIOD);
    let (stop, stopped) = mpsc::channel();
    thread::Builder::new()
        .name("probe".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            let mut failed = false;
            loop {
                let answer = probe(&call);
                let through = answer.is_ok();
                match answer {
                    Ok(()) => {
                        health.note();
                        if failed {
                            log::info!("the gateway answers its own probe again");
                        }
                        failed = false;
                    }
                    Err(error) => {
                        health.bad.add();
                        if !failed {
                            log::warn!("the gateway does not answer its own probe: {error}");
                        }
                        failed = true;
                    }
                }
                also();
                told(through);
                match stopped.recv_timeout(period) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
    Ok(Probe { _stop: stop })
}

/// One request, as any client makes it.
fn probe(call: &Call) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&call.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match &call.transport {
        Transport::Plain => ask(stream, &call.host),
        #[cfg(feature = "tls")]
        Transport::Tls(certificates) => ask(certificates.call(stream)?, &call.host),
    }
}

fn ask(mut stream: impl Read + Write, host: &str) -> io::Result<()> {
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(io::Error::other("an answer that is not 200"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Health, Trouble};
    use crate::UnixTime;

    #[test]
    fn nothing_is_live_before_a_probe_got_through() {
        let health = Health::new();
        assert_eq!((health.live(), health.age()), (false, None));
        health.note();
        assert!(health.live() && health.age().is_some());
    }

    #[test]
    fn trouble_is_dated_from_its_beginning() {
        let trouble = Trouble::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let told = || {
            trouble
                .get()
                .map(|told| (told.code, told.since, told.began))
        };
        for (code, secs, wanted) in [
            (None, 1, None),
            (Some("a"), 2, Some(("a", 2))),
            (Some("b"), 3, Some(("b", 2))),
            (None, 4, None),
            (Some("b"), 5, Some(("b", 5))),
        ] {
            let at = |secs| (UnixTime::from_secs(i64::from(secs)), start + second * secs);
            let (time, now) = at(secs);
            trouble.set(code, time, now);
            let wanted = wanted.map(|(code, secs)| (code, at(secs).0, at(secs).1));
            assert_eq!(told(), wanted, "{secs}");
        }
    }
}
