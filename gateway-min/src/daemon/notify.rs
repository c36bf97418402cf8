//! What the service manager is told, by systemd's protocol (sd_notify(3) and
//! sd_watchdog_enabled(3)): that the gateway serves, how it stands, that it lives, that it
//! stops. Datagrams to the socket that `NOTIFY_SOCKET` names, and nothing else.
//!
//! *Ready* promises what a client needs: a request came through the real listener and was
//! answered. The watchdog is fed by such requests alone, so that a listener that serves
//! nobody ends in a restart, however busy the rest of the process is.
//!
//! It refuses to wait: the socket does not block, and what could not be sent is sent with
//! the next probe. A manager that is absent, deaf or full costs one line in the log. Called
//! by `daemon`, and by the probe's thread through it.

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    ffi::{OsStr, OsString},
    io::{self, ErrorKind},
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
    prelude::v1::*,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Probes in the time after which the manager loses its patience: two may be missed.
const PROBES: u32 = 3;

/// The line to the service manager, where there is one.
pub(crate) struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    told: Mutex<Told>,
}

/// What the manager knows already.
#[derive(Default)]
struct Told {
    ready: bool,
    stopping: bool,
    status: String,
    /// That it cannot be reached is one line, not one for each try.
    deaf: bool,
}

impl Notify {
    /// What the environment says; `own_id` is this process's.
    pub(crate) fn of(environment: &[(OsString, OsString)], own_id: u32) -> Self {
        let get = |name: &str| {
            let found = environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value)
        };
        let number = |name: &str| get(name)?.to_str()?.parse::<u64>().ok();
        // Where it is somebody else's, it was inherited by mistake.
        let ours =
            get("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(own_id));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        let manager = get("NOTIFY_SOCKET").and_then(|socket| {
            line_to(socket.as_bytes())
                .inspect_err(|error| ::log::warn!("NOTIFY_SOCKET: {error}: nobody is notified"))
                .ok()
        });
        Self {
            watchdog: watchdog
                .filter(|_| manager.is_some())
                .map(Duration::from_micros),
            manager,
            told: Mutex::default(),
        }
    }

    /// How long at most from one probe to the next, for the watchdog's sake.
    pub(crate) fn probe_period(&self) -> Option<Duration> {
        Some(self.watchdog? / PROBES)
    }

    /// Tells of a probe: whether it came `through`, and how the gateway stands now.
    pub(crate) fn beat(&self, through: bool, status: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.stopping {
            return;
        }
        let mut text = String::new();
        if through && !told.ready {
            text.push_str("READY=1\n");
        }
        if through && self.watchdog.is_some() {
            text.push_str("WATCHDOG=1\n");
        }
        if told.status != status {
            text.push_str(&format!("STATUS={status}\n"));
        }
        if self.send(&text, &mut told) {
            told.ready |= through;
            status.clone_into(&mut told.status);
        }
    }

    /// Tells that the gateway finishes what has begun and ends: its last word.
    pub(crate) fn stopping(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.stopping = true;
        let text = "STOPPING=1\nSTATUS=stopping: finishing what has begun\n";
        self.send(text, &mut told);
    }

    /// Whether that was sent, where it is anything.
    fn send(&self, text: &str, told: &mut Told) -> bool {
        let Some((socket, manager)) = &self.manager else {
            return true;
        };
        if text.is_empty() {
            return true;
        }
        let sent = socket.send_to_addr(text.as_bytes(), manager);
        if let (Err(error), false) = (&sent, told.deaf) {
            ::log::warn!("NOTIFY_SOCKET: {error}: the service manager is told later");
        }
        told.deaf = sent.is_err();
        sent.is_ok()
    }
}

/// A socket that never blocks, and the address behind a name: a path, or an abstract one
/// that begins with `@`.
fn line_to(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name {
        [b'/', ..] => SocketAddr::from_pathname(OsStr::from_bytes(name))?,
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => {
            let fault = "neither a path nor an abstract socket";
            return Err(io::Error::new(ErrorKind::InvalidInput, fault));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
