//! The page for signing in: a list of people to choose from ([`mock`]), or the way to the
//! sign-in service. It leads nowhere by itself.

use askama::Template;
use rocket::{
    FromForm, State,
    form::Form,
    get,
    http::{CookieJar, uri::Origin},
    post,
    response::Redirect,
    uri,
};

use super::{Frame, Page, clinics, gateways, oidc, signon};
use crate::{
    app::App,
    auth::{FromOurForm, Strategy, mock, session},
    db::users::Person,
    error::Failure,
};

/// Longest address to return to, in bytes.
const MAX_NEXT: usize = 2048;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame<'a>,
    people: Vec<Person>,
    csrf: String,
    next: &'a str,
    why: &'static str,
    /// The way to the sign-in service.
    begin: Option<String>,
    /// Where to sign out of it, too.
    sign_out_there: Option<String>,
}

/// Where to go after signing in: an address of ours, or the list of clinics. An address
/// that a browser might read as another host's (`//host`, `/\host`) is none of ours.
pub(super) fn safe_next(next: Option<&str>) -> Option<Origin<'static>> {
    let next = next.filter(|next| next.len() <= MAX_NEXT)?;
    let second = next.strip_prefix('/')?.chars().next();
    if matches!(second, Some('/' | '\\')) || next.contains(|c: char| c.is_control()) {
        return None;
    }
    Origin::parse_owned(next.to_owned()).ok()
}

/// The way on for somebody who has just signed in.
pub(super) fn go_on(next: Option<&str>) -> Redirect {
    match safe_next(next) {
        Some(next) => Redirect::to(next),
        None => Redirect::to(uri!(clinics::page)),
    }
}

#[get("/sign-in?<next>&<why>")]
pub(super) async fn page(
    app: &State<App>,
    jar: &CookieJar<'_>,
    next: Option<&str>,
    why: Option<&str>,
) -> Result<Page, Failure> {
    let next = safe_next(next);
    let text = next.as_ref().map(ToString::to_string);
    let signed_out = why == Some("signed-out");
    let (begin, sign_out_there) = match &app.sign_in {
        Strategy::Mock { .. } => (None, None),
        Strategy::Signon(signon) => (
            Some(uri!(signon::begin(text.as_deref())).to_string()),
            signed_out.then(|| signon.sign_out_address()),
        ),
        Strategy::Oidc(oidc) => (
            Some(uri!(oidc::begin(text.as_deref())).to_string()),
            if signed_out {
                oidc.sign_out_address(app).await
            } else {
                None
            },
        ),
    };
    let form_target = match (&app.sign_in, &next) {
        (Strategy::Mock { .. }, Some(next)) => gateways::led_to(app, next).await?,
        (Strategy::Mock { .. }, None) | (Strategy::Signon(_) | Strategy::Oidc(_), _) => None,
    };
    let page = Page::render(&SignInPage {
        frame: Frame::of_nobody(),
        people: mock::people(app).await?,
        csrf: session::sign_in_form(app, jar)?,
        next: text.as_deref().unwrap_or_default(),
        why: match why {
            Some("ended") => {
                "You have been signed out because nothing happened for 15 minutes, or because 12 hours have passed."
            }
            Some("signed-out") => "You have signed out.",
            _ => "",
        },
        begin,
        sign_out_there,
    })?;
    Ok(Page {
        form_target,
        ..page
    })
}

#[derive(FromForm)]
pub(super) struct Chosen<'r> {
    csrf: &'r str,
    person: &'r str,
    next: &'r str,
}

#[post("/sign-in", data = "<form>")]
pub(super) async fn sign_in(
    app: &State<App>,
    jar: &CookieJar<'_>,
    _ours: FromOurForm,
    form: Form<Chosen<'_>>,
) -> Result<Redirect, Failure> {
    session::check_sign_in_form(app, jar, form.csrf)?;
    let person = mock::choose(app, form.person).await?;
    session::begin(app, jar, person.id, session::Proof::default()).await?;
    Ok(go_on(Some(form.next)))
}

#[cfg(test)]
mod tests {
    use super::safe_next;

    #[test]
    fn only_addresses_of_ours_are_returned_to() {
        for (name, next, good) in [
            ("a page", "/clinics/1", true),
            ("with a query", "/clinics?x=1", true),
            ("the root", "/", true),
            ("another host", "//evil.example/", false),
            ("another host for some browsers", "/\\evil.example", false),
            ("another scheme", "https://evil.example/", false),
            ("a script", "javascript:alert(1)", false),
            ("a line break", "/x\r\nSet-Cookie: a=b", false),
            ("a tab", "/\t/evil.example", false),
            ("relative", "clinics", false),
            ("nothing", "", false),
        ] {
            assert_eq!(safe_next(Some(next)).is_some(), good, "{name}");
        }
        assert!(safe_next(None).is_none());
        assert!(safe_next(Some(&format!("/{}", "a".repeat(2048)))).is_none());
    }
}
