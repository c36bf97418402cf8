//! Session tokens: what a browser carries to a gateway to be signed in there. They live a
//! minute, are for one gateway and one browser (by the nonce that the gateway gave it), and
//! are of a type and a key of their own, so that none is ever taken for a message. They
//! carry no name and no e-mail address, because addresses get logged.

use gateway_min::UnixTime;
use serde::Serialize;

use super::{
    key::MessageKey,
    sign::{Unsignable, sign_as},
};

/// `typ` of a session token (RFC 8725 section 3.11).
pub(crate) const TYP_SESSION: &str = "gateway-session+jwt";
/// How long a session token lives, in seconds: the way through one redirect.
pub(crate) const LIFETIME_SECS: u32 = 60;

/// The claims, in the order in which they are written. Times are in seconds since 1970.
#[derive(Serialize, Debug)]
pub(crate) struct SessionClaims<'a> {
    /// This installation.
    pub(crate) iss: &'a str,
    /// The gateway's id.
    pub(crate) aud: &'a str,
    /// The person's uid at the sign-in service.
    pub(crate) sub: &'a str,
    /// The organisation's `content_id`.
    pub(crate) org: &'a str,
    /// As the gateway asked with.
    pub(crate) nonce: &'a str,
    pub(crate) jti: &'a str,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// When the person proved who they are.
    pub(crate) auth_time: i64,
    /// The session here.
    pub(crate) sid: &'a str,
    /// When the gateway's session ends in any case.
    pub(crate) session_exp: i64,
}

/// When a token that is made now ends.
pub(crate) fn expiry(now: UnixTime) -> UnixTime {
    now.plus(LIFETIME_SECS)
}

/// Signs a session token.
///
/// # Errors
/// [`Unsignable`] where it would be too long.
pub(crate) fn sign(key: &MessageKey, claims: &SessionClaims<'_>) -> Result<String, Unsignable> {
    let json = serde_json::to_string(claims);
    let json =
        json.map_err(
            |_texts_and_numbers_only: serde_json::Error| Unsignable::WorklistValue {
                name: "session",
            },
        )?;
    sign_as(TYP_SESSION, key, &json)
}
