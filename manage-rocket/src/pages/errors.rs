//! What a person sees when something is not as it should be: what it means, and what to
//! do. Not signed in leads to signing in, and back.

use askama::Template;
use rocket::{
    Catcher, Request, catch, catchers,
    http::{Method, Status},
    response::{Redirect, Responder},
    uri,
};

use super::{Frame, Page, sign_in};
use crate::{
    auth::{self, session},
    headers,
};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    code: u16,
    title: &'static str,
    what: &'static str,
}

/// An error page with its headers.
struct Told(Page);

impl<'r> Responder<'r, 'static> for Told {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        let mut response = self.0.respond_to(request)?;
        headers::set(request, &mut response);
        Ok(response)
    }
}

pub(crate) fn catchers() -> Vec<Catcher> {
    catchers![sign_in_first, not_an_id, everything]
}

/// Back to where they were, for what can be asked for again.
#[catch(401)]
fn sign_in_first(request: &Request<'_>) -> Redirect {
    let again = request.method() == Method::Get;
    let next = again.then(|| request.uri().to_string());
    let had_one = session::had_one(auth::app(request), request.cookies());
    let why = had_one.then_some("ended");
    Redirect::to(uri!(sign_in::page(next = next.as_deref(), why = why)))
}

/// An address with something in the place of an id is no address. A form that lacks a
/// field is something else.
#[catch(422)]
fn not_an_id(request: &Request<'_>) -> Result<(Status, Told), Status> {
    let status = match request.method() {
        Method::Get | Method::Head => Status::NotFound,
        _ => Status::UnprocessableEntity,
    };
    error_page(status).map(|page| (status, page))
}

#[catch(default)]
fn everything(status: Status, _: &Request<'_>) -> Result<Told, Status> {
    error_page(status)
}

fn error_page(status: Status) -> Result<Told, Status> {
    let (title, what) = match status.code {
        403 => (
            "You cannot do this",
            "Your account may not do this, or the page you came from was too old. Go back, reload the page and try once more.",
        ),
        404 => (
            "Page not found",
            "There is no such page, or it belongs to another organisation.",
        ),
        400..=499 => (
            "That did not work",
            "The request was not understood. Go back, reload the page and try once more.",
        ),
        _ => (
            "Sorry, something went wrong",
            "It is our fault, not yours. Try again in a minute. If somebody is waiting to be screened, use your site\u{2019}s manual procedure.",
        ),
    };
    let page = ErrorPage {
        frame: Frame::of_nobody(),
        code: status.code,
        title,
        what,
    };
    Page::render(&page).map(Told).map_err(|failure| {
        log::error!(target: crate::logger::TARGET, "{failure}");
        status
    })
}
