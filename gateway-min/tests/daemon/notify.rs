//! What a service manager hears from the real binary: ready when a request came through,
//! the watchdog fed by such requests alone, how it stands, that it stops. And that a manager
//! who does not listen costs nothing.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{
    metrics::scrape,
    signer::PUBLIC_JWK,
    support::{Folder, Gateway, PATIENCE, request},
};

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        Self::with(UnixDatagram::bind(path).unwrap())
    }

    fn with(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// The next datagram.
    #[track_caller]
    fn next(&mut self) -> String {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).unwrap();
        let text = std::str::from_utf8(&bytes[..len]).unwrap().to_owned();
        self.heard.push(text.clone());
        text
    }

    /// Waits for a datagram that is exactly this.
    #[track_caller]
    fn wait_for(&mut self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        while self.next() != wanted {
            assert!(Instant::now() < until, "no {wanted:?} in {:?}", self.heard);
        }
    }

    /// Takes what has come, and waits for nothing.
    fn drain(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            self.heard.push(text);
        }
        self.socket.set_nonblocking(false).unwrap();
    }

    fn count(&self, line: &str) -> usize {
        let lines = self.heard.iter().flat_map(|text| text.lines());
        lines.filter(|heard| *heard == line).count()
    }
}

/// A probe every tenth of a second, the shortest that there is.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "300000");

#[test]
fn the_manager_hears_of_every_stage() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let keys = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let mut manager = Manager::at(&path);
    let gateway = Gateway::start(&[
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("JWT_PUBLIC_KEY", &keys),
        WATCHDOG,
    ]);
    assert_eq!(manager.next(), "READY=1\nWATCHDOG=1\nSTATUS=ready\n");
    manager.wait_for("WATCHDOG=1\n");
    folder.file("key.jwk", "garbage", 0o600);
    gateway.signal("HUP");
    manager.wait_for("WATCHDOG=1\nSTATUS=ready, and degraded: keys_invalid\n");
    folder.file("key.jwk", PUBLIC_JWK, 0o600);
    gateway.signal("HUP");
    manager.wait_for("WATCHDOG=1\nSTATUS=ready\n");
    gateway.signal("TERM");
    manager.wait_for("STOPPING=1\nSTATUS=stopping: finishing what has begun\n");
    let (status, _) = gateway.ended();
    assert_eq!(status.code(), Some(0));
    manager.drain();
    assert_eq!(manager.count("READY=1"), 1);
    assert!(
        manager.heard.last().unwrap().starts_with("STOPPING=1\n"),
        "its last word: {:?}",
        manager.heard
    );
}

#[test]
fn only_a_probe_that_came_through_feeds_the_watchdog() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let gateway = Gateway::start(&[
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("GATEWAY_SLOTS", "2"),
        WATCHDOG,
    ]);
    manager.wait_for("READY=1\nWATCHDOG=1\nSTATUS=ready\n");
    // Both slots get answers that nobody takes, and whoever else calls is turned away. One
    // that came too early, and had to go for another, comes again.
    let page = request("GET /metrics", &[], b"").repeat(64);
    let (enough, until) = (AtomicBool::new(false), Instant::now() + PATIENCE);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut held = Vec::new();
                while !enough.load(Ordering::SeqCst) && Instant::now() < until {
                    let mut client = gateway.client();
                    client.send_until_full(&page);
                    held.push(client);
                }
            });
        }
        manager.wait_for("STATUS=not ready: the gateway does not answer its own probe\n");
        enough.store(true, Ordering::SeqCst);
    });
    assert_eq!(
        manager.next(),
        "WATCHDOG=1\nSTATUS=ready\n",
        "nothing comes between"
    );
    let fed = manager.count("WATCHDOG=1");
    let page = scrape(gateway.address);
    let probes = |result| page.value("gateway_probes_total", result);
    let came = probes("good");
    assert!(
        came >= f64::from(u32::try_from(fed).unwrap()),
        "{fed} {came}"
    );
    assert!(probes("bad") >= 1.0);
    gateway.signal("TERM");
    manager.wait_for("STOPPING=1\nSTATUS=stopping: finishing what has begun\n");
}

#[test]
fn an_abstract_socket_is_one_too() {
    let name = format!("gateway-min-{}-notify", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::with(UnixDatagram::bind_addr(&address).unwrap());
    let _gateway = Gateway::start(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert_eq!(manager.next(), "READY=1\nSTATUS=ready\n", "no watchdog");
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    for (name, more, wanted) in [
        (
            "another's",
            &[WATCHDOG, ("WATCHDOG_PID", "1")][..],
            "READY=1\nSTATUS=ready\n",
        ),
        ("none", &[("WATCHDOG_USEC", "0")], "READY=1\nSTATUS=ready\n"),
        (
            "no number",
            &[("WATCHDOG_USEC", "soon")],
            "READY=1\nSTATUS=ready\n",
        ),
    ] {
        let folder = Folder::new();
        let path = folder.path().join("notify");
        let mut manager = Manager::at(&path);
        let mut settings = vec![("NOTIFY_SOCKET", path.to_str().unwrap())];
        settings.extend(more);
        let _gateway = Gateway::start(&settings);
        assert_eq!(manager.next(), wanted, "{name}");
    }
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), WATCHDOG];
    let _gateway = Gateway::start_by("WATCHDOG_PID=$$; export WATCHDOG_PID", &settings);
    assert_eq!(
        manager.next(),
        "READY=1\nWATCHDOG=1\nSTATUS=ready\n",
        "ours"
    );
}

#[test]
fn a_manager_that_does_not_listen_costs_a_line() {
    let folder = Folder::new();
    let gone = folder.path().join("gone");
    let gone = gone.to_str().unwrap();
    for (name, socket, wanted) in [
        (
            "nobody there",
            gone,
            "NOTIFY_SOCKET: No such file or directory (os error 2): the service manager is told later",
        ),
        (
            "no socket",
            "vsock:2:9",
            "NOTIFY_SOCKET: neither a path nor an abstract socket: nobody is notified",
        ),
        (
            "empty",
            "",
            "NOTIFY_SOCKET: neither a path nor an abstract socket: nobody is notified",
        ),
    ] {
        let gateway = Gateway::start(&[("NOTIFY_SOCKET", socket), WATCHDOG]);
        gateway.is_well();
        assert!(
            gateway.lines.wait_for("NOTIFY_SOCKET").ends_with(wanted),
            "{name}"
        );
        gateway.signal("TERM");
        let lines = gateway.lines.clone();
        assert_eq!(gateway.ended().0.code(), Some(0), "{name}");
        assert_eq!(lines.count("NOTIFY_SOCKET"), 1, "{name}");
    }
}

#[test]
fn what_a_full_socket_did_not_take_is_told_later() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = filler.send_to(b"X=1", &path) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let gateway = Gateway::start(&[("NOTIFY_SOCKET", path.to_str().unwrap()), WATCHDOG]);
    gateway.lines.wait_for("the service manager is told later");
    gateway.is_well();
    manager.drain();
    manager.wait_for("READY=1\nWATCHDOG=1\nSTATUS=ready\n");
}
