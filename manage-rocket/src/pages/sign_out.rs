//! Signing out: by the form in the header of every page, or, for gateways that send people
//! here, by a page that asks. No link of another site signs anybody out.

use askama::Template;
use rocket::{FromForm, State, form::Form, get, http::CookieJar, post, response::Redirect, uri};

use super::{Frame, Page, sign_in};
use crate::{
    app::App,
    auth::{FromOurForm, SignedIn, session},
    error::Failure,
};

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOutPage<'a> {
    frame: Frame<'a>,
    csrf: &'a str,
}

#[derive(FromForm)]
pub(super) struct SignOut<'r> {
    csrf: &'r str,
}

/// Where people are who have just signed out.
pub(super) fn signed_out() -> Redirect {
    let (next, why) = (None::<&str>, Some("signed-out"));
    Redirect::to(uri!(sign_in::page(next = next, why = why)))
}

#[post("/sign-out", data = "<form>")]
pub(super) async fn sign_out(
    app: &State<App>,
    jar: &CookieJar<'_>,
    _ours: FromOurForm,
    signed_in: &SignedIn,
    form: Form<SignOut<'_>>,
) -> Result<Redirect, Failure> {
    signed_in.check_form(form.csrf)?;
    session::end(app, jar).await?;
    Ok(signed_out())
}

/// Whoever signed out at a gateway is still signed in here, and may not want to be.
#[get("/auth/sign-out")]
pub(super) fn ask(signed_in: Option<&SignedIn>) -> Result<Result<Page, Redirect>, Failure> {
    match signed_in {
        Some(signed_in) => asking(signed_in).map(Ok),
        None => Ok(Err(signed_out())),
    }
}

pub(super) fn asking(signed_in: &SignedIn) -> Result<Page, Failure> {
    Page::render(&SignOutPage {
        frame: Frame::of(signed_in),
        csrf: &signed_in.csrf,
    })
}
