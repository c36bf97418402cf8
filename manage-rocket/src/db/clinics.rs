//! Clinics, with what is always wanted beside them: their site, its organisation and its
//! active gateway.

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use sqlx::{Row as _, any::AnyRow};

use super::{Db, DbResult, column};
use crate::{
    ids::{ClinicId, OrganisationId},
    local,
};

/// A gateway as a message needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gateway {
    /// The audience of messages for it.
    pub(crate) id: String,
}

/// One clinic.
#[derive(Clone, Debug)]
pub(crate) struct Clinic {
    pub(crate) id: ClinicId,
    pub(crate) name: String,
    pub(crate) date: Date,
    pub(crate) time: Time,
    pub(crate) zone: TimeZone,
    pub(crate) site_name: String,
    pub(crate) organisation_code: String,
    /// `None` where sending is switched off for the site.
    pub(crate) gateway: Option<Gateway>,
    /// How many appointments it has that were not cancelled.
    pub(crate) appointments: i64,
    /// How many were.
    pub(crate) cancelled: i64,
}

macro_rules! select {
    ($end:literal) => {
        concat!(
            "SELECT c.id, c.name, c.local_date, c.local_time, c.time_zone, \
             s.name AS site_name, o.code AS organisation_code, g.id AS gateway_id, \
             (SELECT COUNT(*) FROM appointments a \
               WHERE a.clinic_id = c.id AND a.status <> 'cancelled') AS appointments, \
             (SELECT COUNT(*) FROM appointments a \
               WHERE a.clinic_id = c.id AND a.status = 'cancelled') AS cancelled \
             FROM clinics c JOIN sites s ON s.id = c.site_id \
             JOIN organisations o ON o.id = s.organisation_id \
             LEFT JOIN gateways g ON g.site_id = s.id AND g.state = 'active' \
             WHERE o.id = $1 ",
            $end
        )
    };
}

fn clinic(row: &AnyRow) -> DbResult<Clinic> {
    let gateway: Option<String> = row.try_get("gateway_id")?;
    Ok(Clinic {
        id: column(row, "id", |text| ClinicId::parse(text).ok())?,
        name: row.try_get("name")?,
        date: column(row, "local_date", local::parse_date)?,
        time: column(row, "local_time", local::parse_time)?,
        zone: column(row, "time_zone", local::parse_zone)?,
        site_name: row.try_get("site_name")?,
        organisation_code: row.try_get("organisation_code")?,
        gateway: gateway.map(|id| Gateway { id }),
        appointments: row.try_get("appointments")?,
        cancelled: row.try_get("cancelled")?,
    })
}

impl Db {
    /// The organisation's clinics, earliest first.
    pub(crate) async fn clinics(&self, organisation: OrganisationId) -> DbResult<Vec<Clinic>> {
        let sql = select!("ORDER BY c.local_date, c.local_time, c.name, c.id");
        let query = sqlx::query(sql).bind(organisation.to_string());
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(clinic).collect()
    }

    /// One of the organisation's clinics; another organisation's does not exist.
    pub(crate) async fn clinic(
        &self,
        organisation: OrganisationId,
        id: ClinicId,
    ) -> DbResult<Option<Clinic>> {
        let query = sqlx::query(select!("AND c.id = $2"))
            .bind(organisation.to_string())
            .bind(id.to_string());
        let row = query.fetch_optional(&self.pool).await?;
        row.as_ref().map(clinic).transpose()
    }
}
