//! `nemcon damage`: where a decision made by hand and the real one differ.

use clap::Subcommand;
use nemcon_client::{Address, Damage};
use nemcon_core::id::{ParticipantName, TransactionId};
use nemcon_core::message::Outcome;
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, complain};
use crate::json::{self, Types};
use crate::operator::Operator;
use crate::out::say;
use crate::session::Session;
use crate::table::Table;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List heuristic damage that nobody has seen to
    #[command(after_help = "\
The list is that of the coordinator and of every participant that answers; damage that both sides \
recorded is shown once.")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take damage off the lists, once somebody has seen to it
    #[command(after_help = "\
Example:
  nemcon damage acknowledge 01890a5d-ac96-774b-bcce-b302099a8057 bank-a")]
    Acknowledge {
        /// The transaction
        #[arg(value_name = "TRANSACTION")]
        transaction: TransactionId,
        /// Where it was done by hand
        #[arg(value_name = "PARTICIPANT")]
        participant: ParticipantName,
    },
}

/// Runs a command about damage.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator).await?;
    match command {
        Command::List { json } => list(&session, json).await,
        Command::Acknowledge {
            transaction,
            participant,
        } => acknowledge(&session, transaction, &participant).await,
    }
}

/// A piece of damage, and who has it on record.
struct Found {
    damage: Damage,
    at_coordinator: bool,
    at_participant: bool,
}

/// Damage as the coordinator and the participants have it, each piece once; and
/// how a command ends that could not ask all of them.
async fn gather(session: &Session) -> Result<(Vec<Found>, Exit), Failure> {
    let recorded = session.client().damage().await?.into_iter();
    let mut all: Vec<Found> = recorded
        .map(|damage| Found {
            damage,
            at_coordinator: true,
            at_participant: false,
        })
        .collect();
    let mut exit = Exit::Done;
    for view in session.participants() {
        let operator = Operator::of(view.name.as_str(), &view.address)?;
        let there = match operator.damage().await {
            Ok(there) => there,
            // One that is down must not hide what the others have.
            Err(failure) => {
                complain(&failure);
                exit = failure.exit();
                continue;
            }
        };
        for damage in there {
            let damage =
                Damage::try_from(damage).map_err(|error| Failure::Nonsense(error.to_string()))?;
            add(&mut all, damage);
        }
    }
    Ok((all, exit))
}

/// Adds what a participant has on record.
fn add(all: &mut Vec<Found>, damage: Damage) {
    let same = |found: &&mut Found| {
        let known = &found.damage;
        known.attempt == damage.attempt && known.participant == damage.participant
    };
    match all.iter_mut().find(same) {
        Some(found) => found.at_participant = true,
        None => all.push(Found {
            damage,
            at_coordinator: false,
            at_participant: true,
        }),
    }
}

/// Prints all of it.
async fn list(session: &Session, as_json: bool) -> Result<Exit, Failure> {
    let (all, exit) = gather(session).await?;
    if as_json {
        let types = Types::new()?;
        let written: Result<Vec<Value>, _> = all
            .into_iter()
            .map(|found| types.write(&v1::Damage::from(found.damage)))
            .collect();
        json::print(&json!({ "damage": written? }));
        return Ok(exit);
    }
    let mut table = Table::new([
        "TRANSACTION",
        "PARTICIPANT",
        "BY HAND",
        "DECIDED",
        "RECORDED",
        "REASON",
    ]);
    for Found { damage, .. } in all {
        table.row([
            damage
                .transaction
                .map_or_else(|| damage.attempt.to_string(), |id| id.to_string()),
            damage.participant.to_string(),
            damage.by_hand.map_or("lost", outcome).into(),
            outcome(damage.decided).into(),
            timestamp(damage.at).to_string(),
            damage.reason,
        ]);
    }
    say!("{table}");
    Ok(exit)
}

/// An outcome in a word.
const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "committed",
        Outcome::Aborted => "aborted",
    }
}

/// Takes a piece off every list that it is on.
async fn acknowledge(
    session: &Session,
    transaction: TransactionId,
    participant: &ParticipantName,
) -> Result<Exit, Failure> {
    let (all, _) = gather(session).await?;
    let found = all.into_iter().find(|found| {
        found.damage.transaction == Some(transaction) && found.damage.participant == *participant
    });
    let found = found.ok_or_else(|| {
        Failure::Refused(format!(
            "no damage of transaction {transaction} is recorded at {participant}; \
             `nemcon damage list` shows what is"
        ))
    })?;
    let attempt = found.damage.attempt;
    // At the participant first: it is the side that can be down.
    if found.at_participant {
        let view = session.bank(participant)?;
        let operator = Operator::of(participant.as_str(), &view.address)?;
        operator.acknowledge_damage(attempt).await?;
    }
    if found.at_coordinator {
        session
            .client()
            .acknowledge_damage(attempt, participant)
            .await?;
    }
    say!("acknowledged the damage of {transaction} at {participant}");
    Ok(Exit::Done)
}
