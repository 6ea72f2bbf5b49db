//! The `rtcomm` binary.

fn main() {}
