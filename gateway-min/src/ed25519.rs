//! One configured key, made ready for checking signatures (RFC 8032 section 5.1.7,
//! narrowed as `verify_strict` of ed25519-dalek narrows it).
//!
//! A key is known long before a token arrives. With the feature `tables` its fixed-base
//! table is built when it is loaded: about 30 KB a key, in which the negated point A has
//! its multiples. Checking S·B = R + k·A is then two table multiplications of
//! curve25519-dalek, one hash and one comparison of encodings. Without the feature,
//! `verify_strict` itself does the work and a key costs less than 300 bytes.
//!
//! Either way the verdict is that of `verify_strict`, which stays in the tests as the
//! oracle: S < L; A and R not of small order; R in its canonical encoding.

use ed25519_dalek::VerifyingKey;

use crate::limits::{PUBLIC_KEY_LEN, SIGNATURE_LEN};

/// Why 32 bytes are no key to trust.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weak {
    /// They do not decode to a point of the curve.
    NotAPoint,
    /// The point has small order: signatures under it can be made without any secret.
    SmallOrder,
}

fn strong(point: &[u8; PUBLIC_KEY_LEN]) -> Result<VerifyingKey, Weak> {
    let key = VerifyingKey::from_bytes(point).map_err(|_undecodable| Weak::NotAPoint)?;
    if key.is_weak() {
        Err(Weak::SmallOrder)
    } else {
        Ok(key)
    }
}

#[cfg(not(feature = "tables"))]
pub(crate) use plain::Prepared;
#[cfg(feature = "tables")]
pub(crate) use tables::Prepared;

#[cfg(feature = "tables")]
mod tables {
    use curve25519_dalek::{
        constants::ED25519_BASEPOINT_TABLE, edwards::EdwardsBasepointTable, scalar::Scalar,
        traits::BasepointTable,
    };
    use sha2::{Digest, Sha512};

    use super::{PUBLIC_KEY_LEN, SIGNATURE_LEN, Weak};

    /// The encodings of the eight points of small order. An R that is one of them is
    /// refused by comparison, which is cheaper than decoding it; their other, non-canonical
    /// encodings never equal a computed one.
    const SMALL_ORDER: [[u8; 32]; 8] = {
        const fn y(first: u8, last: u8) -> [u8; 32] {
            let mut y = [if first == 0xec { 0xff } else { 0 }; 32];
            y[0] = first;
            y[31] = last;
            y
        }
        const fn of_order_8(y: &[u8; 31], last: u8) -> [u8; 32] {
            let mut point = [last; 32];
            let (low, _) = point.split_at_mut(31);
            low.copy_from_slice(y);
            point
        }
        const ONE: [u8; 31] = [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc,
        ];
        const OTHER: [u8; 31] = [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03,
        ];
        [
            y(0x01, 0x00),
            y(0xec, 0x7f),
            y(0x00, 0x00),
            y(0x00, 0x80),
            of_order_8(&ONE, 0x05),
            of_order_8(&ONE, 0x85),
            of_order_8(&OTHER, 0x7a),
            of_order_8(&OTHER, 0xfa),
        ]
    };

    /// A key and its table.
    pub(crate) struct Prepared {
        encoded: [u8; PUBLIC_KEY_LEN],
        negated: EdwardsBasepointTable,
    }

    impl Prepared {
        /// Builds the table: some hundred field inversions, milliseconds on a small board.
        #[expect(clippy::arithmetic_side_effects, reason = "negating a point is total")]
        pub(crate) fn new(point: &[u8; PUBLIC_KEY_LEN]) -> Result<Self, Weak> {
            let key = super::strong(point)?;
            Ok(Self {
                encoded: *point,
                negated: EdwardsBasepointTable::create(&-key.to_edwards()),
            })
        }

        /// The 32 bytes that it was made from.
        pub(crate) const fn encoded(&self) -> &[u8; PUBLIC_KEY_LEN] {
            &self.encoded
        }

        /// Whether `signature` over `message` holds.
        #[expect(clippy::arithmetic_side_effects, reason = "curve arithmetic is total")]
        pub(crate) fn holds(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
            let (Some(r), Some(s)) = (signature.first_chunk::<32>(), signature.last_chunk::<32>())
            else {
                return false;
            };
            let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*s)) else {
                return false;
            };
            if SMALL_ORDER.contains(r) {
                return false;
            }
            let hash = Sha512::new()
                .chain_update(r)
                .chain_update(self.encoded)
                .chain_update(message);
            let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            let expected = (ED25519_BASEPOINT_TABLE * &s) + (&self.negated * &k);
            expected.compress().as_bytes() == r
        }
    }

    #[cfg(test)]
    mod tests {
        use curve25519_dalek::constants::EIGHT_TORSION;

        use super::SMALL_ORDER;

        #[test]
        fn the_encodings_are_those_of_the_eight_points() {
            for point in EIGHT_TORSION {
                assert!(
                    SMALL_ORDER.contains(point.compress().as_bytes()),
                    "{point:?}"
                );
            }
        }
    }
}

#[cfg(not(feature = "tables"))]
mod plain {
    use ed25519_dalek::{Signature, VerifyingKey};

    use super::{PUBLIC_KEY_LEN, SIGNATURE_LEN, Weak};

    /// A key as ed25519-dalek has it.
    pub(crate) struct Prepared(VerifyingKey);

    impl Prepared {
        pub(crate) fn new(point: &[u8; PUBLIC_KEY_LEN]) -> Result<Self, Weak> {
            super::strong(point).map(Self)
        }

        /// The 32 bytes that it was made from.
        pub(crate) fn encoded(&self) -> &[u8; PUBLIC_KEY_LEN] {
            self.0.as_bytes()
        }

        /// Whether `signature` over `message` holds.
        pub(crate) fn holds(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
            self.0
                .verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        }
    }
}
