//! What a handler can fail with. The person sees a page that says what to do; the log has
//! the cause; neither has a name, a number or a token.

use std::fmt;

use rocket::{Request, http::Status, response::Responder};

use crate::{auth::refusal::Refusal, db::DbError, secret::NoRandomness};

/// A handler's failure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No such page, or not for this person's organisation.
    NotFound,
    /// Not allowed to this person, or not from a form of ours.
    Forbidden,
    /// Not understood.
    BadRequest,
    /// Somebody is not signed in, and why.
    Refused(Refusal),
    /// The database failed.
    Database(DbError),
    /// The operating system gives no random bytes.
    Randomness,
    /// A page could not be rendered.
    Template(askama::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Forbidden => f.write_str("forbidden"),
            Self::BadRequest => f.write_str("not understood"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Database(error) => error.fmt(f),
            Self::Randomness => f.write_str("the operating system gives no random bytes"),
            Self::Template(error) => write!(f, "a page cannot be rendered: {error}"),
        }
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl From<NoRandomness> for Failure {
    fn from(NoRandomness: NoRandomness) -> Self {
        Self::Randomness
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Left with the request for the error page, which says more than a status can.
pub(crate) struct Refused(pub(crate) Option<Refusal>);

impl<'r> Responder<'r, 'static> for Failure {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        match self {
            Self::NotFound => Err(Status::NotFound),
            Self::Forbidden => Err(Status::Forbidden),
            Self::BadRequest => Err(Status::BadRequest),
            Self::Refused(refusal) => {
                log::warn!(target: crate::logger::TARGET, "{refusal}");
                let status = refusal.status();
                request.local_cache(|| Refused(Some(refusal)));
                Err(status)
            }
            Self::Database(_) | Self::Randomness | Self::Template(_) => {
                log::error!(target: crate::logger::TARGET, "{self}");
                Err(Status::InternalServerError)
            }
        }
    }
}
