//! What came back, append-only, in the order it was told.

use std::collections::HashMap;

use gateway_min::UnixTime;
use jiff::tz::TimeZone;
use sqlx::{Row as _, any::AnyRow};

use super::{Db, DbError, DbResult, column, yes_or_no};
use crate::{
    ids::{AppointmentId, ClinicId, Jti, UserId},
    local,
    outcome::Outcome,
};

/// How often one message's outcome is kept. A person clicks a button a few times; a script
/// that has a report token should not fill the disk.
const MOST_OUTCOMES: i64 = 200;

/// How often an outcome is tried to be kept when others are kept at the same moment.
const TRIES: u32 = 16;

/// An outcome as kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub(crate) jti: Jti,
    pub(crate) reported: UnixTime,
    pub(crate) reported_by: String,
    pub(crate) outcome: Outcome,
    pub(crate) routed: Option<bool>,
}

/// An outcome to be kept, as a browser tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) jti: Jti,
    pub(crate) by: UserId,
    pub(crate) at: UnixTime,
    pub(crate) outcome: Outcome,
    pub(crate) routed: Option<bool>,
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keeping {
    /// It is kept.
    Kept,
    /// There are as many as are kept of one message.
    Full,
    /// There is no such message.
    NoSuchMessage,
}

fn kept(row: &AnyRow) -> DbResult<Kept> {
    Ok(Kept {
        jti: column(row, "jti", |text| Jti::parse(text).ok())?,
        reported: UnixTime::from_secs(row.try_get("reported_at")?),
        reported_by: row.try_get("reported_by")?,
        outcome: column(row, "outcome", Outcome::parse)?,
        routed: yes_or_no(row, "routed")?,
    })
}

impl Db {
    /// Every outcome of the clinic's messages for one gateway, by appointment and in order.
    pub(crate) async fn outcomes(
        &self,
        clinic: ClinicId,
        gateway: &str,
    ) -> DbResult<HashMap<AppointmentId, Vec<Kept>>> {
        let rows = sqlx::query(
            "SELECT m.appointment_id, o.jti, o.reported_at, u.name AS reported_by, o.outcome, \
             o.routed FROM outcomes o JOIN messages m ON m.jti = o.jti \
             JOIN appointments a ON a.id = m.appointment_id JOIN users u ON u.id = o.reported_by \
             WHERE a.clinic_id = $1 AND m.gateway_id = $2 ORDER BY m.revision, o.serial",
        )
        .bind(clinic.to_string())
        .bind(gateway)
        .fetch_all(&self.pool)
        .await?;
        let mut outcomes: HashMap<_, Vec<_>> = HashMap::new();
        for row in &rows {
            let appointment = column(row, "appointment_id", |text| {
                AppointmentId::parse(text).ok()
            })?;
            outcomes.entry(appointment).or_default().push(kept(row)?);
        }
        Ok(outcomes)
    }

    /// Keeps what a browser tells.
    pub(crate) async fn keep_outcome(&self, report: &Report) -> DbResult<Keeping> {
        for _ in 0..TRIES {
            let inserted = sqlx::query(
                "INSERT INTO outcomes \
                 (jti, serial, reported_at, reported_by, outcome, routed, source, receipt) \
                 SELECT m.jti, (SELECT COUNT(*) + 1 FROM outcomes o WHERE o.jti = m.jti), \
                 $2, $3, $4, $5, 'browser', NULL FROM messages m WHERE m.jti = $1 \
                 AND (SELECT COUNT(*) FROM outcomes o WHERE o.jti = m.jti) < $6 \
                 ON CONFLICT (jti, serial) DO NOTHING",
            )
            .bind(report.jti.to_string())
            .bind(report.at.as_secs())
            .bind(report.by.to_string())
            .bind(report.outcome.to_string())
            .bind(report.routed.map(i64::from))
            .bind(MOST_OUTCOMES)
            .execute(&self.pool)
            .await?;
            if inserted.rows_affected() == 1 {
                return Ok(Keeping::Kept);
            }
            // Nothing inserted: another one took the serial number, or there is no room.
            let row = sqlx::query(
                "SELECT (SELECT COUNT(*) FROM messages WHERE jti = $1) AS messages, \
                 (SELECT COUNT(*) FROM outcomes WHERE jti = $1) AS outcomes",
            )
            .bind(report.jti.to_string())
            .fetch_one(&self.pool)
            .await?;
            if row.try_get::<i64, _>("messages")? == 0 {
                return Ok(Keeping::NoSuchMessage);
            }
            if row.try_get::<i64, _>("outcomes")? >= MOST_OUTCOMES {
                return Ok(Keeping::Full);
            }
        }
        Err(DbError::Sql(sqlx::Error::PoolTimedOut))
    }

    /// Every outcome of one message, in order.
    pub(crate) async fn outcomes_of(&self, jti: Jti) -> DbResult<Vec<Kept>> {
        let rows = sqlx::query(
            "SELECT o.jti, o.reported_at, u.name AS reported_by, o.outcome, o.routed \
             FROM outcomes o JOIN users u ON u.id = o.reported_by \
             WHERE o.jti = $1 ORDER BY o.serial",
        )
        .bind(jti.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(kept).collect()
    }

    /// The zone of the clinic that the message belongs to.
    pub(crate) async fn zone_of(&self, jti: Jti) -> DbResult<TimeZone> {
        let row = sqlx::query(
            "SELECT c.time_zone FROM messages m JOIN appointments a ON a.id = m.appointment_id \
             JOIN clinics c ON c.id = a.clinic_id WHERE m.jti = $1",
        )
        .bind(jti.to_string())
        .fetch_one(&self.pool)
        .await?;
        column(&row, "time_zone", local::parse_zone)
    }
}
