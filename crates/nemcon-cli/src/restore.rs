//! `nemcon restore`: a data directory from a backup.
//!
//! A restored node is not the node that was lost: it has forgotten what that one
//! promised and decided after the backup. So a record is written behind those of
//! the backup which says when that life was lost, and above which epoch or boot the
//! new one begins. What follows from it is the affair of the machines.

use std::path::PathBuf;

use clap::Args;
use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::coordinator::record as coordinator;
use nemcon_core::id::{Boot, Epoch, Lsn};
use nemcon_core::limits::ID_AHEAD_MAX;
use nemcon_core::machine::Stored;
use nemcon_core::participant::record as participant;
use nemcon_core::time::Millis;
use nemcon_node::chance;
use nemcon_node::clock::Clock;
use nemcon_proto::convert::millis;
use nemcon_wal::Recovery;
use nemcon_wal::backup::folder::{Folder, Manifest, Origin};
use nemcon_wal::backup::{RestoreError, restore};
use prost_types::Timestamp;

use crate::backup::{at, described};
use crate::failure::{Exit, Failure};
use crate::json;
use crate::out::say;

/// End of the help text.
pub(crate) const HELP: &str = "\
Only when the data directory itself is lost: a restored node has forgotten what it did after the \
backup. Everything in the backup is checked first; DATA_DIR must be new or empty, and no node \
starts on it before it is complete. Never run the node that was lost again.

A restored coordinator calls nothing aborted that the lost one may have committed: participants \
in doubt ask each other, and the rest is for you to resolve. A restored participant is refused by \
its coordinators until you have allowed it at each of them:
  nemcon participants remove NAME --give-up REASON

Transaction ids of a time in which the lost node may still have worked are refused where they are \
not known: up to 5 minutes after --lost-at. Give the time at which it certainly worked no more, \
by its own clock; then it can serve sooner. docs/backup.md has the whole story.

Examples:
  nemcon restore backups/bank-a-monday --to nemcon-data/bank-a
  nemcon restore backups/coordinator-monday --to nemcon-data/coordinator \\
    --lost-at 2026-11-26T08:30:00Z";

/// What to restore, and where to.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The data directory to make: new or empty
    #[arg(long, value_name = "DATA_DIR")]
    to: PathBuf,
    /// When the lost node certainly worked no more [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    lost_at: Option<Millis>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Takes a time like `2026-11-26T08:30:00Z`.
fn time(text: &str) -> Result<Millis, String> {
    let wanted = || format!("{text:?} is no time: want one like 2026-11-26T08:30:00Z");
    let at: Timestamp = text.parse().map_err(|_| wanted())?;
    millis(at, "time").map_err(|_| wanted())
}

/// Restores a backup.
pub(crate) fn run(arguments: &Restore) -> Result<Exit, Failure> {
    nemcon_node::telemetry::leave_caught_panics_to_the_log();
    let Restore {
        backup,
        to,
        lost_at,
        json,
    } = arguments;
    let folder = Folder::open(backup)?;
    let now = Clock::start().now();
    let lost_at = checked_times(folder.manifest(), *lost_at, now)?;
    let kind = Kind::of(&folder.manifest().origin)?;
    let record = kind.record(now, lost_at);
    let mut whose = Whose {
        kind,
        identity: folder.manifest().origin.identity.clone(),
    };
    let restored = restore(backup, to, &record, &mut whose)?;
    let through = lost_at + ID_AHEAD_MAX;
    if *json {
        let mut said = described(&restored.manifest);
        said["dataDirectory"] = to.display().to_string().into();
        said["lostAt"] = at(lost_at.0).into();
        said["unknownIdsRefusedThrough"] = at(through.0).into();
        json::print(&said);
    } else {
        tell(kind, &restored.manifest, &to.display().to_string(), through);
    }
    Ok(Exit::Done)
}

/// When the earlier life was lost. The clock of this machine becomes an epoch or a
/// boot number above all that life can have used, so it must not be far behind.
fn checked_times(
    manifest: &Manifest,
    lost_at: Option<Millis>,
    now: Millis,
) -> Result<Millis, Failure> {
    let backed_up = Millis(manifest.ended_at_ms);
    if now < backed_up {
        return Err(Failure::Refused(format!(
            "the clock of this machine says {}, and the backup was taken at {}: set the clock",
            at(now.0),
            at(backed_up.0)
        )));
    }
    let lost_at = lost_at.unwrap_or(now);
    if lost_at < backed_up || lost_at > now {
        return Err(Failure::Usage(format!(
            "--lost-at {}: want a time from the end of the backup, {}, to now, {}",
            at(lost_at.0),
            at(backed_up.0),
            at(now.0)
        )));
    }
    Ok(lost_at)
}

/// Whose backup it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Coordinator,
    Participant,
}

impl Kind {
    fn of(origin: &Origin) -> Result<Self, Failure> {
        match origin.kind.as_str() {
            "coordinator" => Ok(Self::Coordinator),
            "participant" => Ok(Self::Participant),
            other => Err(Failure::Refused(format!(
                "the backup is of a {other:?}: a newer program took it; restore it with that one"
            ))),
        }
    }

    /// The record that says that the directory was restored.
    fn record(self, now: Millis, lost_at: Millis) -> Vec<u8> {
        // Zero would mean "not restored" on the wire.
        let id = chance::seed().max(1);
        match self {
            Self::Coordinator => coordinator::Record::Restored {
                id,
                at: now,
                lost_at,
                epoch: Epoch(now.0),
                before: None,
            }
            .to_bytes(),
            Self::Participant => participant::Record::Restored {
                id,
                at: now,
                lost_at,
                boot: Boot(now.0),
            }
            .to_bytes(),
        }
    }

    /// The identity that a record names as that of its data directory, if it does.
    fn identity(self, record: &[u8]) -> Result<Option<String>, CorruptLog> {
        Ok(match self {
            Self::Coordinator => match coordinator::Record::from_bytes(record)? {
                coordinator::Record::Started { identity, .. } => Some(identity.to_string()),
                _ => None,
            },
            Self::Participant => match participant::Record::from_bytes(record)? {
                participant::Record::Started { id, .. } => Some(id.to_string()),
                _ => None,
            },
        })
    }
}

/// Reads the records, and sees that they are of the node that the manifest names.
struct Whose {
    kind: Kind,
    identity: String,
}

impl Recovery for Whose {
    fn stored(&mut self, _: Stored) -> Result<(), CorruptLog> {
        Ok(())
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        let Some(identity) = self.kind.identity(bytes)? else {
            return Ok(());
        };
        if identity == self.identity {
            return Ok(());
        }
        Err(CorruptLog::Illegal {
            lsn,
            record: format!("Started of {identity}"),
            why: format!("the backup says that it is of {}", self.identity),
        })
    }
}

/// For people: what it is, and what to do now.
fn tell(kind: Kind, manifest: &Manifest, to: &str, through: Millis) {
    let Origin {
        kind: kind_shown,
        name,
        identity,
        begun_at_ms,
        ..
    } = &manifest.origin;
    say!("restored {kind_shown} {name} to {to}");
    say!("  identity  {identity}");
    say!(
        "  state     as of {} or a little later; what it did since then it has forgotten",
        at(*begun_at_ms)
    );
    say!(
        "  ids       from before {} are refused if it does not know them",
        at(through.0)
    );
    match kind {
        Kind::Coordinator => {
            say!("  next      start it, then resolve what stays in doubt: nemcon in-doubt list");
        }
        Kind::Participant => {
            say!("  next      allow it at each coordinator, then start it:");
            say!(
                "            nemcon participants remove {name} --give-up 'restored from a backup'"
            );
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Self::Restore(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_held_to_what_can_be() {
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(Millis(1_000)));
        for bad in [
            "yesterday",
            "",
            "2026-13-01T00:00:00Z",
            "1960-01-01T00:00:00Z",
        ] {
            let said = time(bad).unwrap_err();
            assert!(said.contains("2026-11-26T08:30:00Z"), "{said}");
        }
        let manifest = Manifest {
            ended_at_ms: 1_000,
            ..Manifest::default()
        };
        let now = Millis(5_000);
        let lost = |lost_at| checked_times(&manifest, lost_at, now).map_err(|e| e.exit());
        assert_eq!(lost(None), Ok(now));
        assert_eq!(lost(Some(Millis(1_000))), Ok(Millis(1_000)));
        assert_eq!(lost(Some(Millis(999))), Err(Exit::Usage));
        assert_eq!(lost(Some(Millis(5_001))), Err(Exit::Usage));
        let behind = checked_times(&manifest, None, Millis(500)).map_err(|e| e.exit());
        assert_eq!(behind, Err(Exit::Refused));
    }
}
