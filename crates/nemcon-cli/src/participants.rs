//! `nemcon participants`: who takes part.

use clap::Subcommand;
use nemcon_client::Address;
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::id::ParticipantName;
use nemcon_proto::v1;
use serde_json::Value;

use crate::check::{self, Check};
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
    /// Play a coordinator against a participant, and say which rule it breaks
    #[command(after_help = check::HELP)]
    Check(Box<Check>),
    /// Make the coordinator forget a participant whose data is given up
    #[command(after_help = "\
Refused while the participant has unfinished business: it must come back and acknowledge first. \
If it never will, --give-up records each decision that it has not acknowledged as damage, for \
somebody to set right: `nemcon damage list`. A participant that runs registers itself again.

Examples:
  nemcon participants remove bank-c
  nemcon participants remove bank-c --give-up 'its disk is gone, no backup'")]
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: ParticipantName,
        /// Give up what it has not acknowledged, and why
        #[arg(long, value_name = "REASON")]
        give_up: Option<String>,
    },
}

/// Runs a command about participants.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    match command {
        Command::Check(arguments) => Box::pin(check::run(*arguments, coordinator)).await,
        Command::List { json } => list(&Session::open(coordinator).await?, json),
        Command::Remove { name, give_up } => {
            let session = Session::open(coordinator).await?;
            let client = session.client();
            client.remove_participant(&name, give_up.as_deref()).await?;
            say!("removed {name}");
            Ok(Exit::Done)
        }
    }
}

/// Prints who is registered.
fn list(session: &Session, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        let types = Types::new()?;
        let all = session
            .participants()
            .iter()
            .cloned()
            .map(v1::Participant::from);
        let written: Result<Vec<Value>, _> = all.map(|one| types.write(&one)).collect();
        json::print(&serde_json::json!({ "participants": written? }));
    } else {
        say!("{}", table(session.participants()));
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
