//! Every bound on what is read, with its arithmetic. All sizes are in bytes.
//!
//! manage-rocket signs against these same numbers, so that it cannot make a message
//! that no gateway would take.

/// Longest compact token (RFC 7515 section 7.1), its two dots included. The three parts
/// cannot all be at their own bounds at once without staying below it: see the assertion.
pub const MAX_TOKEN: usize = 8192;

/// Longest protected header, decoded.
pub const MAX_HEADER: usize = 512;

/// Longest claims set, decoded.
pub const MAX_CLAIMS: usize = 5120;

/// An Ed25519 signature (RFC 8032 section 5.1.6).
pub const SIGNATURE_LEN: usize = 64;

/// The MAC of HS256 (RFC 7518 section 3.2).
pub const MAC_LEN: usize = 32;

/// Shortest secret of bypass tokens: as long as the MAC (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = MAC_LEN;

/// An Ed25519 public key (RFC 8032 section 5.1.5).
pub const PUBLIC_KEY_LEN: usize = 32;

/// Longest `kid`, decoded from JSON.
pub const MAX_KID: usize = 128;

/// Longest `jti`, decoded from JSON. The shortest is one byte.
pub const MAX_JTI: usize = 128;

/// Longest `iss`, `sub`, `act.sub`, `org` or `action_type`, decoded from JSON.
pub const MAX_TEXT: usize = 512;

/// Most members of one JSON object whose members are read by name, and most elements
/// of an `aud` array.
pub const MAX_MEMBERS: usize = 32;

/// Deepest nesting of JSON arrays and objects; the outermost object is 1.
pub const MAX_DEPTH: usize = 16;

/// Longest JSON number, as written.
pub const MAX_NUMBER: usize = 64;

/// Largest body of a request on a local route.
pub const MAX_BODY: usize = 16 * 1024;

/// Longest request head: request line and header fields with their line ends.
pub const MAX_HEAD: usize = 8 * 1024;

/// Most header fields in a request.
pub const MAX_HEADER_FIELDS: usize = 48;

/// Longest key file or inline key text. A JWKS of sixteen keys with long `kid`s needs
/// less than 6 KiB.
pub const MAX_KEY_TEXT: usize = 16 * 1024;

/// Length of `n` bytes as base64url without padding (RFC 4648 section 5).
#[must_use]
pub const fn b64_len(n: usize) -> usize {
    // 4 characters for each 3 bytes, then 2 or 3 for a rest of 1 or 2.
    let (whole, rest) = (n / 3, n % 3);
    let tail = if rest == 0 { 0 } else { rest.saturating_add(1) };
    whole.saturating_mul(4).saturating_add(tail)
}

// A token whose three parts are each at their bound is still a token: 683 + 6827 + 86 + 2.
const _: () = assert!(
    b64_len(MAX_HEADER) + b64_len(MAX_CLAIMS) + b64_len(SIGNATURE_LEN) + 2 <= MAX_TOKEN,
    "the parts' bounds do not fit the token's"
);
// A body of {"message":"<token>","timestamp":"<RFC 3339>"} has room for the longest token.
const _: () = assert!(MAX_TOKEN + 256 <= MAX_BODY);
const _: () = assert!(MAX_JTI <= MAX_TEXT && MAX_KID <= MAX_HEADER && MAX_TEXT <= MAX_CLAIMS);

#[cfg(test)]
mod tests {
    use super::b64_len;

    #[test]
    fn b64_len_is_what_base64_makes() {
        for (bytes, characters) in [
            (0, 0),
            (1, 2),
            (2, 3),
            (3, 4),
            (64, 86),
            (512, 683),
            (5120, 6827),
        ] {
            assert_eq!(b64_len(bytes), characters, "{bytes} bytes");
        }
    }
}
