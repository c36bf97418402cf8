//! The daemon and its commands: start-up told in order, and how it stops. Everything that
//! moves bytes is below here; every decision about a token is the core's.
//!
//! | file | what lives there, what it may touch |
//! |---|---|
//! | `config` (+ `line`) | settings with their origin, a configuration that cannot be invalid |
//! | `exit` | exit codes |
//! | `files` | opening with checks: the only file that opens any |
//! | `keys` (+ `watch`) | the key set, and its exchange while messages come in |
//! | `clock` | the only file that reads the wall clock |
//! | `log` | the queue to the console; the only file that names `simple_logger` |
//! | `listen` (+ `slots`, `head`, `answer`, `connection`) | the guarded socket |
//! | `route`, `intake`, `cors`, `hosts` | what is answered to what |
//! | `tallies`, `meter`, `metrics` | what is counted and timed, and the page that tells it |
//! | `health` | the probe that proves it |
//! | `verdict` | the `verify` command |

#[cfg(not(unix))]
compile_error!("the daemon checks who owns its files and stops by signals: it needs a Unix");

use std::{
    ffi::OsString,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    prelude::v1::*,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

mod clock;
mod config;
mod cors;
mod exit;
mod files;
mod health;
mod hosts;
mod intake;
mod keys;
mod listen;
mod log;
mod meter;
mod metrics;
mod route;
mod tallies;
mod verdict;

use config::{Command, Config, KeySource};
use cors::Cors;
use exit::{Code, Stop};
use health::Health;
use intake::Intake;
use keys::{
    KeyRing,
    watch::{self, Watch},
};
use listen::{Deadlines, Server, Slots};
use route::{Gateway, Paths, State};
use tallies::Tallies;

/// Connections at once on a listener for metrics alone: whoever collects needs one.
const METRICS_SLOTS: usize = 4;
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
        Command::Serve | Command::Check | Command::Verify(_) => {}
    }
    let config = Config::judge(line, environment)?;
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
            serve(config, ring, intake, &tallies)
        }
    }
}

/// From judged settings to the last answer.
fn serve(
    config: Config,
    ring: Arc<KeyRing>,
    intake: Intake,
    tallies: &Arc<Tallies>,
) -> Result<(), Stop> {
    if !intake.clock_is_set() {
        ::log::warn!("the clock is not set: no message is judged until it is");
    }
    if config.log < ::log::LevelFilter::Info {
        // The lowest level: whoever silenced the rest must still read this.
        ::log::error!(
            "no journal in this version, and GATEWAY_LOG leaves accepted messages out of this log: \
             they are kept nowhere"
        );
    } else {
        ::log::warn!("no journal in this version: a message is kept in this log alone");
    }
    if !config.listen.ip().to_canonical().is_loopback() {
        ::log::warn!("no TLS: messages and answers can be read and forged on their way");
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
        slots: Arc::clone(&slots),
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
    let gateway = Gateway::new(config.hosts, Cors::new(&config.origins), state, paths);
    let server = listen::serve(listener, slots, Arc::new(gateway));
    let server = server.map_err(|error| os("threads", &error))?;
    let probe = health::start(health, server.own_address(), host)
        .map_err(|error| os("the probe", &error))?;
    let (name, source) = config.keys;
    let mut watch = match source {
        KeySource::Path(path) => Some(Watch::new(name, path, ring, clock::system)),
        KeySource::Inline(_) => None,
    };
    // Announced when it is so: the socket is bound, and every thread stands.
    ::log::info!("listening on {}", server.address());

    loop {
        let wish = signals.next(watch.as_ref().map(|_| watch::PERIOD));
        match (wish.map_err(|error| os("signals", &error))?, &mut watch) {
            (Some(Wish::Stop), _) => break,
            (wish, Some(watch)) => watch.look(wish == Some(Wish::Reload), Instant::now()),
            (Some(Wish::Reload), None) => ::log::info!(
                "asked to read the keys again: {name} holds their text itself, which cannot change"
            ),
            (None, None) => {}
        }
    }
    ::log::info!("asked to stop: finishing what has begun");
    drop(probe);
    let until = Instant::now() + DRAIN;
    let servers = [Some(server), collected].into_iter().flatten();
    for server in servers {
        if !server.drain(until.saturating_duration_since(Instant::now())) {
            ::log::warn!("some requests did not end in time");
        }
    }
    ::log::info!("stopped: {tallies}");
    log::flush();
    Ok(())
}

/// A listener of its own for metrics, with the same guards and few slots.
fn serve_metrics(address: SocketAddr, site: Gateway) -> Result<Server, Stop> {
    if !address.ip().to_canonical().is_loopback() {
        ::log::warn!("no TLS for metrics: they can be read and forged on their way");
    }
    let listener = bind("GATEWAY_METRICS_LISTEN", address)?;
    let slots = Slots::new(METRICS_SLOTS, METRICS_SLOTS, Deadlines::LOCAL);
    let server = listen::serve(listener, Arc::new(slots), Arc::new(site));
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

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// To read the keys again.
    Reload,
    /// To stop in order.
    Stop,
}

/// SIGHUP asks for the keys to be read again. Of SIGTERM and SIGINT the first asks for an
/// orderly stop, the second ends the process.
struct Signals {
    /// A byte for each signal; what it was stands in the flags.
    reader: UnixStream,
    reload: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        let (reload, stop) = (Arc::default(), Arc::default());
        for signal in [SIGTERM, SIGINT] {
            // In this order: `stop` is not yet set when the first signal comes by.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&reload))?;
        low_level::pipe::register(SIGHUP, writer)?;
        Ok(Self {
            reader,
            reload,
            stop,
        })
    }

    /// Waits for the next one, at most `limit` where there is one. Several that ask for the
    /// same can be one.
    fn next(&mut self, limit: Option<Duration>) -> io::Result<Option<Wish>> {
        self.reader.set_read_timeout(limit)?;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(Some(Wish::Stop));
            }
            if self.reload.swap(false, Ordering::SeqCst) {
                return Ok(Some(Wish::Reload));
            }
            match self.reader.read_exact(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                read => read?,
            }
        }
    }
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
