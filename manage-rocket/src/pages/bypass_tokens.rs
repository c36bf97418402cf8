//! Bypass tokens of one gateway: giving one out, and what was given out. A token is shown
//! once, when it is made, and stored nowhere; the secret is never shown. Nothing here can
//! take a token back, because gateways fetch nothing: the page says so.

use askama::Template;
use gateway_min::UnixTime;
use jiff::tz::TimeZone;
use rocket::{FromForm, State, form::Form, get, post, uri};
use url::Url;

use super::{Frame, Page};
use crate::{
    app::App,
    auth::{Administrator, FromOurForm, SignedIn},
    db::gateways::{BypassToken, Gateway, NewBypassToken},
    error::Failure,
    local, secret,
    token::bypass::BypassKey,
};

/// For how many days a token can be made. It cannot be taken back, so not for long.
const DAYS: &[u32] = &[1, 7, 30, 90];
const DAY_SECS: u32 = 86_400;
/// Longest content id and purpose, in characters.
const MAX_SUBJECT: usize = 128;
const MAX_PURPOSE: usize = 200;
/// As many tokens as one page shows.
const SHOWN: usize = 200;
/// Where the people are who read times here.
const TIME_ZONE: &str = "Europe/London";

#[derive(Template)]
#[template(path = "bypass_tokens.html")]
struct BypassPage<'a> {
    frame: Frame<'a>,
    gateway: &'a Gateway,
    action: String,
    csrf: &'a str,
    subject: &'a str,
    purpose: &'a str,
    choices: Vec<Choice>,
    faults: Faults,
    made: Option<Made>,
    rows: Vec<Row>,
    more: bool,
}

struct Choice {
    days: u32,
    words: String,
    ends: String,
    is_chosen: bool,
}

#[derive(Default)]
struct Faults {
    subject: &'static str,
    purpose: &'static str,
    days: &'static str,
}

impl Faults {
    const fn is_none(&self) -> bool {
        self.subject.is_empty() && self.purpose.is_empty() && self.days.is_empty()
    }
}

struct Made {
    subject: String,
    ends: String,
    token: String,
    link: String,
}

struct Row {
    subject: String,
    purpose: String,
    issued: String,
    issued_by: String,
    ends: String,
    is_live: bool,
}

#[derive(FromForm)]
pub(super) struct Wanted<'r> {
    csrf: &'r str,
    subject: &'r str,
    purpose: &'r str,
    days: Option<&'r str>,
}

/// "22 November 2026, 09:30".
fn said(moment: UnixTime) -> String {
    let zone = local::parse_zone(TIME_ZONE).unwrap_or(TimeZone::UTC);
    let there = local::in_zone(moment, &zone);
    let (date, time) = (there.date(), there.time());
    format!("{}, {}", local::birth_date(date), local::short_time(time))
}

fn row(token: BypassToken, now: UnixTime) -> Row {
    Row {
        issued: said(token.issued),
        ends: said(token.expires),
        is_live: now < token.expires,
        subject: token.subject,
        purpose: token.purpose,
        issued_by: token.issued_by,
    }
}

/// The administrator's own gateway that has a secret for bypass tokens.
async fn own<'a>(
    app: &'a App,
    signed_in: &SignedIn,
    id: &str,
) -> Result<(Gateway, &'a BypassKey), Failure> {
    let gateway = app.db.gateway(id).await?;
    let gateway = gateway.filter(|found| found.organisation == signed_in.person.organisation);
    let key = app.bypass_secrets.of(id);
    gateway.zip(key).ok_or(Failure::NotFound)
}

/// What the form said, to be said again beside what is wrong with it.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    subject: &'a str,
    purpose: &'a str,
    days: Option<u32>,
}

async fn show(
    app: &App,
    signed_in: &SignedIn,
    gateway: &Gateway,
    form: Said<'_>,
    faults: Faults,
    made: Option<Made>,
) -> Result<Page, Failure> {
    let now = app.clock.now();
    let most = i64::try_from(SHOWN).unwrap_or(i64::MAX).saturating_add(1);
    let tokens = app.db.bypass_tokens(&gateway.id, most).await?;
    let more = tokens.len() > SHOWN;
    let choice = |days: &u32| Choice {
        days: *days,
        words: match days {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        },
        ends: said(now.plus(days * DAY_SECS)),
        is_chosen: form.days == Some(*days),
    };
    let id: &str = &gateway.id;
    Page::render(&BypassPage {
        frame: Frame::of(signed_in),
        gateway,
        action: uri!(page(id)).to_string(),
        csrf: &signed_in.csrf,
        subject: form.subject,
        purpose: form.purpose,
        choices: DAYS.iter().map(choice).collect(),
        faults,
        made,
        rows: tokens
            .into_iter()
            .take(SHOWN)
            .map(|token| row(token, now))
            .collect(),
        more,
    })
}

#[get("/gateways/<id>/bypass-tokens")]
pub(super) async fn page(
    app: &State<App>,
    administrator: Administrator<'_>,
    id: &str,
) -> Result<Page, Failure> {
    let signed_in = administrator.0;
    let (gateway, _) = own(app, signed_in, id).await?;
    let (form, faults) = (Said::default(), Faults::default());
    show(app, signed_in, &gateway, form, faults, None).await
}

/// A content id goes into a header of the service behind the gateway: one word of ASCII.
fn judge(form: Said<'_>) -> Faults {
    let subject = form.subject;
    let is_word = subject.bytes().all(|b| b.is_ascii_graphic());
    let is_line = !form.purpose.contains(char::is_control);
    Faults {
        subject: match subject.len() {
            0 => "Enter what the token is for",
            1..=MAX_SUBJECT if is_word => "",
            1..=MAX_SUBJECT => "Use letters, digits and signs, without spaces or accents",
            _ => "Use 128 characters or fewer",
        },
        purpose: match form.purpose.chars().count() {
            0 => "Enter who gets it and why",
            1..=MAX_PURPOSE if is_line => "",
            1..=MAX_PURPOSE => "Use one line of text",
            _ => "Use 200 characters or fewer",
        },
        days: if form.days.is_some() {
            ""
        } else {
            "Choose how long it lasts"
        },
    }
}

#[post("/gateways/<id>/bypass-tokens", data = "<form>")]
pub(super) async fn issue(
    app: &State<App>,
    administrator: Administrator<'_>,
    _ours: FromOurForm,
    id: &str,
    form: Form<Wanted<'_>>,
) -> Result<Page, Failure> {
    let signed_in = administrator.0;
    signed_in.check_form(form.csrf)?;
    let (gateway, key) = own(app, signed_in, id).await?;
    let days = form.days.and_then(|days| days.parse().ok());
    let said_days = days.filter(|days| DAYS.contains(days));
    let wanted = Said {
        subject: form.subject.trim(),
        purpose: form.purpose.trim(),
        days: said_days,
    };
    let faults = judge(wanted);
    let Some(days) = said_days.filter(|_| faults.is_none()) else {
        return show(app, signed_in, &gateway, wanted, faults, None).await;
    };
    let now = app.clock.now();
    let expires = now.plus(days * DAY_SECS);
    let token_id = secret::random_text()?;
    // Noted first: no token is out that is not in the list.
    app.db
        .note_bypass_token(&NewBypassToken {
            id: &token_id,
            gateway: &gateway.id,
            subject: wanted.subject,
            purpose: wanted.purpose,
            issued: now,
            issued_by: signed_in.person.id,
            expires,
        })
        .await?;
    let token = key.sign(&token_id, wanted.subject, now, expires);
    let made = Made {
        subject: wanted.subject.to_owned(),
        ends: said(expires),
        link: link(&gateway, &token),
        token,
    };
    let (form, faults) = (Said::default(), Faults::default());
    show(app, signed_in, &gateway, form, faults, Some(made)).await
}

/// The gateway's own address with the token in its query.
fn link(gateway: &Gateway, token: &str) -> String {
    let base = gateway.callback.as_deref().unwrap_or(&gateway.address);
    Url::parse(base).map_or_else(
        |_not_an_address| String::new(),
        |mut url| {
            url.set_path("/");
            url.query_pairs_mut().clear().append_pair("token", token);
            url.into()
        },
    )
}
