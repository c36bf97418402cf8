//! The whole gateway on a disk that stops in the middle of an fsync, and goes on when it is
//! told to.

use std::{
    fs,
    io::{self, Read},
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use super::{Bounds, Journal, segments::Segments};
use crate::daemon::{
    deliver::{self, Queue},
    files::{
        folder::{Disk, Folder, Home},
        tests as files,
    },
    intake::tests::{ask, intake, noon, serve_with, signed, state},
    listen::{Deadlines, Server, Slots},
    memory::Keep,
    sink::{self, Target, sink_server::SinkServer},
};

/// Longer than anything here takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 20,
    max_age_secs: 3600,
    leeway_secs: 30,
    delivers: true,
};

/// A folder whose fsyncs wait while the gate is shut.
struct Stalling {
    folder: Arc<Folder>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    /// Whether it is shut, and how many wait at it.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.state.lock().unwrap().0 = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |(shut, _)| *shut).unwrap();
        state.1 -= 1;
    }

    /// Waits until somebody waits.
    fn wait(&self) {
        let state = self.state.lock().unwrap();
        let nobody = |(_, waiting): &mut (bool, usize)| *waiting == 0;
        let wait = self.changed.wait_timeout_while(state, PATIENCE, nobody);
        assert!(!wait.unwrap().1.timed_out(), "nobody waits for the disk");
    }
}

impl Disk for Stalling {
    type File = fs::File;

    fn check(&self) -> io::Result<Home> {
        self.folder.check()
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        self.folder.open(name)
    }

    fn read_at(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.folder.read_at(name, at, bytes)
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        self.folder.create(name)
    }

    fn append(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
        self.folder.append(file, bytes)
    }

    fn is_named(&self, name: &str, file: &fs::File) -> io::Result<bool> {
        self.folder.is_named(name, file)
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        self.gate.pass();
        self.folder.sync(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.folder.sync_names()
    }

    fn cut(&self, name: &str, len: u64) -> io::Result<()> {
        self.folder.cut(name, len)
    }

    fn sync_named(&self, name: &str) -> io::Result<()> {
        self.folder.sync_named(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

/// What the journal has logged, of all tests of this process.
#[derive(Clone, Copy)]
struct Lines(&'static Mutex<Vec<String>>);

impl Lines {
    fn capture() -> Self {
        static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let lines = Self(&LINES);
        ::log::set_max_level(::log::LevelFilter::Info);
        ::log::set_boxed_logger(Box::new(lines)).unwrap();
        lines
    }

    fn count(self, text: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).count()
    }
}

impl ::log::Log for Lines {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.target().contains("daemon::journal")
    }

    fn log(&self, record: &::log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn token(jti: &str) -> String {
    signed(&format!(
        r#"{{"aud":"site","iat":{},"exp":{},"jti":"{jti}","action_type":"worklist.create_item","parameters":{{}}}}"#,
        noon(),
        noon().plus(3600)
    ))
}

fn post(server: &Server, token: &str) -> String {
    let answer = ask(server, "POST /do", token);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let told = body["outcome"].as_str().or_else(|| body["code"].as_str());
    told.unwrap().to_owned()
}

#[test]
fn a_disk_that_stops_is_told_in_time_and_what_it_kept_late_counts() {
    let lines = Lines::capture();
    let outer = files::Folder::new("journal-stalled");
    let folder = Arc::new(Folder::new(outer.0.join("journal")).unwrap());
    folder.make().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = Arc::new(Stalling {
        folder: Arc::clone(&folder),
        gate: Arc::clone(&gate),
    });
    let (segments, _) = Segments::open(disk, BOUNDS).unwrap();
    let queue = Arc::new(Queue::default());
    let journal = Arc::new(Journal::start(segments, folder, Arc::clone(&queue), noon).unwrap());
    let receiver = SinkServer::start();
    let target = Target::read(&receiver.url("/")).unwrap();
    let sink = sink::open(target, Duration::from_secs(10)).unwrap();
    let outbox = Arc::<Journal>::clone(&journal);
    let deliveries = deliver::start(&queue, outbox, sink, 3600, noon).unwrap();
    let mut intake = intake("16", noon);
    let keep: Arc<dyn Keep> = Arc::<Journal>::clone(&journal);
    intake.keep_in(keep, noon());
    let mut site = state(intake, Slots::new(8, 8, Deadlines::LOCAL));
    site.journal = Some(Arc::clone(&journal));
    site.troubles.push(Arc::clone(journal.trouble()));
    let server = serve_with(site);
    assert_eq!(post(&server, &token("before")), "accepted");
    assert_eq!(receiver.wait_for(1)[0].jti(), "before");

    // Its note is on the disk, and nobody is at the gate.
    let printed = || {
        let mut printed = Vec::new();
        super::print::run(outer.0.join("journal"), false, &mut printed).unwrap();
        String::from_utf8(printed).unwrap()
    };
    while !printed().contains(r#""state":"delivered""#) {}
    gate.shut(true);
    let degraded = || ask(&server, "GET /healthcheck/ready", "").contains("journal_unavailable");
    thread::scope(|scope| {
        let two = [(); 2].map(|()| scope.spawn(|| post(&server, &token("late"))));
        gate.wait();
        // Others are answered while it waits, and nothing is told of it before it is kept.
        assert!(!degraded());
        assert_eq!(post(&server, &token("before")), "duplicate");
        // Within its deadline: the gate is shut as long as nobody opens it.
        // One of the two is handed in, the other waits for its fate.
        let mut told = two.map(|one| one.join().unwrap());
        told.sort_unstable();
        assert_eq!(told, ["in_progress", "journal_unavailable"]);
    });
    assert!(degraded());
    let told = "journal_unavailable: messages cannot be kept: the disk takes longer than 2s";
    journal.probe();
    assert_eq!(lines.count(told), 1, "each failure is told once");
    assert_eq!(receiver.received().len(), 1, "delivered before it was kept");

    gate.shut(false);
    // The copy waits for the fate of the first, which is decided now.
    assert_eq!(post(&server, &token("late")), "duplicate");
    assert_eq!(receiver.wait_for(2)[1].jti(), "late");
    assert_eq!(post(&server, &token("after")), "accepted");
    assert!(!degraded());
    let received = receiver.wait_for(3);
    let told: Vec<_> = received
        .iter()
        .map(|one| (one.jti(), one.is_marked()))
        .collect();
    let wanted = ["before", "late", "after"].map(|jti| (jti.to_owned(), false));
    assert_eq!(told, wanted);
    assert_eq!(lines.count("kept too late for its answer"), 1);
    assert_eq!(lines.count("messages are kept again"), 1);
    assert!(deliveries.stop(Duration::from_secs(10)));
    journal.stop(Duration::from_secs(10));
    let printed = printed();
    let sum = r#""messages":3,"waiting":0,"damaged":0,"unfinished":0}"#;
    assert!(printed.trim_end().ends_with(sum), "{printed}");
}
