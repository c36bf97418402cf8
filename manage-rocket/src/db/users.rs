//! The people who work here. A person is who their sign-in service says by its own `uid`,
//! never by name or e-mail address: addresses are given to somebody else one day.

use sqlx::{Row as _, any::AnyRow};

use super::{Db, DbResult, column, yes_or_no};
use crate::ids::{OrganisationId, UserId};

/// A person, as guards hand them to pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    /// What the sign-in service calls them.
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) organisation: OrganisationId,
    pub(crate) organisation_name: String,
    /// What others call the organisation.
    pub(crate) organisation_content_id: String,
    pub(crate) may_send: bool,
    pub(crate) is_administrator: bool,
}

/// The columns that [`person`] reads, of `users u` and `organisations o`.
pub(super) const PERSON: &str = "u.id AS user_id, u.uid, u.name AS user_name, u.role, \
     u.may_send, u.administrator, o.id AS organisation_id, o.name AS organisation_name, \
     COALESCE(o.content_id, o.id) AS organisation_content_id";

/// Reads a person from a row that has the columns of [`PERSON`].
pub(super) fn person(row: &AnyRow) -> DbResult<Person> {
    Ok(Person {
        id: column(row, "user_id", |text| UserId::parse(text).ok())?,
        uid: row.try_get("uid")?,
        name: row.try_get("user_name")?,
        role: row.try_get("role")?,
        organisation: column(row, "organisation_id", |text| {
            OrganisationId::parse(text).ok()
        })?,
        organisation_name: row.try_get("organisation_name")?,
        organisation_content_id: row.try_get("organisation_content_id")?,
        may_send: yes_or_no(row, "may_send")?.unwrap_or(false),
        is_administrator: yes_or_no(row, "administrator")?.unwrap_or(false),
    })
}

/// What a sign-in service says of somebody who may work here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) uid: &'a str,
    pub(crate) organisation: OrganisationId,
    pub(crate) name: &'a str,
    pub(crate) role: &'a str,
    pub(crate) may_send: bool,
    pub(crate) is_administrator: bool,
    /// Whether this word also lifts a disabling: it does where the service itself disables.
    pub(crate) enables: bool,
}

impl Db {
    /// The people of a sign-in strategy who are not disabled, by name.
    pub(crate) async fn people(&self, strategy: &str) -> DbResult<Vec<Person>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {PERSON} FROM users u JOIN organisations o ON o.id = u.organisation_id \
             WHERE u.strategy = $1 AND u.disabled = 0 ORDER BY u.name, u.id"
        )))
        .bind(strategy)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(person).collect()
    }

    /// Takes a sign-in service's word for a person, new or known by `uid`. `None` where the
    /// person is disabled here.
    pub(crate) async fn take_word(
        &self,
        strategy: &str,
        word: &Word<'_>,
    ) -> DbResult<Option<UserId>> {
        let row = sqlx::query(
            "INSERT INTO users (id, strategy, uid, organisation_id, name, role, may_send, \
             administrator, disabled) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) \
             ON CONFLICT (strategy, uid) DO UPDATE SET \
             organisation_id = excluded.organisation_id, name = excluded.name, \
             role = excluded.role, may_send = excluded.may_send, \
             administrator = excluded.administrator, \
             disabled = CASE WHEN $9 = 1 THEN 0 ELSE users.disabled END \
             RETURNING id AS user_id, disabled",
        )
        .bind(UserId::random().to_string())
        .bind(strategy)
        .bind(word.uid)
        .bind(word.organisation.to_string())
        .bind(word.name)
        .bind(word.role)
        .bind(i64::from(word.may_send))
        .bind(i64::from(word.is_administrator))
        .bind(i64::from(word.enables))
        .fetch_one(&self.pool)
        .await?;
        if yes_or_no(&row, "disabled")? == Some(true) {
            return Ok(None);
        }
        column(&row, "user_id", |text| UserId::parse(text).ok()).map(Some)
    }

    /// Disables a person who may not work here any more, and takes their permissions.
    /// Nobody of that `uid` is nobody to disable.
    pub(crate) async fn disable(&self, strategy: &str, uid: &str) -> DbResult<()> {
        sqlx::query(
            "UPDATE users SET disabled = 1, may_send = 0, administrator = 0 \
             WHERE strategy = $1 AND uid = $2",
        )
        .bind(strategy)
        .bind(uid)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes a person's permissions, and leaves them enabled for the day they get them back.
    pub(crate) async fn take_permissions(&self, strategy: &str, uid: &str) -> DbResult<()> {
        sqlx::query(
            "UPDATE users SET may_send = 0, administrator = 0 WHERE strategy = $1 AND uid = $2",
        )
        .bind(strategy)
        .bind(uid)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The organisation of that `content_id` or code.
    pub(crate) async fn organisation(&self, name: &str) -> DbResult<Option<OrganisationId>> {
        let row = sqlx::query(
            "SELECT id AS organisation_id FROM organisations WHERE content_id = $1 OR code = $1 \
             ORDER BY CASE WHEN content_id = $1 THEN 0 ELSE 1 END LIMIT 1",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        let id = |row: &AnyRow| {
            column(row, "organisation_id", |text| {
                OrganisationId::parse(text).ok()
            })
        };
        row.as_ref().map(id).transpose()
    }
}
