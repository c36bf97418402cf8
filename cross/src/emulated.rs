//! A program under the emulator of its processor, with this machine's kernel.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{
    Client, Folder, PATIENCE, Target,
    message::{ID, ISSUER},
    packages::Package,
    signer::PUBLIC_JWK,
};

/// The packaged gateway of one target, ready to be run.
#[derive(Debug)]
pub struct Emulated {
    emulator: [&'static str; 2],
    program: PathBuf,
    folder: Folder,
    _package: Package,
}

impl Emulated {
    /// Of the target's tarball.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        let package = Package::tarball(target);
        let folder = Folder::new();
        folder.file("key.jwk", PUBLIC_JWK.as_bytes());
        Self {
            emulator: target.emulator,
            program: package.program(),
            folder,
            _package: package,
        }
    }

    /// The gateway with the settings of a site, on a free port of the loopback.
    fn command(&self) -> Command {
        let [emulator, cpu] = self.emulator;
        let mut command = Command::new(emulator);
        command
            .env_clear()
            .args(["-cpu", cpu])
            .arg(&self.program)
            .env("GATEWAY_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_ID", ID)
            .env("GATEWAY_ISSUER", ISSUER)
            .env("JWT_PUBLIC_KEY", self.folder.path().join("key.jwk"))
            .stdin(Stdio::null());
        command
    }

    /// What a command of the gateway's prints, given some lines.
    #[must_use]
    pub fn print(&self, arguments: &[&str], input: &str) -> String {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts to serve.
    #[must_use]
    pub fn serve(&self) -> Serving {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let mut console = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on ") {
            assert!(console.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let (_, address) = said.rsplit_once("listening on ").unwrap();
        let address = address.trim().parse().unwrap();
        // Read on, or a full pipe would cost lines.
        let rest = thread::spawn(move || {
            console.read_to_string(&mut said).unwrap();
            said
        });
        Serving {
            child,
            address,
            rest: Some(rest),
        }
    }
}

/// A gateway that serves; ended with its test.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    address: SocketAddr,
    rest: Option<JoinHandle<String>>,
}

impl Serving {
    /// A connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address).unwrap()
    }

    /// Waits until it says that it takes messages, which its own probe has to find first.
    pub fn ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut client = self.client();
        loop {
            let answer = client.get("/healthcheck/ready").unwrap();
            if answer.status == 200 {
                return;
            }
            assert!(Instant::now() < deadline, "{}", answer.body);
        }
    }

    /// Asks it to stop: how it ended, and its log.
    #[must_use]
    pub fn stop(mut self) -> (ExitStatus, String) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.unwrap().success());
        let status = self.child.wait().unwrap();
        let log = self.rest.take().unwrap().join().unwrap();
        (status, log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}
