//! The headers of every answer. Pages carry signed tokens and NHS numbers: nobody keeps
//! them, frames them, or learns from a `Referer` where one came from, and a browser runs
//! our one script and no other.

use rocket::{
    Request, Response,
    fairing::{Fairing, Info, Kind},
    http::Header,
};

use crate::auth;

/// Only what is ours, and nothing inline: markup that slipped through could do nothing.
/// Where forms may lead to stands behind it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
     form-action 'self'";

const ALWAYS: &[(&str, &str)] = &[
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    // For browsers that do not know frame-ancestors.
    ("X-Frame-Options", "DENY"),
];

/// Left with the request by a page whose form leads on to one registered gateway: browsers
/// apply `form-action` to the redirects behind a form, too.
pub(crate) struct FormTarget(pub(crate) Option<String>);

/// Sets them.
pub(crate) struct Headers;

#[rocket::async_trait]
impl Fairing for Headers {
    fn info(&self) -> Info {
        Info {
            name: "headers",
            kind: Kind::Response | Kind::Singleton,
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        set(request, response);
    }
}

/// Sets them on one answer. Error pages do it themselves, too: Rocket answers a request of
/// a method that it does not know without asking any fairing.
pub(crate) fn set(request: &Request<'_>, response: &mut Response<'_>) {
    for (name, value) in ALWAYS {
        response.set_header(Header::new(*name, *value));
    }
    let target = request.local_cache(|| FormTarget(None)).0.as_deref();
    let policy = match target {
        None => CONTENT_SECURITY_POLICY.into(),
        Some(origin) => format!("{CONTENT_SECURITY_POLICY} {origin}"),
    };
    response.set_header(Header::new("Content-Security-Policy", policy));
    // What may be kept says so itself (assets, the key set).
    if !response.headers().contains("Cache-Control") {
        response.set_header(Header::new("Cache-Control", "no-store"));
    }
    let public_url = &auth::app(request).public_url;
    if public_url.is_confidential() {
        // Browsers ignore it elsewhere, and complain.
        response.set_header(Header::new("Cross-Origin-Opener-Policy", "same-origin"));
    }
    if public_url.is_https() {
        let year = "max-age=31536000";
        response.set_header(Header::new("Strict-Transport-Security", year));
    }
}
