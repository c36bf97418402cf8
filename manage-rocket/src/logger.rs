//! The log: one line an event, on standard error, through a bounded queue and one thread,
//! so that neither a closed nor a stalled reader can stop a request. Lines that find the
//! queue full are counted, and the count is written when there is room again.
//!
//! Only records of our own target, [`TARGET`], are written. Rocket's are left out, and
//! those that its macros write in our modules' names: they name the address of every
//! request and quote bad form values. `Requests` writes one line a request instead, with the route's pattern
//! and no address. Installed before Rocket, which then keeps it: Rocket's own logger panics
//! when its output is closed.

use std::{
    io::Write as _,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use log::{LevelFilter, Log, Metadata, Record};
use rocket::{
    Data, Request, Response,
    fairing::{Fairing, Info, Kind},
};

/// The target of records that are written.
pub const TARGET: &str = "manage";

/// Lines that may wait.
const QUEUE: usize = 1024;

enum Entry {
    Line(String),
    /// Everything before this has been written: say so.
    Flush(Sender<()>),
}

struct Logger {
    queue: SyncSender<Entry>,
}

/// Lines that found the queue full since the last one that did not.
static LOST: AtomicU64 = AtomicU64::new(0);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Escaped: no text from outside can begin a line of its own.
        let text = record.args().to_string();
        let line = format!("{:5} {}\n", record.level(), text.escape_debug());
        if self.queue.try_send(Entry::Line(line)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let (done, wait) = channel();
        // Where nobody writes any more there is nothing to wait for.
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            wait.recv_timeout(Duration::from_secs(1)).ok();
        }
    }
}

fn write_all(queue: &Receiver<Entry>) {
    for entry in queue {
        match entry {
            Entry::Line(line) => {
                let mut to = std::io::stderr().lock();
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    writeln!(to, "WARN  {lost} lines were lost: nobody read them in time").ok();
                }
                // A closed standard error loses the line and nothing else.
                to.write_all(line.as_bytes()).ok();
            }
            Entry::Flush(done) => {
                done.send(()).ok();
            }
        }
    }
}

/// Installs the logger, for lines of `info` and above. Does nothing where there is one.
pub fn install() {
    let (queue, lines) = sync_channel(QUEUE);
    if log::set_boxed_logger(Box::new(Logger { queue })).is_ok() {
        log::set_max_level(LevelFilter::Info);
        thread::spawn(move || write_all(&lines));
    }
}

/// One line for each request: method, pattern of the route, status, milliseconds. The
/// address itself is not written: it may have been typed, and people type names.
pub(crate) struct Requests;

#[derive(Clone, Copy)]
struct Begun(Instant);

#[rocket::async_trait]
impl Fairing for Requests {
    fn info(&self) -> Info {
        Info {
            name: "request log",
            kind: Kind::Request | Kind::Response | Kind::Liftoff | Kind::Singleton,
        }
    }

    async fn on_liftoff(&self, rocket: &rocket::Rocket<rocket::Orbit>) {
        let config = rocket.config();
        let (address, port) = (config.address, config.port);
        log::info!(target: TARGET,
            "listening on http://{}",
            std::net::SocketAddr::new(address, port)
        );
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        request.local_cache(|| Begun(Instant::now()));
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let begun = request.local_cache(|| Begun(Instant::now())).0;
        let route = request
            .route()
            .map_or_else(|| "-".to_owned(), |r| r.uri.to_string());
        log::info!(target: TARGET,
            "{} {route} {} {} ms",
            request.method(),
            response.status().code,
            begun.elapsed().as_millis()
        );
    }
}
