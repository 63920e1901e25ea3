//! Remembered outcomes: why a transaction id never runs twice.
//!
//! Outcomes are kept in the order of their ids, which is that of the times in
//! them, and forgotten lowest first; one time then stands for everything that
//! was forgotten. So a client whose clock runs ahead locks nobody out, and an id
//! that may have run is told from one that cannot have.
//!
//! There may be a million of them, so what stays of each to the last is small.
//! On the disk an outcome is in the log's records until the next checkpoint,
//! then in a chunk of the stored data:
//!
//! ```text
//!   ends ──▶ in the log ──write-back──▶ in a chunk ──all forgotten──▶ removed
//! ```
//!
//! - A checkpoint does not repeat an outcome: all that ended before its
//!   write-back began is in chunks when it closes, and the records of what ended
//!   later stand behind its beginning.
//! - What is forgotten must not come to be unknown by a crash, or it could run
//!   again. So the watermark is written down before what bears witness goes: when
//!   an outcome is forgotten that is in no chunk, and when the last of a chunk is.
//!   The log makes that record durable before it removes the chunk.
//! - A chunk that has lost some of its outcomes keeps them on the disk. After a
//!   crash they are remembered once more, which does no harm.
//! - A chunk's number is free when its removal has been handed to the log, which
//!   does things in order: until then the old chunk bears witness, and after that
//!   the new one, or the records it was made of.
//!
//! Chunks go when the highest of their ids do. A client whose clock is ahead may
//! put a high one into each, so on the disk is what ended while outcomes are
//! remembered, and for as long before as an id may be ahead.

mod attempts;
mod shelf;
mod stored;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use attempts::Attempts;
use shelf::{CHUNK_MAX, Home, Kept, Shelf, ShortHash, Times};
use stored::Writer;

use super::event::{BranchView, Ending, Report, State};
use super::record::Cause;
use crate::codec::{Codec, CorruptLog};
use crate::fingerprint::{Fingerprint, all};
use crate::history::History;
use crate::id::{Lsn, Position, TransactionId};
use crate::machine::Stored;
use crate::message::{OperationsHash, Outcome, Payload};
use crate::reason::{Reason, Refusal};
use crate::time::{Millis, Span};

/// Chunks made at one go, about 55 outcomes each: a third of a millisecond.
const CHUNKS_AT_ONCE: usize = 12;

/// One finished transaction, as it ends.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) hash: OperationsHash,
    pub(super) attempt: Position,
    pub(super) ending: Ending,
    pub(super) history: History<State>,
    pub(super) branches: Vec<BranchView>,
    /// When it ended.
    pub(super) at: Millis,
    /// The record of its end. None: it only read, or a participant remembers it.
    pub(super) logged: Option<Lsn>,
}

/// What is known of one of the last to end, besides its outcome.
#[derive(Clone, Debug)]
struct Particulars {
    results: Option<Vec<Payload>>,
    history: History<State>,
    branches: Vec<BranchView>,
}

/// A remembered outcome, to look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    kept: &'a Kept,
    cause: Option<&'a [u8]>,
    particulars: Option<&'a Particulars>,
}

/// A write-back under way.
#[derive(Clone, Debug, Default)]
struct Round {
    ended: VecDeque<(TransactionId, Lsn)>,
    removed: Vec<u32>,
}

/// All remembered outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    outcomes: Shelf,
    /// Why those that aborted did, encoded: that is half as large.
    causes: BTreeMap<TransactionId, Box<[u8]>>,
    /// Committed attempts, for participants that ask late.
    committed: Attempts,
    /// The last to end, oldest first, and their particulars.
    recent: VecDeque<TransactionId>,
    particulars: BTreeMap<TransactionId, Particulars>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
    /// How many outcomes of each chunk are still remembered. Where none is, the
    /// chunk waits to be removed.
    chunks: BTreeMap<u32, u32>,
    /// The number given to the newest chunk.
    last_chunk: u32,
    /// What has ended since the last write-back, and the record that says so.
    ended: VecDeque<(TransactionId, Lsn)>,
    /// Chunks of which all is forgotten.
    removed: Vec<u32>,
    /// The record of the newest watermark.
    watermark_lsn: Lsn,
    round: Option<Round>,
}

impl Fingerprint for Memory {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            outcomes,
            causes: _,
            committed: _,
            recent,
            particulars: _,
            forgotten,
            chunks: _,
            last_chunk: _,
            ended: _,
            removed: _,
            watermark_lsn: _,
            round: _,
        } = self;
        all(outcomes.iter(), into, |kept, into| {
            let logged = kept.home() != Home::None;
            (kept.transaction, kept.hash, kept.attempt(), logged).hash(into);
            self.known(kept).ending().hash(into);
        });
        (recent, forgotten).hash(into);
    }
}

impl Memory {
    pub(super) fn get(&self, transaction: TransactionId) -> Option<Known<'_>> {
        self.outcomes.get(transaction).map(|kept| self.known(kept))
    }

    fn known<'a>(&'a self, kept: &'a Kept) -> Known<'a> {
        let particulars = self.particulars.get(&kept.transaction);
        let cause = self.causes.get(&kept.transaction).map(AsRef::as_ref);
        Known {
            kept,
            cause,
            particulars,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Takes in a finished transaction; the oldest of more than `results_max`
    /// loses its results and branches, not its outcome.
    pub(super) fn insert(
        &mut self,
        transaction: TransactionId,
        remembered: Remembered,
        results_max: usize,
    ) {
        let Remembered {
            hash,
            attempt,
            ending,
            history,
            branches,
            at,
            logged,
        } = remembered;
        let times = times(&history, at);
        let mut kept = Kept::new(transaction, hash.into(), attempt, times, ending.outcome());
        if logged.is_some() {
            kept.set_home(Home::Log);
        }
        if !self.outcomes.insert(kept) {
            // An id ends once.
            return;
        }
        self.ended.extend(logged.map(|lsn| (transaction, lsn)));
        let results = match ending {
            Ending::Committed(results) => {
                self.committed.insert(attempt);
                results
            }
            Ending::Aborted(cause) => {
                self.causes.insert(transaction, cause.to_bytes().into());
                None
            }
        };
        let particulars = Particulars {
            results,
            history,
            branches,
        };
        self.particulars.insert(transaction, particulars);
        self.recent.push_back(transaction);
        while self.recent.len() > results_max {
            if let Some(oldest) = self.recent.pop_front() {
                self.particulars.remove(&oldest);
            }
        }
    }

    /// What a client is told again.
    pub(super) fn report(&self, transaction: TransactionId) -> Option<Report> {
        let ending = self.get(transaction)?.ending();
        Some(Report {
            transaction,
            ending,
        })
    }

    /// Whether the attempt is known to have committed.
    pub(super) fn has_committed(&self, attempt: Position) -> bool {
        self.committed.contains(attempt)
    }

    /// The transaction of a committed attempt. Looks at all of them: for damage,
    /// which is rare.
    pub(super) fn transaction_of(&self, attempt: Position) -> Option<TransactionId> {
        if !self.has_committed(attempt) {
            return None;
        }
        let mut all = self.outcomes.iter();
        all.find(|kept| kept.outcome() == Outcome::Committed && kept.attempt() == attempt)
            .map(|kept| kept.transaction)
    }

    /// Remembered transactions from the highest id down, below `below`.
    pub(super) fn newest_below(
        &self,
        below: Option<TransactionId>,
    ) -> impl Iterator<Item = (TransactionId, Known<'_>)> {
        let outcomes = self.outcomes.newest_below(below);
        outcomes.map(|kept| (kept.transaction, self.known(kept)))
    }

    pub(super) const fn forgotten(&self) -> Millis {
        self.forgotten
    }

    pub(super) fn set_forgotten(&mut self, through: Millis) {
        self.forgotten = self.forgotten.max(through);
    }

    /// Whether an unknown id may be one that was forgotten.
    pub(super) fn may_have_forgotten(&self, transaction: TransactionId) -> bool {
        self.forgotten.0 > 0 && transaction.minted_at() <= self.forgotten
    }

    /// Forgets, lowest id first, what is beyond `max` or older than `age`. Where
    /// what bears witness goes with it, `log` has to append the watermark, and
    /// says as which record.
    pub(super) fn forget(
        &mut self,
        now: Millis,
        max: usize,
        age: Span,
        log: impl FnOnce(Millis) -> Lsn,
    ) {
        let mut witness_goes = false;
        while let Some(first) = self.outcomes.first() {
            let old = now.since(first.at) > age;
            if !old && self.outcomes.len() <= max {
                break;
            }
            let Some(kept) = self.outcomes.pop_first() else {
                break;
            };
            match kept.outcome() {
                Outcome::Committed => self.committed.remove(kept.attempt()),
                Outcome::Aborted => _ = self.causes.remove(&kept.transaction),
            }
            self.particulars.remove(&kept.transaction);
            self.set_forgotten(kept.transaction.minted_at());
            witness_goes |= match kept.home() {
                Home::None => false,
                Home::Log => true,
                Home::Chunk(chunk) => self.leave(chunk),
            };
        }
        if witness_goes {
            self.watermark_lsn = log(self.forgotten);
        }
    }

    /// Notes that an outcome of a chunk is forgotten; whether it was the last.
    fn leave(&mut self, number: u32) -> bool {
        let Some(remembered) = self.chunks.get_mut(&number) else {
            return false;
        };
        *remembered = remembered.saturating_sub(1);
        let last = *remembered == 0;
        if last {
            self.removed.push(number);
        }
        last
    }

    /// Takes a chunk that was written back before the restart.
    pub(super) fn load(&mut self, stored: &Stored) -> Result<(), CorruptLog> {
        let number = stored::number(&stored.key)?;
        let Some(value) = &stored.value else {
            return Ok(());
        };
        let Self {
            outcomes,
            committed,
            causes,
            ..
        } = self;
        let mut remembered = 0;
        stored::read(&stored.key, value, |mut kept, cause| {
            kept.set_home(Home::Chunk(number));
            let (transaction, attempt) = (kept.transaction, kept.attempt());
            if outcomes.insert(kept) {
                remembered += 1;
                match cause {
                    None => committed.insert(attempt),
                    Some(cause) => _ = causes.insert(transaction, cause.into()),
                }
            }
        })?;
        self.last_chunk = self.last_chunk.max(number);
        self.chunks.insert(number, remembered);
        if remembered == 0 {
            self.removed.push(number);
        }
        Ok(())
    }

    /// The next chunks to be written or removed, a few at a time; nothing at the
    /// end of a round. A round is about what has ended before its beginning.
    pub(super) fn take_changed(&mut self, max: usize) -> Vec<Stored> {
        let mut round = self.round.take().unwrap_or_else(|| Round {
            ended: core::mem::take(&mut self.ended),
            removed: core::mem::take(&mut self.removed),
        });
        let mut values = Vec::new();
        while values.len() < max {
            let Some(number) = round.removed.pop() else {
                break;
            };
            self.chunks.remove(&number);
            values.push(Stored {
                key: stored::key(number),
                value: None,
                lsn: self.watermark_lsn,
            });
        }
        while values.len() < max.min(CHUNKS_AT_ONCE) {
            let Some(chunk) = self.write(&mut round.ended) else {
                break;
            };
            values.push(chunk);
        }
        if !values.is_empty() {
            self.round = Some(round);
        }
        values
    }

    /// Moves the next outcomes into a chunk of their own; none when there are no
    /// more.
    fn write(&mut self, ended: &mut VecDeque<(TransactionId, Lsn)>) -> Option<Stored> {
        let number = self.free_number();
        let (mut chunk, mut remembered, mut newest) = (None, 0, Lsn(0));
        while chunk.as_ref().is_none_or(|chunk: &Writer| !chunk.is_full())
            && let Some((transaction, lsn)) = ended.pop_front()
        {
            // What was forgotten meanwhile is in the watermark.
            let kept = self.outcomes.get_mut(transaction);
            if let Some(kept) = kept.filter(|kept| kept.home() == Home::Log) {
                kept.set_home(Home::Chunk(number));
                let since = kept.at;
                let cause = self.causes.get(&transaction).map(AsRef::as_ref);
                let chunk = chunk.get_or_insert_with(|| Writer::new(since));
                chunk.push(kept, cause);
                remembered += 1;
                newest = newest.max(lsn);
            }
        }
        let value = chunk?.finish();
        self.chunks.insert(number, remembered);
        self.last_chunk = number;
        Some(Stored {
            key: stored::key(number),
            value: Some(value),
            lsn: newest,
        })
    }

    /// The next number that no chunk has: they may come round again in some years.
    fn free_number(&self) -> u32 {
        let mut number = self.last_chunk;
        loop {
            number = if number < CHUNK_MAX { number + 1 } else { 1 };
            if !self.chunks.contains_key(&number) {
                return number;
            }
        }
    }
}

impl Known<'_> {
    /// Whether the transaction had these operations.
    pub(super) fn has(&self, hash: OperationsHash) -> bool {
        self.kept.hash == ShortHash::from(hash)
    }

    pub(super) fn attempt(&self) -> Position {
        self.kept.attempt()
    }

    pub(super) const fn state(&self) -> State {
        match self.kept.outcome() {
            Outcome::Committed => State::Committed,
            Outcome::Aborted => State::Aborted,
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        self.kept.outcome()
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        match self.outcome() {
            Outcome::Committed => None,
            Outcome::Aborted => {
                // It was encoded here, or could be read when it was loaded.
                let cause = self.cause.and_then(|bytes| Cause::from_bytes(bytes).ok());
                Some(cause.unwrap_or_else(|| Cause {
                    refusal: Refusal::new(Reason::INTERNAL, "the cause is lost"),
                    participant: None,
                }))
            }
        }
    }

    fn ending(&self) -> Ending {
        match self.cause() {
            Some(cause) => Ending::Aborted(cause),
            None => Ending::Committed(self.particulars.and_then(|it| it.results.clone())),
        }
    }

    /// When it went which way, as far as that is remembered.
    pub(super) fn history(&self) -> History<State> {
        if let Some(particulars) = self.particulars {
            return particulars.history.clone();
        }
        let Times {
            begun,
            decided,
            ended,
        } = self.kept.times();
        let mut history = History::default();
        history.enter(State::Init, begun);
        match self.outcome() {
            // Nothing was decided here.
            Outcome::Committed if self.kept.home() == Home::None => {}
            Outcome::Committed => {
                history.enter(State::Prepared, decided);
                history.enter(State::Committing, decided);
            }
            Outcome::Aborted => history.enter(State::Aborting, decided),
        }
        history.enter(self.state(), ended);
        history
    }

    pub(super) fn branches(&self) -> Vec<BranchView> {
        let branches = self.particulars.map(|it| it.branches.clone());
        branches.unwrap_or_default()
    }
}

fn times(history: &History<State>, ended: Millis) -> Times {
    let entered = |wanted| history.iter().find(|(state, _)| *state == wanted);
    let begun = entered(State::Init).map_or(Millis(0), |(_, at)| at);
    let decided = entered(State::Prepared).or_else(|| entered(State::Aborting));
    Times {
        begun,
        decided: decided.map_or(ended, |(_, at)| at),
        ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, Sequence};

    const HOUR: Span = Span::from_secs(3_600);

    fn id(number: u64) -> TransactionId {
        TransactionId::from_parts(Millis(number), 0)
    }

    /// A commit, as it is taken in.
    fn end(memory: &mut Memory, number: u64) {
        let attempt = Position {
            epoch: Epoch(1),
            sequence: Sequence(number),
        };
        let remembered = Remembered {
            hash: OperationsHash([7; 32]),
            attempt,
            ending: Ending::Committed(None),
            history: History::default(),
            branches: Vec::new(),
            at: Millis(number),
            logged: Some(Lsn(number)),
        };
        memory.insert(id(number), remembered, 10);
    }

    fn write_back(memory: &mut Memory) -> Vec<Stored> {
        let mut all = Vec::new();
        loop {
            let piece = memory.take_changed(5);
            if piece.is_empty() {
                return all;
            }
            all.extend(piece);
        }
    }

    fn numbers(written: &[Stored]) -> Vec<(u32, bool)> {
        let number = |it: &Stored| stored::number(&it.key).expect("a key of ours");
        written
            .iter()
            .map(|it| (number(it), it.value.is_some()))
            .collect()
    }

    #[test]
    fn an_id_ends_once() {
        let mut memory = Memory::default();
        end(&mut memory, 5);
        end(&mut memory, 5);
        assert_eq!(memory.len(), 1);
        assert_eq!(write_back(&mut memory).len(), 1);
        assert_eq!(memory.transaction_of(Position::default()), None);
    }

    #[test]
    fn numbers_of_chunks_come_round_and_are_not_given_twice() {
        let mut before = Memory::default();
        end(&mut before, 5);
        let written = write_back(&mut before);
        let again = |number| Stored {
            key: stored::key(number),
            ..written[0].clone()
        };
        // One outcome cannot be in two chunks; to the second it is no loss.
        let mut memory = Memory::default();
        memory.load(&again(2)).expect("a chunk");
        memory.load(&again(CHUNK_MAX)).expect("a chunk");
        assert!(memory.load(&again(0)).is_err());
        assert!(memory.load(&again(CHUNK_MAX + 1)).is_err());

        end(&mut memory, 6);
        let removed_and_first = [(CHUNK_MAX, false), (1, true)];
        assert_eq!(numbers(&write_back(&mut memory)), removed_and_first);
        // 2 is taken, by what waits to be removed as well.
        memory.forget(Millis(7), 1, HOUR, |_| Lsn(7));
        assert_eq!(memory.forgotten(), Millis(5));
        memory.last_chunk = 1;
        let next = memory.free_number();
        assert_eq!(next, 3);
        let removed = write_back(&mut memory);
        assert_eq!(numbers(&removed), [(2, false)]);
        assert_eq!(removed[0].lsn, Lsn(7), "after the watermark");
        assert_eq!(memory.free_number(), 2);
    }

    #[test]
    fn what_is_loaded_is_what_was_written() {
        let mut memory = Memory::default();
        for number in 1..=500 {
            end(&mut memory, number);
        }
        let written = write_back(&mut memory);
        assert!(written.len() > 5, "{} chunks", written.len());
        let mut loaded = Memory::default();
        for chunk in &written {
            loaded.load(chunk).expect("a chunk");
        }
        let all = |memory: &Memory| alloc::format!("{:?}", memory.outcomes);
        assert_eq!(all(&loaded), all(&memory));
        assert_eq!(loaded.chunks, memory.chunks);
        assert_eq!(loaded.last_chunk, memory.last_chunk);
        assert!(write_back(&mut loaded).is_empty());
    }
}
