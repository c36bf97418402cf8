//! What the fuzz targets share: one key, one policy, one moment.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use gateway_min::{KeySet, Policy, Reject, Scratch, UnixTime, verify};

const POLICY: Policy<'_> = Policy { audience: "gw", issuer: None, leeway_secs: 0, max_lifetime_secs: u32::MAX };

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub fn b64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = key().sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", b64(&signature))
}

/// The verdict: the `jti` of an accepted token.
pub fn judge(token: &[u8]) -> Result<String, Reject> {
    let mut keys = KeySet::<1>::new();
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(&key().verifying_key().to_bytes()));
    assert!(keys.add(jwk.as_bytes()).is_ok());
    let mut scratch = Scratch::new();
    verify(token, &keys, &POLICY, UnixTime::EPOCH, &mut scratch).map(|message| message.jti().to_owned())
}
