//! The configured public keys: where they are read from, that each file is one that only
//! its owner can change, and the set that is in use. What is no key, or a second one of the
//! same `kid`, makes no set: a gateway that quietly lacks a key refuses good messages on a
//! clinic's morning. At the start that ends the command; later ([`watch`]) the set in use
//! stays.

use std::{
    path::{Path, PathBuf},
    prelude::v1::*,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use log::Level;

use super::{
    config::KeySource,
    exit::{Code, Stop},
    files::{self, Sight},
    health::Trouble,
    log::{quoted, raw},
    meter::Counter,
};
use crate::{KeySet, limits::MAX_KEY_TEXT};

pub(crate) mod watch;

use watch::Source;

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
    trouble: Arc<Trouble>,
    /// Readings after the start: those that made a whole set, the same one or another, and
    /// those that did not.
    pub(crate) good: Counter,
    pub(crate) bad: Counter,
}

impl KeyRing {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self {
            current: RwLock::new(Arc::new(loaded)),
            trouble: Arc::default(),
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
    pub(crate) fn trouble(&self) -> &Arc<Trouble> {
        &self.trouble
    }

    fn swap(&self, loaded: Loaded) {
        let loaded = Arc::new(loaded);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = core::mem::replace(&mut *current, loaded);
        drop(current);
        // Outside the lock: it may be the last hand on half a megabyte.
        drop(before);
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

/// The file or folder that a ring is kept at.
pub(crate) struct KeyFiles {
    name: &'static str,
    path: PathBuf,
    ring: Arc<KeyRing>,
}

impl KeyFiles {
    /// `path`, which the setting `name` gave and `ring` was loaded from.
    pub(crate) fn new(name: &'static str, path: PathBuf, ring: Arc<KeyRing>) -> Self {
        Self { name, path, ring }
    }
}

impl Source for KeyFiles {
    type Loaded = Loaded;

    const KEPT: &'static str = "the keys that were read before stay in use";

    fn place(&self) -> String {
        format!("{}: {}", self.name, self.path.display())
    }

    fn look(&self) -> Vec<Sight> {
        vec![files::look(&self.path)]
    }

    fn load(&self) -> Result<Loaded, Stop> {
        load_path(self.name, &self.path)
    }

    fn take(&self, loaded: Loaded, asked: bool) -> Vec<(Level, String)> {
        let before = self.ring.current();
        let moves = moves(&before.keys, &loaded.keys);
        let noted = loaded.notes != before.notes;
        if noted || !moves.is_empty() {
            self.ring.swap(loaded);
        }
        let set = self.ring.current();
        let (place, count) = (self.place(), set.keys.len());
        let place = raw(&place);
        let closing = if !moves.is_empty() {
            Some(format!("{place}: keys in use: {count}"))
        } else if asked {
            Some(format!("{place}: read again, the same keys: {count}"))
        } else {
            None
        };
        let notes = set.notes.iter().filter(|_| noted);
        let notes = notes.map(|note| (Level::Warn, raw(note).to_string()));
        let moves = moves.into_iter().map(|told| (Level::Info, told));
        let closing = closing.map(|told| (Level::Info, told));
        moves.chain(notes).chain(closing).collect()
    }

    fn read_was(&self, good: bool) {
        let counter = if good {
            &self.ring.good
        } else {
            &self.ring.bad
        };
        counter.add();
    }

    fn trouble(&self) -> &Trouble {
        &self.ring.trouble
    }

    fn code_of(&self, code: Code) -> &'static str {
        match code {
            Code::Data => "keys_invalid",
            Code::NoPermission => "keys_unprotected",
            Code::NoInput
            | Code::Io
            | Code::Os
            | Code::Usage
            | Code::Unavailable
            | Code::Config => "keys_unreadable",
        }
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
