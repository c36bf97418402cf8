//! The contenders: every way to check one Ed25519 signature, and every way to judge one
//! whole token, with keys prepared as far as each library lets one prepare them.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use gateway_min::{KeySet, Policy, Scratch, UnixTime};
use serde::{Deserialize, Serialize};

/// Length of the signed bytes, as a message of manage's has it.
pub const SIGNED: usize = 700;
pub const AUDIENCE: &str = "screening-gateway";
pub const ISSUER: &str = "http://localhost:8080";

/// What every contender judges.
pub struct Bench {
    pub token: String,
    message: Vec<u8>,
    signature: [u8; 64],
    ours: Box<KeySet<1>>,
    dalek: ed25519_dalek::VerifyingKey,
    public: [u8; 32],
    now: u64,
}

/// The claims that all libraries read and check.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    sub: String,
    action_type: String,
    parameters: serde_json::Value,
}

impl Bench {
    /// A message whose signed part is [`SIGNED`] bytes, valid at the machine's time: most
    /// libraries read the clock themselves.
    pub fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let header = Base64UrlUnpadded::encode_string(br#"{"alg":"EdDSA","typ":"JWT"}"#);
        let mut pad = 0;
        let signed = loop {
            let claims = serde_json::json!({
                "iss": ISSUER, "aud": AUDIENCE, "iat": now - 5, "nbf": now - 5, "exp": now + 3600,
                "jti": "3d0c4a3c-41a7-4c7f-9a5f-6f3a8f5f4c01", "sub": "appointment/1", "schema_version": 1,
                "action_type": "worklist.create_item",
                "parameters": {"worklist_item": {"accession_number": "A1", "name": "x".repeat(pad)}},
            });
            let signed = format!("{header}.{}", Base64UrlUnpadded::encode_string(claims.to_string().as_bytes()));
            if signed.len() >= SIGNED {
                break signed;
            }
            pad += 1;
        };
        let signature = key.sign(signed.as_bytes()).to_bytes();
        let token = format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature));
        let mut ours = Box::new(KeySet::new());
        let x = Base64UrlUnpadded::encode_string(&public);
        ours.add(format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#).as_bytes()).unwrap();
        Self { token, message: signed.into_bytes(), signature, ours, dalek: key.verifying_key(), public, now }
    }

    pub fn verify_ours(&self) -> bool {
        self.ours.signature_holds(&self.message, &self.signature)
    }

    pub fn verify_dalek(&self) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        ed25519_dalek::Verifier::verify(&self.dalek, &self.message, &signature).is_ok()
    }

    pub fn verify_dalek_strict(&self) -> bool {
        self.dalek.verify_strict(&self.message, &ed25519_dalek::Signature::from_bytes(&self.signature)).is_ok()
    }

    pub fn verify_ring(&self) -> bool {
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.public);
        key.verify(&self.message, &self.signature).is_ok()
    }

    /// aws-lc-rs with its key parsed ahead, as it offers.
    pub fn aws_lc_key(&self) -> aws_lc_rs::signature::ParsedPublicKey {
        aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::ED25519, self.public).unwrap()
    }

    pub fn verify_aws_lc(&self, key: &aws_lc_rs::signature::ParsedPublicKey) -> bool {
        key.verify_sig(&self.message, &self.signature).is_ok()
    }

    pub fn token_ours(&self, scratch: &mut Scratch) -> bool {
        let policy =
            Policy { audience: AUDIENCE, issuer: Some(ISSUER), leeway_secs: 30, max_lifetime_secs: 43_200 };
        let now = UnixTime::from_secs(self.now.try_into().unwrap());
        gateway_min::verify(self.token.as_bytes(), &self.ours, &policy, now, scratch)
            .is_ok_and(|message| message.subject() == Some("appointment/1"))
    }

    pub fn jsonwebtoken_key(&self) -> (jsonwebtoken::DecodingKey, jsonwebtoken::Validation) {
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_nbf = true;
        (jsonwebtoken::DecodingKey::from_ed_der(&self.public), validation)
    }

    pub fn token_jsonwebtoken(&self, key: &(jsonwebtoken::DecodingKey, jsonwebtoken::Validation)) -> bool {
        jsonwebtoken::decode::<Claims>(&self.token, &key.0, &key.1)
            .is_ok_and(|token| token.claims.sub == "appointment/1")
    }

    pub fn jwt_simple_key(&self) -> (jwt_simple::prelude::Ed25519PublicKey, jwt_simple::prelude::VerificationOptions) {
        use jwt_simple::prelude::*;
        let options = VerificationOptions {
            allowed_audiences: Some(std::collections::HashSet::from([AUDIENCE.to_owned()])),
            allowed_issuers: Some(std::collections::HashSet::from([ISSUER.to_owned()])),
            ..VerificationOptions::default()
        };
        (Ed25519PublicKey::from_bytes(&self.public).unwrap(), options)
    }

    pub fn token_jwt_simple(
        &self,
        key: &(jwt_simple::prelude::Ed25519PublicKey, jwt_simple::prelude::VerificationOptions),
    ) -> bool {
        use jwt_simple::prelude::EdDSAPublicKeyLike;
        key.0
            .verify_token::<serde_json::Value>(&self.token, Some(key.1.clone()))
            .is_ok_and(|claims| claims.subject.as_deref() == Some("appointment/1"))
    }

    pub fn jwt_compact_key(&self) -> <jwt_compact::alg::Ed25519 as jwt_compact::Algorithm>::VerifyingKey {
        jwt_compact::alg::VerifyingKey::from_slice(&self.public).unwrap()
    }

    pub fn token_jwt_compact(&self, key: &<jwt_compact::alg::Ed25519 as jwt_compact::Algorithm>::VerifyingKey) -> bool {
        use jwt_compact::{AlgorithmExt, TimeOptions, UntrustedToken, alg::Ed25519};
        let Ok(token) = UntrustedToken::new(&self.token) else { return false };
        let Ok(token) = Ed25519.validator::<Claims>(key).validate(&token) else { return false };
        let times = TimeOptions::default();
        token.claims().validate_expiration(&times).is_ok()
            && token.claims().validate_maturity(&times).is_ok()
            && token.claims().custom.sub == "appointment/1"
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}
