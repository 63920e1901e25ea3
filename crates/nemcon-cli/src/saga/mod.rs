//! `nemcon saga`: transactions that belong together.

mod look;
mod start;
mod tree;
mod watch;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use nemcon_client::{Address, SagaDecision, SagaStepDecision};
use nemcon_core::id::SagaId;
use nemcon_core::saga::{Resolution, State, StepName, View};

use crate::failure::{Exit, Failure};
use crate::listing::Listing;
use crate::out::say;
use crate::session::Session;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a saga that is written down as JSON
    #[command(after_help = "\
The JSON is that of nemcon.v1.StartSagaRequest, as grpcurl takes it; examples/trip.json is one. \
Without a sagaId one is chosen and printed: with it the saga can be started again without harm.

The coordinator carries the saga out, whatever becomes of this command. With --wait it is \
followed to its end: exit code 0 if it completed, 1 if it was compensated, 3 if it got stuck.

Examples:
  nemcon saga start examples/trip.json
  nemcon saga start examples/trip.json --wait")]
    Start {
        /// File with the JSON; - for standard input
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// Follow it to its end, or until it is stuck
        #[arg(long)]
        wait: bool,
        /// Print JSON: the saga, and with --wait one object a line
        #[arg(long)]
        json: bool,
    },
    /// List sagas that run or are remembered, newest first
    #[command(after_help = "\
Examples:
  nemcon saga list --state stuck
  nemcon saga list --limit 20")]
    List(Listing<StateName>),
    /// Show one saga: its steps as a tree, with states and times
    #[command(after_help = "\
A step stands under the last of those that it waits for; where there are others, they are named \
behind it. Times count from the start of the saga. Exits with 0 whatever has become of it; see \
`state` in the JSON.

Example:
  nemcon saga show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        /// Its id
        #[arg(value_name = "SAGA")]
        id: SagaId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow a saga until it ends
    #[command(after_help = "\
Exits with 0 if it completed, and with 1 if it was compensated.

Example:
  nemcon saga watch 01890a5d-ac96-774b-bcce-b302099a8057")]
    Watch {
        /// Its id
        #[arg(value_name = "SAGA")]
        id: SagaId,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Take a saga back
    #[command(after_help = "\
Steps in flight come to an outcome; then what was done is compensated. Refused once a pivot is \
done, and for a saga that has completed.

Example:
  nemcon saga cancel 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'fell ill'")]
    Cancel {
        /// Its id
        #[arg(value_name = "SAGA")]
        id: SagaId,
        /// Why; kept with the saga
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Let a saga that is stuck go on
    #[command(after_help = "\
Every step that is stuck is tried again, with all its tries anew. Right when what was in the way \
is gone: a participant is back, an account has money.

Example:
  nemcon saga resume 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'hotels is back'")]
    Resume {
        /// Its id
        #[arg(value_name = "SAGA")]
        id: SagaId,
        #[command(flatten)]
        word: Word,
    },
    /// Settle a step that is stuck, by your word
    #[command(after_help = "\
Say what is so, after you have looked or have done it in another way: the saga goes on as if it \
had seen that itself. What is wrong is not found out.

Example:
  nemcon saga resolve 01890a5d-ac96-774b-bcce-b302099a8057 hotel --compensated \\
      --reason 'cancelled by phone'")]
    Resolve(Resolve),
}

/// Who decides, and why.
#[derive(Debug, Args)]
pub(crate) struct Word {
    /// Why; kept with the saga
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who decides; kept with the saga
    #[arg(long, value_name = "NAME", env = "USER")]
    operator: String,
}

/// What to settle, and how.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("resolution").required(true).args(["done", "compensated", "retry"]))]
pub(crate) struct Resolve {
    /// The saga
    #[arg(value_name = "SAGA")]
    id: SagaId,
    /// The step that is stuck
    #[arg(value_name = "STEP")]
    step: StepName,
    /// It took effect, or was done in another way
    #[arg(long)]
    done: bool,
    /// Nothing of it is left
    #[arg(long)]
    compensated: bool,
    /// Try it again
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    word: Word,
}

/// A state, as the command line knows it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateName {
    Running,
    Compensating,
    Stuck,
    Completed,
    Compensated,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Running => Self::Running,
            StateName::Compensating => Self::Compensating,
            StateName::Stuck => Self::Stuck,
            StateName::Completed => Self::Completed,
            StateName::Compensated => Self::Compensated,
        }
    }
}

/// Runs a command about sagas.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator);
    match command {
        Command::Start { file, wait, json } => {
            // A file that makes no sense is found out before anybody is asked.
            let saga = start::read(&file)?;
            start::run(&session.await?, &saga, wait, json).await
        }
        Command::List(arguments) => look::list(&session.await?, arguments).await,
        Command::Show { id, json } => look::show(&session.await?, id, json).await,
        Command::Watch { id, json } => watch::run(&session.await?, id, json).await,
        Command::Cancel { id, reason } => {
            let view = session.await?.client().cancel_saga(id, &reason).await?;
            Ok(told(&view))
        }
        Command::Resume { id, word } => {
            let decision = word.about(id);
            Ok(told(&session.await?.client().resume_saga(&decision).await?))
        }
        Command::Resolve(arguments) => resolve(&session.await?, arguments).await,
    }
}

async fn resolve(session: &Session, arguments: Resolve) -> Result<Exit, Failure> {
    let resolution = match (arguments.done, arguments.compensated) {
        (true, _) => Resolution::Done,
        (_, true) => Resolution::Compensated,
        // One of the three is given, as clap has seen.
        (false, false) => Resolution::Retry,
    };
    let decision = SagaStepDecision {
        decision: arguments.word.about(arguments.id),
        step: arguments.step,
        resolution,
    };
    Ok(told(&session.client().resolve_saga_step(&decision).await?))
}

impl Word {
    fn about(self, saga: SagaId) -> SagaDecision {
        SagaDecision {
            saga,
            who: self.operator,
            why: self.reason,
        }
    }
}

/// Where a saga is, after something was done to it.
fn told(view: &View) -> Exit {
    say!("{} {}", view.saga, view.state);
    Exit::Done
}
