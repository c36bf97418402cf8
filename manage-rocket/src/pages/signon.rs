//! The addresses of signing in at Signon, as gds-sso has them: leaving, coming back,
//! signing out, and the two by which Signon tells of changes. They are there only with
//! that strategy.

use rocket::{
    Request, State,
    data::{Data, ToByteUnit as _},
    get,
    http::{ContentType, CookieJar, Header, Status},
    post, put,
    request::{FromRequest, Outcome},
    response::{Redirect, Responder},
};
use serde_json::json;

use super::{
    Json, NothingTwice, Page,
    errors::after_sign_in,
    sign_in::{go_on, safe_next},
    sign_out,
};
use crate::{
    app::App,
    auth::{
        FromOurForm, SignedIn, Strategy, flow, session,
        signon::{NotTold, Signon, Told},
    },
    error::Failure,
};

/// Longest push, in bytes: a user with all permissions there are is far shorter.
const MAX_PUSH: u64 = 64 * 1024;

fn strategy(app: &App) -> Result<&Signon, Failure> {
    match &app.sign_in {
        Strategy::Signon(signon) => Ok(signon),
        Strategy::Mock { .. } | Strategy::Oidc(_) => Err(Failure::NotFound),
    }
}

#[get("/auth/gds?<next>")]
pub(super) fn begin(
    app: &State<App>,
    jar: &CookieJar<'_>,
    next: Option<&str>,
) -> Result<Redirect, Failure> {
    let signon = strategy(app)?;
    let flow = flow::begin(app, jar, safe_next(next).map(|next| next.to_string()))?;
    Ok(Redirect::to(signon.authorize(app, &flow)?))
}

#[post("/auth/gds?<next>")]
pub(super) fn begin_by_form(
    app: &State<App>,
    jar: &CookieJar<'_>,
    _ours: FromOurForm,
    next: Option<&str>,
) -> Result<Redirect, Failure> {
    begin(app, jar, next)
}

#[get("/auth/gds/callback?<state>&<code>&<error>")]
pub(super) async fn come_back(
    app: &State<App>,
    jar: &CookieJar<'_>,
    _once: NothingTwice,
    state: Option<&str>,
    code: Option<&str>,
    error: Option<&str>,
) -> Result<Result<Redirect, (Status, Page)>, Failure> {
    let signon = strategy(app)?;
    let outcome = async {
        let flow = flow::finish(app, jar, state.unwrap_or_default())?;
        let user = signon.come_back(app, &flow, code, error).await?;
        session::begin(app, jar, user, session::Proof::default()).await?;
        Ok(go_on(flow.next.as_deref()))
    };
    after_sign_in(outcome.await)
}

/// What Signon and its users know as signing out: ends the session here, then leads to
/// Signon's. Another site's link gets a page that asks.
#[get("/auth/gds/sign_out")]
pub(super) async fn leave(
    app: &State<App>,
    jar: &CookieJar<'_>,
    ours: Option<FromOurForm>,
    typed: Typed,
    signed_in: Option<&SignedIn>,
) -> Result<Result<Page, Redirect>, Failure> {
    let signon = strategy(app)?;
    if let (false, None, Some(signed_in)) = (typed.0, ours, signed_in) {
        return sign_out::asking(signed_in).map(Ok);
    }
    session::end(app, jar).await?;
    Ok(Err(Redirect::to(signon.sign_out_address())))
}

/// Whether the address was typed or is a bookmark, as the browser says.
pub(super) struct Typed(bool);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Typed {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        Outcome::Success(Self(
            request.headers().get_one("Sec-Fetch-Site") == Some("none"),
        ))
    }
}

/// The token of `Authorization: Bearer`, where there is exactly one.
pub(super) struct Bearer<'r>(Option<&'r str>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Bearer<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let mut fields = request.headers().get("Authorization");
        let (first, second) = (fields.next(), fields.next());
        let token = first.filter(|_| second.is_none()).and_then(|field| {
            let (scheme, token) = field.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        Outcome::Success(Self(token))
    }
}

/// What Signon hears.
pub(super) enum Heard {
    Taken,
    NotTold(NotTold),
    NotUnderstood(&'static str),
}

impl<'r> Responder<'r, 'static> for Heard {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        let (status, challenge, message) = match self {
            Self::Taken => return (Status::Ok, (ContentType::Plain, "")).respond_to(request),
            Self::NotTold(NotTold::InvalidRequest) => (
                Status::Unauthorized,
                Some("invalid_request"),
                "No bearer token was sent",
            ),
            Self::NotTold(NotTold::InvalidToken) => (
                Status::Unauthorized,
                Some("invalid_token"),
                "Bearer token does not appear to be valid",
            ),
            Self::NotTold(NotTold::NoPermission) => (
                Status::Forbidden,
                None,
                "The token's user has no user_update_permission",
            ),
            Self::NotTold(NotTold::Peer(fault)) => {
                log::warn!(target: crate::logger::TARGET, "a push of Signon: {fault}");
                (Status::ServiceUnavailable, None, "Signon cannot be asked")
            }
            Self::NotUnderstood(message) => (Status::BadRequest, None, message),
        };
        let body = Json::of(&json!({ "message": message }));
        let mut response = (status, body).respond_to(request)?;
        if let Some(error) = challenge {
            let challenge = format!(r#"Bearer error="{error}""#);
            response.set_header(Header::new("WWW-Authenticate", challenge));
        }
        Ok(response)
    }
}

/// Somebody changed: their name, organisation or permissions, or they were suspended.
#[put("/auth/gds/api/users/<uid>", data = "<body>")]
pub(super) async fn update(
    app: &State<App>,
    uid: &str,
    bearer: Bearer<'_>,
    body: Data<'_>,
) -> Result<Heard, Failure> {
    let signon = strategy(app)?;
    if let Err(not_told) = signon.may_tell(app, bearer.0).await {
        return Ok(Heard::NotTold(not_told));
    }
    let body = body.open(MAX_PUSH.bytes()).into_bytes().await;
    let body = body.ok().filter(rocket::data::Capped::is_complete);
    let told = body.and_then(|body| serde_json::from_slice::<Told>(&body).ok());
    let Some(told) = told else {
        return Ok(Heard::NotUnderstood("The body is not a user"));
    };
    if told.user.uid() != uid {
        return Ok(Heard::NotUnderstood("The body is about another user"));
    }
    match signon.take(app, &told.user).await {
        // That somebody may not come in is what was told.
        Ok(_) | Err(Failure::Refused(_)) => Ok(Heard::Taken),
        Err(failure) => Err(failure),
    }
}

/// Somebody must sign in again.
#[post("/auth/gds/api/users/<uid>/reauth")]
pub(super) async fn reauthenticate(
    app: &State<App>,
    uid: &str,
    bearer: Bearer<'_>,
) -> Result<Heard, Failure> {
    let signon = strategy(app)?;
    if let Err(not_told) = signon.may_tell(app, bearer.0).await {
        return Ok(Heard::NotTold(not_told));
    }
    signon.reauthenticate(app, uid).await?;
    Ok(Heard::Taken)
}
