//! What *accepted* promises: the real binary, a real folder, and what goes wrong with both.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    signer::{PUBLIC_JWK, sign},
    support::{Folder, Gateway, claims, command, header, message, now, post, request},
};

/// A folder for a journal, and what is asked of it.
struct Place {
    outer: Folder,
}

impl Place {
    fn new() -> Self {
        Self {
            outer: Folder::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.outer.path().join("journal")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn start(&self) -> Gateway {
        Gateway::start(&[("GATEWAY_JOURNAL", &self.text())])
    }

    /// What the command says about it.
    fn printed(&self, more: &[&str]) -> Output {
        command(&[("GATEWAY_JOURNAL", &self.text())])
            .arg("journal")
            .args(more)
            .output()
            .unwrap()
    }

    /// The lines of a journal that is whole.
    #[track_caller]
    fn lines(&self, more: &[&str]) -> Vec<Value> {
        let output = self.printed(more);
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The check of a header or a record.
fn check(parts: &[&[u8]]) -> [u8; 8] {
    let hash = parts.iter().fold(Sha256::new(), sha2::Digest::chain_update);
    *hash.finalize().first_chunk().unwrap()
}

fn ready(gateway: &Gateway) -> Value {
    let answer = gateway.ask(&request("GET /healthcheck/ready", &[], b""));
    let mut body = answer.json();
    body["status"] = answer.status.into();
    body
}

/// Waits until the readiness path says this of the journal.
fn wait_for_journal(gateway: &Gateway, wanted: bool) -> Value {
    loop {
        let body = ready(gateway);
        if body["journal"] == json!(wanted) {
            return body;
        }
    }
}

#[test]
fn what_was_accepted_is_a_duplicate_after_the_process_was_killed() {
    let place = Place::new();
    let first = place.start();
    let (a, b) = (message(&[]), message(&[]));
    for token in [&a, &b] {
        assert_eq!(first.post(token).outcome(), "accepted");
    }
    first.signal("KILL");
    assert_eq!(first.status().code(), None);
    let second = place.start();
    second.lines.wait_for("journal: 2 messages in 1 segments");
    for token in [&a, &b] {
        assert_eq!(second.post(token).outcome(), "duplicate");
    }
    let other = message(&[("jti", json!("message-once")), ("sub", json!("a"))]);
    assert_eq!(second.post(&other).outcome(), "accepted");
    drop(second);
    let third = place.start();
    let conflict = message(&[("jti", json!("message-once")), ("sub", json!("b"))]);
    assert_eq!(
        third.post(&conflict).refusal(),
        (409, "jti_conflict".into())
    );
}

#[test]
fn a_longer_life_is_kept_too() {
    let place = Place::new();
    let token = |exp| message(&[("jti", json!("message-long")), ("exp", json!(exp))]);
    let (short, long) = (now() + 600, now() + 7200);
    let first = place.start();
    assert_eq!(first.post(&token(short)).outcome(), "accepted");
    assert_eq!(first.post(&token(long)).outcome(), "duplicate");
    assert_eq!(first.post(&token(short)).outcome(), "duplicate");
    drop(first);
    let printed = place.lines(&[]);
    assert_eq!((printed.len(), &printed[0]["expires"]), (2, &json!(long)));
}

#[test]
fn the_command_prints_messages_and_their_content_only_when_asked() {
    let place = Place::new();
    let gateway = place.start();
    let echo = message(&[("action_type", json!("echo")), ("jti", json!("a\"b"))]);
    let answer = gateway.post(&echo);
    let phases = answer.json()["phases"].clone();
    let named: Vec<_> = phases
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["phase"])
        .collect();
    assert_eq!(named, ["read", "verify", "replay", "journal", "log"]);
    // Whether a gateway has it or not.
    for running in [true, false] {
        if !running {
            gateway.signal("TERM");
            gateway.lines.wait_for("stopped: ");
        }
        let quiet = place.lines(&[]);
        let line = &quiet[0];
        assert_eq!(line["seq"], 1);
        assert_eq!(line["jti"], "a\"b");
        assert_eq!(line["sub"], "appointment-1");
        assert_eq!(line["action_type"], "echo");
        assert_eq!(line["state"], "not_for_delivery");
        assert_eq!(line["segment"], "000000000001.journal");
        assert_eq!(line["bytes"], echo.len());
        assert!(line["accepted"].as_u64().unwrap().abs_diff(now()) < 60);
        let output = place.printed(&[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            !text.contains("ZZTEST") && !text.contains("9990000018"),
            "{text}"
        );
        let sum = quiet.last().unwrap();
        assert_eq!(sum["messages"], 1);
        assert_eq!((&sum["damaged"], &sum["segments"]), (&json!(0), &json!(1)));
        let full = place.lines(&["--content"]);
        let name = &full[0]["claims"]["parameters"]["worklist_item"]["participant"]["name"];
        assert_eq!(name, "ZZTEST, Ann");
    }
}

#[test]
fn one_message_is_one_line_however_its_claims_were_written() {
    let place = Place::new();
    let gateway = place.start();
    let claims = claims(&[("sub", json!("a\nb"))]);
    let pretty = claims.replacen('{', "{\r\n\t", 1).replacen(':', " :\n", 1);
    let token = sign(header().as_bytes(), pretty.as_bytes());
    assert_eq!(gateway.post(&token).outcome(), "accepted");
    let output = place.printed(&["--content"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        line["claims"],
        serde_json::from_str::<Value>(&claims).unwrap()
    );
}

#[test]
fn damage_is_told_and_costs_nothing_else() {
    let place = Place::new();
    let first = place.start();
    let tokens: Vec<_> = (0..3).map(|_| message(&[])).collect();
    for token in &tokens {
        assert_eq!(first.post(token).outcome(), "accepted");
    }
    drop(first);
    let path = &place.segments()[0];
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    #[expect(clippy::disallowed_methods, reason = "damage is what is tested")]
    fs::write(path, &bytes).unwrap();
    let output = place.printed(&[]);
    assert_eq!(output.status.code(), Some(65));
    let sum = lines(&output).pop().unwrap();
    assert_eq!((&sum["messages"], &sum["damaged"]), (&json!(2), &json!(1)));
    let second = place.start();
    let outcomes: Vec<_> = tokens
        .iter()
        .map(|token| second.post(token).outcome())
        .collect();
    assert_eq!(outcomes, ["duplicate", "accepted", "duplicate"]);
    let body = wait_for_journal(&second, true);
    assert_eq!(body["status"], 200);
    assert_eq!(body["degraded"][0]["code"], "journal_damaged");
}

#[test]
fn an_unfinished_end_is_cut_off() {
    let place = Place::new();
    let first = place.start();
    let token = message(&[]);
    assert_eq!(first.post(&token).outcome(), "accepted");
    drop(first);
    let path = place.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[80..140]);
    #[expect(clippy::disallowed_methods, reason = "a torn end is what is tested")]
    fs::write(&path, &torn).unwrap();
    assert_eq!(place.lines(&[]).pop().unwrap()["unfinished"], 1);
    let second = place.start();
    second.lines.wait_for("60 unfinished bytes");
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(second.post(&token).outcome(), "duplicate");
}

#[test]
fn a_journal_that_is_not_ours_to_read_stops_the_start() {
    type Prepare = fn(&Path);
    let newer: Prepare = |path| {
        // Version 2, with its check.
        let mut header = [0; 32];
        header[..8].copy_from_slice(b"\x89gwj\r\n\x1a\n");
        header[8] = 2;
        header[16] = 7;
        let check = check(&[&header[..24]]);
        header[24..].copy_from_slice(&check);
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        fs::write(path.join("000000000007.journal"), header).unwrap();
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let rows: [(&str, Option<Prepare>, u32, i32, &str); 4] = [
        (
            "readable by others",
            None,
            0o755,
            77,
            "everybody can read it",
        ),
        (
            "writable by a group",
            None,
            0o770,
            77,
            "others can change it",
        ),
        (
            "of a newer format",
            Some(newer),
            0o700,
            65,
            "written by a newer gateway, in format 2",
        ),
        ("whole", None, 0o700, 0, ""),
    ];
    for (name, prepare, folder_mode, code, said) in rows {
        let place = Place::new();
        fs::create_dir(place.path()).unwrap();
        mode(&place.path(), folder_mode);
        if let Some(prepare) = prepare {
            prepare(&place.path());
        }
        let key = place.outer.file("key.jwk", PUBLIC_JWK, 0o600);
        let settings = [
            ("GATEWAY_ID", "a"),
            ("JWT_PUBLIC_KEY", &key),
            ("GATEWAY_JOURNAL", &place.text()),
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ];
        let check = command(&settings).arg("--check").output().unwrap();
        assert_eq!(check.status.code(), Some(code), "{name}: {check:?}");
        if code != 0 {
            let serve = command(&settings).output().unwrap();
            assert_eq!(serve.status.code(), Some(code), "{name}: {serve:?}");
            let error = String::from_utf8(serve.stderr).unwrap();
            assert!(
                error.contains(said) && error.contains("GATEWAY_JOURNAL"),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_stops_the_start_and_the_check() {
    let outer = Folder::new();
    let key = outer.file("key.jwk", PUBLIC_JWK, 0o600);
    let journal = outer.path().join("absent/journal");
    for more in [&["--check"][..], &[]] {
        let output = command(&[
            ("GATEWAY_ID", "a"),
            ("JWT_PUBLIC_KEY", &key),
            ("GATEWAY_JOURNAL", journal.to_str().unwrap()),
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ])
        .args(more)
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(66), "{more:?}: {output:?}");
    }
}

#[test]
fn one_gateway_at_a_time_has_a_journal() {
    let place = Place::new();
    let first = place.start();
    let key = place.outer.file("key.jwk", PUBLIC_JWK, 0o600);
    let second = command(&[
        ("GATEWAY_ID", "a"),
        ("JWT_PUBLIC_KEY", &key),
        ("GATEWAY_JOURNAL", &place.text()),
        ("GATEWAY_LISTEN", "127.0.0.1:0"),
    ])
    .output()
    .unwrap();
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another gateway has this folder"), "{error}");
    first.is_well();
}

#[test]
fn while_the_folder_is_not_what_it_should_be_messages_are_refused_and_then_taken_again() {
    let place = Place::new();
    let gateway = place.start();
    let (path, aside) = (place.path(), place.outer.path().join("aside"));
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let own = fs::metadata(place.outer.path()).unwrap();
    let owner = |owner| chown(&path, Some(owner), None);
    gateway.is_well();
    let rows: [(&str, &dyn Fn() -> bool, &dyn Fn()); 3] = [
        ("vanished", &|| fs::rename(&path, &aside).is_ok(), &|| {
            fs::rename(&aside, &path).unwrap();
        }),
        (
            "open to others",
            &|| {
                mode(0o755);
                true
            },
            &|| mode(0o700),
        ),
        // Only root can give it away.
        ("somebody else's", &|| owner(12_345).is_ok(), &|| {
            owner(own.uid()).unwrap();
        }),
    ];
    for (name, spoil, mend) in rows {
        let token = message(&[]);
        if spoil() {
            let answer = gateway.post(&token);
            assert_eq!(
                answer.refusal(),
                (503, "journal_unavailable".into()),
                "{name}"
            );
            assert_eq!(answer.field("Retry-After"), Some("30"));
            assert_eq!(gateway.post(&token).status, 503, "{name}");
            let body = ready(&gateway);
            assert_eq!(
                (&body["status"], &body["live"]),
                (&json!(503), &json!(true))
            );
            assert_eq!(body["journal"], false, "{name}");
            assert_eq!(body["degraded"][0]["code"], "journal_unavailable", "{name}");
            mend();
        }
        assert_eq!(gateway.post(&token).outcome(), "accepted", "{name}");
        let body = ready(&gateway);
        assert_eq!(
            (&body["status"], &body["degraded"]),
            (&json!(200), &json!([])),
            "{name}"
        );
    }
    let said = gateway.lines.text();
    assert!(
        said.contains("journal_unavailable: messages cannot be kept"),
        "{said}"
    );
    assert!(said.contains("journal: messages are kept again"), "{said}");
}

#[test]
fn full_is_an_honest_refusal() {
    let place = Place::new();
    let gateway = Gateway::start(&[
        ("GATEWAY_JOURNAL", &place.text()),
        ("GATEWAY_JOURNAL_MAX_MB", "1"),
    ]);
    let long = "x".repeat(3000);
    let mut client = gateway.client();
    let mut kept = Vec::new();
    let refused = loop {
        let token = message(&[("source_reference", json!({"a": long}))]);
        client.send(&post(&token));
        let answer = client.answer();
        if answer.status != 200 {
            break (token, answer);
        }
        assert_eq!(answer.outcome(), "accepted");
        kept.push(token);
    };
    assert_eq!(refused.1.refusal(), (503, "journal_full".into()));
    assert!((100..300).contains(&kept.len()), "{}", kept.len());
    assert_eq!(gateway.post(&kept[0]).outcome(), "duplicate");
    let body = wait_for_journal(&gateway, false);
    assert_eq!(body["degraded"][0]["code"], "journal_full");
    let sum = place.lines(&[]).pop().unwrap();
    assert_eq!(sum["messages"], kept.len());
    assert!(sum["bytes"].as_u64().unwrap() <= 1 << 20, "{sum}");
}

#[test]
fn a_clock_that_is_behind_the_newest_message_is_not_set() {
    let place = Place::new();
    let first = place.start();
    assert_eq!(first.post(&message(&[])).outcome(), "accepted");
    drop(first);
    // The newest message is from the future, as it looks to a board without a battery.
    let path = place.segments().remove(0);
    let later = (now() + 86_400).to_le_bytes();
    let mut bytes = fs::read(&path).unwrap();
    let state = 32 + 13 + 8;
    bytes[state..state + 8].copy_from_slice(&later);
    let record = 32..32 + 13 + 24;
    let check = check(&[&1_u64.to_le_bytes(), &bytes[record.start + 8..record.end]]);
    bytes[record.start..record.start + 8].copy_from_slice(&check);
    #[expect(clippy::disallowed_methods, reason = "a clock cannot be turned")]
    fs::write(&path, &bytes).unwrap();
    let second = place.start();
    assert_eq!(
        second.post(&message(&[])).refusal(),
        (503, "clock_not_set".into())
    );
    assert_eq!(ready(&second)["clock_set"], false);
}
