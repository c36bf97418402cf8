//! That the member's README lists what the program has.

use std::collections::BTreeMap;

use gateway_min::{JsonFault, Part, Reject, UnixTime};

use crate::{
    exposition::{Family, Kind},
    metrics::scrape,
    support::{Folder, Gateway, command},
};

const README: &str = include_str!("../../README.md");

/// The cells of a section's table rows that begin with a name.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    section(README, heading)
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// What stands under a heading of the second rank.
#[track_caller]
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let found = page.split_once(&format!("\n## {heading}\n"));
    let (_, section) = found.unwrap_or_else(|| panic!("no {heading}"));
    section.split("\n## ").next().unwrap()
}

/// One refusal for each code, in the order of the enum.
pub(crate) fn every_refusal() -> Vec<Reject> {
    let at = UnixTime::EPOCH;
    let json = |fault| Reject::Json {
        part: Part::Body,
        fault,
        at: 0,
    };
    vec![
        Reject::TokenEmpty,
        Reject::TokenTooLong { len: 0 },
        Reject::TokenSegments,
        Reject::HeaderEncoding,
        Reject::HeaderTooLong,
        Reject::SignatureEncoding,
        Reject::SignatureLength,
        json(JsonFault::NotObject),
        json(JsonFault::ByteOrderMark),
        json(JsonFault::Utf8),
        json(JsonFault::Control),
        json(JsonFault::Escape),
        json(JsonFault::Surrogate),
        json(JsonFault::Number),
        json(JsonFault::Depth),
        json(JsonFault::Duplicate),
        json(JsonFault::Members),
        json(JsonFault::Trailing),
        json(JsonFault::Syntax),
        Reject::HeaderType { member: "" },
        Reject::UnsupportedAlg,
        Reject::UnsupportedCrit,
        Reject::UnsupportedTyp,
        Reject::KidLength,
        Reject::UnknownKey,
        Reject::KidRequired,
        Reject::BadSignature,
        Reject::ClaimsEncoding,
        Reject::ClaimsTooLong,
        Reject::ClaimMissing { claim: "" },
        Reject::ClaimType { claim: "" },
        Reject::ClaimLength { claim: "", len: 0 },
        Reject::ClaimCharacters { claim: "" },
        Reject::UnsupportedSchema { version: 0 },
        Reject::Expired { exp: at, now: at },
        Reject::NotYetValid { nbf: at, now: at },
        Reject::IssuedInFuture { iat: at, now: at },
        Reject::LifetimeEmpty,
        Reject::LifetimeTooLong {
            secs: 0,
            max_secs: 0,
        },
        Reject::WrongIssuer,
        Reject::WrongAudience,
        Reject::JtiConflict,
        Reject::ReplayFull,
        Reject::InProgress,
        Reject::ClockSteppedBack { exp: at, floor: at },
        Reject::ClockNotSet,
        Reject::JournalFull,
        Reject::JournalUnavailable,
        Reject::RequestTimeout,
        Reject::TooManyConnections,
        Reject::HeadMalformed,
        Reject::HeadTooLarge,
        Reject::TooManyHeaders,
        Reject::HttpVersion,
        Reject::TargetForm,
        Reject::ContentLength,
        Reject::HostHeader,
        Reject::UnknownExpectation,
        Reject::HostNotAllowed,
        Reject::OriginNotAllowed,
        Reject::NotFound,
        Reject::MethodNotAllowed,
        Reject::MethodUnknown,
        Reject::LengthRequired,
        Reject::BodyMissing,
        Reject::BodyTooLarge { len: 0 },
        Reject::ContentType,
        Reject::MessageMissing,
        Reject::MessageType,
        Reject::Internal,
    ]
}

#[test]
fn every_code_is_listed_as_it_is_answered() {
    let wanted: Vec<_> = every_refusal()
        .iter()
        .map(|reject| {
            let stage = match reject {
                Reject::Json { .. } => "header, claims, body",
                _ => reject.stage().as_str(),
            };
            let code = format!("`{}`", reject.code());
            [
                code,
                reject.status().to_string(),
                stage.to_owned(),
                reject.title().to_owned(),
            ]
        })
        .collect();
    let codes: Vec<_> = wanted.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(codes, Reject::CODES);
    for (listed, wanted) in rows("Codes").iter().zip(&wanted) {
        assert_eq!(listed, wanted);
    }
    assert_eq!(rows("Codes").len(), wanted.len());
}

#[test]
fn every_setting_is_listed_with_its_default() {
    let output = command(&[]).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut wanted = BTreeMap::new();
    let mut lines = help.lines();
    while let Some(line) = lines.next() {
        if let Some((name, _)) = line.split_once(", --") {
            let default = lines.next().unwrap().split_once("(default: ");
            let default = default.map_or("none", |(_, rest)| rest.trim_end_matches(')'));
            wanted.insert(name, default);
        }
    }
    assert!(wanted.len() > 10, "{help}");
    let listed = rows("Settings");
    let listed: BTreeMap<_, _> = listed
        .iter()
        .map(|row| (row[0].trim_matches('`'), row[1].trim_matches('`')))
        .collect();
    assert_eq!(listed, wanted);
}

/// Every way to be degraded, in order.
pub(crate) fn degraded() -> Vec<String> {
    let sources = [
        ("=> \"", "keys_", include_str!("../../src/daemon/keys.rs")),
        (
            "=> \"",
            "certificate_",
            include_str!("../../src/daemon/certificates.rs"),
        ),
        (
            "then_some(\"",
            "delivery_",
            include_str!("../../src/daemon/deliver.rs"),
        ),
        (
            ": &str = \"",
            "journal_",
            include_str!("../../src/daemon/journal.rs"),
        ),
    ];
    let mut codes = Vec::new();
    for (before, begins, source) in sources {
        let arm = format!("{before}{begins}");
        let named = source
            .lines()
            .filter_map(|line| line.split_once(&arm)?.1.split_once('"'));
        codes.extend(named.map(|(rest, _)| format!("{begins}{rest}")));
    }
    assert_eq!(codes.len(), 13, "{codes:?}");
    codes.sort();
    codes
}

#[test]
fn every_way_to_be_degraded_is_listed() {
    let codes: Vec<_> = degraded().iter().map(|code| format!("`{code}`")).collect();
    let mut listed: Vec<_> = rows("Paths").iter().map(|row| row[0]).collect();
    listed.retain(|name| !name.starts_with("`/"));
    listed.sort_unstable();
    assert_eq!(listed, codes);
}

#[test]
fn every_metric_is_listed_with_its_kind_and_labels() {
    let folder = Folder::new();
    let journal = folder.path().join("journal");
    let journal = journal.to_str().unwrap();
    let gateway = Gateway::start(&[("GATEWAY_JOURNAL", journal)]);
    let page = scrape(gateway.address);
    let row = |family: &Family| {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = family
            .labels()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        [
            format!("`{}`", family.name),
            kind.to_owned(),
            labels.join(" "),
        ]
    };
    let mut wanted: Vec<_> = page.families.iter().map(row).collect();
    let (mut metrics, fates): (Vec<_>, Vec<_>) = rows("Metrics")
        .into_iter()
        .partition(|row| row[0].starts_with("`gateway_"));
    wanted.sort();
    metrics.sort();
    assert!(metrics.iter().all(|row| row.len() == 5), "{metrics:?}");
    let listed: Vec<_> = metrics.iter().map(|row| &row[..3]).collect();
    assert_eq!(listed, wanted);
    let ended = page
        .families
        .iter()
        .find(|family| family.name == "gateway_connections_ended_total")
        .unwrap();
    let listed: Vec<_> = fates.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(listed, ended.label_values());
}

/// Every code with which the program ends by itself.
pub(crate) fn exit_codes() -> Vec<&'static str> {
    let source = include_str!("../../src/daemon/exit.rs");
    let codes = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => "));
    let codes = codes.map(|(_, number)| number.trim_end_matches(','));
    core::iter::once("0").chain(codes).collect()
}

#[test]
fn every_exit_code_is_listed() {
    let (_, section) = README.split_once("\n| exit code | means |\n").unwrap();
    let table = section.split("\n\n").next().unwrap();
    let numbers = exit_codes();
    let listed = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let listed: Vec<_> = listed.map(|(number, _)| number).collect();
    assert_eq!(listed[..numbers.len()], numbers);
}
