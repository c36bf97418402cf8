//! Messages as signed tokens: what they claim, the key, signing, and the published key
//! set. Only `key`, `sign` and `jwks` handle the private key.

pub(crate) mod claims;
pub(crate) mod jwks;
pub(crate) mod key;
pub(crate) mod sign;
