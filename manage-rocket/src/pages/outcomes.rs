//! `POST /outcomes`: the page tells what came back for a message. Authorised by the
//! message's own report token (`crate::report`), with or without a session;
//! kept append-only, as a browser's word.

use gateway_min::UnixTime;
use rocket::{
    Data, State,
    data::ToByteUnit as _,
    http::{ContentType, CookieJar, Status},
    post,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Json,
    clinic::{note, routed},
};
use crate::{
    app::App,
    auth::{FromOurScript, session},
    db::outcomes::{Keeping, Report},
    error::Failure,
    ids::Jti,
    outcome::{Outcome, is_sent},
    report,
};

/// Longest body, in bytes: an id, a token and a few words need less than 400.
const MAX_BODY: u64 = 2048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told<'a> {
    jti: &'a str,
    token: &'a str,
    outcome: &'a str,
    routed: Option<bool>,
}

/// An answer that nothing was kept: why, for the script's author.
fn refused(status: Status, why: &'static str) -> (Status, Json) {
    (
        status,
        Json::of(&json!({ "recorded": false, "error": why })),
    )
}

/// Reads and judges a report, in the order of what it costs.
fn judge(app: &App, body: &str, now: UnixTime) -> Result<Report, (Status, Json)> {
    let told: Told<'_> = serde_json::from_str(body)
        .map_err(|_its_text_is_not_ours: serde_json::Error| refused(Status::BadRequest, "body"))?;
    let jti = Jti::parse(told.jti).map_err(|_not_an_id| refused(Status::BadRequest, "jti"))?;
    let by = report::reporter(&app.secrets.report, jti, told.token, now)
        .ok_or_else(|| refused(Status::Forbidden, "report_token"))?;
    let outcome = Outcome::parse(told.outcome)
        .ok_or_else(|| refused(Status::UnprocessableEntity, "outcome"))?;
    Ok(Report {
        jti,
        by,
        at: now,
        outcome,
        routed: told.routed,
    })
}

#[post("/outcomes", data = "<body>")]
pub(super) async fn tell(
    app: &State<App>,
    _ours: FromOurScript,
    content_type: Option<&ContentType>,
    jar: &CookieJar<'_>,
    body: Data<'_>,
) -> Result<(Status, Json), Failure> {
    if content_type.is_none_or(|given| !given.is_json()) {
        return Ok(refused(Status::UnsupportedMediaType, "content_type"));
    }
    let body = match body.open(MAX_BODY.bytes()).into_string().await {
        Ok(body) if body.is_complete() => body.into_inner(),
        Ok(_) => return Ok(refused(Status::PayloadTooLarge, "body")),
        Err(_) => return Ok(refused(Status::BadRequest, "body")),
    };
    let now = app.clock.now();
    let report = match judge(app, &body, now) {
        Ok(report) => report,
        Err(refused) => return Ok(refused),
    };
    match app.db.keep_outcome(&report).await? {
        Keeping::Kept => {}
        Keeping::Full => return Ok(refused(Status::TooManyRequests, "too_many")),
        Keeping::NoSuchMessage => return Ok(refused(Status::NotFound, "jti")),
    }
    let told = app.db.outcomes_of(report.jti).await?;
    let zone = app.db.zone_of(report.jti).await?;
    let answer = json!({
        "recorded": true,
        "note": note(&told, now, &zone),
        "sent": is_sent(told.iter().map(|kept| (&kept.outcome, kept.routed))),
        // What this answer of the gateway alone may not have said.
        "no_further": routed(&told) == Some(false),
        // Whoever clicks is there: a clinic's clicks keep its session alive.
        "signed_in_secs": session::note_activity(app, jar).await?,
    });
    Ok((Status::Ok, Json::of(&answer)))
}
