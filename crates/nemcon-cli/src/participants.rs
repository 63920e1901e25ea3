//! `nemcon participants`: who takes part.

use clap::Subcommand;
use nemcon_client::Address;
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::id::ParticipantName;
use nemcon_proto::v1;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::out::say;
use crate::session::Session;
use crate::table::Table;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List who is registered, where, and whether they answer
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the coordinator forget a participant whose data is given up
    #[command(after_help = "\
Refused while the participant has unfinished business: it must come back and acknowledge first. \
A participant that runs registers itself again.

Example:
  nemcon participants remove bank-c")]
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: ParticipantName,
    },
}

/// Runs a command about participants.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator).await?;
    match command {
        Command::List { json: true } => {
            let types = Types::new()?;
            let all = session
                .participants()
                .iter()
                .cloned()
                .map(v1::Participant::from);
            let written: Result<Vec<Value>, _> = all.map(|one| types.write(&one)).collect();
            json::print(&serde_json::json!({ "participants": written? }));
        }
        Command::List { json: false } => say!("{}", table(session.participants())),
        Command::Remove { name } => {
            session.client().remove_participant(&name).await?;
            say!("removed {name}");
        }
    }
    Ok(Exit::Done)
}

/// For people. `?` starts: it has not answered the coordinator that runs now.
fn table(participants: &[ParticipantView]) -> Table {
    let mut table = Table::new(["NAME", "ADDRESS", "STATE", ">UNFINISHED", ">STARTS"]);
    for view in participants {
        table.row([
            view.name.to_string(),
            view.address.clone(),
            if view.reachable { "answers" } else { "down" }.into(),
            view.unfinished.to_string(),
            view.boot
                .map_or_else(|| "?".into(), |boot| boot.to_string()),
        ]);
    }
    table
}
