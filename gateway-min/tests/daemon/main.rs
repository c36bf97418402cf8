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
#[cfg(feature = "journal")]
mod delivery;
mod documents;
mod exposition;
#[cfg(feature = "journal")]
mod journal;
mod keys;
mod logging;
mod metrics;
#[cfg(target_os = "linux")]
mod notify;
mod operations;
mod outcomes;
#[path = "../signer/mod.rs"]
mod signer;
#[cfg(feature = "journal")]
#[path = "../sink_server/mod.rs"]
mod sink_server;
mod stopping;
mod support;
#[cfg(target_os = "linux")]
mod systemd;
mod transport;
mod verdicts;
