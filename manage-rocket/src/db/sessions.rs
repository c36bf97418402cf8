//! Who is signed in. A row is found by the SHA-256 of what the browser's cookie holds.

use gateway_min::UnixTime;
use sqlx::Row as _;

use super::{
    Db, DbResult,
    users::{PERSON, Person, person},
};
use crate::ids::UserId;

/// A session as stored, with its person.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) person: Person,
    /// What gateways are told of it.
    pub(crate) public_id: String,
    /// When the person proved who they are.
    pub(crate) authenticated: UnixTime,
    pub(crate) last_seen: UnixTime,
    pub(crate) ends: UnixTime,
}

/// A session to begin.
#[derive(Clone, Debug)]
pub(crate) struct NewSession<'a> {
    pub(crate) id_hash: &'a str,
    pub(crate) public_id: &'a str,
    pub(crate) user: UserId,
    /// What the sign-in service calls it.
    pub(crate) peer_sid: Option<&'a str>,
    pub(crate) authenticated: UnixTime,
    pub(crate) now: UnixTime,
    pub(crate) ends: UnixTime,
}

impl Db {
    /// The session of that hash, unless its person was disabled or signed in by another
    /// strategy than the present one.
    pub(crate) async fn session(&self, id_hash: &str, strategy: &str) -> DbResult<Option<Session>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT s.public_id, s.authenticated_at, s.last_seen_at, s.ends_at, {PERSON} \
             FROM sessions s JOIN users u ON u.id = s.user_id \
             JOIN organisations o ON o.id = u.organisation_id \
             WHERE s.id_hash = $1 AND u.strategy = $2 AND u.disabled = 0"
        )))
        .bind(id_hash)
        .bind(strategy)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Session {
            person: person(&row)?,
            public_id: row.try_get("public_id")?,
            authenticated: UnixTime::from_secs(row.try_get("authenticated_at")?),
            last_seen: UnixTime::from_secs(row.try_get("last_seen_at")?),
            ends: UnixTime::from_secs(row.try_get("ends_at")?),
        }))
    }

    /// Begins a session.
    pub(crate) async fn begin_session(&self, new: &NewSession<'_>) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO sessions (id_hash, public_id, user_id, peer_sid, authenticated_at, \
             started_at, last_seen_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        )
        .bind(new.id_hash)
        .bind(new.public_id)
        .bind(new.user.to_string())
        .bind(new.peer_sid)
        .bind(new.authenticated.as_secs())
        .bind(new.now.as_secs())
        .bind(new.ends.as_secs())
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

    /// Ends the sessions of the person of that `uid`; those alone that the sign-in service
    /// calls `peer_sid`, where it names one. Says how many.
    pub(crate) async fn end_sessions_of(
        &self,
        strategy: &str,
        uid: Option<&str>,
        peer_sid: Option<&str>,
    ) -> DbResult<u64> {
        // Below, an empty text is no condition: nobody named would be everyone.
        if uid == Some("") || peer_sid == Some("") || (uid.is_none() && peer_sid.is_none()) {
            return Ok(0);
        }
        let ended = sqlx::query(
            "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE strategy = $1 \
             AND (uid = $2 OR $2 = '')) AND (peer_sid = $3 OR $3 = '')",
        )
        .bind(strategy)
        .bind(uid.unwrap_or_default())
        .bind(peer_sid.unwrap_or_default())
        .execute(&self.pool)
        .await?;
        Ok(ended.rows_affected())
    }
}
