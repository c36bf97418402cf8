//! Who is asking, as arguments of a handler: [`SignedIn`], [`MaySend`] and
//! [`Administrator`]; and whether a request comes from a page of ours: [`FromOurForm`], [`FromOurScript`]. A handler without
//! one of these is open to everyone.
//!
//! Not signed in is 401, which the catcher turns into a redirect to sign in. Signed in but
//! not allowed is 403. Another site's request is 403 before anything is read.

use rocket::{
    Request,
    http::Status,
    request::{FromRequest, Outcome},
};

use gateway_min::UnixTime;

use crate::{app::App, config::SignIn, db::users::Person, error::Failure};

pub(crate) mod flow;
pub(crate) mod mock;
pub(crate) mod oidc;
pub(crate) mod permissions;
pub(crate) mod refusal;
pub(crate) mod session;
pub(crate) mod signon;

/// How people sign in here.
#[derive(Debug)]
pub(crate) enum Strategy {
    Mock { nobody: bool },
    Signon(signon::Signon),
    Oidc(oidc::Oidc),
}

impl Strategy {
    pub(crate) fn of(settings: &SignIn) -> Self {
        match settings {
            SignIn::Mock { nobody } => Self::Mock { nobody: *nobody },
            SignIn::Signon(settings) => Self::Signon(signon::Signon::new(settings.clone())),
            SignIn::Oidc(settings) => Self::Oidc(oidc::Oidc::new(settings.clone())),
        }
    }

    /// As users of this strategy are stored.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Mock { .. } => "mock",
            Self::Signon(_) => "signon",
            Self::Oidc(_) => "oidc",
        }
    }

    /// Whether nobody is signed in, whatever their cookie says.
    pub(crate) const fn is_nobody(&self) -> bool {
        matches!(self, Self::Mock { nobody: true })
    }
}

/// Somebody is signed in, and this request counts as activity.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) person: Person,
    /// What forms of this session carry.
    pub(crate) csrf: String,
    /// Seconds until the session idles out or ends, if nothing happens.
    pub(crate) secs_left: i64,
    /// What gateways are told of this session.
    pub(crate) public_id: String,
    /// When the person proved who they are.
    pub(crate) authenticated: UnixTime,
    /// When the session ends in any case.
    pub(crate) ends: UnixTime,
}

impl SignedIn {
    /// Whether a form is of this session, in constant time.
    pub(crate) fn check_form(&self, csrf: &str) -> Result<(), Failure> {
        use subtle::ConstantTimeEq as _;
        if bool::from(self.csrf.as_bytes().ct_eq(csrf.as_bytes())) {
            Ok(())
        } else {
            Err(Failure::Forbidden)
        }
    }
}

/// The managed state, which `rocket()` always attaches.
#[expect(
    clippy::expect_used,
    reason = "rocket() manages it before any request can arrive"
)]
pub(crate) fn app<'r>(request: &'r Request<'_>) -> &'r App {
    request.rocket().state::<App>().expect("App is managed")
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r SignedIn {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        // Once for each request, however many guards ask.
        let found = request
            .local_cache_async(async { session::of_request(app(request), request).await })
            .await;
        match found {
            Ok(Some(signed_in)) => Outcome::Success(signed_in),
            Ok(None) => Outcome::Forward(Status::Unauthorized),
            Err(()) => Outcome::Error((Status::InternalServerError, ())),
        }
    }
}

/// Somebody is signed in who may send messages for their organisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaySend<'r>(pub(crate) &'r SignedIn);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for MaySend<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match <&SignedIn>::from_request(request).await {
            Outcome::Success(signed_in) if signed_in.person.may_send => {
                Outcome::Success(Self(signed_in))
            }
            Outcome::Success(_) => Outcome::Error((Status::Forbidden, ())),
            Outcome::Error(error) => Outcome::Error(error),
            Outcome::Forward(status) => Outcome::Forward(status),
        }
    }
}

/// Somebody is signed in who administers their organisation's gateways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Administrator<'r>(pub(crate) &'r SignedIn);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Administrator<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match <&SignedIn>::from_request(request).await {
            Outcome::Success(signed_in) if signed_in.person.is_administrator => {
                Outcome::Success(Self(signed_in))
            }
            Outcome::Success(_) => Outcome::Error((Status::Forbidden, ())),
            Outcome::Error(error) => Outcome::Error(error),
            Outcome::Forward(status) => Outcome::Forward(status),
        }
    }
}

/// What a request says of the page it was made by.
fn is_same_origin(request: &Request<'_>, null_may_be_ours: bool) -> bool {
    let ours = app(request).public_url.origin();
    let site = request.headers().get_one("Sec-Fetch-Site");
    let site_is_ours = site.is_none_or(|site| site == "same-origin");
    let origin_is_ours = match request.headers().get_one("Origin") {
        None => true,
        // `Referrer-Policy: no-referrer` makes browsers write `null` for our own forms
        // (Fetch section 3.2). Sec-Fetch-Site then tells; where a browser sends none
        // (plain HTTP, not localhost) the form's token has to.
        Some("null") => null_may_be_ours,
        Some(origin) => origin == ours,
    };
    site_is_ours && origin_is_ours
}

/// A form's request: not another site's. The form's own token is checked besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromOurForm;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for FromOurForm {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        if is_same_origin(request, true) {
            Outcome::Success(Self)
        } else {
            Outcome::Error((Status::Forbidden, ()))
        }
    }
}

/// A script's request: not another site's. What it carries is checked besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromOurScript;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for FromOurScript {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        if is_same_origin(request, false) {
            Outcome::Success(Self)
        } else {
            Outcome::Error((Status::Forbidden, ()))
        }
    }
}
