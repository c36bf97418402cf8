//! Crowds that hold connections while a good client works: idle, dripping, the four ways
//! of `slowhttptest`, from other addresses and from its own, and more of them than there
//! are file descriptors.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    crowd::{Crowd, Manner, good_messages},
    either, full,
    support::Gateway,
    vitals::{Vitals, next_good_request},
};

const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Good messages during an attack.
const MESSAGES: usize = 200;

/// How far apart good messages are: they fill a minute in the long form.
fn apart() -> Duration {
    either(Duration::from_millis(5), Duration::from_millis(300))
}

/// An attack by `size` in their `manner` while good messages are sent: all are answered.
#[track_caller]
fn hold_out(size: usize, a_second: usize, manner: Manner, from: Ipv4Addr) {
    let gateway = Gateway::start(&[]);
    let before = Vitals::at_rest(&gateway);
    let crowd = Crowd::gather(gateway.address, from, size, a_second, manner);
    crowd.has_opened(size);
    let fared = good_messages(gateway.address, GOOD, MESSAGES, apart());
    let under = Vitals::of(&gateway);
    let opened = crowd.leave();
    let name = format!("{size} {manner:?} from {from}");
    println!(
        "{name}: {opened} connections opened, {} of {MESSAGES} answered, median {:.1?}, p99 {:.1?}, longest {:.1?}, {} KiB more meanwhile",
        fared.answered(),
        fared.percentile(50),
        fared.percentile(99),
        fared.percentile(100),
        under.kib.saturating_sub(before.kib),
    );
    assert_eq!(fared.failed, Vec::<String>::new(), "{name}");
    assert_eq!(fared.answered(), MESSAGES, "{name}");
    next_good_request(&gateway, &name);
    before.come_back(&gateway, &name);
}

/// The sizes of both forms: how many, and how many connect in a second.
fn crowd() -> (usize, usize) {
    either((300, 1000), (5000, 1000))
}

#[test]
fn an_idle_crowd_elsewhere() {
    let (size, a_second) = crowd();
    hold_out(size, a_second, Manner::Idle, BAD);
}

#[test]
fn an_idle_crowd_at_the_same_address() {
    let (size, a_second) = crowd();
    hold_out(size, a_second, Manner::Idle, GOOD);
}

#[test]
fn a_dripping_crowd_elsewhere() {
    let (size, a_second) = crowd();
    hold_out(size, a_second, Manner::Dripping, BAD);
}

#[test]
fn a_dripping_crowd_at_the_same_address() {
    let (size, a_second) = crowd();
    hold_out(size, a_second, Manner::Dripping, GOOD);
}

#[test]
fn slow_crowds_of_four_kinds() {
    let size = either(200, 1000);
    for manner in [
        Manner::Headers,
        Manner::Body,
        Manner::Ranges,
        Manner::Reading,
    ] {
        hold_out(size, size, manner, BAD);
        hold_out(size, size, manner, GOOD);
    }
}

/// The tool itself takes a minute for each mode; the test above does the same by own code.
#[test]
fn slowhttptest_in_its_four_modes() {
    if !full() {
        return;
    }
    for mode in ["-H", "-B", "-R", "-X"] {
        let gateway = Gateway::start(&[]);
        let before = Vitals::at_rest(&gateway);
        let url = format!("http://{}/do", gateway.address);
        let mut tool = Command::new("slowhttptest")
            .args([
                "-c", "1000", mode, "-i", "1", "-r", "200", "-l", "60", "-p", "1",
            ])
            .args(["-u", &url])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let fared = good_messages(gateway.address, BAD, MESSAGES, apart());
        tool.kill().ok();
        tool.wait().unwrap();
        println!(
            "slowhttptest {mode}: {} of {MESSAGES} answered, median {:.1?}, p99 {:.1?}, longest {:.1?}",
            fared.answered(),
            fared.percentile(50),
            fared.percentile(99),
            fared.percentile(100),
        );
        assert_eq!(fared.failed, Vec::<String>::new(), "{mode}");
        next_good_request(&gateway, mode);
        before.come_back(&gateway, mode);
    }
}

/// More connections are welcome than there are file descriptors for: the newest still win,
/// and nobody but the gateway closes any.
#[test]
fn more_connections_than_file_descriptors() {
    let settings = [("GATEWAY_SLOTS", "512"), ("GATEWAY_PER_ADDRESS", "512")];
    let gateway = Gateway::start_within("-n 256", &settings);
    let before = Vitals::at_rest(&gateway);
    let crowd = Crowd::gather(gateway.address, BAD, 1000, 1000, Manner::Idle);
    gateway.lines.wait_for("accept failed");
    let fared = good_messages(gateway.address, GOOD, either(20, MESSAGES), apart());
    let opened = crowd.leave();
    println!(
        "256 descriptors: {opened} connections opened, {} good answered, median {:.1?}, p99 {:.1?}",
        fared.answered(),
        fared.percentile(50),
        fared.percentile(99),
    );
    assert_eq!(fared.failed, Vec::<String>::new());
    let began = Instant::now();
    next_good_request(&gateway, "256 descriptors");
    before.come_back(&gateway, "256 descriptors");
    println!("256 descriptors: back after {:.1?}", began.elapsed());
}
