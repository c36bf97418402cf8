//! The `gateway-min` command.
fn main() {}
