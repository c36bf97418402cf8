//! base64url without padding (RFC 4648 section 5, RFC 7515 appendix C), canonical only.
//! This file alone names `base64ct`.
//!
//! Signatures, MACs and keys are decoded by `base64ct`, in constant time. Headers and claims
//! are ten times longer, anybody who carries a message can read them, and their length is all
//! that an attacker chooses: [`decode_public`] reads them through a table, at a tenth of the
//! instructions in a build for size (`docs/decisions.md`).

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

/// Decodes `text` into the front of `room` and returns what it filled, in constant time.
pub(crate) fn decode<'a>(text: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Fault> {
    if text.len() > b64_len(room.len()) {
        return Err(Fault::TooLong);
    }
    Base64UrlUnpadded::decode(text, room).map_err(|_invalid| Fault::NotCanonical)
}

/// Has bits that no value of a character has.
const STRANGE: u8 = 0xff;

/// The value of each character.
const VALUES: [u8; 256] = {
    let alphabet = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [STRANGE; 256];
    let (mut value, mut rest) = (0, alphabet.as_slice());
    while let [first, behind @ ..] = rest {
        // The index is of a byte's range, as the table is; this runs in the compiler alone.
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "an index of a table of 256, in a constant"
        )]
        let place = &mut values[*first as usize];
        *place = value;
        value = value.wrapping_add(1);
        rest = behind;
    }
    values
};

/// Likewise what is no secret, through a table.
pub(crate) fn decode_public<'a>(text: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Fault> {
    if text.len() > b64_len(room.len()) {
        return Err(Fault::TooLong);
    }
    let value = |character: u8| {
        let value = VALUES.get(usize::from(character));
        value.copied().unwrap_or(STRANGE)
    };
    let spare = |value: u8, bits: u8| if value & bits == 0 { 0 } else { STRANGE };
    let (whole, rest) = text.as_chunks::<4>();
    let (filled, behind) = room.as_chunks_mut::<3>();
    let mut seen = 0;
    for (four, three) in whole.iter().zip(filled.iter_mut()) {
        let [a, b, c, d] = four.map(value);
        seen |= a | b | c | d;
        *three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    // A rest of two or three characters is one or two bytes, and bits that have to be zero.
    let tail = filled
        .get_mut(whole.len())
        .map_or(behind, |three| three.as_mut_slice());
    let len = match (rest, tail) {
        ([], _) => 0,
        (&[a, b], [first, ..]) => {
            let [a, b] = [a, b].map(value);
            seen |= a | b | spare(b, 0x0f);
            *first = a << 2 | b >> 4;
            1
        }
        (&[a, b, c], [first, second, ..]) => {
            let [a, b, c] = [a, b, c].map(value);
            seen |= a | b | c | spare(c, 0x03);
            [*first, *second] = [a << 2 | b >> 4, b << 4 | c >> 2];
            2
        }
        _ => return Err(Fault::NotCanonical),
    };
    if seen > 0x3f {
        return Err(Fault::NotCanonical);
    }
    let len = whole.len().saturating_mul(3).saturating_add(len);
    room.get(..len).ok_or(Fault::TooLong)
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

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::{Fault, decode, decode_public, encode};

    type Decode = for<'a> fn(&[u8], &'a mut [u8]) -> Result<&'a [u8], Fault>;
    const BOTH: [(&str, Decode); 2] = [("constant time", decode), ("public", decode_public)];

    #[test]
    fn only_the_canonical_text_is_taken() {
        let rows: [(&str, &[u8], Result<&[u8], Fault>); 14] = [
            ("nothing", b"", Ok(b"")),
            ("one byte", b"AA", Ok(b"\0")),
            ("url alphabet", b"-_-_", Ok(b"\xfb\xff\xbf")),
            ("room exactly filled", b"AAAA", Ok(b"\0\0\0")),
            ("one byte more than room", b"AAAAAA", Err(Fault::TooLong)),
            ("padding", b"AA==", Err(Fault::NotCanonical)),
            ("standard alphabet, plus", b"+_-_", Err(Fault::NotCanonical)),
            (
                "standard alphabet, slash",
                b"-/-_",
                Err(Fault::NotCanonical),
            ),
            ("length 1 mod 4", b"A", Err(Fault::NotCanonical)),
            ("trailing bits of one byte", b"AB", Err(Fault::NotCanonical)),
            (
                "trailing bits of two bytes",
                b"AAB",
                Err(Fault::NotCanonical),
            ),
            ("space inside", b"A A", Err(Fault::NotCanonical)),
            ("line end behind", b"AA\n", Err(Fault::NotCanonical)),
            ("not ASCII", b"A\xc3\xa9", Err(Fault::NotCanonical)),
        ];
        for (name, text, expected) in rows {
            for (way, decode) in BOTH {
                let mut room = [0xee; 3];
                assert_eq!(decode(text, &mut room), expected, "{name}, {way}");
            }
        }
    }

    #[test]
    fn every_two_characters_are_taken_only_where_they_encode_a_byte() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let (mut room, mut again) = ([0; 1], [0; 2]);
                let text = [first, second];
                let canonical = (0..=u8::MAX)
                    .any(|byte| encode(&[byte], &mut again).unwrap().as_bytes() == text);
                for (way, decode) in BOTH {
                    let taken = decode(&text, &mut room).is_ok();
                    assert_eq!(taken, canonical, "{text:?}, {way}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        /// The `base64` crate in strict mode is the second opinion.
        #[test]
        fn agrees_with_the_base64_crate(bytes in prop::collection::vec(any::<u8>(), 0..40), edit in prop::option::of((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8))) {
            let mut text = URL_SAFE_NO_PAD.encode(&bytes).into_bytes();
            let mut room = [0; 64];
            prop_assert_eq!(encode(&bytes, &mut room).unwrap().as_bytes(), text.as_slice());
            if let Some((at, byte, kind)) = edit {
                let at = at.index(text.len() + 1);
                match kind {
                    0 if at < text.len() => text[at] = byte,
                    1 if at < text.len() => { text.remove(at); }
                    _ => text.insert(at, byte),
                }
            }
            let theirs = URL_SAFE_NO_PAD.decode(&text);
            for (_, decode) in BOTH {
                match decode(&text, &mut room) {
                    Ok(ours) => prop_assert_eq!(Ok(ours.to_vec()), theirs.clone()),
                    Err(fault) => {
                        prop_assert_eq!(fault, Fault::NotCanonical);
                        prop_assert!(theirs.is_err());
                    }
                }
            }
        }
    }
}
