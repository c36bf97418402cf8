//! Signing with an Ed25519 key: claims in, a compact JWS (RFC 7515 section 7.1) out, the same bytes for the
//! same claims (Ed25519 is deterministic). Refuses whatever no gateway would take, by the
//! gateway's own bounds.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use gateway_min::{
    claims::{ALG_EDDSA, TYP_MESSAGE, header},
    limits,
};

use super::key::MessageKey;

/// Why something is not signed: no gateway would take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsignable {
    /// The claims are longer than [`limits::MAX_CLAIMS`].
    ClaimsTooLong {
        /// Their length in bytes.
        len: usize,
    },
    /// A claim is empty or longer than its bound.
    ClaimLength {
        /// Its name.
        claim: &'static str,
    },
    /// A control character in an identifier.
    ClaimCharacters {
        /// Its name.
        claim: &'static str,
    },
    /// Its revision is already a message of other details: somebody is changing them at
    /// this moment.
    Changing,
    /// A value that DICOM has no room for.
    WorklistValue {
        /// The value's name.
        name: &'static str,
    },
}

impl fmt::Display for Unsignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClaimsTooLong { len } => {
                write!(
                    f,
                    "claims of {len} bytes, longest is {}",
                    limits::MAX_CLAIMS
                )
            }
            Self::ClaimLength { claim } => write!(f, "claim {claim} is empty or too long"),
            Self::ClaimCharacters { claim } => write!(f, "control character in claim {claim}"),
            Self::Changing => f.write_str("the details are being changed, reload the page"),
            Self::WorklistValue { name } => write!(f, "{name} does not fit a worklist"),
        }
    }
}

impl std::error::Error for Unsignable {}

/// The protected header. Its members stand in one order, so that the token of the same
/// claims is the same text.
fn protected_header(kid: &str, typ: &str) -> String {
    // A thumbprint, an algorithm and a type: nothing that JSON would escape.
    format!(
        r#"{{"{}":"{ALG_EDDSA}","{}":"{kid}","{}":"{typ}"}}"#,
        header::ALG,
        header::KID,
        header::TYP
    )
}

/// Signs a message's claims set, given as JSON text.
///
/// # Errors
/// [`Unsignable::ClaimsTooLong`].
pub(crate) fn sign(key: &MessageKey, claims: &str) -> Result<String, Unsignable> {
    sign_as(TYP_MESSAGE, key, claims)
}

/// Signs a claims set as a token of that type: a receiver takes no other type.
///
/// # Errors
/// [`Unsignable::ClaimsTooLong`].
pub(super) fn sign_as(typ: &str, key: &MessageKey, claims: &str) -> Result<String, Unsignable> {
    // Within these the token is within MAX_TOKEN: `limits` asserts so.
    if claims.len() > limits::MAX_CLAIMS {
        return Err(Unsignable::ClaimsTooLong { len: claims.len() });
    }
    let mut token = Base64UrlUnpadded::encode_string(protected_header(key.kid(), typ).as_bytes());
    token.push('.');
    token.push_str(&Base64UrlUnpadded::encode_string(claims.as_bytes()));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&Base64UrlUnpadded::encode_string(&signature));
    Ok(token)
}

#[cfg(test)]
mod tests {
    use gateway_min::{UnixTime, claims::ActionType, limits};

    use super::{TYP_MESSAGE, Unsignable, protected_header, sign};
    use crate::token::{
        claims::{Claims, Content},
        key::{MessageKey, tests::RFC8037_PEM},
    };

    #[test]
    fn the_header_is_within_its_bound() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        let header = protected_header(key.kid(), TYP_MESSAGE);
        assert_eq!(
            header,
            concat!(
                r#"{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","#,
                r#""typ":"gateway-message+jwt"}"#
            )
        );
        assert!(header.len() <= limits::MAX_HEADER);
    }

    #[test]
    fn the_longest_claims_are_signed_and_one_byte_more_is_not() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        let longest = " ".repeat(limits::MAX_CLAIMS);
        let token = sign(&key, &longest).unwrap();
        assert!(token.len() <= limits::MAX_TOKEN);
        assert_eq!(sign(&key, &longest).unwrap(), token);
        let len = limits::MAX_CLAIMS + 1;
        assert_eq!(
            sign(&key, &" ".repeat(len)),
            Err(Unsignable::ClaimsTooLong { len })
        );
    }

    /// The very tokens that PyJWT and jose are shown by `.ci/test`.
    #[test]
    fn what_is_signed_is_what_other_libraries_are_shown() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        let shown = include_str!("../../../gateway-min/tests/interop/ours.txt");
        let contents = [
            (ActionType::Echo, "echo", "{}"),
            (
                ActionType::WorklistCreateItem,
                "appointment",
                r#"{"first_name":"Zoë","last_name":"Zboń","note":"\"\\ 😀"}"#,
            ),
        ];
        let signed = contents.map(|(action, subject, parameters)| {
            let content = Content {
                subject: subject.to_owned(),
                organisation: "RVN".to_owned(),
                action,
                source_reference: r#"{"appointment_id":"1"}"#.to_owned(),
                parameters: parameters.to_owned(),
            };
            let claims = Claims {
                issuer: "http://localhost:8080",
                audience: "screening-gateway",
                issued: UnixTime::from_secs(1_799_999_990),
                expires: UnixTime::from_secs(1_800_003_600),
                jti: "3d0c4a3c-41a7-4c7f-9a5f-6f3a8f5f4c01",
                actor: "uid-1",
                content: &content,
            };
            sign(&key, &claims.to_json().unwrap()).unwrap() + "\n"
        });
        assert_eq!(signed.concat(), shown);
    }
}
