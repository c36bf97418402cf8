//! The judging core of the site gateway.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod claims;
mod error;
pub mod limits;
mod time;

pub use error::{JsonFault, Part, Reject, Stage};
pub use time::UnixTime;
