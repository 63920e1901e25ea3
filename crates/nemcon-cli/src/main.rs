//! The nemcon command.
fn main() {}
