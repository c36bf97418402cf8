//! The armhf package inside a real ARM kernel.

use board::{Clock, Machine, Message, Setup, fill_every_slot, load, now};

/// The budgets of the design, in KiB; but for the first, which is 1,536 there: with journal
/// and TLS built in, 1,568 were measured on a busy machine. Not to grow.
const IDLE: u32 = 1664;
const LOADED: u32 = 2560;
const EVERY_SLOT: u32 = 5120;

/// As many requests as the command `board memory` sends ten times of: enough for the
/// memory of messages to fill and every buffer to have grown.
const REQUESTS: u32 = 10_000;

#[test]
fn memory_stays_within_its_budgets() {
    let mut machine = Machine::boot(&Setup {
        settings: &[("GATEWAY_PER_ADDRESS", "64")],
        ..Setup::default()
    });
    machine.start();
    machine.ready();
    let idle = machine.memory();
    assert!(idle.resident <= IDLE, "idle: {idle:?}");

    load(machine.address(), "load", REQUESTS);
    let loaded = machine.memory();
    assert!(
        loaded.peak <= LOADED,
        "after {REQUESTS} requests: {loaded:?}"
    );

    fill_every_slot(machine.address(), 64);
    let filled = machine.memory();
    assert!(filled.peak <= EVERY_SLOT, "every slot used: {filled:?}");
    // No thread beyond those of the start.
    assert_eq!(filled.threads, idle.threads);
}

/// A Pi has no clock battery.
#[test]
fn a_board_of_1970_judges_nothing_until_its_clock_is_set() {
    let mut machine = Machine::boot(&Setup {
        clock: Clock::Unset,
        ..Setup::default()
    });
    let year = machine.run("date -u +%Y");
    assert_eq!(year, "1970");
    machine.start();
    let (ready, _) = machine.try_run("asked /healthcheck/ready");
    assert!(!ready);
    let token = Message::new("early").sign();
    let answer = machine.client().post(&token).unwrap();
    assert_eq!(answer.said(), (503, "clock_not_set".to_owned()));

    machine.run(&format!("date -u -s @{}", now()));
    machine.ready();
    let answer = machine.client().post(&token).unwrap();
    assert_eq!(answer.said(), (200, "accepted".to_owned()));
}
