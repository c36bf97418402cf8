//! Dates and times as a clinic's wall shows them. Clinics are stored with their own date,
//! time and zone, never in UTC, so that a summer clinic is not an hour early on the
//! equipment. The rules of the zones are compiled in.

use gateway_min::UnixTime;
use jiff::{
    Timestamp, Zoned,
    civil::{Date, Time},
    tz::TimeZone,
};

/// A date as stored: `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

/// A time as stored: `HH:MM`.
pub(crate) fn parse_time(text: &str) -> Option<Time> {
    let time = Time::strptime("%H:%M", text).ok()?;
    (short_time(time) == text).then_some(time)
}

/// A zone by its IANA name.
pub(crate) fn parse_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// `HH:MM`, as stored and as shown.
pub(crate) fn short_time(time: Time) -> String {
    time.strftime("%H:%M").to_string()
}

/// "Saturday 21 November 2026".
pub(crate) fn long_date(date: Date) -> String {
    date.strftime("%A %-d %B %Y").to_string()
}

/// "3 May 1961".
pub(crate) fn birth_date(date: Date) -> String {
    date.strftime("%-d %B %Y").to_string()
}

/// The moment in that zone; the last that the calendar knows for moments beyond it.
pub(crate) fn in_zone(moment: UnixTime, zone: &TimeZone) -> Zoned {
    Timestamp::from_second(moment.as_secs())
        .unwrap_or(Timestamp::MAX)
        .to_zoned(zone.clone())
}

/// "10:32" where `moment` is on the same day as `now` in that zone, else
/// "10:32 on 21 November 2026".
pub(crate) fn said_at(moment: UnixTime, now: UnixTime, zone: &TimeZone) -> String {
    let then = in_zone(moment, zone);
    let time = short_time(then.time());
    if then.date() == in_zone(now, zone).date() {
        time
    } else {
        format!("{time} on {}", birth_date(then.date()))
    }
}

/// `YYYYMMDD` (DICOM PS3.5 section 6.2, DA).
pub(crate) fn dicom_date(date: Date) -> String {
    date.strftime("%Y%m%d").to_string()
}

/// `HHMMSS` (DICOM PS3.5 section 6.2, TM).
pub(crate) fn dicom_time(time: Time) -> String {
    time.strftime("%H%M%S").to_string()
}

/// `+0100`: the zone's offset at that moment, as DICOM writes it.
pub(crate) fn dicom_offset(moment: &Zoned) -> String {
    moment.strftime("%z").to_string()
}

#[cfg(test)]
mod tests {
    use gateway_min::UnixTime;

    use super::{
        birth_date, dicom_date, dicom_offset, dicom_time, long_date, parse_date, parse_time,
        parse_zone, said_at,
    };

    #[test]
    fn only_the_stored_forms_are_read() {
        for (text, good) in [
            ("2026-11-21", true),
            ("2024-02-29", true),
            ("2026-02-29", false),
            ("20261121", false),
            ("2026-11-21T09:00", false),
            ("", false),
        ] {
            assert_eq!(parse_date(text).is_some(), good, "{text}");
        }
        for (text, good) in [
            ("09:05", true),
            ("00:00", true),
            ("24:00", false),
            ("9:05", false),
            ("09:05:00", false),
            ("", false),
        ] {
            assert_eq!(parse_time(text).is_some(), good, "{text}");
        }
        assert!(parse_zone("Europe/London").is_some());
        assert!(parse_zone("Europe/Nowhere").is_none());
    }

    #[test]
    fn a_clinic_keeps_its_own_time_in_summer_and_winter() {
        let zone = parse_zone("Europe/London").unwrap();
        for (date, offset) in [("2026-07-06", "+0100"), ("2026-11-21", "+0000")] {
            let date = parse_date(date).unwrap();
            let time = parse_time("09:05").unwrap();
            let zoned = date.to_datetime(time).to_zoned(zone.clone()).unwrap();
            assert_eq!(dicom_offset(&zoned), offset);
            assert_eq!(dicom_time(zoned.time()), "090500");
            assert_eq!(dicom_date(zoned.date()), date.to_string().replace('-', ""));
        }
    }

    #[test]
    fn people_read_dates_in_words() {
        let date = parse_date("2026-11-21").unwrap();
        assert_eq!(long_date(date), "Saturday 21 November 2026");
        assert_eq!(birth_date(parse_date("1961-05-03").unwrap()), "3 May 1961");
        let zone = parse_zone("Europe/London").unwrap();
        // 2026-07-06T08:30:00Z, half past nine in London.
        let then = UnixTime::from_secs(1_783_326_600);
        assert_eq!(said_at(then, then.plus(3600), &zone), "09:30");
        assert_eq!(
            said_at(then, then.plus(86_400), &zone),
            "09:30 on 6 July 2026"
        );
    }
}
