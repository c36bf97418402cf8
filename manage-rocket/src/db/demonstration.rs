//! Made-up clinics to try things out with: one organisation, one site with a gateway, two
//! clinics (today's and tomorrow's), a dozen participants, three people who can sign in
//! by the mock. Written only into a database that has no organisation at all.
//!
//! The names are invented. The NHS numbers are from the range that begins with 999, which
//! is never given to a patient.

use gateway_min::UnixTime;
use jiff::{ToSpan as _, tz::TimeZone};
use sqlx::{Any, Transaction};

use super::{
    Db, DbError, DbResult,
    appointments::{NewAppointment, Status, book},
};
use crate::{
    ids::{ClinicId, OrganisationId, ParticipantId, SiteId, UserId},
    local,
};

/// The demonstration site's gateway, as its `GATEWAY_ID` must be.
const GATEWAY_ID: &str = "screening-gateway";
const GATEWAY_ADDRESS: &str = "http://127.0.0.1:9090";
const GATEWAY_CALLBACK: &str = "http://127.0.0.1:9090/auth/callback";
const TIME_ZONE: &str = "Europe/London";

struct Row {
    nhs_number: &'static str,
    first_name: &'static str,
    last_name: &'static str,
    birth_date: &'static str,
    sex: &'static str,
    local_time: &'static str,
    status: Status,
}

const fn row(
    local_time: &'static str,
    (first_name, last_name): (&'static str, &'static str),
    nhs_number: &'static str,
    birth_date: &'static str,
    status: Status,
) -> Row {
    Row {
        nhs_number,
        first_name,
        last_name,
        birth_date,
        sex: "F",
        local_time,
        status,
    }
}

const TODAY: &[Row] = &[
    row(
        "09:00",
        ("Beatrix", "Larkfield"),
        "9995260182",
        "1958-02-11",
        Status::Screened,
    ),
    row(
        "09:12",
        ("Ngozi", "Amberley"),
        "9991590838",
        "1964-09-30",
        Status::CheckedIn,
    ),
    row(
        "09:24",
        ("Siân", "Prys-Holloway"),
        "9990166137",
        "1971-05-03",
        Status::CheckedIn,
    ),
    row(
        "09:36",
        ("Margaret", "O\u{2019}Dunmore"),
        "9991860916",
        "1955-12-24",
        Status::CheckedIn,
    ),
    row(
        "09:48",
        ("Yukiko", "Tanemura"),
        "9993909963",
        "1967-07-19",
        Status::Booked,
    ),
    row(
        "10:00",
        ("Priya", "Vallabhan"),
        "9990308241",
        "1973-03-08",
        Status::Booked,
    ),
    row(
        "10:12",
        ("Dorothy", "Winterbourne"),
        "9996281949",
        "1953-10-27",
        Status::DidNotAttend,
    ),
    row(
        "10:24",
        ("Zofia", "Żurawska"),
        "9998219930",
        "1962-01-15",
        Status::Cancelled,
    ),
];

const TOMORROW: &[Row] = &[
    row(
        "13:30",
        ("Amara", "Oyelaran-Finch"),
        "9995181908",
        "1969-06-21",
        Status::Booked,
    ),
    row(
        "13:42",
        ("Helen", "Castlemayne"),
        "9992319488",
        "1957-08-02",
        Status::Booked,
    ),
    row(
        "13:54",
        ("Roza", "Sadigova"),
        "9997574915",
        "1965-11-13",
        Status::Booked,
    ),
    row(
        "14:06",
        ("Elizabeth", "Thornquist"),
        "9991862528",
        "1960-04-29",
        Status::Booked,
    ),
];

async fn people(transaction: &mut Transaction<'_, Any>, organisation: &str) -> DbResult<()> {
    for (uid, name, role, may_send, administrator) in [
        (
            "radiographer",
            "Rosalind Achebe",
            "Radiographer",
            1_i64,
            0_i64,
        ),
        ("clerk", "Tomasz Birch", "Screening office", 0, 0),
        ("manager", "Winifred Okonjo", "Service manager", 0, 1),
    ] {
        sqlx::query(
            "INSERT INTO users (id, strategy, uid, organisation_id, name, role, may_send, \
             administrator, disabled) VALUES ($1, 'mock', $2, $3, $4, $5, $6, $7, 0)",
        )
        .bind(UserId::random().to_string())
        .bind(uid)
        .bind(organisation)
        .bind(name)
        .bind(role)
        .bind(may_send)
        .bind(administrator)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

async fn site(transaction: &mut Transaction<'_, Any>, organisation: &str) -> DbResult<String> {
    let site = SiteId::random().to_string();
    sqlx::query("INSERT INTO sites (id, organisation_id, name) VALUES ($1, $2, $3)")
        .bind(&site)
        .bind(organisation)
        .bind("Ashdown Road Screening Unit")
        .execute(&mut **transaction)
        .await?;
    sqlx::query(
        "INSERT INTO gateways (id, site_id, address, callback, state) \
         VALUES ($1, $2, $3, $4, 'active')",
    )
    .bind(GATEWAY_ID)
    .bind(&site)
    .bind(GATEWAY_ADDRESS)
    .bind(GATEWAY_CALLBACK)
    .execute(&mut **transaction)
    .await?;
    Ok(site)
}

impl Db {
    /// Fills an empty database; says whether it did.
    ///
    /// # Errors
    /// [`DbError`]; then nothing was written.
    pub(crate) async fn fill_with_demonstration(&self, now: UnixTime) -> DbResult<bool> {
        let zone = local::parse_zone(TIME_ZONE).unwrap_or(TimeZone::UTC);
        let today = local::in_zone(now, &zone).date();
        let tomorrow = today
            .checked_add(1.day())
            .map_err(|_end_of_time: jiff::Error| DbError::Stored {
                column: "local_date",
            })?;

        let mut transaction = self.begin().await?;
        let organisation = OrganisationId::random().to_string();
        let inserted = sqlx::query(
            "INSERT INTO organisations (id, code, name, content_id) SELECT $1, $2, $3, $1 \
             WHERE NOT EXISTS (SELECT 1 FROM organisations)",
        )
        .bind(&organisation)
        .bind("DEMO")
        .bind("Demonstration Breast Screening Service")
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        people(&mut transaction, &organisation).await?;
        let site = site(&mut transaction, &organisation).await?;
        for (name, date, start, rows) in [
            ("Morning clinic, Room 2", today, "09:00", TODAY),
            ("Afternoon clinic, Room 1", tomorrow, "13:30", TOMORROW),
        ] {
            let clinic = ClinicId::random();
            sqlx::query(
                "INSERT INTO clinics (id, site_id, name, local_date, local_time, time_zone) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(clinic.to_string())
            .bind(&site)
            .bind(name)
            .bind(date.to_string())
            .bind(start)
            .bind(TIME_ZONE)
            .execute(&mut *transaction)
            .await?;
            for row in rows {
                let participant = ParticipantId::random();
                sqlx::query(
                    "INSERT INTO participants (id, organisation_id, nhs_number, first_name, \
                     last_name, birth_date, sex) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(participant.to_string())
                .bind(&organisation)
                .bind(row.nhs_number)
                .bind(row.first_name)
                .bind(row.last_name)
                .bind(row.birth_date)
                .bind(row.sex)
                .execute(&mut *transaction)
                .await?;
                let new = NewAppointment {
                    clinic,
                    participant,
                    local_time: row.local_time,
                    status: row.status,
                };
                book(&mut transaction, new, now).await?;
            }
        }
        transaction.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{TODAY, TOMORROW};
    use crate::{ids::NhsNumber, local};

    #[test]
    fn the_made_up_people_are_well_formed_and_in_the_test_range() {
        let rows: Vec<_> = TODAY.iter().chain(TOMORROW).collect();
        assert_eq!(rows.len(), 12);
        for row in &rows {
            assert!(row.nhs_number.starts_with("999"), "{}", row.last_name);
            assert!(
                NhsNumber::parse(row.nhs_number).is_ok(),
                "{}",
                row.last_name
            );
            assert!(
                local::parse_date(row.birth_date).is_some(),
                "{}",
                row.last_name
            );
            assert!(
                local::parse_time(row.local_time).is_some(),
                "{}",
                row.last_name
            );
        }
    }
}
