//! The gateway's binary under attack: what kills or wedges an ordinary small server, done
//! to it on a free port of the loopback, with good requests meanwhile and after.
//!
//! Every scenario runs each time in a short form. The full form takes about twenty
//! minutes, needs `slowhttptest` (the Debian package), and prints what
//! `tests/siege/RESULTS.md` records:
//!
//! ```sh
//! ulimit -n 20000
//! SIEGE=full cargo test --release -p gateway-min --test siege -- --nocapture --test-threads=1
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and tells what it measured"
)]

mod answers;
mod console;
mod crowd;
mod crowds;
mod kills;
mod mutations;
#[path = "../signer/mod.rs"]
mod signer;
mod smuggling;
#[path = "../daemon/support.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod support;
mod vitals;

/// Whether the long form was asked for.
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
pub(crate) fn full() -> bool {
    std::env::var("SIEGE").is_ok_and(|form| form == "full")
}

/// The one that fits the form.
pub(crate) fn either<T>(short: T, long: T) -> T {
    if full() { long } else { short }
}
