//! Sessions: a random id in an `HttpOnly` cookie, and a row that is found by its SHA-256.
//! A session ends after 15 minutes without activity and after 12 hours in any case, and a
//! new one is made at every sign-in, so an id that somebody planted is worth nothing. A
//! sign-in service can end it from afar: by its own name for it, or all of a person's.

use gateway_min::UnixTime;
use rocket::{
    Request,
    http::{Cookie, CookieJar, SameSite},
};

use super::SignedIn;
use crate::{
    app::App,
    db::sessions::{NewSession, Session},
    error::Failure,
    ids::UserId,
    secret,
};

/// Seconds without activity after which a session is over.
pub(crate) const IDLE_SECS: u32 = 15 * 60;
/// Seconds after which a session is over in any case.
pub(crate) const LONGEST_SECS: u32 = 12 * 60 * 60;
/// How old the note of the last activity may get, in seconds, before it is written again.
const TOUCH_SECS: i64 = 5;

/// Browsers keep a cookie of this prefix for this very host alone, and drop it on plain HTTP.
const HOST_PREFIX: &str = "__Host-";

/// The name of the cookie for `purpose`: bound to this very host where there is HTTPS.
pub(super) fn cookie_name(app: &App, purpose: &str) -> String {
    let prefix = if app.public_url.is_https() {
        HOST_PREFIX
    } else {
        ""
    };
    format!("{prefix}manage_{purpose}")
}

/// A cookie that scripts cannot read and other sites' requests do not carry; it goes when
/// the browser is closed.
pub(super) fn our_cookie(app: &App, name: String, value: String) -> Cookie<'static> {
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        // Not Strict: a link to a clinic in an e-mail must find its reader signed in, and so
        // must the way back from a sign-in service.
        .same_site(SameSite::Lax)
        .secure(app.public_url.is_https())
        .build()
}

/// What takes such a cookie away. The attributes must be those it was set with, or a
/// `__Host-` cookie stays.
pub(super) fn expired_cookie(app: &App, name: String) -> Cookie<'static> {
    our_cookie(app, name, String::new())
}

fn set_cookie(app: &App, jar: &CookieJar<'_>, purpose: &str, value: String) {
    jar.add(our_cookie(app, cookie_name(app, purpose), value));
}

fn cookie<'r>(app: &App, jar: &'r CookieJar<'_>, purpose: &str) -> Option<&'r str> {
    jar.get(&cookie_name(app, purpose)).map(Cookie::value)
}

const SESSION: &str = "session";
const SIGN_IN: &str = "sign_in";

/// What is left of a session: `None` where it is over.
async fn find(app: &App, id: &str) -> Result<Option<(Session, i64)>, Failure> {
    let now = app.clock.now();
    let strategy = app.sign_in.name();
    let hash = secret::sha256_hex(id);
    let found = app.db.session(&hash, strategy).await?;
    let Some(session) = found.filter(|_| !app.sign_in.is_nobody()) else {
        return Ok(None);
    };
    let idle_left = session.last_seen.plus(IDLE_SECS).since(now);
    let secs_left = idle_left.min(session.ends.since(now));
    Ok((secs_left > 0).then_some((session, secs_left)))
}

/// Who is signed in by this request's cookie; the request counts as activity. A failure is
/// logged here and told as no more than that.
pub(crate) async fn of_request(app: &App, request: &Request<'_>) -> Result<Option<SignedIn>, ()> {
    let Some(id) = cookie(app, request.cookies(), SESSION) else {
        return Ok(None);
    };
    touch(app, id)
        .await
        .map_err(|failure| log::error!(target: crate::logger::TARGET, "{failure}"))
}

async fn touch(app: &App, id: &str) -> Result<Option<SignedIn>, Failure> {
    let Some((session, secs_left)) = find(app, id).await? else {
        return Ok(None);
    };
    let now = app.clock.now();
    let fresh = i64::from(IDLE_SECS).min(session.ends.since(now));
    let secs_left = if now.since(session.last_seen) < TOUCH_SECS {
        fresh
    } else {
        match app.db.touch_session(&secret::sha256_hex(id), now).await {
            Ok(()) => fresh,
            // A database that cannot be written can still be read: the clinic list stays,
            // and the session ends when it would have without this request.
            Err(error) => {
                log::error!(target: crate::logger::TARGET, "activity was not noted: {error}");
                secs_left
            }
        }
    };
    Ok(Some(SignedIn {
        secs_left,
        csrf: app.secrets.csrf.tag(&[id]),
        person: session.person,
        public_id: session.public_id,
        authenticated: session.authenticated,
        ends: session.ends,
    }))
}

/// Seconds for which the browser stays signed in, 0 where it is not. Asking is no activity.
pub(crate) async fn secs_left(app: &App, jar: &CookieJar<'_>) -> Result<i64, Failure> {
    let Some(id) = cookie(app, jar, SESSION) else {
        return Ok(0);
    };
    Ok(find(app, id).await?.map_or(0, |(_, secs_left)| secs_left))
}

/// Notes activity of whoever is signed in, if anyone is: seconds left after it.
pub(crate) async fn note_activity(app: &App, jar: &CookieJar<'_>) -> Result<i64, Failure> {
    let Some(id) = cookie(app, jar, SESSION) else {
        return Ok(0);
    };
    Ok(touch(app, id)
        .await?
        .map_or(0, |signed_in| signed_in.secs_left))
}

/// Whether the browser has a session's cookie, alive or not.
pub(crate) fn had_one(app: &App, jar: &CookieJar<'_>) -> bool {
    cookie(app, jar, SESSION).is_some()
}

/// What a sign-in service says of the sign-in itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Proof<'a> {
    /// What it calls its session.
    pub(crate) peer_sid: Option<&'a str>,
    /// When the person proved who they are, where that was not just now.
    pub(crate) authenticated: Option<UnixTime>,
}

/// Begins a session for `user`, ending the one that this browser had. It ends twelve hours
/// after the person proved who they are, whenever they came here.
pub(crate) async fn begin(
    app: &App,
    jar: &CookieJar<'_>,
    user: UserId,
    proof: Proof<'_>,
) -> Result<(), Failure> {
    end(app, jar).await?;
    let id = secret::random_text()?;
    let now = app.clock.now();
    // A service whose clock is ahead makes no longer session.
    let authenticated = proof.authenticated.unwrap_or(now).min(now);
    app.db
        .begin_session(&NewSession {
            id_hash: &secret::sha256_hex(&id),
            public_id: &secret::random_text()?,
            user,
            peer_sid: proof.peer_sid,
            authenticated,
            now,
            ends: authenticated.plus(LONGEST_SECS),
        })
        .await?;
    set_cookie(app, jar, SESSION, id);
    Ok(())
}

/// Ends the session that this browser has, if any, and takes away what is long over.
pub(crate) async fn end(app: &App, jar: &CookieJar<'_>) -> Result<(), Failure> {
    let hash = secret::sha256_hex(cookie(app, jar, SESSION).unwrap_or_default());
    let now = app.clock.now();
    app.db.end_session(&hash, now.minus(IDLE_SECS), now).await?;
    jar.remove(expired_cookie(app, cookie_name(app, SESSION)));
    Ok(())
}

/// The token of the sign-in form, tied to this browser by a cookie of its own: there is no
/// session yet to tie it to.
pub(crate) fn sign_in_form(app: &App, jar: &CookieJar<'_>) -> Result<String, Failure> {
    if let Some(id) = cookie(app, jar, SIGN_IN) {
        return Ok(app.secrets.sign_in.tag(&[id]));
    }
    let id = secret::random_text()?;
    let csrf = app.secrets.sign_in.tag(&[&id]);
    set_cookie(app, jar, SIGN_IN, id);
    Ok(csrf)
}

/// Whether the sign-in form was given to this browser, in constant time.
pub(crate) fn check_sign_in_form(
    app: &App,
    jar: &CookieJar<'_>,
    csrf: &str,
) -> Result<(), Failure> {
    match cookie(app, jar, SIGN_IN) {
        Some(id) if app.secrets.sign_in.holds(&[id], csrf) => Ok(()),
        _ => Err(Failure::Forbidden),
    }
}
