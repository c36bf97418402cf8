#![allow(dead_code, reason = "each test uses a part")]

//! A signer for tests: the key of RFC 8037 appendix A, and tokens of any shape.

#![expect(clippy::unwrap_used, reason = "a broken test signer fails its test")]

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};

/// `d` of RFC 8037 appendix A.1.
const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
/// Its public half, appendix A.2.
pub(crate) const PUBLIC_JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// Its thumbprint, appendix A.3.
pub(crate) const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

pub(crate) fn b64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub(crate) fn key() -> SigningKey {
    let secret = Base64UrlUnpadded::decode_vec(SECRET).unwrap();
    SigningKey::from_bytes(&secret.try_into().unwrap())
}

/// Signs a header and claims of any bytes.
pub(crate) fn sign(header: &[u8], claims: &[u8]) -> String {
    sign_encoded(&b64(header), &b64(claims))
}

/// Signs what stands in place of an encoded header and claims.
pub(crate) fn sign_encoded(header: &str, claims: &str) -> String {
    sign_encoded_with(&key(), header, claims)
}

/// Likewise, with another key.
pub(crate) fn sign_encoded_with(key: &SigningKey, header: &str, claims: &str) -> String {
    let signed = format!("{header}.{claims}");
    let signature = key.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", b64(&signature))
}
