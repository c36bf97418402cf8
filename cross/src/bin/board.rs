//! Measures the packaged gateway on the emulated board, and cuts its power.
//!
//!     board memory REQUESTS      a row of cross/sizes.md for each state
//!     board power-cuts CUTS [SEED]
//!
//! `cross/sizes.sh` calls the first; the second is called by hand, with hundreds.

#![expect(clippy::print_stdout, reason = "the command's answer")]

use std::{env, process::ExitCode};

use board::{Machine, Setup, cut_power, fill_every_slot, load};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u32>().ok();
    match arguments.as_slice() {
        ["memory", requests] => {
            let Some(requests) = number(requests).filter(|count| count % 100 == 0) else {
                println!("a multiple of 100, not {requests}");
                return ExitCode::from(64);
            };
            memory(requests);
        }
        ["power-cuts", cuts, seed @ ..] => {
            let seed = seed.first().map_or(Some(1), |seed| number(seed));
            let (Some(cuts), Some(seed)) = (number(cuts), seed) else {
                println!("power-cuts takes one number or two");
                return ExitCode::from(64);
            };
            let result = cut_power(cuts, seed.into(), |cut, accepted| {
                println!("cut {cut}: {accepted} accepted before it");
            });
            println!(
                "{} power cuts, {} messages accepted, none lost; {} more were kept without their answer having come (seed {seed})",
                result.cuts, result.accepted, result.kept_unanswered
            );
        }
        _ => {
            println!("board memory REQUESTS | board power-cuts CUTS [SEED]");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn memory(requests: u32) {
    let mut machine = Machine::boot(&Setup {
        settings: &[("GATEWAY_PER_ADDRESS", "64")],
        ..Setup::default()
    });
    let started = machine.start();
    machine.ready();
    println!("| state | resident, KiB | of that not the program's file | highest | threads |");
    println!("|---|---|---|---|---|");
    let row = |state: &str, machine: &mut Machine| {
        let memory = machine.memory();
        println!(
            "| {state} | {} | {} | {} | {} |",
            memory.resident, memory.anonymous, memory.peak, memory.threads
        );
    };
    row("idle", &mut machine);
    let took = load(machine.address(), "load", requests);
    row(
        &format!("after {requests} requests over 4 connections"),
        &mut machine,
    );
    fill_every_slot(machine.address(), 64);
    row("after all 64 slots were used", &mut machine);
    println!();
    println!(
        "From switching on to the first process: {:.1} s. From starting the gateway to its first answer: {} ms. {requests} requests took {:.0} s, {:.0} in a second: times of an emulator on a shared machine.",
        machine.booted().as_secs_f64(),
        started.as_millis(),
        took.as_secs_f64(),
        f64::from(requests) / took.as_secs_f64()
    );
}
