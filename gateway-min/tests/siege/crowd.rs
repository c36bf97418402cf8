//! Attackers by the thousand, each holding a connection in its own slow way, and the
//! good client among them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    answers,
    support::{PATIENCE, message, post},
};

/// How often each attacker is looked after.
const TURN: Duration = Duration::from_millis(50);
/// An attacker adds something each so many turns: once a second.
const DRIP: usize = 20;
/// `EINPROGRESS` of Linux: a connection is on its way.
const ON_ITS_WAY: i32 = 115;

/// How a crowd holds its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// Says nothing.
    Idle,
    /// A byte of a header field now and then.
    Dripping,
    /// Whole header fields now and then, and never the last (slowloris, `-H`).
    Headers,
    /// A body whose bytes come now and then (`-B`).
    Body,
    /// A head full of ranges, again and again (`-R`).
    Ranges,
    /// Asks and asks, and takes the answers a few bytes at a time (`-X`).
    Reading,
}

impl Manner {
    /// What is sent first, and what then now and then.
    fn words(self) -> (Vec<u8>, Vec<u8>) {
        let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
        let (first, then) = match self {
            Self::Idle => (String::new(), String::new()),
            Self::Dripping => (head("GET /") + "X: ", "x".to_owned()),
            Self::Headers => (head("GET /"), "X-a: b\r\n".to_owned()),
            Self::Body => (
                head("POST /do")
                    + "Content-Type: application/json\r\nContent-Length: 8192\r\n\r\n{",
                " ".to_owned(),
            ),
            Self::Ranges => {
                let ranges: Vec<_> = (0..800).map(|n| format!("5-{n}")).collect();
                let ranges = ranges.join(",");
                let ask = head("HEAD /") + &format!("Range: bytes=0-,{ranges}\r\n\r\n");
                (ask.clone(), ask)
            }
            Self::Reading => {
                let ask = head("GET /metrics") + "\r\n";
                (ask.repeat(20), ask)
            }
        };
        (first.into_bytes(), then.into_bytes())
    }
}

/// Attackers from one address. They connect again when they are cut off.
pub(crate) struct Crowd {
    leaving: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Crowd {
    /// `size` of them, of whom at most `a_second` connect in a second.
    pub(crate) fn gather(
        on: SocketAddr,
        from: Ipv4Addr,
        size: usize,
        a_second: usize,
        manner: Manner,
    ) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let opened = Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn({
            let (leaving, opened) = (Arc::clone(&leaving), Arc::clone(&opened));
            move || attack(on, from, size, a_second, manner, &leaving, &opened)
        });
        Self {
            leaving,
            opened,
            thread,
        }
    }

    /// Waits until so many connections were opened.
    #[track_caller]
    pub(crate) fn has_opened(&self, wanted: usize) {
        let until = Instant::now() + PATIENCE;
        while self.opened.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < until && !self.thread.is_finished());
            thread::park_timeout(TURN);
        }
    }

    /// Ends the attack: how many connections it opened.
    pub(crate) fn leave(self) -> usize {
        self.leaving.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.opened.load(Ordering::SeqCst)
    }
}

fn attack(
    on: SocketAddr,
    from: Ipv4Addr,
    size: usize,
    a_second: usize,
    manner: Manner,
    leaving: &AtomicBool,
    opened: &AtomicUsize,
) {
    let turns_a_second = usize::try_from(1000 / TURN.as_millis()).unwrap();
    let (first, then) = manner.words();
    let mut all: Vec<Option<(TcpStream, bool)>> = (0..size).map(|_| None).collect();
    // Who takes answers slowly takes a byte at a time.
    let mut chunk = vec![0; if manner == Manner::Reading { 1 } else { 4096 }];
    let mut turn = 0;
    while !leaving.load(Ordering::SeqCst) {
        let began = Instant::now();
        let mut may_open = a_second / turns_a_second;
        for (at, attacker) in all.iter_mut().enumerate() {
            let Some((stream, begun)) = attacker else {
                if may_open > 0 {
                    may_open -= 1;
                    *attacker = Some((open(on, from), false));
                    opened.fetch_add(1, Ordering::SeqCst);
                }
                continue;
            };
            let words = if *begun { &then } else { &first };
            let due = !*begun || turn % DRIP == at % DRIP;
            if due && !words.is_empty() && stream.write(words).is_ok() {
                *begun = true;
            }
            let gone = match stream.read(&mut chunk) {
                Ok(len) => len == 0,
                Err(error) => !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::NotConnected
                ),
            };
            if gone {
                *attacker = None;
            }
        }
        turn += 1;
        thread::park_timeout(TURN.saturating_sub(began.elapsed()));
    }
}

fn socket(from: Ipv4Addr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The usual address needs no binding, which would take a port for itself alone: tens of
    // thousands of connections a minute use them up.
    if from != Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    socket
}

/// A connection that may still be on its way.
fn open(on: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = socket(from);
    socket.set_nonblocking(true).unwrap();
    if let Err(error) = socket.connect(&on.into()) {
        assert_eq!(error.raw_os_error(), Some(ON_ITS_WAY), "{error}");
    }
    socket.into()
}

/// A connection from an address of the loopback; answers are waited for.
pub(crate) fn connect(on: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = socket(from);
    socket.connect(&on.into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// How a good client fared.
#[derive(Default, Debug)]
pub(crate) struct Fared {
    /// Sorted.
    times: Vec<Duration>,
    /// What came instead of an answer to a good message.
    pub(crate) failed: Vec<String>,
}

impl Fared {
    pub(crate) fn answered(&self) -> usize {
        self.times.len()
    }

    /// The time that so many of a hundred did not exceed.
    pub(crate) fn percentile(&self, of: usize) -> Duration {
        let at = (self.times.len() * of).div_ceil(100).max(1) - 1;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Sends good messages, each on a connection of its own, so many and so far apart.
pub(crate) fn good_messages(
    on: SocketAddr,
    from: Ipv4Addr,
    count: usize,
    apart: Duration,
) -> Fared {
    let mut fared = Fared::default();
    for _ in 0..count {
        let bytes = post(&message(&[]));
        let began = Instant::now();
        let stream = connect(on, from);
        let sent = (&stream).write_all(&bytes);
        stream.shutdown(std::net::Shutdown::Write).ok();
        let came = answers::everything(&stream, "a good client");
        let took = began.elapsed();
        if came.starts_with(b"HTTP/1.1 200 ") {
            fared.times.push(took);
        } else {
            let came = came.escape_ascii();
            fared.failed.push(format!("sent {sent:?}, came {came:.60}"));
        }
        thread::park_timeout(apart);
    }
    fared.times.sort();
    fared
}
