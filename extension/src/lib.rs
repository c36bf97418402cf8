//! Tools around the Chrome extension in `unpacked/`, which itself is plain JavaScript
//! and needs none of them.
//!
//! * [`stamp`]: a copy of the extension for other manage origins; the id of a key.
//! * `cdp`: a small driver for a Chromium-family browser.
//! * `service`: child processes whose lines are read and which are ended again.
//! * [`workspace`], [`browser`], [`http`]: where things are, and whether they answer.
//!
//! The binaries `stamp` and `demo` and the end-to-end tests are made of these. Only
//! [`stamp`] and its binary are for Windows too; the rest needs `sh` and signals.

pub mod browser;
#[cfg(unix)]
pub mod cdp;
pub mod http;
#[cfg(unix)]
pub mod service;
pub mod stamp;
pub mod workspace;
