//! Certificates made at run time, for keys that protect nothing but these tests
//! (`openssl genpkey`; one of them is the same in two forms each).

use std::{prelude::v1::*, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, KeyIdMethod, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use rustls::{
    SignatureScheme,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::support::now;

/// A private key in PEM, and what signs with it.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) pem: &'static str,
    algorithm: &'static SignatureAlgorithm,
    scheme: SignatureScheme,
    /// Length of the key itself, which ends its SubjectPublicKeyInfo.
    public_len: usize,
}

const fn p256(name: &'static str, pem: &'static str) -> Key {
    Key {
        name,
        pem,
        algorithm: &PKCS_ECDSA_P256_SHA256,
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        public_len: 65,
    }
}

const fn rsa(name: &'static str, pem: &'static str) -> Key {
    Key {
        name,
        pem,
        algorithm: &PKCS_RSA_SHA256,
        scheme: SignatureScheme::RSA_PKCS1_SHA256,
        public_len: 270,
    }
}

pub(crate) const P256: Key = p256("P-256, PKCS#8", include_str!("keys/p256.pem"));
pub(crate) const OTHER: Key = p256("another P-256", include_str!("keys/other.pem"));
pub(crate) const ED25519: Key = Key {
    name: "Ed25519, PKCS#8",
    pem: include_str!("keys/ed25519.pem"),
    algorithm: &PKCS_ED25519,
    scheme: SignatureScheme::ED25519,
    public_len: 32,
};
/// The key of [`P256`], encrypted.
pub(crate) const LOCKED: &str = include_str!("keys/locked.pem");
pub(crate) const ALL: [Key; 6] = [
    P256,
    p256("P-256, SEC1", include_str!("keys/p256-sec1.pem")),
    Key {
        name: "P-384, PKCS#8",
        pem: include_str!("keys/p384.pem"),
        algorithm: &PKCS_ECDSA_P384_SHA384,
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        public_len: 97,
    },
    rsa("RSA, PKCS#8", include_str!("keys/rsa.pem")),
    rsa("RSA, PKCS#1", include_str!("keys/rsa-pkcs1.pem")),
    ED25519,
];

/// A key as rcgen wants it.
struct Signing {
    key: Key,
    signs: std::sync::Arc<dyn rustls::sign::SigningKey>,
    public: Vec<u8>,
}

impl PublicKeyData for Signing {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm
    }
}

impl SigningKey for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.signs.choose_scheme(&[self.key.scheme]).unwrap();
        Ok(signer.sign(message).unwrap())
    }
}

/// Seconds from now until a certificate begins, and until it ends.
#[derive(Clone, Copy)]
pub(crate) struct Life(pub(crate) i64, pub(crate) i64);

pub(crate) const DAY: i64 = 86_400;
pub(crate) const GOOD: Life = Life(-DAY, 90 * DAY);
pub(crate) const ENDED: Life = Life(-90 * DAY, -3 * DAY);

/// A self-signed certificate for a key; its serial number tells one from another.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

pub(crate) fn certificate(key: Key, serial: u64, Life(from, until): Life) -> Certificate {
    let der = PrivateKeyDer::from_pem_slice(key.pem.as_bytes()).unwrap();
    let signs = default_provider().key_provider.load_private_key(der);
    let signs = signs.unwrap();
    let info = signs.public_key().unwrap();
    let public = info[info.len() - key.public_len..].to_vec();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let at = |offset: i64| {
        let secs = now().checked_add_signed(offset).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(secs)
    };
    (params.not_before, params.not_after) = (at(from), at(until));
    params.serial_number = Some(serial.into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
    drop(info);
    let signing = Signing { key, signs, public };
    let der = params.self_signed(&signing).unwrap().der().clone();
    let lines: Vec<_> = STANDARD
        .encode(&der)
        .into_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    Certificate { der, pem }
}
