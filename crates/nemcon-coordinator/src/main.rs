//! The coordinator as a process.

use std::process::ExitCode;

use nemcon_coordinator::Settings;
use nemcon_node::process::{self, Program};

/// See `docs/decisions/0013-allocator.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PROGRAM: Program = Program {
    name: "nemcon-coordinator",
    version: env!("CARGO_PKG_VERSION"),
    about: "Runs transactions across services that each own their data: everywhere, or nowhere",
    examples: "\
Examples:
  nemcon-coordinator
      On port 7100 of this machine, with its log in ./nemcon-data/coordinator.
  nemcon-coordinator --listen 127.0.0.1:0 --data-dir /tmp/c1 --ready-file /tmp/c1.url
      On any free port; the file says which once it serves.
  nemcon-coordinator --listen 0.0.0.0:7100 --insecure --advertise http://coordinator:7100
      For other machines, on a network that is trusted: there is no TLS yet.

Participants register themselves: start them with --coordinator and the URL above.
SIGTERM or ctrl-c drains and stops it; a second one stops it at once, which is safe too.",
};

fn main() -> ExitCode {
    process::run(
        PROGRAM,
        Settings::fields(),
        Settings::parse,
        nemcon_coordinator::start,
    )
}
