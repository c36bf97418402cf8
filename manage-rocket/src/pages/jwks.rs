//! `/.well-known/jwks.json`: the public keys that messages are signed with, for operators
//! who install them at gateways.

use rocket::{State, get, http::Header, response::Responder};

use super::Json;
use crate::{app::App, error::Failure, token::jwks::Jwks};

#[derive(Responder)]
pub(super) struct Published {
    keys: Json,
    cache: Header<'static>,
}

#[get("/.well-known/jwks.json")]
pub(super) fn message_keys(app: &State<App>) -> Result<Published, Failure> {
    let keys = serde_json::to_string(&Jwks::of(&[&app.key]));
    Ok(Published {
        keys: Json(keys.map_err(|error| Failure::Template(askama::Error::custom(error)))?),
        cache: Header::new("Cache-Control", "public, max-age=300"),
    })
}
