//! The configured public keys: where they are read from, that each file is one that only
//! its owner can change, and the set that is in use. What is no key, or a second one of the
//! same `kid`, makes no set: a gateway that quietly lacks a key refuses good messages on a
//! clinic's morning. At the start that ends the command; later ([`watch`]) the set in use
//! stays.

use std::{
    path::Path,
    prelude::v1::*,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use super::{
    config::KeySource,
    exit::{Code, Stop},
    files,
    health::Degraded,
    meter::Counter,
};
use crate::{KeySet, limits::MAX_KEY_TEXT};

pub(crate) mod watch;

/// Most keys at once: next, present and retired ones of several installations.
pub(crate) const MAX_KEYS: usize = 16;

/// The keys of a gateway: some 480 KB, boxed, of which only keys that are there are
/// touched.
pub(crate) type Keys = KeySet<MAX_KEYS>;

/// A whole set, with what an operator should know about it.
pub(crate) struct Loaded {
    pub(crate) keys: Box<Keys>,
    pub(crate) notes: Vec<String>,
    /// When it was read, by a clock that nobody sets.
    pub(crate) read: Instant,
}

/// The set in use, and whether it should have been replaced. Only [`watch`] changes either.
pub(crate) struct KeyRing {
    current: RwLock<Arc<Loaded>>,
    degraded: RwLock<Option<Degraded>>,
    /// Readings after the start: those that made a whole set, the same one or another, and
    /// those that did not.
    pub(crate) good: Counter,
    pub(crate) bad: Counter,
}

impl KeyRing {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self {
            current: RwLock::new(Arc::new(loaded)),
            degraded: RwLock::new(None),
            good: Counter::new(),
            bad: Counter::new(),
        }
    }

    /// The set in use, for whoever judges with it from beginning to end.
    pub(crate) fn current(&self) -> Arc<Loaded> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong with the files, where something is: the set in use is older than they.
    pub(crate) fn degraded(&self) -> Option<Degraded> {
        let degraded = self.degraded.read();
        *degraded.unwrap_or_else(PoisonError::into_inner)
    }

    fn swap(&self, loaded: Loaded) {
        let loaded = Arc::new(loaded);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = core::mem::replace(&mut *current, loaded);
        drop(current);
        // Outside the lock: it may be the last hand on half a megabyte.
        drop(before);
    }

    fn set_degraded(&self, to: Option<Degraded>) {
        let degraded = self.degraded.write();
        *degraded.unwrap_or_else(PoisonError::into_inner) = to;
    }
}

/// Reads every key of the setting `name`.
///
/// # Errors
/// [`Stop`] that names the setting, the file and the fault.
pub(crate) fn load(name: &str, source: &KeySource) -> Result<Loaded, Stop> {
    match source {
        KeySource::Inline(text) => {
            let mut loaded = Loaded::empty();
            loaded.add(text.as_bytes(), name)?;
            Ok(loaded)
        }
        KeySource::Path(path) => load_path(name, path),
    }
}

/// Reads every key of a file, or of every file in a folder.
fn load_path(name: &str, path: &Path) -> Result<Loaded, Stop> {
    let mut loaded = Loaded::empty();
    if path.is_dir() {
        let files = files::list(name, path)?;
        if files.is_empty() {
            return Err(Stop::new(
                Code::NoInput,
                format!("{name}: {}: a folder without files", path.display()),
            ));
        }
        for file in files {
            loaded.add_file(name, &file)?;
        }
    } else {
        loaded.add_file(name, path)?;
    }
    Ok(loaded)
}

impl Loaded {
    fn empty() -> Self {
        Self {
            keys: Box::default(),
            notes: Vec::new(),
            read: Instant::now(),
        }
    }

    fn add_file(&mut self, name: &str, path: &Path) -> Result<(), Stop> {
        let text = files::read_guarded(name, path, MAX_KEY_TEXT)?;
        self.add(&text, &format!("{name}: {}", path.display()))
    }

    fn add(&mut self, text: &[u8], place: &str) -> Result<(), Stop> {
        match self.keys.add(text) {
            Ok(added) if added.skipped == 0 => Ok(()),
            Ok(added) => {
                self.notes.push(format!(
                    "{place}: {} of its keys passed over, which are of other kinds or uses",
                    added.skipped
                ));
                Ok(())
            }
            Err(error) => Err(Stop::new(Code::Data, format!("{place}: {error}"))),
        }
    }
}
