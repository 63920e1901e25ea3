//! `nemcon bank replay`: pays the orders in a file, each as a transaction.
//!
//! ```text
//!   FILE ─▶ orders ─▶ wait for the banks ─▶ open what is missing ─▶ run ─▶ summary
//! ```
//!
//! The order's id is the reference of both movements, and references are unique
//! on an account for its life. So the whole can be interrupted anywhere and run
//! again: what was paid is found to be paid, and nothing is paid twice, not even
//! by someone who has lost the transaction ids.

mod open;
mod orders;
mod queue;
mod run;
mod summary;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use nemcon_client::{Address, Client, Settings};
use nemcon_core::id::ParticipantName;
use nemcon_ledger::name::AccountName;
use tokio::time::sleep;

use crate::failure::{Exit, Failure};
use crate::money::Minor;
use crate::patience;
use crate::replay::orders::{Order, Orders};
use crate::replay::run::{Pace, Runner};

/// The currency of the orders: the file does not say, its source is Czech.
const CURRENCY: &str = "CZK";

/// How long banks are waited for, and how often they are looked for meanwhile.
const BANKS_MAX: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Most orders in flight: more would only wait in the coordinator's queue.
const IN_FLIGHT_MAX: i64 = 4_096;

/// End of the help text.
pub(crate) const HELP: &str = "\
The file is tab-separated, with a header line that names at least the columns order_id, \
account_id, bank_to, account_to and amount. An order pays from account_id at the --home bank to \
account_to at bank_to, in CZK, with its order_id as reference on both accounts. Accounts that are \
missing are opened first: paying ones with the opening balance, receiving ones with 0.00. A line \
that cannot be read is reported with its number, and the rest goes on.

Orders of one paying account are paid in the order of the file, one after the other; different \
accounts are paid side by side. With --in-flight 1 all of it goes in the order of the file.

It can be interrupted and run again at any time: an order that was paid before is not paid again \
and counts as already paid.

Exit codes: 0 every outcome is known, refusals included; 3 some outcome is not known: run it \
again; 4 coordinator or banks do not answer; 1 interrupted before the end; 2 the file or the \
command line makes no sense.

Example:
  nemcon bank replay orders.tsv --home bank-a --opening-balance 3000.00";

/// What to replay, and how.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// File with the orders
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The bank that keeps the paying accounts
    #[arg(long, value_name = "NAME")]
    home: ParticipantName,
    /// What a paying account starts with, if it has to be opened
    #[arg(long, value_name = "AMOUNT", value_parser = not_negative, allow_hyphen_values = true)]
    opening_balance: Minor,
    /// How many orders to have in flight
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=IN_FLIGHT_MAX))]
    in_flight: u16,
    /// How many orders to start in a second [default: as many as it takes]
    #[arg(long, value_name = "PER_S",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How long to try for one order before giving it up
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = patience::parse)]
    give_up_after: Duration,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// An opening balance: a paying account cannot begin in debt, since its minimum is
/// zero.
fn not_negative(text: &str) -> Result<Minor, String> {
    match text.parse::<Minor>() {
        Ok(Minor(..0)) => Err(format!("{text:?} is less than 0.00")),
        Ok(balance) => Ok(balance),
        Err(error) => Err(error.to_string()),
    }
}

/// The accounts that must be there, by bank, and what each starts with.
type Needs = BTreeMap<ParticipantName, BTreeMap<AccountName, Minor>>;

/// Runs it.
pub(crate) async fn run(arguments: Replay, coordinator: &Address) -> Result<Exit, Failure> {
    let Orders { orders, malformed } = read(&arguments)?;
    for line in &malformed {
        eprintln!("nemcon: {}: {line}", arguments.file.display());
    }
    let needs = needs(&orders, &arguments.home, arguments.opening_balance);
    let banks: Vec<&ParticipantName> = needs.keys().collect();
    let bar = stage("waiting for the banks");
    wait_for(&banks, coordinator).await?;
    bar.set_message("opening the accounts that are missing");

    let settings = Settings {
        give_up_after: arguments.give_up_after,
        ..Settings::default()
    };
    let in_flight = usize::from(arguments.in_flight);
    let client = Client::new(coordinator.clone(), settings).streaming(in_flight);
    let opened = open::missing(&client, needs, in_flight).await?;
    bar.finish_and_clear();

    let began = Instant::now();
    let runner = Runner {
        client,
        home: arguments.home,
        in_flight,
        pace: Pace::new(arguments.rate),
        bar: progress(orders.len()),
    };
    let mut summary = runner.run(orders).await;
    summary.malformed = malformed.len();
    summary.accounts_opened = opened;
    summary.took = began.elapsed();
    if arguments.json {
        crate::json::print(&summary.to_json());
    } else {
        summary.print();
    }
    Ok(summary.exit())
}

/// Reads the file before anybody is asked: one that makes no sense costs nothing.
fn read(arguments: &Replay) -> Result<Orders, Failure> {
    let unreadable = |source| Failure::Unreadable {
        path: arguments.file.clone(),
        source,
    };
    let file = File::open(&arguments.file).map_err(unreadable)?;
    orders::read(BufReader::new(file), &arguments.home).map_err(|error| match error {
        orders::FileError::Io(source) => unreadable(source),
        orders::FileError::Header(what) => Failure::Malformed {
            path: arguments.file.clone(),
            what,
        },
    })
}

/// Paying accounts start with the opening balance, also where they receive too.
fn needs(orders: &[Order], home: &ParticipantName, opening: Minor) -> Needs {
    let mut needs = Needs::from([(home.clone(), BTreeMap::new())]);
    for order in orders {
        let receiving = needs.entry(order.to.bank.clone()).or_default();
        receiving.entry(order.to.account.clone()).or_default();
    }
    let paying = needs.entry(home.clone()).or_default();
    for order in orders {
        paying.insert(order.from.clone(), opening);
    }
    needs
}

/// Waits until all banks are registered and answer.
async fn wait_for(banks: &[&ParticipantName], coordinator: &Address) -> Result<(), Failure> {
    let settings = Settings {
        give_up_after: BANKS_MAX,
        ..Settings::default()
    };
    let client = Client::new(coordinator.clone(), settings);
    let until = Instant::now() + BANKS_MAX;
    loop {
        let there = match client.participants().await {
            Ok(there) => there,
            Err(error) => return Err(nobody(coordinator, error)),
        };
        let answers = |bank: &ParticipantName| {
            there
                .iter()
                .any(|view| view.name == *bank && view.reachable)
        };
        let missing: Vec<ParticipantName> = banks
            .iter()
            .filter(|bank| !answers(bank))
            .map(|bank| (*bank).clone())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Failure::BanksMissing {
                names: missing,
                url: coordinator.to_string(),
                seconds: BANKS_MAX.as_secs(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Why the coordinator did not say who is registered.
fn nobody(coordinator: &Address, error: nemcon_client::ClientError) -> Failure {
    match error {
        nemcon_client::ClientError::Unreachable { why, .. } => Failure::NoCoordinator {
            url: coordinator.to_string(),
            why,
        },
        nemcon_client::ClientError::Protocol { what, .. } => Failure::NotACoordinator {
            url: coordinator.to_string(),
            what,
        },
        other => other.into(),
    }
}

/// What is being done before the first order, on standard error if that is a
/// terminal.
fn stage(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(LOOK_AGAIN);
    bar.set_message(what);
    bar
}

/// A bar on standard error, if that is a terminal.
fn progress(orders: usize) -> ProgressBar {
    let bar = ProgressBar::new(orders as u64);
    let style = "{bar:40} {pos}/{len} orders  {per_sec:>10}  {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_pay_and_receive_start_with_the_opening_balance() {
        let home: ParticipantName = "home".parse().unwrap();
        let text = "order_id\taccount_id\tbank_to\taccount_to\tamount\n\
                    1\ta\thome\tb\t1\n2\tb\tYZ\tc\t1\n";
        let orders = orders::read(text.as_bytes(), &home).unwrap().orders;
        let needs = needs(&orders, &home, Minor(500));
        let at = |bank: &str, account: &str| {
            needs[&bank.parse::<ParticipantName>().unwrap()]
                [&account.parse::<AccountName>().unwrap()]
        };
        assert_eq!(at("home", "a"), Minor(500));
        assert_eq!(at("home", "b"), Minor(500));
        assert_eq!(at("YZ", "c"), Minor(0));
        assert_eq!(needs.len(), 2);
    }

    #[test]
    fn an_opening_balance_is_not_negative() {
        assert_eq!(not_negative("0"), Ok(Minor(0)));
        assert!(
            not_negative("-0.01")
                .unwrap_err()
                .contains("less than 0.00")
        );
        assert!(not_negative("x").is_err());
    }
}
