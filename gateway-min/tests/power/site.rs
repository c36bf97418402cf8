//! A journal, what the `journal` command says of it, and the gateway that has it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    signer::PUBLIC_JWK,
    support::{Folder, Gateway, ID, ISSUER, PATIENCE, command, message, now},
};

/// A journal's folder in one of the test's own, or on a disk.
pub(crate) struct Site {
    outer: Folder,
    pub(crate) journal: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    pub(crate) fn new(settings: &[(&'static str, &str)]) -> Self {
        let outer = Folder::new();
        let journal = outer.path().join("journal");
        Self::at(outer, journal, settings)
    }

    /// With its journal somewhere in or below `outer`.
    pub(crate) fn at(outer: Folder, journal: PathBuf, settings: &[(&'static str, &str)]) -> Self {
        let own = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        Self {
            outer,
            journal,
            settings: settings.iter().map(own).collect(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.outer.path()
    }

    fn journal_text(&self) -> &str {
        self.journal.to_str().unwrap()
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        let own = self.settings.iter();
        let own = own.map(|(name, value)| (*name, value.as_str()));
        own.chain([("GATEWAY_JOURNAL", self.journal_text())])
            .collect()
    }

    /// Dropped, it is killed, not asked to stop.
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start(&self.settings())
    }

    /// The same gateway, for one that will not wait until it listens.
    pub(crate) fn command(&self) -> Command {
        let key = self.outer.file("key.jwk", PUBLIC_JWK, 0o600);
        let mut command = command(&self.settings());
        command.envs([
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_ID", ID),
            ("GATEWAY_ISSUER", ISSUER),
            ("JWT_PUBLIC_KEY", &key),
        ]);
        command
    }

    /// What the journal says, which has to be whole.
    #[track_caller]
    pub(crate) fn printed(&self) -> Printed {
        let printed = Printed::of(&self.journal);
        assert_eq!(printed.code, Some(0), "{}", printed.sum);
        printed
    }

    /// Waits until nothing waits for its delivery.
    #[track_caller]
    pub(crate) fn wait_for_deliveries(&self) -> Printed {
        let begun = Instant::now();
        loop {
            let printed = self.printed();
            if printed.sum["waiting"] == 0 {
                return printed;
            }
            assert!(begun.elapsed() < PATIENCE, "{}", printed.sum);
        }
    }
}

/// A message, as the journal tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) state: String,
    pub(crate) expires: u64,
}

/// What `gateway-min journal` says.
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    /// By `jti`; each is there once.
    pub(crate) messages: BTreeMap<String, Told>,
    pub(crate) sum: Value,
}

impl Printed {
    #[track_caller]
    pub(crate) fn of(journal: &Path) -> Self {
        let output = command(&[("GATEWAY_JOURNAL", journal.to_str().unwrap())])
            .arg("journal")
            .output()
            .unwrap();
        let text = str::from_utf8(&output.stdout).unwrap();
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let sum = lines.pop().unwrap_or_else(|| panic!("{output:?}"));
        let mut messages = BTreeMap::new();
        for line in lines.iter().filter(|line| !line["seq"].is_null()) {
            let told = Told {
                seq: line["seq"].as_u64().unwrap(),
                state: line["state"].as_str().unwrap().to_owned(),
                expires: line["expires"].as_u64().unwrap(),
            };
            let jti = line["jti"].as_str().unwrap().to_owned();
            let twice = messages.insert(jti, told);
            assert!(twice.is_none(), "twice: {line}");
        }
        Self {
            code: output.status.code(),
            messages,
            sum,
        }
    }
}

/// A message that lives so many seconds from now.
pub(crate) fn token(jti: &str, sub: &str, secs: u64) -> String {
    token_at(jti, sub, now(), secs)
}

/// Likewise from another time on.
pub(crate) fn token_at(jti: &str, sub: &str, iat: u64, secs: u64) -> String {
    message(&[
        ("jti", json!(jti)),
        ("sub", json!(sub)),
        ("iat", json!(iat)),
        ("exp", json!(iat + secs)),
    ])
}
