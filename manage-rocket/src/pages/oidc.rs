//! The addresses of signing in by OpenID Connect: leaving, coming back, the provider's
//! logout of a session, and the public key it judges this client by. They are there only
//! with that strategy.

use rocket::{
    FromForm, State,
    form::Form,
    get,
    http::{CookieJar, Header, Status},
    post,
    response::{Redirect, Responder},
};
use serde_json::json;

use super::{
    Json, NothingTwice, Page,
    errors::after_sign_in,
    sign_in::{go_on, safe_next},
};
use crate::{
    app::App,
    auth::{
        Strategy, flow,
        oidc::{Callback, Oidc},
        session,
    },
    error::Failure,
};

fn strategy(app: &App) -> Result<&Oidc, Failure> {
    match &app.sign_in {
        Strategy::Oidc(oidc) => Ok(oidc),
        Strategy::Mock { .. } | Strategy::Signon(_) => Err(Failure::NotFound),
    }
}

#[get("/auth/oidc?<next>")]
pub(super) async fn begin(
    app: &State<App>,
    jar: &CookieJar<'_>,
    next: Option<&str>,
) -> Result<Redirect, Failure> {
    let oidc = strategy(app)?;
    let flow = flow::begin(app, jar, safe_next(next).map(|next| next.to_string()))?;
    Ok(Redirect::to(oidc.authorize(app, &flow).await?))
}

#[get("/auth/oidc/callback?<state>&<code>&<iss>&<error>")]
pub(super) async fn come_back(
    app: &State<App>,
    jar: &CookieJar<'_>,
    _once: NothingTwice,
    state: Option<&str>,
    code: Option<&str>,
    iss: Option<&str>,
    error: Option<&str>,
) -> Result<Result<Redirect, (Status, Page)>, Failure> {
    let oidc = strategy(app)?;
    let outcome = async {
        let flow = flow::finish(app, jar, state.unwrap_or_default())?;
        let callback = Callback { code, iss, error };
        let arrived = oidc.come_back(app, &flow, callback).await?;
        session::begin(app, jar, arrived.user, arrived.proof()).await?;
        Ok(go_on(flow.next.as_deref()))
    };
    after_sign_in(outcome.await)
}

#[derive(FromForm)]
pub(super) struct Logout<'r> {
    logout_token: &'r str,
}

#[derive(Responder)]
pub(super) struct LogoutAnswer {
    body: (Status, Json),
    cache: Header<'static>,
}

/// Called by the provider, not by a browser: what it says is believed by its signature.
#[post("/auth/oidc/back-channel-logout", data = "<form>")]
pub(super) async fn back_channel_logout(
    app: &State<App>,
    form: Form<Logout<'_>>,
) -> Result<LogoutAnswer, Failure> {
    let oidc = strategy(app)?;
    let body = match oidc.log_out(app, form.logout_token).await {
        Ok(ended) => {
            log::info!(target: crate::logger::TARGET, "the sign-in service ended {ended} sessions");
            (Status::Ok, Json::of(&json!({})))
        }
        Err(Failure::Refused(refusal)) => {
            log::warn!(target: crate::logger::TARGET, "no back-channel logout: {refusal}");
            let error = json!({ "error": "invalid_request" });
            (Status::BadRequest, Json::of(&error))
        }
        Err(failure) => return Err(failure),
    };
    Ok(LogoutAnswer {
        body,
        cache: Header::new("Cache-Control", "no-store"),
    })
}

#[get("/auth/oidc/jwks")]
pub(super) fn client_keys(app: &State<App>) -> Result<Json, Failure> {
    let keys: Vec<_> = strategy(app)?.client_jwk().into_iter().collect();
    Ok(Json::of(&json!({ "keys": keys })))
}
