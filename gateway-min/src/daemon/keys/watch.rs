//! Keys that change without a restart. Every two seconds a look whether the file or folder
//! of the keys has changed, and at once where somebody asks (SIGHUP). A new set is built
//! aside, with every check of the start; only a whole and good one is swapped in. A bad one
//! leaves the set in use as it is, is one line at `error` for each distinct fault, and shows
//! as *degraded* until a good one is there.
//!
//! What was found changed is read once more at the next look: a file that is written in
//! place can be caught half-written and finished within one tick of the file system's
//! clock, and no later look would tell. For the same reason the first look after the start
//! always reads.
//!
//! Only `daemon` calls it, from the main thread, whose stack has held the building of a set
//! before; requests know nothing of it.

use std::{
    path::PathBuf,
    prelude::v1::*,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{KeyRing, Keys, Loaded, load_path};
use crate::daemon::{
    clock::Clock,
    exit::{Code, Stop},
    files::{self, Sight},
    health::Degraded,
    log::{quoted, raw},
};

/// From one look to the next. Not less than the coarsest clock of a file system, FAT's.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);
/// How often a set that stays bad is tried again though nothing looks different: a lack of
/// file descriptors, or a disk that fails, leaves no trace in a file.
const RETRY: Duration = Duration::from_secs(30);
/// How often files that change while they are read are read again at once.
const TRIES: u32 = 3;

/// Keeps a ring at what stands in a file or folder.
pub(crate) struct Watch {
    name: &'static str,
    path: PathBuf,
    ring: Arc<KeyRing>,
    clock: Clock,
    /// How the files stood when they were last read.
    seen: Option<Sight>,
    /// When they are read again, changed or not.
    again: Option<Instant>,
    /// The fault that was told last and has not gone away.
    told: Option<String>,
}

impl Watch {
    /// Of `path`, which the setting `name` gave and `ring` was loaded from.
    pub(crate) fn new(name: &'static str, path: PathBuf, ring: Arc<KeyRing>, clock: Clock) -> Self {
        Self {
            name,
            path,
            ring,
            clock,
            seen: None,
            again: None,
            told: None,
        }
    }

    /// One look, at `now`; reads where there is a reason to, and where it was asked for.
    pub(crate) fn look(&mut self, asked: bool, now: Instant) {
        let changed = self.seen.as_ref() != Some(&files::look(&self.path));
        let due = self.again.is_some_and(|again| now >= again);
        if !(asked || changed || due) {
            return;
        }
        let loaded = self.read();
        self.again = if asked || changed {
            Some(now + PERIOD)
        } else {
            loaded.is_err().then(|| now + RETRY)
        };
        match loaded {
            Ok(loaded) => self.take(loaded, asked),
            Err(stop) => self.keep(&stop, asked, now),
        }
    }

    /// Reads the files as they stand. Where they were changed meanwhile, they are read again
    /// at once, a few times; what comes out then is judged as it is, and the next look will
    /// find them changed.
    fn read(&mut self) -> Result<Loaded, Stop> {
        let mut before = files::look(&self.path);
        let mut tries = 1;
        loop {
            let loaded = load_path(self.name, &self.path);
            let after = files::look(&self.path);
            if before == after || tries == TRIES {
                self.seen = Some(before);
                return loaded;
            }
            before = after;
            tries += 1;
        }
    }

    /// A good set: swapped in where it differs, and told.
    fn take(&mut self, loaded: Loaded, asked: bool) {
        let (name, path) = (self.name, self.path.display().to_string());
        let before = self.ring.current();
        let moves = moves(&before.keys, &loaded.keys);
        let notes = if loaded.notes == before.notes {
            Vec::new()
        } else {
            loaded.notes.clone()
        };
        let count = loaded.keys.len();
        if !moves.is_empty() || loaded.notes != before.notes {
            self.ring.swap(loaded);
        }
        self.ring.set_degraded(None);
        // Told after it is so.
        if self.told.take().is_some() {
            log::info!("{name}: {}: good again", raw(&path));
        }
        for told in &moves {
            log::info!("{told}");
        }
        for note in &notes {
            log::warn!("{}", raw(note));
        }
        if !moves.is_empty() {
            log::info!("{name}: {}: keys in use: {count}", raw(&path));
        } else if asked {
            log::info!("{name}: {}: read again, the same keys: {count}", raw(&path));
        }
    }

    /// A bad set: the one in use stays, and everybody can see why.
    fn keep(&mut self, stop: &Stop, asked: bool, now: Instant) {
        let code = match stop.code {
            Code::Data => "keys_invalid",
            Code::NoPermission => "keys_unprotected",
            Code::NoInput
            | Code::Io
            | Code::Os
            | Code::Usage
            | Code::Unavailable
            | Code::Config => "keys_unreadable",
        };
        let degraded = match self.ring.degraded() {
            Some(before) => Degraded { code, ..before },
            None => Degraded {
                code,
                since: (self.clock)(),
                began: now,
            },
        };
        self.ring.set_degraded(Some(degraded));
        let fault = stop.lines.join("; ");
        if asked || self.told.as_ref() != Some(&fault) {
            log::error!(
                "{}: not taken, the keys that were read before stay in use",
                raw(&fault)
            );
        }
        self.told = Some(fault);
    }
}

/// A line for each `kid` that came, went, or stands for another key now.
fn moves(before: &Keys, after: &Keys) -> Vec<String> {
    let in_set = |keys: &Keys, kid: &str| {
        let mut keys = keys.public_keys();
        keys.find(|(known, _)| *known == kid).map(|(_, key)| *key)
    };
    let came = after.public_keys().filter_map(|(kid, key)| {
        let what = match in_set(before, kid) {
            None => "came",
            Some(old) if old != *key => "stands for another key now",
            Some(_) => return None,
        };
        Some(format!("key {} {what}", quoted(kid)))
    });
    let went = before
        .kids()
        .filter(|kid| in_set(after, kid).is_none())
        .map(|kid| format!("key {} went", quoted(kid)));
    came.chain(went).collect()
}
