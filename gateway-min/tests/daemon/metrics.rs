//! `/metrics`: that the page is what Prometheus reads, that what is counted moves with what
//! is done and with nothing else, and who may ask where.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use gateway_min::Reject;
use serde_json::json;
use socket2::Socket;

use crate::{
    exposition::Page,
    signer::PUBLIC_JWK,
    support::{
        Answer, Client, EXTENSION, Folder, Gateway, PATIENCE, Unread, message, now, post, request,
    },
};

fn ask() -> Vec<u8> {
    request("GET /metrics", &[], b"")
}

#[track_caller]
fn page(answer: &Answer) -> Page {
    assert_eq!(answer.status, 200);
    let kind = answer.field("Content-Type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = Page::read(&answer.body);
    page.adds_up();
    page
}

/// Reads the page on a connection that is there already: behind what was done on it.
#[track_caller]
fn scrape_on(client: &mut Client) -> Page {
    client.send(&ask());
    page(&client.answer())
}

#[track_caller]
pub(crate) fn scrape(address: SocketAddr) -> Page {
    scrape_on(&mut Client::new(address))
}

/// Reads the page until it is as wished.
#[track_caller]
fn scrape_until(address: SocketAddr, wished: impl Fn(&Page) -> bool) -> Page {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = scrape(address);
        if wished(&page) {
            return page;
        }
        assert!(Instant::now() < until, "{page:#?}");
    }
}

/// A gateway whose metrics have a listener of their own, and that listener's address.
fn apart(more: &[(&str, &str)]) -> (Gateway, SocketAddr) {
    let mut settings = vec![("GATEWAY_METRICS_LISTEN", "127.0.0.2:0")];
    settings.extend(more);
    let gateway = Gateway::start(&settings);
    let line = gateway.lines.wait_for("metrics on ");
    let (_, address) = line.split_once("metrics on ").unwrap();
    (gateway, address.trim().parse().unwrap())
}

#[test]
fn the_page_tells_everything_from_the_start() {
    let gateway = Gateway::start(&[("GATEWAY_SLOTS", "9"), ("GATEWAY_REPLAY_CAPACITY", "77")]);
    let mut client = gateway.client();
    let page = scrape_on(&mut client);
    let codes = page.family("gateway_refusals_total").label_values();
    assert_eq!(codes, Reject::CODES);
    for (name, count) in page.counts() {
        assert_eq!(count, 0.0, "{name}");
    }
    for (name, is, wanted) in [
        ("gateway_slots", "", 9.0),
        ("gateway_replay_capacity", "", 77.0),
        ("gateway_replay_entries", "", 0.0),
        ("gateway_keys", "", 1.0),
        ("gateway_clock_plausible", "", 1.0),
        ("gateway_build_info", env!("CARGO_PKG_VERSION"), 1.0),
    ] {
        assert_eq!(page.value(name, is), wanted, "{name}");
    }
    for name in [
        "gateway_last_accepted_age_seconds",
        "gateway_last_accepted_skew_seconds",
    ] {
        assert!(page.value(name, "").is_nan(), "{name}");
    }
    let busy = page.value("gateway_slots_busy", "");
    assert!((1.0..=9.0).contains(&busy), "this connection's own: {busy}");
    let uptime = page.value("gateway_uptime_seconds", "");
    assert!(uptime > 0.0 && page.value("gateway_key_set_age_seconds", "") >= uptime);

    client.send(&request("HEAD /metrics", &[], b""));
    let (status, head) = client.head();
    assert_eq!(status, 200);
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    // Nothing of a body came: the next answer begins at once.
    scrape_on(&mut client);
}

#[test]
fn each_request_moves_its_own_counts_and_no_others() {
    const JUDGED: &str = "gateway_judgement_duration_seconds_count";
    const ANSWERED: &str = "gateway_answer_duration_seconds_count";
    let gateway = Gateway::start(&[]);
    let token = message(&[("iat", json!(now() - 100))]);
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, "A".repeat(86));
    let other = |name, value| post(&message(&[(name, value)]));
    let json = ("Content-Type", "application/json");
    let mut client = gateway.client();
    let mut before = scrape_on(&mut client).counts();
    for (name, bytes, moved) in [
        (
            "new",
            post(&token),
            &["gateway_messages_total accepted", JUDGED, ANSWERED][..],
        ),
        (
            "again",
            post(&token),
            &["gateway_messages_total duplicate", JUDGED, ANSWERED],
        ),
        (
            "forged",
            post(&forged),
            &["gateway_refusals_total bad_signature", JUDGED, ANSWERED],
        ),
        (
            "for another",
            other("aud", json!("x")),
            &["gateway_refusals_total wrong_audience", JUDGED, ANSWERED],
        ),
        (
            "expired",
            post(&message(&[
                ("iat", json!(now() - 200)),
                ("exp", json!(now() - 50)),
            ])),
            &["gateway_refusals_total expired", JUDGED, ANSWERED],
        ),
        (
            "no JSON",
            request("POST /do", &[json], b"{"),
            &["gateway_refusals_total json_syntax", JUDGED, ANSWERED],
        ),
        (
            "no message",
            request("POST /do", &[json], b"{}"),
            &["gateway_refusals_total message_missing", JUDGED, ANSWERED],
        ),
        (
            "another type",
            request("POST /do", &[("Content-Type", "text/plain")], b"x"),
            &["gateway_refusals_total content_type"],
        ),
        (
            "no path of it",
            request("GET /gateway_x", &[], b""),
            &["gateway_refusals_total not_found"],
        ),
        (
            "no method of it",
            request("HEAD /do", &[], b""),
            &["gateway_refusals_total method_not_allowed"],
        ),
        (
            "another host",
            request("GET /metrics", &[("Host", "evil.example")], b""),
            &["gateway_refusals_total host_not_allowed"],
        ),
        (
            "a page's origin",
            request("GET /metrics", &[("Origin", "http://localhost:8080")], b""),
            &["gateway_refusals_total origin_not_allowed"],
        ),
        (
            "a preflight",
            request("OPTIONS /do", &[("Origin", EXTENSION)], b""),
            &[],
        ),
        ("the page", request("GET /", &[], b""), &[]),
        ("health", request("GET /healthcheck/ready", &[], b""), &[]),
        ("metrics", ask(), &[]),
    ] {
        client.send(&bytes);
        if bytes.starts_with(b"HEAD ") {
            client.head();
        } else {
            client.answer();
        }
        let after = scrape_on(&mut client).counts();
        let expected: BTreeMap<_, _> = before
            .iter()
            .map(|(name, count)| {
                let more = f64::from(u8::from(moved.contains(&name.as_str())));
                (name.clone(), count + more)
            })
            .collect();
        assert_eq!(after, expected, "{name}");
        assert!(moved.iter().all(|name| after.contains_key(*name)), "{name}");
        before = after;
    }
    // What is no request at all, on a connection that it ends.
    gateway.ask(b"\x16\x03\x01\r\n\r\n");
    let page = scrape_on(&mut client);
    assert_eq!(page.value("gateway_refusals_total", "head_malformed"), 1.0);
    assert_eq!(page.value("gateway_replay_entries", ""), 1.0);
    let skew = page.value("gateway_last_accepted_skew_seconds", "");
    assert!(
        (100.0..100.0 + PATIENCE.as_secs_f64()).contains(&skew),
        "{skew}"
    );
    let age = page.value("gateway_last_accepted_age_seconds", "");
    assert!(age < page.value("gateway_uptime_seconds", ""), "{age}");
}

#[test]
fn a_connection_is_open_until_it_meets_its_fate() {
    let (gateway, metrics) = apart(&[("GATEWAY_SLOTS", "2")]);
    gateway.settle();
    let ended = |page: &Page, fate: &str| page.value("gateway_connections_ended_total", fate);
    let base = scrape(metrics);
    for fate in ["idle", "late", "evicted", "turned_away", "broken", "failed"] {
        assert_eq!(ended(&base, fate), 0.0, "{fate}");
    }

    let (client, answered) = (ended(&base, "client"), ended(&base, "answered"));
    drop(gateway.client());
    scrape_until(metrics, |page| ended(page, "client") > client);
    let mut closing = gateway.client();
    closing.send(&request("GET /", &[("Connection", "close")], b""));
    closing.rest();
    scrape_until(metrics, |page| ended(page, "answered") > answered);

    let reset = std::net::TcpStream::connect(gateway.address).unwrap();
    scrape_until(metrics, |page| page.value("gateway_slots_busy", "") >= 1.0);
    let reset = Socket::from(reset);
    reset.set_linger(Some(core::time::Duration::ZERO)).unwrap();
    drop(reset);
    scrape_until(metrics, |page| ended(page, "broken") >= 1.0);

    // More than there are slots: the first has to go.
    let idle: Vec<_> = (0..3)
        .map(|_| {
            let mut client = gateway.client();
            client.send(&request("GET /", &[], b""));
            client.answer();
            client
        })
        .collect();
    scrape_until(metrics, |page| ended(page, "evicted") >= 1.0);
    drop(idle);
    // Half a request, for longer than there is time.
    let mut half = gateway.client();
    half.send(b"GET / HTTP/1.1\r\n");
    assert!(half.rest().starts_with("HTTP/1.1 408 "));
    let page = scrape_until(metrics, |page| ended(page, "late") >= 1.0);
    assert_eq!(page.value("gateway_refusals_total", "request_timeout"), 1.0);
}

#[test]
fn metrics_that_have_a_listener_are_there_alone() {
    let (gateway, metrics) = apart(&[("GATEWAY_HOSTS", "site.example")]);
    let site = ("Host", "site.example");
    let own = ("Host", "127.0.0.2:9100");
    let main = gateway.address;
    for (name, at, bytes, status) in [
        (
            "metrics there",
            metrics,
            request("GET /metrics", &[own], b""),
            200,
        ),
        (
            "by name",
            metrics,
            request("GET /metrics", &[site], b""),
            200,
        ),
        (
            "for the extension",
            metrics,
            request("GET /metrics", &[own, ("Origin", EXTENSION)], b""),
            200,
        ),
        ("not here", main, request("GET /metrics", &[site], b""), 404),
        ("page here", main, request("GET /", &[site], b""), 200),
        (
            "page not there",
            metrics,
            request("GET /", &[own], b""),
            404,
        ),
        (
            "health not there",
            metrics,
            request("GET /healthcheck/ready", &[own], b""),
            404,
        ),
        (
            "messages not there",
            metrics,
            request(
                "POST /do",
                &[own, ("Content-Type", "application/jose")],
                message(&[]).as_bytes(),
            ),
            404,
        ),
        (
            "reading only",
            metrics,
            request("POST /metrics", &[own], b""),
            405,
        ),
        (
            "another name",
            metrics,
            request("GET /metrics", &[("Host", "localhost")], b""),
            421,
        ),
        (
            "the other listener's name",
            main,
            request("GET /", &[own], b""),
            421,
        ),
        (
            "a page's origin",
            metrics,
            request("GET /metrics", &[own, ("Origin", "http://127.0.0.2")], b""),
            403,
        ),
        (
            "longer than a head",
            metrics,
            b"GET /metrics HTTP/1.1\r\nX: "
                .iter()
                .copied()
                .chain([b'x'; 9000])
                .collect(),
            431,
        ),
    ] {
        let mut client = Client::new(at);
        client.send(&bytes);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{name}");
        match status {
            200 => assert_eq!(answer.field("Vary"), Some("Origin"), "{name}"),
            405 => assert_eq!(answer.field("Allow"), Some("GET, HEAD"), "{name}"),
            _ => {}
        }
    }
    gateway.signal("TERM");
    let (status, closing) = gateway.ended();
    assert!(status.success(), "{closing}");
    assert!(
        closing.contains("4 not_found") && closing.contains("1 head_too_large"),
        "{closing}"
    );
}

#[test]
fn metrics_are_read_while_every_slot_is_taken() {
    let (gateway, metrics) = apart(&[("GATEWAY_SLOTS", "2")]);
    gateway.settle();
    let half = [(); 2].map(|()| {
        let mut client = gateway.client();
        client.send(b"G");
        client
    });
    let page = scrape_until(metrics, |page| page.value("gateway_slots_busy", "") == 2.0);
    assert_eq!(page.value("gateway_slots", ""), 2.0);
    drop(half);
}

#[test]
fn probes_and_readings_of_keys_are_counted_by_their_results() {
    let folder = Folder::new();
    let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
    let gateway = Gateway::start(&[("JWT_PUBLIC_KEY", &key)]);
    let reloads = |page: &Page, result| page.value("gateway_key_reloads_total", result);
    gateway.settle();
    assert!(scrape(gateway.address).value("gateway_probes_total", "good") >= 1.0);
    gateway.signal("HUP");
    let page = scrape_until(gateway.address, |page| reloads(page, "good") >= 1.0);
    assert_eq!(reloads(&page, "bad"), 0.0);
    folder.file("key.jwk", "half a ke", 0o600);
    gateway.signal("HUP");
    let page = scrape_until(gateway.address, |page| reloads(page, "bad") >= 1.0);
    assert_eq!(page.value("gateway_keys", ""), 1.0, "the old ones stay");
    assert_eq!(page.value("gateway_probes_total", "bad"), 0.0);
}

#[test]
fn lines_that_a_stalled_console_loses_are_counted() {
    let gateway = Unread::start();
    let mut client = Client::new(gateway.address);
    assert_eq!(
        scrape_on(&mut client).value("gateway_log_lines_lost_total", ""),
        0.0
    );
    // The pipe takes 64 KiB, the queue 256 KiB; each line has 3 KB.
    let filler = "x".repeat(3000);
    for _ in 0..200 {
        client.send(&post(&message(&[(
            "parameters",
            json!({"filler": filler}),
        )])));
        assert_eq!(client.answer().outcome(), "accepted");
    }
    let page = scrape_on(&mut client);
    let lost = page.value("gateway_log_lines_lost_total", "");
    assert!((1.0..200.0).contains(&lost), "{lost}");
    assert_eq!(page.value("gateway_messages_total", "accepted"), 200.0);
    assert!(gateway.stop().success());
}
