//! The settings: read once, from the environment, into a [`Config`] that cannot hold
//! nonsense. An unknown `MANAGE_*` variable, a misspelt value, an unreadable or
//! world-readable key file stop the start; each message names the setting and never shows
//! a secret. Rocket's own settings (`ROCKET_ADDRESS`, `ROCKET_PORT`, …) are Rocket's.

use std::{ffi::OsString, fmt, fs::File, io::Read as _, path::Path};

use gateway_min::limits;
use zeroize::Zeroizing;

use crate::{clock::Clock, db::DatabaseUrl, token::key::MessageKey};

/// Longest lifetime of a message, in seconds, and the default: what a gateway takes
/// unless told otherwise.
pub const LONGEST_LIFETIME_SECS: u32 = 43_200;
/// Shortest, in seconds: a message must outlive the walk to the equipment.
pub const SHORTEST_LIFETIME_SECS: u32 = 60;

/// A setting that stops the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The setting's name.
    pub setting: String,
    /// What is wrong, without a secret.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.problem)
    }
}

impl std::error::Error for ConfigError {}

fn wrong(setting: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError {
        setting: setting.to_owned(),
        problem: problem.into(),
    }
}

/// How people sign in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignIn {
    /// By choosing a person from a list: for development and demonstrations alone.
    Mock,
}

impl SignIn {
    /// As users of this strategy are stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mock => "mock",
        }
    }
}

/// How browsers reach this installation: the `iss` of its messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl {
    origin: String,
    https: bool,
}

impl PublicUrl {
    /// Reads a scheme, a host and perhaps a port, as a browser writes an origin
    /// (RFC 6454 section 6.1): lower case, without the scheme's default port.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, default_port, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, "443", rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, "80", rest)
        } else {
            return Err("must begin with http:// or https://");
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let good_host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        if !good_host {
            return Err("must be a host and perhaps a port, with nothing behind them");
        }
        let port = match port {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(number) if number > 0 && number.to_string() == text => Some(text),
                _ => return Err("has a port that is not one"),
            },
        };
        let scheme = if https { "https" } else { "http" };
        let mut origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        if let Some(port) = port.filter(|port| *port != default_port) {
            origin.push(':');
            origin.push_str(port);
        }
        Ok(Self { origin, https })
    }

    /// As browsers write it in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether nobody on the way from a browser to here can listen: HTTPS, or this very
    /// machine.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        let here = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
        let behind = here.iter().find_map(|here| self.origin.strip_prefix(here));
        self.https || behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// Whether cookies can be `Secure`.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }
}

/// Everything the installation was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `MANAGE_PUBLIC_URL`.
    pub public_url: PublicUrl,
    /// `MANAGE_DATABASE`.
    pub database: DatabaseUrl,
    /// `JWT_PRIVATE_KEY` or `JWT_PRIVATE_KEY_FILE`.
    pub key: MessageKey,
    /// `MANAGE_MESSAGE_LIFETIME_SECS`.
    pub lifetime_secs: u32,
    /// `MANAGE_SIGN_IN`.
    pub sign_in: SignIn,
    /// `MANAGE_DEMONSTRATION`: fill an empty database with made-up clinics.
    pub demonstration: bool,
    /// Where the time comes from.
    pub clock: Clock,
}

/// What kind of build asks: a release build refuses what only development needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// Built with debug assertions.
    Debug,
    /// Built without.
    Release,
}

impl Build {
    /// This program's own.
    #[must_use]
    pub const fn this() -> Self {
        if cfg!(debug_assertions) {
            Self::Debug
        } else {
            Self::Release
        }
    }
}

#[derive(Default)]
struct Settings {
    public_url: Option<String>,
    database: Option<String>,
    key: Option<Zeroizing<String>>,
    key_file: Option<String>,
    lifetime: Option<String>,
    sign_in: Option<String>,
    allow_mock: Option<String>,
    demonstration: Option<String>,
}

impl Settings {
    fn read(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        for (name, value) in vars {
            let name = name.to_string_lossy().into_owned();
            let slot = match name.as_str() {
                "MANAGE_PUBLIC_URL" => &mut settings.public_url,
                "MANAGE_DATABASE" => &mut settings.database,
                "MANAGE_MESSAGE_LIFETIME_SECS" => &mut settings.lifetime,
                "MANAGE_SIGN_IN" => &mut settings.sign_in,
                "MANAGE_ALLOW_MOCK_SIGN_IN" => &mut settings.allow_mock,
                "MANAGE_DEMONSTRATION" => &mut settings.demonstration,
                "JWT_PRIVATE_KEY_FILE" => &mut settings.key_file,
                "JWT_PRIVATE_KEY" => {
                    let value = value.into_string();
                    let value = value.map_err(|_bytes: OsString| wrong(&name, "is not UTF-8"))?;
                    settings.key = Some(Zeroizing::new(value));
                    continue;
                }
                _ if name.starts_with("MANAGE_") => {
                    return Err(wrong(&name, "is not a setting of this version"));
                }
                _ => continue,
            };
            let value = value.into_string();
            *slot = Some(value.map_err(|_bytes: OsString| wrong(&name, "is not UTF-8"))?);
        }
        Ok(settings)
    }
}

fn switch(setting: &str, value: Option<&str>) -> Result<bool, ConfigError> {
    match value {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(wrong(setting, "must be 0 or 1")),
    }
}

/// Reads a key file, unless someone else could read it too.
fn read_key_file(setting: &str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
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

fn key(settings: &Settings) -> Result<MessageKey, ConfigError> {
    let (setting, pem) = match (&settings.key, &settings.key_file) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "JWT_PRIVATE_KEY",
                "and JWT_PRIVATE_KEY_FILE are both set; set one",
            ));
        }
        (None, None) => {
            return Err(wrong(
                "JWT_PRIVATE_KEY",
                "is not set; give a PEM text or the path of a PEM file (`manage-rocket keygen` makes one)",
            ));
        }
        (Some(text), None) if text.contains("-----BEGIN") => ("JWT_PRIVATE_KEY", text.clone()),
        (Some(path), None) => {
            let setting = "JWT_PRIVATE_KEY";
            if path.trim().is_empty() || may_be_a_key(path) {
                return Err(wrong(
                    setting,
                    "is neither a PEM text nor the path of a file",
                ));
            }
            (setting, read_key_file(setting, Path::new(path.as_str()))?)
        }
        (None, Some(path)) => {
            let setting = "JWT_PRIVATE_KEY_FILE";
            if may_be_a_key(path) {
                return Err(wrong(setting, "is not the path of a file"));
            }
            (setting, read_key_file(setting, Path::new(path))?)
        }
    };
    MessageKey::from_pem(&pem).map_err(|fault| wrong(setting, format!("is {fault}")))
}

impl Config {
    /// Reads the settings from environment variables.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is wrong.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        build: Build,
    ) -> Result<Self, ConfigError> {
        let settings = Settings::read(vars)?;
        let text = settings.public_url.as_deref();
        let public_url = PublicUrl::parse(text.unwrap_or("http://localhost:8080"))
            .map_err(|problem| wrong("MANAGE_PUBLIC_URL", problem))?;
        let text = settings.database.as_deref();
        let database = DatabaseUrl::parse(text.unwrap_or("sqlite:manage.db"))
            .map_err(|problem| wrong("MANAGE_DATABASE", problem))?;
        let lifetime_secs = match settings.lifetime.as_deref() {
            None => LONGEST_LIFETIME_SECS,
            Some(text) => text
                .parse()
                .ok()
                .filter(|secs| (SHORTEST_LIFETIME_SECS..=LONGEST_LIFETIME_SECS).contains(secs))
                .ok_or_else(|| {
                    let range = format!(
                        "must be a number of seconds from {SHORTEST_LIFETIME_SECS} to {LONGEST_LIFETIME_SECS}"
                    );
                    wrong("MANAGE_MESSAGE_LIFETIME_SECS", range)
                })?,
        };
        let allow_mock = switch("MANAGE_ALLOW_MOCK_SIGN_IN", settings.allow_mock.as_deref())?;
        let sign_in = match settings.sign_in.as_deref() {
            Some("mock") if build == Build::Debug || allow_mock => SignIn::Mock,
            Some("mock") => {
                return Err(wrong(
                    "MANAGE_SIGN_IN",
                    "is mock, with which anyone can be anyone; a release build needs MANAGE_ALLOW_MOCK_SIGN_IN=1 for it",
                ));
            }
            Some(_) => return Err(wrong("MANAGE_SIGN_IN", "must be mock")),
            None => return Err(wrong("MANAGE_SIGN_IN", "is not set; there is: mock")),
        };
        Ok(Self {
            public_url,
            database,
            key: key(&settings)?,
            lifetime_secs,
            sign_in,
            demonstration: switch("MANAGE_DEMONSTRATION", settings.demonstration.as_deref())?,
            clock: Clock::system(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Build, Config, PublicUrl, SignIn};
    use crate::token::key::tests::RFC8037_PEM;

    fn read(vars: &[(&str, &str)], build: Build) -> Result<Config, String> {
        let vars = vars
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v)));
        Config::from_vars(vars, build).map_err(|error| error.to_string())
    }

    const KEY: (&str, &str) = ("JWT_PRIVATE_KEY", RFC8037_PEM);
    const MOCK: (&str, &str) = ("MANAGE_SIGN_IN", "mock");

    #[test]
    fn little_needs_to_be_said() {
        let config = read(
            &[KEY, MOCK, ("PATH", "/bin"), ("ROCKET_PORT", "1")],
            Build::Debug,
        )
        .unwrap();
        assert_eq!(config.public_url.origin(), "http://localhost:8080");
        assert_eq!(format!("{:?}", config.database), "sqlite:manage.db");
        assert_eq!(config.lifetime_secs, 43_200);
        assert_eq!(config.sign_in, SignIn::Mock);
        assert!(!config.demonstration);
        // The whole of it can be printed: no secret shows.
        assert!(!format!("{config:?}").contains("MC4CAQ"));
    }

    #[test]
    fn each_wrong_setting_is_named() {
        use Build::{Debug, Release};
        type Row = (
            &'static str,
            &'static [(&'static str, &'static str)],
            Build,
            &'static str,
        );
        let rows: &[Row] = &[
            (
                "no key",
                &[MOCK],
                Debug,
                "JWT_PRIVATE_KEY is not set; give a PEM text or the path of a PEM file (`manage-rocket keygen` makes one)",
            ),
            (
                "a garbled key",
                &[
                    MOCK,
                    ("JWT_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nMC4"),
                ],
                Debug,
                "JWT_PRIVATE_KEY is not an Ed25519 private key in PKCS#8 PEM",
            ),
            (
                "a key without armour",
                &[MOCK, ("JWT_PRIVATE_KEY", "MC4\nMC4\n")],
                Debug,
                "JWT_PRIVATE_KEY is neither a PEM text nor the path of a file",
            ),
            (
                "a key without armour in one line",
                &[
                    MOCK,
                    (
                        "JWT_PRIVATE_KEY",
                        "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
                    ),
                ],
                Debug,
                "JWT_PRIVATE_KEY is neither a PEM text nor the path of a file",
            ),
            (
                "a key as JWK",
                &[
                    MOCK,
                    (
                        "JWT_PRIVATE_KEY",
                        r#"{"kty":"OKP","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#,
                    ),
                ],
                Debug,
                "JWT_PRIVATE_KEY is neither a PEM text nor the path of a file",
            ),
            (
                "a key for the path of its file",
                &[MOCK, ("JWT_PRIVATE_KEY_FILE", RFC8037_PEM)],
                Debug,
                "JWT_PRIVATE_KEY_FILE is not the path of a file",
            ),
            (
                "an empty key",
                &[MOCK, ("JWT_PRIVATE_KEY", "")],
                Debug,
                "JWT_PRIVATE_KEY is neither a PEM text nor the path of a file",
            ),
            (
                "a file that is not there",
                &[MOCK, ("JWT_PRIVATE_KEY", "/nowhere/x.pem")],
                Debug,
                "JWT_PRIVATE_KEY (/nowhere/x.pem): No such file or directory (os error 2)",
            ),
            (
                "a folder for a key",
                &[MOCK, ("JWT_PRIVATE_KEY_FILE", "/")],
                Debug,
                "JWT_PRIVATE_KEY_FILE (/): is not a file",
            ),
            (
                "two keys",
                &[MOCK, KEY, ("JWT_PRIVATE_KEY_FILE", "x")],
                Debug,
                "JWT_PRIVATE_KEY and JWT_PRIVATE_KEY_FILE are both set; set one",
            ),
            (
                "a misspelt name",
                &[KEY, MOCK, ("MANAGE_PUBLIC_URI", "x")],
                Debug,
                "MANAGE_PUBLIC_URI is not a setting of this version",
            ),
            (
                "no sign-in",
                &[KEY],
                Debug,
                "MANAGE_SIGN_IN is not set; there is: mock",
            ),
            (
                "another sign-in",
                &[KEY, ("MANAGE_SIGN_IN", "Mock")],
                Debug,
                "MANAGE_SIGN_IN must be mock",
            ),
            (
                "mock in a release build",
                &[KEY, MOCK],
                Release,
                "MANAGE_SIGN_IN is mock, with which anyone can be anyone; a release build needs MANAGE_ALLOW_MOCK_SIGN_IN=1 for it",
            ),
            (
                "mock allowed by a word",
                &[KEY, MOCK, ("MANAGE_ALLOW_MOCK_SIGN_IN", "yes")],
                Release,
                "MANAGE_ALLOW_MOCK_SIGN_IN must be 0 or 1",
            ),
            (
                "a lifetime too long",
                &[KEY, MOCK, ("MANAGE_MESSAGE_LIFETIME_SECS", "43201")],
                Debug,
                "MANAGE_MESSAGE_LIFETIME_SECS must be a number of seconds from 60 to 43200",
            ),
            (
                "a lifetime too short",
                &[KEY, MOCK, ("MANAGE_MESSAGE_LIFETIME_SECS", "59")],
                Debug,
                "MANAGE_MESSAGE_LIFETIME_SECS must be a number of seconds from 60 to 43200",
            ),
            (
                "a lifetime with a unit",
                &[KEY, MOCK, ("MANAGE_MESSAGE_LIFETIME_SECS", "12h")],
                Debug,
                "MANAGE_MESSAGE_LIFETIME_SECS must be a number of seconds from 60 to 43200",
            ),
            (
                "a database elsewhere",
                &[KEY, MOCK, ("MANAGE_DATABASE", "mysql://x")],
                Debug,
                "MANAGE_DATABASE is neither `sqlite:<path>` nor `postgres://…`",
            ),
            (
                "a path in the address",
                &[KEY, MOCK, ("MANAGE_PUBLIC_URL", "http://x/manage")],
                Debug,
                "MANAGE_PUBLIC_URL must be a host and perhaps a port, with nothing behind them",
            ),
            (
                "demonstration by a word",
                &[KEY, MOCK, ("MANAGE_DEMONSTRATION", "true")],
                Debug,
                "MANAGE_DEMONSTRATION must be 0 or 1",
            ),
        ];
        for (name, vars, build, expected) in rows {
            assert_eq!(read(vars, *build).unwrap_err(), *expected, "{name}");
        }
        let allowed = read(&[KEY, MOCK, ("MANAGE_ALLOW_MOCK_SIGN_IN", "1")], Release);
        assert_eq!(allowed.unwrap().sign_in, SignIn::Mock);
    }

    #[test]
    fn who_could_listen_is_known() {
        for (text, confidential) in [
            ("https://manage.example", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("http://localhost.example", false),
            ("http://manage-breast-screening:8080", false),
            ("http://[::2]:8080", false),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.is_confidential(), confidential, "{text}");
        }
    }

    #[test]
    fn an_address_is_read_as_browsers_write_origins() {
        for (text, expected) in [
            ("http://localhost:8080", Ok("http://localhost:8080")),
            ("http://localhost:8080/", Ok("http://localhost:8080")),
            (
                "https://Manage.Example.NHS.UK",
                Ok("https://manage.example.nhs.uk"),
            ),
            ("https://manage.example:443", Ok("https://manage.example")),
            ("http://manage.example:80", Ok("http://manage.example")),
            ("https://manage.example:80", Ok("https://manage.example:80")),
            ("http://[::1]:8080", Ok("http://[::1]:8080")),
            ("http://[::1]", Ok("http://[::1]")),
            ("localhost:8080", Err("must begin with http:// or https://")),
            ("ftp://x", Err("must begin with http:// or https://")),
            ("http://x:0", Err("has a port that is not one")),
            ("http://x:065", Err("has a port that is not one")),
            ("http://x:65536", Err("has a port that is not one")),
            ("http://x:", Err("has a port that is not one")),
            (
                "http://",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://x?y",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://a@x",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://[x]",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://münchen",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
        ] {
            let got = PublicUrl::parse(text);
            assert_eq!(
                got.as_ref().map(PublicUrl::origin).map_err(|e| *e),
                expected,
                "{text}"
            );
        }
    }
}
