//! GOV.UK Signon: OAuth 2 with PKCE as gds-sso does it, `/user.json`, and the two endpoints
//! by which Signon tells that somebody changed or must sign in again.
//!
//! A person is who `uid` says. gds-sso falls back to the e-mail address, and so gives an
//! account to whoever is given the address next: not here. Refuses people without the
//! permission `signin`, suspended ones, and organisations that do not use this service.

use std::sync::{Arc, Mutex, PoisonError};

use gateway_min::UnixTime;
use serde::Deserialize;
use url::Url;

use super::{
    flow::Flow,
    oidc,
    permissions::{Permissions, USER_UPDATE},
    refusal::Refusal,
};
use crate::{
    app::App,
    config::SignonSettings,
    db::users::Word,
    error::Failure,
    ids::{OrganisationId, UserId},
    outbound::{Ask, Outbound, PeerFault},
    secret,
};

/// How long a bearer token's judgement is kept, in seconds, as gds-sso keeps it.
const BEARER_SECS: u32 = 300;
/// Judgements kept.
const BEARERS: usize = 64;

/// Where Signon sends people back to.
pub(crate) const CALLBACK_PATH: &str = "/auth/gds/callback";

/// What Signon says of somebody. There is more; it is not needed here.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct User {
    uid: String,
    name: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
    organisation_slug: Option<String>,
    organisation_content_id: Option<String>,
    #[serde(default)]
    disabled: bool,
}

/// `{"user": …}`, as `/user.json` answers and Signon's pushes have it.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) user: User,
}

impl User {
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
}

/// Why a push is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotTold {
    /// No bearer token, or not readable.
    InvalidRequest,
    /// Signon does not know it.
    InvalidToken,
    /// Its user may not tell.
    NoPermission,
    /// Signon cannot be asked.
    Peer(PeerFault),
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct Signon {
    settings: Arc<SignonSettings>,
    outbound: Outbound,
    /// The SHA-256 of bearer tokens that were found good, until when.
    bearers: Mutex<Vec<(String, bool, UnixTime)>>,
}

impl Signon {
    pub(crate) fn new(settings: Arc<SignonSettings>) -> Self {
        Self {
            settings,
            outbound: Outbound::new(),
            bearers: Mutex::default(),
        }
    }

    /// The address to send a browser to. Signon takes no scope.
    pub(crate) fn authorize(&self, app: &App, flow: &Flow) -> Result<String, Refusal> {
        let settings = &self.settings;
        let mut url = Url::parse(&format!("{}/oauth/authorize", settings.url))
            .map_err(|_checked_before: url::ParseError| Refusal::Answer("address"))?;
        url.query_pairs_mut()
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &redirect_uri(app))
            .append_pair("response_type", "code")
            .append_pair("state", &flow.state)
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Where people sign out of Signon, too.
    pub(crate) fn sign_out_address(&self) -> String {
        format!("{}/users/sign_out", self.settings.url)
    }

    async fn user(&self, token: String) -> Result<User, PeerFault> {
        let mut url = Url::parse(&format!("{}/user.json", self.settings.url)).map_err(
            |_checked_before: url::ParseError| PeerFault {
                what: "user.json",
                phase: "address",
                detail: String::new(),
            },
        )?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id);
        let ask = Ask::Get {
            url: url.into(),
            bearer: Some(token),
        };
        let told: Told = self.outbound.ask("user.json", ask).await?.json()?;
        Ok(told.user)
    }

    /// Takes Signon's word for whoever comes back.
    pub(crate) async fn come_back(
        &self,
        app: &App,
        flow: &Flow,
        code: Option<&str>,
        error: Option<&str>,
    ) -> Result<UserId, Failure> {
        if let Some(error) = error {
            return Err(oidc::error_code(error).into());
        }
        let code = code.ok_or(Refusal::Answer("code"))?;
        let settings = &self.settings;
        let ask = Ask::Form {
            url: format!("{}/oauth/access_token", settings.url),
            basic: Some(oidc::basic(
                &settings.client_id,
                settings.client_secret.reveal(),
            )),
            fields: vec![
                ("grant_type", "authorization_code".to_owned()),
                ("code", code.to_owned()),
                ("redirect_uri", redirect_uri(app)),
                ("code_verifier", flow.verifier.clone()),
            ],
        };
        let answer = self.outbound.ask("access_token", ask).await;
        let answer: TokenAnswer = answer
            .and_then(|answer| answer.json())
            .map_err(Refusal::from)?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Answer("token_type").into());
        }
        let user = self
            .user(answer.access_token)
            .await
            .map_err(Refusal::from)?;
        self.take(app, &user).await
    }

    /// Takes Signon's word for a person: lets them in, or out.
    pub(crate) async fn take(&self, app: &App, user: &User) -> Result<UserId, Failure> {
        if user.uid.is_empty() || user.uid.len() > 255 {
            return Err(Refusal::Identity("uid").into());
        }
        let permissions = Permissions::of(&user.permissions);
        let organisation = organisation(app, user).await?;
        let refusal = match organisation {
            _ if user.disabled => Refusal::Disabled,
            _ if !permissions.may_sign_in => Refusal::NoPermission,
            None => Refusal::NoOrganisation,
            Some(organisation) => {
                let name = user.name.as_deref().map(str::trim);
                let word = Word {
                    uid: &user.uid,
                    organisation,
                    name: name.filter(|name| !name.is_empty()).unwrap_or(&user.uid),
                    role: permissions.role(),
                    may_send: permissions.may_send,
                    is_administrator: permissions.is_administrator,
                    enables: true,
                };
                let taken = app.db.take_word("signon", &word).await?;
                return taken.ok_or_else(|| Refusal::Disabled.into());
            }
        };
        // Whoever may not come in any more is out of every session at once.
        app.db.disable("signon", &user.uid).await?;
        app.db
            .end_sessions_of("signon", Some(&user.uid), None)
            .await?;
        Err(refusal.into())
    }

    /// Ends every session of a person: they must sign in again.
    pub(crate) async fn reauthenticate(&self, app: &App, uid: &str) -> Result<(), Failure> {
        app.db.end_sessions_of("signon", Some(uid), None).await?;
        Ok(())
    }

    /// Whether a bearer token's user may tell of changes. Signon judges it; a good one is
    /// remembered for five minutes, as gds-sso does.
    pub(crate) async fn may_tell(&self, app: &App, bearer: Option<&str>) -> Result<(), NotTold> {
        let token = bearer.ok_or(NotTold::InvalidRequest)?;
        let sound = |b: u8| b.is_ascii_graphic();
        if token.is_empty() || token.len() > 2048 || !token.bytes().all(sound) {
            return Err(NotTold::InvalidRequest);
        }
        let now = app.clock.now();
        let hash = secret::sha256_hex(token);
        let remembered = self.remembered(&hash, now);
        let may = if let Some(may) = remembered {
            may
        } else {
            let user = self.user(token.to_owned()).await.map_err(|fault| {
                // Signon's own no; everything else is a fault of the way.
                if fault.phase == "status" && fault.detail.starts_with("401") {
                    NotTold::InvalidToken
                } else {
                    NotTold::Peer(fault)
                }
            })?;
            let may = !user.disabled && user.permissions.iter().any(|name| name == USER_UPDATE);
            let mut bearers = self.bearers();
            if bearers.len() >= BEARERS {
                bearers.remove(0);
            }
            bearers.push((hash, may, now.plus(BEARER_SECS)));
            may
        };
        may.then_some(()).ok_or(NotTold::NoPermission)
    }

    fn bearers(&self) -> std::sync::MutexGuard<'_, Vec<(String, bool, UnixTime)>> {
        // Nothing in there is ever half written.
        self.bearers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, hash: &str, now: UnixTime) -> Option<bool> {
        let mut bearers = self.bearers();
        bearers.retain(|(_, _, until)| *until > now);
        let mut found = bearers
            .iter()
            .filter(|(known, ..)| secret::same(known, hash));
        found.next().map(|(_, may, _)| *may)
    }
}

fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK_PATH}", app.public_url.origin())
}

async fn organisation(app: &App, user: &User) -> Result<Option<OrganisationId>, Failure> {
    for name in [&user.organisation_content_id, &user.organisation_slug] {
        if let Some(name) = name
            && let Some(found) = app.db.organisation(name).await?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
