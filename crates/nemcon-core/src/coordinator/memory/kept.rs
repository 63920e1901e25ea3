//! What a coordinator remembers of a transaction to the last.

use crate::id::{Epoch, Position, Sequence, TransactionId};
use crate::message::{OperationsHash, Outcome};
use crate::remembered::chunks::CHUNK_MAX;
use crate::remembered::shelf::Shelved;
use crate::time::Millis;

/// Where an outcome is kept besides memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Nowhere: it only read, or a participant remembers it.
    None,
    /// In the log, until the next write-back.
    Log,
    /// In this chunk of the stored data.
    Chunk(u32),
}

/// The first half of a fingerprint: 128 bits tell operations apart as surely as
/// 256 do, unless a client takes 2^64 tries at fooling itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShortHash(pub(super) [u8; 16]);

impl From<OperationsHash> for ShortHash {
    fn from(OperationsHash(hash): OperationsHash) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(half)
    }
}

/// What is remembered of a transaction to the last: 64 bytes, so that a million
/// take 64 MB.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) transaction: TransactionId,
    pub(super) hash: ShortHash,
    sequence: Sequence,
    /// When it ended.
    pub(super) at: Millis,
    /// 4 billion restarts are enough for everyone.
    epoch: u32,
    /// Milliseconds from the decision to the end, and from the beginning to the
    /// decision; for people, so more than 49 days may become 49 days.
    ended_after: u32,
    decided_after: u32,
    /// The chunk, or one of the two values that are none; the highest bit is the
    /// outcome.
    home: u32,
}

/// As [`Kept::home`]: it aborted.
const ABORTED: u32 = 1 << 31;

/// As [`Kept::home`]: in the log.
const IN_LOG: u32 = ABORTED - 1;

const _: () = assert!(CHUNK_MAX < IN_LOG, "no number has two meanings");

/// When a transaction went which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) begun: Millis,
    pub(super) decided: Millis,
    pub(super) ended: Millis,
}

impl Shelved for Kept {
    fn transaction(&self) -> TransactionId {
        self.transaction
    }
}

impl Kept {
    pub(super) fn new(
        transaction: TransactionId,
        hash: ShortHash,
        attempt: Position,
        times: Times,
        outcome: Outcome,
    ) -> Self {
        let short = |span: crate::time::Span| u32::try_from(span.0).unwrap_or(u32::MAX);
        Self {
            transaction,
            hash,
            sequence: attempt.sequence,
            at: times.ended,
            epoch: u32::try_from(attempt.epoch.0).unwrap_or(u32::MAX),
            ended_after: short(times.ended.since(times.decided)),
            decided_after: short(times.decided.since(times.begun)),
            home: match outcome {
                Outcome::Committed => 0,
                Outcome::Aborted => ABORTED,
            },
        }
    }

    pub(super) fn attempt(&self) -> Position {
        Position {
            epoch: Epoch(u64::from(self.epoch)),
            sequence: self.sequence,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        if self.home & ABORTED == 0 {
            Outcome::Committed
        } else {
            Outcome::Aborted
        }
    }

    pub(super) fn times(&self) -> Times {
        let decided = Millis(self.at.0.saturating_sub(u64::from(self.ended_after)));
        Times {
            begun: Millis(decided.0.saturating_sub(u64::from(self.decided_after))),
            decided,
            ended: self.at,
        }
    }

    pub(super) const fn home(&self) -> Home {
        match self.home & !ABORTED {
            0 => Home::None,
            IN_LOG => Home::Log,
            chunk => Home::Chunk(chunk),
        }
    }

    pub(super) const fn set_home(&mut self, home: Home) {
        let number = match home {
            Home::None => 0,
            Home::Log => IN_LOG,
            Home::Chunk(chunk) => {
                debug_assert!(chunk >= 1 && chunk <= CHUNK_MAX, "not a chunk's number");
                chunk
            }
        };
        self.home = self.home & ABORTED | number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_no_larger_than_it_says() {
        assert_eq!(size_of::<Kept>(), 64);
    }
}
