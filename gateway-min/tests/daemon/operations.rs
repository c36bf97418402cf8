//! That the operations page tells what the program says: every code, stage, state, exit code
//! and log line, and none that it does not have. The page's test message is sent.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use gateway_min::Reject;
use serde_json::Value;

use crate::{
    documents::{degraded, every_refusal, exit_codes, section},
    metrics::scrape,
    signer::PUBLIC_JWK,
    support::{Folder, Gateway, ID, ISSUER},
};

const PAGE: &str = include_str!("../../docs/operations.md");

/// Where what the log and the status line say is written.
const SOURCES: [&str; 12] = [
    include_str!("../../src/daemon.rs"),
    include_str!("../../src/daemon/deliver.rs"),
    include_str!("../../src/daemon/descriptors.rs"),
    include_str!("../../src/daemon/health.rs"),
    include_str!("../../src/daemon/intake.rs"),
    include_str!("../../src/daemon/journal.rs"),
    include_str!("../../src/daemon/journal/keeper.rs"),
    include_str!("../../src/daemon/listen.rs"),
    include_str!("../../src/daemon/log.rs"),
    include_str!("../../src/daemon/notify.rs"),
    include_str!("../../src/daemon/route.rs"),
    include_str!("../../src/daemon/tallies.rs"),
];

/// The first cells of the tables in a text, each cut into what it names in backticks.
fn named(text: &'static str) -> Vec<Vec<&'static str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let first = rows.filter_map(|row| Some(row.split_once(" | ")?.0));
    first
        .map(|cell| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>())
        .filter(|names: &Vec<_>| !names.is_empty())
        .collect()
}

#[test]
fn every_code_has_a_row_and_every_stage_its_meaning() {
    let codes = section(PAGE, "Codes");
    let (codes, stages) = codes.split_once("\n| stage |").unwrap();
    let mut listed = named(codes).concat();
    listed.sort_unstable();
    let mut wanted = Reject::CODES.to_vec();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);

    let source = include_str!("../../src/error.rs");
    let (_, arms) = source.split_once("pub const fn as_str(self)").unwrap();
    let arms = arms.split("\n    }\n").next().unwrap();
    let arms = arms.lines().filter_map(|line| line.split_once(" => \""));
    let wanted: Vec<_> = arms.map(|(_, name)| name.trim_end_matches("\",")).collect();
    assert_eq!(named(stages).concat(), wanted);
    let used: BTreeSet<_> = every_refusal()
        .iter()
        .map(|reject| reject.stage().as_str())
        .collect();
    assert!(used.iter().all(|stage| wanted.contains(stage)), "{used:?}");
}

#[test]
fn what_is_degraded_and_how_it_ends_has_a_row() {
    let mut listed = named(section(PAGE, "Degraded")).concat();
    listed.sort_unstable();
    assert_eq!(listed, degraded());

    let (_, table) = PAGE.split_once("\n| exit code | means | do |\n").unwrap();
    let rows = table.split("\n\n").next().unwrap().lines().skip(1);
    let listed: Vec<_> = rows
        .filter_map(|row| Some(row.strip_prefix("| ")?.split_once(" | ")?.0))
        .collect();
    let mut wanted = exit_codes();
    wanted.push("130, 143");
    assert_eq!(listed, wanted);
}

#[test]
fn what_the_readiness_path_says_has_a_row() {
    let gateway = Gateway::start(&[]);
    let answer = gateway.ask(b"GET /healthcheck/ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let body = answer.json();
    let mut wanted: Vec<_> = body.as_object().unwrap().keys().collect();
    let section = section(PAGE, "Not ready");
    let mut listed = named(section).concat();
    wanted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, wanted);
}

/// Names with an underscore in them that are neither codes nor metrics: members of tokens and
/// answers, and parts of commands.
const OTHERS: [&str; 7] = [
    "action_type",
    "clock_set",
    "gateway_deliver",
    "lines_lost",
    "not_for_delivery",
    "probe_age_secs",
    "s_client",
];

#[test]
fn nothing_is_named_that_there_is_not() {
    let folder = Folder::new();
    let journal = folder.path().join("journal");
    let gateway = Gateway::start(&[("GATEWAY_JOURNAL", journal.to_str().unwrap())]);
    let page = scrape(gateway.address);
    let metrics: BTreeSet<_> = page
        .families
        .iter()
        .map(|family| family.name.clone())
        .collect();
    let codes = degraded();
    let known = |name: &str| {
        Reject::CODES.contains(&name)
            || codes.iter().any(|code| code == name)
            || metrics.contains(name)
            || OTHERS.contains(&name)
    };
    let names = PAGE.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let strange: BTreeSet<_> = names
        .filter(|name| name.contains('_') && !name.starts_with('_'))
        .filter(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
        .filter(|name| !known(name))
        .collect();
    assert_eq!(strange, BTreeSet::new());
    let settings: BTreeSet<_> = include_str!("../../systemd/gateway-min.default")
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .collect();
    let strange: BTreeSet<_> = PAGE
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|name| name.starts_with("GATEWAY_"))
        .filter(|name| !settings.contains(name))
        .collect();
    assert_eq!(strange, BTreeSet::new());
    for used in OTHERS {
        assert!(PAGE.contains(used), "{used}");
    }
}

#[test]
fn every_line_of_the_log_that_is_explained_is_one() {
    let fragments = named(section(PAGE, "What the log says")).concat();
    assert!(fragments.len() > 12, "{fragments:?}");
    let states = section(PAGE, "Start here");
    let states = named(states).concat();
    let states = states
        .iter()
        .filter(|state| state.starts_with("not ready: "));
    let states: Vec<_> = states.copied().collect();
    assert_eq!(states.len(), 3, "{states:?}");
    // The log's own file words a placeholder between.
    let sources = SOURCES.join("\n") + include_str!("../../src/daemon/keys/watch.rs");
    for fragment in fragments.into_iter().chain(states) {
        let fragment = fragment.split('…').next().unwrap();
        assert!(sources.contains(fragment), "{fragment:?}");
    }
}

#[test]
fn every_link_within_the_page_has_a_heading() {
    let slug = |heading: &str| {
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        kept.collect::<String>()
    };
    let headings: BTreeSet<_> = PAGE
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect();
    let links: BTreeSet<_> = PAGE
        .split("](#")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect();
    assert!(links.len() > 10, "{links:?}");
    assert_eq!(
        links.difference(&headings).collect::<Vec<_>>(),
        [""; 0],
        "{headings:?}"
    );
}

#[test]
fn the_test_message_of_the_page_travels_the_real_path() {
    let folder = Folder::new();
    folder.file("manage.jwk", PUBLIC_JWK, 0o644);
    let keys = folder.path().to_str().unwrap();
    let gateway = Gateway::start(&[("JWT_PUBLIC_KEY", keys)]);
    let block = section(PAGE, "A test message");
    let block = block.split("```sh\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let line = block.lines().nth(1).unwrap();
    assert!(line.starts_with("url="), "{line}");
    let url = format!("http://{}", gateway.address);
    let here = format!("url={url} id={ID} issuer={ISSUER} keys={keys}");
    let output = Command::new("sh")
        .args(["-c", &block.replace(line, &here)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    let phases = answer["phases"].as_array().unwrap();
    assert!(phases.len() >= 4, "{answer}");
    gateway.lines.wait_for(r#"key "echo-test" came"#);
    gateway.lines.wait_for(r#"key "echo-test" went"#);
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert_eq!(left.len(), 1, "the page's own key is taken away again");
}
