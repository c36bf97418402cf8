//! `cargo bench --manifest-path gateway-min/benches/Cargo.toml`
//!
//! Contenders are sampled in turns of a few milliseconds, so that whatever else the
//! machine does falls on all alike; what counts is the ratio of medians within one run.

use std::{hint::black_box, time::Instant};

use gateway_bench::Bench;
use gateway_min::Scratch;

const ROUNDS: usize = 400;
const CALLS: u32 = 40;

type Contender<'a> = (&'static str, Box<dyn FnMut() -> bool + 'a>);

fn race(title: &str, mut contenders: Vec<Contender<'_>>) {
    let mut samples = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for (name, contender) in &mut contenders {
        assert!(contender(), "{name} refuses a good token");
    }
    for _ in 0..ROUNDS {
        for ((_, contender), samples) in contenders.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(contender());
            }
            samples.push(start.elapsed().as_secs_f64() / f64::from(CALLS) * 1e6);
        }
    }
    println!("\n{title}: median of {ROUNDS} samples of {CALLS} calls, taken in turns\n");
    println!("| contender | µs | ours ÷ it |\n|---|---|---|");
    let medians: Vec<f64> = samples
        .iter_mut()
        .map(|samples| {
            samples.sort_by(f64::total_cmp);
            samples[ROUNDS / 2]
        })
        .collect();
    for ((name, _), median) in contenders.iter().zip(&medians) {
        println!("| {name} | {median:.1} | {:.2} |", medians[0] / median);
    }
}

fn main() {
    let bench = Bench::new();
    let (aws_lc, mut scratch) = (bench.aws_lc_key(), Box::new(Scratch::new()));
    race(
        "Verification, 700 signed bytes",
        vec![
            ("gateway-min (tables)", Box::new(|| bench.verify_ours())),
            ("ed25519-dalek verify", Box::new(|| bench.verify_dalek())),
            ("ed25519-dalek verify_strict", Box::new(|| bench.verify_dalek_strict())),
            ("ring", Box::new(|| bench.verify_ring())),
            ("aws-lc-rs", Box::new(|| bench.verify_aws_lc(&aws_lc))),
        ],
    );
    let (jsonwebtoken, simple, compact) = (bench.jsonwebtoken_key(), bench.jwt_simple_key(), bench.jwt_compact_key());
    race(
        "Whole token: parse, verify, judge times, issuer and audience",
        vec![
            ("gateway-min", Box::new(|| bench.token_ours(&mut scratch))),
            ("jsonwebtoken (rust_crypto)", Box::new(|| bench.token_jsonwebtoken(&jsonwebtoken))),
            ("jwt-simple (pure-rust)", Box::new(|| bench.token_jwt_simple(&simple))),
            ("jwt-compact (ed25519-dalek)", Box::new(|| bench.token_jwt_compact(&compact))),
        ],
    );
}
