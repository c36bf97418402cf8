use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    prelude::v1::*,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::{Answered, Delivery, Fault, Http, Phase, Sink, Target, Wire};
use crate::daemon::sink::sink_server::{Door, OK, Reply, SinkServer};

/// Longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what never comes.
const SHORT: Duration = Duration::from_millis(500);

fn http(url: &str, timeout: Duration) -> Http {
    Http::new(Target::read(url).unwrap(), timeout).unwrap()
}

const FIRST: Delivery<'_> = Delivery {
    key: "\"a\"",
    redelivered: false,
    body: b"{}",
};

fn deliver(http: &mut Http) -> Result<Answered, Fault> {
    http.deliver(&FIRST)
}

/// Phase, status, whether it may have arrived, whether the connection was to blame.
type Told = (Phase, Option<u16>, bool, bool);

fn told(fault: &Fault) -> Told {
    (fault.phase, fault.status, fault.sent, fault.stale)
}

#[test]
fn a_delivery_is_one_post_and_its_connection_is_kept() {
    let server = SinkServer::start();
    let mut http = http(&server.url("/in/box?key=s"), PATIENCE);
    assert_eq!(http.name(), format!("http://{}/in/box?***", server.address));
    assert_eq!(deliver(&mut http), Ok(Answered::Taken));
    let again = Delivery {
        redelivered: true,
        body: b"[1, 2]",
        ..FIRST
    };
    assert_eq!(http.deliver(&again), Ok(Answered::Taken));
    let received = server.received();
    let wanted = |mark: &str, len: usize| {
        format!(
            "POST /in/box?key=s HTTP/1.1\r\nHost: {}\r\nUser-Agent: gateway-min/{}\r\n\
             Content-Type: application/json\r\nContent-Length: {len}\r\n\
             Idempotency-Key: \"a\"\r\n{mark}\r\n",
            server.address,
            env!("CARGO_PKG_VERSION")
        )
    };
    assert_eq!(received[0].head, wanted("", 2));
    assert_eq!(received[1].head, wanted("Gateway-Redelivered: true\r\n", 6));
    assert_eq!(
        (&*received[0].body, &*received[1].body),
        (&b"{}"[..], &b"[1, 2]"[..])
    );
    assert_eq!(server.connections(), 1);
    http.rest();
    assert_eq!(deliver(&mut http), Ok(Answered::Taken));
    assert_eq!(server.connections(), 2);
}

#[test]
fn every_status_has_its_outcome() {
    let server = SinkServer::start();
    let mut http = http(&server.url("/"), PATIENCE);
    for (status, lines, wanted) in [
        (200, "", Ok(Answered::Taken)),
        (202, "", Ok(Answered::Taken)),
        (299, "", Ok(Answered::Taken)),
        (301, "Location: http://127.0.0.1:1/\r\n", Err(None)),
        (307, "Location: /other\r\n", Err(None)),
        (400, "", Ok(Answered::Refused(400))),
        (401, "", Err(None)),
        (403, "", Err(None)),
        (404, "", Err(None)),
        (405, "", Err(None)),
        (408, "", Err(None)),
        (409, "", Ok(Answered::Refused(409))),
        (413, "", Ok(Answered::Refused(413))),
        (415, "", Ok(Answered::Refused(415))),
        (422, "", Ok(Answered::Refused(422))),
        (425, "", Err(None)),
        (429, "Retry-After: 7\r\n", Err(Some(7))),
        (500, "", Err(None)),
        (503, "Retry-After: 86400\r\n", Err(Some(300))),
        (503, "Retry-After: soon\r\n", Err(None)),
        (599, "", Err(None)),
    ] {
        server.reply([Reply::status(status, lines)]);
        let outcome = deliver(&mut http);
        match wanted {
            Ok(answered) => assert_eq!(outcome, Ok(answered), "{status}"),
            Err(secs) => {
                let fault = outcome.unwrap_err();
                assert_eq!(
                    told(&fault),
                    (Phase::Status, Some(status), true, false),
                    "{status}"
                );
                assert_eq!(fault.retry_after, secs.map(Duration::from_secs), "{status}");
                assert_eq!(fault.detail, format!("status {status}"));
            }
        }
    }
    assert_eq!(
        server.connections(),
        1,
        "nothing was followed, and nothing closed"
    );
}

#[test]
fn each_answer_that_is_none_names_its_phase() {
    let head = "HTTP/1.1 200 OK\r\n";
    let rows: [(&str, Reply, Duration, Phase, &str); 11] = [
        (
            "closes behind the request",
            Reply::Close,
            PATIENCE,
            Phase::Await,
            "closed without an answer",
        ),
        (
            "never answers",
            Reply::Silence,
            SHORT,
            Phase::Await,
            "not done within 0.5 s",
        ),
        (
            "answers garbage",
            Reply::Say("220 mail ESMTP\r\n".into()),
            PATIENCE,
            Phase::Read,
            "not HTTP/1",
        ),
        (
            "cuts the head",
            Reply::SayAndClose(head.into()),
            PATIENCE,
            Phase::Read,
            "closed within the head",
        ),
        (
            "stops in the head",
            Reply::Say(head.into()),
            SHORT,
            Phase::Read,
            "not done within 0.5 s",
        ),
        (
            "cuts the body",
            Reply::SayAndClose(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nab")),
            PATIENCE,
            Phase::Read,
            "closed within the body",
        ),
        (
            "lies about its length",
            Reply::SayAndClose(format!("{head}Content-Length: 9\r\n\r\nok")),
            PATIENCE,
            Phase::Read,
            "closed within the body",
        ),
        (
            "stops in the body",
            Reply::Say(format!("{head}Content-Length: 9\r\n\r\nok")),
            SHORT,
            Phase::Read,
            "not done within 0.5 s",
        ),
        (
            "drips",
            Reply::Drip(format!("{head}{}\r\n\r\n", "A: b\r\n".repeat(60))),
            Duration::from_secs(1),
            Phase::Read,
            "not done within 1 s",
        ),
        (
            "a head without an end",
            Reply::Say(format!("{head}A: {}", "a".repeat(20_000))),
            PATIENCE,
            Phase::Read,
            "its head is too long",
        ),
        (
            "another protocol",
            Reply::Say("HTTP/1.1 101 S\r\n\r\n".into()),
            PATIENCE,
            Phase::Read,
            "another protocol, which was not asked for",
        ),
    ];
    for (name, reply, timeout, phase, detail) in rows {
        let server = SinkServer::start();
        server.reply([reply]);
        let mut http = http(&server.url("/"), timeout);
        let fault = deliver(&mut http).unwrap_err();
        assert_eq!(
            told(&fault),
            (phase, None, true, false),
            "{name}: {fault:?}"
        );
        assert_eq!(fault.detail, detail, "{name}");
        // The next begins anew.
        server.reply([Reply::Say(OK.to_owned())]);
        http.timeout = PATIENCE;
        assert_eq!(deliver(&mut http), Ok(Answered::Taken), "{name}");
        assert_eq!(server.connections(), 2, "{name}");
    }
}

#[test]
fn answers_that_are_enough_are_not_read_on() {
    let endless = |status| {
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 100000000\r\n\r\n{}",
            "a".repeat(100_000)
        )
    };
    for (name, reply, wanted) in [
        (
            "a giant body",
            Reply::Say(endless(200)),
            Ok(Answered::Taken),
        ),
        (
            "a giant refusal",
            Reply::Say(endless(422)),
            Ok(Answered::Refused(422)),
        ),
        (
            "a refusal that is cut",
            Reply::SayAndClose("HTTP/1.1 422 X\r\nContent-Length: 9\r\n\r\n".into()),
            Ok(Answered::Refused(422)),
        ),
        (
            "a failure that is cut",
            Reply::SayAndClose("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n".into()),
            Err(500),
        ),
        (
            "until it closes",
            Reply::SayAndClose("HTTP/1.0 200 OK\r\n\r\nok".into()),
            Ok(Answered::Taken),
        ),
    ] {
        let server = SinkServer::start();
        server.reply([reply]);
        let mut http = http(&server.url("/"), PATIENCE);
        let outcome = deliver(&mut http).map_err(|fault| fault.status.unwrap());
        assert_eq!(outcome, wanted, "{name}");
        assert!(http.kept.is_none(), "{name}");
    }
}

#[test]
fn what_fails_before_anything_is_sent_says_so() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = closed.local_addr().unwrap();
    drop(closed);
    let (full, _waiting) = full_listener();
    // A name that no server is asked about: its label is too long.
    for (name, url, timeout, phase, detail) in [
        (
            "no such name",
            format!("http://{}.invalid/", "a".repeat(64)),
            PATIENCE,
            Phase::Resolve,
            "",
        ),
        (
            "a closed port",
            format!("http://{free}/"),
            PATIENCE,
            Phase::Connect,
            "Connection refused",
        ),
        (
            "one that never accepts",
            format!("http://{full}/"),
            SHORT,
            Phase::Connect,
            "not done within 0.5 s",
        ),
    ] {
        let fault = deliver(&mut http(&url, timeout)).unwrap_err();
        assert_eq!(
            told(&fault),
            (phase, None, false, false),
            "{name}: {fault:?}"
        );
        assert!(fault.detail.starts_with(detail), "{name}: {fault:?}");
    }
}

/// A listener whose queue is full: the system answers no more to those who call.
fn full_listener() -> (SocketAddr, (Socket, Vec<TcpStream>)) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        waiting.push(stream);
    }
    (address, (socket, waiting))
}

#[test]
fn a_receiver_that_takes_nothing_fails_in_send() {
    let server = SinkServer::start();
    server.doors([Door::Deaf]);
    // More than the buffers of both ends hold.
    let body = vec![b' '; 64 * 1024 * 1024];
    let huge = Delivery {
        body: &body,
        ..FIRST
    };
    let fault = http(&server.url("/"), Duration::from_secs(1))
        .deliver(&huge)
        .unwrap_err();
    assert_eq!(told(&fault), (Phase::Send, None, true, false), "{fault:?}");
    assert_eq!(fault.detail, "not done within 1 s");
}

#[test]
fn a_door_that_is_slammed_is_a_fault_of_sending_or_waiting() {
    let server = SinkServer::start();
    server.doors([Door::Slammed]);
    let fault = deliver(&mut http(&server.url("/"), PATIENCE)).unwrap_err();
    // Which of the two is a race between both ends.
    assert!(
        matches!(fault.phase, Phase::Send | Phase::Await),
        "{fault:?}"
    );
    assert_eq!((fault.sent, fault.stale), (true, false));
}

#[test]
fn a_connection_that_ended_meanwhile_is_not_used_or_blamed() {
    let server = SinkServer::start();
    let mut http = http(&server.url("/"), PATIENCE);
    // It ends before the next message, and that is seen.
    server.reply([Reply::SayAndClose(OK.to_owned()), Reply::Say(OK.to_owned())]);
    assert_eq!(deliver(&mut http), Ok(Answered::Taken));
    let until = Instant::now() + PATIENCE;
    while http.kept.as_ref().is_some_and(Wire::is_open) {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    assert_eq!(deliver(&mut http), Ok(Answered::Taken));
    assert_eq!(server.connections(), 2);
    // It ends on the next message: nobody knows whether that was read.
    server.reply([Reply::Close, Reply::Say(OK.to_owned())]);
    let fault = deliver(&mut http).unwrap_err();
    assert_eq!(told(&fault), (Phase::Await, None, true, true), "{fault:?}");
    // A receiver that is late is late, on whatever connection.
    assert_eq!(deliver(&mut http), Ok(Answered::Taken));
    server.reply([Reply::Silence]);
    http.timeout = SHORT;
    let fault = deliver(&mut http).unwrap_err();
    assert_eq!(told(&fault), (Phase::Await, None, true, false), "{fault:?}");
}
