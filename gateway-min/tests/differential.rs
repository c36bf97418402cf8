//! Our verdict on signatures against ed25519-dalek's `verify_strict`, on inputs made to
//! tell verifiers apart: mixed-order keys and R, small-order and non-canonical encodings,
//! S + L, and single changed bits, all through the one door that tokens take.
//!
//! `DIFFERENTIAL_CASES=10000000 cargo test --release -p gateway-min --test differential`
//! is the long run; benches/RESULTS.md has its date.

use std::array;

use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_TABLE, EIGHT_TORSION},
    scalar::Scalar,
};
use ed25519_dalek::{Signature, VerifyingKey};
use gateway_min::{KeyError, KeySet, Policy, Reject, Scratch, UnixTime, verify};
use sha2::{Digest, Sha512};

mod signer;

const CASES: u64 = 20_000;
/// Building a key's table costs as much as judging a dozen signatures.
const SIGNATURES_A_KEY: u64 = 20;
const POLICY: Policy<'_> = Policy {
    audience: "gw",
    issuer: None,
    leeway_secs: 0,
    max_lifetime_secs: u32::MAX,
};

/// L, the order of the base point (RFC 8032 section 5.1), little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// SHA-512 in counter mode: the same cases in every run.
struct Random {
    counter: u64,
}

impl Random {
    fn wide(&mut self) -> [u8; 64] {
        self.counter += 1;
        Sha512::digest(self.counter.to_be_bytes()).into()
    }

    fn scalar(&mut self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.wide())
    }

    fn below(&mut self, bound: usize) -> usize {
        let [a, b, ..] = self.wide();
        usize::from(u16::from_be_bytes([a, b])) % bound
    }

    fn bytes(&mut self) -> [u8; 32] {
        let wide = self.wide();
        array::from_fn(|i| wide[i])
    }
}

fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    array::from_fn(|i| {
        let sum = u16::from(s[i]) + u16::from(ORDER[i]) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    })
}

/// An encoding of y ≥ p, or of a small-order point, with either sign bit.
fn odd_encoding(random: &mut Random) -> [u8; 32] {
    let mut encoding = [0xff; 32];
    match random.below(3) {
        // p = 2^255 − 19 is 0xed 0xff … 0x7f: p to p + 18.
        0 => {
            encoding[0] = 0xed + u8::try_from(random.below(19)).unwrap_or(0);
            encoding[31] = 0x7f;
        }
        1 => encoding = EIGHT_TORSION[random.below(8)].compress().to_bytes(),
        _ => {
            encoding = [0; 32];
            encoding[0] = u8::try_from(random.below(4)).unwrap_or(0);
        }
    }
    encoding[31] ^= if random.below(2) == 0 { 0x80 } else { 0 };
    encoding
}

/// A key: an honest point, one with a part of small order, or bytes of no plan.
fn key(random: &mut Random) -> (Scalar, [u8; 32]) {
    let secret = random.scalar();
    let point = ED25519_BASEPOINT_TABLE * &secret;
    let encoded = match random.below(12) {
        0..=5 => point.compress().to_bytes(),
        6..=9 => (point + EIGHT_TORSION[random.below(8)])
            .compress()
            .to_bytes(),
        10 => random.bytes(),
        _ => odd_encoding(random),
    };
    (secret, encoded)
}

/// A signature that would hold under an honest key, changed in R, in S, or in a bit.
fn signature(
    random: &mut Random,
    secret: Scalar,
    key: [u8; 32],
    signed: &[u8],
) -> ((usize, usize), [u8; 64]) {
    let nonce = random.scalar();
    let point = ED25519_BASEPOINT_TABLE * &nonce;
    let how = (random.below(12), random.below(12));
    let r = match how.0 {
        0..=6 => point.compress().to_bytes(),
        7..=9 => (point + EIGHT_TORSION[random.below(8)])
            .compress()
            .to_bytes(),
        10 => random.bytes(),
        _ => odd_encoding(random),
    };
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(key)
        .chain_update(signed);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let honest = (nonce + k * secret).to_bytes();
    let s = match how.1 {
        0..=7 => honest,
        8 => plus_order(honest),
        // What a verifier that took R for the neutral element would accept.
        9 => (k * secret).to_bytes(),
        _ => [[0; 32], ORDER, random.bytes(), [0xff; 32]][random.below(4)],
    };
    let mut signature: [u8; 64] = array::from_fn(|i| if i < 32 { r[i] } else { s[i - 32] });
    if random.below(12) == 0 {
        let bit = random.below(512);
        signature[bit / 8] ^= 1 << (bit % 8);
    }
    (how, signature)
}

#[test]
fn the_verdict_is_that_of_verify_strict() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the length of the long run is given on the command line"
    )]
    let cases = std::env::var("DIFFERENTIAL_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let mut random = Random { counter: 0 };
    let header = signer::b64(br#"{"alg":"EdDSA"}"#);
    let mut scratch = Scratch::new();
    let (mut held, mut refused, mut weak) = (0_u64, 0_u64, 0_u64);
    while held + refused < cases {
        let (secret, point) = key(&mut random);
        let jwk = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#,
            signer::b64(&point)
        );
        let mut keys = Box::new(KeySet::<1>::new());
        let added = keys.add(jwk.as_bytes()).map(drop);
        let theirs = VerifyingKey::from_bytes(&point);
        let expected = match &theirs {
            Err(_) => Err(KeyError::NotAPoint),
            Ok(key) if key.is_weak() => Err(KeyError::SmallOrder),
            Ok(_) => Ok(()),
        };
        assert_eq!(added, expected, "{point:?}");
        let (Ok(theirs), Ok(())) = (theirs, expected) else {
            weak += 1;
            continue;
        };
        for _ in 0..SIGNATURES_A_KEY {
            let claims = format!(r#"{{"aud":"gw","exp":9,"jti":"{}"}}"#, held + refused);
            let signed = format!("{header}.{}", signer::b64(claims.as_bytes()));
            let (how, signature) = signature(&mut random, secret, point, signed.as_bytes());
            let holds = theirs
                .verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature))
                .is_ok();
            let token = format!("{signed}.{}", signer::b64(&signature));
            let verdict = verify(
                token.as_bytes(),
                &keys,
                &POLICY,
                UnixTime::EPOCH,
                &mut scratch,
            )
            .map(drop);
            let expected = if holds {
                Ok(())
            } else {
                Err(Reject::BadSignature)
            };
            assert_eq!(verdict, expected, "{how:?} {point:?} {signature:?}");
            if holds { held += 1 } else { refused += 1 }
        }
    }
    println!("{held} held, {refused} refused, {weak} keys refused at load, no difference");
    // A generator that only ever met one verdict would prove nothing.
    assert!(held > cases / 10 && refused > cases / 10 && weak > cases / SIGNATURES_A_KEY / 20);
}
