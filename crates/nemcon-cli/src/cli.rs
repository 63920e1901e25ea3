//! The command line.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use nemcon_client::Address;

use crate::failure::{Exit, Failure, complain};
use crate::{
    backup, bank, bench, damage, in_doubt, locks, participants, plot, restore, saga, stats, txn,
    up, waits, wal,
};

/// End of the help text.
const HELP: &str = "\
Begin with:
  nemcon up
  nemcon bank open bank-a/alice --currency CZK --opening-balance 100.00
  nemcon bank open bank-b/bob --currency CZK
  nemcon bank transfer bank-a/alice bank-b/bob 25.00
  nemcon bank audit

Exit codes:
  0 done
  1 refused or aborted: it has not happened
  2 bad usage
  3 outcome unknown: it may have happened; ask with `nemcon txn show`; or a saga is stuck
  4 unreachable: it has not happened";

/// Starts a cluster, moves money, looks at transactions
#[derive(Debug, Parser)]
#[command(name = "nemcon", version, propagate_version = true, after_help = HELP)]
#[command(about = "Atomic commit across services: starts a cluster, moves money, looks inside")]
struct Cli {
    /// The coordinator to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "NEMCON_COORDINATOR",
        default_value = "http://127.0.0.1:7100",
        help_heading = "Global options"
    )]
    coordinator: Address,
    #[command(subcommand)]
    command: Command,
}

/// The commands. Each module keeps its own, and runs them.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster in this process, on this machine
    #[command(after_help = up::HELP)]
    Up(up::Up),
    /// Accounts and money: open, close, accounts, show, transfer, replay, audit
    #[command(subcommand, arg_required_else_help = true)]
    Bank(bank::Command),
    /// Transactions: run, list, show, watch, abort
    #[command(subcommand, arg_required_else_help = true)]
    Txn(txn::Command),
    /// Transactions that belong together: start, list, show, watch, cancel, resume, resolve
    #[command(subcommand, arg_required_else_help = true)]
    Saga(saga::Command),
    /// Who takes part: list, check, remove
    #[command(subcommand, arg_required_else_help = true)]
    Participants(participants::Command),
    /// Promises without a known outcome: list, resolve
    #[command(subcommand, arg_required_else_help = true)]
    InDoubt(in_doubt::Command),
    /// Decisions by hand that were wrong: list, acknowledge
    #[command(subcommand, arg_required_else_help = true)]
    Damage(damage::Command),
    /// Who holds what at the participants, and who waits for it
    #[command(after_help = locks::HELP)]
    Locks(locks::Locks),
    /// Who waits for whom, at all participants
    #[command(after_help = waits::HELP)]
    Waits(waits::Waits),
    /// Pictures, as SVG or PNG: latency, throughput, waits
    #[command(subcommand, arg_required_else_help = true)]
    Plot(plot::Command),
    /// How many transactions, how they ended, and how long they took
    #[command(after_help = stats::HELP)]
    Stats(stats::Stats),
    /// Copy a node's data directory while the node works
    #[command(after_help = backup::HELP)]
    Backup(backup::Backup),
    /// Make a data directory of a backup
    #[command(after_help = restore::HELP)]
    Restore(restore::Restore),
    /// Put a load on a cluster and measure it: transfer, smallbank, empty, read
    #[command(after_help = bench::HELP)]
    Bench(bench::Bench),
    /// The log of a node that is stopped: verify, dump, repair
    #[command(subcommand, arg_required_else_help = true)]
    Wal(wal::Command),
}

/// Reads the command line, runs the command, and says what was wrong.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let ended = match run(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            complain(&failure);
            failure.exit()
        }
    };
    ended.into()
}

/// Runs a command on a runtime of one thread: the nodes of `nemcon up` bring their
/// own. The futures are boxed since some are large and only one is run.
fn run(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::System {
        doing: "start a runtime",
        source,
    })?;
    let Cli {
        coordinator,
        command,
    } = cli;
    runtime.block_on(async {
        match command {
            Command::Up(arguments) => Box::pin(up::run(arguments)).await,
            Command::Bank(command) => Box::pin(bank::run(command, &coordinator)).await,
            Command::Txn(command) => Box::pin(txn::run(command, &coordinator)).await,
            Command::Saga(command) => Box::pin(saga::run(command, &coordinator)).await,
            Command::Participants(command) => {
                Box::pin(participants::run(command, &coordinator)).await
            }
            Command::InDoubt(command) => Box::pin(in_doubt::run(command, &coordinator)).await,
            Command::Damage(command) => Box::pin(damage::run(command, &coordinator)).await,
            Command::Locks(arguments) => Box::pin(locks::run(arguments, &coordinator)).await,
            Command::Waits(arguments) => Box::pin(waits::run(arguments, &coordinator)).await,
            Command::Plot(command) => Box::pin(plot::run(command, &coordinator)).await,
            Command::Stats(arguments) => Box::pin(stats::run(arguments, &coordinator)).await,
            Command::Backup(arguments) => Box::pin(backup::run(arguments, &coordinator)).await,
            Command::Restore(arguments) => restore::run(&arguments),
            Command::Bench(arguments) => Box::pin(bench::run(arguments, &coordinator)).await,
            Command::Wal(command) => wal::run(&command),
        }
    })
}

/// Help is printed as it is; a mistake becomes one line, like every other error.
fn misunderstood(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that has gone is no reason to complain.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            })
        }
        _ => {
            eprintln!("nemcon: {}", one_line(&error.to_string()));
            Exit::Usage.into()
        }
    }
}

/// What clap says over several lines. The usage that follows is in the help.
fn one_line(rendered: &str) -> String {
    let said = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let said = said.lines().take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.starts_with("For more information"));
    let words: Vec<&str> = said.flat_map(str::split_whitespace).collect();
    format!("{}; --help tells more", words.join(" "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn mistake(line: &str) -> String {
        let arguments = std::iter::once("nemcon").chain(line.split_whitespace());
        one_line(&Cli::try_parse_from(arguments).unwrap_err().to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_name_the_value_and_what_is_allowed_on_one_line() {
        for (line, parts) in [
            ("bank transfer a/x b/y 1,50", ["1,50", "at most two places"]),
            ("bank transfer a/x b/y -5", ["-5", "not more than 0.00"]),
            ("bank transfer a/x y 5", ["'y'", "BANK/ACCOUNT"]),
            ("bank open a/x --currency czk", ["czk", "three letters"]),
            ("bank open a/x", ["--currency <CODE>", "not provided"]),
            ("--coordinator localhost txn list", ["localhost", "http://"]),
            ("txn show 7", ["'7'", "version 7"]),
            ("txn list --state done", ["done", "committed"]),
            ("saga show 7", ["'7'", "version 7"]),
            ("saga list --state done", ["done", "completed"]),
            ("up --banks a,b!", ["b!", "1 to 64 characters"]),
            ("up --port-base 70000", ["70000", "65535"]),
            (
                "bank replay f --home h --opening-balance 1 --in-flight 0",
                ["0", "1..=4096"],
            ),
            (
                "bank replay f --home h --opening-balance -1",
                ["-1", "less than 0.00"],
            ),
            ("frobnicate", ["frobnicate", "unrecognized subcommand"]),
        ] {
            let said = mistake(line);
            for part in parts {
                assert!(said.contains(part), "{line}: {said}");
            }
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
        }
    }

    #[test]
    fn the_coordinator_can_be_named_before_and_after_the_command() {
        for line in [
            "--coordinator http://a:1 txn list",
            "txn list --coordinator http://a:1",
        ] {
            let arguments = std::iter::once("nemcon").chain(line.split_whitespace());
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.coordinator.to_string(), "http://a:1");
        }
    }
}
