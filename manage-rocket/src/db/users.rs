//! The people who work here.

use sqlx::{Row as _, any::AnyRow};

use super::{Db, DbResult, column, yes_or_no};
use crate::ids::{OrganisationId, UserId};

/// A person, as guards hand them to pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) organisation: OrganisationId,
    pub(crate) organisation_name: String,
    pub(crate) may_send: bool,
}

/// Reads a person from a row that has these columns.
pub(super) fn person(row: &AnyRow) -> DbResult<Person> {
    Ok(Person {
        id: column(row, "user_id", |text| UserId::parse(text).ok())?,
        name: row.try_get("user_name")?,
        role: row.try_get("role")?,
        organisation: column(row, "organisation_id", |text| {
            OrganisationId::parse(text).ok()
        })?,
        organisation_name: row.try_get("organisation_name")?,
        may_send: yes_or_no(row, "may_send")?.unwrap_or(false),
    })
}

impl Db {
    /// The people of a sign-in strategy who are not disabled, by name.
    pub(crate) async fn people(&self, strategy: &str) -> DbResult<Vec<Person>> {
        let rows = sqlx::query(
            "SELECT u.id AS user_id, u.name AS user_name, u.role, u.may_send, \
             o.id AS organisation_id, o.name AS organisation_name \
             FROM users u JOIN organisations o ON o.id = u.organisation_id \
             WHERE u.strategy = $1 AND u.disabled = 0 ORDER BY u.name, u.id",
        )
        .bind(strategy)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(person).collect()
    }
}
