//! A token's decoded parts, read by name and type: what message and bypass tokens share.
//! Every wrong type is a refusal, never an absence.

use crate::{
    b64::{self, Fault},
    claims::{header, name},
    error::{Part, Reject},
    json::{self, Members, Room, Text, Value},
    limits::{MAX_CLAIMS, MAX_HEADER, MAX_KID, MAX_TEXT},
    policy::Times,
    time::UnixTime,
};

/// Memory that a caller lends for one judgement, about 11 KB: the decoded header and
/// claims, and the strings among them that are written with escapes. One for each thread
/// that judges; nothing in it outlives the verdict that borrows it.
pub struct Scratch {
    pub(crate) header: [u8; MAX_HEADER],
    pub(crate) claims: [u8; MAX_CLAIMS],
    pub(crate) text: [u8; MAX_HEADER + MAX_CLAIMS],
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

/// What a purpose asks of a header: the key decides the algorithm, and one purpose's
/// tokens are never another's.
pub(crate) struct Purpose {
    pub(crate) algs: &'static [&'static str],
    /// `typ` may also be absent.
    pub(crate) types: &'static [&'static str],
}

impl Purpose {
    /// Judges an encoded header (RFC 7515 section 4.1) and returns its `kid`.
    pub(crate) fn judge_header<'a>(
        &self,
        encoded: &[u8],
        buffer: &'a mut [u8],
        room: &mut Room<'a>,
    ) -> Result<Option<&'a str>, Reject> {
        let decoded = b64::decode_public(encoded, buffer).map_err(|fault| match fault {
            Fault::TooLong => Reject::HeaderTooLong,
            Fault::NotCanonical => Reject::HeaderEncoding,
        })?;
        let members = json::scan(decoded, Part::Header)?;
        let text = |member: &'static str| match members.get(member).map(Value::text) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(Reject::HeaderType { member }),
        };
        if members.get(header::CRIT).is_some() {
            return Err(Reject::UnsupportedCrit);
        }
        let known = |text: Text<'_>, names: &[&str]| names.iter().any(|name| text.is(name));
        if !text(header::ALG)?.is_some_and(|alg| known(alg, self.algs)) {
            return Err(Reject::UnsupportedAlg);
        }
        if text(header::TYP)?.is_some_and(|typ| !known(typ, self.types)) {
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
}

/// An encoded signature or MAC of exactly `LEN` bytes.
pub(crate) fn signature<const LEN: usize>(encoded: &[u8]) -> Result<[u8; LEN], Reject> {
    let mut bytes = [0; LEN];
    let decoded = b64::decode(encoded, &mut bytes).map_err(|fault| match fault {
        Fault::TooLong => Reject::SignatureLength,
        Fault::NotCanonical => Reject::SignatureEncoding,
    })?;
    if decoded.len() == LEN {
        Ok(bytes)
    } else {
        Err(Reject::SignatureLength)
    }
}

/// Claims of a signature that held.
pub(crate) struct Claims<'a> {
    members: Members<'a>,
    room: Room<'a>,
}

impl<'a> Claims<'a> {
    /// Decodes and scans them: only behind a signature that held.
    pub(crate) fn open(
        encoded: &[u8],
        buffer: &'a mut [u8],
        room: Room<'a>,
    ) -> Result<Self, Reject> {
        let decoded = b64::decode_public(encoded, buffer).map_err(|fault| match fault {
            Fault::TooLong => Reject::ClaimsTooLong,
            Fault::NotCanonical => Reject::ClaimsEncoding,
        })?;
        Ok(Self {
            members: json::scan(decoded, Part::Claims)?,
            room,
        })
    }

    pub(crate) fn times(&self) -> Result<Times, Reject> {
        Ok(Times {
            exp: self.time(name::EXP)?,
            nbf: self.time(name::NBF)?,
            iat: self.time(name::IAT)?,
        })
    }

    pub(crate) fn int(&self, claim: &'static str) -> Result<Option<i64>, Reject> {
        let Some(value) = self.members.get(claim) else {
            return Ok(None);
        };
        value.int().ok_or(Reject::ClaimType { claim }).map(Some)
    }

    fn time(&self, claim: &'static str) -> Result<Option<UnixTime>, Reject> {
        Ok(self.int(claim)?.map(UnixTime::from_secs))
    }

    pub(crate) fn text(
        &mut self,
        claim: &'static str,
        max: usize,
    ) -> Result<Option<&'a str>, Reject> {
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
    pub(crate) fn identifier(
        &mut self,
        claim: &'static str,
        max: usize,
    ) -> Result<Option<&'a str>, Reject> {
        match self.text(claim, max)? {
            Some("") => Err(Reject::ClaimLength { claim, len: 0 }),
            Some(text) if text.chars().any(char::is_control) => {
                Err(Reject::ClaimCharacters { claim })
            }
            text => Ok(text),
        }
    }

    pub(crate) fn object(&self, claim: &'static str) -> Result<Option<&'a str>, Reject> {
        let Some(value) = self.members.get(claim) else {
            return Ok(None);
        };
        value.object().ok_or(Reject::ClaimType { claim }).map(Some)
    }

    pub(crate) fn actor(&mut self) -> Result<Option<&'a str>, Reject> {
        let wrong = Reject::ClaimType { claim: name::ACT };
        let Some(value) = self.members.get(name::ACT) else {
            return Ok(None);
        };
        let members = value.members(Part::Claims).ok_or(wrong)??;
        let sub = members.get(name::SUB).and_then(Value::text).ok_or(wrong)?;
        self.bounded(sub, name::ACT, MAX_TEXT).map(Some)
    }

    /// Whether `aud` names `audience` (RFC 7519 section 4.1.3).
    pub(crate) fn names_audience(&self, audience: &str) -> Result<bool, Reject> {
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
