//! A bank as a process.

use std::process::ExitCode;

use nemcon_node::process::{self, Program};

/// See `docs/decisions/0013-allocator.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PROGRAM: Program = Program {
    name: "nemcon-bank",
    version: env!("CARGO_PKG_VERSION"),
    about: "A bank: keeps accounts, and moves money between banks by two-phase commit",
    examples: "\
Examples:
  nemcon-bank
      Bank bank-a on port 7110 of this machine, its books in ./nemcon-data/bank-a,
      with the coordinator on port 7100.
  nemcon-bank --name bank-b --listen 127.0.0.1:7120 --data-dir nemcon-data/bank-b
      A second bank beside it. Each needs a name, a port and a directory of its own.
  nemcon-bank --listen 0.0.0.0:7110 --insecure --advertise http://bank-a:7110 \\
      --coordinator http://coordinator:7100
      For other machines, on a network that is trusted: there is no TLS yet.

With several --coordinator, transfers go to the first one, since only that one knows what
became of a transfer that is sent again; reads go to the first one that answers. Keep
their order.
The bank registers itself, and goes on trying while a coordinator is down.
SIGTERM or ctrl-c drains and stops it; a second one stops it at once, which is safe too.",
};

fn main() -> ExitCode {
    process::run(
        PROGRAM,
        nemcon_bank::fields(),
        nemcon_bank::Settings::parse,
        nemcon_bank::start,
    )
}
