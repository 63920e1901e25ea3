//! An inventory as a process.

use std::process::ExitCode;

use nemcon_node::process::{self, Program};
use nemcon_participant::Settings;

const PROGRAM: Program = Program {
    name: "nemcon-inventory",
    version: env!("CARGO_PKG_VERSION"),
    about: "An inventory: reserves seats, rooms and other things that are counted",
    examples: "Example, beside the one of all defaults:\n  nemcon-inventory --name hotels \\\n      \
               --listen 127.0.0.1:7150 --data-dir nemcon-data/hotels",
};

fn main() -> ExitCode {
    let fields = Settings::fields("flights", "127.0.0.1:7140", "nemcon-data/flights");
    process::run(PROGRAM, fields, Settings::parse, nemcon_inventory::start)
}
