//! How people sign in, as `MANAGE_SIGN_IN` and each strategy's own settings say it. Refuses
//! a strategy that is half set up, settings of a strategy that is not chosen, a sign-in
//! service or an installation that is reached over plain HTTP (but for this very machine),
//! and the mock in a release build unless it is asked for by name.

use std::{fmt, sync::Arc};

use url::Url;
use zeroize::Zeroizing;

use super::{Build, ConfigError, PublicUrl, Settings, files, switch, wrong};
use crate::auth::oidc::client_key::ClientKey;

/// How people sign in.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// By choosing a person from a list: for development and demonstrations alone.
    Mock {
        /// `GDS_SSO_MOCK_INVALID`: nobody can sign in, to try out what strangers see.
        nobody: bool,
    },
    /// At a GOV.UK Signon.
    Signon(Arc<SignonSettings>),
    /// At an OpenID Connect provider.
    Oidc(Arc<OidcSettings>),
}

/// A secret that does not print.
#[derive(Clone)]
pub(crate) struct Hidden(Zeroizing<String>);

impl Hidden {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What Signon is told and believed.
#[derive(Debug)]
pub struct SignonSettings {
    /// `MANAGE_SIGNON_URL`, without a slash at its end.
    pub(crate) url: String,
    /// `GDS_SSO_OAUTH_ID`.
    pub(crate) client_id: String,
    /// `GDS_SSO_OAUTH_SECRET`.
    pub(crate) client_secret: Hidden,
}

/// How this installation proves itself to the provider.
#[derive(Debug)]
pub(crate) enum ClientProof {
    /// `client_secret_basic`.
    Secret(Hidden),
    /// `private_key_jwt` with RS512.
    Key(Box<ClientKey>),
}

/// What stands in the `aud` of a client assertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AssertionAudience {
    Issuer,
    TokenEndpoint,
}

/// What the OpenID Connect provider is told and believed.
#[derive(Debug)]
pub struct OidcSettings {
    /// `MANAGE_OIDC_ISSUER`, exactly.
    pub(crate) issuer: String,
    /// `MANAGE_OIDC_CLIENT_ID`.
    pub(crate) client_id: String,
    pub(crate) proof: ClientProof,
    /// `MANAGE_OIDC_ASSERTION_AUDIENCE`.
    pub(crate) assertion_audience: AssertionAudience,
    /// `MANAGE_OIDC_SCOPES`.
    pub(crate) scopes: String,
    /// `MANAGE_OIDC_ACR_VALUES`.
    pub(crate) acr_values: Option<String>,
    /// `MANAGE_OIDC_PROMPT`.
    pub(crate) prompt: Option<String>,
    /// `MANAGE_OIDC_ORGANISATION_CLAIM`.
    pub(crate) organisation_claim: String,
    /// `MANAGE_OIDC_PERMISSIONS_CLAIM`.
    pub(crate) permissions_claim: String,
    /// `MANAGE_OIDC_MIN_ID_ASSURANCE`.
    pub(crate) min_id_assurance: Option<u8>,
    /// `MANAGE_OIDC_MIN_AUTHENTICATION_ASSURANCE`.
    pub(crate) min_authentication_assurance: Option<u8>,
}

const SIGNON_URL: &str = "MANAGE_SIGNON_URL";
const OAUTH_ID: &str = "GDS_SSO_OAUTH_ID";
const OAUTH_SECRET: &str = "GDS_SSO_OAUTH_SECRET";
const OIDC_ISSUER: &str = "MANAGE_OIDC_ISSUER";
const CLIENT_SECRET: &str = "MANAGE_OIDC_CLIENT_SECRET";
const CLIENT_KEY: &str = "MANAGE_OIDC_CLIENT_KEY";

/// An address that secrets and sign-ins may go to: HTTPS, or this very machine. Without
/// query, fragment, user or password.
pub(crate) fn is_safe_address(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let here = matches!(
        url.host_str(),
        Some("localhost" | "127.0.0.1" | "[::1]" | "::1")
    );
    let scheme = url.scheme();
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain && url.has_host() && (scheme == "https" || (scheme == "http" && here))
}

fn required(settings: &Settings, name: &'static str) -> Result<String, ConfigError> {
    match settings.get(name) {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        Some(_) => Err(wrong(name, "is empty")),
        None => Err(wrong(name, "is not set")),
    }
}

fn peer_address(settings: &Settings, name: &'static str) -> Result<String, ConfigError> {
    let text = required(settings, name)?;
    if is_safe_address(&text) {
        Ok(text)
    } else {
        Err(wrong(
            name,
            "must be an https:// address without query (http:// only for this very machine)",
        ))
    }
}

fn signon(settings: &Settings) -> Result<SignIn, ConfigError> {
    let url = peer_address(settings, SIGNON_URL)?;
    let secret = files::secret(settings, OAUTH_SECRET, "GDS_SSO_OAUTH_SECRET_FILE")?;
    Ok(SignIn::Signon(Arc::new(SignonSettings {
        url: url.trim_end_matches('/').to_owned(),
        client_id: required(settings, OAUTH_ID)?,
        client_secret: Hidden(secret.ok_or_else(|| wrong(OAUTH_SECRET, "is not set"))?),
    })))
}

fn level(settings: &Settings, name: &'static str) -> Result<Option<u8>, ConfigError> {
    let Some(text) = settings.get(name) else {
        return Ok(None);
    };
    let level = text
        .parse()
        .ok()
        .filter(|level| (1..=9).contains(level) && text.len() == 1);
    level
        .map(Some)
        .ok_or_else(|| wrong(name, "must be a level from 1 to 9"))
}

fn oidc(settings: &Settings) -> Result<SignIn, ConfigError> {
    let issuer = peer_address(settings, OIDC_ISSUER)?;
    let secret = files::secret(settings, CLIENT_SECRET, "MANAGE_OIDC_CLIENT_SECRET_FILE")?;
    let key = files::pem(settings, CLIENT_KEY, "MANAGE_OIDC_CLIENT_KEY_FILE")?;
    let proof = match (secret, key) {
        (Some(secret), None) => ClientProof::Secret(Hidden(secret)),
        (None, Some((setting, pem))) => {
            let key = ClientKey::from_pem(&pem).map_err(|fault| wrong(setting, fault))?;
            ClientProof::Key(Box::new(key))
        }
        (Some(_), Some(_)) => {
            let problem = format!("and {CLIENT_KEY} are both set; set one");
            return Err(wrong(CLIENT_SECRET, problem));
        }
        (None, None) => {
            let problem = format!("is not set, and {CLIENT_SECRET} neither; set one");
            return Err(wrong(CLIENT_KEY, problem));
        }
    };
    let audience = "MANAGE_OIDC_ASSERTION_AUDIENCE";
    let assertion_audience = match settings.get(audience) {
        None | Some("issuer") => AssertionAudience::Issuer,
        Some("token_endpoint") => AssertionAudience::TokenEndpoint,
        Some(_) => return Err(wrong(audience, "must be issuer or token_endpoint")),
    };
    let scopes_name = "MANAGE_OIDC_SCOPES";
    let scopes = settings.get(scopes_name).unwrap_or("openid profile");
    if !scopes.split(' ').any(|scope| scope == "openid") {
        return Err(wrong(scopes_name, "must have openid among them"));
    }
    let or = |name: &str, default: &str| settings.get(name).unwrap_or(default).to_owned();
    Ok(SignIn::Oidc(Arc::new(OidcSettings {
        issuer,
        client_id: required(settings, "MANAGE_OIDC_CLIENT_ID")?,
        proof,
        assertion_audience,
        scopes: scopes.to_owned(),
        acr_values: settings.get("MANAGE_OIDC_ACR_VALUES").map(str::to_owned),
        prompt: settings.get("MANAGE_OIDC_PROMPT").map(str::to_owned),
        organisation_claim: or("MANAGE_OIDC_ORGANISATION_CLAIM", "organisation"),
        permissions_claim: or("MANAGE_OIDC_PERMISSIONS_CLAIM", "permissions"),
        min_id_assurance: level(settings, "MANAGE_OIDC_MIN_ID_ASSURANCE")?,
        min_authentication_assurance: level(settings, "MANAGE_OIDC_MIN_AUTHENTICATION_ASSURANCE")?,
    })))
}

/// The strategy's name and the setting that says it. `GDS_SSO_STRATEGY` is what people who
/// come from GOV.UK set; `real` means Signon there.
fn strategy(settings: &Settings) -> Result<(&'static str, &'static str), ConfigError> {
    const OURS: &str = "MANAGE_SIGN_IN";
    const THEIRS: &str = "GDS_SSO_STRATEGY";
    let ours = match settings.get(OURS) {
        None => None,
        Some("mock") => Some("mock"),
        Some("signon") => Some("signon"),
        Some("oidc") => Some("oidc"),
        Some(_) => return Err(wrong(OURS, "must be mock, signon or oidc")),
    };
    let theirs = match settings.get(THEIRS) {
        None => None,
        Some("mock") => Some("mock"),
        Some("real") => Some("signon"),
        Some(_) => return Err(wrong(THEIRS, "must be mock or real")),
    };
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(wrong(
            THEIRS,
            format!("says {theirs}, and {OURS} says {ours}"),
        )),
        (Some(name), _) => Ok((name, OURS)),
        (None, Some(name)) => Ok((name, THEIRS)),
        (None, None) => Err(wrong(OURS, "is not set; there are: mock, signon, oidc")),
    }
}

/// Reads the strategy and its settings.
pub(super) fn read(
    settings: &Settings,
    public_url: &PublicUrl,
    build: Build,
) -> Result<SignIn, ConfigError> {
    let allow = "MANAGE_ALLOW_MOCK_SIGN_IN";
    let allow_mock = switch(allow, settings.get(allow))?;
    let (name, setting) = strategy(settings)?;
    if name != "oidc" {
        settings.refuse_prefix("MANAGE_OIDC_", "is a setting of MANAGE_SIGN_IN=oidc")?;
    }
    if name != "signon" {
        settings.refuse_prefix(SIGNON_URL, "is a setting of MANAGE_SIGN_IN=signon")?;
    }
    if name != "mock" && !public_url.is_confidential() {
        return Err(wrong(
            "MANAGE_PUBLIC_URL",
            "must be https:// for signing in (http:// only for this very machine)",
        ));
    }
    match name {
        "signon" => signon(settings),
        "oidc" => oidc(settings),
        _ if build == Build::Release && !allow_mock => Err(wrong(
            setting,
            "is mock, with which anyone can be anyone; a release build needs MANAGE_ALLOW_MOCK_SIGN_IN=1 for it",
        )),
        _ => Ok(SignIn::Mock {
            nobody: settings
                .get("GDS_SSO_MOCK_INVALID")
                .is_some_and(|text| !text.is_empty()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_safe_address;

    #[test]
    fn secrets_go_nowhere_in_the_clear() {
        for (text, safe) in [
            ("https://signon.example", true),
            ("https://op.example/realms/nhs", true),
            ("http://localhost:9000", true),
            ("http://127.0.0.1:9000/x", true),
            ("http://[::1]:9000", true),
            ("http://signon.example", false),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("https://user:word@op.example", false),
            ("https://op.example/?x=1", false),
            ("https://op.example/#x", false),
            ("ftp://op.example", false),
            ("op.example", false),
            ("", false),
        ] {
            assert_eq!(is_safe_address(text), safe, "{text}");
        }
    }
}
