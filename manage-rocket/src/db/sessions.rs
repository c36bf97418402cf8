//! Who is signed in. A row is found by the SHA-256 of what the browser's cookie holds.

use gateway_min::UnixTime;
use sqlx::Row as _;

use super::{
    Db, DbResult,
    users::{Person, person},
};
use crate::ids::UserId;

/// A session as stored, with its person.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) person: Person,
    pub(crate) last_seen: UnixTime,
    pub(crate) ends: UnixTime,
}

impl Db {
    /// The session of that hash, unless its person was disabled.
    pub(crate) async fn session(&self, id_hash: &str) -> DbResult<Option<Session>> {
        let row = sqlx::query(
            "SELECT s.last_seen_at, s.ends_at, u.id AS user_id, u.name AS user_name, u.role, \
             u.may_send, o.id AS organisation_id, o.name AS organisation_name \
             FROM sessions s JOIN users u ON u.id = s.user_id \
             JOIN organisations o ON o.id = u.organisation_id \
             WHERE s.id_hash = $1 AND u.disabled = 0",
        )
        .bind(id_hash)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Session {
            person: person(&row)?,
            last_seen: UnixTime::from_secs(row.try_get("last_seen_at")?),
            ends: UnixTime::from_secs(row.try_get("ends_at")?),
        }))
    }

    /// Begins a session.
    pub(crate) async fn begin_session(
        &self,
        id_hash: &str,
        user: UserId,
        now: UnixTime,
        ends: UnixTime,
    ) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO sessions (id_hash, user_id, started_at, last_seen_at, ends_at) \
             VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(id_hash)
        .bind(user.to_string())
        .bind(now.as_secs())
        .bind(ends.as_secs())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that the session was used.
    pub(crate) async fn touch_session(&self, id_hash: &str, now: UnixTime) -> DbResult<()> {
        sqlx::query(
            "UPDATE sessions SET last_seen_at = $1 WHERE id_hash = $2 AND last_seen_at < $1",
        )
        .bind(now.as_secs())
        .bind(id_hash)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends the session of that hash, and every one that was over before `idle_since` or
    /// has reached its end.
    pub(crate) async fn end_session(
        &self,
        id_hash: &str,
        idle_since: UnixTime,
        now: UnixTime,
    ) -> DbResult<()> {
        sqlx::query(
            "DELETE FROM sessions WHERE id_hash = $1 OR last_seen_at <= $2 OR ends_at <= $3",
        )
        .bind(id_hash)
        .bind(idle_since.as_secs())
        .bind(now.as_secs())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
