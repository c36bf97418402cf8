//! Small cryptographic tools: random bytes, keyed tags, and the constant-time comparison
//! of both. The four purposes (report tokens, CSRF tokens, the sign-in form, sign-ins on
//! their way) have a key each, derived from the message key; a tag of one purpose is never another's.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::token::key::MessageKey;

/// The operating system gives no random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gives no random bytes")
    }
}

/// 256 random bits as 43 characters of base64url.
///
/// # Errors
/// [`NoRandomness`].
pub(crate) fn random_text() -> Result<String, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_os: getrandom::Error| NoRandomness)?;
    Ok(Base64UrlUnpadded::encode_string(bytes.as_ref()))
}

/// `N` characters of Crockford's base 32 (5 random bits each): no I, L, O or U, so that
/// it survives being read out.
///
/// # Errors
/// [`NoRandomness`].
pub(crate) fn random_readable<const N: usize>() -> Result<String, NoRandomness> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_os: getrandom::Error| NoRandomness)?;
    let characters = bytes.iter().map(|byte| ALPHABET[usize::from(byte % 32)]);
    Ok(characters.map(char::from).collect())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// SHA-256 of a text, in hexadecimal: how a session is found without storing what would
/// open it.
pub(crate) fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Whether two texts are the same, in constant time for their length.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Makes and checks HMAC-SHA-256 tags (RFC 2104) for one purpose.
pub(crate) struct Tagger(Zeroizing<[u8; 32]>);

impl Tagger {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mac(&self, parts: &[&str]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("32 bytes are a key");
        for part in parts {
            // Each part behind its length: no two lists of parts read the same.
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }

    /// The tag of these parts, 43 characters of base64url.
    pub(crate) fn tag(&self, parts: &[&str]) -> String {
        Base64UrlUnpadded::encode_string(&self.mac(parts).finalize().into_bytes())
    }

    /// Whether `tag` is the tag of these parts, in constant time.
    pub(crate) fn holds(&self, parts: &[&str], tag: &str) -> bool {
        let mut buffer = [0; 32];
        Base64UrlUnpadded::decode(tag, &mut buffer)
            .is_ok_and(|given| self.mac(parts).verify_slice(given).is_ok())
    }
}

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger(***)")
    }
}

/// The server's secrets beside the message key.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// Authorises the report of one message's outcome.
    pub(crate) report: Tagger,
    /// Ties a form to a session.
    pub(crate) csrf: Tagger,
    /// Ties the sign-in form to the browser that asked for it.
    pub(crate) sign_in: Tagger,
    /// Seals a sign-in on its way, and makes its `state`, `nonce` and verifier.
    pub(crate) flow: Tagger,
}

impl Secrets {
    pub(crate) fn of(key: &MessageKey) -> Self {
        Self {
            report: Tagger(key.derive("outcome report")),
            csrf: Tagger(key.derive("form of a session")),
            sign_in: Tagger(key.derive("sign-in form")),
            flow: Tagger(key.derive("sign-in on its way")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Secrets, hex, random_readable, random_text};
    use crate::token::key::MessageKey;

    #[test]
    fn a_tag_holds_for_its_parts_and_purpose_alone() {
        let secrets = Secrets::of(&MessageKey::generate().unwrap());
        let tag = secrets.report.tag(&["ab", "c"]);
        assert!(secrets.report.holds(&["ab", "c"], &tag));
        let mut altered = tag.clone().into_bytes();
        altered[0] ^= 1;
        for (name, held) in [
            ("other cut", secrets.report.holds(&["a", "bc"], &tag)),
            ("a part less", secrets.report.holds(&["ab"], &tag)),
            ("other purpose", secrets.csrf.holds(&["ab", "c"], &tag)),
            ("cut short", secrets.report.holds(&["ab", "c"], &tag[..42])),
            ("nothing", secrets.report.holds(&["ab", "c"], "")),
            (
                "altered",
                secrets
                    .report
                    .holds(&["ab", "c"], &String::from_utf8(altered).unwrap()),
            ),
        ] {
            assert!(!held, "{name}");
        }
    }

    #[test]
    fn random_texts_have_their_form_and_differ() {
        let (one, two) = (random_text().unwrap(), random_text().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, two);
        let readable = random_readable::<12>().unwrap();
        assert_eq!(readable.len(), 12);
        assert!(!readable.contains(['I', 'L', 'O', 'U']));
        assert_eq!(hex(&[0, 0xaf, 9]), "00af09");
    }
}
