//! What a person sees when something is not as it should be: what it means, and what to
//! do. Not signed in leads to signing in, and back.

use askama::Template;
use rocket::{
    Catcher, Request, catch, catchers,
    http::{Method, Status},
    response::{Redirect, Responder},
    uri,
};

use super::{Frame, Page, oidc, sign_in, signon};
use crate::{
    auth::{self, Strategy, refusal::Refusal, session},
    error::{Failure, Refused},
    headers,
};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    code: u16,
    title: &'static str,
    what: &'static str,
    /// Why somebody is not signed in, by its code.
    refusal: Option<&'static str>,
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

/// Back to where they were, for what can be asked for again. Where there is one place to
/// sign in, a page that is opened leads straight there: it can come back only signed in, or
/// to a page that leads nowhere by itself.
#[catch(401)]
fn sign_in_first(request: &Request<'_>) -> Redirect {
    let app = auth::app(request);
    let again = request.method() == Method::Get;
    let next = again.then(|| request.uri().to_string());
    let mode = request.headers().get_one("Sec-Fetch-Mode");
    if again && mode.is_none_or(|mode| mode == "navigate") {
        match &app.sign_in {
            Strategy::Signon(_) => return Redirect::to(uri!(signon::begin(next.as_deref()))),
            Strategy::Oidc(_) => return Redirect::to(uri!(oidc::begin(next.as_deref()))),
            Strategy::Mock { .. } => {}
        }
    }
    let why = session::had_one(app, request.cookies()).then_some("ended");
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
    error_page(status, request).map(|page| (status, page))
}

#[catch(default)]
fn everything(status: Status, request: &Request<'_>) -> Result<Told, Status> {
    error_page(status, request)
}

/// A refusal as an answer of the handler itself: Rocket forgets on the way to a catcher that
/// a cookie was to be taken away, and a sign-in is over with its first answer.
pub(super) fn after_sign_in(
    outcome: Result<Redirect, Failure>,
) -> Result<Result<Redirect, (Status, Page)>, Failure> {
    match outcome {
        Ok(redirect) => Ok(Ok(redirect)),
        Err(Failure::Refused(refusal)) => {
            log::warn!(target: crate::logger::TARGET, "{refusal}");
            let page = refusal_page(&refusal)?;
            Ok(Err((refusal.status(), page)))
        }
        Err(failure) => Err(failure),
    }
}

fn refusal_page(refusal: &Refusal) -> Result<Page, Failure> {
    Page::render(&ErrorPage {
        frame: Frame::of_nobody(),
        code: refusal.status().code,
        title: "You are not signed in",
        what: refusal.words(),
        refusal: Some(refusal.code()),
    })
}

fn error_page(status: Status, request: &Request<'_>) -> Result<Told, Status> {
    if let Some(refusal) = &request.local_cache(|| Refused(None)).0 {
        return told(refusal_page(refusal), status);
    }
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
        refusal: None,
    };
    told(Page::render(&page), status)
}

fn told(page: Result<Page, Failure>, status: Status) -> Result<Told, Status> {
    page.map(Told).map_err(|failure| {
        log::error!(target: crate::logger::TARGET, "{failure}");
        status
    })
}
