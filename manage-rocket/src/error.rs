//! What a handler can fail with. The person sees a page that says what to do; the log has
//! the cause; neither has a name, a number or a token.

use std::fmt;

use rocket::{Request, http::Status, response::Responder};

use crate::{db::DbError, secret::NoRandomness};

/// A handler's failure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No such page, or not for this person's organisation.
    NotFound,
    /// Not allowed to this person, or not from a form of ours.
    Forbidden,
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

impl<'r> Responder<'r, 'static> for Failure {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        match self {
            Self::NotFound => Err(Status::NotFound),
            Self::Forbidden => Err(Status::Forbidden),
            Self::Database(_) | Self::Randomness | Self::Template(_) => {
                log::error!(target: crate::logger::TARGET, "{self}");
                Err(Status::InternalServerError)
            }
        }
    }
}
