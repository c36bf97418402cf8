//! Makes one contender work a given number of times, for an instruction count under
//! callgrind: see `benches/count.sh`.

use std::{hint::black_box, process::ExitCode};

use gateway_bench::Bench;
use gateway_min::Scratch;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let calls: u32 = arguments.next().and_then(|calls| calls.parse().ok()).unwrap_or(1);
    let bench = Bench::new();
    let aws_lc = bench.aws_lc_key();
    let jsonwebtoken = bench.jsonwebtoken_key();
    let (simple, compact) = (bench.jwt_simple_key(), bench.jwt_compact_key());
    let mut scratch = Box::new(Scratch::new());
    let mut call: Box<dyn FnMut() -> bool> = match name.as_str() {
        "verify-ours" => Box::new(|| bench.verify_ours()),
        "verify-dalek" => Box::new(|| bench.verify_dalek()),
        "verify-dalek-strict" => Box::new(|| bench.verify_dalek_strict()),
        "verify-ring" => Box::new(|| bench.verify_ring()),
        "verify-aws-lc" => Box::new(|| bench.verify_aws_lc(&aws_lc)),
        "token-ours" => Box::new(|| bench.token_ours(&mut scratch)),
        "token-jsonwebtoken" => Box::new(|| bench.token_jsonwebtoken(&jsonwebtoken)),
        "token-jwt-simple" => Box::new(|| bench.token_jwt_simple(&simple)),
        "token-jwt-compact" => Box::new(|| bench.token_jwt_compact(&compact)),
        _ => {
            eprintln!("no contender of that name: {name}");
            return ExitCode::FAILURE;
        }
    };
    if (0..calls).all(|_| black_box(call())) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
