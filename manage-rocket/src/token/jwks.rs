//! The published key set (RFC 7517, RFC 8037): what a gateway's operator fetches to trust
//! this installation. Public halves only.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Serialize;

use super::key::MessageKey;

/// A JSON Web Key Set.
#[derive(Serialize, Debug)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Serialize, Debug)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
}

impl Jwks {
    /// The set of these keys' public halves, in their order.
    pub(crate) fn of(keys: &[&MessageKey]) -> Self {
        let keys = keys.iter().map(|key| Jwk {
            kty: "OKP",
            crv: "Ed25519",
            x: Base64UrlUnpadded::encode_string(&key.public_bytes()),
            kid: key.kid().to_owned(),
            usage: "sig",
            alg: gateway_min::claims::ALG_EDDSA,
        });
        Self {
            keys: keys.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Jwks;
    use crate::token::key::{MessageKey, tests::RFC8037_PEM};

    #[test]
    fn the_key_of_rfc_8037_is_published_as_there() {
        let key = MessageKey::from_pem(RFC8037_PEM).unwrap();
        assert_eq!(
            serde_json::to_string(&Jwks::of(&[&key])).unwrap(),
            concat!(
                r#"{"keys":[{"kty":"OKP","crv":"Ed25519","#,
                r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","#,
                r#""kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","#,
                r#""use":"sig","alg":"EdDSA"}]}"#
            )
        );
    }
}
