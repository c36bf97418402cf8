//! `/.well-known/jwks.json` and `/.well-known/session-jwks.json`: the public keys that
//! messages and session tokens are signed with, for operators who install them at gateways.
//! Two sets, because a gateway must take neither kind of token by the other kind's key.

use rocket::{State, get, http::Header, response::Responder};

use super::Json;
use crate::{
    app::App,
    error::Failure,
    token::{jwks::Jwks, key::MessageKey},
};

#[derive(Responder)]
pub(super) struct Published {
    keys: Json,
    cache: Header<'static>,
}

fn published(keys: &[&MessageKey]) -> Result<Published, Failure> {
    let keys = serde_json::to_string(&Jwks::of(keys));
    Ok(Published {
        keys: Json(keys.map_err(|error| Failure::Template(askama::Error::custom(error)))?),
        cache: Header::new("Cache-Control", "public, max-age=300"),
    })
}

#[get("/.well-known/jwks.json")]
pub(super) fn message_keys(app: &State<App>) -> Result<Published, Failure> {
    published(&[&app.key])
}

/// Empty where there is no session key.
#[get("/.well-known/session-jwks.json")]
pub(super) fn session_keys(app: &State<App>) -> Result<Published, Failure> {
    published(&app.session_key.iter().collect::<Vec<_>>())
}
