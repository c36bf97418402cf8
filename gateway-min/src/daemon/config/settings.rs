//! Which settings there are, with their defaults and meanings; which are another build's or a
//! later version's; and the help that tells them.

use std::prelude::v1::*;

use super::line;

/// One setting: an environment variable, and the flag of the same name.
pub(super) struct Setting {
    /// Name in the environment.
    pub(super) name: &'static str,
    /// What stands for the value in the help.
    pub(super) value: &'static str,
    /// The default, as it would be written; empty where there is none.
    pub(super) default: &'static str,
    /// What it means, in one line.
    pub(super) meaning: &'static str,
}

/// Every setting of this version, in the order of the documentation.
#[rustfmt::skip]
pub(super) const SETTINGS: [Setting; 23] = [
    Setting { name: "GATEWAY_LISTEN", value: "ADDRESS:PORT", default: "127.0.0.1:9090", meaning: "address of the listener; port 0 takes a free one" },
    Setting { name: "GATEWAY_ALLOW_PLAIN_HTTP", value: "0|1", default: "0", meaning: "lets a listener that is not loopback run without TLS" },
    Setting { name: "GATEWAY_ID", value: "TEXT", default: "", meaning: "this gateway's id, the audience of its messages; required" },
    Setting { name: "GATEWAY_ISSUER", value: "TEXT", default: "", meaning: "the exact issuer of messages; without it any is taken" },
    Setting { name: "JWT_PUBLIC_KEY", value: "KEYS", default: "", meaning: "PEM, JWK or JWKS: its text, a file, or a folder of files; required" },
    Setting { name: "GATEWAY_KEYS", value: "KEYS", default: "", meaning: "another name of JWT_PUBLIC_KEY" },
    Setting { name: "GATEWAY_LEEWAY_SECS", value: "0-600", default: "30", meaning: "how far clocks may differ, in seconds" },
    Setting { name: "GATEWAY_MAX_LIFETIME_SECS", value: "1-604800", default: "43200", meaning: "longest life of a message, in seconds" },
    Setting { name: "GATEWAY_HOSTS", value: "NAME,...", default: "", meaning: "names that requests may call the gateway by, without port (default: the listener's address, localhost, screening-gateway)" },
    Setting { name: "GATEWAY_ORIGINS", value: "ORIGIN,...", default: "", meaning: "extensions that are answered, as chrome-extension://<id> (default: none)" },
    Setting { name: "GATEWAY_REPLAY_CAPACITY", value: "1-262144", default: "4096", meaning: "messages remembered while they live" },
    Setting { name: "GATEWAY_JOURNAL", value: "FOLDER", default: "", meaning: "folder of the journal; made where only it is missing; without it accepted messages are kept in the log alone" },
    Setting { name: "GATEWAY_JOURNAL_MAX_MB", value: "1-4096", default: "64", meaning: "largest journal, in MiB" },
    Setting { name: "GATEWAY_JOURNAL_MAX_AGE_HOURS", value: "1-168", default: "24", meaning: "how long a message may stay in the journal after it was delivered and has expired, in hours" },
    Setting { name: "GATEWAY_DELIVER_URL", value: "URL", default: "", meaning: "http:// or https:// address of the site's system that messages are posted to; takes GATEWAY_JOURNAL" },
    Setting { name: "GATEWAY_DELIVER_TIMEOUT_SECS", value: "1-300", default: "10", meaning: "longest time of one attempt to deliver" },
    Setting { name: "GATEWAY_SLOTS", value: "2-1024", default: "64", meaning: "connections at once" },
    Setting { name: "GATEWAY_PER_ADDRESS", value: "1-1024", default: "32", meaning: "connections at once from one address, at most GATEWAY_SLOTS" },
    Setting { name: "GATEWAY_TLS_CERT", value: "FILE", default: "", meaning: "PEM file of the listener's certificate and those of its issuers" },
    Setting { name: "GATEWAY_TLS_KEY", value: "FILE", default: "", meaning: "PEM file of its private key; both or neither" },
    Setting { name: "GATEWAY_METRICS_LISTEN", value: "ADDRESS:PORT", default: "", meaning: "address of a listener for /metrics alone; without it the one listener has them" },
    Setting { name: "GATEWAY_LOG", value: "LEVEL", default: "info", meaning: "error, warn, info or debug" },
    Setting { name: "GATEWAY_LOG_CONTENT", value: "0|1", default: "0", meaning: "prints the content of messages, which is about patients" },
];

/// Settings of the feature `tls`.
pub(super) const TLS: [&str; 2] = ["GATEWAY_TLS_CERT", "GATEWAY_TLS_KEY"];
/// Settings of the feature `journal`: the first turns it on.
pub(super) const JOURNAL: [&str; 3] = [
    "GATEWAY_JOURNAL",
    "GATEWAY_JOURNAL_MAX_MB",
    "GATEWAY_JOURNAL_MAX_AGE_HOURS",
];
/// Settings of delivery, which is from the journal: the first turns it on.
pub(super) const DELIVER: [&str; 2] = ["GATEWAY_DELIVER_URL", "GATEWAY_DELIVER_TIMEOUT_SECS"];

/// The feature that a setting needs and this build does not have.
pub(super) fn not_built_in(name: &str) -> Option<&'static str> {
    if !cfg!(feature = "tls") && TLS.contains(&name) {
        Some("not built in: it takes a build with --features tls")
    } else if !cfg!(feature = "journal") && (JOURNAL.contains(&name) || DELIVER.contains(&name)) {
        Some("not built in: it takes a build with --features journal")
    } else {
        None
    }
}

/// Settings of capabilities that are planned and not built: naming one must not look as if
/// it had an effect.
pub(super) const LATER: [&str; 17] = [
    "GATEWAY_PUBLIC_URL",
    "GATEWAY_STREAMS",
    "GATEWAY_UPSTREAM",
    "GOVUK_UPSTREAM_URI",
    "JWT_AUTH_SECRET",
    "JWT_AUTH_SECRET_FILE",
    "GATEWAY_ALLOW_WEAK_SECRET",
    "GATEWAY_SIGN_IN",
    "GATEWAY_SESSION_KEYS",
    "GATEWAY_COOKIE_DOMAIN",
    "GOVUK_APP_DOMAIN_EXTERNAL",
    "GATEWAY_BYPASS_ALLOW_ENDLESS",
    "GATEWAY_FORWARD_TOKEN",
    "GATEWAY_FRAME_OPTIONS",
    "GATEWAY_USER_HEADER",
    "GATEWAY_ORGANISATION_HEADER",
    "GATEWAY_BYPASS_HEADER",
];

/// Names of the settings.
pub(super) fn settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name)
}

/// The line about a setting of a later version, where `is` finds one; `said` is how it was
/// named.
pub(super) fn not_yet(is: impl Fn(&str) -> bool, said: &str) -> Option<String> {
    LATER.iter().any(|later| is(later)).then(|| {
        format!("{said}: not in this version: it belongs to a capability that is not built yet; take it away")
    })
}

/// The name of `known` that differs from `said` in the fewest places, at most three.
pub(super) fn nearest(said: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|name| (distance(said, &name), name))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut help = String::from(
        "gateway-min: verifies, keeps and logs the signed messages of one site\n\n\
         gateway-min [SETTINGS]                      serve\n\
         gateway-min [SETTINGS] --check              judge the settings and end\n\
         gateway-min [SETTINGS] verify [--now SECS]  judge tokens, one a line of standard input\n\
         gateway-min [SETTINGS] journal [--content]  check the journal and print it, one message a line\n\
         gateway-min --help | --version\n\n\
         Each setting is a variable of the environment and a flag; flags win.\n",
    );
    for setting in &SETTINGS {
        help.push_str(&format!(
            "\n{}, {} {}\n    {}",
            setting.name,
            line::flag_of(setting.name),
            setting.value,
            setting.meaning,
        ));
        if let Some(fault) = not_built_in(setting.name) {
            help.push_str(&format!("; {fault}"));
        }
        if !setting.default.is_empty() {
            help.push_str(&format!(" (default: {})", setting.default));
        }
        help.push('\n');
    }
    help
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{SETTINGS, distance, nearest};

    #[test]
    fn distances() {
        for (a, b, wanted) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("acb", "abc", 2),
        ] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
        let known = || SETTINGS.iter().map(|setting| setting.name.to_owned());
        assert_eq!(
            nearest("GATEWAY_SLOT", known()).as_deref(),
            Some("GATEWAY_SLOTS")
        );
        assert_eq!(nearest("PATH", known()), None);
    }
}
