//! That the member's README lists what the program has, word for word.

use std::collections::BTreeMap;

use gateway_min::Reject;

use crate::support::command;

const README: &str = include_str!("../../README.md");

/// The cells of the table rows that begin with `` | ` ``, under a heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn every_code_of_an_answer_is_listed_with_its_status() {
    let listed: Vec<_> = rows("Codes")
        .iter()
        .flat_map(|row| row[0].split(", ").map(|code| code.trim_matches('`')))
        .collect();
    assert_eq!(listed, Reject::CODES);
}

#[test]
fn every_setting_is_listed_with_its_default() {
    let output = command(&[]).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut wanted = BTreeMap::new();
    let mut lines = help.lines();
    while let Some(line) = lines.next() {
        if let Some((name, _)) = line.split_once(", --") {
            let meaning = lines.next().unwrap().trim();
            let default = meaning
                .split_once("(default: ")
                .map_or("none", |(_, rest)| rest.trim_end_matches(')'));
            wanted.insert(name, default.to_owned());
        }
    }
    assert!(wanted.len() > 10, "{help}");
    let listed: BTreeMap<_, _> = rows("Settings")
        .iter()
        .map(|row| (row[0].trim_matches('`'), row[1].replace('`', "")))
        .collect();
    let listed: BTreeMap<_, _> = listed
        .iter()
        .map(|(name, default)| (*name, default.clone()))
        .collect();
    assert_eq!(listed, wanted);
}
