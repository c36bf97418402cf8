//! The program of `cargo demo`: what it starts, what it refuses to start on, and that it
//! leaves nothing behind, however it ends.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, mpsc::channel},
    time::{Duration, Instant},
};

use extension::service::Service;
use tempfile::TempDir;

use crate::{
    path::{Lines, await_answer, free_port, programs},
    scene::program,
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Ports {
    gateway: u16,
    manage: u16,
}

impl Ports {
    fn free() -> Self {
        Self {
            gateway: free_port(),
            manage: free_port(),
        }
    }

    /// Waits until nobody listens on either.
    fn await_free(&self) {
        let deadline = Instant::now() + PATIENCE;
        // Nothing is ever sent: it only paces the looking.
        let (_never, pace) = channel::<()>();
        for port in [self.gateway, self.manage] {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            while TcpStream::connect(address).is_ok() {
                assert!(
                    Instant::now() < deadline,
                    "somebody still listens on {address}"
                );
                pace.recv_timeout(Duration::from_millis(20)).unwrap_err();
            }
        }
    }
}

fn command(folder: &TempDir, ports: &Ports) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .env("CARGO", env!("CARGO"))
        .env("GATEWAY_LISTEN", format!("127.0.0.1:{}", ports.gateway))
        .env("ROCKET_PORT", ports.manage.to_string())
        .env_remove("MANAGE_PUBLIC_URL")
        .arg("--state")
        .arg(folder.path().join("state"));
    command
}

/// A demonstration that is up.
struct Demo {
    service: Service,
    lines: Arc<Lines>,
    ports: Ports,
    folder: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        // A first build takes longer than a line is waited for.
        programs();
        let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
        let mut command = command(&folder, &ports);
        command.args(arguments);
        let lines = Arc::default();
        let service = Service::start(command, &Lines::listener(&lines)).unwrap();
        lines.await_line(&["Ctrl-C ends everything."]);
        Self {
            service,
            lines,
            ports,
            folder,
        }
    }

    /// A signal, by the shell's own `kill`.
    fn signal(name: &str, id: u32) {
        let killed = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// The process id of a server, as the demonstration told it.
    fn server(&self, name: &str) -> u32 {
        let told = format!("demo: started {name}, process ");
        let lines = self.lines.with(&[&told]);
        lines[0].strip_prefix(&told).unwrap().parse().unwrap()
    }
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

#[test]
fn everything_comes_up_and_goes_down_on_request() {
    let folder = tempfile::tempdir().unwrap();
    // The installed browser, without a window.
    let browser = folder.path().join("browser");
    write_program(
        &browser,
        &format!(
            "#!/bin/sh\nexec '{}' --headless=new --disable-gpu \"$@\"\n",
            program().display()
        ),
    );
    let demo = Demo::start(&["--browser", browser.to_str().unwrap()]);
    let state = demo.folder.path().join("state");

    await_answer(demo.ports.gateway, "/healthcheck/ready");
    await_answer(demo.ports.manage, "/healthcheck/live");
    for (name, mode) in [(".", 0o700), ("message-private.pem", 0o600)] {
        let found = fs::metadata(state.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    assert!(state.join("message-public.pem").exists());
    demo.lines.await_line(&["gateway │ "]);
    demo.lines.await_line(&["manage  │ "]);
    demo.lines.await_line(&[
        "manage     http://localhost:",
        &demo.ports.manage.to_string(),
    ]);
    demo.lines.await_line(&[
        "gateway    http://127.0.0.1:",
        &demo.ports.gateway.to_string(),
    ]);
    // The ports are not the shipped ones: the extension is a copy for these.
    demo.lines.await_line(&[
        "extension  ",
        state
            .canonicalize()
            .unwrap()
            .join("extension")
            .to_str()
            .unwrap(),
    ]);
    let manifest = fs::read_to_string(state.join("extension/manifest.json")).unwrap();
    assert!(manifest.contains(&format!("http://localhost:{}/*", demo.ports.manage)));
    // The browser has opened manage's page, which sends to the sign-in.
    demo.lines.await_line(&["manage  │ ", "/sign-in"]);

    Demo::signal("INT", demo.service.id());
    let status = demo.service.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(0));
    demo.lines.await_line(&["everything has ended"]);
    demo.ports.await_free();
}

#[test]
fn keys_and_database_are_kept_and_fresh_begins_anew() {
    let first = Demo::start(&[]);
    let state = first.folder.path().join("state");
    let key = fs::read(state.join("message-private.pem")).unwrap();
    Demo::signal("TERM", first.service.id());
    assert_eq!(first.service.wait(PATIENCE).unwrap().code(), Some(0));

    for (arguments, filled) in [(&[][..], 0), (&["--fresh"][..], 1)] {
        let mut command = command(&first.folder, &first.ports);
        command.args(arguments);
        let lines = Arc::<Lines>::default();
        let service = Service::start(command, &Lines::listener(&lines)).unwrap();
        lines.await_line(&["Ctrl-C ends everything."]);
        assert_eq!(fs::read(state.join("message-private.pem")).unwrap(), key);
        let told = lines.with(&["manage  │ ", "demonstration clinics"]);
        assert_eq!(told.len(), filled, "{arguments:?}: {told:?}");
        assert_eq!(service.stop(PATIENCE).unwrap().code(), Some(0));
    }
}

#[test]
fn when_one_server_ends_everything_ends_and_it_says_which() {
    let demo = Demo::start(&[]);
    Demo::signal("KILL", demo.server("gateway"));
    let status = demo.service.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    demo.lines
        .await_line(&["demo: gateway has ended (signal: 9 (SIGKILL))"]);
    demo.ports.await_free();
}

#[test]
fn when_it_is_killed_itself_its_servers_end() {
    let demo = Demo::start(&[]);
    Demo::signal("KILL", demo.service.id());
    demo.ports.await_free();
}

#[test]
fn a_server_that_does_not_start_is_named() {
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
    let mut command = command(&folder, &ports);
    command.env("MANAGE_MESSAGE_LIFETIME_SECS", "soon");
    let output = run(command);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("demo: manage has ended (exit status: 78)"),
        "{told}"
    );
    let relayed = String::from_utf8(output.stdout).unwrap();
    assert!(
        relayed.contains("MANAGE_MESSAGE_LIFETIME_SECS"),
        "{relayed}"
    );
    ports.await_free();
}

#[test]
fn half_a_key_pair_is_named() {
    programs();
    for (there, missing) in [
        ("message-private.pem", "message-public.pem"),
        ("message-public.pem", "message-private.pem"),
    ] {
        let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
        let state = folder.path().canonicalize().unwrap().join("state");
        fs::create_dir(&state).unwrap();
        write_program(&state.join(there), "");
        let output = run(command(&folder, &ports));
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "demo: {} has {there} without {missing}, half a key pair: remove it, or name another folder with --state\n",
            state.display()
        );
        assert!(told.ends_with(&expected), "{told}");
    }
}

#[test]
fn a_browser_that_is_not_there_is_named() {
    for name in ["/nowhere/chromium", "chromium-of-nobody"] {
        let demo = Demo::start(&["--browser", name]);
        demo.lines.await_line(&["demo: there is no program ", name]);
        assert_eq!(demo.service.stop(PATIENCE).unwrap().code(), Some(0));
    }
}

#[test]
fn a_taken_address_is_named_with_its_setting() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = free_port();
    for (ports, expected) in [
        (
            Ports {
                gateway: port,
                manage: free,
            },
            format!(
                "demo: 127.0.0.1:{port}, where the gateway should listen, is taken by another program; end that one, or choose another with GATEWAY_LISTEN, such as GATEWAY_LISTEN=127.0.0.1:9091\n"
            ),
        ),
        (
            Ports {
                gateway: free,
                manage: port,
            },
            format!(
                "demo: 127.0.0.1:{port}, where manage should listen, is taken by another program; end that one, or choose another with ROCKET_PORT, such as ROCKET_PORT=8081\n"
            ),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(command(&folder, &ports));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        assert!(!folder.path().join("state").exists(), "nothing was made");
    }
}

#[test]
fn help_and_unknown_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for (argument, code, said) in [
        ("--help", 0, "GATEWAY_LISTEN"),
        (
            "--everything",
            1,
            "demo: --everything is not an option; --help lists them",
        ),
    ] {
        let mut command = command(&folder, &Ports::free());
        let output = run({
            command.arg(argument);
            command
        });
        assert_eq!(output.status.code(), Some(code));
        let told = [output.stdout, output.stderr].concat();
        assert!(
            String::from_utf8(told).unwrap().contains(said),
            "{argument}"
        );
    }
}

fn write_program(path: &PathBuf, text: &str) {
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o700)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
