//! What stops the start, with which words and exit code, and that `--check` judges alike.

use std::process::{Output, Stdio};

use crate::{
    signer::PUBLIC_JWK,
    support::{Folder, ID, command},
};

/// What the command said, and how it ended.
fn run(settings: &[(&str, &str)], args: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = command(settings)
        .args(args)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// The lines that `main` printed; the log's begin with a time.
fn reasons(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| line.starts_with("gateway-min: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_stops_the_start_stops_a_check_in_the_same_words() {
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let shared = folder.file("shared.jwk", PUBLIC_JWK, 0o666);
    let private = folder.file(
        "private.pem",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n",
        0o600,
    );
    let long = folder.file("long.jwk", &" ".repeat(20_000), 0o600);
    let empty = Folder::new();
    let empty = empty.path().to_str().unwrap();
    let absent = format!("{key}.absent");
    for (name, setting, value, code, words) in [
        (
            "address",
            "GATEWAY_LISTEN",
            "here",
            78,
            "not an IP address and port",
        ),
        (
            "reachable",
            "GATEWAY_LISTEN",
            "0.0.0.0:0",
            78,
            "GATEWAY_ALLOW_PLAIN_HTTP=1",
        ),
        (
            "switch",
            "GATEWAY_ALLOW_PLAIN_HTTP",
            "true",
            78,
            "neither 0 nor 1",
        ),
        ("empty id", "GATEWAY_ID", "", 78, "empty"),
        ("empty issuer", "GATEWAY_ISSUER", "", 78, "empty"),
        (
            "leeway",
            "GATEWAY_LEEWAY_SECS",
            "1h",
            78,
            "not a whole number from 0 to 600",
        ),
        (
            "lifetime",
            "GATEWAY_MAX_LIFETIME_SECS",
            "-1",
            78,
            "not a whole number",
        ),
        (
            "hosts",
            "GATEWAY_HOSTS",
            "http://gateway",
            78,
            "without scheme and port",
        ),
        (
            "origins",
            "GATEWAY_ORIGINS",
            "https://manage.example",
            78,
            "not chrome-extension://",
        ),
        (
            "replay",
            "GATEWAY_REPLAY_CAPACITY",
            "many",
            78,
            "not a whole number",
        ),
        (
            "slots",
            "GATEWAY_SLOTS",
            "1",
            78,
            "not a whole number from 2 to 1024",
        ),
        (
            "share",
            "GATEWAY_PER_ADDRESS",
            "65",
            78,
            "more than the 64 of GATEWAY_SLOTS",
        ),
        (
            "metrics address",
            "GATEWAY_METRICS_LISTEN",
            "localhost:9091",
            78,
            "not an IP address and port",
        ),
        (
            "metrics reachable",
            "GATEWAY_METRICS_LISTEN",
            "0.0.0.0:0",
            78,
            "GATEWAY_ALLOW_PLAIN_HTTP=1",
        ),
        ("no metrics", "GATEWAY_METRICS_LISTEN", "", 78, "empty"),
        (
            "level",
            "GATEWAY_LOG",
            "loud",
            78,
            "not error, warn, info or debug",
        ),
        (
            "content",
            "GATEWAY_LOG_CONTENT",
            "yes",
            78,
            "neither 0 nor 1",
        ),
        (
            "both names",
            "GATEWAY_KEYS",
            "x.pem",
            78,
            "another name of it",
        ),
        (
            "typing error",
            "GATEWAY_LISEN",
            "127.0.0.1:0",
            78,
            "is GATEWAY_LISTEN meant?",
        ),
        ("later", "GATEWAY_STREAMS", "4", 78, "not in this version"),
        #[cfg(not(feature = "tls"))]
        (
            "not built in",
            "GATEWAY_TLS_CERT",
            "cert.pem",
            78,
            "not built in: it takes a build with --features tls",
        ),
        #[cfg(not(feature = "tls"))]
        (
            "not built in, the other",
            "GATEWAY_TLS_KEY",
            "key.pem",
            78,
            "not built in",
        ),
        (
            "later, other prefix",
            "GOVUK_UPSTREAM_URI",
            "http://x",
            78,
            "not in this version",
        ),
        ("absent file", "JWT_PUBLIC_KEY", &absent, 66, "No such file"),
        (
            "device",
            "JWT_PUBLIC_KEY",
            "/dev/null",
            66,
            "not a regular file",
        ),
        ("empty folder", "JWT_PUBLIC_KEY", empty, 66, "without files"),
        (
            "others may write",
            "JWT_PUBLIC_KEY",
            &shared,
            77,
            "chmod go-w",
        ),
        (
            "private key",
            "JWT_PUBLIC_KEY",
            &private,
            65,
            "public half only",
        ),
        ("long file", "JWT_PUBLIC_KEY", &long, 65, "longer than"),
        ("key text", "JWT_PUBLIC_KEY", "{}", 65, "JWK"),
    ] {
        let mut settings = vec![
            ("GATEWAY_ID", ID),
            ("JWT_PUBLIC_KEY", key.as_str()),
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ];
        settings.retain(|(known, _)| *known != setting);
        settings.push((setting, value));
        let (started, said) = run(&settings, &[]);
        let (checked, said_by_check) = run(&settings, &["--check"]);
        assert_eq!((started, checked), (code, code), "{name}: {said}");
        let said = reasons(&said);
        assert_eq!(said, reasons(&said_by_check), "{name}");
        assert!(
            said.contains(setting) && said.contains(words),
            "{name}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }
}

#[test]
fn a_good_configuration_passes_and_required_settings_are_named_together() {
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let good = [("GATEWAY_ID", ID), ("JWT_PUBLIC_KEY", key.as_str())];
    assert_eq!(run(&good, &["--check"]), (0, String::new()));
    let open = [
        good[0],
        good[1],
        ("GATEWAY_LISTEN", "0.0.0.0:0"),
        ("GATEWAY_METRICS_LISTEN", "[::]:0"),
        ("GATEWAY_ALLOW_PLAIN_HTTP", "1"),
    ];
    assert_eq!(run(&open, &["--check"]), (0, String::new()));
    let (code, said) = run(&[], &["--check"]);
    assert_eq!(code, 78);
    assert!(
        said.contains("GATEWAY_ID: required") && said.contains("JWT_PUBLIC_KEY: required"),
        "{said}"
    );
}

#[test]
fn keys_come_as_text_as_a_file_or_as_a_folder() {
    let folder = Folder::new();
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let file = folder.file("key.pem", pem, 0o644);
    folder.file(".key.pem.swp", "an editor's", 0o666);
    for keys in [pem, PUBLIC_JWK, &file, folder.path().to_str().unwrap()] {
        let settings = [("GATEWAY_ID", ID), ("GATEWAY_KEYS", keys)];
        assert_eq!(run(&settings, &["--check"]), (0, String::new()), "{keys}");
    }
    // The same key twice in a folder would make one of them unreachable.
    folder.file("same.jwk", PUBLIC_JWK, 0o644);
    let settings = [
        ("GATEWAY_ID", ID),
        ("GATEWAY_KEYS", folder.path().to_str().unwrap()),
    ];
    let (code, said) = run(&settings, &["--check"]);
    assert_eq!(code, 65);
    assert!(
        said.contains("same.jwk") && said.contains("same kid"),
        "{said}"
    );
}

#[test]
fn keys_of_other_kinds_are_passed_over_aloud() {
    let other = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#;
    let set = format!(r#"{{"keys":[{other},{PUBLIC_JWK}]}}"#);
    let settings = [("GATEWAY_ID", ID), ("GATEWAY_KEYS", set.as_str())];
    let (code, said) = run(&settings, &["--check"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("GATEWAY_KEYS: 1 of its keys passed over"),
        "{said}"
    );
}

#[test]
fn flags_are_settings_and_win() {
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let settings = [("GATEWAY_ID", ID), ("GATEWAY_SLOTS", "nonsense")];
    let flags = ["--check", "--slots=8", "--jwt-public-key", &key];
    assert_eq!(run(&settings, &flags), (0, String::new()));
    for (args, code, words) in [
        (&["serve"][..], 64, "serve: not a flag or command"),
        (&["--lisen", "x"], 64, "is --listen meant?"),
        (&["--listen"], 64, "its value is missing"),
        (&["--check", "--help"], 64, "one command at a time"),
        (&["--now", "5"], 64, "only verify takes a time"),
        (&["--upstream", "http://x"], 78, "not in this version"),
        (&["--slots", "zero"], 78, "GATEWAY_SLOTS: \"zero\" (flag)"),
    ] {
        let (ended, said) = run(&settings[..1], args);
        assert_eq!(ended, code, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn a_taken_address_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["GATEWAY_LISTEN", "GATEWAY_METRICS_LISTEN"] {
        let mut settings = vec![
            ("GATEWAY_ID", ID),
            ("GATEWAY_KEYS", PUBLIC_JWK),
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
        ];
        settings.retain(|(known, _)| *known != setting);
        settings.push((setting, &address));
        let (code, said) = run(&settings, &[]);
        assert_eq!(code, 69, "{said}");
        assert!(
            reasons(&said).contains(&format!("{setting}: {address}: ")),
            "{said}"
        );
    }
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let settings = [
        ("GATEWAY_ID", ID),
        ("GATEWAY_KEYS", PUBLIC_JWK),
        ("GATEWAY_LISTEN", "127.0.0.1:9"),
        ("GATEWAY_METRICS_LISTEN", "127.0.0.1:9"),
    ];
    for args in [&[][..], &["--check"]] {
        let (code, said) = run(&settings, args);
        assert_eq!(code, 78, "{args:?}: {said}");
        assert_eq!(
            said,
            "gateway-min: GATEWAY_METRICS_LISTEN: 127.0.0.1:9 is taken by GATEWAY_LISTEN, \
             127.0.0.1:9: give it another port, or take it away to have metrics there\n"
        );
    }
}

#[test]
fn help_and_version_need_no_settings() {
    let said = |arg: &str| {
        let output = command(&[("GATEWAY_NONSENSE", "1")])
            .arg(arg)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arg}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said("--help").contains("\nGATEWAY_LISTEN, --listen ADDRESS:PORT\n"));
    assert_eq!(
        said("--version"),
        format!("gateway-min {}\n", env!("CARGO_PKG_VERSION"))
    );
}
