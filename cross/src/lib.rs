//! The gateway's packages on emulated boards.
//!
//! [`Emulated`] runs a program by itself, under the emulator of its processor: what it
//! does. [`Machine`] boots Debian's own armhf kernel on a board with one core and 128 MB:
//! how much memory it takes, what it does without a clock, and what is left of its journal
//! when the power is cut. Both take the gateway out of the packages that
//! `cross/package.sh` made, and fail where there are none.
//!
//! Called by `tests/` beside it, and by the command `board`, which measures and cuts power
//! for as long as it is told to. Nothing of it runs on a board.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "what fails here fails the test or the measurement that called it"
)]

mod archive;
mod client;
mod emulated;
mod folder;
mod load;
mod machine;
mod message;
mod packages;
mod power;
#[path = "../../gateway-min/tests/signer/mod.rs"]
mod signer;

pub use client::{Answer, Client};
pub use emulated::{Emulated, Serving};
pub use folder::Folder;
pub use load::{Counts, fill_every_slot, load};
pub use machine::{Clock, Machine, Memory, Setup};
pub use message::{ID, ISSUER, Message, now};
pub use packages::{Package, Target};
pub use power::{Cuts, cut_power};

use std::time::Duration;

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(180);
