//! The pages: one module and one template each. What they have in common is here: the
//! frame around each page, and how it is answered.

use askama::Template;
use rocket::{
    Request, Route,
    http::{ContentType, Status},
    request::{FromRequest, Outcome},
    response::{Responder, content::RawHtml},
    routes,
};

use crate::{auth::SignedIn, error::Failure, headers::FormTarget};

mod assets;
mod bypass_tokens;
mod clinic;
mod clinics;
pub(crate) mod errors;
mod gateways;
mod health;
mod jwks;
mod oidc;
mod outcomes;
mod session;
mod sign_in;
mod sign_out;
mod signon;

use assets::Assets;

/// Every route there is.
pub(crate) fn routes() -> Vec<Route> {
    routes![
        assets::asset,
        bypass_tokens::issue,
        bypass_tokens::page,
        clinic::page,
        clinic::check_in,
        clinics::home,
        clinics::page,
        gateways::page,
        gateways::sign_in,
        health::live,
        health::ready,
        jwks::message_keys,
        jwks::session_keys,
        oidc::back_channel_logout,
        oidc::begin,
        oidc::client_keys,
        oidc::come_back,
        outcomes::tell,
        session::state,
        sign_in::page,
        sign_in::sign_in,
        sign_out::ask,
        sign_out::sign_out,
        signon::begin,
        signon::begin_by_form,
        signon::come_back,
        signon::leave,
        signon::reauthenticate,
        signon::update,
    ]
}

/// What the frame around a page shows.
struct Frame<'a> {
    assets: &'static Assets,
    /// Who is signed in, with their forms' token.
    account: Option<Account<'a>>,
}

struct Account<'a> {
    name: &'a str,
    role: &'a str,
    is_administrator: bool,
    csrf: &'a str,
    secs_left: i64,
}

impl<'a> Frame<'a> {
    fn of(signed_in: &'a SignedIn) -> Self {
        Self {
            assets: Assets::get(),
            account: Some(Account {
                name: &signed_in.person.name,
                role: &signed_in.person.role,
                is_administrator: signed_in.person.is_administrator,
                csrf: &signed_in.csrf,
                secs_left: signed_in.secs_left,
            }),
        }
    }

    fn of_nobody() -> Self {
        Self {
            assets: Assets::get(),
            account: None,
        }
    }
}

/// A rendered page, and the origin that its form leads on to, where that is not ours.
struct Page {
    html: String,
    form_target: Option<String>,
}

impl Page {
    fn render(template: &impl Template) -> Result<Self, Failure> {
        let html = template.render().map_err(Failure::Template)?;
        Ok(Self {
            html,
            form_target: None,
        })
    }
}

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        request.local_cache(|| FormTarget(self.form_target));
        RawHtml(self.html).respond_to(request)
    }
}

/// No parameter of the query stands twice: two readers could read two different ones.
struct NothingTwice;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for NothingTwice {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let mut seen = Vec::new();
        let segments = request.uri().query().map(|query| query.segments());
        for (name, _) in segments.into_iter().flatten() {
            if seen.contains(&name) {
                return Outcome::Error((Status::BadRequest, ()));
            }
            seen.push(name);
        }
        Outcome::Success(Self)
    }
}

/// JSON with its media type.
struct Json(String);

impl Json {
    fn of(value: &serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

impl<'r> Responder<'r, 'static> for Json {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        (ContentType::JSON, self.0).respond_to(request)
    }
}
