//! `nemcon wal verify`: what a start would find.

use nemcon_core::codec::CorruptLog;
use nemcon_core::id::Lsn;
use nemcon_core::machine::Stored;
use nemcon_wal::Recovery;

use super::Place;
use super::describe::{Kind, describe};
use crate::failure::{Exit, Failure};
use crate::out::say;

/// Reads records as those of both kinds of node, for as long as they are.
#[derive(Debug)]
pub(super) struct Kinds {
    candidates: Vec<Kind>,
    bytes: u64,
    first: Option<Lsn>,
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            candidates: vec![Kind::Coordinator, Kind::Participant],
            bytes: 0,
            first: None,
        }
    }
}

impl Kinds {
    /// Takes another record.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Result<(), CorruptLog> {
        let mut refused = None;
        let left: Vec<Kind> = self
            .candidates
            .iter()
            .copied()
            .filter(|kind| match describe(*kind, bytes) {
                Ok(_) => true,
                Err(error) => {
                    refused = Some(error);
                    false
                }
            })
            .collect();
        match refused {
            Some(error) if left.is_empty() => Err(error),
            _ => {
                self.candidates = left;
                Ok(())
            }
        }
    }

    /// Whose log it is, if the records tell.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.candidates.as_slice() {
            [kind] => Some(*kind),
            _ => None,
        }
    }
}

impl Recovery for Kinds {
    fn stored(&mut self, _: Stored) -> Result<(), CorruptLog> {
        Ok(())
    }

    fn record(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), CorruptLog> {
        self.first.get_or_insert(lsn);
        self.bytes += bytes.len() as u64;
        self.see(bytes)
    }
}

/// Checks a log, and says what is in it.
pub(super) fn run(place: &Place) -> Result<Exit, Failure> {
    let (reader, _scratch) = place.open()?;
    let mut kinds = Kinds::default();
    let found = reader.check(&mut kinds)?;
    let mark = reader.mark()?;
    let whose = kinds.kind().map_or_else(
        || "a node that has done nothing yet".to_owned(),
        |kind| format!("a {kind}"),
    );
    let last = Lsn(found.next_lsn.0 - 1);
    say!("{} is whole: the log of {whose}", place.dir.display());
    say!("  pages    {}", found.pages);
    let from = kinds.first.map_or_else(String::new, |first| {
        format!(", {first} to {last}, {} bytes", kinds.bytes)
    });
    say!("  records  {} to replay{from}", found.records);
    say!("  values   {}", found.values);
    let stop = if mark.clean {
        "stopped cleanly"
    } else {
        "not stopped cleanly: the node was killed, or has failed"
    };
    say!("  durable  up to record {}; {stop}", mark.lsn);
    Ok(Exit::Done)
}
