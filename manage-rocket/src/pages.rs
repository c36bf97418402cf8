//! The pages: one module and one template each. What they have in common is here: the
//! frame around each page, and how it is answered.

use askama::Template;
use rocket::{
    Request, Route,
    http::ContentType,
    response::{Responder, content::RawHtml},
    routes,
};

use crate::{auth::SignedIn, error::Failure};

mod assets;
mod clinic;
mod clinics;
pub(crate) mod errors;
mod health;
mod jwks;
mod outcomes;
mod session;
mod sign_in;

use assets::Assets;

/// Every route there is.
pub(crate) fn routes() -> Vec<Route> {
    routes![
        assets::asset,
        clinic::page,
        clinic::check_in,
        clinics::home,
        clinics::page,
        health::live,
        health::ready,
        jwks::message_keys,
        outcomes::tell,
        session::state,
        sign_in::page,
        sign_in::sign_in,
        sign_in::sign_out,
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

/// A rendered page.
struct Page(String);

impl Page {
    fn render(template: &impl Template) -> Result<Self, Failure> {
        template.render().map(Self).map_err(Failure::Template)
    }
}

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        RawHtml(self.0).respond_to(request)
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
