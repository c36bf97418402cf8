#![allow(dead_code, reason = "each test uses a part")]

//! A receiver of deliveries for tests: records every request, and misbehaves as it is told.
//! Used by the unit tests of the sink and by the flows of the whole gateway.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longer than anything here takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What is done with a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// Requests are read.
    Open,
    /// It is shut down before anything is read.
    Slammed,
    /// Nothing is ever read, and nothing closed.
    Deaf,
}

/// What is done when a request was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// Sends this, and reads the next request.
    Say(String),
    /// Sends this, and closes.
    SayAndClose(String),
    /// Closes without a word.
    Close,
    /// Never says anything.
    Silence,
    /// Sends this one byte at a time, a twentieth of a second apart.
    Drip(String),
}

impl Reply {
    /// An answer of that status, with these lines in its head.
    pub(crate) fn status(status: u16, lines: &str) -> Self {
        Self::Say(format!(
            "HTTP/1.1 {status} X\r\n{lines}Content-Length: 0\r\n\r\n"
        ))
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `jti` of the message.
    #[track_caller]
    pub(crate) fn jti(&self) -> String {
        self.json()["claims"]["jti"].as_str().unwrap().to_owned()
    }

    /// Whether it is marked as one that may have come before; both marks have to agree.
    #[track_caller]
    pub(crate) fn is_marked(&self) -> bool {
        let marked = self.json()["redelivered"].as_bool().unwrap();
        let field = self.field("Gateway-Redelivered");
        assert_eq!(field, marked.then_some("true"));
        marked
    }
}

struct State {
    /// For the connections and requests to come; then the last of them for ever.
    doors: VecDeque<Door>,
    replies: VecDeque<Reply>,
    received: Vec<Received>,
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running receiver; it ends when this is dropped.
pub(crate) struct SinkServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// How the bytes of a connection are wrapped.
type Wrap = Box<dyn Fn(TcpStream) -> Box<dyn Stream> + Send>;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl SinkServer {
    /// One that answers 200 until it is told otherwise.
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// On a socket that may have been bound before.
    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::with(listener, Box::new(|stream| Box::new(stream)))
    }

    /// One that speaks TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::with(
            listener,
            Box::new(move |stream| {
                let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                Box::new(rustls::StreamOwned::new(tls, stream))
            }),
        )
    }

    fn with(listener: TcpListener, wrap: Wrap) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                doors: VecDeque::from([Door::Open]),
                replies: VecDeque::from([Reply::Say(OK.to_owned())]),
                received: Vec::new(),
                streams: Vec::new(),
                threads: Vec::new(),
                stopping: false,
            }),
            changed: Condvar::new(),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, &wrap)
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Its address as a setting.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What is done with requests from now on; the last of these for ever.
    pub(crate) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.state.lock().unwrap().replies = replies.into_iter().collect();
    }

    /// Likewise with connections.
    pub(crate) fn doors(&self, doors: impl IntoIterator<Item = Door>) {
        self.shared.state.lock().unwrap().doors = doors.into_iter().collect();
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().streams.len()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.state.lock().unwrap().received.clone()
    }

    /// Waits until so many requests came: all that did.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let state = self.shared.state.lock().unwrap();
        let few = |state: &mut State| state.received.len() < count;
        let wait = self.shared.changed.wait_timeout_while(state, PATIENCE, few);
        let received = wait.unwrap().0.received.clone();
        assert!(received.len() >= count, "{} of {count}", received.len());
        received
    }
}

impl Drop for SinkServer {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.stopping = true;
        for stream in &state.streams {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).ok();
        }
        drop(state);
        // Wakes the thread that accepts, which sees that it is over.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        let threads = core::mem::take(&mut self.shared.state.lock().unwrap().threads);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, wrap: &Wrap) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut state = shared.state.lock().unwrap();
        if state.stopping {
            return;
        }
        let connection = state.streams.len();
        let door = next(&mut state.doors);
        // Kept to be shut down at the end; one that was slammed is shut down now.
        state.streams.push(stream.try_clone().unwrap());
        if door == Door::Slammed {
            stream.shutdown(Shutdown::Both).unwrap();
        }
        if door == Door::Open {
            let (shared, wire) = (Arc::clone(shared), wrap(stream));
            let thread = thread::spawn(move || serve(wire, connection, &shared));
            state.threads.push(thread);
        }
    }
}

/// The next of these; the last one stays.
fn next<T: Clone>(plan: &mut VecDeque<T>) -> T {
    match plan.len() {
        0 | 1 => plan.front().unwrap().clone(),
        _ => plan.pop_front().unwrap(),
    }
}

fn serve(mut wire: Box<dyn Stream>, connection: usize, shared: &Shared) {
    let mut read = Vec::new();
    while let Some(request) = request(&mut wire, &mut read, connection) {
        let mut state = shared.state.lock().unwrap();
        state.received.push(request);
        let reply = next(&mut state.replies);
        drop(state);
        shared.changed.notify_all();
        // Whoever asked may be gone by now.
        let goes_on = match &reply {
            Reply::Say(text) => wire.write_all(text.as_bytes()).is_ok() && wire.flush().is_ok(),
            Reply::SayAndClose(text) => {
                wire.write_all(text.as_bytes()).ok();
                wire.flush().ok();
                false
            }
            Reply::Close => false,
            Reply::Silence => true,
            Reply::Drip(text) => text.bytes().all(|byte| {
                thread::park_timeout(Duration::from_millis(50));
                wire.write_all(&[byte]).is_ok() && wire.flush().is_ok()
            }),
        };
        if !goes_on {
            break;
        }
    }
    let state = shared.state.lock().unwrap();
    if let Some(stream) = state.streams.get(connection) {
        stream.shutdown(Shutdown::Both).ok();
    }
}

/// The next request; `None` where no more will come whole.
fn request(wire: &mut impl Read, read: &mut Vec<u8>, connection: usize) -> Option<Received> {
    let end = fill(wire, read, |read| {
        read.windows(4).position(|four| four == b"\r\n\r\n")
    })?;
    let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
    let mut received = Received {
        head,
        body: Vec::new(),
        connection,
    };
    let len = received.field("Content-Length").unwrap().parse().unwrap();
    fill(wire, read, |read| (read.len() >= len).then_some(len))?;
    received.body = read.drain(..len).collect();
    Some(received)
}

/// Reads until what was asked for is found.
fn fill(
    wire: &mut impl Read,
    read: &mut Vec<u8>,
    find: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(found) = find(read) {
            return Some(found);
        }
        let mut chunk = [0; 4096];
        match wire.read(&mut chunk) {
            Ok(len) if len > 0 => read.extend_from_slice(&chunk[..len]),
            Ok(_) | Err(_) => return None,
        }
    }
}
