//! base64url without padding (RFC 4648 section 5, RFC 7515 appendix C), canonical only.
//! This file alone names `base64ct`.

use crate::limits::b64_len;
use base64ct::{Base64UrlUnpadded, Encoding};

/// Why a text is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It decodes to more than there is room for.
    TooLong,
    /// A character outside the alphabet, padding, an impossible length, or bits set
    /// behind the last byte.
    NotCanonical,
}

/// Decodes `text` into the front of `room` and returns what it filled.
pub(crate) fn decode<'a>(text: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Fault> {
    if text.len() > b64_len(room.len()) {
        return Err(Fault::TooLong);
    }
    Base64UrlUnpadded::decode(text, room).map_err(|_invalid| Fault::NotCanonical)
}

/// Encodes `bytes` into the front of `room`; `None` where it is too small.
pub(crate) fn encode<'a>(bytes: &[u8], room: &'a mut [u8]) -> Option<&'a str> {
    Base64UrlUnpadded::encode(bytes, room).ok()
}

/// Decodes the standard alphabet with padding, as PEM has it (RFC 7468), line ends
/// already taken out.
pub(crate) fn decode_pem<'a>(text: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
    base64ct::Base64::decode(text, room).ok()
}
