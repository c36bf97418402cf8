//! What a message says. [`Content`] is fixed once for each revision of an appointment;
//! [`Claims`] adds who signed it in, when, and until when. The names and bounds are the
//! gateway's (`gateway_min::claims`, `limits`), so signer and verifier cannot drift apart.
//! Refuses to build what no gateway or worklist would take.

use gateway_min::{
    UnixTime,
    claims::{ActionType, SCHEMA_VERSION, name},
    limits,
};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap as _},
};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::sign::Unsignable;
use crate::{db::appointments::Appointment, local};

/// DICOM's longest person name (PS3.5 section 6.2) in characters.
const MAX_PERSON_NAME: usize = 64;
/// DICOM's longest short string (SH), such as an accession number.
const MAX_SHORT_STRING: usize = 16;

/// The part of a message that stays the same however often it is signed. The two JSON
/// texts go into the claims byte for byte: a gateway compares them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    pub(crate) subject: String,
    pub(crate) organisation: String,
    pub(crate) action: ActionType,
    pub(crate) source_reference: String,
    pub(crate) parameters: String,
}

#[derive(Serialize)]
struct SourceReference<'a> {
    appointment_id: &'a str,
    clinic_id: &'a str,
    participant_id: &'a str,
}

#[derive(Serialize)]
struct Parameters<'a> {
    id: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    worklist_item: WorklistItem<'a>,
}

#[derive(Serialize)]
struct WorklistItem<'a> {
    accession_number: &'a str,
    study_instance_uid: &'a str,
    requested_procedure_id: &'a str,
    scheduled_procedure_step_id: String,
    revision: i64,
    participant: Participant<'a>,
    scheduled: Scheduled<'a>,
    procedure: Procedure,
}

#[derive(Serialize)]
struct Participant<'a> {
    nhs_number: &'a str,
    name: String,
    birth_date: String,
    sex: &'a str,
}

#[derive(Serialize)]
struct Scheduled<'a> {
    date: String,
    time: String,
    offset: String,
    location: &'a str,
}

#[derive(Serialize)]
struct Procedure {
    modality: &'static str,
    study_description: &'static str,
    code: Code,
}

#[derive(Serialize)]
struct Code {
    value: &'static str,
    scheme: &'static str,
    meaning: &'static str,
}

/// The one procedure of a screening clinic, by its SNOMED CT code.
const SCREENING: Procedure = Procedure {
    modality: "MG",
    study_description: "Breast screening mammography",
    code: Code {
        value: "1224585002",
        scheme: "SCT",
        meaning: "Breast screening mammography",
    },
};

/// `LAST^FIRST` as DICOM writes names (PS3.5 section 6.2.1). The characters that separate
/// there (`^`, `=`, `\`) and control characters become spaces.
///
/// # Errors
/// [`Unsignable::WorklistValue`] where the name has no letters or is longer than 64
/// characters: a shortened name is another person's.
fn person_name(last: &str, first: &str) -> Result<String, Unsignable> {
    let clean = |part: &str| {
        let separates = |c: char| c.is_control() || matches!(c, '^' | '=' | '\\');
        let spaced = part.replace(separates, " ").to_uppercase();
        spaced.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (last, first) = (clean(last), clean(first));
    let name = format!("{last}^{first}");
    if last.is_empty() || name.chars().count() > MAX_PERSON_NAME {
        return Err(Unsignable::WorklistValue { name: "name" });
    }
    Ok(name)
}

/// A text of 1 to 16 printable characters (DICOM SH).
fn short_string(name: &'static str, text: &str) -> Result<(), Unsignable> {
    let length = text.chars().count();
    let fits = (1..=MAX_SHORT_STRING).contains(&length)
        && !text.chars().any(|c| c.is_control() || c == '\\');
    fits.then_some(()).ok_or(Unsignable::WorklistValue { name })
}

fn json(value: &impl Serialize) -> Result<String, Unsignable> {
    serde_json::to_string(value).map_err(|_derived_types_only: serde_json::Error| {
        Unsignable::WorklistValue { name: "message" }
    })
}

impl Content {
    /// "Put this appointment on the worklist", as its `revision`.
    ///
    /// # Errors
    /// [`Unsignable`] where the appointment has a value that no worklist has room for.
    pub(crate) fn create_item(
        appointment: &Appointment,
        revision: i64,
    ) -> Result<Self, Unsignable> {
        let person = &appointment.participant;
        let accession = appointment.accession_number.as_str();
        let step = format!("{accession}-1");
        short_string("accession number", accession)?;
        short_string("procedure step", &step)?;
        let id = appointment.id.to_string();
        let scheduled = appointment
            .scheduled()
            .ok_or(Unsignable::WorklistValue { name: "time" })?;
        let parameters = Parameters {
            id: &id,
            first_name: &person.first_name,
            last_name: &person.last_name,
            worklist_item: WorklistItem {
                accession_number: accession,
                study_instance_uid: &appointment.study_instance_uid,
                requested_procedure_id: accession,
                scheduled_procedure_step_id: step,
                revision,
                participant: Participant {
                    nhs_number: person.nhs_number.as_str(),
                    name: person_name(&person.last_name, &person.first_name)?,
                    birth_date: local::dicom_date(person.birth_date),
                    sex: person.sex.code(),
                },
                scheduled: Scheduled {
                    date: local::dicom_date(scheduled.date()),
                    time: local::dicom_time(scheduled.time()),
                    offset: local::dicom_offset(&scheduled),
                    location: &appointment.clinic.site_name,
                },
                procedure: SCREENING,
            },
        };
        let source_reference = SourceReference {
            appointment_id: &id,
            clinic_id: &appointment.clinic.id.to_string(),
            participant_id: &person.id.to_string(),
        };
        Ok(Self {
            subject: id.clone(),
            organisation: appointment.clinic.organisation_code.clone(),
            action: ActionType::WorklistCreateItem,
            source_reference: json(&source_reference)?,
            parameters: json(&parameters)?,
        })
    }

    /// SHA-256, in hexadecimal, over what a gateway compares: subject, action and
    /// parameters, each behind its length.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.subject, self.action.as_str(), &self.parameters] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        crate::secret::hex(&hash.finalize())
    }
}

/// A claims set, ready to be signed. It is serialised in one order.
#[derive(Clone, Debug)]
pub(crate) struct Claims<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) issued: UnixTime,
    pub(crate) expires: UnixTime,
    pub(crate) jti: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) content: &'a Content,
}

#[derive(Serialize)]
struct Actor<'a> {
    sub: &'a str,
}

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = |text: &'_ str| {
            serde_json::from_str::<&RawValue>(text)
                .map_err(S::Error::custom)
                .map(ToOwned::to_owned)
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(name::ISS, self.issuer)?;
        map.serialize_entry(name::AUD, self.audience)?;
        map.serialize_entry(name::IAT, &self.issued.as_secs())?;
        map.serialize_entry(name::EXP, &self.expires.as_secs())?;
        map.serialize_entry(name::JTI, self.jti)?;
        map.serialize_entry(name::SUB, &self.content.subject)?;
        map.serialize_entry(name::ACT, &Actor { sub: self.actor })?;
        map.serialize_entry(name::ORG, &self.content.organisation)?;
        map.serialize_entry(name::SCHEMA_VERSION, &SCHEMA_VERSION)?;
        map.serialize_entry(name::ACTION_TYPE, self.content.action.as_str())?;
        map.serialize_entry(
            name::SOURCE_REFERENCE,
            &raw(&self.content.source_reference)?,
        )?;
        map.serialize_entry(name::PARAMETERS, &raw(&self.content.parameters)?)?;
        map.end()
    }
}

impl Claims<'_> {
    /// The claims as JSON text.
    ///
    /// # Errors
    /// [`Unsignable`] where a text is outside the gateway's bounds.
    pub(crate) fn to_json(&self) -> Result<String, Unsignable> {
        let texts = [
            (name::ISS, self.issuer, limits::MAX_TEXT),
            (name::AUD, self.audience, limits::MAX_TEXT),
            (name::JTI, self.jti, limits::MAX_JTI),
            (name::SUB, self.content.subject.as_str(), limits::MAX_TEXT),
            (name::ACT, self.actor, limits::MAX_TEXT),
            (
                name::ORG,
                self.content.organisation.as_str(),
                limits::MAX_TEXT,
            ),
        ];
        for (claim, text, longest) in texts {
            if text.is_empty() || text.len() > longest {
                return Err(Unsignable::ClaimLength { claim });
            }
            if text.chars().any(char::is_control) {
                return Err(Unsignable::ClaimCharacters { claim });
            }
        }
        json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Unsignable, person_name, short_string};

    #[test]
    fn names_are_written_as_a_worklist_reads_them() {
        let too_long = Err(Unsignable::WorklistValue { name: "name" });
        let long = "a".repeat(60);
        for (name, last, first, expected) in [
            ("plain", "Okafor", "Grace", Ok("OKAFOR^GRACE")),
            ("accents", "Müller-Žák", "Zoë", Ok("MÜLLER-ŽÁK^ZOË")),
            (
                "apostrophe",
                "O'Neill",
                "Ann Marie",
                Ok("O'NEILL^ANN MARIE"),
            ),
            ("separators", "a^b=c\\d", "e\u{0}f\ng", Ok("A B C D^E F G")),
            ("one name only", "Sukarno", "", Ok("SUKARNO^")),
            (
                "longest",
                &long,
                "abc",
                Ok(&*format!("{}^ABC", "A".repeat(60))),
            ),
            ("a character more", &long, "abcd", too_long),
            ("nothing left", "^^", "x", too_long),
        ] {
            let got = person_name(last, first);
            assert_eq!(got.as_deref().map_err(|e| *e), expected, "{name}");
        }
    }

    #[test]
    fn short_strings_are_short() {
        let refused = Err(Unsignable::WorklistValue { name: "x" });
        for (text, expected) in [
            ("MR0123456789AB-1", Ok(())),
            ("MR0123456789ABC-1", refused),
            ("", refused),
            ("a\\b", refused),
            ("a\nb", refused),
        ] {
            assert_eq!(short_string("x", text), expected, "{text:?}");
        }
    }
}
