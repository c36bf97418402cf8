//! The mock strategy: whoever comes chooses who they are. For development and
//! demonstrations; `config` refuses it in a release build unless asked for by name. Its
//! people are the users of strategy `mock` in the database; with `GDS_SSO_MOCK_INVALID`
//! there are none, so that one can see what a stranger sees.

use super::Strategy;
use crate::{app::App, db::users::Person, error::Failure, ids::UserId};

/// The people to choose from: nobody, where people sign in otherwise.
pub(crate) async fn people(app: &App) -> Result<Vec<Person>, Failure> {
    match app.sign_in {
        Strategy::Mock { nobody: false } => Ok(app.db.people(app.sign_in.name()).await?),
        Strategy::Mock { nobody: true } | Strategy::Signon(_) | Strategy::Oidc(_) => Ok(Vec::new()),
    }
}

/// The person of that id, if they are one to choose.
pub(crate) async fn choose(app: &App, id: &str) -> Result<Person, Failure> {
    let id = UserId::parse(id).map_err(|_not_an_id| Failure::Forbidden)?;
    let person = people(app)
        .await?
        .into_iter()
        .find(|person| person.id == id);
    person.ok_or(Failure::Forbidden)
}
