//! Gateways, as administrators see them; and signing in at one: a gateway sends a browser
//! here with a nonce, and it goes back with a session token. Where it goes back to is in
//! the database alone, so this leads to no other place, whatever the address says.

use askama::Template;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use rocket::{State, get, http::uri::Origin, response::Redirect, uri};
use url::Url;

use super::{Frame, NothingTwice, Page, bypass_tokens};
use crate::{
    app::App,
    auth::{Administrator, SignedIn},
    config::is_safe_address,
    db::gateways::{Gateway, GatewaySignIn},
    error::Failure,
    secret,
    token::session::{self, SessionClaims},
};

const SIGN_IN_PATH: &str = "/gateway/sign-in";
/// As many characters as a gateway's `state` has.
const STATE_CHARS: usize = 4;
/// Bytes of a nonce, which is a SHA-256.
const NONCE_BYTES: usize = 32;

#[derive(Template)]
#[template(path = "gateways.html")]
struct Gateways<'a> {
    frame: Frame<'a>,
    organisation: &'a str,
    rows: Vec<Row>,
}

struct Row {
    gateway: Gateway,
    has_sign_in: bool,
    bypass: Option<String>,
}

#[get("/gateways")]
pub(super) async fn page(
    app: &State<App>,
    administrator: Administrator<'_>,
) -> Result<Page, Failure> {
    let signed_in = administrator.0;
    let gateways = app.db.gateways(signed_in.person.organisation).await?;
    let row = |gateway: Gateway| Row {
        has_sign_in: gateway.callback.is_some() && app.session_key.is_some(),
        bypass: app.bypass_secrets.of(&gateway.id).map(|_| {
            let id: &str = &gateway.id;
            uri!(bypass_tokens::page(id)).to_string()
        }),
        gateway,
    };
    Page::render(&Gateways {
        frame: Frame::of(signed_in),
        organisation: &signed_in.person.organisation_name,
        rows: gateways.into_iter().map(row).collect(),
    })
}

/// Four characters of base64url: what a gateway finds its cookie by.
fn is_state(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() == STATE_CHARS && text.bytes().all(known)
}

/// A SHA-256 in its one spelling.
fn is_nonce(text: &str) -> bool {
    let mut bytes = [0; NONCE_BYTES];
    Base64UrlUnpadded::decode(text, &mut bytes).is_ok_and(|bytes| bytes.len() == NONCE_BYTES)
}

#[get("/gateway/sign-in?<gateway>&<state>&<nonce>")]
pub(super) async fn sign_in(
    app: &State<App>,
    signed_in: &SignedIn,
    _once: NothingTwice,
    gateway: &str,
    state: &str,
    nonce: &str,
) -> Result<Redirect, Failure> {
    if !is_state(state) || !is_nonce(nonce) {
        return Err(Failure::BadRequest);
    }
    let key = app.session_key.as_ref().ok_or(Failure::NotFound)?;
    let person = &signed_in.person;
    let found = app.db.gateway(gateway).await?;
    let found = found.filter(|found| found.is_active && found.organisation == person.organisation);
    let found = found.ok_or(Failure::NotFound)?;
    let callback = found.callback.ok_or(Failure::NotFound)?;
    let mut address = Url::parse(&callback)
        .ok()
        .filter(|_| is_safe_address(&callback))
        .ok_or(Failure::NotFound)?;
    let now = app.clock.now();
    let jti = secret::random_text()?;
    let token = session::sign(
        key,
        &SessionClaims {
            iss: app.public_url.origin(),
            aud: &found.id,
            sub: &person.uid,
            org: &person.organisation_content_id,
            nonce,
            jti: &jti,
            iat: now.as_secs(),
            exp: session::expiry(now).as_secs(),
            auth_time: signed_in.authenticated.as_secs(),
            sid: &signed_in.public_id,
            session_exp: signed_in.ends.as_secs(),
        },
    )
    .map_err(|error| Failure::Template(askama::Error::custom(error)))?;
    // Noted first: nobody is let in anywhere that is not in here.
    app.db
        .note_gateway_sign_in(&GatewaySignIn {
            jti: &jti,
            gateway: &found.id,
            user: person.id,
            session: &signed_in.public_id,
            at: now,
            session_ends: signed_in.ends,
        })
        .await?;
    address
        .query_pairs_mut()
        .append_pair("state", state)
        .append_pair("token", &token);
    Ok(Redirect::to(String::from(address)))
}

/// The origin of the gateway that `next` leads to, if it does: a form's redirects must be
/// let go there.
pub(super) async fn led_to(app: &App, next: &Origin<'_>) -> Result<Option<String>, Failure> {
    if next.path() != SIGN_IN_PATH {
        return Ok(None);
    }
    let mut segments = next.query().into_iter().flat_map(|query| query.segments());
    let Some((_, gateway)) = segments.find(|(name, _)| *name == "gateway") else {
        return Ok(None);
    };
    let found = app.db.gateway(gateway).await?;
    let callback = found
        .and_then(|found| found.callback)
        .filter(|callback| is_safe_address(callback));
    let origin = callback.and_then(|callback| Url::parse(&callback).ok());
    Ok(origin.map(|url| url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::{is_nonce, is_state};

    #[test]
    fn only_what_a_gateway_makes_is_taken() {
        for (text, good) in [
            ("aZ0_", true),
            ("----", true),
            ("abc", false),
            ("abcde", false),
            ("ab&d", false),
            ("abé", false),
            ("", false),
        ] {
            assert_eq!(is_state(text), good, "{text}");
        }
        let nonce = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        for (name, text, good) in [
            ("a SHA-256", nonce.to_owned(), true),
            ("padded", format!("{nonce}="), false),
            ("cut short", nonce[1..].to_owned(), false),
            ("trailing bits", format!("{}V", &nonce[..42]), false),
            ("the other alphabet", nonce.replace('-', "+"), false),
            ("nothing", String::new(), false),
        ] {
            assert_eq!(is_nonce(&text), good, "{name}");
        }
    }
}
