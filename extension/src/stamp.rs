//! Stamping: a copy of the extension that works on other manage origins, with another
//! standard address of the gateway, or without the fixed key.
//!
//! It refuses origins that are not exactly scheme, host and port, so that a copy never
//! reaches more pages than were named, and it never writes into a folder that holds
//! anything. The binary `stamp`, `cargo demo` and the end-to-end tests call it; it is
//! the one place of this crate that writes files.

use std::{
    fmt, fs, io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The address in the shipped extension.
pub const DEFAULT_GATEWAY: &str = "http://127.0.0.1:9090/do";

/// What differs from the shipped extension.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// The origins on which it works, in place of the shipped ones. Never empty.
    pub manage: Vec<Origin>,
    /// The standard address of the gateway, where not [`DEFAULT_GATEWAY`].
    pub gateway: Option<GatewayUrl>,
    /// Where a browser asks for updates of a self-hosted package.
    pub update_url: Option<String>,
    /// Leaves out the fixed `key`: a store gives its own.
    pub without_key: bool,
}

/// Why a copy was not made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StampError {
    /// No origin was named.
    NoOrigin,
    /// Not an origin.
    Origin {
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Not an address of a gateway or of an update manifest.
    Url {
        /// The text as it was given.
        text: String,
    },
    /// The folder exists and is not empty.
    NotEmpty(PathBuf),
    /// Not a manifest with content scripts and, where it is needed, a key.
    Manifest(&'static str),
    /// A file could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with a text that should be an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Does not begin with `http://` or `https://`.
    Scheme,
    /// Empty, or not made of letters, digits, dots and hyphens.
    Host,
    /// A wildcard.
    Wildcard,
    /// Not a port from 1 to 65535.
    Port,
    /// Something behind the port, be it only a slash.
    Path,
    /// A user name or password.
    UserInfo,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it must begin with http:// or https://",
            Self::Host => "its host must be a plain name or an IPv4 address",
            Self::Wildcard => "it must name one origin, without a wildcard",
            Self::Port => "its port must be a number from 1 to 65535",
            Self::Path => "it must end after the host or port, without a slash",
            Self::UserInfo => "it must not contain a user name or password",
        })
    }
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrigin => f.write_str("no manage origin was named"),
            Self::Origin { text, fault } => write!(f, "{text:?} is not an origin: {fault}"),
            Self::Url { text } => write!(
                f,
                "{text:?} is not an address: it must begin with http:// or https://, a host and perhaps a port, and must not contain spaces, quotes, “?”, “#” or “@”"
            ),
            Self::NotEmpty(path) => write!(f, "{} is not empty", path.display()),
            Self::Manifest(what) => write!(f, "the extension's manifest {what}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for StampError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::NoOrigin
            | Self::Origin { .. }
            | Self::Url { .. }
            | Self::NotEmpty(_)
            | Self::Manifest(_) => None,
        }
    }
}

/// Scheme, host and port of a manage installation (RFC 6454 section 6.2), in the form
/// that a browser writes: lower case, and without the port that its scheme implies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    text: String,
    /// The same with its port, whichever it is: a match pattern without a port would
    /// match every port.
    with_port: String,
}

impl Origin {
    /// Reads an origin.
    ///
    /// # Errors
    /// [`StampError::Origin`] for everything that is not exactly one.
    pub fn parse(text: &str) -> Result<Self, StampError> {
        let refuse = |fault| StampError::Origin {
            text: text.to_owned(),
            fault,
        };
        let lower = text.to_ascii_lowercase();
        let (scheme, implied, rest) = if let Some(rest) = lower.strip_prefix("http://") {
            ("http", 80, rest)
        } else if let Some(rest) = lower.strip_prefix("https://") {
            ("https", 443, rest)
        } else {
            return Err(refuse(Fault::Scheme));
        };
        for (found, fault) in [
            (rest.contains('@'), Fault::UserInfo),
            (rest.contains(['/', '?', '#', '\\']), Fault::Path),
            (rest.contains('*'), Fault::Wildcard),
        ] {
            if found {
                return Err(refuse(fault));
            }
        }
        let (host, port) = match rest.split_once(':') {
            None => (rest, implied),
            Some((host, digits)) => (host, port_of(digits).ok_or_else(|| refuse(Fault::Port))?),
        };
        if !is_host(host) {
            return Err(refuse(Fault::Host));
        }
        let with_port = format!("{scheme}://{host}:{port}");
        let text = if port == implied {
            format!("{scheme}://{host}")
        } else {
            with_port.clone()
        };
        Ok(Self { text, with_port })
    }

    /// As a browser writes it in an `Origin` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The match pattern of exactly this origin.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("{}/*", self.with_port)
    }
}

/// An address that stands in the extension as the standard one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayUrl(String);

impl GatewayUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`StampError::Url`] for everything but `http://…` and `https://…` without query,
    /// fragment, user name, spaces and quotes.
    pub fn parse(text: &str) -> Result<Self, StampError> {
        plain_url(text).map(|()| Self(text.to_owned()))
    }
}

/// The id that a browser gives to an extension with this manifest: the first 16 bytes of
/// SHA-256 over the key, each half byte as a letter from `a` to `p`.
///
/// # Errors
/// [`StampError::Manifest`] where the key is missing or not base64.
pub fn extension_id(manifest: &Value) -> Result<String, StampError> {
    let key = manifest["key"]
        .as_str()
        .ok_or(StampError::Manifest("has no key"))?;
    let Ok(der) = Base64::decode_vec(key) else {
        return Err(StampError::Manifest("has a key that is not base64"));
    };
    let letter = |half: u8| char::from(b'a'.saturating_add(half));
    Ok(Sha256::digest(&der)
        .iter()
        .take(16)
        .flat_map(|byte| [letter(byte >> 4), letter(byte & 15)])
        .collect())
}

/// Reads the manifest of an unpacked extension.
///
/// # Errors
/// [`StampError::File`], or [`StampError::Manifest`] where it is not JSON.
pub fn read_manifest(folder: &Path) -> Result<Value, StampError> {
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    serde_json::from_str(&text).or(Err(StampError::Manifest("is not JSON")))
}

/// The origins on which an unpacked extension works, as browsers write them.
///
/// # Errors
/// [`StampError::Manifest`], or [`StampError::Origin`] for a pattern of more than one.
pub fn manage_origins(manifest: &Value) -> Result<Vec<Origin>, StampError> {
    let matches = manifest["content_scripts"][0]["matches"]
        .as_array()
        .ok_or(StampError::Manifest("has no content script"))?;
    matches
        .iter()
        .map(|pattern| {
            let pattern = pattern.as_str().unwrap_or_default();
            Origin::parse(pattern.strip_suffix("/*").unwrap_or(pattern))
        })
        .collect()
}

/// Copies the extension in `source` to `out`, which is made or must be empty.
///
/// # Errors
/// Every [`StampError`]; after one, `out` may hold a part of the copy.
pub fn stamp(source: &Path, out: &Path, stamp: &Stamp) -> Result<(), StampError> {
    if stamp.manage.is_empty() {
        return Err(StampError::NoOrigin);
    }
    if let Some(url) = &stamp.update_url {
        plain_url(url)?;
    }
    let mut manifest = read_manifest(source)?;
    manage_origins(&manifest)?;
    let patterns: Vec<String> = stamp.manage.iter().map(Origin::pattern).collect();
    manifest["content_scripts"][0]["matches"] = json!(patterns);
    if let Some(url) = &stamp.update_url {
        manifest["update_url"] = json!(url);
    }
    if stamp.without_key
        && let Some(members) = manifest.as_object_mut()
    {
        members.remove("key");
    }

    fs::create_dir_all(out).map_err(at(out))?;
    if fs::read_dir(out).map_err(at(out))?.next().is_some() {
        return Err(StampError::NotEmpty(out.to_owned()));
    }
    copy_folder(source, out)?;
    write(&out.join("manifest.json"), &format!("{manifest:#}\n"))?;
    if let Some(GatewayUrl(url)) = &stamp.gateway {
        let line = format!("export const DEFAULT_GATEWAY = {};\n", json!(url));
        write(&out.join("defaults.js"), &line)?;
    }
    Ok(())
}

fn port_of(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

fn is_host(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

/// Whether that is a host and perhaps a port, in letters that address.js takes too.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(good)
        }
    };
    good_host && port.is_none_or(|port| port_of(port).is_some())
}

fn plain_url(text: &str) -> Result<(), StampError> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let plain = rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        is_authority(authority)
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !rest.contains(['?', '#', '@', '"', '\'', '\\', '<', '>', '`'])
    });
    if plain {
        Ok(())
    } else {
        Err(StampError::Url {
            text: text.to_owned(),
        })
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), StampError> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&source))?.is_dir() {
            fs::create_dir(&target).map_err(at(&target))?;
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(at(&source))?;
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the crate's file that writes files"
)]
fn write(path: &Path, text: &str) -> Result<(), StampError> {
    fs::write(path, text).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> StampError {
    move |source| StampError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        DEFAULT_GATEWAY, Fault, GatewayUrl, Origin, Stamp, StampError, extension_id,
        manage_origins, read_manifest, stamp,
    };
    use crate::workspace;
    use serde_json::json;

    /// The id that the demonstration's gateway allows, and every document names.
    const SHIPPED_ID: &str = "eamiakabbepiegmmefkjgpepofelohap";

    #[test]
    fn the_shipped_manifest_has_the_fixed_id_and_the_two_origins() {
        let manifest = read_manifest(&workspace::unpacked()).unwrap();
        assert_eq!(extension_id(&manifest).unwrap(), SHIPPED_ID);
        let origins = manage_origins(&manifest).unwrap();
        let origins: Vec<_> = origins.iter().map(Origin::as_str).collect();
        assert_eq!(
            origins,
            [
                "http://localhost:8080",
                "http://manage-breast-screening:8080"
            ]
        );
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_shipped_manifest_asks_for_nothing_more() {
        let manifest = read_manifest(&workspace::unpacked()).unwrap();
        assert_eq!(manifest["permissions"], json!(["storage"]));
        for power in [
            "host_permissions",
            "optional_permissions",
            "optional_host_permissions",
            "externally_connectable",
            "web_accessible_resources",
            "action",
            "incognito",
            "update_url",
        ] {
            assert!(manifest.get(power).is_none(), "{power}");
        }
        let script = manifest["content_scripts"][0].as_object().unwrap();
        assert!(!script.contains_key("all_frames"));
        assert!(!script.contains_key("match_about_blank"));
    }

    #[test]
    fn the_default_address_is_the_shipped_one() {
        let text = std::fs::read_to_string(workspace::unpacked().join("defaults.js")).unwrap();
        let line = format!("export const DEFAULT_GATEWAY = {};", json!(DEFAULT_GATEWAY));
        assert!(text.lines().any(|l| l == line), "{text}");
    }

    #[test]
    fn origins() {
        for (text, expected) in [
            ("http://localhost:8080", Ok("http://localhost:8080/*")),
            ("https://manage.example", Ok("https://manage.example:443/*")),
            (
                "https://manage.example:443",
                Ok("https://manage.example:443/*"),
            ),
            (
                "HTTPS://Manage.Example:8443",
                Ok("https://manage.example:8443/*"),
            ),
            ("http://127.0.0.1:80", Ok("http://127.0.0.1:80/*")),
            ("", Err(Fault::Scheme)),
            ("manage.example", Err(Fault::Scheme)),
            ("*://manage.example", Err(Fault::Scheme)),
            ("ftp://manage.example", Err(Fault::Scheme)),
            ("<all_urls>", Err(Fault::Scheme)),
            ("https://", Err(Fault::Host)),
            ("https://:443", Err(Fault::Host)),
            ("https://manage..example", Err(Fault::Host)),
            ("https://-manage.example", Err(Fault::Host)),
            ("https://manage example", Err(Fault::Host)),
            ("https://mänage.example", Err(Fault::Host)),
            ("https://*.manage.example", Err(Fault::Wildcard)),
            ("https://manage.example:*", Err(Fault::Wildcard)),
            ("https://manage.example:", Err(Fault::Port)),
            ("https://manage.example:0", Err(Fault::Port)),
            ("https://manage.example:65536", Err(Fault::Port)),
            ("https://manage.example:+443", Err(Fault::Port)),
            ("https://[::1]:8080", Err(Fault::Port)),
            ("https://manage.example/", Err(Fault::Path)),
            ("https://manage.example/*", Err(Fault::Path)),
            ("https://manage.example?x", Err(Fault::Path)),
            ("https://manage.example\\x", Err(Fault::Path)),
            ("https://user@manage.example", Err(Fault::UserInfo)),
        ] {
            let found = match Origin::parse(text) {
                Ok(origin) => Ok(origin.pattern()),
                Err(StampError::Origin { fault, .. }) => Err(fault),
                Err(other) => panic!("{text}: {other}"),
            };
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
        let https = Origin::parse("https://manage.example:443").unwrap();
        assert_eq!(https.as_str(), "https://manage.example");
    }

    #[test]
    fn addresses() {
        for (text, good) in [
            ("http://screening-gateway:9090/do", true),
            ("https://gateway.example", true),
            ("http://[::1]:9090/do", true),
            ("", false),
            ("gateway:9090/do", false),
            ("http://", false),
            ("http:///do", false),
            ("http://gateway/do?x", false),
            ("http://gateway/do#x", false),
            ("http://user@gateway/do", false),
            ("http://screening_gateway", true),
            ("http://gateway:99999/do", false),
            ("http://gateway:/do", false),
            ("http://[::1/do", false),
            ("http://[gateway]/do", false),
            ("http://%zz/do", false),
            ("http://gate way/do", false),
            ("http://gateway/\"", false),
            ("http://gateway/do\n", false),
        ] {
            assert_eq!(GatewayUrl::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_copy_differs_in_what_was_asked_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let asked = Stamp {
            manage: vec![Origin::parse("https://manage.example").unwrap()],
            gateway: Some(GatewayUrl::parse("http://gateway.example:9090/do").unwrap()),
            update_url: Some("https://host.example/updates.xml".to_owned()),
            without_key: true,
        };
        stamp(&workspace::unpacked(), &out, &asked).unwrap();

        let mut expected = read_manifest(&workspace::unpacked()).unwrap();
        expected["content_scripts"][0]["matches"] = json!(["https://manage.example:443/*"]);
        expected["update_url"] = json!("https://host.example/updates.xml");
        expected.as_object_mut().unwrap().remove("key");
        assert_eq!(read_manifest(&out).unwrap(), expected);
        assert_eq!(
            std::fs::read_to_string(out.join("defaults.js")).unwrap(),
            "export const DEFAULT_GATEWAY = \"http://gateway.example:9090/do\";\n"
        );
        for file in ["content.js", "worker.js", "options.html", "icons/128.png"] {
            assert_eq!(
                std::fs::read(out.join(file)).unwrap(),
                std::fs::read(workspace::unpacked().join(file)).unwrap(),
                "{file}"
            );
        }

        let again = stamp(&workspace::unpacked(), &out, &asked);
        assert!(matches!(again, Err(StampError::NotEmpty(path)) if path == out));
    }

    #[test]
    fn nothing_is_made_without_an_origin_or_with_a_bad_address() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let none = stamp(&workspace::unpacked(), &out, &Stamp::default());
        assert!(matches!(none, Err(StampError::NoOrigin)));
        let bad = Stamp {
            manage: vec![Origin::parse("https://manage.example").unwrap()],
            update_url: Some("updates.xml".to_owned()),
            ..Stamp::default()
        };
        let bad = stamp(&workspace::unpacked(), &out, &bad);
        assert!(matches!(bad, Err(StampError::Url { text }) if text == "updates.xml"));
        assert!(!out.exists());
    }
}
