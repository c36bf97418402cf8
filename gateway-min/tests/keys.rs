//! Keys as people have them, and what is no key: each by name.

use gateway_min::{JsonFault, KeyError, KeySet, Part, Reject};
use signer::{KID, PUBLIC_JWK, b64, key};

mod signer;

#[test]
fn keys_are_taken_as_people_have_them() {
    let pem = spki_pem(&key().verifying_key().to_bytes());
    let folded = pem.replace('\n', "\r\n");
    let described = format!("Public key of the demonstration:\n{pem}\nsome more text\n");
    let set = format!(
        r#"{{"keys":[{{"kty":"RSA","n":"AQAB","e":"AQAB"}},{PUBLIC_JWK},{{"kty":"OKP","crv":"X25519","x":"AA"}},{{"kty":"OKP","crv":"Ed25519","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw","use":"enc"}}]}}"#
    );
    let full = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"2026-11","use":"sig","alg":"EdDSA","key_ops":["verify"]}"#;
    for (name, text, kid, skipped) in [
        ("PEM", pem.as_str(), KID, 0),
        ("PEM with CRLF", folded.as_str(), KID, 0),
        ("PEM with text around it", described.as_str(), KID, 0),
        ("JWK without kid", PUBLIC_JWK, KID, 0),
        ("JWK with everything", full, "2026-11", 0),
        ("JWK Set with foreign keys", set.as_str(), KID, 3),
    ] {
        let mut keys = KeySet::<2>::new();
        let added = keys
            .add(text.as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((added.keys, added.skipped), (1, skipped), "{name}");
        assert!(keys.kids().eq([kid]), "{name}");
    }
}

#[test]
fn what_is_no_public_key_is_refused_by_name() {
    let jwk = |x: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    let pem = |der: &[u8]| {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            pem_base64(der)
        )
    };
    let spki = |algorithm: &[u8], point: &[u8]| {
        let bits = [&[3, u8::try_from(point.len() + 1).unwrap_or(0), 0], point].concat();
        let inner = [algorithm, &bits].concat();
        [
            &[0x30, u8::try_from(inner.len()).unwrap_or(0)],
            inner.as_slice(),
        ]
        .concat()
    };
    let ed25519 = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let ed448 = [0x30, 5, 6, 3, 0x2b, 0x65, 0x71];
    let mut small = [0; 32];
    small[0] = 1;
    let two = format!(r#"{{"keys":[{PUBLIC_JWK},{PUBLIC_JWK}]}}"#);
    let member = |member| KeyError::Jwk { member };
    let rows = [
        ("nothing", String::new(), KeyError::Unrecognised),
        ("words", "my key".to_owned(), KeyError::Unrecognised),
        ("17,000 bytes", " ".repeat(17_000), KeyError::TooLong),
        (
            "PKCS#8",
            "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----".to_owned(),
            KeyError::Private,
        ),
        (
            "PKCS#1",
            "-----BEGIN RSA PRIVATE KEY-----\n".to_owned(),
            KeyError::Private,
        ),
        (
            "OpenSSH",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(),
            KeyError::Private,
        ),
        (
            "certificate",
            "-----BEGIN CERTIFICATE-----\nMIIB".to_owned(),
            KeyError::PemLabel,
        ),
        (
            "PEM without an end",
            "-----BEGIN PUBLIC KEY-----\nMCow".to_owned(),
            KeyError::Pem,
        ),
        (
            "PEM that is not base64",
            "-----BEGIN PUBLIC KEY-----\n#\n-----END PUBLIC KEY-----".to_owned(),
            KeyError::Pem,
        ),
        (
            "SPKI of Ed448",
            pem(&spki(&ed448, &[0; 57])),
            KeyError::NotEd25519,
        ),
        (
            "SPKI of 31 bytes",
            pem(&spki(&ed25519, &[2; 31])),
            KeyError::Length { len: 31 },
        ),
        (
            "SPKI of 33 bytes",
            pem(&spki(&ed25519, &[2; 33])),
            KeyError::Length { len: 33 },
        ),
        (
            "JWK of 31 bytes",
            jwk(&b64(&[2; 31])),
            KeyError::Length { len: 31 },
        ),
        (
            "JWK of 33 bytes",
            jwk(&b64(&[2; 33])),
            KeyError::Length { len: 33 },
        ),
        (
            "JWK with padding",
            jwk("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
            member("x"),
        ),
        (
            "JWK without x",
            r#"{"kty":"OKP","crv":"Ed25519"}"#.to_owned(),
            member("x"),
        ),
        (
            "JWK without kty",
            r#"{"crv":"Ed25519","x":"AA"}"#.to_owned(),
            member("kty"),
        ),
        (
            "JWK with a number for crv",
            r#"{"kty":"OKP","crv":1}"#.to_owned(),
            member("crv"),
        ),
        (
            "private JWK",
            PUBLIC_JWK.replace('}', r#","d":"AA"}"#),
            KeyError::Private,
        ),
        (
            "private JWK of another kind",
            r#"{"kty":"RSA","d":"AA"}"#.to_owned(),
            KeyError::Private,
        ),
        (
            "HMAC secret",
            r#"{"kty":"oct","k":"AA"}"#.to_owned(),
            KeyError::NotEd25519,
        ),
        (
            "X25519",
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(),
            KeyError::NotEd25519,
        ),
        (
            "for encryption",
            PUBLIC_JWK.replace('}', r#","use":"enc"}"#),
            KeyError::NotForVerifying,
        ),
        (
            "for another algorithm",
            PUBLIC_JWK.replace('}', r#","alg":"HS256"}"#),
            KeyError::NotForVerifying,
        ),
        (
            "for signing",
            PUBLIC_JWK.replace('}', r#","key_ops":["sign"]}"#),
            KeyError::NotForVerifying,
        ),
        (
            "kid empty",
            PUBLIC_JWK.replace('}', r#","kid":""}"#),
            KeyError::KidLength,
        ),
        (
            "kid of 129 bytes",
            PUBLIC_JWK.replace('}', &format!(r#","kid":"{}"}}"#, "k".repeat(129))),
            KeyError::KidLength,
        ),
        ("small order", jwk(&b64(&small)), KeyError::SmallOrder),
        (
            "small order, all zeros",
            jwk(&b64(&[0; 32])),
            KeyError::SmallOrder,
        ),
        (
            "no point",
            jwk(&b64(&[[2; 1].as_slice(), &[0; 31]].concat())),
            KeyError::NotAPoint,
        ),
        (
            "empty set",
            r#"{"keys":[]}"#.to_owned(),
            KeyError::NoneUsable,
        ),
        (
            "set of foreign keys",
            r#"{"keys":[{"kty":"RSA"}]}"#.to_owned(),
            KeyError::NoneUsable,
        ),
        ("the same key twice", two, KeyError::Duplicate),
        (
            "broken JSON",
            "{".to_owned(),
            KeyError::Json(Reject::Json {
                part: Part::Key,
                fault: JsonFault::Syntax,
                at: 1,
            }),
        ),
    ];
    for (name, text, expected) in rows {
        assert_eq!(
            KeySet::<4>::new().add(text.as_bytes()),
            Err(expected),
            "{name}"
        );
    }
    let mut full = KeySet::<1>::new();
    assert!(full.add(PUBLIC_JWK.as_bytes()).is_ok());
    let another = jwk("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    assert_eq!(
        full.add(another.as_bytes()),
        Err(KeyError::Full { capacity: 1 })
    );
}

fn spki_pem(point: &[u8; 32]) -> String {
    let prefix = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let der = [prefix.as_slice(), point].concat();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        pem_base64(&der)
    )
}

fn pem_base64(der: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(der)
}
