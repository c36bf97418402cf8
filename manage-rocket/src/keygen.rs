//! `manage-rocket keygen <folder>`: makes the key pair that messages are signed and judged
//! with; with `session` behind it, the other pair, of session tokens. The private half is for its owner alone from the moment it exists. Refuses to
//! overwrite anything.

use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::token::key::{KeyFault, MessageKey};

/// Which pair is made: two purposes, two keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pair {
    /// `message-private.pem` and `message-public.pem`.
    Message,
    /// `session-private.pem` and `session-public.pem`.
    Session,
}

impl Pair {
    /// The files' names: the private half's, and the public half's, which goes to every
    /// gateway.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Message => ("message-private.pem", "message-public.pem"),
            Self::Session => ("session-private.pem", "session-public.pem"),
        }
    }
}

/// Why no key was made.
#[derive(Debug)]
pub enum KeygenError {
    /// A file or the folder.
    File(PathBuf, io::Error),
    /// The key itself.
    Key(KeyFault),
}

impl fmt::Display for KeygenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) if error.kind() == io::ErrorKind::AlreadyExists => {
                write!(f, "{} exists and is not overwritten", path.display())
            }
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Key(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for KeygenError {}

fn create(path: &Path, mode: u32, text: &str) -> Result<(), KeygenError> {
    let failed = |error| KeygenError::File(path.to_owned(), error);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _: u32 = mode;
    let mut file: File = options.open(path).map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.inspect_err(|_| remove(path)).map_err(failed)
}

/// Half a pair is no key, and would be in the way of the next try. What cannot be removed
/// is named then.
fn remove(path: &Path) {
    std::fs::remove_file(path).ok();
}

/// Makes a key pair in `folder`, which is made (for its owner alone) where there is none.
/// Returns the key's `kid`, its RFC 7638 thumbprint.
///
/// # Errors
/// [`KeygenError`]; an existing file of either name is left as it is, and then neither
/// file is made.
pub fn keygen(folder: &Path, pair: Pair) -> Result<String, KeygenError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| KeygenError::File(folder.to_owned(), error))?;
    let (private, public) = pair.names();
    let (private, public) = (folder.join(private), folder.join(public));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            let exists = io::ErrorKind::AlreadyExists.into();
            return Err(KeygenError::File(path.clone(), exists));
        }
    }
    let key = MessageKey::generate().map_err(KeygenError::Key)?;
    let private_pem = key.to_private_pem().map_err(KeygenError::Key)?;
    let public_pem = key.to_public_pem().map_err(KeygenError::Key)?;
    create(&private, 0o600, &private_pem)?;
    create(&public, 0o644, &public_pem).inspect_err(|_| remove(&private))?;
    Ok(key.kid().to_owned())
}
