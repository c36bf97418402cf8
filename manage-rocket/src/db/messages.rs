//! Messages and their signings. Both tables are append-only: a message's content is fixed
//! under its `jti`, and each time it was signed is a row of its own. Two pages that make
//! the same message at once get one row, by the unique constraint, and both read it.

use std::collections::HashMap;

use gateway_min::{UnixTime, claims::ActionType};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{Db, DbResult, column};
use crate::{
    ids::{AppointmentId, ClinicId, Jti, UserId},
    token::claims::Content,
};

/// A message as stored.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) jti: Jti,
    pub(crate) appointment: AppointmentId,
    pub(crate) revision: i64,
    pub(crate) source_digest: String,
    pub(crate) content: Content,
}

/// One signing of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signing {
    pub(crate) serial: i64,
    pub(crate) kid: String,
    pub(crate) issuer: String,
    pub(crate) issued: UnixTime,
    pub(crate) expires: UnixTime,
    /// The claims set, byte for byte as it was signed.
    pub(crate) claims: String,
}

macro_rules! select_message {
    ($from:literal) => {
        concat!(
            "SELECT m.jti, m.appointment_id, m.action_type, m.revision, m.organisation, \
             m.source_reference, m.parameters, m.source_digest FROM messages m ",
            $from
        )
    };
}

fn message(row: &AnyRow) -> DbResult<Message> {
    let appointment = column(row, "appointment_id", |text| {
        AppointmentId::parse(text).ok()
    })?;
    Ok(Message {
        jti: column(row, "jti", |text| Jti::parse(text).ok())?,
        appointment,
        revision: row.try_get("revision")?,
        source_digest: row.try_get("source_digest")?,
        content: Content {
            subject: appointment.to_string(),
            organisation: row.try_get("organisation")?,
            action: column(row, "action_type", ActionType::parse)?,
            source_reference: row.try_get("source_reference")?,
            parameters: row.try_get("parameters")?,
        },
    })
}

fn signing(row: &AnyRow) -> DbResult<Signing> {
    Ok(Signing {
        serial: row.try_get("serial")?,
        kid: row.try_get("kid")?,
        issuer: row.try_get("issuer")?,
        issued: UnixTime::from_secs(row.try_get("issued_at")?),
        expires: UnixTime::from_secs(row.try_get("expires_at")?),
        claims: row.try_get("claims")?,
    })
}

impl Db {
    /// The clinic's messages for one gateway and action, every revision.
    pub(crate) async fn messages(
        &self,
        clinic: ClinicId,
        gateway: &str,
        action: ActionType,
    ) -> DbResult<Vec<Message>> {
        let rows = sqlx::query(select_message!(
            "JOIN appointments a ON a.id = m.appointment_id \
             WHERE a.clinic_id = $1 AND m.gateway_id = $2 AND m.action_type = $3"
        ))
        .bind(clinic.to_string())
        .bind(gateway)
        .bind(action.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(message).collect()
    }

    /// The latest signing of each of the clinic's messages for one gateway.
    pub(crate) async fn signings(
        &self,
        clinic: ClinicId,
        gateway: &str,
    ) -> DbResult<HashMap<Jti, Signing>> {
        let rows = sqlx::query(
            "SELECT s.jti, s.serial, s.kid, s.issuer, s.issued_at, s.expires_at, s.claims \
             FROM signings s JOIN messages m ON m.jti = s.jti \
             JOIN appointments a ON a.id = m.appointment_id \
             WHERE a.clinic_id = $1 AND m.gateway_id = $2 \
             AND s.serial = (SELECT MAX(l.serial) FROM signings l WHERE l.jti = s.jti)",
        )
        .bind(clinic.to_string())
        .bind(gateway)
        .fetch_all(&self.pool)
        .await?;
        let jti = |row| column(row, "jti", |text| Jti::parse(text).ok());
        rows.iter()
            .map(|row| Ok((jti(row)?, signing(row)?)))
            .collect()
    }
}

/// Keeps a new message, unless there is one for the same gateway, appointment, action and
/// revision; returns the one that there then is.
pub(crate) async fn keep_message(
    transaction: &mut Transaction<'_, Any>,
    gateway: &str,
    new: &Message,
    now: UnixTime,
) -> DbResult<Message> {
    let content = &new.content;
    sqlx::query(
        "INSERT INTO messages (jti, gateway_id, appointment_id, action_type, revision, \
         organisation, source_reference, parameters, source_digest, content_digest, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (gateway_id, appointment_id, action_type, revision) DO NOTHING",
    )
    .bind(new.jti.to_string())
    .bind(gateway)
    .bind(new.appointment.to_string())
    .bind(content.action.as_str())
    .bind(new.revision)
    .bind(&content.organisation)
    .bind(&content.source_reference)
    .bind(&content.parameters)
    .bind(&new.source_digest)
    .bind(content.digest())
    .bind(now.as_secs())
    .execute(&mut **transaction)
    .await?;
    let row = sqlx::query(select_message!(
        "WHERE m.gateway_id = $1 AND m.appointment_id = $2 AND m.action_type = $3 \
         AND m.revision = $4"
    ))
    .bind(gateway)
    .bind(new.appointment.to_string())
    .bind(content.action.as_str())
    .bind(new.revision)
    .fetch_one(&mut **transaction)
    .await?;
    message(&row)
}

/// Keeps a new signing, unless there is one of that serial number; returns the latest that
/// there then is.
pub(crate) async fn keep_signing(
    transaction: &mut Transaction<'_, Any>,
    jti: Jti,
    new: &Signing,
    signed_for: UserId,
) -> DbResult<Signing> {
    sqlx::query(
        "INSERT INTO signings (jti, serial, kid, issuer, issued_at, expires_at, signed_for, claims) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (jti, serial) DO NOTHING",
    )
    .bind(jti.to_string())
    .bind(new.serial)
    .bind(&new.kid)
    .bind(&new.issuer)
    .bind(new.issued.as_secs())
    .bind(new.expires.as_secs())
    .bind(signed_for.to_string())
    .bind(&new.claims)
    .execute(&mut **transaction)
    .await?;
    let row = sqlx::query(
        "SELECT serial, kid, issuer, issued_at, expires_at, claims FROM signings \
         WHERE jti = $1 ORDER BY serial DESC LIMIT 1",
    )
    .bind(jti.to_string())
    .fetch_one(&mut **transaction)
    .await?;
    signing(&row)
}
