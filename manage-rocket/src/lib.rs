//! manage-rocket: clinics, appointments, and a signed message behind every *Send for scan*
//! button. It makes every decision about content and alone holds the private key; what it
//! signs, a browser carries to a site's gateway, and what comes back is kept here.
//!
//! [`rocket()`] is the whole application: the binary launches it and the tests do. Guards
//! (`auth`) decide who may do what, page modules tell what happens, `db` has all SQL,
//! `token` everything that is signed.

use std::fmt;

use rocket::{Build, Rocket, figment::Figment};

mod app;
mod auth;
pub mod clock;
pub mod config;
mod db;
mod error;
mod headers;
pub mod ids;
mod issue;
pub mod keygen;
mod local;
pub mod logger;
mod outbound;
mod outcome;
mod pages;
mod report;
mod secret;
mod token;
mod words;

pub use config::Config;
pub use db::DatabaseUrl;
pub use token::key::{KeyFault, MessageKey};

/// Why the application cannot be built.
#[derive(Debug)]
pub struct StartError(db::DbError);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MANAGE_DATABASE: {}", self.0)
    }
}

impl std::error::Error for StartError {}

/// The application, ready to be launched, with its database opened and brought up to date.
///
/// `server` says where it listens and how it is served; see [`server_defaults`].
///
/// # Errors
/// [`StartError`] where the database cannot be opened.
pub async fn rocket(config: Config, server: Figment) -> Result<Rocket<Build>, StartError> {
    let db = db::Db::open(&config.database).await.map_err(StartError)?;
    if config.demonstration {
        let filled = db.fill_with_demonstration(config.clock.now()).await;
        if filled.map_err(StartError)? {
            log::info!(target: logger::TARGET, "the database was empty and now holds demonstration clinics");
        }
    }
    let app = app::App {
        db,
        clock: config.clock,
        secrets: secret::Secrets::of(&config.key),
        key: config.key,
        session_key: config.session_key,
        bypass_secrets: config.bypass_secrets,
        public_url: config.public_url,
        lifetime_secs: config.lifetime_secs,
        sign_in: auth::Strategy::of(&config.sign_in),
    };
    Ok(rocket::custom(server)
        .manage(app)
        .attach(headers::Headers)
        .attach(logger::Requests)
        .mount("/", pages::routes())
        .register("/", pages::errors::catchers()))
}

/// How it is served unless `ROCKET_*` says otherwise: on 127.0.0.1:8080, without a
/// `Server` header, and without believing a client's word about its own address.
#[must_use]
pub fn server_defaults() -> Figment {
    Figment::from(rocket::Config::default())
        .merge(("address", "127.0.0.1"))
        .merge(("port", 8080))
        .merge(("ident", false))
        .merge(("ip_header", false))
        .merge(("cli_colors", false))
        // Forms and reports are small; nothing else is read.
        .merge(("limits.form", "8KiB"))
        .merge(("limits.data-form", "8KiB"))
}
