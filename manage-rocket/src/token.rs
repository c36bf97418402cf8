//! What is signed: messages and session tokens with their keys (Ed25519) and published key
//! sets, and bypass tokens (HS256), which share nothing with them. Only `key`, `sign` and
//! `jwks` handle a private key.

pub(crate) mod bypass;
pub(crate) mod claims;
pub(crate) mod jwks;
pub(crate) mod key;
pub(crate) mod session;
pub(crate) mod sign;
