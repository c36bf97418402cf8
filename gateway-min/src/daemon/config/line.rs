//! The command line: one command, and flags that are settings. Cut here, judged in
//! `config`.

use std::{collections::BTreeMap, ffi::OsString, prelude::v1::*};

use super::settings::{nearest, not_yet, settings};
use crate::{
    UnixTime,
    daemon::exit::{Code, Stop},
};

/// What the command line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Serve until told to stop.
    Serve,
    /// Judge the configuration and end.
    Check,
    /// Judge tokens from standard input, at this time or by the clock.
    Verify(Option<UnixTime>),
    /// Check the journal and print it, with the content of its messages or without.
    #[cfg(feature = "journal")]
    Journal { content: bool },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// A command line, cut but not judged.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) command: Command,
    /// Settings by their names in the environment.
    pub(super) flags: BTreeMap<&'static str, String>,
}

/// The flag of a setting: `GATEWAY_LOG_CONTENT` is `--log-content`.
pub(super) fn flag_of(name: &str) -> String {
    let name = name.strip_prefix("GATEWAY_").unwrap_or(name);
    format!("--{}", name.to_ascii_lowercase().replace('_', "-"))
}

/// Cuts the arguments behind the program's name.
///
/// # Errors
/// [`Code::Usage`]: an unknown word or flag, a flag twice or without its value. A flag of a
/// later version is [`Code::Config`], as its variable is.
pub(crate) fn cut(args: impl Iterator<Item = OsString>) -> Result<CommandLine, Stop> {
    let mut args = args.map(|arg| match arg.into_string() {
        Ok(arg) => Ok(arg),
        Err(arg) => Err(usage(format!("{:?}: not UTF-8", arg.display().to_string()))),
    });
    let mut command = None;
    let mut now = None;
    #[cfg(feature = "journal")]
    let mut content = false;
    let mut flags = BTreeMap::new();
    while let Some(arg) = args.next() {
        let arg = arg?;
        if let Some(said) = command_of(&arg) {
            if command.replace(said).is_some() {
                return Err(usage(format!("{arg}: one command at a time")));
            }
            continue;
        }
        #[cfg(feature = "journal")]
        if arg == "--content" {
            content = true;
            continue;
        }
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let name = setting_of(flag)?;
        let value = match value {
            Some(value) => value,
            None => args
                .next()
                .unwrap_or_else(|| Err(usage(format!("{flag}: its value is missing"))))?,
        };
        let twice = match name {
            Some(name) => flags.insert(name, value).is_some(),
            None => now.replace(seconds(&value)?).is_some(),
        };
        if twice {
            return Err(usage(format!("{flag}: given twice")));
        }
    }
    #[cfg(feature = "journal")]
    let command = match (command, content) {
        (Some(Command::Journal { .. }), content) => Some(Command::Journal { content }),
        (_, true) => return Err(usage("--content: only journal takes it".to_owned())),
        (command, false) => command,
    };
    let command = match (command.unwrap_or(Command::Serve), now) {
        (Command::Verify(_), now) => Command::Verify(now),
        (command, None) => command,
        (_, Some(_)) => return Err(usage("--now: only verify takes a time".to_owned())),
    };
    Ok(CommandLine { command, flags })
}

fn usage(line: String) -> Stop {
    Stop::new(Code::Usage, line)
}

fn command_of(arg: &str) -> Option<Command> {
    match arg {
        "verify" => Some(Command::Verify(None)),
        #[cfg(feature = "journal")]
        "journal" => Some(Command::Journal { content: false }),
        "--check" => Some(Command::Check),
        "--help" | "-h" => Some(Command::Help),
        "--version" | "-V" => Some(Command::Version),
        _ => None,
    }
}

/// The setting that a flag sets; `None` is `--now`.
fn setting_of(flag: &str) -> Result<Option<&'static str>, Stop> {
    if flag == "--now" {
        return Ok(None);
    }
    if let Some(name) = settings().find(|name| flag_of(name) == flag) {
        return Ok(Some(name));
    }
    if let Some(line) = not_yet(|later| flag_of(later) == flag, flag) {
        return Err(Stop::new(Code::Config, line));
    }
    let known = settings()
        .map(flag_of)
        .chain(["--check", "--help", "--version", "--now", "verify"].map(str::to_owned));
    #[cfg(feature = "journal")]
    let known = known.chain(["--content", "journal"].map(str::to_owned));
    Err(usage(match nearest(flag, known) {
        Some(known) => format!("{flag}: not a flag or command of this version; is {known} meant?"),
        None => format!("{flag}: not a flag or command of this version; --help lists them"),
    }))
}

fn seconds(text: &str) -> Result<UnixTime, Stop> {
    match text.parse::<u32>() {
        Ok(secs) => Ok(UnixTime::from_secs(i64::from(secs))),
        Err(error) => Err(usage(format!(
            "--now: {text:?} is not a number of seconds since 1970: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsString, prelude::v1::*};

    use super::{Command, cut, flag_of};
    use crate::{UnixTime, daemon::exit::Code};

    fn args(line: &str) -> impl Iterator<Item = OsString> {
        line.split_whitespace().map(OsString::from)
    }

    #[test]
    fn a_flag_is_its_variable_in_lower_case() {
        assert_eq!(flag_of("GATEWAY_LOG_CONTENT"), "--log-content");
        assert_eq!(flag_of("JWT_PUBLIC_KEY"), "--jwt-public-key");
    }

    #[test]
    fn commands_and_flags_are_cut() {
        let at = |secs| Command::Verify(Some(UnixTime::from_secs(secs)));
        for (line, command, flags) in [
            ("", Command::Serve, &[][..]),
            ("--check", Command::Check, &[]),
            ("-h", Command::Help, &[]),
            ("--version", Command::Version, &[]),
            ("verify", Command::Verify(None), &[]),
            ("verify --now 1700000000", at(1_700_000_000), &[]),
            ("--now=0 verify", at(0), &[]),
            #[cfg(feature = "journal")]
            ("journal", Command::Journal { content: false }, &[]),
            #[cfg(feature = "journal")]
            (
                "--content journal --journal x",
                Command::Journal { content: true },
                &[("GATEWAY_JOURNAL", "x")],
            ),
            ("--slots 8", Command::Serve, &[("GATEWAY_SLOTS", "8")]),
            (
                "--id=a=b --check --jwt-public-key k.pem",
                Command::Check,
                &[("GATEWAY_ID", "a=b"), ("JWT_PUBLIC_KEY", "k.pem")],
            ),
        ] {
            let cut = cut(args(line)).unwrap();
            assert_eq!(cut.command, command, "{line}");
            let flags: BTreeMap<_, _> = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
            assert_eq!(cut.flags, flags, "{line}");
        }
    }

    #[test]
    fn what_is_not_a_command_line_is_named() {
        for (line, code, wanted) in [
            ("serve", Code::Usage, "serve: not a flag or command"),
            (
                "verfy",
                Code::Usage,
                "verfy: not a flag or command of this version; is verify meant?",
            ),
            (
                "--slot 8",
                Code::Usage,
                "--slot: not a flag or command of this version; is --slots meant?",
            ),
            (
                "--gateway-slots 8",
                Code::Usage,
                "--gateway-slots: not a flag or command",
            ),
            ("--slots", Code::Usage, "--slots: its value is missing"),
            ("--slots 8 --slots 9", Code::Usage, "--slots: given twice"),
            (
                "--check verify",
                Code::Usage,
                "verify: one command at a time",
            ),
            ("--now 5", Code::Usage, "--now: only verify takes a time"),
            #[cfg(feature = "journal")]
            (
                "verify --content",
                Code::Usage,
                "--content: only journal takes it",
            ),
            (
                "verify --now soon",
                Code::Usage,
                "--now: \"soon\" is not a number of seconds",
            ),
            (
                "verify --now -1",
                Code::Usage,
                "--now: \"-1\" is not a number of seconds",
            ),
            (
                "--upstream x",
                Code::Config,
                "--upstream: not in this version",
            ),
            (
                "--govuk-upstream-uri x",
                Code::Config,
                "--govuk-upstream-uri: not in this version",
            ),
        ] {
            let stop = cut(args(line)).unwrap_err();
            assert_eq!(stop.code, code, "{line}");
            assert!(
                stop.lines[0].starts_with(wanted),
                "{line}: {:?}",
                stop.lines
            );
        }
    }
}
