//! A small HTTP server on a free loopback port, which answers as a test says and
//! remembers what it was asked. One request a connection; never more than a test needs.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

/// Longer than anything that a test awaits.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header field, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// The token in a body `{"message": …}`.
    pub(crate) fn token(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["message"].as_str().unwrap().to_owned()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        /// What `Content-Length` claims where that is not the truth.
        claimed: Option<usize>,
    },
    /// Nothing, for as long as the other side stays.
    Silence,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
            claimed: None,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn claiming(mut self, length: usize) -> Self {
        if let Self::Answer { claimed, .. } = &mut self {
            *claimed = Some(length);
        }
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    streams: Mutex<Vec<TcpStream>>,
    ending: AtomicBool,
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), handler)
    }

    pub(crate) fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            arrived: Condvar::new(),
            streams: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            let mut answering = Vec::new();
            for stream in listener.incoming() {
                if ours.ending.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                lock(&ours.streams).push(stream.try_clone().unwrap());
                let ours = Arc::clone(&ours);
                answering.push(thread::spawn(move || answer(&ours, stream)));
            }
            for thread in answering {
                thread.join().unwrap();
            }
        });
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The POSTs that have arrived.
    pub(crate) fn posts(&self) -> Vec<Request> {
        let mut requests = lock(&self.shared.requests).clone();
        requests.retain(|request| request.method == "POST");
        requests
    }

    /// Everything that has arrived.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The tokens that have arrived, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.posts().iter().map(Request::token).collect()
    }

    /// Waits until so many POSTs are here.
    pub(crate) fn await_posts(&self, count: usize) {
        let is_post = |request: &&Request| request.method == "POST";
        let (requests, waited) = self
            .shared
            .arrived
            .wait_timeout_while(lock(&self.shared.requests), PATIENCE, |requests| {
                requests.iter().filter(is_post).count() < count
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(requests);
        assert!(!waited.timed_out(), "fewer than {count} POSTs arrived");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor; it fails only where that has ended already.
        TcpStream::connect(self.address)
            .map(drop)
            .unwrap_or_default();
        for stream in lock(&self.shared.streams).drain(..) {
            stream.shutdown(Shutdown::Both).unwrap_or_default();
        }
        if let Some(acceptor) = self.acceptor.take() {
            let ended = acceptor.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

fn answer(shared: &Shared, mut stream: TcpStream) {
    let Some(request) = read(&stream) else {
        return;
    };
    lock(&shared.requests).push(request.clone());
    shared.arrived.notify_all();
    match (shared.handler)(&request) {
        Reply::Silence => {
            // Ends when the other side, or the server, closes the connection.
            stream.read(&mut [0; 1]).map(drop).unwrap_or_default();
        }
        Reply::Answer {
            status,
            headers,
            body,
            claimed,
        } => {
            let length = claimed.unwrap_or(body.len());
            let mut head = format!(
                "HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\nConnection: close\r\n"
            );
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            // A browser may have gone away; a test sees that elsewhere.
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
                .unwrap_or_default();
        }
    }
    stream.shutdown(Shutdown::Both).unwrap_or_default();
}

/// Nothing where the other side sent no whole request: browsers connect in advance.
fn read(stream: &TcpStream) -> Option<Request> {
    let mut input = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines.first()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .map_or(Some(0), |length| length.parse().ok())?;
    request.body.resize(length, 0);
    input.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
