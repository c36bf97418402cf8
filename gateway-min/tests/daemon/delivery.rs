//! From *accepted* to the site's own system: the real binary, a journal, and a receiver that
//! records and misbehaves.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{
    signer::PUBLIC_JWK,
    sink_server::{OK, Reply, SinkServer},
    support::{Folder, Gateway, ID, command, message, request},
};

/// A site: a journal, and a receiver that may not be there.
struct Site {
    outer: Folder,
    url: String,
}

impl Site {
    fn new(url: &str) -> Self {
        Self {
            outer: Folder::new(),
            url: url.to_owned(),
        }
    }

    fn journal(&self) -> String {
        let path = self.outer.path().join("journal");
        path.to_str().unwrap().to_owned()
    }

    fn start(&self) -> Gateway {
        Gateway::start(&[
            ("GATEWAY_JOURNAL", &self.journal()),
            ("GATEWAY_DELIVER_URL", &self.url),
        ])
    }

    /// Ids and states of all messages, in the order of acceptance.
    fn states(&self) -> Vec<(String, String)> {
        let output = command(&[("GATEWAY_JOURNAL", &self.journal())])
            .arg("journal")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |value: &Value| value.as_str().map(str::to_owned);
        lines
            .filter_map(|line| Some((word(&line["jti"])?, word(&line["state"])?)))
            .collect()
    }

    /// Waits until the journal says this of its messages.
    fn wait_for(&self, wanted: &[(&str, &str)]) {
        let same = |states: &[(String, String)]| {
            let states = states
                .iter()
                .map(|(jti, state)| (jti.as_str(), state.as_str()));
            states.eq(wanted.iter().copied())
        };
        while !same(&self.states()) {}
    }
}

fn degraded(gateway: &Gateway) -> (u16, Vec<String>) {
    let answer = gateway.ask(&request("GET /healthcheck/ready", &[], b""));
    let codes = answer.json()["degraded"].clone();
    let codes = codes.as_array().unwrap().iter();
    let codes = codes.map(|one| one["code"].as_str().unwrap().to_owned());
    (answer.status, codes.collect())
}

fn token(jti: &str, sub: &str) -> String {
    message(&[("jti", json!(jti)), ("sub", json!(sub))])
}

#[test]
fn each_message_is_delivered_once_and_only_where_it_has_a_route() {
    let server = SinkServer::start();
    let site = Site::new(&server.url("/worklist?key=secret"));
    let gateway = site.start();
    let (a, b) = (token("a", "1"), token("b", "2"));
    let echo = message(&[("jti", json!("e")), ("action_type", json!("echo"))]);
    let other = message(&[("jti", json!("o")), ("action_type", json!("other"))]);
    for (token, outcome) in [
        (&a, "accepted"),
        (&echo, "accepted"),
        (&other, "accepted"),
        (&a, "duplicate"),
        (&b, "accepted"),
    ] {
        assert_eq!(gateway.post(token).outcome(), outcome);
    }
    site.wait_for(&[
        ("a", "delivered"),
        ("e", "not_for_delivery"),
        ("o", "not_for_delivery"),
        ("b", "delivered"),
    ]);
    let received = server.received();
    let ids: Vec<_> = received.iter().map(|one| one.jti()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(received[0].field("Idempotency-Key"), Some("\"a\""));
    assert_eq!(received[0].json()["token"], a);
    assert!(received.iter().all(|one| !one.is_marked()));
    let said = gateway.lines.text();
    assert!(
        !said.contains("secret") && !said.contains("ZZTEST"),
        "{said}"
    );
    drop(gateway);
    // What was delivered stays delivered.
    let again = site.start();
    let c = token("c", "3");
    assert_eq!(again.post(&c).outcome(), "accepted");
    assert_eq!(server.wait_for(3).last().unwrap().jti(), "c");
}

#[test]
fn a_receiver_that_is_away_is_waited_for_and_told_as_degraded() {
    // A port that nobody listens on, kept from others by having been bound.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let site = Site::new(&format!("http://{address}/"));
    let gateway = site.start();
    for (jti, sub) in [("a", "1"), ("b", "1"), ("c", "2")] {
        assert_eq!(gateway.post(&token(jti, sub)).outcome(), "accepted");
    }
    gateway.lines.wait_for("connect: ");
    let echo = || {
        let echo = message(&[("action_type", json!("echo"))]);
        gateway.post(&echo).json()["delivery"].clone()
    };
    assert_eq!(echo(), json!({"waiting": 3, "failing": "connect"}));
    while degraded(&gateway) != (200, vec!["delivery_failing".to_owned()]) {}
    let server = SinkServer::on(TcpListener::bind(address).unwrap());
    let received = server.wait_for(3);
    let ids: Vec<_> = received.iter().map(|one| one.jti()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    // None of the attempts that failed had sent anything.
    assert!(received.iter().all(|one| !one.is_marked()));
    gateway.lines.wait_for("takes messages again");
    while degraded(&gateway) != (200, Vec::new()) {}
    while echo() != json!({"waiting": 0, "failing": null}) {}
}

#[test]
fn what_a_crash_leaves_undelivered_is_delivered_with_its_mark() {
    let server = SinkServer::start();
    server.reply([Reply::Silence]);
    let site = Site::new(&server.url("/"));
    let first = site.start();
    for jti in ["a", "b"] {
        assert_eq!(first.post(&token(jti, "1")).outcome(), "accepted");
    }
    // The receiver has the first, and the gateway will never know.
    server.wait_for(1);
    first.signal("KILL");
    first.status();
    server.reply([Reply::Say(OK.to_owned())]);
    let second = site.start();
    let received = server.wait_for(3);
    let told: Vec<_> = received
        .iter()
        .map(|one| (one.jti(), one.is_marked()))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(jti, marked)| (jti.as_str(), *marked))
        .collect();
    assert_eq!(told, [("a", false), ("a", true), ("b", true)]);
    site.wait_for(&[("a", "delivered"), ("b", "delivered")]);
    assert_eq!(second.post(&token("c", "1")).outcome(), "accepted");
    assert!(!server.wait_for(4)[3].is_marked());
}

#[test]
fn a_stop_does_not_wait_for_a_receiver_that_says_nothing() {
    let server = SinkServer::start();
    server.reply([Reply::Silence]);
    let site = Site::new(&server.url("/"));
    let first = site.start();
    assert_eq!(first.post(&token("a", "1")).outcome(), "accepted");
    server.wait_for(1);
    first.signal("TERM");
    first.lines.wait_for("a delivery did not end in time");
    let (status, _) = first.ended();
    assert!(status.success());
    assert_eq!(site.states(), [("a".to_owned(), "waiting".to_owned())]);
    server.reply([Reply::Say(OK.to_owned())]);
    let _second = site.start();
    assert!(server.wait_for(2)[1].is_marked());
    site.wait_for(&[("a", "delivered")]);
}

#[test]
fn a_start_that_fails_delivers_nothing() {
    let server = SinkServer::start();
    server.reply([Reply::Silence]);
    let site = Site::new(&server.url("/"));
    let first = site.start();
    for jti in ["a", "b"] {
        assert_eq!(first.post(&token(jti, jti)).outcome(), "accepted");
    }
    server.wait_for(1);
    first.signal("KILL");
    first.status();
    server.reply([Reply::Say(OK.to_owned())]);
    // Somebody else has the address; the service manager tries again and again.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let key = site.outer.file("key.jwk", PUBLIC_JWK, 0o600);
    for _ in 0..20 {
        let output = command(&[
            ("GATEWAY_LISTEN", &address),
            ("GATEWAY_ID", ID),
            ("JWT_PUBLIC_KEY", &key),
            ("GATEWAY_JOURNAL", &site.journal()),
            ("GATEWAY_DELIVER_URL", &site.url),
        ])
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(69), "{output:?}");
    }
    let _second = site.start();
    site.wait_for(&[("a", "delivered"), ("b", "delivered")]);
    let received = server.received();
    let ids: Vec<_> = received.iter().map(|one| one.jti()).collect();
    assert_eq!(ids, ["a", "a", "b"]);
}

#[test]
fn a_message_that_is_refused_for_good_stops_nobody() {
    let server = SinkServer::start();
    server.reply([Reply::status(422, ""), Reply::Say(OK.to_owned())]);
    let site = Site::new(&server.url("/"));
    let gateway = site.start();
    for jti in ["bad", "good"] {
        assert_eq!(gateway.post(&token(jti, "1")).outcome(), "accepted");
    }
    site.wait_for(&[("bad", "refused"), ("good", "delivered")]);
    let line = gateway.lines.wait_for("with status 422, for good");
    assert!(line.ends_with("jti=\"bad\""), "{line}");
    let metrics = gateway.ask(&request("GET /metrics", &[], b"")).body;
    for line in [
        "gateway_deliveries_total{outcome=\"delivered\"} 1\n",
        "gateway_deliveries_total{outcome=\"refused\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn a_receiver_without_a_journal_stops_the_start() {
    let output = command(&[
        ("GATEWAY_ID", "a"),
        ("JWT_PUBLIC_KEY", "k.pem"),
        ("GATEWAY_DELIVER_URL", "http://127.0.0.1:1/"),
    ])
    .arg("--check")
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("GATEWAY_JOURNAL is what messages are delivered from, and is not set"),
        "{error}"
    );
}
