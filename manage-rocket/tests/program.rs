//! The program as it is started: keys, settings that stop it, an address that is taken, a
//! log that nobody reads, and stopping.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manage-rocket"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// With all that it needs, in that folder, on a free port.
fn configured(folder: &Path) -> Command {
    let mut command = program();
    command
        .env("JWT_PRIVATE_KEY", folder.join("keys/message-private.pem"))
        .env(
            "MANAGE_DATABASE",
            format!("sqlite:{}", folder.join("manage.db").display()),
        )
        .env("MANAGE_SIGN_IN", "mock")
        .env("MANAGE_DEMONSTRATION", "1")
        .env("ROCKET_PORT", "0");
    command
}

fn keygen(folder: &Path) -> String {
    let output = program().arg("keygen").arg(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running program, ended with the test.
struct Running {
    child: Child,
    port: u16,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Running {
    /// Starts it and waits until it says where it listens.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, wait) = channel();
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                if let Some((_, port)) = line.trim().rsplit_once("listening on http://127.0.0.1:") {
                    said.send(port.parse::<u16>().unwrap()).unwrap();
                    break;
                }
                line.clear();
            }
            stderr
        });
        let port = wait
            .recv_timeout(PATIENCE)
            .expect("it says where it listens");
        let stderr = Some(reader.join().unwrap());
        Self {
            child,
            port,
            stderr,
        }
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(asked.success());
        // The reader of its log, if there is one, must not hold it up.
        let rest = self.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut rest = String::new();
                stderr.read_to_string(&mut rest).ok();
            })
        });
        let (done, wait) = channel();
        thread::scope(|scope| {
            let child = &mut self.child;
            scope.spawn(move || done.send(child.wait().unwrap()).ok());
            let status = wait.recv_timeout(PATIENCE);
            if status.is_err() {
                Command::new("kill").args(["-KILL", &id]).status().unwrap();
            }
            drop(rest);
            status.expect("it stops when asked")
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone where the test went well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[cfg(unix)]
fn keygen_makes_a_pair_that_only_its_owner_can_read() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("new/keys");
    let kid = keygen(&keys);
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let (private, public) = (
        keys.join("message-private.pem"),
        keys.join("message-public.pem"),
    );
    assert_eq!(mode(&private), 0o600);
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 2);

    // The gateway trusts the public half under the kid that was printed.
    let mut set = gateway_min::KeySet::<4>::new();
    set.add(&std::fs::read(&public).unwrap()).unwrap();
    assert!(set.kids().eq([kid.as_str()]));
    assert_eq!(kid.len(), 43);
    let pem = std::fs::read_to_string(&private).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8");

    for missing in [None, Some(&public), Some(&private)] {
        if let Some(missing) = missing {
            std::fs::remove_file(missing).unwrap();
        }
        let there = std::fs::read_dir(&keys).unwrap().count();
        let output = program().arg("keygen").arg(&keys).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if there == 0 {
            // Nothing is in the way any more.
            assert!(output.status.success(), "{said}");
        } else {
            assert_eq!(output.status.code(), Some(70));
            assert!(said.ends_with("exists and is not overwritten\n"), "{said}");
            assert_eq!(
                std::fs::read_dir(&keys).unwrap().count(),
                there,
                "nothing was made"
            );
            assert_eq!(pem, std::fs::read_to_string(&private).unwrap_or_default());
        }
    }
}

#[test]
fn keygen_makes_another_pair_for_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let message = keygen(folder.path());
    let output = program()
        .arg("keygen")
        .arg(folder.path())
        .arg("session")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let session = String::from_utf8(output.stdout).unwrap();
    assert_ne!(session.trim(), message);
    for name in ["session-private.pem", "session-public.pem"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    let wrong = program().arg("keygen").arg(folder.path()).arg("x").output();
    assert_eq!(wrong.unwrap().status.code(), Some(64));
}

#[test]
#[cfg(unix)]
fn keygen_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    // No file may grow, as on a full disk.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 0; exec "$0" keygen "$1""#])
        .arg(env!("CARGO_BIN_EXE_manage-rocket"))
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(
        said.contains("message-private.pem: File too large"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    keygen(folder.path());
}

#[test]
fn it_serves_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let kid = keygen(&folder.path().join("keys"));
    let running = Running::start(&mut configured(folder.path()));
    let live = running.get("/healthcheck/live");
    assert!(live.starts_with("HTTP/1.1 200 OK\r\n"), "{live}");
    assert!(running.get("/healthcheck/ready").ends_with("\r\n\r\nok\n"));
    assert!(running.get("/.well-known/jwks.json").contains(&kid));
    assert_eq!(running.stop().code(), Some(0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let database = folder.path().join("manage.db").metadata().unwrap();
        assert_eq!(database.mode() & 0o777, 0o600, "it holds names and numbers");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_requests_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    keygen(&folder.path().join("keys"));
    for closed in [true, false] {
        let mut running = Running::start(&mut configured(folder.path()));
        if closed {
            drop(running.stderr.take());
        }
        // Far more lines than the queue and a pipe hold: a stalled reader reads none.
        for _ in 0..2500 {
            assert!(
                running
                    .get("/healthcheck/live")
                    .starts_with("HTTP/1.1 200 OK\r\n")
            );
        }
        assert_eq!(running.stop().code(), Some(0), "closed: {closed}");
    }
}

#[test]
fn the_log_has_no_address_and_no_name() {
    let folder = tempfile::tempdir().unwrap();
    keygen(&folder.path().join("keys"));
    let mut running = Running::start(&mut configured(folder.path()));
    running.get("/sign-in?next=/clinics/Ngozi-Amberley-9991590838");
    running.get("/clinics/Ngozi-Amberley-9991590838");
    running.get("/Ngozi-Amberley-9991590838");
    running.get("/healthcheck/ready");
    let mut lines = Vec::new();
    let mut stderr = running.stderr.take().unwrap();
    while lines.len() < 4 {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0);
        let (line, took) = line
            .trim_end()
            .rsplit_once(' ')
            .and_then(|(line, unit)| {
                assert_eq!(unit, "ms");
                line.rsplit_once(' ')
            })
            .unwrap();
        assert!(took.parse::<u32>().is_ok());
        lines.push(line.to_owned());
    }
    assert_eq!(
        lines,
        [
            "INFO  GET /sign-in?<next>&<why> 200",
            "INFO  GET /clinics/<id> 303",
            "INFO  GET - 404",
            "INFO  GET /healthcheck/ready 200",
        ]
    );
}

#[test]
fn what_stops_the_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    keygen(&keys);
    let open = folder.path().join("open.pem");
    std::fs::copy(keys.join("message-private.pem"), &open).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let change = |change: &dyn Fn(&mut Command)| {
        let mut command = configured(folder.path());
        change(&mut command);
        command
    };
    let rows: Vec<(&str, Command, i32, String)> = vec![
        (
            "no key",
            change(&|command| {
                command.env_remove("JWT_PRIVATE_KEY");
            }),
            78,
            "JWT_PRIVATE_KEY is not set".to_owned(),
        ),
        (
            "the public half for a key",
            change(&|command| {
                command.env(
                    "JWT_PRIVATE_KEY",
                    std::fs::read_to_string(keys.join("message-public.pem")).unwrap(),
                );
            }),
            78,
            "JWT_PRIVATE_KEY is not an Ed25519 private key in PKCS#8 PEM".to_owned(),
        ),
        (
            "a key that others can read",
            change(&|command| {
                command.env("JWT_PRIVATE_KEY", &open);
            }),
            78,
            "open.pem): can be read or written by others than its owner".to_owned(),
        ),
        (
            "a misspelt setting",
            change(&|command| {
                command.env("MANAGE_DATA_BASE", "x");
            }),
            78,
            "MANAGE_DATA_BASE is not a setting of this version".to_owned(),
        ),
        (
            "a database that cannot be",
            change(&|command| {
                command.env("MANAGE_DATABASE", "sqlite:/nowhere/manage.db");
            }),
            78,
            "MANAGE_DATABASE: the database file: No such file or directory".to_owned(),
        ),
        (
            "a file that is no database",
            change(&|command| {
                let file = keys.join("message-public.pem");
                command.env("MANAGE_DATABASE", format!("sqlite:{}", file.display()));
            }),
            78,
            "MANAGE_DATABASE: the database: error returned from database: (code: 26) file is not a database".to_owned(),
        ),
        (
            "a port that is none",
            change(&|command| {
                command.env("ROCKET_PORT", "http");
            }),
            78,
            "ROCKET_PORT is wrong: invalid type: found string".to_owned(),
        ),
        (
            "a misspelt setting of Rocket's",
            change(&|command| {
                command.env("ROCKET_ADRESS", "192.0.2.1");
            }),
            78,
            "ROCKET_ADRESS is not a setting of this version".to_owned(),
        ),
        (
            "TLS by Rocket's setting",
            change(&|command| {
                command.env("ROCKET_TLS", "{certs=\"c\",key=\"k\"}");
            }),
            78,
            "ROCKET_TLS is set, but this version has no TLS of its own".to_owned(),
        ),
        (
            "a port that is taken",
            change(&|command| {
                command.env("ROCKET_PORT", port.to_string());
            }),
            69,
            format!("cannot listen on 127.0.0.1, port {port}: "),
        ),
        (
            "an unknown command",
            {
                let mut command = program();
                command.arg("serve");
                command
            },
            64,
            "unknown command".to_owned(),
        ),
        #[cfg(unix)]
        (
            "a folder whose name is no text",
            {
                use std::os::unix::ffi::OsStrExt as _;
                let mut command = program();
                command.args(["keygen".as_ref(), std::ffi::OsStr::from_bytes(b"\xff")]);
                command
            },
            64,
            "an argument is not UTF-8".to_owned(),
        ),
    ];
    for (name, mut command, code, expected) in rows {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(&expected), "{name}: {said}");
        assert!(!said.contains("PRIVATE KEY-----"), "{name}");
        if code == 69 {
            assert!(said.contains("ROCKET_PORT sets another port"), "{said}");
        }
    }
}

#[test]
fn a_method_that_nobody_knows_gets_a_page_with_its_headers() {
    let folder = tempfile::tempdir().unwrap();
    keygen(&folder.path().join("keys"));
    let running = Running::start(&mut configured(folder.path()));
    let answer = running.ask("BREW", "/");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for header in [
        "content-security-policy: default-src 'none'; ",
        "cache-control: no-store\r\n",
        "x-frame-options: DENY\r\n",
    ] {
        assert!(answer.contains(header), "{header} in {answer}");
    }
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn programs_that_start_at_once_share_a_new_database() {
    let folder = tempfile::tempdir().unwrap();
    keygen(&folder.path().join("keys"));
    for round in 0..3 {
        let file = folder.path().join(format!("{round}.db"));
        let database = format!("sqlite:{}", file.display());
        let started: Vec<_> = thread::scope(|scope| {
            let start =
                || Running::start(configured(folder.path()).env("MANAGE_DATABASE", &database));
            let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starting
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect()
        });
        for running in started {
            let running = running.expect("each of them listens");
            assert!(
                running
                    .get("/healthcheck/ready")
                    .starts_with("HTTP/1.1 200 ")
            );
            assert_eq!(running.stop().code(), Some(0));
        }
    }
}

#[test]
fn the_key_can_be_a_text_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let kid = keygen(&keys);
    let path = keys.join("message-private.pem");
    let pem = std::fs::read_to_string(&path).unwrap();
    for (setting, value) in [
        ("JWT_PRIVATE_KEY", pem.as_str()),
        ("JWT_PRIVATE_KEY_FILE", path.to_str().unwrap()),
    ] {
        let mut command = configured(folder.path());
        let running = Running::start(command.env_remove("JWT_PRIVATE_KEY").env(setting, value));
        assert!(
            running.get("/.well-known/jwks.json").contains(&kid),
            "{setting}"
        );
        assert_eq!(running.stop().code(), Some(0));
    }
}
