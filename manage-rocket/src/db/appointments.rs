//! Appointments, with the participant of each, and the accession numbers they are given.

use std::sync::Arc;

use gateway_min::UnixTime;
use jiff::{
    Zoned,
    civil::{Date, Time},
};
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{Db, DbError, DbResult, clinics::Clinic, column};
use crate::{
    ids::{AppointmentId, ClinicId, NhsNumber, OrganisationId, ParticipantId},
    local, secret,
};

/// What an accession number begins with; 12 random characters follow (60 bits).
const ACCESSION_PREFIX: &str = "MR";

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum $name { $($variant,)* }

        impl $name {
            /// As stored.
            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

text_enum! {
    /// How far an appointment has come.
    Status {
        Booked = "booked",
        CheckedIn = "checked_in",
        Screened = "screened",
        DidNotAttend = "did_not_attend",
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// DICOM's patient's sex.
    Sex {
        Female = "F",
        Male = "M",
        Other = "O",
    }
}

/// A person who is screened.
#[derive(Clone, Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) nhs_number: NhsNumber,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) birth_date: Date,
    pub(crate) sex: Sex,
}

/// One appointment.
#[derive(Clone, Debug)]
pub(crate) struct Appointment {
    pub(crate) id: AppointmentId,
    pub(crate) clinic: Arc<Clinic>,
    pub(crate) participant: Participant,
    pub(crate) time: Time,
    pub(crate) status: Status,
    pub(crate) revision: i64,
    pub(crate) accession_number: String,
    pub(crate) study_instance_uid: String,
}

impl Appointment {
    /// Its moment in the clinic's zone. A time that a change of the clocks skips is taken
    /// an hour later, one that happens twice is the first. `None` beyond the calendar.
    pub(crate) fn scheduled(&self) -> Option<Zoned> {
        let local = self.clinic.date.to_datetime(self.time);
        local.to_zoned(self.clinic.zone.clone()).ok()
    }

    /// SHA-256 over the facts that a message is made of: whatever changes them makes the
    /// next message another revision. Not over the message itself, so that a newer version
    /// of this program does not revise every appointment.
    pub(crate) fn source_digest(&self) -> String {
        let person = &self.participant;
        let date = self.clinic.date.to_string();
        let birth_date = person.birth_date.to_string();
        let time = local::short_time(self.time);
        let zone = self.clinic.zone.iana_name().unwrap_or_default();
        let facts = [
            person.nhs_number.as_str(),
            &person.first_name,
            &person.last_name,
            &birth_date,
            person.sex.code(),
            &date,
            &time,
            zone,
            &self.accession_number,
            &self.study_instance_uid,
        ];
        // U+0000 cannot be stored in either database's texts, so it separates.
        secret::sha256_hex(&facts.join("\0"))
    }
}

fn appointment(row: &AnyRow, clinic: &Arc<Clinic>) -> DbResult<Appointment> {
    Ok(Appointment {
        id: column(row, "id", |text| AppointmentId::parse(text).ok())?,
        clinic: Arc::clone(clinic),
        participant: Participant {
            id: column(row, "participant_id", |text| {
                ParticipantId::parse(text).ok()
            })?,
            nhs_number: column(row, "nhs_number", |text| NhsNumber::parse(text).ok())?,
            first_name: row.try_get("first_name")?,
            last_name: row.try_get("last_name")?,
            birth_date: column(row, "birth_date", local::parse_date)?,
            sex: column(row, "sex", Sex::parse)?,
        },
        time: column(row, "local_time", local::parse_time)?,
        status: column(row, "status", Status::parse)?,
        revision: row.try_get("revision")?,
        accession_number: row.try_get("accession_number")?,
        study_instance_uid: row.try_get("study_instance_uid")?,
    })
}

/// A new appointment's values.
pub(crate) struct NewAppointment<'a> {
    pub(crate) clinic: ClinicId,
    pub(crate) participant: ParticipantId,
    pub(crate) local_time: &'a str,
    pub(crate) status: Status,
}

/// Books an appointment under an accession number that was never given out before.
///
/// # Errors
/// [`DbError`]; where the operating system gives no random bytes, an I/O error.
pub(crate) async fn book(
    transaction: &mut Transaction<'_, Any>,
    new: NewAppointment<'_>,
    now: UnixTime,
) -> DbResult<AppointmentId> {
    let id = AppointmentId::random();
    let random = secret::random_readable::<12>()
        .map_err(|none| DbError::File(std::io::Error::other(none.to_string())))?;
    let number = format!("{ACCESSION_PREFIX}{random}");
    // A number that was given out before violates the primary key, and nothing is booked.
    sqlx::query(
        "INSERT INTO accession_numbers (number, appointment_id, given_at) VALUES ($1, $2, $3)",
    )
    .bind(&number)
    .bind(id.to_string())
    .bind(now.as_secs())
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "INSERT INTO appointments (id, clinic_id, participant_id, local_time, status, revision, \
         accession_number, study_instance_uid) VALUES ($1, $2, $3, $4, $5, 1, $6, $7)",
    )
    .bind(id.to_string())
    .bind(new.clinic.to_string())
    .bind(new.participant.to_string())
    .bind(new.local_time)
    .bind(new.status.code())
    .bind(&number)
    .bind(AppointmentId::random_study_uid())
    .execute(&mut **transaction)
    .await?;
    Ok(id)
}

impl Db {
    /// The clinic's appointments, earliest first.
    pub(crate) async fn appointments(&self, clinic: &Arc<Clinic>) -> DbResult<Vec<Appointment>> {
        let query = sqlx::query(
            "SELECT a.id, a.participant_id, a.local_time, a.status, a.revision, \
             a.accession_number, a.study_instance_uid, \
             p.nhs_number, p.first_name, p.last_name, p.birth_date, p.sex \
             FROM appointments a JOIN participants p ON p.id = a.participant_id \
             WHERE a.clinic_id = $1 ORDER BY a.local_time, p.last_name, p.first_name, a.id",
        );
        let rows = query
            .bind(clinic.id.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| appointment(row, clinic)).collect()
    }

    /// Notes that someone has arrived. Says at which clinic, or nothing where the
    /// organisation has no such appointment; one that is not booked stays as it is.
    pub(crate) async fn check_in(
        &self,
        organisation: OrganisationId,
        id: AppointmentId,
    ) -> DbResult<Option<ClinicId>> {
        let found = sqlx::query(
            "SELECT a.clinic_id FROM appointments a JOIN clinics c ON c.id = a.clinic_id \
             JOIN sites s ON s.id = c.site_id WHERE a.id = $1 AND s.organisation_id = $2",
        )
        .bind(id.to_string())
        .bind(organisation.to_string())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = found else { return Ok(None) };
        sqlx::query("UPDATE appointments SET status = $1 WHERE id = $2 AND status = $3")
            .bind(Status::CheckedIn.code())
            .bind(id.to_string())
            .bind(Status::Booked.code())
            .execute(&self.pool)
            .await?;
        column(&row, "clinic_id", |text| ClinicId::parse(text).ok()).map(Some)
    }

    /// Makes the appointment the next revision, unless someone else already did.
    pub(crate) async fn revise(&self, id: AppointmentId, from: i64) -> DbResult<()> {
        sqlx::query(
            "UPDATE appointments SET revision = revision + 1 WHERE id = $1 AND revision = $2",
        )
        .bind(id.to_string())
        .bind(from)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
