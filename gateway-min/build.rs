//! Gives the daemon the date of the commit it was built from: a clock that is earlier has
//! not been set (a Raspberry Pi has no clock battery).
//!
//! `SOURCE_DATE_EPOCH` (seconds) wins, then the last commit's date by `git`. A release
//! build without either fails; a debug build takes 0, which no clock is earlier than.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script through the environment"
)]

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // The core alone reads no clock.
    if env::var_os("CARGO_FEATURE_DAEMON").is_none() {
        return;
    }
    // HEAD's own log grows with every commit, whatever branch it is on.
    if let Some(path) = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ]) && Path::new(&path).exists()
    {
        println!("cargo::rerun-if-changed={path}");
    }
    let secs = match env::var_os("SOURCE_DATE_EPOCH") {
        Some(text) => match text.to_str().and_then(|text| text.parse::<u32>().ok()) {
            Some(secs) => secs,
            None => {
                println!("cargo::error=SOURCE_DATE_EPOCH is not a number of seconds: {text:?}");
                return;
            }
        },
        None => match git(&["log", "-1", "--format=%ct"]).and_then(|text| text.parse().ok()) {
            Some(secs) => secs,
            None if env::var_os("PROFILE").is_some_and(|profile| profile == "release") => {
                println!(
                    "cargo::error=a release build needs the date of its commit: build inside the git \
                     repository, or set SOURCE_DATE_EPOCH to seconds since 1970"
                );
                return;
            }
            None => 0,
        },
    };
    // Not a `GATEWAY_…` name: `cargo run` and `cargo test` pass it on, and the daemon stops
    // at such names that it does not know.
    println!("cargo::rustc-env=COMMIT_SECS={secs}");
}

/// What `git` prints, or `None` where there is no git or no repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
