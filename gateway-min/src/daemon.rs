//! The daemon and its commands: start-up told in order, and how it stops. Everything that
//! moves bytes is below here; every decision about a token is the core's.
//!
//! | file | what lives there, what it may touch |
//! |---|---|
//! | `config` (+ `line`) | settings with their origin, a configuration that cannot be invalid |
//! | `exit` | exit codes |
//! | `files` (+ `folder`) | opening with checks: the only files that open any |
//! | `keys` (+ `watch`) | the key set, and its exchange while messages come in |
//! | `certificates` (feature `tls`) | the listener's certificate, and its exchange |
//! | `clock` | the only file that reads the wall clock |
//! | `log` | the queue to the console; the only file that names `simple_logger` |
//! | `listen` (+ `slots`, `wire`, `tls`, `head`, `answer`, `connection`) | the guarded socket |
//! | `route`, `intake`, `cors`, `hosts` | what is answered to what |
//! | `memory` | what was accepted, and the wait for a copy's fate |
//! | `journal` (+ `record`, `scan`, `segments`, `keeper`, `print`; feature `journal`) | what *accepted* rests on |
//! | `deliver` (+ `line`, `note`; feature `journal`) | the queue of kept messages, and the thread that delivers them |
//! | `sink` (+ `http`, `answer`, `resolve`, `wire`, `tls`; feature `journal`) | where they are delivered to |
//! | `tallies`, `meter`, `metrics` | what is counted and timed, and the page that tells it |
//! | `health` | the probe that proves it |
//! | `notify` | the service manager, told of it |
//! | `descriptors` | whether the system allows as many connections as were asked for |
//! | `signals` | what SIGHUP, SIGTERM and SIGINT ask for |
//! | `verdict` | the `verify` command |

#[cfg(not(unix))]
compile_error!("the daemon checks who owns its files and stops by signals: it needs a Unix");

use std::{
    ffi::OsString,
    io::{self, ErrorKind, Write},
    net::{SocketAddr, TcpListener},
    prelude::v1::*,
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

#[cfg(feature = "tls")]
mod certificates;
mod clock;
mod config;
mod cors;
#[cfg(feature = "journal")]
mod deliver;
mod descriptors;
mod exit;
mod files;
mod health;
mod hosts;
mod intake;
#[cfg(feature = "journal")]
mod journal;
mod keys;
mod listen;
mod log;
mod memory;
mod meter;
mod metrics;
mod notify;
mod route;
mod signals;
#[cfg(feature = "journal")]
mod sink;
mod tallies;
mod verdict;

#[cfg(feature = "tls")]
use certificates::CertificateFiles;
use config::{Command, Config, KeySource};
use cors::Cors;
#[cfg(feature = "journal")]
use deliver::{Outbox, Queue, Running};
use exit::{Code, Stop};
use health::{Call, Health, Trouble};
use intake::Intake;
#[cfg(feature = "journal")]
use journal::{Bounds, Journal};
use keys::{
    KeyFiles, KeyRing,
    watch::{self, Watch},
};
#[cfg(feature = "tls")]
use listen::Certificates;
use listen::{Deadlines, Server, Slots, Transport};
#[cfg(feature = "journal")]
use memory::Keep;
use notify::Notify;
use route::{Gateway, Paths, State};
use signals::{Signals, Wish};
#[cfg(feature = "journal")]
use sink::Sink;
use tallies::Tallies;

/// Connections at once on a listener for metrics alone: whoever collects needs one.
const METRICS_SLOTS: usize = 4;
/// How long a delivery has that is under way: it is in the journal.
#[cfg(feature = "journal")]
const DELIVERY_DRAIN: Duration = Duration::from_secs(2);
/// How long the disk has for what was accepted last.
#[cfg(feature = "journal")]
const JOURNAL_DRAIN: Duration = Duration::from_secs(5);
/// How long begun requests have to end: the time to read one and to answer it.
const DRAIN: Duration = Duration::from_secs(14);

/// Runs the command: `args` behind the program's name, and the environment.
pub fn main(
    args: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> ExitCode {
    match run(args, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            log::flush();
            tell(&stop.lines);
            stop.code.into()
        }
    }
}

fn run(
    args: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), Stop> {
    let line = config::cut(args)?;
    let command = line.command;
    match command {
        Command::Help => return say(&config::help()),
        Command::Version => return say(concat!("gateway-min ", env!("CARGO_PKG_VERSION"), "\n")),
        #[cfg(feature = "journal")]
        Command::Journal { content } => {
            let folder = config::journal_folder(line, environment)?;
            return journal::print::run(folder, content, io::stdout().lock());
        }
        Command::Serve | Command::Check | Command::Verify(_) => {}
    }
    let environment: Vec<_> = environment.collect();
    let config = Config::judge(line, environment.iter().cloned())?;
    if command == Command::Serve {
        log::start(config.log).map_err(|error| os("the log", &error))?;
        let version = env!("CARGO_PKG_VERSION");
        ::log::info!("gateway-min {version}, commit of {}", clock::COMMIT);
        for told in &config.told {
            ::log::info!("{told}");
        }
    }
    let (name, source) = &config.keys;
    let ring = Arc::new(KeyRing::new(keys::load(name, source)?));
    let set = ring.current();
    for kid in set.keys.kids() {
        ::log::info!("key {}", log::quoted(kid));
    }
    for note in &set.notes {
        ::log::warn!("{}", log::raw(note));
    }
    #[cfg(feature = "tls")]
    if let (Some(files), Command::Check) = (&config.tls, command) {
        let notes = certificates::notes(&certificates::load(files)?, clock::system());
        let notes: Vec<_> = notes.into_iter().map(|(_, note)| note).collect();
        tell(&notes);
    }
    #[cfg(feature = "journal")]
    if let (Some(place), Command::Check) = (&config.journal, command) {
        journal::check(&place.folder)?;
    }
    let tallies = Arc::new(Tallies::new());
    let intake = Intake::new(
        &config,
        Arc::clone(&ring),
        clock::system,
        Arc::clone(&tallies),
    );
    match command {
        Command::Check => {
            tell(&set.notes);
            say("the configuration is good\n")
        }
        Command::Verify(now) => verdict::run(&intake, now, io::stdin().lock(), io::stdout().lock())
            .or_else(|error| match error.kind() {
                // Whoever read the verdicts has read enough.
                ErrorKind::BrokenPipe => Ok(()),
                _ => Err(Stop::new(Code::Io, format!("verify: {error}"))),
            }),
        _ => {
            // Not held while serving: what was replaced is to be freed.
            drop(set);
            let notify = Notify::of(&environment, process::id());
            serve(config, ring, intake, &tallies, notify)
        }
    }
}

/// From judged settings to the last answer.
fn serve(
    config: Config,
    ring: Arc<KeyRing>,
    mut intake: Intake,
    tallies: &Arc<Tallies>,
    notify: Notify,
) -> Result<(), Stop> {
    let mut keeping = keep(&config, &mut intake)?;
    if !intake.clock_is_set() {
        ::log::warn!("the clock is not set: no message is judged until it is");
    }
    let Door {
        transport,
        mut looks,
        mut troubles,
    } = door(&config)?;
    troubles.extend(keeping.troubles());
    if transport.is_plain() && !config.listen.ip().to_canonical().is_loopback() {
        ::log::warn!("no TLS: messages and answers can be read and forged on their way");
    }

    let metrics_slots = config.metrics.as_ref().map_or(0, |_| METRICS_SLOTS);
    let limits = files::own_limits().unwrap_or_default();
    if let Some(told) = descriptors::judge(&limits, config.slots + metrics_slots)? {
        ::log::warn!("{told}");
    }
    let mut signals = Signals::catch().map_err(|error| os("signals", &error))?;
    let listener = bind("GATEWAY_LISTEN", config.listen)?;
    let health = Arc::new(Health::new());
    let host = config.hosts.first().cloned().unwrap_or_default();
    let slots = Slots::new(config.slots, config.per_address, Deadlines::LOCAL);
    let slots = Arc::new(slots);
    let state = Arc::new(State {
        intake,
        health: Arc::clone(&health),
        tallies: Arc::clone(tallies),
        #[cfg(feature = "journal")]
        queue: Arc::clone(&keeping.queue),
        slots: Arc::clone(&slots),
        troubles,
        #[cfg(feature = "journal")]
        journal: keeping.journal.clone(),
        born: Instant::now(),
    });
    let collected = match config.metrics {
        Some((address, names)) => {
            let cors = Cors::new(&config.origins);
            let site = Gateway::new(names, cors, Arc::clone(&state), Paths::MetricsOnly);
            Some(serve_metrics(address, site)?)
        }
        None => None,
    };
    let paths = match collected {
        Some(_) => Paths::AllButMetrics,
        None => Paths::All,
    };
    let notify = Arc::new(notify);
    let beat = {
        let (notify, state) = (Arc::clone(&notify), Arc::clone(&state));
        move |through| notify.beat(through, &state.standing(through))
    };
    let gateway = Gateway::new(config.hosts, Cors::new(&config.origins), state, paths);
    let server = listen::serve(listener, slots, Arc::new(gateway), &transport);
    let server = server.map_err(|error| os("threads", &error))?;
    let call = Call {
        address: server.own_address(),
        transport: transport.clone(),
        host,
        period: notify.probe_period(),
    };
    let also = keeping.probe();
    let probe = health::start(health, call, also, beat);
    let probe = probe.map_err(|error| os("the probe", &error))?;
    keeping.deliver()?;
    let (name, source) = config.keys;
    let keys_can_change = match source {
        KeySource::Path(path) => {
            let mut watch = Watch::new(KeyFiles::new(name, path, ring), clock::system);
            looks.push(Box::new(move |asked, now| watch.look(asked, now)));
            true
        }
        KeySource::Inline(_) => false,
    };
    // Announced when it is so: the socket is bound, and every thread stands.
    ::log::info!("listening on {}", server.address());

    loop {
        let limit = (!looks.is_empty()).then_some(watch::PERIOD);
        let wish = signals.next(limit).map_err(|error| os("signals", &error))?;
        if wish == Some(Wish::Stop) {
            break;
        }
        let asked = wish == Some(Wish::Reload);
        for look in &mut looks {
            look(asked, Instant::now());
        }
        if asked && !keys_can_change {
            ::log::info!(
                "asked to read the keys again: {name} holds their text itself, which cannot change"
            );
        }
    }
    notify.stopping();
    ::log::info!("asked to stop: finishing what has begun");
    drop(probe);
    let until = Instant::now() + DRAIN;
    let servers = [Some(server), collected].into_iter().flatten();
    for server in servers {
        if !server.drain(until.saturating_duration_since(Instant::now())) {
            ::log::warn!("some requests did not end in time");
        }
    }
    keeping.stop();
    transport.tell();
    ::log::info!("stopped: {tallies}");
    log::flush();
    Ok(())
}

/// What makes acceptances last, and takes them on.
#[derive(Default)]
struct Keeping {
    #[cfg(feature = "journal")]
    journal: Option<Arc<Journal>>,
    #[cfg(feature = "journal")]
    queue: Arc<Queue>,
    #[cfg(feature = "journal")]
    sink: Option<Box<dyn Sink>>,
    #[cfg(feature = "journal")]
    deliveries: Option<Running>,
}

#[cfg(not(feature = "journal"))]
fn keep(config: &Config, _: &mut Intake) -> Result<Keeping, Stop> {
    warn_of_no_journal(config);
    Ok(Keeping::default())
}

/// Reads the journal, where there is one, and begins to keep messages in it.
#[cfg(feature = "journal")]
fn keep(config: &Config, intake: &mut Intake) -> Result<Keeping, Stop> {
    let Some(place) = &config.journal else {
        warn_of_no_journal(config);
        return Ok(Keeping::default());
    };
    let bounds = Bounds {
        max_bytes: u64::from(place.max_mb) << 20,
        max_age_secs: place.max_age_hours.saturating_mul(3600),
        leeway_secs: config.leeway_secs,
        delivers: config.deliver.is_some(),
    };
    let opened = journal::open(&place.folder, bounds, intake.memory())?;
    let newest = opened.newest;
    let queue = Arc::new(Queue::default());
    let journal = opened.start(Arc::clone(&queue), clock::system);
    let journal = Arc::new(journal.map_err(|error| os("the journal", &error))?);
    let keeper: Arc<dyn Keep> = Arc::<Journal>::clone(&journal);
    intake.keep_in(keeper, newest);
    let sink = match &config.deliver {
        Some((target, timeout)) => {
            let sink = sink::open(target.clone(), *timeout);
            Some(sink.map_err(|error| os("GATEWAY_DELIVER_URL", &error))?)
        }
        None => None,
    };
    Ok(Keeping {
        journal: Some(journal),
        queue,
        sink,
        deliveries: None,
    })
}

fn warn_of_no_journal(config: &Config) {
    if config.log < ::log::LevelFilter::Info {
        // The lowest level: whoever silenced the rest must still read this.
        ::log::error!(
            "no GATEWAY_JOURNAL, and GATEWAY_LOG leaves accepted messages out of this log: \
             they are kept nowhere"
        );
    } else {
        ::log::warn!("no GATEWAY_JOURNAL: a message is kept in this log alone");
    }
}

impl Keeping {
    /// What can be degraded about it.
    fn troubles(&self) -> Vec<Arc<Trouble>> {
        #[cfg(feature = "journal")]
        if let Some(journal) = &self.journal {
            let own = [journal.trouble(), journal.damage(), &self.queue.trouble];
            return own.map(Arc::clone).to_vec();
        }
        Vec::new()
    }

    /// Begins to deliver, where that was asked for. The last step of a start: one that fails
    /// and is tried again for ever must not send a message each time and forget it.
    #[cfg_attr(
        not(feature = "journal"),
        expect(
            clippy::unnecessary_wraps,
            clippy::unused_self,
            clippy::needless_pass_by_ref_mut,
            reason = "with a journal it has use for all of them"
        )
    )]
    fn deliver(&mut self) -> Result<(), Stop> {
        #[cfg(feature = "journal")]
        if let (Some(journal), Some(sink)) = (&self.journal, self.sink.take()) {
            let outbox: Arc<dyn Outbox> = Arc::<Journal>::clone(journal);
            let keep_secs = journal.max_age_secs();
            let running = deliver::start(&self.queue, outbox, sink, keep_secs, clock::system);
            self.deliveries = Some(running.map_err(|error| os("deliveries", &error))?);
        }
        Ok(())
    }

    /// Proves that it works.
    fn probe(&self) -> health::Also {
        #[cfg(feature = "journal")]
        if let Some(journal) = self.journal.clone() {
            return Box::new(move || journal.probe());
        }
        Box::new(|| {})
    }

    /// Ends deliveries, and writes what is not written yet.
    fn stop(self) {
        #[cfg(feature = "journal")]
        {
            if let Some(deliveries) = self.deliveries
                && !deliveries.stop(DELIVERY_DRAIN)
            {
                ::log::info!("a delivery did not end in time: it is made again at the next start");
            }
            if let Some(journal) = &self.journal {
                journal.stop(JOURNAL_DRAIN);
            }
        }
    }
}

/// What is looked after while serving: told whether it was asked for, and the time.
type Look = Box<dyn FnMut(bool, Instant)>;

/// How the listener is spoken to, who looks after that, and what can be degraded about it.
struct Door {
    transport: Transport,
    looks: Vec<Look>,
    troubles: Vec<Arc<Trouble>>,
}

impl Door {
    const PLAIN: Self = Self {
        transport: Transport::Plain,
        looks: Vec::new(),
        troubles: Vec::new(),
    };
}

#[cfg(not(feature = "tls"))]
fn door(_: &Config) -> Result<Door, Stop> {
    Ok(Door::PLAIN)
}

#[cfg(feature = "tls")]
fn door(config: &Config) -> Result<Door, Stop> {
    let Some(files) = config.tls.clone() else {
        return Ok(Door::PLAIN);
    };
    let certificates = Arc::new(Certificates::new(certificates::load(&files)?));
    let transport = Transport::Tls(Arc::clone(&certificates));
    let files = CertificateFiles::new(files, certificates, clock::system);
    files.tell();
    files.judge(Instant::now());
    let troubles = files.troubles();
    let mut watch = Watch::new(files, clock::system);
    let look: Look = Box::new(move |asked, now| {
        watch.look(asked, now);
        watch.source().judge(now);
    });
    Ok(Door {
        transport,
        looks: vec![look],
        troubles,
    })
}

/// A listener of its own for metrics, with the same guards and few slots.
fn serve_metrics(address: SocketAddr, site: Gateway) -> Result<Server, Stop> {
    if !address.ip().to_canonical().is_loopback() {
        ::log::warn!("no TLS for metrics: they can be read and forged on their way");
    }
    let listener = bind("GATEWAY_METRICS_LISTEN", address)?;
    let slots = Slots::new(METRICS_SLOTS, METRICS_SLOTS, Deadlines::LOCAL);
    let server = listen::serve(listener, Arc::new(slots), Arc::new(site), &Transport::Plain);
    let server = server.map_err(|error| os("threads", &error))?;
    ::log::info!("metrics on {}", server.address());
    Ok(server)
}

/// The socket of a listener, which the setting `name` gave.
fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, Stop> {
    listen::bind(address).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::PermissionDenied => Code::NoPermission,
            _ => Code::Unavailable,
        };
        Stop::new(code, format!("{name}: {address}: {error}"))
    })
}

fn os(what: &str, error: &io::Error) -> Stop {
    Stop::new(Code::Os, format!("{what}: {error}"))
}

/// Prints what an operator must know, on standard error.
fn tell(lines: &[String]) {
    let mut stderr = io::stderr().lock();
    for line in lines {
        // Where this cannot be written, the exit code is what is left.
        writeln!(stderr, "gateway-min: {line}").ok();
    }
}

/// Prints what a command was asked for.
fn say(text: &str) -> Result<(), Stop> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Stop::new(Code::Io, format!("standard output: {error}")))
}

#[cfg(all(test, feature = "journal"))]
mod tests {
    use std::{prelude::v1::*, time::Duration};

    use super::{DELIVERY_DRAIN, DRAIN, JOURNAL_DRAIN, log};

    #[test]
    fn the_unit_leaves_the_time_that_a_stop_may_take() {
        let unit = include_str!("../systemd/gateway-min.service");
        let (_, rest) = unit.split_once("\nTimeoutStopSec=").unwrap();
        let (secs, _) = rest.split_once("s\n").unwrap();
        let longest = DRAIN + DELIVERY_DRAIN + JOURNAL_DRAIN + log::FLUSH;
        let patience = Duration::from_secs(secs.parse().unwrap());
        assert!(patience > longest, "{patience:?} for {longest:?}");
        let told = format!("takes {} seconds at most", longest.as_secs());
        assert!(unit.contains(&told), "{told}");
    }
}
