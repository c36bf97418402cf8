//! Bypass tokens: HS256 JWTs (RFC 7519) with which their holder passes a gateway's proxy
//! without signing in. Made with a secret that this installation shares with one gateway;
//! no Ed25519 key can be taken for it, because nothing takes one for the other.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use gateway_min::{UnixTime, claims::ALG_HS256};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

/// One gateway's secret. It does not print.
#[derive(Clone)]
pub(crate) struct BypassKey(Zeroizing<Vec<u8>>);

impl BypassKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(Zeroizing::new(secret.to_vec()))
    }

    /// The token that lets its holder pass as `sub` from now until `expires`.
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes keys of every length, and texts and numbers are JSON"
    )]
    pub(crate) fn sign(&self, id: &str, sub: &str, now: UnixTime, expires: UnixTime) -> String {
        let header = format!(r#"{{"alg":"{ALG_HS256}","typ":"JWT"}}"#);
        let claims = Claims {
            sub,
            iat: now.as_secs(),
            exp: expires.as_secs(),
            jti: id,
        };
        let claims = serde_json::to_string(&claims).expect("texts and numbers are JSON");
        let mut token = Base64UrlUnpadded::encode_string(header.as_bytes());
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(claims.as_bytes()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(token.as_bytes());
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(
            &mac.finalize().into_bytes(),
        ));
        token
    }
}

impl fmt::Debug for BypassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
}

#[cfg(test)]
mod tests {
    use gateway_min::{BypassPolicy, BypassSecret, Reject, Scratch, UnixTime, verify_bypass};

    use super::BypassKey;

    #[test]
    fn the_gateway_takes_it_while_it_lives_and_with_its_secret_alone() {
        let secret = b"a secret of thirty-two bytes, ok";
        let start = UnixTime::from_secs(1_800_000_000);
        let token = BypassKey::new(secret).sign("an id", "a content", start, start.plus(3600));
        let policy = BypassPolicy {
            leeway_secs: 0,
            allow_endless: false,
        };
        let verdict = |secret: &[u8], now| {
            let secret = BypassSecret::new(secret).unwrap();
            let mut scratch = Scratch::new();
            verify_bypass(token.as_bytes(), &secret, &policy, now, &mut scratch)
                .map(|bypass| (bypass.subject().to_owned(), bypass.expires()))
        };
        let held = Ok(("a content".to_owned(), Some(start.plus(3600))));
        assert_eq!(verdict(secret, start), held);
        assert_eq!(verdict(secret, start.plus(3599)), held);
        let expired = verdict(secret, start.plus(3600));
        assert_eq!(expired.unwrap_err().code(), "expired");
        let other = b"another secret of as many bytes!";
        assert_eq!(verdict(other, start), Err(Reject::BadSignature));
        assert_eq!(format!("{:?}", BypassKey::new(secret)), "***");
    }
}
