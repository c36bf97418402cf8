//! The list of the organisation's clinics: today's first.

use askama::Template;
use gateway_min::UnixTime;
use rocket::{State, get, response::Redirect, uri};

use super::{Frame, Page};
use crate::{app::App, auth::SignedIn, db::clinics::Clinic, error::Failure, ids::ClinicId, local};

#[derive(Template)]
#[template(path = "clinics.html")]
struct Clinics<'a> {
    frame: Frame<'a>,
    organisation: &'a str,
    groups: Vec<Group>,
}

struct Group {
    heading: &'static str,
    nothing: &'static str,
    clinics: Vec<Row>,
}

struct Row {
    address: String,
    date: String,
    time: String,
    name: String,
    site: String,
    appointments: i64,
    cancelled: i64,
}

fn row(clinic: &Clinic) -> Row {
    Row {
        address: uri!(super::clinic::page(clinic.id)).to_string(),
        date: local::long_date(clinic.date),
        time: local::short_time(clinic.time),
        name: clinic.name.clone(),
        site: clinic.site_name.clone(),
        appointments: clinic.appointments,
        cancelled: clinic.cancelled,
    }
}

/// Today's, the coming ones in their order, and the past ones, latest first: each by the
/// clinic's own date.
fn groups(clinics: &[Clinic], now: UnixTime) -> Vec<Group> {
    let (mut today, mut coming, mut past) = (Vec::new(), Vec::new(), Vec::new());
    for clinic in clinics {
        let date = local::in_zone(now, &clinic.zone).date();
        let group = match clinic.date.cmp(&date) {
            std::cmp::Ordering::Equal => &mut today,
            std::cmp::Ordering::Greater => &mut coming,
            std::cmp::Ordering::Less => &mut past,
        };
        group.push(row(clinic));
    }
    past.reverse();
    let group = |heading, nothing, clinics| Group {
        heading,
        nothing,
        clinics,
    };
    let mut groups = vec![
        group("Today", "There is no clinic today.", today),
        group("Upcoming", "No clinic is planned.", coming),
    ];
    if !past.is_empty() {
        groups.push(group("Past", "", past));
    }
    groups
}

#[get("/")]
pub(super) fn home() -> Redirect {
    Redirect::to(uri!(page))
}

#[get("/clinics")]
pub(super) async fn page(app: &State<App>, signed_in: &SignedIn) -> Result<Page, Failure> {
    let clinics = app.db.clinics(signed_in.person.organisation).await?;
    Page::render(&Clinics {
        frame: Frame::of(signed_in),
        organisation: &signed_in.person.organisation_name,
        groups: groups(&clinics, app.clock.now()),
    })
}
