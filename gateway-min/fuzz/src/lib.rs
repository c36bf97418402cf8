//! What the fuzz targets share: one key, one policy, one moment.

use std::sync::LazyLock;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use gateway_min::{KeySet, Policy, Reject, Scratch, UnixTime, verify};

const POLICY: Policy<'_> = Policy { audience: "gw", issuer: None, leeway_secs: 0, max_lifetime_secs: u32::MAX };

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));
static KEYS: LazyLock<KeySet<1>> = LazyLock::new(|| {
    let mut keys = KeySet::new();
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(&KEY.verifying_key().to_bytes()));
    assert!(keys.add(jwk.as_bytes()).is_ok());
    keys
});

pub fn b64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

pub fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = KEY.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", b64(&signature))
}

/// The verdict: the `jti` of an accepted token.
pub fn judge(token: &[u8]) -> Result<String, Reject> {
    let mut scratch = Scratch::new();
    verify(token, &KEYS, &POLICY, UnixTime::EPOCH, &mut scratch).map(|message| message.jti().to_owned())
}
