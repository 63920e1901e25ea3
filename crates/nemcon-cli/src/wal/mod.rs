//! `nemcon wal`: the log of a node that is stopped, looked at from outside.

mod describe;
mod dump;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nemcon_wal::{OpenError, Reader};
use tempfile::TempDir;

use crate::failure::{Exit, Failure};
use crate::out::say;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check all that a start checks, and change nothing
    #[command(after_help = "\
Works on a copy of the database, since opening one changes it. Exits with 0 if the log is whole \
and with 1 if a node would refuse it.

Example:
  nemcon wal verify nemcon-data/bank-a")]
    Verify(Place),
    /// Print the records, and the values if asked to
    #[command(after_help = "\
Works on a copy of the database. What cannot be read is shown in its place, and the command \
then exits with 1.

Example:
  nemcon wal dump nemcon-data/coordinator --from 1000")]
    Dump(dump::Dump),
    /// Let go of the room that is kept for a full disk, so that the node can start
    #[command(after_help = "\
A node whose disk is full cannot even start, so each keeps a ballast of 8 MiB. It makes a new \
one at a start with room to spare. Nothing else is repaired: what is damaged stays so, and \
docs/log.md says what to do about it.

Example:
  nemcon wal repair nemcon-data/bank-a")]
    Repair {
        /// The node's data directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Where a log is, and where it may be copied to.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The node's data directory; the node must be stopped
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where to put the copy for as long as it is needed
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

impl Place {
    /// A copy of the log, and the directory it is in: gone when that is dropped.
    fn open(&self) -> Result<(Reader, TempDir), Failure> {
        let scratch = tempfile::Builder::new()
            .prefix("nemcon-wal-")
            .tempdir_in(&self.scratch);
        let scratch = scratch.map_err(|source| Failure::System {
            doing: "make a directory for a copy of the log (another can be named with --scratch)",
            source,
        })?;
        let reader = Reader::open(&self.dir, scratch.path()).map_err(Failure::from)?;
        Ok((reader, scratch))
    }
}

/// Runs a command about a log.
pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    nemcon_node::telemetry::leave_caught_panics_to_the_log();
    match command {
        Command::Verify(place) => verify::run(place),
        Command::Dump(arguments) => dump::run(arguments),
        Command::Repair { dir } => repair(dir),
    }
}

/// Frees the ballast.
fn repair(dir: &Path) -> Result<Exit, Failure> {
    let dir_shown = dir.display();
    match nemcon_wal::free_ballast(dir)? {
        0 => {
            return Err(Failure::Refused(format!(
                "{dir_shown} has no ballast to let go of: free some room on its file system, or \
                 move the whole directory to another one, then start the node again"
            )));
        }
        bytes => say!(
            "freed {} MiB in {dir_shown}: the node can start and end what it has begun. It begins \
             nothing new before there is room on that file system",
            bytes >> 20
        ),
    }
    Ok(Exit::Done)
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Log(Box::new(error))
    }
}
