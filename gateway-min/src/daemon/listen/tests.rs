//! The guarded socket with sites that block and panic as they are told: what a real one
//! cannot be made to do from outside.

use core::net::SocketAddr;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    panic,
    prelude::v1::*,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{
    Answer, Deadlines, Fields, Head, Refusal, Request, Server, Site, Slots, Transport, bind, put,
    serve,
};
use crate::Reject;

/// Longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Deadlines = Deadlines {
    reading: PATIENCE,
    working: PATIENCE,
    idle: PATIENCE,
    closing: PATIENCE,
};

/// Answers `/` at once, `/block` when it is told to, and panics at other paths.
struct Puppet {
    entered: Sender<()>,
    told: Mutex<Receiver<()>>,
    refused: Mutex<Vec<Reject>>,
}

/// The other ends of a [`Puppet`].
struct Strings {
    entered: Receiver<()>,
    tell: Sender<()>,
    puppet: Arc<Puppet>,
}

impl Site for Puppet {
    type Desk = ();

    fn desk(&self) {}

    fn lines(&self, _: &Head<'_>) -> &str {
        ""
    }

    fn admit(&self, head: &Head<'_>, _: Option<u64>) -> Result<(), Refusal> {
        assert!(head.path() != "/panic-early");
        Ok(())
    }

    fn answer(&self, request: &Request<'_>, (): &mut (), answer: &mut Answer) {
        match request.head.path() {
            "/" => {}
            "/block" => {
                self.entered.send(()).unwrap();
                self.told.lock().unwrap().recv().unwrap();
            }
            path => panic::panic_any(path.to_owned()),
        }
        let body = answer.begin(200, "text/plain", Fields::default());
        put(body, format_args!("done"));
    }

    fn refused(&self, reject: &Reject) {
        self.refused.lock().unwrap().push(*reject);
    }

    fn answered(&self, _: &Head<'_>, _: Duration) {}
}

fn start(slots: usize, per_address: usize, deadlines: Deadlines) -> (Server, Strings) {
    let (entering, entered) = channel();
    let (tell, told) = channel();
    let puppet = Arc::new(Puppet {
        entered: entering,
        told: Mutex::new(told),
        refused: Mutex::default(),
    });
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let slots = Arc::new(Slots::new(slots, per_address, deadlines));
    let server = serve(listener, slots, Arc::clone(&puppet), &Transport::Plain).unwrap();
    let strings = Strings {
        entered,
        tell,
        puppet,
    };
    (server, strings)
}

/// A connection from this address of the loopback.
fn connect_from(last: u8, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())
        .unwrap();
    socket.connect(&server.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &TcpStream, path: &str) {
    let mut stream = stream;
    let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

/// Everything up to the close.
fn rest(stream: &TcpStream) -> String {
    let mut stream = stream;
    let mut all = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => all.extend_from_slice(&chunk[..len]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    String::from_utf8(all).unwrap()
}

#[track_caller]
fn assert_done(stream: &TcpStream) {
    let rest = rest(stream);
    assert!(
        rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("done"),
        "{rest}"
    );
}

#[test]
fn a_panic_costs_its_request_and_nothing_else() {
    let (server, strings) = start(2, 2, LONG);
    for path in ["/panic", "/panic-early", "/panic", "/panic-early", "/panic"] {
        let stream = connect_from(1, &server);
        send(&stream, path);
        let rest = rest(&stream);
        assert!(
            rest.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
            "{path}: {rest}"
        );
        assert!(rest.contains("\r\nConnection: close\r\n"), "{path}: {rest}");
        assert!(rest.contains(r#""code":"internal""#), "{path}: {rest}");
        assert!(
            !rest.contains(path),
            "the panic's words stay inside: {rest}"
        );
    }
    let stream = connect_from(1, &server);
    send(&stream, "/");
    assert_done(&stream);
    assert_eq!(
        *strings.puppet.refused.lock().unwrap(),
        [Reject::Internal; 5]
    );
}

#[test]
fn what_is_being_worked_on_is_not_given_up() {
    let (server, strings) = start(2, 2, LONG);
    let working = [(); 2].map(|()| {
        let stream = connect_from(1, &server);
        send(&stream, "/block");
        strings.entered.recv().unwrap();
        stream
    });
    let turned_away = connect_from(1, &server);
    let words = rest(&turned_away);
    assert!(words.starts_with("HTTP/1.1 429 "), "{words}");
    assert!(words.contains("\r\nRetry-After: 1\r\n"), "{words}");
    // Which of the two hears the first word is not said: both are told before either is read.
    for _ in &working {
        strings.tell.send(()).unwrap();
    }
    for stream in working {
        assert_done(&stream);
    }
    let stream = connect_from(1, &server);
    send(&stream, "/");
    assert_done(&stream);
    assert_eq!(
        *strings.puppet.refused.lock().unwrap(),
        [Reject::TooManyConnections]
    );
}

#[test]
fn an_address_past_its_share_competes_with_itself() {
    let (server, _strings) = start(8, 2, LONG);
    let other = connect_from(2, &server);
    let begin = || {
        let stream = connect_from(1, &server);
        (&stream).write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream
    };
    let first = begin();
    let (second, third) = (begin(), begin());
    let words = rest(&first);
    assert!(
        words.is_empty() || words.starts_with("HTTP/1.1 429 "),
        "{words}"
    );
    for stream in [second, third] {
        (&stream)
            .write_all(b"Host: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert_done(&stream);
    }
    send(&other, "/");
    assert_done(&other);
}

#[test]
fn work_that_takes_too_long_is_cut_off_and_its_slot_comes_back() {
    let (server, strings) = start(
        8,
        8,
        Deadlines {
            working: Duration::from_millis(1),
            ..LONG
        },
    );
    for _ in 0..3 {
        let stream = connect_from(1, &server);
        send(&stream, "/block");
        strings.entered.recv().unwrap();
        assert_eq!(rest(&stream), "", "nothing is said when it is too late to");
        strings.tell.send(()).unwrap();
    }
    assert!(server.drain(PATIENCE));
}

#[test]
fn a_stop_waits_for_work_but_not_for_ever() {
    let (server, strings) = start(2, 2, LONG);
    let stream = connect_from(1, &server);
    send(&stream, "/block");
    strings.entered.recv().unwrap();
    let (never, ended) = channel::<()>();
    let drained = thread::scope(|scope| {
        let draining = scope.spawn(|| {
            let drained = server.drain(PATIENCE);
            drop(never);
            drained
        });
        // Not drained while the work is not done.
        assert!(ended.recv_timeout(Duration::from_millis(50)).is_err());
        strings.tell.send(()).unwrap();
        draining.join().unwrap()
    });
    assert!(drained);
    assert_done(&stream);

    let (server, strings) = start(2, 2, LONG);
    let stream = connect_from(1, &server);
    send(&stream, "/block");
    strings.entered.recv().unwrap();
    assert!(!server.drain(Duration::from_millis(1)));
    strings.tell.send(()).unwrap();
}

#[test]
fn what_is_set_on_the_listener_holds_for_each_connection() {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let accepted = Socket::from(accepted);
    assert!(accepted.tcp_nodelay().unwrap());
    #[cfg(any(target_os = "android", target_os = "linux"))]
    assert_eq!(
        accepted.tcp_user_timeout().unwrap(),
        Some(super::UNACKNOWLEDGED)
    );
}
