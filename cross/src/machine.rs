//! A board with Debian's own kernel: one core, 128 MB, no root file system but the one in
//! memory that is made here, and a disk where one is given.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Client, Folder, PATIENCE, Package, Target,
    archive::Archive,
    message::{ID, ISSUER},
    packages::kernel,
    signer::PUBLIC_JWK,
};

/// What the board's clock says when it is switched on.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// What this machine's does.
    Set,
    /// The first of January 1970: a board without clock battery.
    Unset,
}

/// What a board is switched on with.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Its clock.
    pub clock: Clock,
    /// An image that is mounted at `/var/lib/gateway-min`.
    pub disk: Option<&'a Path>,
    /// Settings of the gateway, beside those of the package.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            clock: Clock::Set,
            disk: None,
            settings: &[],
        }
    }
}

/// What the gateway takes, in KiB as the board's kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u32,
    /// The most so far.
    pub peak: u32,
    /// Of the resident, what is not the program's file.
    pub anonymous: u32,
    /// Its threads.
    pub threads: u32,
}

/// A board that is switched on; switched off with its test.
#[derive(Debug)]
pub struct Machine {
    emulator: Child,
    keyboard: ChildStdin,
    screen: Receiver<String>,
    /// Where its gateway is reached from here.
    address: SocketAddr,
    /// From switching on to the first process being ready.
    booted: Duration,
    _folder: Folder,
}

impl Machine {
    /// Switches a board on, with the gateway of the armhf package not yet started.
    #[must_use]
    pub fn boot(setup: &Setup<'_>) -> Self {
        let folder = Folder::new();
        let files = initial_files(setup.settings);
        let initial = folder.file("initrd", &files);
        let monitor = folder.path().join("monitor");
        let mut command = Command::new("qemu-system-arm");
        command
            .args("-M virt -cpu cortex-a7 -m 128 -smp 1 -display none -no-reboot".split(' '))
            .arg("-kernel")
            .arg(kernel().join("vmlinuz"))
            .arg("-initrd")
            .arg(initial)
            .args(["-append", "console=ttyAMA0 quiet panic=1 rdinit=/init"])
            .args(["-serial", "stdio"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=monitor,path={},server=on,wait=off",
                monitor.display()
            ))
            .args(["-mon", "chardev=monitor"])
            .args(["-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:0-:9090"])
            .args(["-device", "virtio-net-device,netdev=n"]);
        if let Clock::Unset = setup.clock {
            command.args(["-rtc", "base=1970-01-01T00:00:00"]);
        }
        if let Some(disk) = setup.disk {
            // Written through to the image, so that a cut takes what the board had not
            // made durable.
            command
                .arg("-drive")
                .arg(format!(
                    "if=none,id=d,format=raw,cache=directsync,file={}",
                    disk.display()
                ))
                .args(["-device", "virtio-blk-device,drive=d"]);
        }
        let began = Instant::now();
        let mut emulator = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = emulator.stdin.take().unwrap();
        let output = BufReader::new(emulator.stdout.take().unwrap());
        let (sender, screen) = channel();
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut machine = Self {
            emulator,
            keyboard,
            screen,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            booted: Duration::ZERO,
            _folder: folder,
        };
        machine.until(|line| (line == "@@ready").then_some(()));
        machine.booted = began.elapsed();
        machine.address = forwarded(&monitor);
        machine
    }

    /// How long it took from switching on to the first process being ready.
    #[must_use]
    pub const fn booted(&self) -> Duration {
        self.booted
    }

    /// Reads lines until `found` has something: that, and the lines before it.
    #[track_caller]
    fn until<T>(&self, found: impl Fn(&str) -> Option<T>) -> (T, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.screen.recv_timeout(left) else {
                panic!("the board fell silent after:\n{}", lines.join("\n"));
            };
            if let Some(found) = found(&line) {
                return (found, lines);
            }
            lines.push(line);
        }
    }

    /// Types a line at the console: whether it succeeded, and what it printed.
    #[track_caller]
    pub fn try_run(&mut self, line: &str) -> (bool, String) {
        writeln!(self.keyboard, "{line}").unwrap();
        let (status, lines) =
            self.until(|line| line.strip_prefix("@@done ").map(|status| status == "0"));
        (status, lines.join("\n"))
    }

    /// Likewise, of what has to succeed.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        let (succeeded, text) = self.try_run(line);
        assert!(succeeded, "{line}:\n{text}\n{}", self.log());
        text
    }

    /// What the gateway has logged.
    #[track_caller]
    pub fn log(&mut self) -> String {
        self.try_run("cat /log").1
    }

    /// Starts the gateway and waits until it answers: how long that took by the board's
    /// clock, which counts hundredths of a second.
    #[track_caller]
    pub fn start(&mut self) -> Duration {
        let said = self.run("timed");
        let hundredths: u64 = said.parse().unwrap_or_else(|_| panic!("{said}"));
        Duration::from_millis(10 * hundredths)
    }

    /// Waits until the gateway says that it takes messages.
    #[track_caller]
    pub fn ready(&mut self) {
        self.run("waited /healthcheck/ready");
    }

    /// A connection to the gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address).unwrap()
    }

    /// Where the gateway is reached.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the gateway takes now.
    #[track_caller]
    pub fn memory(&mut self) -> Memory {
        let status = self.run("cat /proc/$(pidof gateway-min)/status");
        let field = |name: &str| {
            let mut fields = status.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = fields
                .find(|(known, _)| *known == name)
                .unwrap_or_else(|| panic!("no {name} in:\n{status}"));
            let digits = value.split_ascii_whitespace().next().unwrap();
            digits.parse().unwrap()
        };
        Memory {
            resident: field("VmRSS"),
            peak: field("VmHWM"),
            anonymous: field("RssAnon"),
            threads: field("Threads"),
        }
    }

    /// Takes the power away, at this very moment.
    pub fn cut(mut self) {
        self.emulator.kill().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.emulator.kill().ok();
        self.emulator.wait().unwrap();
    }
}

/// The packaged gateway with what it needs to be started by `board-init`.
fn initial_files(settings: &[(&str, &str)]) -> Vec<u8> {
    let package = Package::debian(&Target::named("armv7-unknown-linux-musleabihf"));
    let kernel = kernel();
    let mut archive = Archive::new();
    let folders = [
        "bin",
        "dev",
        "etc",
        "etc/default",
        "etc/gateway-min",
        "etc/gateway-min/keys.d",
        "modules",
        "proc",
        "sys",
        "usr",
        "usr/bin",
        "var",
        "var/lib",
        "var/lib/gateway-min",
    ];
    for folder in folders {
        archive.folder(folder);
    }
    archive.device("dev/console", (5, 1));
    archive.program("init", include_bytes!("../board-init"));
    archive.program("bin/busybox", &fs::read(kernel.join("busybox")).unwrap());
    archive.link("bin/sh", "busybox");
    archive.program("usr/bin/gateway-min", &fs::read(package.program()).unwrap());
    let packaged = fs::read(package.file("etc/default/gateway-min")).unwrap();
    archive.file("etc/default/gateway-min", &packaged);
    let own = [
        ("GATEWAY_ID", ID),
        ("GATEWAY_ISSUER", ISSUER),
        ("GATEWAY_LISTEN", "0.0.0.0:9090"),
        ("GATEWAY_ALLOW_PLAIN_HTTP", "1"),
    ];
    let own = own.iter().chain(settings);
    let own: String = own
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    archive.file("etc/board", own.as_bytes());
    archive.file("etc/gateway-min/keys.d/site.jwk", PUBLIC_JWK.as_bytes());
    archive.file(
        "etc/passwd",
        b"root:x:0:0:root:/:/bin/sh\ngateway-min:x:990:990::/var/lib/gateway-min:/bin/false\n",
    );
    archive.file("etc/group", b"root:x:0:\ngateway-min:x:990:\n");
    for module in fs::read_dir(kernel.join("modules")).unwrap() {
        let path = module.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        archive.file(&format!("modules/{name}"), &fs::read(&path).unwrap());
    }
    archive.finish()
}

/// The port that the emulator took for the gateway's, as its monitor tells.
fn forwarded(monitor: &Path) -> SocketAddr {
    let mut stream = UnixStream::connect(monitor).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"info usernet\n").unwrap();
    let mut said = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let len = stream.read(&mut chunk).unwrap();
        said.extend_from_slice(&chunk[..len]);
        let text = String::from_utf8_lossy(&said);
        let line = text.lines().find(|line| line.contains("HOST_FORWARD"));
        // Protocol, descriptor, address, port; then the board's.
        if let Some(line) = line
            && let Some(port) = line.split_ascii_whitespace().nth(3)
            && line.contains(" 9090 ")
        {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
        }
        assert!(len > 0, "no forwarded port in {text}");
    }
}
