//! How the command ends: exit codes of `sysexits.h`, and [`Stop`], the one way in which
//! starting up fails. Whoever finds a reason to stop says what is wrong, with which setting
//! or file, and what to do; only `daemon::main` prints it.

use std::{prelude::v1::*, process::ExitCode};

/// Why the command ends, for scripts and service managers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    /// The command line is not one that the command has (`EX_USAGE`).
    Usage,
    /// A key file was read and is not a key (`EX_DATAERR`).
    Data,
    /// A file that a setting names cannot be opened (`EX_NOINPUT`).
    NoInput,
    /// The listener's address cannot be had (`EX_UNAVAILABLE`).
    Unavailable,
    /// The system refused a thread, a signal handler or the like, or allows too few file
    /// descriptors (`EX_OSERR`).
    Os,
    /// Reading or writing failed on the way (`EX_IOERR`).
    Io,
    /// A file's owner or mode lets others change it, or the address is not ours to take
    /// (`EX_NOPERM`).
    NoPermission,
    /// A setting is missing, unknown or has a value it cannot have (`EX_CONFIG`).
    Config,
}

impl Code {
    /// The number in `sysexits.h`.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Os => 71,
            Self::Io => 74,
            Self::NoPermission => 77,
            Self::Config => 78,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// A reason not to go on: what `main` prints, one line for each thing found wrong.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: Code,
    pub(crate) lines: Vec<String>,
}

impl Stop {
    /// One reason.
    pub(crate) fn new(code: Code, line: String) -> Self {
        Self {
            code,
            lines: vec![line],
        }
    }
}
