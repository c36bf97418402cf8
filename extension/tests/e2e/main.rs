//! End-to-end tests in a real browser with the real extension.
//!
//! `alone`: the extension against small servers of our own, which can answer wrongly.
//! `path`: the whole product, with the real gateway and manage.
//! `demo`: the program of `cargo demo`.
//! `options`: its options page and where it takes the address from.
//!
//! A browser must be installed: without one these tests fail, they are not skipped.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, outside of #[test] functions"
)]

mod alone;
mod demo;
mod options;
mod path;
mod scene;
mod server;
