//! The `nemcon-sim` command: runs seeds, tells their stories, makes failures
//! smaller, and proves that planted mistakes are caught.
//!
//! Exit codes: 0 all held, 1 something did not, 2 bad usage.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
