//! Messages as manage signs them, with the key of RFC 8037 appendix A.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::signer::{KID, sign};

/// Whom the messages are from.
pub const ISSUER: &str = "http://localhost:8080";
/// The gateway that they are for.
pub const ID: &str = "screening-gateway";

/// Seconds since 1970 by this machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the gateway judges by the clock")]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Seconds from signing to the end, within the gateway's default of twelve hours; longer
/// than any measurement takes.
const LIFETIME: u64 = 36_000;

/// What a message says, as far as tests change it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its id.
    pub jti: &'a str,
    /// What happens with it.
    pub action: &'a str,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// So many bytes of content beside the usual.
    pub padding: usize,
}

impl<'a> Message<'a> {
    /// A good one.
    #[must_use]
    pub fn new(jti: &'a str) -> Self {
        Self {
            jti,
            action: "worklist.create_item",
            exp: now() + LIFETIME,
            padding: 0,
        }
    }

    /// One that ended an hour ago.
    #[must_use]
    pub fn ended(jti: &'a str) -> Self {
        Self {
            exp: now() - 3600,
            ..Self::new(jti)
        }
    }

    /// The token.
    #[must_use]
    pub fn sign(&self) -> String {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{KID}","typ":"gateway-message+jwt"}}"#);
        let claims = json!({
            "iss": ISSUER,
            "aud": ID,
            "iat": self.exp - LIFETIME,
            "exp": self.exp,
            "jti": self.jti,
            "sub": "appointment-1",
            "action_type": self.action,
            "parameters": {
                "worklist_item": {"participant": {"name": "ZZTEST, Ann", "nhs_number": "9990000018"}},
                "padding": "x".repeat(self.padding),
            },
        });
        sign(header.as_bytes(), claims.to_string().as_bytes())
    }

    /// The token with another signature, which is one by its form.
    #[must_use]
    pub fn forged(&self) -> String {
        let token = self.sign();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let other = Self {
            exp: self.exp + 1,
            ..*self
        }
        .sign();
        let (_, signature) = other.rsplit_once('.').unwrap();
        format!("{signed}.{signature}")
    }
}
