//! What *accepted* is worth when the power goes and disks fail: the real binary, killed at
//! random moments under load; real file systems that are full, read-only and gone; a real
//! journal, damaged at its bytes.
//!
//! `POWER=full` asks for the long forms, whose results are in `RESULTS.md`. What takes a disk
//! of our own making is beside the code: one that loses what was not synced
//! (`src/daemon/journal/segments/tests/power.rs`), and one that stops in the middle of an
//! fsync (`src/daemon/journal/tests.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails fails its test, and says with which chances"
)]

mod bytes;
mod caller;
mod chance;
mod disks;
mod kills;
#[path = "../signer/mod.rs"]
mod signer;
#[path = "../sink_server/mod.rs"]
mod sink_server;
mod site;
#[path = "../daemon/support.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod support;

/// Whether the long forms are asked for.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn is_full() -> bool {
    std::env::var("POWER").is_ok_and(|form| form == "full")
}
