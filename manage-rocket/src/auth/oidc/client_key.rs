//! The RSA key with which this installation proves itself to the provider
//! (`private_key_jwt`, RFC 7523, with RS512), and its public half as the provider fetches
//! it. Refuses everything but a PKCS#8 PEM of an RSA key of 2048 bits or more.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::pkcs8::SecretDocument;
use gateway_min::UnixTime;
use ring::{
    rand::SystemRandom,
    rsa::{KeyPair, PublicKeyComponents},
    signature::{self, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::secret::{self, NoRandomness};

/// How long an assertion lives, in seconds.
const LIFETIME_SECS: u32 = 300;

/// The key. It does not print.
pub(crate) struct ClientKey {
    pair: KeyPair,
    n: String,
    e: String,
    kid: String,
}

impl ClientKey {
    /// Reads it.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, &'static str> {
        const NOT_ONE: &str = "is not an RSA private key of at least 2048 bits in PKCS#8 PEM";
        let (label, document) = SecretDocument::from_pem(pem.trim())
            .map_err(|_not_said_why: ed25519_dalek::pkcs8::spki::der::Error| NOT_ONE)?;
        if label != "PRIVATE KEY" {
            return Err(NOT_ONE);
        }
        let pair = KeyPair::from_pkcs8(document.as_bytes())
            .map_err(|_not_said_why: ring::error::KeyRejected| NOT_ONE)?;
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let n = Base64UrlUnpadded::encode_string(&public.n);
        let e = Base64UrlUnpadded::encode_string(&public.e);
        // RFC 7638: the required members, in the order of the alphabet.
        let thumbprint = Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        Ok(Self {
            pair,
            n,
            e,
            kid: Base64UrlUnpadded::encode_string(&thumbprint),
        })
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        json!({ "kty": "RSA", "n": self.n, "e": self.e, "kid": self.kid, "use": "sig", "alg": "RS512" })
    }

    /// An assertion that this is `client_id`, for `audience`, from now for five minutes.
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: UnixTime,
    ) -> Result<String, NoRandomness> {
        let header = json!({ "alg": "RS512", "typ": "JWT", "kid": self.kid });
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": secret::random_text()?,
            "iat": now.as_secs(),
            "exp": now.plus(LIFETIME_SECS).as_secs(),
        });
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut mac = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                &signature::RSA_PKCS1_SHA512,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut mac,
            )
            .map_err(|_blinding: ring::error::Unspecified| NoRandomness)?;
        Ok(format!(
            "{signed}.{}",
            Base64UrlUnpadded::encode_string(&mac)
        ))
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({})", self.kid)
    }
}
