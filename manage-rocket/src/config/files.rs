//! Secrets from the environment or from files: a setting holds the text itself or, with
//! `_FILE` behind its name, the path of a file that nobody but its owner can read. Refuses
//! both at once, and never shows a text that may be the secret.

use std::{fmt, fs::File, io::Read as _, path::Path};

use gateway_min::limits;
use zeroize::Zeroizing;

use super::{ConfigError, Settings, wrong};
use crate::token::key::MessageKey;

/// Reads a private file, unless someone else could read it too.
pub(super) fn read_private(setting: &str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let shown = path.display();
    let fault = |problem: &dyn fmt::Display| wrong(setting, format!("({shown}): {problem}"));
    let file = File::open(path).map_err(|error| fault(&error))?;
    // Of the open file, so that what was checked is what is read.
    let metadata = file.metadata().map_err(|error| fault(&error))?;
    if !metadata.is_file() {
        return Err(fault(&"is not a file"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        return Err(fault(
            &"can be read or written by others than its owner; make it mode 0600",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    let longest = u64::try_from(limits::MAX_KEY_TEXT).unwrap_or(u64::MAX);
    file.take(longest)
        .read_to_string(&mut text)
        .map_err(|error| fault(&error))?;
    Ok(text)
}

/// Whether a text that is no PEM may hold a key all the same: one that lost its armour, a
/// JWK, a bare seed in hexadecimal or base64. It must not be printed as if it were a path;
/// one that is the path of a file is as good as it says.
fn may_be_a_key(text: &str) -> bool {
    const SHORTEST: usize = 40;
    let like_a_key = text.contains(['\n', '{']) || (text.len() >= SHORTEST && !text.contains('.'));
    like_a_key && !Path::new(text).exists()
}

/// The PEM text of a key, and the name of the setting it is from: `name` holds the text or a
/// path, `file_name` a path.
pub(super) fn pem(
    settings: &Settings,
    name: &'static str,
    file_name: &'static str,
) -> Result<Option<(&'static str, Zeroizing<String>)>, ConfigError> {
    match (settings.get(name), settings.get(file_name)) {
        (Some(_), Some(_)) => Err(wrong(
            name,
            format!("and {file_name} are both set; set one"),
        )),
        (None, None) => Ok(None),
        (Some(text), None) if text.contains("-----BEGIN") => {
            Ok(Some((name, Zeroizing::new(text.to_owned()))))
        }
        (Some(path), None) => {
            if path.trim().is_empty() || may_be_a_key(path) {
                return Err(wrong(name, "is neither a PEM text nor the path of a file"));
            }
            Ok(Some((name, read_private(name, Path::new(path))?)))
        }
        (None, Some(path)) => {
            if may_be_a_key(path) {
                return Err(wrong(file_name, "is not the path of a file"));
            }
            Ok(Some((file_name, read_private(file_name, Path::new(path))?)))
        }
    }
}

/// An Ed25519 key, where one is set.
pub(super) fn signing_key(
    settings: &Settings,
    name: &'static str,
    file_name: &'static str,
) -> Result<Option<MessageKey>, ConfigError> {
    let Some((setting, pem)) = pem(settings, name, file_name)? else {
        return Ok(None);
    };
    let key = MessageKey::from_pem(&pem).map_err(|fault| wrong(setting, format!("is {fault}")));
    key.map(Some)
}

/// A password-like secret, where one is set: the text of `name`, or what the file of
/// `file_name` holds without a line end behind it.
pub(super) fn secret(
    settings: &Settings,
    name: &'static str,
    file_name: &'static str,
) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let (setting, text) = match (settings.get(name), settings.get(file_name)) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                name,
                format!("and {file_name} are both set; set one"),
            ));
        }
        (None, None) => return Ok(None),
        (Some(text), None) => (name, Zeroizing::new(text.to_owned())),
        (None, Some(path)) => {
            let text = read_private(file_name, Path::new(path))?;
            (file_name, without_line_end(&text))
        }
    };
    if text.is_empty() {
        return Err(wrong(setting, "is empty"));
    }
    Ok(Some(text))
}

/// Editors end files with a line end, which is no part of a secret.
pub(super) fn without_line_end(text: &str) -> Zeroizing<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
