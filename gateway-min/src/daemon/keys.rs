//! The configured public keys: where they are read from, and that each file is one that
//! only its owner can change. What is no key, or a second one of the same `kid`, stops the
//! start: a gateway that quietly lacks a key refuses good messages on a clinic's morning.

use std::{path::Path, prelude::v1::*};

use super::{
    config::KeySource,
    exit::{Code, Stop},
    files,
};
use crate::{KeySet, limits::MAX_KEY_TEXT};

/// Most keys at once: next, present and retired ones of several installations.
pub(crate) const MAX_KEYS: usize = 16;

/// The keys of a gateway: some 480 KB, boxed, of which only keys that are there are
/// touched.
pub(crate) type Keys = KeySet<MAX_KEYS>;

/// Reads every key of the setting `name`, and notes what an operator should know about it.
///
/// # Errors
/// [`Stop`] that names the setting, the file and the fault.
pub(crate) fn load(
    name: &'static str,
    source: &KeySource,
) -> Result<(Box<Keys>, Vec<String>), Stop> {
    let mut keys = Box::<Keys>::default();
    let mut notes = Vec::new();
    match source {
        KeySource::Inline(text) => add(&mut keys, text.as_bytes(), name, &mut notes)?,
        KeySource::Path(path) if path.is_dir() => {
            let files = files::list(name, path)?;
            if files.is_empty() {
                return Err(Stop::new(
                    Code::NoInput,
                    format!("{name}: {}: a folder without files", path.display()),
                ));
            }
            for file in files {
                add_file(&mut keys, name, &file, &mut notes)?;
            }
        }
        KeySource::Path(path) => add_file(&mut keys, name, path, &mut notes)?,
    }
    Ok((keys, notes))
}

fn add_file(keys: &mut Keys, name: &str, path: &Path, notes: &mut Vec<String>) -> Result<(), Stop> {
    let text = files::read_guarded(name, path, MAX_KEY_TEXT)?;
    add(keys, &text, &format!("{name}: {}", path.display()), notes)
}

fn add(keys: &mut Keys, text: &[u8], place: &str, notes: &mut Vec<String>) -> Result<(), Stop> {
    match keys.add(text) {
        Ok(added) if added.skipped == 0 => Ok(()),
        Ok(added) => {
            notes.push(format!(
                "{place}: {} of its keys passed over, which are of other kinds or uses",
                added.skipped
            ));
            Ok(())
        }
        Err(error) => Err(Stop::new(Code::Data, format!("{place}: {error}"))),
    }
}
