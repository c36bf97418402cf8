//! The judging core of the site gateway: bytes in, a verdict out.
//!
//! A message is a compact JWS (RFC 7515) signed with Ed25519 (RFC 8037) by manage, carried
//! by a browser that nobody trusts, and judged here. [`verify`] takes the bytes, the
//! configured public keys, the site's [`Policy`] and the time, and returns [`Verified`] or
//! a coded [`Reject`]. The core allocates nothing, reads no clock and opens no socket;
//! everything that moves bytes is in `daemon`, behind the feature of that name.
//!
//! # What it defends against
//!
//! | threat | answer |
//! |---|---|
//! | forged or altered tokens | strict Ed25519: S < L, no small-order key or R; the verifier is chosen by the configured key, never by the token |
//! | algorithm confusion, keys brought by the token | two names of one algorithm; `jwk`, `jku`, `x5u`, `x5c` are not looked at; any `crit` is refused |
//! | one token read two ways | canonical base64url, one bounded JSON scan, no duplicate members, every wrong type a refusal |
//! | a token for another site, time or purpose | `aud`, `iss`, `exp`, `nbf`, `iat`, longest life, `typ` |
//! | the same click twice, or a recorded one | [`Replay`]: one acceptance for each `jti`, exact under concurrency and over clock jumps |
//! | exhaustion | every bound is in [`limits`] and spent before work is done; no recursion, no allocation |
//!
//! # Limits
//!
//! | what | bound |
//! |---|---|
//! | token | [`limits::MAX_TOKEN`] bytes |
//! | header, claims, decoded | [`limits::MAX_HEADER`], [`limits::MAX_CLAIMS`] bytes |
//! | `kid`, `jti` | [`limits::MAX_KID`], [`limits::MAX_JTI`] bytes |
//! | other texts that are judged | [`limits::MAX_TEXT`] bytes |
//! | nesting of JSON | [`limits::MAX_DEPTH`] |
//!
//! # Example
//!
//! The key of RFC 8037 appendix A, and a message that it signed:
//!
//! ```
//! use gateway_min::{KeySet, Policy, Reject, Scratch, UnixTime, verify};
//!
//! let mut keys = KeySet::<4>::new();
//! keys.add(br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
//! assert!(keys.kids().eq(["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"]));
//!
//! let policy = Policy {
//!     audience: "screening-gateway",
//!     issuer: None,
//!     leeway_secs: 30,
//!     max_lifetime_secs: 43_200,
//! };
//! let mut scratch = Scratch::new();
//! let token = concat!(
//!     "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5",
//!     "Z3JTNGsiLCJ0eXAiOiJnYXRld2F5LW1lc3NhZ2Urand0In0.eyJhdWQiOiJzY3JlZW5pbmctZ2F0ZXdh",
//!     "eSIsImlhdCI6MTc5OTk5OTk5MCwiZXhwIjoxODAwMDAzNjAwLCJqdGkiOiIwYzlhMmE2ZS00YzBiLTRm",
//!     "MGUtOWY0Zi0yZjFkN2MxZjhiMTEiLCJhY3Rpb25fdHlwZSI6ImVjaG8ifQ.XTUR32ylGmYAEOWYQ02E7",
//!     "kfoVT5LrZ7iNAwkIVdpxgMDlIkzjMBnxvEYV8enwCqLsVmaolffIDoNnQINtLMTDw",
//! );
//! let now = UnixTime::from_secs(1_800_000_000);
//! let message = verify(token.as_bytes(), &keys, &policy, now, &mut scratch)?;
//! assert_eq!(message.jti(), "0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11");
//! assert_eq!(message.action_type(), Some("echo"));
//!
//! let mut scratch = Scratch::new();
//! let late = verify(token.as_bytes(), &keys, &policy, now.plus(86_400), &mut scratch);
//! assert_eq!(late.unwrap_err().code(), "expired");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    missing_docs,
    clippy::alloc_instead_of_core,
    clippy::as_conversions,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::large_stack_arrays,
    clippy::large_types_passed_by_value,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::std_instead_of_core
)]
// Untrusted bytes must not reach a panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

#[cfg(feature = "daemon")]
#[macro_use]
extern crate std;

mod b64;
mod bypass;
pub mod claims;
mod compact;
/// Everything that moves bytes: the socket, files, the clock, the log and the commands.
#[cfg(feature = "daemon")]
#[allow(
    clippy::alloc_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::string_slice,
    reason = "it has the standard library, its sums are of small lengths, and a panic in a handler is caught"
)]
pub mod daemon;
mod ed25519;
mod error;
mod fields;
mod json;
mod key;
pub mod limits;
mod policy;
mod replay;
mod time;
mod verify;

pub use bypass::{Bypass, BypassPolicy, BypassSecret, WeakSecret, verify_bypass};
pub use error::{JsonFault, Part, Reject, Stage};
pub use fields::Scratch;
pub use json::{json_string, message_of};
pub use key::{Added, KeyError, KeySet, Thumbprint, thumbprint};
pub use policy::Policy;
pub use replay::{Replay, Reservation, Slot, Ticket, slots_for};
pub use time::UnixTime;
pub use verify::{Verified, verify};
