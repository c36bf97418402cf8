//! Keys that change under a running gateway: what is taken in, what is not, what can be
//! seen of it, and that no good message is refused meanwhile.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    signer::{b64, sign_encoded_with},
    support::{Folder, Gateway, PATIENCE, claims, post, request},
};

/// Somebody who signs, under a `kid` of his own choice.
struct Signer {
    kid: String,
    key: SigningKey,
}

impl Signer {
    fn new(number: u8) -> Self {
        Self {
            kid: format!("signer-{number}"),
            key: SigningKey::from_bytes(&[number; 32]),
        }
    }

    fn jwk(&self) -> String {
        let x = b64(self.key.verifying_key().as_bytes());
        let kid = &self.kid;
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    fn message(&self) -> String {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.kid);
        let claims = claims(&[]);
        sign_encoded_with(&self.key, &b64(header.as_bytes()), &b64(claims.as_bytes()))
    }
}

fn set_of(signers: &[&Signer]) -> String {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn start(keys: &str) -> Gateway {
    Gateway::start(&[("JWT_PUBLIC_KEY", keys)])
}

impl Gateway {
    #[track_caller]
    fn takes(&self, signer: &Signer) {
        let answer = self.post(&signer.message());
        assert_eq!(answer.outcome(), "accepted", "{}: {answer:?}", signer.kid);
    }

    #[track_caller]
    fn refuses(&self, signer: &Signer) {
        let refusal = self.post(&signer.message()).refusal();
        assert_eq!(refusal, (401, "unknown_key".into()), "{}", signer.kid);
    }

    /// What the readiness path says, once it says ready and `enough` of it is so.
    #[track_caller]
    fn ready_when(&self, enough: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut client = self.client();
        loop {
            client.send(&request("GET /healthcheck/ready", &[], b""));
            let answer = client.answer();
            let said = answer.json();
            if (answer.status, &said["ready"]) == (200, &json!(true)) && enough(&said) {
                return said;
            }
            assert!(Instant::now() < until, "{answer:?}");
            // Asked again a little later, so that the machine has time for what is awaited.
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The code that it is degraded by, and since when.
    #[track_caller]
    fn degraded(&self) -> (String, u64) {
        let said = self.ready_when(|said| said["degraded"] != json!([]));
        let one = &said["degraded"][0];
        assert_eq!(said["degraded"].as_array().unwrap().len(), 1, "{said}");
        assert!(one["age_secs"].is_u64(), "{said}");
        let code = one["code"].as_str().unwrap();
        (code.to_owned(), one["since"].as_u64().unwrap())
    }
}

fn mode(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_exchanged_by_rename_is_taken_in() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    gateway.takes(&old);
    gateway.refuses(&new);

    fs::rename(folder.file("next", &new.jwk(), 0o600), &keys).unwrap();
    let line = gateway.lines.wait_for("key \"signer-2\" came");
    assert!(line.contains(" INFO "), "{line}");
    let line = gateway.lines.wait_for("key \"signer-1\" went");
    assert!(line.contains(" INFO "), "{line}");
    gateway
        .lines
        .wait_for(&format!("JWT_PUBLIC_KEY: {keys}: keys in use: 1"));
    gateway.takes(&new);
    gateway.refuses(&old);
    assert_eq!(gateway.ready_when(|_| true)["degraded"], json!([]));
    assert_eq!(gateway.lines.count(" ERROR "), 0);
}

#[test]
fn a_file_written_in_place_is_taken_in() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    folder.file("keys.jwk", &set_of(&[&old, &new]), 0o600);
    gateway.lines.wait_for("key \"signer-2\" came");
    gateway.takes(&old);
    gateway.takes(&new);
}

#[test]
fn a_link_to_another_folder_is_taken_in() {
    // As orchestrators mount secrets: one rename exchanges every file.
    let (old, new) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    for (name, signer) in [("first", &old), ("second", &new)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        mode(folder.path().join(name).to_str().unwrap(), 0o700);
        folder.file(&format!("{name}/key.jwk"), &signer.jwk(), 0o600);
    }
    let (link, next) = (folder.path().join("keys"), folder.path().join("next"));
    symlink("first", &link).unwrap();
    let gateway = start(link.to_str().unwrap());
    gateway.takes(&old);
    symlink("second", &next).unwrap();
    fs::rename(&next, &link).unwrap();
    gateway.lines.wait_for("key \"signer-2\" came");
    gateway.takes(&new);
    gateway.refuses(&old);
}

#[test]
fn another_key_under_the_same_kid_is_told() {
    let (old, mut new) = (Signer::new(1), Signer::new(2));
    new.kid.clone_from(&old.kid);
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    fs::rename(folder.file("next", &new.jwk(), 0o600), &keys).unwrap();
    gateway
        .lines
        .wait_for("key \"signer-1\" stands for another key now");
    gateway.takes(&new);
    let refusal = gateway.post(&old.message()).refusal();
    assert_eq!(refusal, (401, "bad_signature".into()));
}

#[test]
fn a_folder_gains_and_loses_keys() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let (folder, keys) = (Folder::new(), Folder::new());
    let first = keys.file("first.jwk", &old.jwk(), 0o600);
    let gateway = start(keys.path().to_str().unwrap());

    let second = keys.path().join("second.jwk");
    fs::rename(folder.file("next", &new.jwk(), 0o600), &second).unwrap();
    gateway.lines.wait_for("key \"signer-2\" came");
    gateway.takes(&old);
    gateway.takes(&new);
    gateway.ready_when(|said| said["keys"] == 2);

    fs::remove_file(&first).unwrap();
    gateway.lines.wait_for("key \"signer-1\" went");
    gateway.takes(&new);
    gateway.refuses(&old);

    // A folder without files would stop a start; here the last key stays.
    fs::remove_file(&second).unwrap();
    let line = gateway.lines.wait_for("a folder without files");
    assert!(line.contains(" ERROR "), "{line}");
    assert_eq!(gateway.degraded().0, "keys_unreadable");
    gateway.takes(&new);

    fs::rename(folder.file("next", &old.jwk(), 0o600), &first).unwrap();
    gateway.lines.wait_for("good again");
    gateway.takes(&old);
    gateway.refuses(&new);
    gateway.ready_when(|said| said["degraded"] == json!([]));
}

/// What breaks the file at a path, what that is called, and what mends it.
struct Fault {
    name: &'static str,
    breaks: fn(&Path),
    code: &'static str,
    words: &'static str,
    mends: fn(&Path),
}

/// Exchanges a file in one step, so that each look finds either.
#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn put(path: &Path, text: &str, mode: u32) {
    let next = path.with_file_name(".next");
    fs::write(&next, text).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(next, path).unwrap();
}

fn put_good(path: &Path) {
    put(path, &set_of(&[&Signer::new(1), &Signer::new(2)]), 0o600);
}

fn set_mode_of_folder(path: &Path, to: u32) {
    mode(path.parent().unwrap().to_str().unwrap(), to);
}

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[rustfmt::skip]
const FAULTS: [Fault; 8] = [
    Fault { name: "garbage", breaks: |path| put(path, "garbage", 0o600), code: "keys_invalid", words: "neither a PEM public key nor a JWK", mends: put_good },
    Fault { name: "half", breaks: |path| put(path, set_of(&[&Signer::new(2)]).split_at(60).0, 0o600), code: "keys_invalid", words: "not a readable JWK", mends: put_good },
    Fault { name: "empty", breaks: |path| put(path, "", 0o600), code: "keys_invalid", words: "neither a PEM public key nor a JWK", mends: put_good },
    Fault { name: "private", breaks: |path| put(path, PRIVATE, 0o600), code: "keys_invalid", words: "public half only", mends: put_good },
    Fault { name: "a good key before a bad one", breaks: |path| put(path, &set_of(&[&Signer::new(2), &Signer::new(2)]), 0o600), code: "keys_invalid", words: "a second key with the same kid", mends: put_good },
    Fault { name: "writable by the group", breaks: |path| put(path, &Signer::new(2).jwk(), 0o620), code: "keys_unprotected", words: "has mode 0620", mends: put_good },
    Fault { name: "folder writable by the group", breaks: |path| set_mode_of_folder(path, 0o770), code: "keys_unprotected", words: "has mode 0770", mends: |path| { put_good(path); set_mode_of_folder(path, 0o700); } },
    Fault { name: "gone", breaks: |path| fs::remove_file(path).unwrap(), code: "keys_unreadable", words: "No such file", mends: put_good },
];

#[test]
fn a_bad_file_keeps_the_old_keys_until_it_is_good() {
    let breaks = |fault: &Fault| {
        let (old, new) = (Signer::new(1), Signer::new(2));
        let folder = Folder::new();
        let path = folder.file("keys.jwk", &old.jwk(), 0o600);
        let gateway = start(&path);
        let name = fault.name;

        (fault.breaks)(Path::new(&path));
        let (code, _) = gateway.degraded();
        assert_eq!(code, fault.code, "{name}");
        let line = gateway.lines.wait_for(" ERROR ");
        let place = format!("JWT_PUBLIC_KEY: {path}: ");
        assert!(line.contains(&place), "{name}: {line}");
        assert!(line.contains(fault.words), "{name}: {line}");
        assert!(line.contains("stay in use"), "{name}: {line}");
        gateway.takes(&old);
        gateway.refuses(&new);

        (fault.mends)(Path::new(&path));
        gateway.ready_when(|said| said["degraded"] == json!([]));
        gateway.lines.wait_for("good again");
        gateway.takes(&old);
        gateway.takes(&new);
        assert_eq!(gateway.lines.count(" ERROR "), 1, "{name}");
    };
    thread::scope(|scope| {
        let runs: Vec<_> = FAULTS
            .iter()
            .map(|fault| (fault.name, scope.spawn(|| breaks(fault))))
            .collect();
        for (name, run) in runs {
            assert!(run.join().is_ok(), "{name}");
        }
    });
}

#[test]
fn each_distinct_fault_is_told_once_and_dated_from_the_first() {
    let old = Signer::new(1);
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    folder.file("keys.jwk", "garbage", 0o600);
    let (code, since) = gateway.degraded();
    assert_eq!(code, "keys_invalid");
    // Several looks later, of which one reads the same again.
    gateway.ready_when(|said| said["degraded"][0]["age_secs"].as_u64() >= Some(7));
    assert_eq!(gateway.lines.count(" ERROR "), 1);

    mode(&keys, 0o620);
    gateway.lines.wait_for("has mode 0620");
    assert_eq!(gateway.degraded(), ("keys_unprotected".to_owned(), since));
    assert_eq!(gateway.lines.count(" ERROR "), 2);

    // Whoever asks is told again.
    gateway.signal("HUP");
    gateway.lines.wait_for_another(1, "has mode 0620");
    gateway.takes(&old);

    folder.file("keys.jwk", &old.jwk(), 0o600);
    gateway.lines.wait_for("good again");
    gateway.ready_when(|said| said["degraded"] == json!([]));
    assert_eq!(gateway.lines.count(" came"), 0, "the same key as ever");
    assert_eq!(gateway.lines.count(" went"), 0, "the same key as ever");
}

#[test]
fn names_of_files_and_keys_write_no_lines_of_their_own() {
    let mut new = Signer::new(2);
    let (folder, keys) = (Folder::new(), Folder::new());
    keys.file("first.jwk", &Signer::new(1).jwk(), 0o600);
    let gateway = start(keys.path().to_str().unwrap());
    let bad = keys.file("x\nERROR \u{1b}[2J", "garbage", 0o600);
    let line = gateway.lines.wait_for("neither a PEM");
    assert!(line.contains(r"x\nERROR \u{1b}[2J: "), "{line}");

    new.kid = r"a\n\u001b\u202e".to_owned();
    fs::rename(folder.file("next", &new.jwk(), 0o600), &bad).unwrap();
    gateway.lines.wait_for(r#"key "a\n\u{1b}\u{202e}" came"#);
    let text = gateway.lines.text();
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

#[test]
fn a_hang_up_has_the_keys_read_at_once() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    // Nothing looks different: only who was asked reads and says so.
    for seen in 0..2 {
        gateway.signal("HUP");
        gateway
            .lines
            .wait_for_another(seen, "read again, the same keys: 1");
    }
    fs::rename(folder.file("next", &new.jwk(), 0o600), &keys).unwrap();
    gateway.signal("HUP");
    gateway.lines.wait_for("key \"signer-2\" came");
    gateway.takes(&new);
    gateway.signal("TERM");
    assert!(gateway.ended().0.success(), "and it still stops in order");
}

#[test]
fn a_hang_up_with_the_keys_in_the_setting_is_answered() {
    let signer = Signer::new(1);
    let gateway = start(&signer.jwk());
    gateway.signal("HUP");
    let line = gateway.lines.wait_for("holds their text itself");
    assert!(
        line.contains(" INFO ") && line.contains("JWT_PUBLIC_KEY"),
        "{line}"
    );
    gateway.takes(&signer);
    gateway.signal("TERM");
    assert!(gateway.ended().0.success(), "and it still stops in order");
}

#[test]
fn foreign_keys_of_a_new_set_are_told() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &old.jwk(), 0o600);
    let gateway = start(&keys);
    let foreign = format!(r#"{{"keys":[{{"kty":"RSA"}},{}]}}"#, new.jwk());
    fs::rename(folder.file("next", &foreign, 0o600), &keys).unwrap();
    let line = gateway.lines.wait_for("1 of its keys passed over");
    assert!(line.contains(" WARN "), "{line}");
    gateway.takes(&new);
    gateway.signal("HUP");
    gateway.lines.wait_for("read again");
    assert_eq!(gateway.lines.count("passed over"), 1);
}

#[test]
fn sixteen_keys_are_exchanged_on_a_small_stack() {
    let signers: Vec<_> = (1..=17).map(Signer::new).collect();
    let keys = Folder::new();
    for signer in &signers[..15] {
        keys.file(&signer.kid, &signer.jwk(), 0o600);
    }
    let path = keys.path().to_str().unwrap();
    // 2 MB, where 8 are usual: a debug build moves sets of 480 KB about on it.
    let gateway = Gateway::start_within("-s 2048", &[("JWT_PUBLIC_KEY", path)]);
    keys.file("late", &signers[15].jwk(), 0o600);
    gateway.lines.wait_for("keys in use: 16");
    gateway.takes(&signers[15]);
    keys.file("too-many", &signers[16].jwk(), 0o600);
    gateway.lines.wait_for("more than 16 keys");
    gateway.takes(&signers[0]);
    gateway.refuses(&signers[16]);
}

#[test]
fn no_good_message_is_refused_while_keys_rotate() {
    const SENDERS: usize = 20;
    let (lasting, passing) = (Signer::new(1), Signer::new(2));
    let folder = Folder::new();
    let keys = folder.file("keys.jwk", &lasting.jwk(), 0o600);
    let settings = [
        ("JWT_PUBLIC_KEY", keys.as_str()),
        ("GATEWAY_REPLAY_CAPACITY", "262144"),
    ];
    let gateway = Gateway::start(&settings);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let send = || {
            let mut client = gateway.client();
            let mut sent = 0_u64;
            while !over.load(Ordering::SeqCst) {
                client.send(&post(&lasting.message()));
                let answer = client.answer();
                assert_eq!(answer.outcome(), "accepted", "{answer:?}");
                sent += 1;
            }
            sent
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        // However this ends, the senders end.
        let ends = OnDrop(|| over.store(true, Ordering::SeqCst));
        for rotation in 1..=50 {
            let signers: &[_] = if rotation % 2 == 0 {
                &[&lasting]
            } else {
                &[&passing, &lasting]
            };
            fs::rename(folder.file("next", &set_of(signers), 0o600), &keys).unwrap();
            gateway.signal("HUP");
            gateway.ready_when(|said| said["keys"] == signers.len());
        }
        drop(ends);
        for sender in senders {
            assert!(sender.join().is_ok_and(|sent| sent > 0));
        }
    });
    assert_eq!(gateway.lines.count(" ERROR "), 0);
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
