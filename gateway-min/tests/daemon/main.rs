//! The gateway's binary on a free port of the loopback, with a folder of its own, asked
//! over real connections. One file for each flow.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod access;
mod bad_input;
mod configuration;
mod documents;
mod exposition;
mod keys;
mod logging;
mod metrics;
#[cfg(target_os = "linux")]
mod notify;
mod outcomes;
#[path = "../signer/mod.rs"]
mod signer;
mod stopping;
mod support;
#[cfg(target_os = "linux")]
mod systemd;
mod transport;
mod verdicts;
