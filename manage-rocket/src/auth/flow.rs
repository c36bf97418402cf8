//! A sign-in on its way: between leaving for the sign-in service and coming back. All of it
//! is in a sealed cookie of the browser that began, so that strangers can fill no table
//! with beginnings; `state`, `nonce` and the PKCE verifier are derived from the cookie's
//! random part with a key of ours, so that the browser knows none of them beforehand.
//!
//! Refuses an answer to another browser's sign-in (somebody else's account planted in this
//! one), to none, to one that is over ten minutes old, and to one that was used.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use gateway_min::UnixTime;
use rocket::http::{Cookie, CookieJar};
use sha2::{Digest as _, Sha256};

use super::{
    refusal::Refusal,
    session::{cookie_name, expired_cookie, our_cookie},
};
use crate::{app::App, error::Failure, secret};

/// How long a sign-in may take, in seconds.
const LIFETIME_SECS: u32 = 600;
/// Sign-ins on their way at once in one browser: tabs.
const AT_ONCE: usize = 5;
/// How much of `state` is in the cookie's name.
const NAME_CHARS: usize = 8;

/// What is sent along and expected back.
pub(crate) struct Flow {
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// PKCE's `code_verifier` (RFC 7636 section 4.1): 43 characters.
    pub(crate) verifier: String,
    /// Where to go when signed in.
    pub(crate) next: Option<String>,
}

impl Flow {
    fn of(app: &App, random: &str, next: Option<String>) -> Self {
        let derive = |what| app.secrets.flow.tag(&[what, random]);
        Self {
            state: derive("state"),
            nonce: derive("nonce"),
            verifier: derive("verifier"),
            next,
        }
    }

    /// PKCE's `code_challenge` of the method `S256`.
    pub(crate) fn challenge(&self) -> String {
        Base64UrlUnpadded::encode_string(&Sha256::digest(&self.verifier))
    }
}

fn name_of(app: &App, state: &str) -> Option<String> {
    let begin = state.get(..NAME_CHARS)?;
    let plain = begin
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    plain.then(|| cookie_name(app, &format!("flow_{begin}")))
}

/// Begins a sign-in in this browser. `next` is an address of ours.
pub(crate) fn begin(app: &App, jar: &CookieJar<'_>, next: Option<String>) -> Result<Flow, Failure> {
    let prefix = cookie_name(app, "flow_");
    let pending: Vec<String> = jar
        .iter()
        .filter(|cookie| cookie.name().starts_with(&prefix))
        .map(|cookie| cookie.name().to_owned())
        .collect();
    if pending.len() >= AT_ONCE {
        for name in pending {
            jar.remove(expired_cookie(app, name));
        }
    }
    let random = secret::random_text()?;
    let ends = app.clock.now().plus(LIFETIME_SECS).as_secs().to_string();
    let packed = Base64UrlUnpadded::encode_string(next.as_deref().unwrap_or_default().as_bytes());
    let seal = app.secrets.flow.tag(&["cookie", &random, &ends, &packed]);
    let flow = Flow::of(app, &random, next);
    // The name has the alphabet of the state, which is base64url.
    let name = name_of(app, &flow.state).unwrap_or(prefix);
    let mut cookie = our_cookie(app, name, format!("{random}.{ends}.{packed}.{seal}"));
    cookie.set_max_age(rocket::time::Duration::seconds(i64::from(LIFETIME_SECS)));
    jar.add(cookie);
    Ok(flow)
}

/// The sign-in that this browser began with that `state`. It is over with this.
pub(crate) fn finish(app: &App, jar: &CookieJar<'_>, state: &str) -> Result<Flow, Refusal> {
    let name = name_of(app, state).ok_or(Refusal::NotBegunHere)?;
    let value = jar.get(&name).map(Cookie::value);
    let flow = value.and_then(|value| open(app, value, state));
    let flow = flow.ok_or(Refusal::NotBegunHere)?;
    jar.remove(expired_cookie(app, name));
    Ok(flow)
}

fn open(app: &App, value: &str, state: &str) -> Option<Flow> {
    let parts: Vec<&str> = value.split('.').collect();
    let [random, ends, packed, seal] = parts[..] else {
        return None;
    };
    // Nothing of it is believed before the seal holds.
    let tagger = &app.secrets.flow;
    if !tagger.holds(&["cookie", random, ends, packed], seal)
        || !tagger.holds(&["state", random], state)
    {
        return None;
    }
    let ends = UnixTime::from_secs(ends.parse().ok()?);
    if app.clock.now() >= ends {
        return None;
    }
    let next = String::from_utf8(Base64UrlUnpadded::decode_vec(packed).ok()?).ok()?;
    Some(Flow::of(
        app,
        random,
        Some(next).filter(|next| !next.is_empty()),
    ))
}
