//! The provider's signatures (RFC 7515) by its published keys (RFC 7517). The key's type
//! decides which algorithms there are, never the token alone: no `none`, no shared secret.
//! Refuses `crit`, keys that the token brings along (they are not looked at), a `kid` that
//! is not published, and more than one key to choose from without a `kid`.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::{
    digest,
    signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey},
};
use serde::Deserialize;

/// Longest token looked at, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// A key as published. What is not here is not used.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A published key set.
#[derive(Deserialize, Clone, Debug, Default)]
pub(super) struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

/// Why a token does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unheld {
    /// Its key is not among those known; newer ones may be published.
    UnknownKey,
    /// The rest, in words for the log.
    Wrong(&'static str),
}

/// A token whose signature held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) typ: Option<String>,
    pub(super) claims: Vec<u8>,
    alg: Alg,
}

impl Held {
    /// The left half of the hash that goes with the signature's algorithm, in base64url, as
    /// `at_hash` has it (OpenID Connect Core section 3.1.3.6).
    pub(super) fn half_hash(&self, text: &str) -> String {
        let hash = digest::digest(self.alg.hash(), text.as_bytes());
        let (half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
        Base64UrlUnpadded::encode_string(half)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alg {
    Rsa(&'static str),
    Es256,
    Es384,
    EdDsa,
}

impl Alg {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rsa("RS256"),
            "RS384" => Self::Rsa("RS384"),
            "RS512" => Self::Rsa("RS512"),
            "PS256" => Self::Rsa("PS256"),
            "PS384" => Self::Rsa("PS384"),
            "PS512" => Self::Rsa("PS512"),
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Rsa("RS256" | "PS256") | Self::Es256 => &digest::SHA256,
            Self::Rsa("RS384" | "PS384") | Self::Es384 => &digest::SHA384,
            Self::Rsa(_) | Self::EdDsa => &digest::SHA512,
        }
    }

    /// The key's type and curve for this algorithm.
    const fn kind(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Rsa(_) => ("RSA", None),
            Self::Es256 => ("EC", Some("P-256")),
            Self::Es384 => ("EC", Some("P-384")),
            Self::EdDsa => ("OKP", Some("Ed25519")),
        }
    }
}

fn rsa_parameters(name: &str) -> &'static RsaParameters {
    match name {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        _ => &signature::RSA_PSS_2048_8192_SHA512,
    }
}

impl Jwk {
    fn is_for(&self, name: &str, alg: Alg) -> bool {
        let (kty, curve) = alg.kind();
        self.kty == kty
            && (curve.is_none() || self.crv.as_deref() == curve)
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_deref().is_none_or(|own| own == name)
    }

    fn verifies(&self, alg: Alg, signed: &[u8], mac: &[u8]) -> bool {
        let part = |text: &Option<String>| {
            let text = text.as_deref()?;
            Base64UrlUnpadded::decode_vec(text).ok()
        };
        let verified = match alg {
            Alg::Rsa(name) => {
                let (Some(n), Some(e)) = (part(&self.n), part(&self.e)) else {
                    return false;
                };
                RsaPublicKeyComponents { n, e }.verify(rsa_parameters(name), signed, mac)
            }
            Alg::Es256 | Alg::Es384 => {
                let (Some(x), Some(y)) = (part(&self.x), part(&self.y)) else {
                    return false;
                };
                // An uncompressed point (SEC 1 section 2.3.3).
                let point = [&[4][..], &x, &y].concat();
                if alg == Alg::Es256 {
                    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                        .verify(signed, mac)
                } else {
                    UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                        .verify(signed, mac)
                }
            }
            Alg::EdDsa => {
                let Some(x) = part(&self.x) else {
                    return false;
                };
                UnparsedPublicKey::new(&signature::ED25519, x).verify(signed, mac)
            }
        };
        verified.is_ok()
    }
}

/// Judges a compact token's signature.
pub(super) fn hold(token: &str, keys: &Jwks) -> Result<Held, Unheld> {
    use Unheld::Wrong;
    if token.len() > MAX_TOKEN {
        return Err(Wrong("too long"));
    }
    let (signed, mac) = token.rsplit_once('.').ok_or(Wrong("not three parts"))?;
    let (header, claims) = signed.split_once('.').ok_or(Wrong("not three parts"))?;
    let decode = |part: &str, what| {
        Base64UrlUnpadded::decode_vec(part).map_err(|_encoding: base64ct::Error| Wrong(what))
    };
    let header = decode(header, "the header is not base64url")?;
    let header: Header = serde_json::from_slice(&header)
        .map_err(|_form: serde_json::Error| Wrong("the header is not one"))?;
    if header.crit.is_some() {
        return Err(Wrong("crit"));
    }
    let alg = Alg::of(&header.alg).ok_or(Wrong("alg"))?;
    let mac = decode(mac, "the signature is not base64url")?;
    let mut fitting = keys.keys.iter().filter(|key| {
        let named = header.kid.is_none() || key.kid == header.kid;
        named && key.is_for(&header.alg, alg)
    });
    let key = fitting.next().ok_or(Unheld::UnknownKey)?;
    if fitting.next().is_some() {
        return Err(Wrong("more than one key fits"));
    }
    if !key.verifies(alg, signed.as_bytes(), &mac) {
        return Err(Wrong("signature"));
    }
    Ok(Held {
        typ: header.typ,
        claims: decode(claims, "the claims are not base64url")?,
        alg,
    })
}
