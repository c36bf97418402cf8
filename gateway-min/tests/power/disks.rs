//! The journal on file systems of its own that are full, read-only and gone: a tmpfs of a
//! megabyte in a mount namespace that nobody else sees. Each test runs itself again inside
//! one; where none can be had it fails, and says what is missing.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use serde_json::json;

use crate::{
    caller::Caller,
    sink_server::{OK, Reply, SinkServer},
    site::{Site, token},
    support::{Folder, Gateway, PATIENCE, request},
};

/// Set inside the namespace.
const INSIDE: &str = "POWER_INSIDE";

/// Runs `test`, which is the one called `name`, in a mount namespace of its own.
#[track_caller]
fn in_private(name: &str, test: impl FnOnce()) {
    if env::vars_os().any(|(known, _)| known == INSIDE) {
        return test();
    }
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let private = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(["--propagation", "private", "--"]);
        command
    };
    let works = |way: &&&[&str]| {
        let tried = private(way)
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(way) = ways.iter().find(works) else {
        panic!(
            "no mount namespace can be had: install util-linux (unshare, mount), and run as \
             root, or allow user namespaces (user.max_user_namespaces, \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
        );
    };
    let output = private(way)
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A tmpfs that is always mounted aside, and bound to the point where it is used, so that it
/// can go and come back.
struct Disk {
    aside: PathBuf,
    point: PathBuf,
}

impl Disk {
    fn new(outer: &Folder) -> Self {
        let (aside, point) = (outer.path().join("aside"), outer.path().join("disk"));
        for path in [&aside, &point] {
            fs::create_dir(path).unwrap();
            // As a folder of the gateway's own would be, below the mount too.
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        mount(&["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"], &aside);
        let disk = Self { aside, point };
        disk.attach(&disk.aside);
        disk
    }

    fn attach(&self, what: &Path) {
        mount(&["--bind", what.to_str().unwrap()], &self.point);
    }

    /// Takes it away though it is in use.
    fn detach(&self) {
        done(
            &Command::new("umount")
                .arg("-l")
                .arg(&self.point)
                .output()
                .unwrap(),
        );
    }

    fn filler(&self) -> PathBuf {
        self.aside.join("filler")
    }

    /// Fills it to its last page.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[b'f'; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Waits until nobody has a file of it open for writing, and allows no more. Of the mount,
    /// not of what is mounted: that is all that a user of a namespace may change.
    #[track_caller]
    fn read_only(&self) {
        let begun = Instant::now();
        let remount = || {
            let mut command = Command::new("mount");
            command.args(["-o", "remount,bind,ro"]).arg(&self.point);
            command.output().unwrap()
        };
        let mut tried = remount();
        while !tried.status.success() && begun.elapsed() < PATIENCE {
            tried = remount();
        }
        done(&tried);
    }

    fn writable(&self) {
        mount(&["-o", "remount,bind,rw"], &self.point);
    }
}

#[track_caller]
fn mount(args: &[&str], point: &Path) {
    done(
        &Command::new("mount")
            .args(args)
            .arg(point)
            .output()
            .unwrap(),
    );
}

#[track_caller]
fn done(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// A gateway whose journal is on a disk, and everybody around it.
struct Stage {
    disk: Disk,
    sink: SinkServer,
    site: Site,
}

impl Stage {
    /// With the journal at this path of the disk.
    fn new(path: &str) -> Self {
        let outer = Folder::new();
        let disk = Disk::new(&outer);
        let sink = SinkServer::start();
        let journal = match path {
            "" => disk.point.clone(),
            path => disk.point.join(path),
        };
        let site = Site::at(outer, journal, &[("GATEWAY_DELIVER_URL", &sink.url("/"))]);
        Self { disk, sink, site }
    }

    /// How often each message was delivered, and that the journal says so too.
    #[track_caller]
    fn deliveries(&self, wanted: &[&str]) -> Vec<(String, bool)> {
        let printed = self.site.wait_for_deliveries();
        let mut kept: Vec<_> = printed.messages.keys().map(String::as_str).collect();
        kept.sort_unstable();
        let mut sorted = wanted.to_vec();
        sorted.sort_unstable();
        assert_eq!(kept, sorted);
        let states = printed.messages.values().map(|told| told.state.as_str());
        assert!(states.into_iter().all(|state| state == "delivered"));
        let received = self.sink.received();
        let told = received.iter().map(|one| (one.jti(), one.is_marked()));
        told.collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The namespace ends with this process; its folders have to be empty before.
        for point in [&self.disk.point, &self.disk.aside] {
            Command::new("umount").arg("-l").arg(point).output().ok();
        }
    }
}

/// Status of the readiness path, whether the journal is well, and what is degraded.
fn ready(gateway: &Gateway) -> (u16, bool, Vec<String>) {
    let (status, body) = Caller::new(gateway.address).unwrap().ready();
    let codes = body["degraded"].as_array().unwrap().iter();
    let codes = codes.map(|one| one["code"].as_str().unwrap().to_owned());
    (status, body["journal"] == json!(true), codes.collect())
}

fn unready(code: &str) -> (u16, bool, Vec<String>) {
    (503, false, vec![code.to_owned()])
}

#[test]
fn a_disk_that_is_full_or_read_only_is_told_and_used_again_without_a_restart() {
    in_private(
        "disks::a_disk_that_is_full_or_read_only_is_told_and_used_again_without_a_restart",
        || {
            let stage = Stage::new("journal");
            let Stage { disk, site, sink } = &stage;
            // So slow at first that nothing is delivered before the disk is full.
            let slow = Reply::Drip(OK.to_owned());
            sink.reply([slow, Reply::Say(OK.to_owned())]);
            let gateway = site.start();
            let mut caller = Caller::new(gateway.address).unwrap();
            let mut post = |jti: &str| caller.post(&token(jti, jti, 3600)).unwrap();
            let (first, second) = (token("first", "1", 3600), token("second", "2", 3600));
            assert_eq!(gateway.post(&first).outcome(), "accepted");
            // What is told while it lasts, and that nothing which was kept is forgotten.
            let holds = |code: &str, refused: &str| {
                assert_eq!(gateway.post(refused).refusal(), (503, code.to_owned()));
                assert_eq!(gateway.post(&first).outcome(), "duplicate");
                assert_eq!(ready(&gateway), unready(code));
                assert!(site.printed().messages.contains_key("first"));
            };
            disk.fill();
            // The last page of the segment may have room yet.
            let mut kept = vec!["first".to_owned()];
            let refused = loop {
                let jti = format!("fill-{}", kept.len());
                match post(&jti).as_str() {
                    "accepted" => kept.push(jti),
                    code => break code.to_owned(),
                }
                assert!(kept.len() < 20, "a full disk takes everything");
            };
            assert_eq!(refused, "journal_full");
            holds("journal_full", &second);
            // What was delivered cannot be noted either, and is no other trouble.
            let all = format!("outcome=\"delivered\"}} {}\n", kept.len());
            let metrics = request("GET /metrics", &[], b"");
            while !gateway.ask(&metrics).body.contains(&all) {}
            assert_eq!(ready(&gateway), unready("journal_full"));
            gateway
                .lines
                .wait_for("journal_full: messages cannot be kept: No space left on device");
            disk.clear();
            assert_eq!(gateway.post(&second).outcome(), "accepted");
            assert_eq!(ready(&gateway), (200, true, Vec::new()));
            kept.push("second".to_owned());
            // A file that is open for writing keeps a file system writable: fill it once more.
            disk.fill();
            while post(&format!("more-{}", kept.len())) == "accepted" {
                kept.push(format!("more-{}", kept.len()));
            }
            disk.read_only();
            let third = token("third", "3", 3600);
            holds("journal_unavailable", &third);
            gateway
                .lines
                .wait_for("journal_unavailable: messages cannot be kept: Read-only file system");
            disk.writable();
            disk.clear();
            assert_eq!(gateway.post(&third).outcome(), "accepted");
            assert_eq!(ready(&gateway), (200, true, Vec::new()));
            kept.push("third".to_owned());
            let kept: Vec<_> = kept.iter().map(String::as_str).collect();
            let mut delivered = stage.deliveries(&kept);
            delivered.sort_unstable();
            let mut once: Vec<_> = kept.iter().map(|jti| ((*jti).to_owned(), false)).collect();
            once.sort_unstable();
            assert_eq!(delivered, once);
        },
    );
}

#[test]
fn a_start_on_a_disk_that_cannot_be_written_knows_what_was_kept() {
    in_private(
        "disks::a_start_on_a_disk_that_cannot_be_written_knows_what_was_kept",
        || {
            type Change = fn(&Disk);
            let rows: [(&str, &str, Change, Change); 2] = [
                (
                    "read-only",
                    "journal_unavailable",
                    Disk::read_only,
                    Disk::writable,
                ),
                ("full", "journal_full", Disk::fill, Disk::clear),
            ];
            for (name, code, spoil, mend) in rows {
                let stage = Stage::new("journal");
                let Stage { disk, site, .. } = &stage;
                let (old, new) = (token("old", "1", 3600), token("new", "2", 3600));
                let first = site.start();
                assert_eq!(first.post(&old).outcome(), "accepted", "{name}");
                site.wait_for_deliveries();
                drop(first);
                // What an append leaves that the power cut off.
                let mut torn = OpenOptions::new()
                    .append(true)
                    .open(site.journal.join("000000000001.journal"))
                    .unwrap();
                torn.write_all(b"unfinished").unwrap();
                drop(torn);
                spoil(disk);
                let second = site.start();
                second.lines.wait_for("journal: 1 messages in 1 segments");
                assert_eq!(second.post(&old).outcome(), "duplicate", "{name}");
                assert_eq!(
                    second.post(&new).refusal(),
                    (503, code.to_owned()),
                    "{name}"
                );
                assert_eq!(ready(&second), unready(code), "{name}");
                mend(disk);
                assert_eq!(second.post(&new).outcome(), "accepted", "{name}");
                assert_eq!(ready(&second), (200, true, Vec::new()), "{name}");
                let delivered = stage.deliveries(&["old", "new"]);
                let once = ["old", "new"].map(|jti| (jti.to_owned(), false));
                assert_eq!(delivered, once, "{name}");
                drop(second);
                // The unfinished end did not become damage in the middle.
                let third = site.start();
                assert_eq!(third.post(&old).outcome(), "duplicate", "{name}");
                assert_eq!(site.printed().sum["unfinished"], 0, "{name}");
            }
        },
    );
}

#[test]
fn a_disk_that_is_taken_away_loses_nothing_and_is_used_again_when_it_is_back() {
    in_private(
        "disks::a_disk_that_is_taken_away_loses_nothing_and_is_used_again_when_it_is_back",
        || {
            for (name, path, is_replugged) in [
                ("a folder of the disk", "journal", false),
                // Below it is a folder that would do.
                ("the disk itself", "", false),
                // The same files, and another device to the system.
                ("another device", "", true),
            ] {
                let stage = Stage::new(path);
                let Stage { disk, site, sink } = &stage;
                sink.reply([Reply::status(500, "")]);
                let gateway = site.start();
                let (old, new) = (token("old", "1", 3600), token("new", "2", 3600));
                assert_eq!(gateway.post(&old).outcome(), "accepted", "{name}");
                sink.wait_for(1);
                disk.detach();
                assert_eq!(
                    gateway.post(&new).refusal(),
                    (503, "journal_unavailable".to_owned()),
                    "{name}"
                );
                assert_eq!(gateway.post(&old).outcome(), "duplicate", "{name}");
                assert!(!ready(&gateway).1, "{name}");
                gateway
                    .lines
                    .wait_for("the journal cannot be read: delivery waits");
                let below: Vec<_> = fs::read_dir(&disk.point).unwrap().collect();
                assert!(below.is_empty(), "{name}: {below:?}");
                sink.reply([Reply::Say(OK.to_owned())]);
                if is_replugged {
                    let other = site.path().join("other");
                    fs::create_dir(&other).unwrap();
                    mount(&["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"], &other);
                    for entry in fs::read_dir(&disk.aside).unwrap() {
                        let entry = entry.unwrap();
                        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
                    }
                    disk.attach(&other);
                    done(
                        &Command::new("umount")
                            .arg("-l")
                            .arg(&other)
                            .output()
                            .unwrap(),
                    );
                } else {
                    disk.attach(&disk.aside);
                }
                assert_eq!(gateway.post(&new).outcome(), "accepted", "{name}");
                let delivered = stage.deliveries(&["old", "new"]);
                let of = |jti: &str| -> Vec<_> {
                    let these = delivered.iter().filter(|(of, _)| of == jti);
                    these.map(|(_, marked)| *marked).collect()
                };
                let old = of("old");
                assert!(
                    old.len() > 1 && !old[0] && old[1..].iter().all(|marked| *marked),
                    "{name}: {old:?}"
                );
                assert_eq!(of("new"), [false], "{name}");
                assert_eq!(gateway.lines.count("lost: "), 0, "{name}");
            }
        },
    );
}
