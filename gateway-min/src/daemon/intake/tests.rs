//! Judgement by a clock that can be turned, and the waiting for another copy's fate.

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    panic::{self, AssertUnwindSafe},
    prelude::v1::*,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};

use super::{Held, Intake, Standing, TO_ANSWER};
use crate::{
    Reject, Scratch, UnixTime,
    daemon::{
        clock::{COMMIT, Clock},
        config::{Config, cut},
        cors::Cors,
        health::Health,
        keys::{self, KeyRing},
        listen::{self, Deadlines, Server, Slots, Transport},
        route::{Gateway, Paths, State},
        tallies::Tallies,
    },
};

/// A time at which the clock is surely set, whenever this was built.
pub(in crate::daemon) fn noon() -> UnixTime {
    COMMIT.plus(100_000)
}

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A message that lives for an hour from [`noon`].
fn token(jti: &str) -> String {
    token_until(jti, 3600)
}

fn token_until(jti: &str, secs: u32) -> String {
    let claims = format!(
        r#"{{"aud":"site","iat":{},"exp":{},"jti":"{jti}"}}"#,
        noon(),
        noon().plus(secs)
    );
    signed(&claims)
}

/// A message that says this.
pub(in crate::daemon) fn signed(claims: &str) -> String {
    let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    let signed = format!("{}.{}", encode(r#"{"alg":"EdDSA"}"#), encode(claims));
    let signature = secret().sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
}

pub(in crate::daemon) fn intake(capacity: &str, clock: Clock) -> Intake {
    let x = Base64UrlUnpadded::encode_string(secret().verifying_key().as_bytes());
    let environment = [
        ("GATEWAY_ID", "site"),
        ("GATEWAY_REPLAY_CAPACITY", capacity),
        (
            "JWT_PUBLIC_KEY",
            &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#),
        ),
    ]
    .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let line = cut(env::args_os().take(0)).unwrap();
    let config = Config::judge(line, environment.into_iter()).unwrap();
    let loaded = keys::load(config.keys.0, &config.keys.1).unwrap();
    let ring = Arc::new(KeyRing::new(loaded));
    Intake::new(&config, ring, clock, Arc::new(Tallies::new()))
}

/// The whole gateway on a free port, by this clock.
fn serve(capacity: &str, clock: Clock) -> Server {
    let slots = Slots::new(2, 2, Deadlines::LOCAL);
    serve_with(state(intake(capacity, clock), slots))
}

/// What a gateway consists of, without a journal.
pub(in crate::daemon) fn state(intake: Intake, slots: Slots) -> State {
    let tallies = Arc::clone(&intake.tallies);
    State {
        intake,
        health: Arc::new(Health::new()),
        troubles: Vec::new(),
        #[cfg(feature = "journal")]
        journal: None,
        tallies,
        #[cfg(feature = "journal")]
        queue: Arc::new(crate::daemon::deliver::Queue::default()),
        slots: Arc::new(slots),
        born: Instant::now(),
    }
}

/// The gateway that consists of this.
pub(in crate::daemon) fn serve_with(state: State) -> Server {
    let slots = Arc::clone(&state.slots);
    let state = Arc::new(state);
    let hosts = vec!["localhost".to_owned()];
    let gateway = Gateway::new(hosts, Cors::new(&[]), state, Paths::All);
    let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen::serve(listener, slots, Arc::new(gateway), &Transport::Plain).unwrap()
}

pub(in crate::daemon) fn ask(server: &Server, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/jose\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The reservation of what was not seen before.
fn new(standing: Result<Standing, Reject>) -> Option<Held> {
    match standing.unwrap() {
        Standing::New(held) => Some(held),
        Standing::Duplicate { .. } => None,
    }
}

#[test]
fn nothing_is_judged_by_a_clock_that_was_never_set() {
    let server = serve("16", || COMMIT.minus(1));
    for body in [token("a"), "no token".to_owned()] {
        let answer = ask(&server, "POST /do", &body);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.contains(r#""code":"clock_not_set","stage":"clock""#),
            "{answer}"
        );
        assert!(answer.contains("\r\nRetry-After: 30\r\n"), "{answer}");
    }
    let metrics = ask(&server, "GET /metrics", "");
    for line in [
        "\ngateway_clock_plausible 0\n",
        "\ngateway_refusals_total{code=\"clock_not_set\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let ready = ask(&server, "GET /healthcheck/ready", "");
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(
        ready.contains(r#""ready":false,"live":false,"keys":1,"clock_set":false"#),
        "{ready}"
    );
    let judged = ask(&serve("16", || COMMIT), "POST /do", "no token");
    assert!(judged.contains(r#""code":"token_segments""#), "{judged}");
}

#[test]
fn a_clock_that_steps_back_reopens_nothing() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let set = |time: UnixTime| NOW.store(time.as_secs(), Ordering::SeqCst);
    let server = serve("1", || UnixTime::from_secs(NOW.load(Ordering::SeqCst)));
    let (early, late) = (token_until("early", 100), token_until("late", 3600));
    set(noon());
    assert!(ask(&server, "POST /do", &early).contains(r#""outcome":"accepted""#));
    // Forward: the first one's room is needed, and it has expired.
    set(noon().plus(1000));
    assert!(ask(&server, "POST /do", &late).contains(r#""outcome":"accepted""#));
    set(noon());
    let answer = ask(&server, "POST /do", &early);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains(r#""code":"clock_stepped_back""#),
        "{answer}"
    );
    assert!(answer.contains("\r\nRetry-After: 30\r\n"), "{answer}");
    assert!(ask(&server, "POST /do", &late).contains(r#""outcome":"duplicate""#));
}

#[test]
fn a_copy_waits_for_the_fate_of_the_first() {
    let intake = intake("64", noon);
    let set = intake.ring().current();
    let soon = || Instant::now() + Duration::from_secs(60);
    for round in 0..50 {
        let token = token(&format!("round-{round}"));
        let keep = round % 2 == 0;
        let mut scratch = Scratch::new();
        let message = intake
            .judge(&set.keys, token.as_bytes(), None, &mut scratch)
            .unwrap();
        let held = new(intake.reserve(&message, noon(), soon())).unwrap();
        // Whoever will not wait is told that it is not known yet.
        let unknown = intake.reserve(&message, noon(), Instant::now());
        assert_eq!(unknown.err(), Some(Reject::InProgress));
        thread::scope(|scope| {
            let copy = scope.spawn(|| {
                let mut scratch = Scratch::new();
                let message = intake
                    .judge(&set.keys, token.as_bytes(), None, &mut scratch)
                    .unwrap();
                new(intake.reserve(&message, noon(), soon())).is_some()
            });
            // Every other round the copy sleeps by then and has to be woken.
            let (asleep, until) = (round % 4 < 2, soon());
            while asleep && !intake.memory.is_awaited() {
                assert!(Instant::now() < until);
                thread::yield_now();
            }
            if keep {
                held.commit();
            } else {
                drop(held);
            }
            assert_eq!(
                copy.join().unwrap(),
                !keep,
                "new only where the first was not kept"
            );
        });
    }
}

#[test]
fn a_panic_before_the_commit_releases_the_message() {
    let intake = intake("64", noon);
    let set = intake.ring().current();
    let token = token("once");
    let mut scratch = Scratch::new();
    let message = intake
        .judge(&set.keys, token.as_bytes(), None, &mut scratch)
        .unwrap();
    let until = Instant::now() + TO_ANSWER;
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let held = intake.reserve(&message, noon(), until);
        panic::panic_any(held.is_ok());
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&true));
    assert!(new(intake.reserve(&message, noon(), until)).is_some());
}
