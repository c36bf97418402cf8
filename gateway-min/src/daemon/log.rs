//! The log: lines from every thread into a bounded queue, one thread that writes them.
//! The only file that names `simple_logger`.
//!
//! simple_logger prints with a macro that panics where the other end is closed and waits
//! for ever where it has stalled. Neither may reach an answer, so whoever logs only copies
//! a line into the queue; where the queue is full the line is counted as lost, and so is
//! one whose printing failed. The count is reported with the first line that gets through.
//!
//! Text that a token brought in goes through [`quoted`] or [`raw`]: one line stays one line.

use core::fmt::{self, Write as _};
use std::{
    cell::Cell,
    collections::VecDeque,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use super::meter::Counter;

/// Most lines that wait to be written. With [`MAX_WAITING_BYTES`], what a stalled console
/// can cost.
const MAX_WAITING: usize = 1024;
/// Most bytes in the lines that wait, together.
const MAX_WAITING_BYTES: usize = 256 * 1024;
/// Room for a usual line, so that it is written without moving.
const USUAL_LINE: usize = 256;
/// Lines shorter than this keep their buffer for the next one.
const KEPT_CAPACITY: usize = 1024;
/// How long the writer lets lines gather behind one that it has written, without being
/// woken for each: waking it costs more than all the rest of a line.
const GATHER: Duration = Duration::from_millis(2);
/// How long an end waits for the console.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);
/// Most buffers kept.
const KEPT_BUFFERS: usize = 16;

/// The log of this process, once it was started.
static STARTED: OnceLock<Arc<Queue>> = OnceLock::new();
/// Panics of every thread but the one that writes.
static PANICS: Counter = Counter::new();

std::thread_local! {
    /// Whether this thread is the one that writes: its panics are failed prints.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

struct Line {
    level: Level,
    target: &'static str,
    text: String,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Empty buffers to be used again.
    spare: Vec<String>,
    /// Lines that were never printed and not yet reported.
    lost: u64,
    /// Whether the writer has a line in hand.
    printing: bool,
    /// Whether the writer wants to be woken by the next line.
    idle: bool,
    /// How many wait for everything to be written.
    flushing: usize,
}

impl Waiting {
    /// Whether lines are to gather no longer.
    fn pressing(&self) -> bool {
        self.flushing > 0
            || self.lines.len() >= MAX_WAITING / 2
            || self.bytes >= MAX_WAITING_BYTES / 2
    }
}

/// What every thread logs into.
struct Queue {
    level: LevelFilter,
    waiting: Mutex<Waiting>,
    /// Lines that were never printed, reported or not.
    lost: Counter,
    filled: Condvar,
    emptied: Condvar,
}

impl Queue {
    fn new(level: LevelFilter) -> Self {
        Self {
            level,
            waiting: Mutex::default(),
            lost: Counter::new(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints lines for ever.
    fn write_all(&self, print: impl Fn(&Line)) -> ! {
        let print = |line: &Line| panic::catch_unwind(AssertUnwindSafe(|| print(line))).is_ok();
        let mut waiting = self.lock();
        loop {
            let Some(mut line) = waiting.lines.pop_front() else {
                waiting = self.rest(waiting);
                continue;
            };
            waiting.bytes = waiting.bytes.saturating_sub(line.text.len());
            waiting.printing = true;
            let lost = core::mem::take(&mut waiting.lost);
            drop(waiting);
            let reported = lost == 0
                || print(&Line {
                    level: Level::Warn,
                    target: module_path!(),
                    text: format!("{lost} log lines were lost"),
                });
            let printed = print(&line);
            waiting = self.lock();
            waiting.printing = false;
            if !reported {
                waiting.lost = waiting.lost.saturating_add(lost);
            }
            if !printed {
                self.lost.add();
                waiting.lost = waiting.lost.saturating_add(1);
            }
            if line.text.capacity() <= KEPT_CAPACITY && waiting.spare.len() < KEPT_BUFFERS {
                line.text.clear();
                waiting.spare.push(line.text);
            }
        }
    }

    /// Waits for lines, now that all are written: for those of a moment together, else for
    /// the first.
    fn rest<'a>(&self, mut waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        if waiting.flushing > 0 {
            self.emptied.notify_all();
        }
        (waiting, _) = self
            .filled
            .wait_timeout_while(waiting, GATHER, |waiting| !waiting.pressing())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.idle = waiting.lines.is_empty();
        waiting = self
            .filled
            .wait_while(waiting, |waiting| waiting.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.idle = false;
        waiting
    }

    /// Waits until everything is written, or `limit` has passed.
    fn flush_within(&self, limit: Duration) {
        let mut waiting = self.lock();
        waiting.flushing += 1;
        drop(waiting);
        self.filled.notify_one();
        self.emptied_within(limit);
        self.lock().flushing -= 1;
    }

    fn emptied_within(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut waiting = self.lock();
        while !waiting.lines.is_empty() || waiting.printing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (waiting, _) = self
                .emptied
                .wait_timeout(waiting, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Log for Queue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let spare = self.lock().spare.pop();
        let mut text = spare.unwrap_or_else(|| String::with_capacity(USUAL_LINE));
        // Writing into a String fails only where a Display does; what it wrote is kept.
        text.write_fmt(*record.args()).ok();
        let mut waiting = self.lock();
        if waiting.lines.len() >= MAX_WAITING || waiting.bytes + text.len() > MAX_WAITING_BYTES {
            self.lost.add();
            waiting.lost = waiting.lost.saturating_add(1);
            return;
        }
        waiting.bytes += text.len();
        waiting.lines.push_back(Line {
            level: record.level(),
            target: record.module_path_static().unwrap_or(module_path!()),
            text,
        });
        let wake = waiting.idle || waiting.pressing();
        drop(waiting);
        if wake {
            self.filled.notify_one();
        }
    }

    fn flush(&self) {
        self.flush_within(FLUSH);
    }
}

/// Starts the log at `level`, once; from here on every panic is a logged line.
///
/// # Errors
/// The system's, where it refuses the writer's thread.
pub(crate) fn start(level: LevelFilter) -> std::io::Result<()> {
    let queue = Arc::new(Queue::new(level));
    let writer = Arc::clone(&queue);
    thread::Builder::new()
        .name("log".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            WRITES.set(true);
            let console = SimpleLogger::new().with_utc_timestamps();
            writer.write_all(|line| {
                console.log(
                    &Record::builder()
                        .level(line.level)
                        .target(line.target)
                        .args(format_args!("{}", line.text))
                        .build(),
                );
            })
        })?;
    panic::set_hook(Box::new(note_panic));
    // A second start is refused below.
    let queue = STARTED.get_or_init(|| queue);
    log::set_max_level(level);
    log::set_boxed_logger(Box::new(Shared(Arc::clone(queue)))).map_err(std::io::Error::other)
}

/// Counts a panic, and logs its place: that is enough to find it, and its message could
/// quote what a stranger sent. A panic of the writer is a failed print.
fn note_panic(info: &PanicHookInfo<'_>) {
    if !WRITES.get() {
        PANICS.add();
        match info.location() {
            Some(place) => log::error!("panic at {}:{}", place.file(), place.line()),
            None => log::error!("panic at an unknown place"),
        }
    }
}

/// Waits until what was logged is written, a second at most.
pub(crate) fn flush() {
    log::logger().flush();
}

/// Lines that were lost since the start.
pub(crate) fn lost() -> u64 {
    STARTED.get().map_or(0, |queue| queue.lost.get())
}

/// Panics since the start.
pub(crate) fn panics() -> u64 {
    PANICS.get()
}

struct Shared(Arc<Queue>);

impl Log for Shared {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Text from outside as one quoted word: quotes, backslashes and everything that is not
/// printed as itself (line ends, escapes, marks that turn the direction of writing) stand
/// as Rust escapes.
pub(crate) fn quoted(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{text:?}"))
}

/// JSON text from outside as it is, but for what would not be printed as itself. It can
/// hold spaces and quotes: it goes last on its line.
pub(crate) fn raw(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for c in text.chars() {
            match c {
                '"' | '\'' | '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::{
        panic,
        prelude::v1::*,
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    use log::{Level, LevelFilter, Log, Record};

    use super::{MAX_WAITING, Queue, WRITES, note_panic, panics, quoted, raw};

    fn say(queue: &Queue, text: &str) {
        queue.log(
            &Record::builder()
                .level(Level::Info)
                .args(format_args!("{text}"))
                .build(),
        );
    }

    #[test]
    fn every_line_is_printed_whether_the_writer_sleeps_or_lets_lines_gather() {
        let queue = Arc::new(Queue::new(LevelFilter::Info));
        let (print, printed) = mpsc::channel();
        thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.write_all(|line| print.send(line.text.clone()).unwrap())
        });
        for round in 0..100 {
            let until = Instant::now() + Duration::from_secs(30);
            while round % 2 == 0 && !queue.lock().idle {
                assert!(Instant::now() < until);
                thread::yield_now();
            }
            let text = format!("line {round}");
            say(&queue, &text);
            let line = printed.recv_timeout(Duration::from_secs(30));
            assert_eq!(line, Ok(text));
        }
    }

    #[test]
    fn what_a_stalled_console_lost_is_counted_and_reported_when_it_recovers() {
        let queue = Arc::new(Queue::new(LevelFilter::Info));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (stalled, is_stalled) = mpsc::channel();
        let (recover, recovered) = mpsc::channel::<()>();
        thread::spawn({
            let (queue, printed) = (Arc::clone(&queue), Arc::clone(&printed));
            move || {
                queue.write_all(|line| {
                    if line.text == "stall" {
                        stalled.send(()).unwrap();
                        recovered.recv().unwrap();
                    }
                    printed.lock().unwrap().push(line.text.clone());
                })
            }
        });
        say(&queue, "stall");
        is_stalled.recv().unwrap();
        for n in 0..MAX_WAITING + 7 {
            say(&queue, &format!("line {n}"));
        }
        recover.send(()).unwrap();
        queue.flush_within(Duration::from_secs(30));
        let printed = printed.lock().unwrap();
        assert_eq!(printed.len(), MAX_WAITING + 2);
        assert_eq!(queue.lost.get(), 7);
        assert_eq!(printed[..3], ["stall", "7 log lines were lost", "line 0"]);
        assert_eq!(
            printed[MAX_WAITING + 1],
            format!("line {}", MAX_WAITING - 1)
        );
    }

    #[test]
    fn a_console_that_panics_costs_its_lines_only() {
        let queue = Arc::new(Queue::new(LevelFilter::Info));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let broken = Arc::new(AtomicBool::new(true));
        thread::spawn({
            let (queue, printed) = (Arc::clone(&queue), Arc::clone(&printed));
            let broken = Arc::clone(&broken);
            move || {
                queue.write_all(|line| {
                    assert!(!broken.load(Ordering::SeqCst), "broken pipe");
                    printed.lock().unwrap().push(line.text.clone());
                })
            }
        });
        for text in ["lost", "lost too"] {
            say(&queue, text);
            queue.flush_within(Duration::from_secs(30));
        }
        broken.store(false, Ordering::SeqCst);
        say(&queue, "works");
        queue.flush_within(Duration::from_secs(30));
        assert_eq!(*printed.lock().unwrap(), ["2 log lines were lost", "works"]);
        assert_eq!(queue.lost.get(), 2, "those that were reported stay counted");
    }

    #[test]
    fn long_lines_fill_the_queue_by_their_bytes() {
        let queue = Queue::new(LevelFilter::Info);
        let long = "x".repeat(100 * 1024);
        for _ in 0..5 {
            say(&queue, &long);
        }
        let waiting = queue.lock();
        assert_eq!((waiting.lines.len(), waiting.lost), (2, 3));
    }

    #[test]
    fn panics_are_counted_but_for_failed_prints() {
        // Other tests panic at the same time: theirs are told as before.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some("counted") {
                note_panic(info);
            } else {
                before(info);
            }
        }));
        for (writes, wanted) in [(false, 1), (true, 1), (false, 2)] {
            let counted = thread::Builder::new().name("counted".to_owned());
            let counted = counted.spawn(move || {
                WRITES.set(writes);
                panic::panic_any(writes);
            });
            counted.unwrap().join().unwrap_err();
            assert_eq!(panics(), wanted, "{writes}");
        }
    }

    #[test]
    fn a_level_that_is_not_wanted_is_not_queued() {
        let queue = Queue::new(LevelFilter::Warn);
        say(&queue, "info");
        assert!(queue.lock().lines.is_empty());
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        for (text, as_word, as_json) in [
            ("plain", r#""plain""#, "plain"),
            ("a\nb", r#""a\nb""#, r"a\nb"),
            ("\u{1b}[2J", r#""\u{1b}[2J""#, r"\u{1b}[2J"),
            ("\u{202e}txt", r#""\u{202e}txt""#, r"\u{202e}txt"),
            ("\u{2028}\u{85}", r#""\u{2028}\u{85}""#, r"\u{2028}\u{85}"),
            (r#"{"a":"b\n"}"#, r#""{\"a\":\"b\\n\"}""#, r#"{"a":"b\n"}"#),
            ("é", r#""é""#, "é"),
        ] {
            assert_eq!(format!("{}", quoted(text)), as_word);
            assert_eq!(format!("{}", raw(text)), as_json);
        }
    }
}
