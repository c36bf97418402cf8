//! Why somebody is not signed in: one stable code each, for the page, the log and the
//! README's table. The page says what to do and has a link to try again, and nothing tries
//! again by itself: a browser that goes round in circles helps nobody.

use std::fmt;

use rocket::http::Status;

use crate::outbound::PeerFault;

/// A sign-in that did not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The answer is of no sign-in that this browser began in the last ten minutes.
    NotBegunHere,
    /// The sign-in service said no, in its own code.
    PeerRefused(String),
    /// The answer lacks what it must have, or has it twice.
    Answer(&'static str),
    /// The answer is from another sign-in service (RFC 9207).
    Issuer,
    /// The ID token is not to be believed.
    IdToken(&'static str),
    /// Two answers speak of different people, or of nobody.
    Identity(&'static str),
    /// The person proved who they are less strictly than is asked for here.
    Assurance(&'static str),
    /// The person has no permission to use this service.
    NoPermission,
    /// The person's organisation does not use this service, or several of theirs do.
    NoOrganisation,
    /// The person was disabled.
    Disabled,
    /// The sign-in service cannot be reached or understood.
    Peer(PeerFault),
}

impl Refusal {
    /// Stable, for support.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotBegunHere => "not_begun_here",
            Self::PeerRefused(_) => "peer_refused",
            Self::Answer(_) => "answer",
            Self::Issuer => "issuer",
            Self::IdToken(_) => "id_token",
            Self::Identity(_) => "identity",
            Self::Assurance(_) => "assurance",
            Self::NoPermission => "no_permission",
            Self::NoOrganisation => "no_organisation",
            Self::Disabled => "disabled",
            Self::Peer(_) => "peer",
        }
    }

    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::NotBegunHere | Self::Answer(_) | Self::Issuer => Status::BadRequest,
            Self::PeerRefused(_)
            | Self::IdToken(_)
            | Self::Identity(_)
            | Self::Assurance(_)
            | Self::NoPermission
            | Self::NoOrganisation
            | Self::Disabled => Status::Forbidden,
            Self::Peer(_) => Status::BadGateway,
        }
    }

    /// What it means and what to do, for the person.
    pub(crate) const fn words(&self) -> &'static str {
        match self {
            Self::NotBegunHere => {
                "This sign-in was not begun in this browser, took longer than ten minutes, or was already used. Begin again."
            }
            Self::PeerRefused(_) => {
                "The sign-in service did not sign you in. If you did not cancel it yourself, ask your service manager."
            }
            Self::Answer(_) | Self::Issuer | Self::IdToken(_) | Self::Identity(_) => {
                "The answer of the sign-in service could not be believed. Begin again; if it happens again, tell support."
            }
            Self::Assurance(_) => {
                "This service needs a stronger sign-in, for example with your smartcard. Sign in again that way."
            }
            Self::NoPermission => {
                "Your account has no permission to use this service. Ask your service manager for it."
            }
            Self::NoOrganisation => {
                "Your account does not belong to exactly one organisation that uses this service. Ask your service manager."
            }
            Self::Disabled => "Your account is disabled here. Ask your service manager.",
            Self::Peer(_) => {
                "The sign-in service cannot be reached. Try again in a minute. If somebody is waiting to be screened, use your site\u{2019}s manual procedure."
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not signed in: {}", self.code())?;
        match self {
            Self::Answer(detail)
            | Self::IdToken(detail)
            | Self::Identity(detail)
            | Self::Assurance(detail) => write!(f, ": {detail}"),
            Self::PeerRefused(code) => write!(f, ": {code}"),
            Self::Peer(fault) => write!(f, ": {fault}"),
            Self::NotBegunHere
            | Self::Issuer
            | Self::NoPermission
            | Self::NoOrganisation
            | Self::Disabled => Ok(()),
        }
    }
}

impl From<PeerFault> for Refusal {
    fn from(fault: PeerFault) -> Self {
        Self::Peer(fault)
    }
}
