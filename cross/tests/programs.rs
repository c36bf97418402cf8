//! The program of each target, under the emulator of its least processor.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use board::{Emulated, Message, Target, now};

/// Starts it, sends what a site would, and stops it.
#[track_caller]
fn serves(target: &str) {
    let emulated = Emulated::new(&Target::named(target));
    let version = emulated.print(&["--version"], "");
    assert_eq!(
        version,
        concat!("gateway-min ", env!("CARGO_PKG_VERSION"), "\n")
    );

    let good = Message::new("good").sign();
    let verdicts = emulated.print(
        &["verify"],
        &format!("{good}\n{}\n", Message::new("good").forged()),
    );
    let said: Vec<_> = verdicts
        .lines()
        .map(|line| {
            line.split(r#"outcome":""#)
                .nth(1)
                .unwrap_or(line)
                .split('"')
                .next()
        })
        .collect();
    assert_eq!(said, [Some("accepted"), Some("refused")], "{verdicts}");

    let gateway = emulated.serve();
    gateway.ready();
    let other_content = Message {
        action: "worklist.remove_item",
        ..Message::new("good")
    };
    let lasting = Message {
        exp: now() + 999_999,
        ..Message::new("lasting")
    };
    let rows = [
        ("a message", good.clone(), (200, "accepted")),
        ("again", good.clone(), (200, "duplicate")),
        ("other content", other_content.sign(), (409, "jti_conflict")),
        (
            "another signature",
            Message::new("forged").forged(),
            (401, "bad_signature"),
        ),
        ("too late", Message::ended("late").sign(), (403, "expired")),
        ("too early", lasting.sign(), (403, "issued_in_future")),
        ("no token", "a.b".to_owned(), (400, "token_segments")),
        ("nothing", String::new(), (400, "body_missing")),
    ];
    for (name, token, (status, said)) in rows {
        let mut client = gateway.client();
        let answer = client.post(&token).unwrap();
        assert_eq!(answer.said(), (status, said.to_owned()), "{name}");
    }
    let (status, log) = gateway.stop();
    assert!(status.success(), "{status}\n{log}");
    assert!(log.contains(r#"accepted jti="good""#), "{log}");
    assert!(!log.contains("ZZTEST"), "content in the log:\n{log}");
}

#[test]
fn armv7() {
    serves("armv7-unknown-linux-musleabihf");
}

#[test]
fn aarch64() {
    serves("aarch64-unknown-linux-musl");
}

/// On the processor of the first Pi, which has no ARMv7 instruction.
#[test]
fn armv6() {
    serves("arm-unknown-linux-musleabihf");
}

#[test]
fn x86_64() {
    serves("x86_64-unknown-linux-musl");
}

/// A target that the list gains has to gain a test.
#[test]
fn every_target_has_its_test() {
    let names: Vec<_> = Target::all().iter().map(|target| target.name).collect();
    let tested = [
        "armv7-unknown-linux-musleabihf",
        "aarch64-unknown-linux-musl",
        "arm-unknown-linux-musleabihf",
        "x86_64-unknown-linux-musl",
    ];
    assert_eq!(names, tested);
}
