//! Good requests, damaged: bytes turned, line ends and NULs put in, fields doubled, ends
//! cut off, two requests joined in the middle, and all of it in pieces. Behind each comes a
//! message of its own. The gateway lives, every connection ends, and what comes back is a
//! row of whole answers in the order of what was asked.

use std::{
    io::Write,
    net::{Ipv4Addr, Shutdown, TcpStream},
};

use serde_json::json;

use crate::{
    answers::{cut, everything},
    crowd::connect,
    either,
    support::{EXTENSION, Gateway, header, message, post, post_jose, request},
    vitals::{Vitals, next_good_request},
};

/// Of the first case; each has one of its own, which a failure names.
const SEED: u64 = 0x5eed_2026_1121_0001;

/// A small generator (SplitMix64): the same cases everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.roll() % end).unwrap()
    }
}

/// Requests that are good; none is to HEAD, whose answer has no body.
fn good() -> Vec<Vec<u8>> {
    let token = message(&[("jti", json!("good-1"))]);
    let other = message(&[("jti", json!("good-2"))]);
    let body = json!({"message": token}).to_string();
    let unsigned = format!(
        "{}.e30.{}",
        crate::signer::b64(header().as_bytes()),
        "A".repeat(86)
    );
    vec![
        post(&token),
        post_jose(other.as_bytes()),
        post(&unsigned),
        request("GET /", &[], b""),
        request(
            "GET /healthcheck/live?a=b",
            &[("Connection", "keep-alive")],
            b"",
        ),
        request(
            "OPTIONS /do",
            &[
                ("Origin", EXTENSION),
                ("Access-Control-Request-Method", "POST"),
            ],
            b"",
        ),
        request(
            "POST /do",
            &[
                ("Content-Type", "application/json"),
                ("Expect", "100-continue"),
            ],
            body.as_bytes(),
        ),
        [request("GET /", &[], b""), post(&other)].concat(),
    ]
}

/// Damages one of `good`, perhaps more than once.
fn damaged(good: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good[dice.below(good.len())].clone();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.roll().to_le_bytes()[0],
            2 => {
                let what: &[u8] =
                    [&b"\r"[..], b"\n", b"\0", b"\r\n", b"\r\n\r\n", b" ", b"\t"][dice.below(7)];
                bytes.splice(at..at, what.iter().copied());
            }
            3 => {
                let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let line = lines[dice.below(lines.len())].to_vec();
                let before = lines[..dice.below(lines.len())].concat().len();
                bytes.splice(before..before, line);
            }
            4 => bytes.truncate(at),
            5 => {
                let other = &good[dice.below(good.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[dice.below(other.len())..]);
            }
            6 => bytes.extend_from_slice(&good[dice.below(good.len())]),
            _ => {
                bytes.remove(at);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

/// Sends in up to four pieces.
fn send(mut stream: &TcpStream, mut bytes: &[u8], dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let (piece, rest) = bytes.split_at(dice.below(bytes.len()));
        // The gateway may have answered and closed.
        if stream.write_all(piece).is_err() {
            return;
        }
        bytes = rest;
    }
    stream.write_all(bytes).ok();
}

#[test]
fn damaged_requests_confuse_nobody() {
    let gateway = Gateway::start(&[("GATEWAY_REPLAY_CAPACITY", "65536")]);
    let before = Vitals::at_rest(&gateway);
    let good = good();
    let cases = either(3000, 100_000);
    let (mut answered, mut reached) = (0, 0);
    for case in 0..cases {
        let seed = SEED.wrapping_add(case);
        let mut dice = Dice(seed);
        // A third of the cases are whole, and only their pieces are odd.
        let whole = dice.below(3) == 0;
        let bytes = if whole {
            good[dice.below(good.len())].clone()
        } else {
            damaged(&good, &mut dice)
        };
        let jti = format!("probe-{}", case % 40_000);
        let probe = post(&message(&[("jti", json!(jti))]));
        let name = format!("seed {seed:#x}: {}", bytes.escape_ascii());
        let all = [&bytes[..], &probe].concat();
        let stream = connect(gateway.address, Ipv4Addr::LOCALHOST);
        send(&stream, &all, &mut dice);
        stream.shutdown(Shutdown::Write).ok();
        let answers = cut(&everything(&stream, &name), 0, &name);
        answered += answers.len();

        // No more answers than there are requests, of which each names its protocol, and
        // one to what is none.
        let asked = all.windows(5).filter(|five| *five == b"HTTP/").count();
        assert!(answers.len() <= asked + 1, "{name}: {answers:?}");
        // Only the last closes.
        let closing = answers.iter().position(|answer| answer.closes);
        assert!(
            closing.is_none_or(|at| at + 1 == answers.len()),
            "{name}: {answers:?}"
        );
        // The probe's answer is the last, and there is one.
        let probes = answers.iter().filter(|answer| answer.word == jti).count();
        let last = answers.last().is_some_and(|answer| answer.word == jti);
        assert!(probes == usize::from(last), "{name}: {answers:?}");
        if whole {
            assert!(last, "{name}: {answers:?}");
            assert!(answers.iter().all(|answer| !answer.closes), "{name}");
        }
        reached += usize::from(last);
    }
    println!(
        "{cases} damaged requests from seed {SEED:#x}: {answered} answers, {reached} of them to the message behind"
    );
    assert!(!gateway.lines.text().contains("panic"));
    next_good_request(&gateway, "damaged requests");
    before.come_back(&gateway, "damaged requests");
}
