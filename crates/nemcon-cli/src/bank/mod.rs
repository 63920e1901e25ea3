//! `nemcon bank`: accounts and money.
//!
//! Everything here goes through the coordinator, as a transaction of bank
//! actions. The banks themselves are asked only for what they alone know: what is
//! in doubt there.

mod accounts;
mod audit;
mod books;
mod transfer;

use clap::{Args, Subcommand};
use nemcon_client::Address;
use nemcon_core::id::ParticipantName;
use nemcon_ledger::money::Currency;
use nemcon_ledger::name::{Owner, Reference};

use crate::failure::{Exit, Failure};
use crate::money::{Minor, positive};
use crate::path::AccountPath;
use crate::replay;
use crate::session::Session;

pub(crate) use transfer::payment;

/// Said at the end of every help text that is about money.
const ABOUT_AMOUNTS: &str = "\
Accounts are named BANK/ACCOUNT. Amounts are decimals with at most two places (25, 25.00, .80); \
every currency is taken to have 100 minor units.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open an account
    #[command(after_help = format!("\
Examples:
  nemcon bank open bank-a/alice --currency CZK --opening-balance 100.00
  nemcon bank open bank-b/bob --currency CZK --owner 'Bob Novák' --minimum-balance -50.00

{ABOUT_AMOUNTS}"))]
    Open(Open),
    /// Close an account whose balance is zero, for ever
    #[command(after_help = "Example:\n  nemcon bank close bank-a/alice")]
    Close(Close),
    /// List accounts
    #[command(after_help = "\
Examples:
  nemcon bank accounts
  nemcon bank accounts --bank bank-a --json")]
    Accounts(Accounts),
    /// Show an account: its balance and its last entries
    #[command(after_help = "\
Example:
  nemcon bank show bank-a/alice --entries 20")]
    Show(Show),
    /// Move money from an account to another, at the same bank or between banks
    #[command(after_help = format!("\
Examples:
  nemcon bank transfer bank-a/alice bank-b/bob 25.00
  nemcon bank transfer bank-a/alice bank-b/bob .80 --reference order-7

With a --reference the same payment can be asked for again without paying twice: a repeat is \
refused with DUPLICATE_REFERENCE, and names the transaction that paid.

{ABOUT_AMOUNTS}"))]
    Transfer(Transfer),
    /// Pay the orders in a file, each as a transaction; safe to run again
    #[command(after_help = replay::HELP)]
    Replay(replay::Replay),
    /// Add up all books of all banks in one transaction, and check them
    #[command(after_help = "\
Examples:
  nemcon bank audit
  nemcon bank audit --json

Within each bank and currency customers + cash + clearing must be 0, and clearing must be 0 over \
all banks; otherwise the exit code is 1. Totals count customers' accounts. In the JSON, \
total_minor is the total of the only currency there is (0 without any); with several currencies \
it is null, and `currencies` has a total for each.

An audit locks all accounts of a bank at once: a bank that has 10,000 or more refuses it \
(TOO_MANY_LOCKS) unless it was started with a larger --locks-max.")]
    Audit(Audit),
}

/// What to open.
#[derive(Debug, Args)]
pub(crate) struct Open {
    /// The account to open
    #[arg(value_name = "BANK/ACCOUNT")]
    pub(crate) path: AccountPath,
    /// ISO 4217 code of the currency it is kept in
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Currency,
    /// What is paid in, in cash
    #[arg(
        long,
        value_name = "AMOUNT",
        default_value = "0.00",
        allow_hyphen_values = true
    )]
    pub(crate) opening_balance: Minor,
    /// What the balance must not go under; at most 0.00
    #[arg(
        long,
        value_name = "AMOUNT",
        default_value = "0.00",
        allow_hyphen_values = true
    )]
    pub(crate) minimum_balance: Minor,
    /// Whose account it is
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) owner: Owner,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to close.
#[derive(Debug, Args)]
pub(crate) struct Close {
    /// The account to close
    #[arg(value_name = "BANK/ACCOUNT")]
    pub(crate) path: AccountPath,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct Accounts {
    /// Only those at this bank
    #[arg(long, value_name = "NAME")]
    pub(crate) bank: Option<ParticipantName>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The account to show
    #[arg(value_name = "BANK/ACCOUNT")]
    pub(crate) path: AccountPath,
    /// How many of the last entries; banks keep 100
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) entries: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to move, and where.
#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The paying account
    #[arg(value_name = "FROM")]
    pub(crate) from: AccountPath,
    /// The receiving account
    #[arg(value_name = "TO")]
    pub(crate) to: AccountPath,
    /// How much
    #[arg(value_name = "AMOUNT", value_parser = positive, allow_hyphen_values = true)]
    pub(crate) amount: Minor,
    /// Currency [default: that of the paying account]
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// A name of your own for this payment, unique on both accounts for their life
    #[arg(long, value_name = "TEXT")]
    pub(crate) reference: Option<Reference>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to report.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs a bank command.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator);
    match command {
        Command::Open(arguments) => accounts::open(&session.await?, arguments).await,
        Command::Close(arguments) => accounts::close(&session.await?, arguments).await,
        Command::Accounts(arguments) => accounts::list(&session.await?, arguments).await,
        Command::Show(arguments) => accounts::show(&session.await?, arguments).await,
        Command::Transfer(arguments) => transfer::run(&session.await?, arguments).await,
        Command::Audit(arguments) => audit::run(&session.await?, arguments).await,
        // It waits for coordinator and banks, and has a patience of its own.
        Command::Replay(arguments) => replay::run(arguments, coordinator).await,
    }
}
