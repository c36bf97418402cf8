//! Everyone's vocabulary of identifiers: a clinic's id is not an appointment's, and an NHS
//! number exists only with a valid check digit. Each refuses what is not in its one
//! canonical form, so that a thing has one address.

use std::fmt;

use rocket::{
    http::{
        impl_from_uri_param_identity,
        uri::fmt::{Formatter, Path, UriDisplay},
    },
    request::FromParam,
};
use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an identifier in its canonical form")
    }
}

impl std::error::Error for NotAnId {}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, random (version 4).
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Reads the canonical form: lower case, with hyphens.
            ///
            /// # Errors
            /// [`NotAnId`] for everything else.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                let id = Uuid::try_parse(text).ok().map(Self);
                id.filter(|id| id.to_string() == text).ok_or(NotAnId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl<'r> FromParam<'r> for $name {
            type Error = NotAnId;

            fn from_param(param: &'r str) -> Result<Self, NotAnId> {
                Self::parse(param)
            }
        }

        impl UriDisplay<Path> for $name {
            fn fmt(&self, f: &mut Formatter<'_, Path>) -> fmt::Result {
                f.write_value(self.to_string())
            }
        }

        impl_from_uri_param_identity!([Path] $name);
    )*};
}

ids! {
    /// A clinic: one morning or afternoon at one site.
    ClinicId;
    /// One person's appointment at a clinic.
    AppointmentId;
    /// A person who is screened.
    ParticipantId;
    /// A person who works here.
    UserId;
    /// An organisation, such as a screening service.
    OrganisationId;
    /// A place with equipment and a gateway.
    SiteId;
    /// A message, whoever looks at it and however often it is signed.
    Jti;
}

impl AppointmentId {
    /// A DICOM unique identifier of this id's own kind: `2.25.` and a random UUID as a
    /// number (ISO/IEC 9834-8 section 6.3), at most 44 characters.
    #[must_use]
    pub fn random_study_uid() -> String {
        format!("2.25.{}", Uuid::new_v4().as_u128())
    }
}

/// Ten digits, the last of which is the check digit (modulus 11) of the first nine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NhsNumber(String);

impl NhsNumber {
    /// Reads ten digits without spaces.
    ///
    /// # Errors
    /// [`NotAnId`] for any other length, any other character, a wrong check digit, and the
    /// numbers whose check digit would be 10, which are never given out.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(10)).collect();
        let digits = digits.filter(|digits| digits.len() == 10).ok_or(NotAnId)?;
        let sum: u32 = (2..=10).rev().zip(&digits).map(|(w, d)| w * d).sum();
        let check = (11 - sum % 11) % 11;
        if digits.last() == Some(&check) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnId)
        }
    }

    /// Ten digits without spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In the groups of 3, 3 and 4 in which people read it out.
    #[must_use]
    pub fn spaced(&self) -> String {
        let (first, rest) = self.0.split_at(3);
        let (second, third) = rest.split_at(3);
        format!("{first} {second} {third}")
    }
}

#[cfg(test)]
mod tests {
    use super::{ClinicId, NhsNumber, NotAnId};

    #[test]
    fn an_nhs_number_needs_its_check_digit() {
        for (name, text, good) in [
            ("check digit 2", "9995260182", true),
            ("check digit 8", "9991590838", true),
            (
                "check digit 0 where the sum is a multiple of 11",
                "9990000050",
                true,
            ),
            (
                "nine digits whose check digit would be 10",
                "9990000000",
                false,
            ),
            ("wrong check digit", "9995260183", false),
            ("two digits changed places", "9992560182", false),
            ("nine digits", "999526018", false),
            ("eleven digits", "99952601820", false),
            ("spaces", "999 526 0182", false),
            ("a letter", "999526018X", false),
            ("digits of another script", "٩٩٩٥٢٦٠١٨٢", false),
            ("nothing", "", false),
        ] {
            assert_eq!(NhsNumber::parse(text).is_ok(), good, "{name}");
        }
        // Of any nine digits at most one tenth makes a number: the check digit is a function.
        for nine in ["999000000", "999123456", "401023213", "987654432"] {
            let good = (0..10).filter(|d| NhsNumber::parse(&format!("{nine}{d}")).is_ok());
            assert!(good.count() <= 1, "{nine}");
        }
    }

    #[test]
    fn an_nhs_number_is_read_in_groups() {
        let number = NhsNumber::parse("9995260182").unwrap();
        assert_eq!(number.spaced(), "999 526 0182");
        assert_eq!(number.as_str(), "9995260182");
    }

    #[test]
    fn an_id_has_one_form() {
        let text = "0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11";
        assert_eq!(ClinicId::parse(text).unwrap().to_string(), text);
        for (name, text) in [
            ("upper case", "0C9A2A6E-4C0B-4F0E-9F4F-2F1D7C1F8B11"),
            ("no hyphens", "0c9a2a6e4c0b4f0e9f4f2f1d7c1f8b11"),
            ("braces", "{0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11}"),
            ("short", "0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b1"),
            ("nothing", ""),
        ] {
            assert_eq!(ClinicId::parse(text), Err(NotAnId), "{name}");
        }
    }
}
