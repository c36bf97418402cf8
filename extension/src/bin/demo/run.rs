//! The demonstration, told in order: [`run`].

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use extension::{
    browser,
    cdp::{Browser, Launch},
    http,
    service::{Heard, Listener, Service, Watchdog},
    stamp::{GatewayUrl, Stamp, extension_id, manage_origins, read_manifest, stamp},
    workspace,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::settings::{Arguments, HELP, Place, Settings, here};

/// The gateway's id in manage's demonstration data.
const GATEWAY_ID: &str = "screening-gateway";

/// How long a server may take to answer after it was started.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to end after it was asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How often a server that is starting is asked whether it is ready.
const PACE: Duration = Duration::from_millis(50);

/// What the demonstration waits for.
enum Event {
    /// Ctrl-C, or the like.
    Asked,
    /// This server has ended.
    Ended(&'static str),
}

/// Why it ends.
enum End {
    /// Because it was asked to.
    Asked,
    /// Because this server has ended by itself.
    Died(&'static str),
    /// Because of this, in words.
    Trouble(String),
}

impl From<String> for End {
    fn from(trouble: String) -> Self {
        Self::Trouble(trouble)
    }
}

/// What was started. Ended in this order, the watchdog last.
struct Running {
    browser: Option<Browser>,
    servers: Vec<(&'static str, Service)>,
    watchdog: Option<Watchdog>,
}

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            say(&mut io::stderr(), &format!("demo: {trouble}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        say(&mut io::stdout(), HELP.trim_end());
        return Ok(());
    }
    let mut running = Running {
        browser: None,
        servers: Vec::new(),
        watchdog: None,
    };
    let end = match start(&arguments, &mut running) {
        Ok(events) => wait(&events),
        Err(end) => end,
    };
    let statuses = stop(running);
    match end {
        End::Asked => {
            say(&mut io::stdout(), "demo: everything has ended");
            let troubles: Vec<String> = statuses
                .iter()
                .filter(|(_, status)| status != "exit status: 0")
                .map(|(name, status)| format!("{name} ended with {status}"))
                .collect();
            match &troubles[..] {
                [] => Ok(()),
                troubles => Err(troubles.join("; ")),
            }
        }
        End::Died(name) => {
            let mut statuses = statuses.into_iter().filter(|(n, _)| *n == name);
            let status = statuses
                .next()
                .map_or_else(String::new, |(_, status)| status);
            Err(format!(
                "{name} has ended ({status}), its last lines are above; everything else was ended"
            ))
        }
        End::Trouble(trouble) => Err(trouble),
    }
}

fn start(arguments: &Arguments, running: &mut Running) -> Result<Receiver<Event>, End> {
    let settings = Settings::read(|name| variable(name)?.into_string().ok())?;
    check_free(&settings.places())?;

    let cargo = variable("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    say(&mut io::stderr(), "building gateway and manage …");
    let gateway = workspace::build(&cargo, "gateway-min", "gateway-min")?;
    let manage = workspace::build(&cargo, "manage-rocket", "manage-rocket")?;

    let state = state_folder(arguments.state.as_deref(), &gateway)?;
    if arguments.fresh {
        for file in ["manage.db", "manage.db-wal", "manage.db-shm"] {
            absent(&state.join(file), |file| fs::remove_file(file))?;
        }
        absent(&state.join("journal"), |folder| fs::remove_dir_all(folder))?;
    }
    make_keys(&manage, &state)?;
    let (extension, id) = prepare_extension(&settings, &state)?;

    let (sender, events) = channel();
    hear_signals(&sender)?;
    for (name, command) in [
        ("gateway", gateway_command(&gateway, &settings, &state, &id)),
        ("manage", manage_command(&manage, &settings, &state)),
    ] {
        let service = Service::start(command, &listener(name, &sender))
            .map_err(|error| format!("{name} could not be started: {error}"))?;
        say(
            &mut io::stdout(),
            &format!("demo: started {name}, process {}", service.id()),
        );
        running.servers.push((name, service));
        let ids: Vec<u32> = running.servers.iter().map(|(_, s)| s.id()).collect();
        let watchdog = Watchdog::over(&ids);
        running.watchdog =
            Some(watchdog.map_err(|error| format!("sh could not be started: {error}"))?);
    }
    await_answer(
        "gateway",
        here(settings.gateway),
        "/healthcheck/ready",
        &events,
    )?;
    await_answer(
        "manage",
        here(settings.manage),
        "/healthcheck/live",
        &events,
    )?;

    say(&mut io::stdout(), &welcome(&settings, &extension, &id));
    if arguments.open {
        let opened = open(arguments.browser.as_deref(), &settings, &extension, &state);
        match opened {
            Ok(browser) => running.browser = Some(browser),
            // The servers are up and of use without it.
            Err(trouble) => say(&mut io::stdout(), &format!("demo: {trouble}")),
        }
    }
    Ok(events)
}

fn wait(events: &Receiver<Event>) -> End {
    match events.recv() {
        Ok(Event::Ended(name)) => End::Died(name),
        Ok(Event::Asked) | Err(_) => End::Asked,
    }
}

/// Ends everything, whatever fails, and tells how each server ended.
fn stop(running: Running) -> Vec<(&'static str, String)> {
    let Running {
        browser,
        servers,
        watchdog,
    } = running;
    drop(browser);
    let ended = |service: Service| match service.stop(STOP_PATIENCE) {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let statuses = servers
        .into_iter()
        .map(|(name, service)| (name, ended(service)))
        .collect();
    drop(watchdog);
    statuses
}

/// Names the first address that is taken, and the setting that changes it.
fn check_free(places: &[Place]) -> Result<(), String> {
    for place in places {
        let Place {
            address,
            what,
            setting,
        } = place;
        match TcpListener::bind(address) {
            Ok(_) => {}
            // A machine without IPv6 has nobody on it either.
            Err(error) if address.is_ipv6() && error.kind() != ErrorKind::AddrInUse => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(format!(
                    "{address}, where {what} should listen, is taken by another program; end that one, or choose another with {setting}"
                ));
            }
            Err(error) => {
                return Err(format!(
                    "{what} cannot listen on {address} ({error}); choose another with {setting}"
                ));
            }
        }
    }
    Ok(())
}

/// The folder of keys and database, `demo` beside cargo's folder of built binaries unless
/// another was named; nobody else may look into it. Absolute, because the servers are told.
fn state_folder(named: Option<&str>, binary: &Path) -> Result<PathBuf, String> {
    let built = binary.parent().and_then(Path::parent);
    let state = match named {
        Some(folder) => PathBuf::from(folder),
        None => built.unwrap_or_else(|| Path::new("target")).join("demo"),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state)
        .and_then(|()| state.canonicalize())
        .map_err(|error| format!("{}: {error}", state.display()))
}

fn make_keys(manage: &Path, state: &Path) -> Result<(), String> {
    let names = ["message-private.pem", "message-public.pem"];
    match names.map(|name| state.join(name).exists()) {
        [true, true] => return Ok(()),
        [false, false] => {}
        [private, _] => {
            let [there, missing] = if private { names } else { [names[1], names[0]] };
            let state = state.display();
            return Err(format!(
                "{state} has {there} without {missing}, half a key pair: remove it, or name another folder with --state"
            ));
        }
    }
    let output = Command::new(manage)
        .arg("keygen")
        .arg(state)
        .output()
        .map_err(|error| format!("{}: {error}", manage.display()))?;
    if output.status.success() {
        Ok(())
    } else {
        let words = String::from_utf8_lossy(&output.stderr);
        Err(format!("keys could not be made: {}", words.trim_end()))
    }
}

/// The extension that fits the settings, and its id.
fn prepare_extension(settings: &Settings, state: &Path) -> Result<(PathBuf, String), String> {
    let shipped = workspace::unpacked();
    let manifest = read_manifest(&shipped).map_err(|error| error.to_string())?;
    let id = extension_id(&manifest).map_err(|error| error.to_string())?;
    let origins = manage_origins(&manifest).map_err(|error| error.to_string())?;
    if settings.shipped_fits(&origins) {
        return Ok((shipped, id));
    }
    let copy = state.join("extension");
    absent(&copy, |folder| fs::remove_dir_all(folder))?;
    let gateway = GatewayUrl::parse(&settings.gateway_url()).map_err(|error| error.to_string())?;
    let asked = Stamp {
        manage: vec![settings.public.clone()],
        gateway: Some(gateway),
        ..Stamp::default()
    };
    stamp(&shipped, &copy, &asked).map_err(|error| error.to_string())?;
    Ok((copy, id))
}

fn gateway_command(binary: &Path, settings: &Settings, state: &Path, id: &str) -> Command {
    let mut command = Command::new(binary);
    command
        .env("GATEWAY_LISTEN", settings.gateway.to_string())
        .env("GATEWAY_ID", GATEWAY_ID)
        .env("GATEWAY_ISSUER", settings.public.as_str())
        .env("GATEWAY_ORIGINS", format!("chrome-extension://{id}"))
        .env("GATEWAY_LOG_CONTENT", "1")
        .env("GATEWAY_JOURNAL", state.join("journal"))
        .env_remove("GATEWAY_KEYS")
        .env("JWT_PUBLIC_KEY", state.join("message-public.pem"));
    // A listener on every address has no name of its own; the extension uses this one.
    if settings.gateway.ip().is_unspecified() && variable("GATEWAY_HOSTS").is_none() {
        let hosts = format!("{},localhost,{GATEWAY_ID}", here(settings.gateway).ip());
        command.env("GATEWAY_HOSTS", hosts);
    }
    command
}

fn manage_command(binary: &Path, settings: &Settings, state: &Path) -> Command {
    let mut database = OsString::from("sqlite:");
    database.push(state.join("manage.db"));
    let mut command = Command::new(binary);
    command
        .env("ROCKET_ADDRESS", settings.manage.ip().to_string())
        .env("ROCKET_PORT", settings.manage.port().to_string())
        .env("MANAGE_PUBLIC_URL", settings.public.as_str())
        .env("MANAGE_DATABASE", database)
        .env("MANAGE_SIGN_IN", "mock")
        .env("MANAGE_DEMONSTRATION", "1")
        .env_remove("JWT_PRIVATE_KEY_FILE")
        .env("JWT_PRIVATE_KEY", state.join("message-private.pem"));
    command
}

fn hear_signals(events: &Sender<Event>) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| format!("signals cannot be heard: {error}"))?;
    let events = events.clone();
    thread::spawn(move || {
        // Ends with the process; where nobody listens any more, it is ending.
        for _ in signals.forever() {
            events.send(Event::Asked).unwrap_or_default();
        }
    });
    Ok(())
}

fn listener(name: &'static str, events: &Sender<Event>) -> Listener {
    let events = events.clone();
    Arc::new(move |heard| match heard {
        Heard::Line(line) => say(&mut io::stdout(), &format!("{name:<7} │ {line}")),
        // Where nobody listens any more, this end was asked for.
        Heard::End => events.send(Event::Ended(name)).unwrap_or_default(),
    })
}

fn await_answer(
    name: &str,
    address: SocketAddr,
    path: &str,
    events: &Receiver<Event>,
) -> Result<(), End> {
    let deadline = Instant::now() + START_PATIENCE;
    let mut last = "nothing".to_owned();
    while Instant::now() < deadline {
        match http::get(address, path) {
            Ok((200, _)) => return Ok(()),
            Ok((status, _)) => last = format!("status {status}"),
            Err(error) => last = error.to_string(),
        }
        match events.recv_timeout(PACE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Ended(name)) => return Err(End::Died(name)),
            Ok(Event::Asked) | Err(RecvTimeoutError::Disconnected) => return Err(End::Asked),
        }
    }
    Err(End::Trouble(format!(
        "{name} is not ready: http://{address}{path} still answers: {last}"
    )))
}

fn welcome(settings: &Settings, extension: &Path, id: &str) -> String {
    let public = settings.public.as_str();
    let folder = extension.display();
    let gateway = here(settings.gateway);
    format!(
        "
  manage     {public}
  gateway    http://{gateway}
  extension  {folder}
             (id {id})

  To load the extension:
    1. open chrome://extensions (edge://, brave://) and switch on “Developer mode”;
    2. press “Load unpacked” and choose the folder above;
    3. open {public}, sign in as the radiographer, and press “Send for scan”.

  Ctrl-C ends everything.
"
    )
}

fn open(
    program: Option<&str>,
    settings: &Settings,
    extension: &Path,
    state: &Path,
) -> Result<Browser, String> {
    let program = match program {
        Some(program) => browser::program(&variable("PATH").unwrap_or_default(), program)
            .ok_or_else(|| format!("there is no program {program}"))?,
        None => installed().ok_or(
            "no browser is installed that takes an extension from its command line (Chromium, Chrome for Testing, Brave, Edge); Google Chrome 137 and later does not: load it by hand, as above",
        )?,
    };
    let profile = state.join("profile");
    absent(&profile, |folder| fs::remove_dir_all(folder))?;
    let browser = Browser::launch(&Launch {
        program: &program,
        profile: &profile,
        headless: false,
        arguments: &[],
    })
    .map_err(|error| format!("{}: {error} (is there a display?)", program.display()))?;
    browser
        .load_extension(extension)
        .and_then(|_| browser.open(settings.public.as_str()).map(drop))
        .map_err(|error| format!("{}: {error}; load it by hand, as above", program.display()))?;
    Ok(browser)
}

fn installed() -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let mut applications = vec![PathBuf::from("/Applications")];
    if let Some(home) = variable("HOME") {
        applications.push(Path::new(&home).join("Applications"));
    }
    browser::find(&path, &applications)
}

/// Removes something; that it is not there is as good.
fn absent(path: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> Result<(), String> {
    match remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the demonstration that reads the environment"
)]
fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    std::env::var_os(name)
}

/// One whole line at a time. Where the terminal is gone, SIGHUP tells so.
fn say(output: &mut dyn io::Write, line: &str) {
    output
        .write_all(format!("{line}\n").as_bytes())
        .unwrap_or_default();
}
