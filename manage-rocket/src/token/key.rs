//! The Ed25519 key that signs messages: read from PEM, made by `keygen`, never shown.
//! Refuses everything that is not one PKCS#8 Ed25519 private key. The server's other
//! secrets are derived from it, each under its own label, so that nothing secret is
//! stored in the database and one file is all there is to guard.

use std::fmt;

use ed25519_dalek::{
    Signer as _, SigningKey,
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
        spki::der::pem::LineEnding,
    },
};
use gateway_min::{Thumbprint, thumbprint};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Why a text is not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// Not a PKCS#8 PEM of an Ed25519 private key (RFC 8410 section 7).
    NotEd25519Pkcs8,
    /// The operating system gives no random bytes.
    NoRandomness,
    /// The key cannot be written as PEM.
    Encoding,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEd25519Pkcs8 => "not an Ed25519 private key in PKCS#8 PEM",
            Self::NoRandomness => "the operating system gives no random bytes",
            Self::Encoding => "the key cannot be written as PEM",
        })
    }
}

impl std::error::Error for KeyFault {}

/// The private key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct MessageKey {
    signing: SigningKey,
    kid: Thumbprint,
}

impl MessageKey {
    /// Reads one PKCS#8 PEM, of version 1 (as OpenSSL writes it) or 2.
    ///
    /// # Errors
    /// [`KeyFault::NotEd25519Pkcs8`] for everything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFault> {
        SigningKey::from_pkcs8_pem(pem.trim())
            .map(Self::of)
            .map_err(|_not_said_why: ed25519_dalek::pkcs8::Error| KeyFault::NotEd25519Pkcs8)
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// [`KeyFault::NoRandomness`].
    pub fn generate() -> Result<Self, KeyFault> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_os: getrandom::Error| KeyFault::NoRandomness)?;
        Ok(Self::of(SigningKey::from_bytes(&seed)))
    }

    fn of(signing: SigningKey) -> Self {
        let kid = thumbprint(signing.verifying_key().as_bytes());
        Self { signing, kid }
    }

    /// The RFC 7638 thumbprint of the public half, 43 characters.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.kid.as_str()
    }

    /// The public half.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// As PKCS#8 PEM of version 1, without the public half: OpenSSL 3.0 does not read
    /// version 2.
    ///
    /// # Errors
    /// [`KeyFault::Encoding`].
    pub fn to_private_pem(&self) -> Result<Zeroizing<String>, KeyFault> {
        let bytes = KeypairBytes {
            secret_key: self.signing.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_encoding: ed25519_dalek::pkcs8::Error| KeyFault::Encoding)
    }

    /// The public half as SPKI PEM.
    ///
    /// # Errors
    /// [`KeyFault::Encoding`].
    pub fn to_public_pem(&self) -> Result<String, KeyFault> {
        self.signing
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_encoding: ed25519_dalek::pkcs8::spki::Error| KeyFault::Encoding)
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.signing.sign(text).to_bytes()
    }

    /// A secret of 32 bytes for the purpose that `label` names (HKDF-SHA-256, RFC 5869).
    /// Another label gives an unrelated secret, and none of them tells anything of the key.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "32 bytes are within HKDF's 255 blocks, whatever the label"
    )]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let seed = Zeroizing::new(self.signing.to_bytes());
        let mut secret = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"manage-rocket"), seed.as_ref())
            .expand(label.as_bytes(), secret.as_mut())
            .expect("32 bytes are not too long");
        secret
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageKey({})", self.kid())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{KeyFault, MessageKey};

    /// RFC 8037 appendix A.1 as PKCS#8.
    pub(crate) const RFC8037_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_8037() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(
            format!("{key:?}"),
            "MessageKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = MessageKey::generate().unwrap();
        let again = MessageKey::from_pem(&key.to_private_pem().unwrap()).unwrap();
        assert_eq!(again.public_bytes(), key.public_bytes());
        let rfc = MessageKey::from_pem(RFC8037_PEM).unwrap();
        assert_eq!(rfc.to_private_pem().unwrap().as_str(), RFC8037_PEM);
    }

    #[test]
    fn everything_else_is_refused() {
        let public = MessageKey::from_pem(RFC8037_PEM)
            .unwrap()
            .to_public_pem()
            .unwrap();
        for (name, text) in [
            ("nothing", ""),
            ("not PEM", "secret"),
            ("the public half", public.as_str()),
            ("cut short", &RFC8037_PEM[..60]),
            (
                "another curve (X25519)",
                "-----BEGIN PRIVATE KEY-----\n\
                 MC4CAQAwBQYDK2VuBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                 -----END PRIVATE KEY-----\n",
            ),
        ] {
            assert_eq!(
                MessageKey::from_pem(text).unwrap_err(),
                KeyFault::NotEd25519Pkcs8,
                "{name}"
            );
        }
    }

    #[test]
    fn each_label_has_its_own_secret() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        assert_eq!(key.derive("a"), key.derive("a"));
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), MessageKey::generate().unwrap().derive("a"));
    }
}
