//! The binary: nothing here but the way from the arguments to an exit code.

fn main() {}
