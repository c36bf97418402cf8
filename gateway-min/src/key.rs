//! Public keys as people have them: SPKI PEM (RFC 7468, RFC 8410), a JWK or a JWK Set
//! (RFC 7517, RFC 8037), held by `kid`.
//!
//! A key is judged once, when it is added: a private key, another curve or algorithm, a
//! wrong length, bytes that are no point, a point of small order, and a `kid` that is
//! already held are refused by name. A token never brings a key: `jwk`, `jku`, `x5u` and
//! `x5c` of a header are not looked at.

use core::fmt;

use heapless::{String, Vec};
use sha2::{Digest, Sha256};

use crate::{
    b64,
    claims::{ALG_ED25519, ALG_EDDSA},
    ed25519::{Prepared, Weak},
    error::{Part, Reject},
    json::{self, Members, Room, Value},
    limits::{MAX_KEY_TEXT, MAX_KID, PUBLIC_KEY_LEN, b64_len},
};

const PEM_BEGIN: &[u8] = b"-----BEGIN ";
const PEM_PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----";
const PEM_END: &[u8] = b"-----END PUBLIC KEY-----";

/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo
/// (RFC 8410 section 4): SEQUENCE of 42, SEQUENCE of OID 1.3.101.112, BIT STRING of 33.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// `AlgorithmIdentifier` of Ed25519, which stands at byte 2 of a short SPKI.
const ED25519_ALGORITHM: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// Longest SPKI that is decoded to say what it is, in bytes: an RSA key of 8192 bits.
const MAX_SPKI: usize = 1100;

/// Why a text gives no key. `Display` says what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither PEM nor JSON.
    Unrecognised,
    /// Longer than [`MAX_KEY_TEXT`].
    TooLong,
    /// A private key, where only public ones belong.
    Private,
    /// A PEM block without its end line, or not base64 inside.
    Pem,
    /// Another kind of PEM block, such as a certificate.
    PemLabel,
    /// JSON that is not read, with the reason.
    Json(Reject),
    /// A JWK without one of the members that it needs, or with one of the wrong type.
    Jwk {
        /// The member's name.
        member: &'static str,
    },
    /// Not an Ed25519 key: another curve, or another kind of key.
    NotEd25519,
    /// A JWK that says it is for something other than checking signatures.
    NotForVerifying,
    /// Not 32 bytes.
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes are no point of the curve (RFC 8032 section 5.1.3).
    NotAPoint,
    /// A point of small order, under which anybody can sign.
    SmallOrder,
    /// The `kid` is empty or longer than [`MAX_KID`].
    KidLength,
    /// A key with this `kid` is already held.
    Duplicate,
    /// The set has no room for another key.
    Full {
        /// How many it holds.
        capacity: usize,
    },
    /// A JWK Set without any Ed25519 key for checking signatures.
    NoneUsable,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecognised => f.write_str("neither a PEM public key nor a JWK or JWK Set"),
            Self::TooLong => write!(f, "longer than {MAX_KEY_TEXT} bytes"),
            Self::Private => f.write_str("a private key: give the gateway the public half only"),
            Self::Pem => f.write_str("a damaged PEM block"),
            Self::PemLabel => f.write_str("a PEM block that is not a PUBLIC KEY"),
            Self::Json(reject) => write!(f, "not a readable JWK: {reject}"),
            Self::Jwk { member } => write!(
                f,
                "a JWK whose member {member} is missing or of the wrong type"
            ),
            Self::NotEd25519 => f.write_str("not an Ed25519 key"),
            Self::NotForVerifying => f.write_str("a JWK that is not for checking EdDSA signatures"),
            Self::Length { len } => {
                write!(f, "an Ed25519 key of {len} bytes, not {PUBLIC_KEY_LEN}")
            }
            Self::NotAPoint => f.write_str("32 bytes that are not a point of the curve"),
            Self::SmallOrder => f.write_str("a point of small order, under which anybody can sign"),
            Self::KidLength => write!(f, "a kid that is empty or longer than {MAX_KID} bytes"),
            Self::Duplicate => f.write_str("a second key with the same kid"),
            Self::Full { capacity } => write!(f, "more than {capacity} keys"),
            Self::NoneUsable => {
                f.write_str("a JWK Set without an Ed25519 key for checking signatures")
            }
        }
    }
}

impl core::error::Error for KeyError {}

/// What [`KeySet::add`] took from a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Added {
    /// Keys now in the set.
    pub keys: usize,
    /// Keys of a JWK Set passed over because they are of another kind or use.
    pub skipped: usize,
}

/// An RFC 7638 thumbprint (SHA-256), base64url.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thumbprint(String<{ b64_len(32) }>);

impl Thumbprint {
    /// Its 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The RFC 7638 thumbprint of an Ed25519 public key: the `kid` that manage writes, and
/// that a key without a `kid` is held under.
#[must_use]
pub fn thumbprint(public_key: &[u8; PUBLIC_KEY_LEN]) -> Thumbprint {
    let mut room = [0; b64_len(PUBLIC_KEY_LEN)];
    let x = b64::encode(public_key, &mut room).unwrap_or_default();
    // RFC 8037 section 2: the required members of an OKP key, in lexical order.
    let hash = Sha256::new()
        .chain_update(r#"{"crv":"Ed25519","kty":"OKP","x":""#)
        .chain_update(x)
        .chain_update(r#""}"#);
    let mut room = [0; b64_len(32)];
    let text = b64::encode(&hash.finalize(), &mut room).unwrap_or_default();
    Thumbprint(String::try_from(text).unwrap_or_default())
}

/// An Ed25519 public key, found to be one.
struct PublicKey {
    kid: String<MAX_KID>,
    prepared: Prepared,
}

/// At most `N` public keys by `kid`. Lives where its owner puts it: nothing is allocated.
/// With the feature `tables` it is `N` × 30 KB large, of which a key that is not there
/// touches nothing.
#[derive(Default)]
pub struct KeySet<const N: usize> {
    keys: Vec<PublicKey, N>,
}

impl<const N: usize> KeySet<N> {
    /// A set without a key.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: Vec::new() }
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The `kid`s, in the order of adding.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid.as_str())
    }

    /// Each `kid` with the public key that is held under it (RFC 8032 section 5.1.2), in
    /// the order of adding: what tells one set from another.
    pub fn public_keys(&self) -> impl Iterator<Item = (&str, &[u8; PUBLIC_KEY_LEN])> {
        let keys = self.keys.iter();
        keys.map(|key| (key.kid.as_str(), key.prepared.encoded()))
    }

    /// The key that a token asks for, with the `kid` it is held under. Without a `kid`
    /// it is the only key there is.
    pub(crate) fn find(&self, kid: Option<&str>) -> Result<(&str, &Prepared), Reject> {
        let key = match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .find(|key| key.kid == kid)
                .ok_or(Reject::UnknownKey)?,
            (None, [only]) => only,
            (None, _) => return Err(Reject::KidRequired),
        };
        Ok((&key.kid, &key.prepared))
    }

    /// Whether the only key's signature over `message` holds: the part of a judgement
    /// that other libraries have too.
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn signature_holds(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.find(None)
            .is_ok_and(|(_, key)| key.holds(message, signature))
    }

    /// Adds every key in `text`: one or more PEM blocks with any text around them, one
    /// JWK, or one JWK Set, whose keys of other kinds or uses are passed over and counted.
    ///
    /// # Errors
    ///
    /// [`KeyError`]. Keys that stood before the fault have been added: a caller that
    /// wants all or nothing fills a new set.
    pub fn add(&mut self, text: &[u8]) -> Result<Added, KeyError> {
        if text.len() > MAX_KEY_TEXT {
            return Err(KeyError::TooLong);
        }
        if text.trim_ascii_start().starts_with(b"{") {
            self.add_json(text)
        } else if find(text, PEM_BEGIN).is_some() {
            self.add_pem(text)
        } else {
            Err(KeyError::Unrecognised)
        }
    }

    fn add_pem(&mut self, text: &[u8]) -> Result<Added, KeyError> {
        let mut added = Added::default();
        let mut rest = text;
        while let Some(at) = find(rest, PEM_BEGIN) {
            let block = rest.get(at..).unwrap_or_default();
            let Some(body) = block.strip_prefix(PEM_PUBLIC) else {
                let label = block
                    .split(|&byte| byte == b'\n')
                    .next()
                    .unwrap_or_default();
                let private = find(label, b"PRIVATE KEY").is_some();
                return Err(if private {
                    KeyError::Private
                } else {
                    KeyError::PemLabel
                });
            };
            let end = find(body, PEM_END).ok_or(KeyError::Pem)?;
            let (inside, after) = body.split_at_checked(end).ok_or(KeyError::Pem)?;
            self.add_spki(inside)?;
            added.keys = added.keys.saturating_add(1);
            rest = after;
        }
        Ok(added)
    }

    fn add_spki(&mut self, base64: &[u8]) -> Result<(), KeyError> {
        let mut joined: Vec<u8, { MAX_SPKI.div_ceil(3) * 4 }> = Vec::new();
        for &byte in base64.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            joined.push(byte).map_err(|_full| KeyError::NotEd25519)?;
        }
        let mut room = [0; MAX_SPKI];
        let der = b64::decode_pem(&joined, &mut room).ok_or(KeyError::Pem)?;
        if let Some(point) = der.strip_prefix(&SPKI_PREFIX)
            && let Ok(point) = point.try_into()
        {
            return self.push(point, None);
        }
        if der
            .get(2..)
            .is_some_and(|inside| inside.starts_with(&ED25519_ALGORITHM))
        {
            return Err(KeyError::Length {
                len: der.len().saturating_sub(SPKI_PREFIX.len()),
            });
        }
        Err(KeyError::NotEd25519)
    }

    fn add_json(&mut self, text: &[u8]) -> Result<Added, KeyError> {
        let members = json::scan(text, Part::Key).map_err(KeyError::Json)?;
        let Some(keys) = members.get("keys") else {
            self.add_jwk(&members)?;
            return Ok(Added {
                keys: 1,
                skipped: 0,
            });
        };
        let keys = keys
            .elements(Part::Key)
            .ok_or(KeyError::Jwk { member: "keys" })?
            .map_err(KeyError::Json)?;
        let mut added = Added::default();
        for key in keys.values() {
            let members = key
                .members(Part::Key)
                .ok_or(KeyError::Jwk { member: "keys" })?
                .map_err(KeyError::Json)?;
            match self.add_jwk(&members) {
                Ok(()) => added.keys = added.keys.saturating_add(1),
                Err(KeyError::NotEd25519 | KeyError::NotForVerifying) => {
                    added.skipped = added.skipped.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        if added.keys == 0 {
            Err(KeyError::NoneUsable)
        } else {
            Ok(added)
        }
    }

    fn add_jwk(&mut self, jwk: &Members<'_>) -> Result<(), KeyError> {
        // RFC 8037 section 2: `d` is the private half, of whatever kind the key is.
        if jwk.get("d").is_some() {
            return Err(KeyError::Private);
        }
        let is = |member: &'static str, known: &[&str]| match jwk.get(member).map(Value::text) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(known.iter().any(|known| text.is(known)))),
            Some(None) => Err(KeyError::Jwk { member }),
        };
        let kind = is("kty", &["OKP"])?.ok_or(KeyError::Jwk { member: "kty" })?;
        if !kind || !is("crv", &["Ed25519"])?.ok_or(KeyError::Jwk { member: "crv" })? {
            return Err(KeyError::NotEd25519);
        }
        let verifying = match jwk.get("key_ops") {
            None => true,
            Some(ops) => {
                let ops = ops
                    .elements(Part::Key)
                    .ok_or(KeyError::Jwk { member: "key_ops" })?;
                let ops = ops.map_err(KeyError::Json)?;
                ops.values()
                    .any(|op| op.text().is_some_and(|op| op.is("verify")))
            }
        };
        let signature = is("use", &["sig"])?.unwrap_or(true);
        let algorithm = is("alg", &[ALG_EDDSA, ALG_ED25519])?.unwrap_or(true);
        if !(verifying && signature && algorithm) {
            return Err(KeyError::NotForVerifying);
        }
        let mut room = [0; MAX_KID];
        let mut room = Room::new(&mut room);
        let x = jwk
            .get("x")
            .and_then(Value::text)
            .and_then(|x| x.decode(&mut room));
        let x = x.ok_or(KeyError::Jwk { member: "x" })?;
        let mut point = [0; MAX_KID];
        let point = b64::decode(x.as_bytes(), &mut point)
            .map_err(|_fault| KeyError::Jwk { member: "x" })?;
        let point = point
            .try_into()
            .map_err(|_length| KeyError::Length { len: point.len() })?;
        let mut room = [0; MAX_KID];
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => {
                let kid = kid.text().ok_or(KeyError::Jwk { member: "kid" })?;
                Some(
                    kid.decode(&mut Room::new(&mut room))
                        .ok_or(KeyError::KidLength)?,
                )
            }
        };
        self.push(point, kid)
    }

    fn push(&mut self, point: &[u8; PUBLIC_KEY_LEN], kid: Option<&str>) -> Result<(), KeyError> {
        let own = thumbprint(point);
        let kid = kid.unwrap_or_else(|| own.as_str());
        if kid.is_empty() {
            return Err(KeyError::KidLength);
        }
        if self.kids().any(|held| held == kid) {
            return Err(KeyError::Duplicate);
        }
        let kid = String::try_from(kid).map_err(|_too_long| KeyError::KidLength)?;
        let prepared = Prepared::new(point).map_err(|weak| match weak {
            Weak::NotAPoint => KeyError::NotAPoint,
            Weak::SmallOrder => KeyError::SmallOrder,
        })?;
        self.keys
            .push(PublicKey { kid, prepared })
            .map_err(|_full| KeyError::Full { capacity: N })
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
