//! The settings: read once, from the environment, into a [`Config`] that cannot hold
//! nonsense. An unknown `MANAGE_*` variable, a misspelt value, an unreadable or
//! world-readable key file stop the start; each message names the setting and never shows
//! a secret. Rocket's own settings (`ROCKET_ADDRESS`, `ROCKET_PORT`, …) are Rocket's.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use zeroize::Zeroizing;

use crate::{clock::Clock, db::DatabaseUrl, token::key::MessageKey};

mod bypass;
mod files;
mod public_url;
mod sign_in;

pub use bypass::BypassSecrets;
pub use public_url::PublicUrl;
pub(crate) use sign_in::{AssertionAudience, ClientProof, is_safe_address};
pub use sign_in::{OidcSettings, SignIn, SignonSettings};

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

/// Everything the installation was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `MANAGE_PUBLIC_URL`.
    pub public_url: PublicUrl,
    /// `MANAGE_DATABASE`.
    pub database: DatabaseUrl,
    /// `JWT_PRIVATE_KEY` or `JWT_PRIVATE_KEY_FILE`.
    pub key: MessageKey,
    /// `MANAGE_SESSION_KEY` or `MANAGE_SESSION_KEY_FILE`: signs people in at gateways.
    pub session_key: Option<MessageKey>,
    /// `MANAGE_BYPASS_SECRETS`: each gateway's secret for bypass tokens.
    pub bypass_secrets: BypassSecrets,
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

/// The variables that are read. Others that begin with `MANAGE_` are refused.
const KNOWN: &[&str] = &[
    "GDS_SSO_MOCK_INVALID",
    "GDS_SSO_OAUTH_ID",
    "GDS_SSO_OAUTH_SECRET",
    "GDS_SSO_OAUTH_SECRET_FILE",
    "GDS_SSO_STRATEGY",
    "JWT_PRIVATE_KEY",
    "JWT_PRIVATE_KEY_FILE",
    "MANAGE_ALLOW_MOCK_SIGN_IN",
    "MANAGE_BYPASS_SECRETS",
    "MANAGE_DATABASE",
    "MANAGE_DEMONSTRATION",
    "MANAGE_MESSAGE_LIFETIME_SECS",
    "MANAGE_OIDC_ACR_VALUES",
    "MANAGE_OIDC_ASSERTION_AUDIENCE",
    "MANAGE_OIDC_CLIENT_ID",
    "MANAGE_OIDC_CLIENT_KEY",
    "MANAGE_OIDC_CLIENT_KEY_FILE",
    "MANAGE_OIDC_CLIENT_SECRET",
    "MANAGE_OIDC_CLIENT_SECRET_FILE",
    "MANAGE_OIDC_ISSUER",
    "MANAGE_OIDC_MIN_AUTHENTICATION_ASSURANCE",
    "MANAGE_OIDC_MIN_ID_ASSURANCE",
    "MANAGE_OIDC_ORGANISATION_CLAIM",
    "MANAGE_OIDC_PERMISSIONS_CLAIM",
    "MANAGE_OIDC_PROMPT",
    "MANAGE_OIDC_SCOPES",
    "MANAGE_PUBLIC_URL",
    "MANAGE_SESSION_KEY",
    "MANAGE_SESSION_KEY_FILE",
    "MANAGE_SIGNON_URL",
    "MANAGE_SIGN_IN",
];

/// What was set, by name. Wiped when dropped: secrets are among it.
struct Settings(BTreeMap<&'static str, Zeroizing<String>>);

impl Settings {
    fn read(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut settings = BTreeMap::new();
        for (name, value) in vars {
            let name = name.to_string_lossy().into_owned();
            let Some(known) = KNOWN.iter().find(|known| **known == name) else {
                if name.starts_with("MANAGE_") {
                    return Err(wrong(&name, "is not a setting of this version"));
                }
                continue;
            };
            let value = value.into_string();
            let value = value.map_err(|_bytes: OsString| wrong(&name, "is not UTF-8"))?;
            settings.insert(*known, Zeroizing::new(value));
        }
        Ok(Self(settings))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// Refuses every setting whose name begins so.
    fn refuse_prefix(&self, prefix: &str, problem: &str) -> Result<(), ConfigError> {
        let found = self.0.keys().find(|name| name.starts_with(prefix));
        found.map_or(Ok(()), |name| Err(wrong(name, problem)))
    }
}

fn switch(setting: &str, value: Option<&str>) -> Result<bool, ConfigError> {
    match value {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(wrong(setting, "must be 0 or 1")),
    }
}

/// The key of messages, and the one of session tokens where there is one. A session token
/// must not be signed by what gateways take messages from, nor the other way round.
fn keys(settings: &Settings) -> Result<(MessageKey, Option<MessageKey>), ConfigError> {
    let key = files::signing_key(settings, "JWT_PRIVATE_KEY", "JWT_PRIVATE_KEY_FILE")?;
    let key = key.ok_or_else(|| {
        wrong(
            "JWT_PRIVATE_KEY",
            "is not set; give a PEM text or the path of a PEM file (`manage-rocket keygen` makes one)",
        )
    })?;
    let session_key =
        files::signing_key(settings, "MANAGE_SESSION_KEY", "MANAGE_SESSION_KEY_FILE")?;
    if session_key
        .as_ref()
        .is_some_and(|other| other.kid() == key.kid())
    {
        return Err(wrong(
            "MANAGE_SESSION_KEY",
            "is the message key; make another one (`manage-rocket keygen <folder> session`)",
        ));
    }
    Ok((key, session_key))
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
        let text = settings.get("MANAGE_PUBLIC_URL");
        let public_url = PublicUrl::parse(text.unwrap_or("http://localhost:8080"))
            .map_err(|problem| wrong("MANAGE_PUBLIC_URL", problem))?;
        let text = settings.get("MANAGE_DATABASE");
        let database = DatabaseUrl::parse(text.unwrap_or("sqlite:manage.db"))
            .map_err(|problem| wrong("MANAGE_DATABASE", problem))?;
        let lifetime_secs = match settings.get("MANAGE_MESSAGE_LIFETIME_SECS") {
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
        let sign_in = sign_in::read(&settings, &public_url, build)?;
        let (key, session_key) = keys(&settings)?;
        let folder = settings.get("MANAGE_BYPASS_SECRETS").map(PathBuf::from);
        let demonstration = "MANAGE_DEMONSTRATION";
        Ok(Self {
            public_url,
            database,
            key,
            session_key,
            bypass_secrets: BypassSecrets::read(folder.as_deref())?,
            lifetime_secs,
            sign_in,
            demonstration: switch(demonstration, settings.get(demonstration))?,
            clock: Clock::system(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Build, Config, SignIn};
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
        assert!(matches!(config.sign_in, SignIn::Mock { nobody: false }));
        assert!(config.session_key.is_none());
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
                "MANAGE_SIGN_IN is not set; there are: mock, signon, oidc",
            ),
            (
                "another sign-in",
                &[KEY, ("MANAGE_SIGN_IN", "Mock")],
                Debug,
                "MANAGE_SIGN_IN must be mock, signon or oidc",
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
        assert!(matches!(
            allowed.unwrap().sign_in,
            SignIn::Mock { nobody: false }
        ));
    }

    #[test]
    fn each_strategy_says_what_it_lacks() {
        const SIGNON: (&str, &str) = ("MANAGE_SIGN_IN", "signon");
        const OIDC: (&str, &str) = ("MANAGE_SIGN_IN", "oidc");
        const ISSUER: (&str, &str) = ("MANAGE_OIDC_ISSUER", "https://op.example");
        const CLIENT: (&str, &str) = ("MANAGE_OIDC_CLIENT_ID", "x");
        const SECRET: (&str, &str) = ("MANAGE_OIDC_CLIENT_SECRET", "a secret");
        const SIGNON_URL: (&str, &str) = ("MANAGE_SIGNON_URL", "https://signon.example/");
        const OAUTH_ID: (&str, &str) = ("GDS_SSO_OAUTH_ID", "id");
        const OAUTH_SECRET: (&str, &str) = ("GDS_SSO_OAUTH_SECRET", "a secret");
        let plain =
            "must be an https:// address without query (http:// only for this very machine)";
        let rows: &[(&str, &[(&str, &str)], String)] = &[
            ("no Signon", &[SIGNON], "MANAGE_SIGNON_URL is not set".to_owned()),
            (
                "Signon in the clear",
                &[SIGNON, ("MANAGE_SIGNON_URL", "http://signon.example")],
                format!("MANAGE_SIGNON_URL {plain}"),
            ),
            (
                "no secret for Signon",
                &[SIGNON, SIGNON_URL, OAUTH_ID],
                "GDS_SSO_OAUTH_SECRET is not set".to_owned(),
            ),
            (
                "an empty secret",
                &[SIGNON, SIGNON_URL, OAUTH_ID, ("GDS_SSO_OAUTH_SECRET", "")],
                "GDS_SSO_OAUTH_SECRET is empty".to_owned(),
            ),
            (
                "a secret twice",
                &[SIGNON, SIGNON_URL, OAUTH_ID, OAUTH_SECRET, ("GDS_SSO_OAUTH_SECRET_FILE", "x")],
                "GDS_SSO_OAUTH_SECRET and GDS_SSO_OAUTH_SECRET_FILE are both set; set one".to_owned(),
            ),
            (
                "no id at Signon",
                &[SIGNON, SIGNON_URL, OAUTH_SECRET],
                "GDS_SSO_OAUTH_ID is not set".to_owned(),
            ),
            (
                "two words about the strategy",
                &[OIDC, ("GDS_SSO_STRATEGY", "real")],
                "GDS_SSO_STRATEGY says signon, and MANAGE_SIGN_IN says oidc".to_owned(),
            ),
            (
                "a strategy of another name",
                &[("GDS_SSO_STRATEGY", "production")],
                "GDS_SSO_STRATEGY must be mock or real".to_owned(),
            ),
            (
                "Signon's setting for another strategy",
                &[MOCK, SIGNON_URL],
                "MANAGE_SIGNON_URL is a setting of MANAGE_SIGN_IN=signon".to_owned(),
            ),
            (
                "OpenID Connect's setting for another strategy",
                &[MOCK, ISSUER],
                "MANAGE_OIDC_ISSUER is a setting of MANAGE_SIGN_IN=oidc".to_owned(),
            ),
            ("no issuer", &[OIDC], "MANAGE_OIDC_ISSUER is not set".to_owned()),
            (
                "an issuer in the clear",
                &[OIDC, ("MANAGE_OIDC_ISSUER", "http://op.example")],
                format!("MANAGE_OIDC_ISSUER {plain}"),
            ),
            (
                "no proof of the client",
                &[OIDC, ISSUER, CLIENT],
                "MANAGE_OIDC_CLIENT_KEY is not set, and MANAGE_OIDC_CLIENT_SECRET neither; set one".to_owned(),
            ),
            (
                "an Ed25519 key for an RSA key",
                &[OIDC, ISSUER, CLIENT, ("MANAGE_OIDC_CLIENT_KEY", RFC8037_PEM)],
                "MANAGE_OIDC_CLIENT_KEY is not an RSA private key of at least 2048 bits in PKCS#8 PEM".to_owned(),
            ),
            (
                "two proofs",
                &[OIDC, ISSUER, CLIENT, SECRET, ("MANAGE_OIDC_CLIENT_KEY", RFC8037_PEM)],
                "MANAGE_OIDC_CLIENT_SECRET and MANAGE_OIDC_CLIENT_KEY are both set; set one".to_owned(),
            ),
            (
                "no client",
                &[OIDC, ISSUER, SECRET],
                "MANAGE_OIDC_CLIENT_ID is not set".to_owned(),
            ),
            (
                "scopes without openid",
                &[OIDC, ISSUER, CLIENT, SECRET, ("MANAGE_OIDC_SCOPES", "profile")],
                "MANAGE_OIDC_SCOPES must have openid among them".to_owned(),
            ),
            (
                "a level of none",
                &[OIDC, ISSUER, CLIENT, SECRET, ("MANAGE_OIDC_MIN_ID_ASSURANCE", "0")],
                "MANAGE_OIDC_MIN_ID_ASSURANCE must be a level from 1 to 9".to_owned(),
            ),
            (
                "another audience",
                &[OIDC, ISSUER, CLIENT, SECRET, ("MANAGE_OIDC_ASSERTION_AUDIENCE", "x")],
                "MANAGE_OIDC_ASSERTION_AUDIENCE must be issuer or token_endpoint".to_owned(),
            ),
            (
                "signing in over plain HTTP",
                &[OIDC, ISSUER, CLIENT, SECRET, ("MANAGE_PUBLIC_URL", "http://manage.example")],
                "MANAGE_PUBLIC_URL must be https:// for signing in (http:// only for this very machine)".to_owned(),
            ),
            (
                "the message key for sessions",
                &[MOCK, ("MANAGE_SESSION_KEY", RFC8037_PEM)],
                "MANAGE_SESSION_KEY is the message key; make another one (`manage-rocket keygen <folder> session`)".to_owned(),
            ),
            (
                "a folder of secrets that is not there",
                &[MOCK, ("MANAGE_BYPASS_SECRETS", "/nowhere")],
                "MANAGE_BYPASS_SECRETS (/nowhere): No such file or directory (os error 2)".to_owned(),
            ),
        ];
        for (name, vars, expected) in rows {
            let vars: Vec<_> = [KEY].iter().chain(*vars).copied().collect();
            assert_eq!(&read(&vars, Build::Debug).unwrap_err(), expected, "{name}");
        }
        for (name, vars) in [
            ("Signon", &[SIGNON, SIGNON_URL, OAUTH_ID, OAUTH_SECRET][..]),
            (
                "Signon by its own name",
                &[
                    ("GDS_SSO_STRATEGY", "real"),
                    SIGNON_URL,
                    OAUTH_ID,
                    OAUTH_SECRET,
                ],
            ),
            ("OpenID Connect", &[OIDC, ISSUER, CLIENT, SECRET]),
        ] {
            let vars: Vec<_> = [KEY].iter().chain(vars).copied().collect();
            let config = read(&vars, Build::Release).unwrap();
            let shown = format!("{config:?}");
            assert!(
                !shown.contains("a secret") && shown.contains("***"),
                "{name}: {shown}"
            );
        }
        let nobody = read(
            &[
                KEY,
                ("GDS_SSO_STRATEGY", "mock"),
                ("GDS_SSO_MOCK_INVALID", "1"),
            ],
            Build::Debug,
        );
        assert!(matches!(
            nobody.unwrap().sign_in,
            SignIn::Mock { nobody: true }
        ));
        let empty = read(&[KEY, MOCK, ("GDS_SSO_MOCK_INVALID", "")], Build::Debug);
        assert!(matches!(
            empty.unwrap().sign_in,
            SignIn::Mock { nobody: false }
        ));
    }

    #[test]
    #[cfg(unix)]
    fn secrets_are_read_from_files_that_nobody_else_reads() {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, mode: u32, text: &str| {
            let path = folder.path().join(name);
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(mode).open(&path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let read = |path: &str| {
            let vars = [
                KEY,
                ("MANAGE_SIGN_IN", "oidc"),
                ("MANAGE_OIDC_ISSUER", "https://op.example"),
                ("MANAGE_OIDC_CLIENT_ID", "x"),
                ("MANAGE_OIDC_CLIENT_SECRET_FILE", path),
            ];
            match read(&vars, Build::Release)?.sign_in {
                SignIn::Oidc(settings) => match &settings.proof {
                    super::ClientProof::Secret(secret) => Ok(secret.reveal().to_owned()),
                    super::ClientProof::Key(_) => Err("a key".to_owned()),
                },
                SignIn::Mock { .. } | SignIn::Signon(_) => Err("another strategy".to_owned()),
            }
        };
        let good = write("good", 0o600, "a secret\r\n");
        assert_eq!(read(&good).unwrap(), "a secret");
        let open = write("open", 0o640, "a secret");
        let said = read(&open).unwrap_err();
        assert!(
            said.ends_with("can be read or written by others than its owner; make it mode 0600"),
            "{said}"
        );
        let empty = write("empty", 0o600, "\n");
        assert_eq!(
            read(&empty).unwrap_err(),
            "MANAGE_OIDC_CLIENT_SECRET_FILE is empty"
        );

        let secrets = tempfile::tempdir().unwrap();
        let path = secrets.path().join("screening-gateway");
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.unwrap()
            .write_all(b"thirty-two bytes, and a line end.\n")
            .unwrap();
        let folder = secrets.path().to_str().unwrap();
        let vars = [KEY, MOCK, ("MANAGE_BYPASS_SECRETS", folder)];
        let config = super::tests::read(&vars, Build::Debug).unwrap();
        assert!(config.bypass_secrets.of("screening-gateway").is_some());
        assert!(config.bypass_secrets.of("another").is_none());
        assert!(!format!("{config:?}").contains("thirty"));
        std::fs::remove_file(&path).unwrap();
        let file = options.open(&path);
        file.unwrap().write_all(b"short").unwrap();
        let said = super::tests::read(&vars, Build::Debug).unwrap_err();
        assert!(
            said.ends_with("a secret of 5 bytes, at least 32 are needed"),
            "{said}"
        );
    }
}
