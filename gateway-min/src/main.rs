//! The `gateway-min` command: everything it does is in [`gateway_min::daemon`].

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    gateway_min::daemon::main(env::args_os().skip(1), env::vars_os())
}
