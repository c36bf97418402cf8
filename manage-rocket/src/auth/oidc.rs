//! OpenID Connect: discovery, the code flow with PKCE and nonce, the provider's word for a
//! person, and its back-channel logout. Every sign-in asks for a proof of at most twelve
//! hours ago.
//!
//! Refuses an answer of another issuer (RFC 9207), an ID token that is not for this client,
//! this sign-in and now, a `userinfo` of somebody else, and a logout token that could be
//! anything else. A person is who `sub` says, and nobody's e-mail address is looked at.

use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64, Encoding as _};
use gateway_min::UnixTime;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded::byte_serialize};

use self::jose::{Held, Jwks, Unheld};
use super::{
    flow::Flow,
    permissions::Permissions,
    refusal::Refusal,
    session::{LONGEST_SECS, Proof},
};
use crate::{
    app::App,
    config::{AssertionAudience, ClientProof, OidcSettings, is_safe_address},
    db::users::Word,
    error::Failure,
    ids::{OrganisationId, UserId},
    outbound::{Ask, Outbound, PeerFault},
    secret,
};

pub(crate) mod client_key;
mod jose;

/// How far clocks may disagree, in seconds.
const LEEWAY_SECS: u32 = 60;
/// How old discovery may get, in seconds.
const DISCOVERY_SECS: i64 = 3600;
/// How long after the last look, in seconds, keys are looked for again for a `kid` that
/// was not there: strangers name keys, too.
const KEYS_AGAIN_SECS: i64 = 30;
/// Logout tokens remembered while they live.
const LOGOUTS: usize = 1024;
/// What makes a token one of back-channel logout.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The provider, as it describes itself (OpenID Connect Discovery section 3).
#[derive(Deserialize, Clone, Debug)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Default, Debug)]
struct Known {
    metadata: Option<(UnixTime, Arc<Metadata>)>,
    keys: Option<(UnixTime, Arc<Jwks>)>,
    logouts: Vec<(String, UnixTime)>,
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct Oidc {
    settings: Arc<OidcSettings>,
    outbound: Outbound,
    known: Mutex<Known>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    id_token: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, client: &str) -> bool {
        match self {
            Self::One(one) => one == client,
            Self::Many(many) => many.iter().any(|one| one == client),
        }
    }

    const fn is_many(&self) -> bool {
        matches!(self, Self::Many(many) if many.len() > 1)
    }
}

#[derive(Deserialize)]
struct IdToken {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    iat: i64,
    nonce: Option<String>,
    azp: Option<String>,
    auth_time: Option<i64>,
    at_hash: Option<String>,
    sid: Option<String>,
}

#[derive(Deserialize)]
struct LogoutToken {
    iss: String,
    sub: Option<String>,
    aud: Audience,
    exp: i64,
    iat: i64,
    jti: String,
    events: Map<String, Value>,
    sid: Option<String>,
    nonce: Option<Value>,
}

/// The parameters of the way back, each at most once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Callback<'a> {
    pub(crate) code: Option<&'a str>,
    pub(crate) iss: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
}

/// Where the provider sends people back to.
pub(crate) const CALLBACK_PATH: &str = "/auth/oidc/callback";

fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK_PATH}", app.public_url.origin())
}

/// Whether a peer's error code is one: it is shown in the log.
pub(super) fn error_code(code: &str) -> Refusal {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let known = code.len() <= 64 && code.chars().all(plain);
    Refusal::PeerRefused(if known { code } else { "unreadable" }.to_owned())
}

impl Oidc {
    pub(crate) fn new(settings: Arc<OidcSettings>) -> Self {
        Self {
            settings,
            outbound: Outbound::new(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing in there is ever half written.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn metadata(&self, now: UnixTime) -> Result<Arc<Metadata>, PeerFault> {
        if let Some((fetched, metadata)) = &self.known().metadata
            && now.since(*fetched).abs() < DISCOVERY_SECS
        {
            return Ok(Arc::clone(metadata));
        }
        let what = "discovery";
        let issuer = &self.settings.issuer;
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let answer = self.outbound.ask(what, Ask::Get { url, bearer: None });
        let metadata: Metadata = answer.await?.json()?;
        let fault = |detail: &str| PeerFault {
            what,
            phase: "form",
            detail: detail.to_owned(),
        };
        // Another issuer's description must not do (section 4.3).
        if metadata.issuer != *issuer {
            return Err(fault("the issuer is another one"));
        }
        for endpoint in [
            &metadata.authorization_endpoint,
            &metadata.token_endpoint,
            &metadata.userinfo_endpoint,
            &metadata.jwks_uri,
        ] {
            if !is_safe_address(endpoint.split('?').next().unwrap_or_default()) {
                return Err(fault("an endpoint is neither https nor this machine"));
            }
        }
        let metadata = Arc::new(metadata);
        self.known().metadata = Some((now, Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// The address to send a browser to.
    pub(crate) async fn authorize(&self, app: &App, flow: &Flow) -> Result<String, Refusal> {
        let metadata = self.metadata(app.clock.now()).await?;
        let mut url = Url::parse(&metadata.authorization_endpoint).map_err(
            |_checked_before: url::ParseError| Refusal::Answer("authorization_endpoint"),
        )?;
        let settings = &self.settings;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", &settings.client_id)
                .append_pair("response_type", "code")
                .append_pair("redirect_uri", &redirect_uri(app))
                .append_pair("scope", &settings.scopes)
                .append_pair("state", &flow.state)
                .append_pair("nonce", &flow.nonce)
                .append_pair("code_challenge", &flow.challenge())
                .append_pair("code_challenge_method", "S256")
                .append_pair("max_age", &LONGEST_SECS.to_string());
            if let Some(acr_values) = &settings.acr_values {
                query.append_pair("acr_values", acr_values);
            }
            if let Some(prompt) = &settings.prompt {
                query.append_pair("prompt", prompt);
            }
        }
        Ok(url.into())
    }

    /// Judges a token by the published keys, which are looked for again, within reason,
    /// where its key is not among those known.
    async fn hold(&self, token: &str, now: UnixTime) -> Result<Held, Refusal> {
        let cached = self.known().keys.clone();
        if let Some((fetched, keys)) = cached {
            match jose::hold(token, &keys) {
                Ok(held) => return Ok(held),
                Err(Unheld::UnknownKey) if now.since(fetched).abs() >= KEYS_AGAIN_SECS => {}
                Err(Unheld::UnknownKey) => return Err(Refusal::IdToken("unknown key")),
                Err(Unheld::Wrong(detail)) => return Err(Refusal::IdToken(detail)),
            }
        }
        let url = self.metadata(now).await?.jwks_uri.clone();
        let answer = self.outbound.ask("keys", Ask::Get { url, bearer: None });
        let keys: Arc<Jwks> = Arc::new(answer.await?.json()?);
        self.known().keys = Some((now, Arc::clone(&keys)));
        jose::hold(token, &keys).map_err(|unheld| match unheld {
            Unheld::UnknownKey => Refusal::IdToken("unknown key"),
            Unheld::Wrong(detail) => Refusal::IdToken(detail),
        })
    }

    async fn tokens(&self, app: &App, code: &str, flow: &Flow) -> Result<TokenAnswer, Failure> {
        let now = app.clock.now();
        let metadata = self.metadata(now).await.map_err(Refusal::from)?;
        let settings = &self.settings;
        let mut fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", redirect_uri(app)),
            ("code_verifier", flow.verifier.clone()),
        ];
        let basic = match &settings.proof {
            ClientProof::Secret(secret) => Some(basic(&settings.client_id, secret.reveal())),
            ClientProof::Key(key) => {
                let audience = match settings.assertion_audience {
                    AssertionAudience::Issuer => &metadata.issuer,
                    AssertionAudience::TokenEndpoint => &metadata.token_endpoint,
                };
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let assertion = key.assertion(&settings.client_id, audience, now)?;
                fields.push(("client_id", settings.client_id.clone()));
                fields.push(("client_assertion_type", kind.to_owned()));
                fields.push(("client_assertion", assertion));
                None
            }
        };
        let url = metadata.token_endpoint.clone();
        let ask = Ask::Form { url, basic, fields };
        let answer = self.outbound.ask("token", ask).await;
        let answer: TokenAnswer = answer
            .and_then(|answer| answer.json())
            .map_err(Refusal::from)?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Answer("token_type").into());
        }
        Ok(answer)
    }

    /// The rules of OpenID Connect Core section 3.1.3.7.
    fn judge_id_token(
        &self,
        held: &Held,
        access_token: &str,
        nonce: &str,
        now: UnixTime,
    ) -> Result<IdToken, &'static str> {
        let token: IdToken =
            serde_json::from_slice(&held.claims).map_err(|_form: serde_json::Error| "claims")?;
        let client = &self.settings.client_id;
        if !is_type(held, &["JWT"]) {
            return Err("typ");
        }
        if token.iss != self.settings.issuer {
            return Err("iss");
        }
        if !token.aud.names(client) {
            return Err("aud");
        }
        let azp = token.azp.as_ref();
        if azp.is_some_and(|azp| azp != client) || (token.aud.is_many() && azp.is_none()) {
            return Err("azp");
        }
        judge_times(token.iat, token.exp, now)?;
        if !token
            .nonce
            .as_ref()
            .is_some_and(|given| secret::same(given, nonce))
        {
            return Err("nonce");
        }
        // `max_age` was asked for, so it must be there (section 2).
        let proved = UnixTime::from_secs(token.auth_time.ok_or("auth_time")?);
        if now.since(proved) > i64::from(LONGEST_SECS) + i64::from(LEEWAY_SECS) {
            return Err("auth_time");
        }
        let at_hash = token.at_hash.as_ref();
        if at_hash.is_some_and(|hash| !secret::same(hash, &held.half_hash(access_token))) {
            return Err("at_hash");
        }
        if token.sub.is_empty() || token.sub.len() > 255 {
            return Err("sub");
        }
        Ok(token)
    }

    /// Takes the provider's word for whoever comes back, and says what was proved.
    pub(crate) async fn come_back(
        &self,
        app: &App,
        flow: &Flow,
        callback: Callback<'_>,
    ) -> Result<Arrived, Failure> {
        let now = app.clock.now();
        let metadata = self.metadata(now).await.map_err(Refusal::from)?;
        let expected = metadata.authorization_response_iss_parameter_supported;
        match callback.iss {
            Some(iss) if iss != self.settings.issuer => return Err(Refusal::Issuer.into()),
            None if expected => return Err(Refusal::Issuer.into()),
            Some(_) | None => {}
        }
        if let Some(error) = callback.error {
            return Err(error_code(error).into());
        }
        let code = callback.code.ok_or(Refusal::Answer("code"))?;
        let tokens = self.tokens(app, code, flow).await?;
        let held = self.hold(&tokens.id_token, now).await?;
        let token = self
            .judge_id_token(&held, &tokens.access_token, &flow.nonce, now)
            .map_err(Refusal::IdToken)?;
        let claims: Map<String, Value> = serde_json::from_slice(&held.claims)
            .map_err(|_form: serde_json::Error| Refusal::IdToken("claims"))?;
        let ask = Ask::Get {
            url: metadata.userinfo_endpoint.clone(),
            bearer: Some(tokens.access_token),
        };
        let answer = self.outbound.ask("userinfo", ask).await;
        let info: Map<String, Value> = answer
            .and_then(|answer| answer.json())
            .map_err(Refusal::from)?;
        if info.get("sub").and_then(Value::as_str) != Some(&token.sub) {
            return Err(Refusal::Identity("userinfo is about somebody else").into());
        }
        let user = self.admit(app, &token.sub, &[&info, &claims]).await?;
        Ok(Arrived {
            user,
            peer_sid: token.sid.filter(|sid| !sid.is_empty()),
            authenticated: token.auth_time.map(UnixTime::from_secs),
        })
    }

    /// Lets in who may come in, by what the provider says of them.
    async fn admit(
        &self,
        app: &App,
        sub: &str,
        said: &[&Map<String, Value>],
    ) -> Result<UserId, Failure> {
        let settings = &self.settings;
        for (claim, least) in [
            ("id_assurance_level", settings.min_id_assurance),
            (
                "authentication_assurance_level",
                settings.min_authentication_assurance,
            ),
        ] {
            let levels: Vec<u64> = said.iter().filter_map(|m| level(m.get(claim)?)).collect();
            let lowest = levels.iter().min().copied().unwrap_or(0);
            if least.is_some_and(|least| lowest < u64::from(least)) {
                return Err(Refusal::Assurance(claim).into());
            }
        }
        let claim = |name: &str| said.iter().find_map(|claims| claims.get(name));
        let names = texts(claim(&settings.permissions_claim));
        let permissions = Permissions::of(&names);
        if !permissions.may_sign_in {
            app.db.take_permissions("oidc", sub).await?;
            app.db.end_sessions_of("oidc", Some(sub), None).await?;
            return Err(Refusal::NoPermission.into());
        }
        let organisation = organisation(app, &texts(claim(&settings.organisation_claim))).await?;
        let name = claim("name").and_then(Value::as_str).map(str::trim);
        let word = Word {
            uid: sub,
            organisation,
            name: name.filter(|name| !name.is_empty()).unwrap_or(sub),
            role: permissions.role(),
            may_send: permissions.may_send,
            is_administrator: permissions.is_administrator,
            enables: false,
        };
        let user = app.db.take_word("oidc", &word).await?;
        user.ok_or_else(|| Refusal::Disabled.into())
    }

    /// Ends what a logout token says (OpenID Connect Back-Channel Logout section 2.6): one
    /// session by its `sid`, or all of a person's. An error is the claim or rule.
    pub(crate) async fn log_out(&self, app: &App, token: &str) -> Result<u64, Failure> {
        let now = app.clock.now();
        let held = self.hold(token, now).await?;
        let token = self.judge_logout(&held, now).map_err(Refusal::IdToken)?;
        {
            let mut known = self.known();
            known.logouts.retain(|(_, ends)| *ends > now);
            if known.logouts.iter().any(|(jti, _)| *jti == token.jti) {
                return Err(Refusal::IdToken("jti").into());
            }
            if known.logouts.len() >= LOGOUTS {
                known.logouts.remove(0);
            }
            let ends = UnixTime::from_secs(token.exp).plus(LEEWAY_SECS);
            known.logouts.push((token.jti, ends));
        }
        let (sub, sid) = (token.sub.as_deref(), token.sid.as_deref());
        Ok(app.db.end_sessions_of("oidc", sub, sid).await?)
    }

    fn judge_logout(&self, held: &Held, now: UnixTime) -> Result<LogoutToken, &'static str> {
        let token: LogoutToken =
            serde_json::from_slice(&held.claims).map_err(|_form: serde_json::Error| "claims")?;
        if !is_type(held, &["JWT", "logout+jwt"]) {
            return Err("typ");
        }
        if token.iss != self.settings.issuer {
            return Err("iss");
        }
        if !token.aud.names(&self.settings.client_id) {
            return Err("aud");
        }
        judge_times(token.iat, token.exp, now)?;
        if !token.events.get(LOGOUT_EVENT).is_some_and(Value::is_object) {
            return Err("events");
        }
        // An ID token has one: it must not do for a logout.
        if token.nonce.is_some() {
            return Err("nonce");
        }
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        if !named(&token.sub) && !named(&token.sid) {
            return Err("neither sub nor sid");
        }
        Ok(token)
    }

    /// Where people sign out of the provider, too (RP-Initiated Logout section 2).
    pub(crate) async fn sign_out_address(&self, app: &App) -> Option<String> {
        let metadata = self.metadata(app.clock.now()).await.ok()?;
        let endpoint = metadata.end_session_endpoint.as_ref()?;
        if !is_safe_address(endpoint.split('?').next().unwrap_or_default()) {
            return None;
        }
        let mut url = Url::parse(endpoint).ok()?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id);
        Some(url.into())
    }

    /// The key that the provider fetches to judge this client by.
    pub(crate) fn client_jwk(&self) -> Option<Value> {
        match &self.settings.proof {
            ClientProof::Key(key) => Some(key.jwk()),
            ClientProof::Secret(_) => None,
        }
    }
}

/// Somebody who came back signed in.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) user: UserId,
    peer_sid: Option<String>,
    authenticated: Option<UnixTime>,
}

impl Arrived {
    pub(crate) fn proof(&self) -> Proof<'_> {
        Proof {
            peer_sid: self.peer_sid.as_deref(),
            authenticated: self.authenticated,
        }
    }
}

fn is_type(held: &Held, types: &[&str]) -> bool {
    let typ = held.typ.as_deref();
    typ.is_none_or(|typ| types.iter().any(|known| known.eq_ignore_ascii_case(typ)))
}

fn judge_times(iat: i64, exp: i64, now: UnixTime) -> Result<(), &'static str> {
    if now >= UnixTime::from_secs(exp).plus(LEEWAY_SECS) {
        return Err("exp");
    }
    if UnixTime::from_secs(iat) > now.plus(LEEWAY_SECS) {
        return Err("iat");
    }
    Ok(())
}

/// RFC 6749 section 2.3.1: both halves as in a form, then as in RFC 7617.
pub(super) fn basic(id: &str, secret: &str) -> String {
    let half = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    Base64::encode_string(format!("{}:{}", half(id), half(secret)).as_bytes())
}

/// A level is written as a number or as a text of one.
fn level(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A claim that is a text, a list of texts, or a list of objects with an `org_code`, as
/// CIS2 writes a person's organisations.
fn texts(claim: Option<&Value>) -> Vec<String> {
    let one = |value: &Value| {
        let text = value.as_str().or_else(|| value.get("org_code")?.as_str());
        text.map(str::to_owned)
    };
    match claim {
        Some(Value::Array(many)) => many.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The one organisation of these that uses this service.
async fn organisation(app: &App, names: &[String]) -> Result<OrganisationId, Failure> {
    let mut found = None;
    for name in names {
        if let Some(organisation) = app.db.organisation(name).await? {
            if found.is_some_and(|before| before != organisation) {
                return Err(Refusal::NoOrganisation.into());
            }
            found = Some(organisation);
        }
    }
    found.ok_or_else(|| Refusal::NoOrganisation.into())
}
