//! The command line.

mod choice;
mod minimize;
mod model;
#[cfg(feature = "planted-bugs")]
mod planted;
mod replay;
mod report;
mod run;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

const HELP: &str = "\
Examples:
  nemcon-sim run --seeds 0..10000
  nemcon-sim run --seeds 0..1000000 --nodes 2+4 --faults crash,network
  nemcon-sim replay --seed 3053 --until 700
  nemcon-sim minimize --seed 3053 --out small.json
  nemcon-sim replay --plan small.json
  nemcon-sim model --scenario two-crashes --crashes 3

Exit codes: 0 all held, 1 something did not, 2 bad usage.";

/// The simulator of nemcon.
#[derive(Debug, Parser)]
#[command(name = "nemcon-sim", version, propagate_version = true, after_help = HELP)]
#[command(
    about = "Drives the real machines of nemcon through simulated worlds where all goes wrong"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds, and say what was reached.
    Run(run::Args),
    /// Run one seed, or a plan from a file, and tell its story.
    Replay(replay::Args),
    /// Make the plan of a failing seed smaller, while it fails in the same way.
    Minimize(minimize::Args),
    /// Take every schedule of small clusters.
    Model(model::Args),
    /// Let the machines make each planted mistake, and see that it is caught.
    #[cfg(feature = "planted-bugs")]
    Planted(planted::Args),
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Minimize(args) => minimize::run(&args),
        Command::Model(args) => model::run(&args),
        #[cfg(feature = "planted-bugs")]
        Command::Planted(args) => planted::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "nemcon-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Why nothing was run.
type Error = Box<dyn std::error::Error>;

/// Writes a line of results. A reader that has gone has seen what it wanted.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Cores of this machine.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
