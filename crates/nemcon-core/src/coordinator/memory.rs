//! Remembered outcomes: why a transaction id never runs twice.
//!
//! Outcomes are kept in the order of their ids, which is that of the times in
//! them, and forgotten lowest first; one time then stands for everything that
//! was forgotten. So a client whose clock runs ahead locks nobody out, and an id
//! that may have run is told from one that cannot have.
//!
//! There may be a million of them, so what stays of each to the last is small.
//! [`crate::remembered`] says how they lie in memory and in the stored data.

mod attempts;
mod kept;
mod stored;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use attempts::Attempts;
use kept::{Home, Kept, ShortHash, Times};
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
use crate::remembered::chunks::{Chunk, Chunks, Ended};
use crate::remembered::shelf::Shelf;
use crate::time::{Millis, Span};

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

/// All remembered outcomes.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    outcomes: Shelf<Kept>,
    /// Why those that aborted did, encoded: that is half as large.
    causes: BTreeMap<TransactionId, Box<[u8]>>,
    /// Committed attempts, for participants that ask late.
    committed: Attempts,
    /// The last to end, oldest first, and their particulars.
    recent: VecDeque<TransactionId>,
    particulars: BTreeMap<TransactionId, Particulars>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
    chunks: Chunks,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            outcomes: Shelf::default(),
            causes: BTreeMap::new(),
            committed: Attempts::default(),
            recent: VecDeque::new(),
            particulars: BTreeMap::new(),
            forgotten: Millis(0),
            chunks: Chunks::new(stored::KEY),
        }
    }
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
        if let Some(lsn) = logged {
            self.chunks.note_ended(transaction, lsn);
        }
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
                Home::Chunk(chunk) => self.chunks.leave(chunk),
            };
        }
        if witness_goes {
            self.chunks.note_watermark(log(self.forgotten));
        }
    }

    /// Takes a chunk that was written back before the restart.
    pub(super) fn load(&mut self, stored: &Stored) -> Result<(), CorruptLog> {
        let number = self.chunks.number(&stored.key);
        let number =
            number.ok_or_else(|| CorruptLog::value(&stored.key, "no key of a coordinator"))?;
        let Some(value) = &stored.value else {
            return Ok(());
        };
        let Self {
            outcomes,
            committed,
            causes,
            ..
        } = self;
        let mut loaded = Vec::with_capacity(value.len() / stored::OUTCOME_BYTES_MIN);
        stored::read(&stored.key, value, |mut kept, cause| {
            kept.set_home(Home::Chunk(number));
            if let Some(cause) = cause {
                causes.insert(kept.transaction, cause.into());
            }
            loaded.push(kept);
        })?;
        let is_committed = |kept: &&Kept| kept.outcome() == Outcome::Committed;
        committed.extend(loaded.iter().filter(is_committed).map(Kept::attempt));
        let remembered = outcomes.extend(loaded);
        self.chunks.note_loaded(number, remembered);
        Ok(())
    }

    /// The next chunks to be written or removed, a few at a time; nothing at the
    /// end of a round. A round is about what has ended before its beginning.
    pub(super) fn take_changed(&mut self, max: usize) -> Vec<Stored> {
        let (outcomes, causes) = (&mut self.outcomes, &self.causes);
        self.chunks
            .take_changed(max, |number, ended| fill(outcomes, causes, number, ended))
    }
}

/// Moves the next outcomes into a chunk of their own; none when there are no more.
fn fill(
    outcomes: &mut Shelf<Kept>,
    causes: &BTreeMap<TransactionId, Box<[u8]>>,
    number: u32,
    ended: &mut Ended,
) -> Option<Chunk> {
    let (mut writer, mut remembered, mut newest) = (None, 0, Lsn(0));
    while writer.as_ref().is_none_or(|it: &Writer| !it.is_full())
        && let Some((transaction, lsn)) = ended.pop_front()
    {
        // What was forgotten meanwhile is in the watermark.
        let kept = outcomes.get_mut(transaction);
        if let Some(kept) = kept.filter(|kept| kept.home() == Home::Log) {
            kept.set_home(Home::Chunk(number));
            let since = kept.at;
            let cause = causes.get(&transaction).map(AsRef::as_ref);
            let writer = writer.get_or_insert_with(|| Writer::new(since));
            writer.push(kept, cause);
            remembered += 1;
            newest = newest.max(lsn);
        }
    }
    Some(Chunk {
        value: writer?.finish(),
        remembered,
        newest,
    })
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
        assert_eq!(
            alloc::format!("{:?}", loaded.chunks),
            alloc::format!("{:?}", memory.chunks)
        );
        assert!(write_back(&mut loaded).is_empty());
    }
}
