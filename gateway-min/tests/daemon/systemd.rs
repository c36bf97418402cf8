//! The files of the systemd folder against systemd's own tools and the gateway's `--check`.
//! The tools are in Debian's package `systemd`; without them these tests fail.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use crate::{
    signer::PUBLIC_JWK,
    support::{Folder, ID, command},
};

const UNIT: &str = include_str!("../../systemd/gateway-min.service");
const DEFAULT: &str = include_str!("../../systemd/gateway-min.default");
const SYSUSERS: &str = include_str!("../../systemd/gateway-min.sysusers");
const TMPFILES: &str = include_str!("../../systemd/gateway-min.tmpfiles");

/// How much is open to a service that is broken into, of 100: tenths of systemd's score.
const EXPOSURE: &str = "20";

#[track_caller]
fn run(tool: &str, args: &[&str]) -> Output {
    Command::new(tool)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}: install the package systemd"))
}

/// The unit, with a program that is there.
fn unit(folder: &Folder) -> String {
    let start = "\nExecStart=/usr/bin/gateway-min\n";
    assert_eq!(UNIT.matches(start).count(), 1);
    let here = format!("\nExecStart={}\n", env!("CARGO_BIN_EXE_gateway-min"));
    folder.file("gateway-min.service", &UNIT.replace(start, &here), 0o644)
}

#[test]
fn the_unit_is_one_and_gives_little_away() {
    let folder = Folder::new();
    let unit = unit(&folder);
    let verified = run("systemd-analyze", &["verify", "--man=no", &unit]);
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    let threshold = format!("--threshold={EXPOSURE}");
    let score = ["security", "--offline=yes", "--no-pager", &threshold, &unit];
    let scored = run("systemd-analyze", &score);
    assert!(
        scored.status.success(),
        "{}",
        String::from_utf8_lossy(&scored.stdout)
    );
}

#[test]
fn a_unit_with_a_fault_or_without_its_walls_is_found() {
    let folder = Folder::new();
    let text = UNIT.replace("ProtectSystem=strict", "ProtectSystem=stricter");
    let unit = folder.file("a.service", &text, 0o644);
    let verified = run("systemd-analyze", &["verify", "--man=no", &unit]);
    assert_ne!(String::from_utf8_lossy(&verified.stderr), "");
    let open = UNIT.lines().filter(|line| !line.starts_with("Protect"));
    let open: Vec<_> = open.filter(|line| !line.starts_with("System")).collect();
    let unit = folder.file("b.service", &open.join("\n"), 0o644);
    let threshold = format!("--threshold={EXPOSURE}");
    let scored = run(
        "systemd-analyze",
        &["security", "--offline=yes", "--no-pager", &threshold, &unit],
    );
    assert!(!scored.status.success());
}

#[test]
fn its_user_and_folders_can_be_made() {
    let folder = Folder::new();
    let root = folder.path().to_str().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let users = folder.file("users", SYSUSERS, 0o644);
    let root = format!("--root={root}");
    let made = run("systemd-sysusers", &["--dry-run", &root, &users]);
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(said.contains("Creating user 'gateway-min'"), "{said}");
    let mut folders = Vec::new();
    for line in TMPFILES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(' ').collect();
        let [kind, path, mode, owner, group] = fields[..] else {
            panic!("{line}");
        };
        folders.push(path);
        if path == "/var/lib/gateway-min" {
            let own = ("d", "0700", "gateway-min", "gateway-min");
            assert_eq!((kind, mode, owner, group), own, "{line}");
            continue;
        }
        // What others could change would be refused by the gateway.
        assert_eq!((kind, owner, &mode[2..3]), ("d", "root", "5"), "{line}");
        assert!(["root", "gateway-min"].contains(&group), "{line}");
    }
    let [etc, keys, tls, state] = folders[..] else {
        panic!("{folders:?}");
    };
    assert_eq!(etc, "/etc/gateway-min");
    assert!(DEFAULT.contains(&format!("\nGATEWAY_JOURNAL={state}/journal\n")));
    assert!(DEFAULT.contains(&format!("\nJWT_PUBLIC_KEY={keys}\n")));
    assert!(DEFAULT.contains(&format!("\n#GATEWAY_TLS_KEY={tls}/")));
}

/// The settings of the file, those that are off included: name and value.
fn settings() -> Vec<(&'static str, &'static str)> {
    let lines = DEFAULT.lines().map(|line| line.trim_start_matches('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
        .collect()
}

#[test]
fn every_setting_is_in_the_default_file_and_no_other() {
    let output = command(&[]).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let known: BTreeSet<_> = help
        .lines()
        .filter_map(|line| Some(line.split_once(", --")?.0))
        .collect();
    let listed: BTreeSet<_> = settings().iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
    assert_eq!(settings().len(), known.len(), "none twice");
    // What is off shows the default, where there is one.
    for (name, value) in settings() {
        let (_, rest) = help.split_once(&format!("\n{name}, --")).unwrap();
        let about = rest.split("\n\n").next().unwrap().trim_end();
        if let (Some((_, default)), false) =
            (about.split_once("(default: "), name == "GATEWAY_HOSTS")
            && default != "none)"
        {
            assert_eq!(Some(value), default.strip_suffix(')'), "{name}");
        }
    }
}

#[test]
fn the_default_file_is_good_once_the_least_is_filled_in() {
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let on: Vec<_> = DEFAULT
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(
        on,
        [
            "JWT_PUBLIC_KEY=/etc/gateway-min/keys.d",
            "GATEWAY_JOURNAL=/var/lib/gateway-min/journal"
        ]
    );
    let check = |settings: &[(&str, &str)]| {
        let output = command(settings).arg("--check").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr)
    };
    let keys = ("JWT_PUBLIC_KEY", key.as_str());
    let wanted = "gateway-min: GATEWAY_ID: required, and not set\n".to_owned();
    assert_eq!(check(&[keys]), (Some(78), wanted));
    assert_eq!(check(&[keys, ("GATEWAY_ID", ID)]), (Some(0), String::new()));
    // And so it is with everything that it shows turned on, but for files that are not here.
    let mut all = settings();
    all.retain(|(name, _)| !matches!(*name, "GATEWAY_KEYS" | "JWT_PUBLIC_KEY"));
    all.retain(|(name, _)| !name.starts_with("GATEWAY_TLS_"));
    all.retain(|(name, _)| *name != "GATEWAY_JOURNAL");
    let journal = folder.path().join("journal");
    all.push(("GATEWAY_JOURNAL", journal.to_str().unwrap()));
    all.push(keys);
    assert_eq!(check(&all), (Some(0), String::new()));
}
