//! A clinic: its appointments, and for those who may send, a *Send for scan* button with
//! its own signed message beside everyone who has arrived. Each row shows what last came
//! back for it.

use std::sync::Arc;

use askama::Template;
use gateway_min::UnixTime;
use jiff::tz::TimeZone;
use rocket::{FromForm, State, form::Form, get, post, response::Redirect, uri};

use super::{Frame, Page};
use crate::{
    app::App,
    auth::{FromOurForm, MaySend, SignedIn},
    db::{
        appointments::{Appointment, Sex, Status},
        clinics::Clinic,
        outcomes::Kept,
    },
    error::Failure,
    ids::{AppointmentId, ClinicId, Jti},
    issue::{self, Buttons, Issued},
    local,
    outcome::{Outcome, is_sent},
    report,
    words::{self, Tone},
};

#[derive(Template)]
#[template(path = "clinic.html")]
struct ClinicPage<'a> {
    frame: Frame<'a>,
    clinic: &'a Clinic,
    date: String,
    time: String,
    rows: Vec<Row>,
    may_send: bool,
}

struct Row {
    id: AppointmentId,
    time: String,
    name: String,
    nhs_number: String,
    born: String,
    sex: &'static str,
    tag: Tag,
    action: Action,
    last: Option<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tag {
    text: &'static str,
    colour: &'static str,
}

enum Action {
    Send {
        button: Issued,
        report_token: String,
        sent: bool,
    },
    CheckIn {
        address: String,
    },
    Impossible(String),
    Nothing,
}

/// What last came back, in words.
struct Told {
    tone: &'static str,
    title: &'static str,
    what: &'static str,
    next: &'static str,
    code: String,
    note: String,
}

/// What the last of the outcomes says of a route. A gateway says it once: a duplicate goes
/// as far as the message that it repeats.
pub(super) fn routed(told: &[Kept]) -> Option<bool> {
    let (last, earlier) = told.split_last()?;
    let accepted = |kept: &&Kept| kept.jti == last.jti && kept.outcome == Outcome::Accepted;
    match last.outcome {
        Outcome::Duplicate if last.routed.is_none() => {
            earlier.iter().rfind(accepted).and_then(|kept| kept.routed)
        }
        _ => last.routed,
    }
}

/// "Recorded at 10:32 by Rosalind Achebe": what a page adds about the last of the outcomes
/// that are kept, and, where that one is bad news, that the message had been sent before.
pub(super) fn note(told: &[Kept], now: UnixTime, zone: &TimeZone) -> Option<String> {
    let (last, earlier) = told.split_last()?;
    let sent_before = is_sent_as(earlier, |jti| jti == last.jti)
        && words::of(&last.outcome, routed(told)).tone != Tone::Success;
    let before = if sent_before {
        "It had been sent before. "
    } else {
        ""
    };
    let at = local::said_at(last.reported, now, zone);
    Some(format!("{before}Recorded at {at} by {}", last.reported_by))
}

fn tag(status: Status, sent: bool, sent_before_change: bool) -> Tag {
    let (text, colour) = match status {
        Status::Booked => ("Not arrived", "blue"),
        Status::CheckedIn if sent => ("Sent", "green"),
        Status::CheckedIn if sent_before_change => ("Changed since sent", "orange"),
        Status::CheckedIn => ("Checked in", "yellow"),
        Status::Screened => ("Screened", "grey"),
        Status::DidNotAttend => ("Did not attend", "red"),
        Status::Cancelled => ("Cancelled", "white"),
    };
    Tag { text, colour }
}

const fn sex(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "Female",
        Sex::Male => "Male",
        Sex::Other => "Other",
    }
}

fn last(told: &[Kept], now: UnixTime, zone: &TimeZone) -> Option<Told> {
    let kept = told.last()?;
    let said = words::of(&kept.outcome, routed(told));
    Some(Told {
        tone: said.tone.as_str(),
        title: said.title,
        what: said.what,
        next: said.next,
        code: words::code(&kept.outcome).to_owned(),
        note: note(told, now, zone)?,
    })
}

fn is_sent_as(told: &[Kept], which: impl Fn(Jti) -> bool) -> bool {
    let told = told.iter().filter(|kept| which(kept.jti));
    is_sent(told.map(|kept| (&kept.outcome, kept.routed)))
}

fn row(
    app: &App,
    signed_in: &SignedIn,
    may_send: bool,
    appointment: &Appointment,
    buttons: &mut Buttons,
    outcomes: &[Kept],
) -> Row {
    let now = app.clock.now();
    let person = &appointment.participant;
    let button = buttons.remove(&appointment.id);
    let jti = match &button {
        Some(Ok(issued)) => Some(issued.jti),
        Some(Err(_)) | None => None,
    };
    // Without a button of one's own, whatever was sent last is what counts.
    let sent = is_sent_as(outcomes, |told| jti.is_none_or(|jti| jti == told));
    let sent_before_change = is_sent_as(outcomes, |told| jti.is_some_and(|jti| jti != told));
    let action = match button {
        Some(Ok(button)) => Action::Send {
            report_token: report::token(
                &app.secrets.report,
                button.jti,
                signed_in.person.id,
                button.expires,
            ),
            button,
            sent,
        },
        Some(Err(unsignable)) => Action::Impossible(unsignable.to_string()),
        None if may_send && appointment.status == Status::Booked => Action::CheckIn {
            address: uri!(check_in(appointment.id)).to_string(),
        },
        None => Action::Nothing,
    };
    Row {
        id: appointment.id,
        time: local::short_time(appointment.time),
        name: format!("{} {}", person.first_name, person.last_name),
        nhs_number: person.nhs_number.spaced(),
        born: local::birth_date(person.birth_date),
        sex: sex(person.sex),
        tag: tag(appointment.status, sent, sent_before_change),
        action,
        last: last(outcomes, now, &appointment.clinic.zone),
    }
}

#[get("/clinics/<id>")]
pub(super) async fn page(
    app: &State<App>,
    id: ClinicId,
    signed_in: &SignedIn,
    may_send: Option<MaySend<'_>>,
) -> Result<Page, Failure> {
    let clinic = app.db.clinic(signed_in.person.organisation, id).await?;
    let clinic = Arc::new(clinic.ok_or(Failure::NotFound)?);
    let appointments = app.db.appointments(&clinic).await?;
    let (mut buttons, mut outcomes) = Default::default();
    if let Some(gateway) = &clinic.gateway {
        if let Some(MaySend(signed_in)) = may_send {
            let arrived: Vec<_> = appointments
                .iter()
                .filter(|appointment| appointment.status == Status::CheckedIn)
                .collect();
            buttons =
                issue::create_item(app, signed_in.person.id, &clinic, gateway, &arrived).await?;
        }
        outcomes = app.db.outcomes(clinic.id, &gateway.id).await?;
    }
    let rows = appointments.iter().map(|appointment| {
        let outcomes = outcomes.get(&appointment.id).map_or(&[][..], Vec::as_slice);
        row(
            app,
            signed_in,
            may_send.is_some(),
            appointment,
            &mut buttons,
            outcomes,
        )
    });
    Page::render(&ClinicPage {
        frame: Frame::of(signed_in),
        date: local::long_date(clinic.date),
        time: local::short_time(clinic.time),
        rows: rows.collect(),
        may_send: may_send.is_some(),
        clinic: &clinic,
    })
}

#[derive(FromForm)]
pub(super) struct CheckIn<'r> {
    csrf: &'r str,
}

#[post("/appointments/<id>/check-in", data = "<form>")]
pub(super) async fn check_in(
    app: &State<App>,
    id: AppointmentId,
    _ours: FromOurForm,
    may_send: MaySend<'_>,
    form: Form<CheckIn<'_>>,
) -> Result<Redirect, Failure> {
    let MaySend(signed_in) = may_send;
    signed_in.check_form(form.csrf)?;
    let clinic = app.db.check_in(signed_in.person.organisation, id).await?;
    Ok(Redirect::to(uri!(page(clinic.ok_or(Failure::NotFound)?))))
}
