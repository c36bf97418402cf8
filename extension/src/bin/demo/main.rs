//! `cargo demo`: the whole product on one machine, from one command.
//!
//! It builds the real binaries, makes keys on first use, starts gateway and manage, waits
//! until both answer, and relays their logs into one terminal. It starts nothing where an
//! address is taken or a setting is wrong, and it leaves nothing running: not after
//! Ctrl-C, not after one of the two has ended, not when it is itself killed.

#[cfg(unix)]
mod run;
#[cfg(unix)]
mod settings;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    std::io::stderr()
        .write_all(b"cargo demo needs a Unix: run it inside WSL 2, and the browser on Windows\n")
        .unwrap_or_default();
    std::process::ExitCode::from(69)
}
