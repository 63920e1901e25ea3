//! Reading all books in one transaction.

use nemcon_client::operation;
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_proto::bank::v1;

use super::Audit;
use super::accounts::no_bank;
use super::books::{BankBooks, Books};
use crate::failure::{Exit, Failure};
use crate::operator::Operator;
use crate::out::say;
use crate::session::Session;

/// `nemcon bank audit`.
pub(super) async fn run(session: &Session, arguments: Audit) -> Result<Exit, Failure> {
    let mut banks: Vec<&ParticipantView> = session.participants().iter().collect();
    let done = loop {
        if banks.is_empty() {
            let url = session.client().address();
            let why = format!("no bank is registered at {url}: there is nothing to audit");
            return Err(Failure::Refused(why));
        }
        let audit = v1::Audit {};
        let operations = banks.iter().map(|bank| operation(&bank.name, &audit, true));
        // One transaction: the locks of all banks are held together, so no transfer
        // is seen half.
        match session.run(operations.collect()).await {
            Ok(done) => break done,
            Err(failure) => {
                let other = no_bank(&failure).ok_or(failure)?;
                banks.retain(|bank| bank.name != other);
            }
        }
    };
    let mut books = Vec::new();
    for (at, bank) in banks.iter().enumerate() {
        let totals = done.result(at)?;
        books.push(BankBooks {
            bank: bank.name.to_string(),
            totals: totals.ok_or_else(|| Failure::Nonsense(format!("{} is silent", bank.name)))?,
            in_doubt: in_doubt(session, bank).await?,
        });
    }
    let books = Books(books);
    if arguments.json {
        crate::json::print(&books.to_json());
    } else {
        say!("{}", books.table());
    }
    let imbalances = books.imbalances();
    for imbalance in &imbalances {
        eprintln!("nemcon: the books do not balance: {imbalance}");
    }
    if !imbalances.is_empty() {
        return Ok(Exit::Refused);
    }
    if !arguments.json {
        say!("\nThe books balance.");
    }
    Ok(Exit::Done)
}

/// How many attempts a bank is in doubt about: it says so itself. One that does
/// not (written by somebody else, without that service) is judged by what it has
/// not acknowledged to the coordinator.
async fn in_doubt(session: &Session, bank: &ParticipantView) -> Result<usize, Failure> {
    let operator = Operator::of(bank.name.as_str(), &bank.address)?;
    if let Some(attempts) = operator.in_doubt().await? {
        return Ok(attempts.len());
    }
    let unfinished = session.client().in_doubt().await?;
    let here = unfinished.iter().filter(|view| {
        let mut branches = view.branches.iter();
        branches.any(|branch| branch.participant == bank.name && !branch.acknowledged)
    });
    Ok(here.count())
}
