//! Settings: flags over environment over defaults, read once into a [`Config`] that cannot
//! hold nonsense.
//!
//! What is refused, each with a line that names the setting: an unknown flag or `GATEWAY_…`
//! variable (with the name that may have been meant), a setting of a capability that this
//! version or build does not have, an empty or misspelt value, a required setting that is
//! missing, a listener that others can reach over plain HTTP without that being said by
//! name. All that is wrong is told at once. Only `daemon` calls it; nothing else looks at the
//! environment.

#[cfg(feature = "journal")]
use std::time::Duration;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    prelude::v1::*,
};

use log::LevelFilter;

use super::{
    cors,
    exit::{Code, Stop},
    hosts,
};
use crate::limits;

mod line;
mod settings;

pub(crate) use line::{Command, CommandLine, cut};
pub(crate) use settings::help;
use settings::{DELIVER, JOURNAL, SETTINGS, TLS, nearest, not_built_in, not_yet, settings};

/// The default share of an address, where there are as many slots.
const PER_ADDRESS: u32 = 32;

/// Where the keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeySource {
    /// The text itself.
    Inline(String),
    /// A file, or a folder of files.
    Path(PathBuf),
}

/// Where accepted messages are kept, and how many for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg(feature = "journal")]
pub(crate) struct JournalPlace {
    pub(crate) folder: PathBuf,
    pub(crate) max_mb: u32,
    pub(crate) max_age_hours: u32,
}

/// Judged settings: every value is one that the daemon can work with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Where metrics have a listener of their own, and the names that it answers to.
    pub(crate) metrics: Option<(SocketAddr, Vec<String>)>,
    pub(crate) id: String,
    pub(crate) issuer: Option<String>,
    /// The setting that named the keys, and where they are.
    pub(crate) keys: (&'static str, KeySource),
    pub(crate) leeway_secs: u32,
    pub(crate) max_lifetime_secs: u32,
    /// In the form in which `hosts` compares; at least one.
    pub(crate) hosts: Vec<String>,
    /// As a browser writes them.
    pub(crate) origins: Vec<String>,
    pub(crate) replay_capacity: usize,
    pub(crate) slots: usize,
    pub(crate) per_address: usize,
    #[cfg(feature = "journal")]
    pub(crate) journal: Option<JournalPlace>,
    /// Where the listener speaks TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::certificates::PairFiles>,
    /// Where messages are delivered to, and the longest time of one attempt.
    #[cfg(feature = "journal")]
    pub(crate) deliver: Option<(super::sink::Target, Duration)>,
    pub(crate) log: LevelFilter,
    pub(crate) log_content: bool,
    /// One line for each setting that has a value: name, value, origin.
    pub(crate) told: Vec<String>,
}

impl Config {
    /// Judges flags and environment together.
    ///
    /// # Errors
    /// [`Code::Config`] with a line for each thing that is wrong.
    pub(crate) fn judge(
        line: CommandLine,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Stop> {
        let mut judge = Judge::new(line.flags, environment);
        let config = judge.config();
        match config {
            Some(config) if judge.problems.is_empty() => Ok(Self {
                told: judge.told,
                ..config
            }),
            _ => Err(Stop {
                code: Code::Config,
                lines: judge.problems,
            }),
        }
    }
}

/// The folder of the journal, which is all that its command needs.
///
/// # Errors
/// [`Code::Config`] where it is not set, or anything that was given is wrong.
#[cfg(feature = "journal")]
pub(crate) fn journal_folder(
    line: CommandLine,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<PathBuf, Stop> {
    let mut judge = Judge::new(line.flags, environment);
    let journal = judge.journal();
    if journal.is_none() && judge.problems.is_empty() {
        judge
            .problems
            .push("GATEWAY_JOURNAL: required by this command, and not set".to_owned());
    }
    match journal {
        Some(journal) if judge.problems.is_empty() => Ok(journal.folder),
        _ => Err(Stop {
            code: Code::Config,
            lines: judge.problems,
        }),
    }
}

/// What was given, and what was found wrong with it.
struct Judge {
    given: BTreeMap<&'static str, (String, &'static str)>,
    problems: Vec<String>,
    told: Vec<String>,
}

impl Judge {
    fn new(
        flags: BTreeMap<&'static str, String>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut problems = Vec::new();
        let mut given = BTreeMap::new();
        for (name, value) in environment {
            let name = name.to_string_lossy();
            if let Some(known) = settings().find(|known| *known == name) {
                match value.into_string() {
                    Ok(value) => {
                        given.insert(known, (value, "environment"));
                    }
                    Err(_) => problems.push(format!("{known}: not UTF-8")),
                }
            } else if let Some(line) = not_yet(|later| later == name, &name) {
                problems.push(line);
            } else if name.starts_with("GATEWAY_") {
                problems.push(match nearest(&name, settings().map(str::to_owned)) {
                    Some(known) => {
                        format!("{name}: not a setting of this version; is {known} meant?")
                    }
                    None => format!("{name}: not a setting of this version; --help lists them"),
                });
            }
        }
        for (name, value) in flags {
            given.insert(name, (value, "flag"));
        }
        Self {
            given,
            problems,
            told: Vec::new(),
        }
    }

    /// The whole configuration, or `None` where a value could not be read: the reason is
    /// among the problems then.
    fn config(&mut self) -> Option<Config> {
        let listen = self.value("GATEWAY_LISTEN", address);
        let plain = self.value("GATEWAY_ALLOW_PLAIN_HTTP", switch);
        let id = self.value("GATEWAY_ID", plain_text);
        let issuer = self.value("GATEWAY_ISSUER", plain_text);
        let keys = self.keys();
        let leeway_secs = self.value("GATEWAY_LEEWAY_SECS", |text| number(text, 0, 600));
        let max_lifetime_secs =
            self.value("GATEWAY_MAX_LIFETIME_SECS", |text| number(text, 1, 604_800));
        let host_list = self.value("GATEWAY_HOSTS", |text| {
            list(text, |name| {
                hosts::normal(name).ok_or("not a name without scheme and port")
            })
        });
        let origins = self.value("GATEWAY_ORIGINS", |text| {
            list(text, |origin| {
                cors::is_extension(origin)
                    .then(|| origin.to_owned())
                    .ok_or("not chrome-extension:// and the 32 letters a to p of an id")
            })
        });
        let replay_capacity =
            self.value("GATEWAY_REPLAY_CAPACITY", |text| number(text, 1, 262_144));
        let slots = self.value("GATEWAY_SLOTS", |text| number(text, 2, 1024));
        let per_address = self.per_address(slots);
        #[cfg(feature = "journal")]
        let journal = self.journal();
        #[cfg(not(feature = "journal"))]
        self.built_in(&[JOURNAL.as_slice(), &DELIVER].concat());
        let tls = self.tls();
        #[cfg(feature = "journal")]
        let deliver = self.deliver();
        let metrics = self.value("GATEWAY_METRICS_LISTEN", address);
        let log = self.value("GATEWAY_LOG", level);
        let log_content = self.value("GATEWAY_LOG_CONTENT", switch);

        if let (Some(listen), Some(false), None) = (listen, plain, &tls)
            && !listen.ip().to_canonical().is_loopback()
        {
            let instead = if cfg!(feature = "tls") {
                "set GATEWAY_TLS_CERT and GATEWAY_TLS_KEY, or"
            } else {
                "TLS is not built in:"
            };
            self.problems.push(format!(
                "GATEWAY_LISTEN: {listen} can be reached by others: {instead} \
                 set GATEWAY_ALLOW_PLAIN_HTTP=1 to accept that messages and answers travel unprotected"
            ));
        }
        if let (Some(metrics), Some(false)) = (metrics, plain)
            && !metrics.ip().to_canonical().is_loopback()
        {
            self.problems.push(format!(
                "GATEWAY_METRICS_LISTEN: {metrics} can be reached by others, and has no TLS: \
                 set GATEWAY_ALLOW_PLAIN_HTTP=1 to accept that metrics travel unprotected"
            ));
        }
        if let (Some(listen), Some(metrics)) = (listen, metrics)
            && overlap(listen, metrics)
        {
            self.problems.push(format!(
                "GATEWAY_METRICS_LISTEN: {metrics} is taken by GATEWAY_LISTEN, {listen}: \
                 give it another port, or take it away to have metrics there"
            ));
        }
        for (name, missing) in [
            ("GATEWAY_ID", id.is_none()),
            ("JWT_PUBLIC_KEY", keys.is_none()),
        ] {
            // A value that was given and is wrong has its own line.
            if missing && !self.problems.iter().any(|line| line.starts_with(name)) {
                self.problems.push(format!("{name}: required, and not set"));
            }
        }
        // Whoever collects metrics calls their listener by its address, whatever names the
        // gateway has.
        let metrics = metrics.map(|metrics| {
            let names = match &host_list {
                Some(names) => own_name(metrics).into_iter().chain(names.clone()).collect(),
                None => default_hosts(Some(metrics)),
            };
            (metrics, names)
        });
        let hosts = host_list.unwrap_or_else(|| {
            let hosts = default_hosts(listen);
            self.told
                .push(format!("GATEWAY_HOSTS={} (default)", hosts.join(",")));
            hosts
        });
        Some(Config {
            listen: listen?,
            metrics,
            id: id?,
            issuer,
            keys: keys?,
            leeway_secs: leeway_secs?,
            max_lifetime_secs: max_lifetime_secs?,
            hosts,
            origins: origins.unwrap_or_default(),
            replay_capacity: usize::try_from(replay_capacity?).ok()?,
            slots: usize::try_from(slots?).ok()?,
            per_address: usize::try_from(per_address?).ok()?,
            #[cfg(feature = "journal")]
            journal,
            #[cfg(feature = "tls")]
            tls: tls.map(|[cert, key]| super::certificates::PairFiles { cert, key }),
            #[cfg(feature = "journal")]
            deliver,
            log: log?,
            log_content: log_content?,
            told: Vec::new(),
        })
    }

    /// A setting's value as `read` understands it; its default where it is not given.
    /// `None`: not given and without default, or not understood, which is then noted.
    fn value<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
        let (text, origin) = match self.given.get(name) {
            Some((text, origin)) => (text.as_str(), *origin),
            None if setting.default.is_empty() => {
                if name != "GATEWAY_HOSTS" {
                    self.told.push(format!("{name} is not set"));
                }
                return None;
            }
            None => (setting.default, "default"),
        };
        if text.is_empty() {
            self.problems.push(format!(
                "{name}: empty ({origin}): give it a value or take it away"
            ));
            return None;
        }
        match read(text) {
            Ok(value) => {
                self.told.push(format!("{name}={text} ({origin})"));
                Some(value)
            }
            Err(fault) => {
                self.problems
                    .push(format!("{name}: {text:?} ({origin}) is {fault}"));
                None
            }
        }
    }

    /// An address's share: never more than there is.
    fn per_address(&mut self, slots: Option<u32>) -> Option<u32> {
        const NAME: &str = "GATEWAY_PER_ADDRESS";
        let slots = slots?;
        if self.given.contains_key(NAME) {
            return self.value(NAME, |text| match number(text, 1, 1024)? {
                share if share > slots => Err(format!("more than the {slots} of GATEWAY_SLOTS")),
                share => Ok(share),
            });
        }
        let share = PER_ADDRESS.min(slots);
        self.told.push(format!("{NAME}={share} (default)"));
        Some(share)
    }

    /// The files of certificate and key, where both are given.
    fn tls(&mut self) -> Option<[PathBuf; 2]> {
        if !self.built_in(&TLS) {
            return None;
        }
        let path = |text: &str| Ok(PathBuf::from(text));
        let [cert, key] = TLS;
        match TLS.map(|name| self.given.contains_key(name)) {
            [true, false] => self
                .problems
                .push(format!("{cert}: {key} belongs to it, and is not set")),
            [false, true] => self
                .problems
                .push(format!("{key}: {cert} belongs to it, and is not set")),
            _ => return Some([self.value(cert, path)?, self.value(key, path)?]),
        }
        None
    }

    /// Whether the feature of these settings is built in; where it is not, every one of them
    /// that is given is a problem.
    fn built_in(&mut self, names: &[&str]) -> bool {
        let mut built_in = true;
        for name in names {
            if let Some(fault) = not_built_in(name) {
                built_in = false;
                if self.given.contains_key(name) {
                    self.problems.push(format!("{name}: {fault}"));
                }
            }
        }
        built_in
    }

    /// Where the journal is, and its bounds.
    #[cfg(feature = "journal")]
    fn journal(&mut self) -> Option<JournalPlace> {
        let [folder, max_mb, max_age_hours] = JOURNAL;
        if !self.given.contains_key(folder) {
            for name in [max_mb, max_age_hours] {
                if self.given.contains_key(name) {
                    self.problems
                        .push(format!("{name}: {folder} belongs to it, and is not set"));
                }
            }
        }
        let folder = self.value(folder, |text| Ok(PathBuf::from(text)))?;
        let max_mb = self.value(max_mb, |text| number(text, 1, 4096))?;
        let max_age_hours = self.value(max_age_hours, |text| number(text, 1, 168))?;
        Some(JournalPlace {
            folder,
            max_mb,
            max_age_hours,
        })
    }

    /// Where messages are delivered to. The address can hold a secret: it is never told as
    /// it was given.
    #[cfg(feature = "journal")]
    fn deliver(&mut self) -> Option<(super::sink::Target, Duration)> {
        let [url, timeout] = DELIVER;
        let Some((text, origin)) = self.given.get(url) else {
            if self.given.contains_key(timeout) {
                let problem = format!("{timeout}: {url} belongs to it, and is not set");
                self.problems.push(problem);
            } else {
                self.told.push(format!("{url} is not set"));
            }
            return None;
        };
        let target = super::sink::Target::read(text);
        match &target {
            Ok(target) => self.told.push(format!("{url}={target} ({origin})")),
            Err(fault) => self.problems.push(format!("{url}: ({origin}) is {fault}")),
        }
        if !self.given.contains_key("GATEWAY_JOURNAL") {
            self.problems.push(format!(
                "{url}: GATEWAY_JOURNAL is what messages are delivered from, and is not set"
            ));
        }
        let secs = self.value(timeout, |text| number(text, 1, 300));
        Some((target.ok()?, Duration::from_secs(u64::from(secs?))))
    }

    /// The keys under either of their names.
    fn keys(&mut self) -> Option<(&'static str, KeySource)> {
        let (name, (text, origin)) =
            match ["JWT_PUBLIC_KEY", "GATEWAY_KEYS"].map(|name| self.given.get_key_value(name)) {
                [Some(_), Some(_)] => {
                    self.problems.push(
                    "JWT_PUBLIC_KEY: GATEWAY_KEYS is set too, which is another name of it: keep one"
                        .to_owned(),
                );
                    return None;
                }
                [Some(one), None] | [None, Some(one)] => one,
                [None, None] => return None,
            };
        if text.trim().is_empty() {
            self.problems.push(format!(
                "{name}: empty ({origin}): give it a value or take it away"
            ));
            // Said once: not missing as well.
            return Some((name, KeySource::Inline(String::new())));
        }
        let text_itself = text.trim_start().starts_with('{') || text.contains("-----BEGIN ");
        let shown = if text_itself { "(its text)" } else { text };
        self.told.push(format!("{name}={shown} ({origin})"));
        let source = if text_itself {
            KeySource::Inline(text.clone())
        } else {
            KeySource::Path(PathBuf::from(text))
        };
        Some((name, source))
    }
}

/// Whether two listeners cannot both have their addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    let [a, b] = [one, other].map(|address| address.ip().to_canonical());
    one.port() != 0 && one.port() == other.port() && (a == b || covers(a, b) || covers(b, a))
}

/// Names that a gateway has without being told: its address, and what people call it.
fn default_hosts(listen: Option<SocketAddr>) -> Vec<String> {
    listen
        .and_then(own_name)
        .into_iter()
        .chain(["localhost", "screening-gateway"].map(str::to_owned))
        .collect()
}

/// A listener's address as its clients call it, where it has one.
fn own_name(listen: SocketAddr) -> Option<String> {
    // Who reaches `::ffff:127.0.0.1` calls it 127.0.0.1.
    match listen.ip().to_canonical() {
        ip if ip.is_unspecified() => None,
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => Some(format!("[{address}]")),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_fault| "not an IP address and port, such as 127.0.0.1:9090".to_owned())
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("neither 0 nor 1".to_owned()),
    }
}

fn number(text: &str, min: u32, max: u32) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number) && !text.starts_with('+'))
        .ok_or_else(|| format!("not a whole number from {min} to {max}"))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => Err("not error, warn, info or debug".to_owned()),
    }
}

/// Text that can equal a claim: as long as a claim can be, without control characters.
fn plain_text(text: &str) -> Result<String, String> {
    if text.len() > limits::MAX_TEXT {
        Err(format!("longer than {} bytes", limits::MAX_TEXT))
    } else if text.chars().any(char::is_control) || text.trim() != text {
        Err("text with control characters, or with spaces at an end".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Values with commas between them, spaces around each left out.
fn list(
    text: &str,
    read: impl Fn(&str) -> Result<String, &'static str>,
) -> Result<Vec<String>, String> {
    text.split(',')
        .map(|one| {
            let one = one.trim();
            read(one).map_err(|fault| format!("no list of them: {one:?} is {fault}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, prelude::v1::*};

    use super::{Config, KeySource, cut};
    use crate::daemon::exit::{Code, Stop};

    fn judge(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, Stop> {
        let line = cut(flags.iter().map(OsString::from)).unwrap();
        let environment = environment.iter().map(|(k, v)| (k.into(), v.into()));
        Config::judge(line, environment)
    }

    const LEAST: [(&str, &str); 2] = [("GATEWAY_ID", "site"), ("JWT_PUBLIC_KEY", "k.pem")];

    fn with(name: &'static str, value: &'static str) -> Result<Config, Stop> {
        let mut environment = LEAST.to_vec();
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
        judge(&[], &environment)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = judge(&[], &LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:9090");
        assert_eq!(
            config.hosts,
            ["127.0.0.1", "localhost", "screening-gateway"]
        );
        assert_eq!(config.origins, [""; 0]);
        assert_eq!(config.issuer, None);
        assert_eq!(
            config.keys,
            ("JWT_PUBLIC_KEY", KeySource::Path(PathBuf::from("k.pem")))
        );
        assert_eq!((config.leeway_secs, config.max_lifetime_secs), (30, 43_200));
        assert_eq!((config.slots, config.per_address), (64, 32));
        assert_eq!(config.replay_capacity, 4096);
        assert_eq!(config.metrics, None);
        assert!(!config.log_content);
    }

    #[test]
    fn the_default_names_are_those_that_browsers_send() {
        for (listen, wanted) in [
            ("127.0.0.2:1", "127.0.0.2,localhost,screening-gateway"),
            ("[::1]:1", "[::1],localhost,screening-gateway"),
            (
                "[::ffff:127.0.0.1]:1",
                "127.0.0.1,localhost,screening-gateway",
            ),
            ("0.0.0.0:1", "localhost,screening-gateway"),
            ("[::]:1", "localhost,screening-gateway"),
            ("[::ffff:0.0.0.0]:1", "localhost,screening-gateway"),
        ] {
            let hosts = super::default_hosts(listen.parse().ok());
            assert_eq!(hosts.join(","), wanted, "{listen}");
        }
    }

    #[test]
    fn a_listener_of_metrics_is_called_by_its_address_too() {
        let names = |more: &[(&str, &str)]| {
            let mut environment = LEAST.to_vec();
            environment.push(("GATEWAY_METRICS_LISTEN", "127.0.0.3:9100"));
            environment.extend(more);
            let config = judge(&[], &environment).unwrap();
            (config.metrics.unwrap().1.join(","), config.hosts.join(","))
        };
        assert_eq!(
            names(&[]),
            (
                "127.0.0.3,localhost,screening-gateway".to_owned(),
                "127.0.0.1,localhost,screening-gateway".to_owned()
            )
        );
        assert_eq!(
            names(&[("GATEWAY_HOSTS", "site.example")]),
            (
                "127.0.0.3,site.example".to_owned(),
                "site.example".to_owned()
            )
        );
    }

    #[test]
    fn listeners_overlap_where_the_system_would_say_so() {
        for (one, other, wanted) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::1]:1", "127.0.0.1:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ] {
            let [a, b] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(super::overlap(a, b), wanted, "{one} {other}");
        }
    }

    #[test]
    fn each_value_is_told_with_its_origin_and_flags_win() {
        let mut environment = LEAST.to_vec();
        environment.push(("GATEWAY_SLOTS", "8"));
        let config = judge(&["--slots=4", "--log", "debug"], &environment).unwrap();
        assert_eq!((config.slots, config.per_address), (4, 4));
        for line in [
            "GATEWAY_SLOTS=4 (flag)",
            "GATEWAY_LOG=debug (flag)",
            "GATEWAY_ID=site (environment)",
            "GATEWAY_LISTEN=127.0.0.1:9090 (default)",
            "GATEWAY_HOSTS=127.0.0.1,localhost,screening-gateway (default)",
            "GATEWAY_ISSUER is not set",
        ] {
            assert!(
                config.told.iter().any(|told| told == line),
                "{line}: {:?}",
                config.told
            );
        }
    }

    #[test]
    fn key_text_is_known_by_its_beginning_and_not_told() {
        for text in ["{\"kty\":\"OKP\"}", "a key:\n-----BEGIN PUBLIC KEY-----"] {
            let config = judge(&[], &[("GATEWAY_ID", "site"), ("GATEWAY_KEYS", text)]).unwrap();
            assert_eq!(
                config.keys,
                ("GATEWAY_KEYS", KeySource::Inline(text.to_owned()))
            );
            assert!(
                config
                    .told
                    .contains(&"GATEWAY_KEYS=(its text) (environment)".to_owned())
            );
        }
    }

    #[test]
    fn values_that_are_taken() {
        for (name, value) in [
            ("GATEWAY_LISTEN", "[::1]:0"),
            ("GATEWAY_LISTEN", "127.9.9.9:1"),
            ("GATEWAY_LISTEN", "[::ffff:127.0.0.1]:1"),
            ("GATEWAY_METRICS_LISTEN", "127.0.0.1:9091"),
            ("GATEWAY_METRICS_LISTEN", "127.0.0.2:9090"),
            ("GATEWAY_METRICS_LISTEN", "[::1]:9090"),
            ("GATEWAY_METRICS_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_HOSTS", "Gateway.Example, [::1]"),
            (
                "GATEWAY_ORIGINS",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            ),
            ("GATEWAY_LEEWAY_SECS", "0"),
            ("GATEWAY_MAX_LIFETIME_SECS", "604800"),
            ("GATEWAY_LOG_CONTENT", "1"),
        ] {
            assert!(with(name, value).is_ok(), "{name}={value}");
        }
    }

    #[test]
    fn each_misspelt_value_is_named() {
        for (name, value, wanted) in [
            (
                "GATEWAY_LISTEN",
                "localhost:9090",
                "not an IP address and port",
            ),
            ("GATEWAY_LISTEN", "127.0.0.1", "not an IP address and port"),
            (
                "GATEWAY_LISTEN",
                "0.0.0.0:9090",
                "GATEWAY_ALLOW_PLAIN_HTTP=1",
            ),
            ("GATEWAY_LISTEN", "[::]:9090", "GATEWAY_ALLOW_PLAIN_HTTP=1"),
            ("GATEWAY_ALLOW_PLAIN_HTTP", "yes", "neither 0 nor 1"),
            ("GATEWAY_ID", "", "empty"),
            ("GATEWAY_ID", "a\nb", "control characters"),
            ("GATEWAY_ID", " a", "spaces at an end"),
            ("GATEWAY_ISSUER", "", "empty"),
            ("JWT_PUBLIC_KEY", " ", "empty"),
            ("GATEWAY_KEYS", "other.pem", "another name of it"),
            (
                "GATEWAY_LEEWAY_SECS",
                "601",
                "not a whole number from 0 to 600",
            ),
            ("GATEWAY_LEEWAY_SECS", "+5", "not a whole number"),
            ("GATEWAY_LEEWAY_SECS", "30s", "not a whole number"),
            (
                "GATEWAY_MAX_LIFETIME_SECS",
                "0",
                "not a whole number from 1 to 604800",
            ),
            (
                "GATEWAY_HOSTS",
                "http://gateway",
                "not a name without scheme and port",
            ),
            (
                "GATEWAY_HOSTS",
                "gateway:9090",
                "not a name without scheme and port",
            ),
            ("GATEWAY_HOSTS", "a,,b", "not a name"),
            (
                "GATEWAY_ORIGINS",
                "http://localhost:8080",
                "not chrome-extension://",
            ),
            ("GATEWAY_ORIGINS", "*", "not chrome-extension://"),
            (
                "GATEWAY_ORIGINS",
                "chrome-extension://abc",
                "not chrome-extension://",
            ),
            ("GATEWAY_REPLAY_CAPACITY", "0", "not a whole number"),
            ("GATEWAY_SLOTS", "1", "not a whole number from 2 to 1024"),
            (
                "GATEWAY_PER_ADDRESS",
                "65",
                "more than the 64 of GATEWAY_SLOTS",
            ),
            (
                "GATEWAY_METRICS_LISTEN",
                "9091",
                "not an IP address and port",
            ),
            (
                "GATEWAY_METRICS_LISTEN",
                "0.0.0.0:9091",
                "GATEWAY_ALLOW_PLAIN_HTTP=1",
            ),
            (
                "GATEWAY_METRICS_LISTEN",
                "127.0.0.1:9090",
                "taken by GATEWAY_LISTEN",
            ),
            (
                "GATEWAY_METRICS_LISTEN",
                "[::ffff:127.0.0.1]:9090",
                "taken by GATEWAY_LISTEN",
            ),
            ("GATEWAY_METRICS_LISTEN", "", "empty"),
            ("GATEWAY_LOG", "INFO", "not error, warn, info or debug"),
            ("GATEWAY_LOG_CONTENT", "true", "neither 0 nor 1"),
        ] {
            let stop = with(name, value).unwrap_err();
            assert_eq!(stop.code, Code::Config, "{name}={value}");
            assert_eq!(stop.lines.len(), 1, "{name}={value}: {:?}", stop.lines);
            let line = &stop.lines[0];
            assert!(line.contains(wanted), "{line}");
            assert!(line.contains(name), "{line}");
        }
    }

    /// The setting of the journal is judged by its own tests.
    #[cfg(feature = "journal")]
    #[test]
    fn a_receiver_is_taken_with_a_journal_and_never_told_whole() {
        const URL: &str = "GATEWAY_DELIVER_URL";
        const TIMEOUT: &str = "GATEWAY_DELIVER_TIMEOUT_SECS";
        let judge = |given: &[(&'static str, &str)]| {
            let given = given
                .iter()
                .map(|(name, text)| (*name, ((*text).to_owned(), "flag")));
            let mut judge = super::Judge {
                given: given.collect(),
                problems: Vec::new(),
                told: Vec::new(),
            };
            let deliver = judge.deliver();
            let read = deliver.map(|(target, timeout)| (target.path, timeout.as_secs()));
            (read, judge.problems.join("; "), judge.told.join("; "))
        };
        let journal = ("GATEWAY_JOURNAL", "j");
        let path = |secs| Some(("/in?key=secret".to_owned(), secs));
        let address = (URL, "http://ris/in?key=secret");
        let told = "GATEWAY_DELIVER_URL=http://ris/in?*** (flag); GATEWAY_DELIVER_TIMEOUT_SECS=";
        for (given, read, problems, tells) in [
            (
                &[][..],
                None,
                "",
                "GATEWAY_DELIVER_URL is not set".to_owned(),
            ),
            (
                &[journal, address],
                path(10),
                "",
                format!("{told}10 (default)"),
            ),
            (
                &[journal, address, (TIMEOUT, "300")],
                path(300),
                "",
                format!("{told}300 (flag)"),
            ),
            (
                &[address],
                path(10),
                "GATEWAY_DELIVER_URL: GATEWAY_JOURNAL is what messages are delivered from, and is not set",
                format!("{told}10 (default)"),
            ),
            (
                &[journal, (TIMEOUT, "5")],
                None,
                "GATEWAY_DELIVER_TIMEOUT_SECS: GATEWAY_DELIVER_URL belongs to it, and is not set",
                String::new(),
            ),
            (
                &[journal, address, (TIMEOUT, "0")],
                None,
                "GATEWAY_DELIVER_TIMEOUT_SECS: \"0\" (flag) is not a whole number from 1 to 300",
                "GATEWAY_DELIVER_URL=http://ris/in?*** (flag)".to_owned(),
            ),
            (
                &[journal, (URL, "http://u:secret@ris/")],
                None,
                "GATEWAY_DELIVER_URL: (flag) is an address with a user name or password, which would stand in logs",
                "GATEWAY_DELIVER_TIMEOUT_SECS=10 (default)".to_owned(),
            ),
            (
                &[journal, (URL, "")],
                None,
                "GATEWAY_DELIVER_URL: (flag) is not an address that begins with http:// or https://",
                "GATEWAY_DELIVER_TIMEOUT_SECS=10 (default)".to_owned(),
            ),
        ] {
            assert_eq!(
                judge(given),
                (read, problems.to_owned(), tells),
                "{given:?}"
            );
        }
    }

    #[test]
    fn unknown_and_later_settings_stop_the_start() {
        for (name, wanted) in [
            (
                "GATEWAY_LISTN",
                "GATEWAY_LISTN: not a setting of this version; is GATEWAY_LISTEN meant?",
            ),
            ("GATEWAY_LOG_CONTENTS", "is GATEWAY_LOG_CONTENT meant?"),
            (
                "GATEWAY_COLOUR_OF_DOOR",
                "GATEWAY_COLOUR_OF_DOOR: not a setting of this version; --help",
            ),
            ("GATEWAY_STREAMS", "GATEWAY_STREAMS: not in this version"),
            #[cfg(feature = "journal")]
            (
                "GATEWAY_JOURNAL_MAX_MB",
                "GATEWAY_JOURNAL_MAX_MB: GATEWAY_JOURNAL belongs to it, and is not set",
            ),
            #[cfg(not(feature = "journal"))]
            ("GATEWAY_JOURNAL", "GATEWAY_JOURNAL: not built in"),
            (
                "GOVUK_UPSTREAM_URI",
                "GOVUK_UPSTREAM_URI: not in this version",
            ),
            ("JWT_AUTH_SECRET", "JWT_AUTH_SECRET: not in this version"),
        ] {
            let stop = with(name, "1").unwrap_err();
            assert_eq!(stop.code, Code::Config, "{name}");
            assert!(stop.lines[0].contains(wanted), "{:?}", stop.lines);
        }
        // Other people's variables are none of ours.
        with("JWT_PRIVATE_KEY", "x").unwrap();
        with("PATH", "x").unwrap();
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let stop = judge(&[], &[("GATEWAY_SLOTS", "x"), ("GATEWAY_LGO", "1")]).unwrap_err();
        let starts: Vec<_> = stop
            .lines
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(
            starts,
            [
                "GATEWAY_LGO",
                "GATEWAY_SLOTS",
                "GATEWAY_ID",
                "JWT_PUBLIC_KEY"
            ]
        );
    }

    #[test]
    fn a_value_that_is_not_utf8_is_named() {
        let line = cut(core::iter::empty()).unwrap();
        let bad = ("GATEWAY_ID".into(), OsString::from_vec(vec![0xff]));
        let stop = Config::judge(line, [bad].into_iter()).unwrap_err();
        assert_eq!(stop.lines[0], "GATEWAY_ID: not UTF-8");
    }
}
