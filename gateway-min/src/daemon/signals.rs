//! Signals, as wishes that the main thread waits for.

use std::{
    io::{self, ErrorKind, Read},
    os::unix::net::UnixStream,
    prelude::v1::*,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// To read keys and certificates again.
    Reload,
    /// To stop in order.
    Stop,
}

/// SIGHUP asks for keys and certificates to be read again. Of SIGTERM and SIGINT the first
/// asks for an orderly stop, the second ends the process.
pub(crate) struct Signals {
    /// A byte for each signal; what it was stands in the flags.
    reader: UnixStream,
    reload: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Signals {
    /// # Errors
    /// The system's.
    pub(crate) fn catch() -> io::Result<Self> {
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
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn next(&mut self, limit: Option<Duration>) -> io::Result<Option<Wish>> {
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
