//! `/session`: whether this browser is still signed in, so that an open page can say
//! plainly when it is not. Asking does not keep a session alive.

use rocket::{State, get, http::CookieJar};
use serde_json::json;

use super::Json;
use crate::{app::App, auth::session, error::Failure};

#[get("/session")]
pub(super) async fn state(app: &State<App>, jar: &CookieJar<'_>) -> Result<Json, Failure> {
    let secs_left = session::secs_left(app, jar).await?;
    Ok(Json::of(&json!({ "signed_in_secs": secs_left })))
}
