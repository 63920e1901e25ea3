//! The memory of transactions this participant decided alone.
//!
//! A one-phase commit leaves no record at the coordinator, so the promise that a
//! transaction id never runs twice is kept here: for as long as a client may ask,
//! and durably. [`crate::remembered`] says how they lie in memory and in the stored
//! data.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use minicbor::{Decode, Encode};

use super::record::AloneEnding;
use crate::codec::{Codec, CorruptLog};
use crate::fingerprint::{all, missing};
use crate::id::{AttemptId, Lsn, TransactionId};
use crate::machine::Stored;
use crate::message::OperationsHash;
use crate::remembered::chunks::{CHUNK_BYTES, Chunk, Chunks, Ended};
use crate::remembered::shelf::{Shelf, Shelved};
use crate::time::{Millis, Span};

/// One transaction decided alone.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) transaction: TransactionId,
    pub(super) attempt: AttemptId,
    pub(super) hash: OperationsHash,
    pub(super) ending: AloneEnding,
    /// Nothing is said of it before this record is durable.
    pub(super) lsn: Lsn,
    pub(super) at: Millis,
}

/// What of it is needed only when somebody asks again, as bytes: there may be a
/// million, and results as values of the resource would take more memory.
#[derive(Encode, Decode)]
struct Told {
    #[n(0)]
    attempt: AttemptId,
    #[n(1)]
    hash: OperationsHash,
    #[n(2)]
    ending: AloneEnding,
}

/// Where one is kept besides memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// In the log, until the next write-back.
    Log,
    /// In this chunk of the stored data.
    Chunk(u32),
}

/// One as it is kept.
#[derive(Clone, Debug)]
struct Kept {
    transaction: TransactionId,
    at: Millis,
    /// The record that must be durable before anything is said; zero for what was
    /// read from a chunk. To be in a chunk that is only handed to the log is no
    /// reason to speak.
    lsn: Lsn,
    home: Home,
    /// [`Told`].
    told: Box<[u8]>,
}

impl Shelved for Kept {
    fn transaction(&self) -> TransactionId {
        self.transaction
    }
}

impl Kept {
    fn entry(&self) -> Result<Entry, CorruptLog> {
        let Told {
            attempt,
            hash,
            ending,
        } = Told::from_bytes(&self.told)?;
        Ok(Entry {
            transaction: self.transaction,
            attempt,
            hash,
            ending,
            lsn: self.lsn,
            at: self.at,
        })
    }
}

/// Remembered transactions, lowest id (and so lowest time) first.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    entries: Shelf<Kept>,
    /// Ids up to this time may have been forgotten.
    forgotten: Millis,
    chunks: Chunks,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            entries: Shelf::default(),
            forgotten: Millis(0),
            chunks: Chunks::new(KEY),
        }
    }
}

impl Memory {
    /// Hashes what next steps depend on.
    pub(super) fn fingerprint<H: Hasher>(&self, durable: Lsn, into: &mut H) {
        let Self {
            entries,
            forgotten,
            chunks: _,
        } = self;
        all(entries.iter(), into, |kept, into| {
            let Kept {
                transaction,
                at: _,
                lsn,
                home: _,
                told,
            } = kept;
            (transaction, told).hash(into);
            missing(*lsn, durable).hash(into);
        });
        forgotten.hash(into);
    }

    pub(super) fn contains(&self, transaction: TransactionId) -> bool {
        self.entries.get(transaction).is_some()
    }

    /// What is remembered of a transaction. None also where it cannot be read, which
    /// what was written here, or checked when it was loaded, always can.
    pub(super) fn get(&self, transaction: TransactionId) -> Option<Entry> {
        self.entries.get(transaction)?.entry().ok()
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let Entry {
            transaction,
            attempt,
            hash,
            ending,
            lsn,
            at,
        } = entry;
        let told = Told {
            attempt,
            hash,
            ending,
        };
        let kept = Kept {
            transaction,
            at,
            lsn,
            home: Home::Log,
            told: told.to_bytes().into(),
        };
        // An id is decided once.
        if self.entries.insert(kept) {
            self.chunks.note_ended(transaction, lsn);
        }
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
    /// what bears witness goes with it, `log` has to append the watermark, and says
    /// as which record.
    pub(super) fn forget(
        &mut self,
        now: Millis,
        max: usize,
        age: Span,
        log: impl FnOnce(Millis) -> Lsn,
    ) {
        let mut witness_goes = false;
        while let Some(first) = self.entries.first() {
            let old = now.since(first.at) > age;
            if !old && self.entries.len() <= max {
                break;
            }
            let Some(kept) = self.entries.pop_first() else {
                break;
            };
            self.set_forgotten(kept.transaction.minted_at());
            witness_goes |= match kept.home {
                Home::Log => true,
                Home::Chunk(chunk) => self.chunks.leave(chunk),
            };
        }
        if witness_goes {
            self.chunks.note_watermark(log(self.forgotten));
        }
    }

    /// Which chunk of this memory a stored key is of, if it is one's.
    pub(super) fn chunk_of(&self, key: &[u8]) -> Option<u32> {
        self.chunks.number(key)
    }

    /// Takes a chunk that was written back before the restart; `check` has a look at
    /// each.
    pub(super) fn load(
        &mut self,
        number: u32,
        stored: &Stored,
        mut check: impl FnMut(&Entry) -> Result<(), CorruptLog>,
    ) -> Result<(), CorruptLog> {
        let Some(value) = &stored.value else {
            return Ok(());
        };
        let [VERSION, rest @ ..] = value.as_slice() else {
            let found = value.first().copied().unwrap_or_default();
            let why = alloc::format!("format version {found}; this program reads {VERSION}");
            return Err(CorruptLog::value(&stored.key, why));
        };
        let (mut rest, mut loaded) = (rest, Vec::new());
        while !rest.is_empty() {
            let kept = read(&mut rest, number)
                .ok_or_else(|| CorruptLog::value(&stored.key, "the chunk is cut off"))?;
            check(&kept.entry()?)?;
            loaded.push(kept);
        }
        let remembered = self.entries.extend(loaded);
        self.chunks.note_loaded(number, remembered);
        Ok(())
    }

    /// Settles what the write-back under way is about.
    pub(super) fn begin_round(&mut self) {
        self.chunks.begin_round();
    }

    /// The next chunks to be written or removed; nothing at the end of a round.
    pub(super) fn take_changed(&mut self, max: usize) -> Vec<Stored> {
        let entries = &mut self.entries;
        self.chunks
            .take_changed(max, |number, ended| fill(entries, number, ended))
    }
}

/// What the keys of chunks begin with; the number follows, big-endian. See
/// [`super::stored`] for what sets it apart from the resource's own.
const KEY: &[u8] = b"\xffalone/";

/// The format of a chunk: this byte, then for each transaction its id (16 bytes),
/// when it was decided (8), how many bytes follow (4), and those: [`Told`].
const VERSION: u8 = 1;

/// Moves the next that were decided into a chunk of their own; none when there are no
/// more.
fn fill(entries: &mut Shelf<Kept>, number: u32, ended: &mut Ended) -> Option<Chunk> {
    let (mut value, mut remembered, mut newest) = (Vec::new(), 0, Lsn(0));
    while value.len() < CHUNK_BYTES
        && let Some((transaction, lsn)) = ended.pop_front()
    {
        // What was forgotten meanwhile is in the watermark.
        let kept = entries.get_mut(transaction);
        if let Some(kept) = kept.filter(|kept| kept.home == Home::Log) {
            kept.home = Home::Chunk(number);
            if value.is_empty() {
                value.push(VERSION);
            }
            write(kept, &mut value);
            remembered += 1;
            newest = newest.max(lsn);
        }
    }
    (remembered > 0).then_some(Chunk {
        value,
        remembered,
        newest,
    })
}

fn write(kept: &Kept, into: &mut Vec<u8>) {
    into.extend_from_slice(kept.transaction.uuid().as_bytes());
    into.extend_from_slice(&kept.at.0.to_be_bytes());
    // No record is that long.
    let length = u32::try_from(kept.told.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&kept.told);
}

fn read(from: &mut &[u8], chunk: u32) -> Option<Kept> {
    let (id, rest) = from.split_first_chunk()?;
    let (at, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (told, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(Kept {
        transaction: TransactionId::new(uuid::Uuid::from_bytes(*id)).ok()?,
        at: Millis(u64::from_be_bytes(*at)),
        lsn: Lsn(0),
        home: Home::Chunk(chunk),
        told: told.into(),
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::{CoordinatorId, Position};
    use crate::reason::{Reason, Refusal};

    const HOUR: Span = Span::from_secs(3_600);

    fn id(number: u64) -> TransactionId {
        TransactionId::from_parts(Millis(number), 0)
    }

    fn decide(memory: &mut Memory, number: u64) {
        let ending = match number % 3 {
            0 => AloneEnding::Aborted(Refusal::new(Reason::INTERNAL, "no")),
            1 => AloneEnding::Committed(vec![]),
            _ => AloneEnding::Committed(vec![vec![7; 40].into(), vec![].into()]),
        };
        memory.insert(Entry {
            transaction: id(number),
            attempt: AttemptId {
                coordinator: CoordinatorId::new(uuid::Uuid::from_u128(1)),
                position: Position::default(),
            },
            hash: OperationsHash([7; 32]),
            ending,
            lsn: Lsn(number),
            at: Millis(number),
        });
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

    fn load(memory: &mut Memory, stored: &Stored) -> Result<(), CorruptLog> {
        let number = memory.chunk_of(&stored.key).expect("a key of ours");
        memory.load(number, stored, |_| Ok(()))
    }

    #[test]
    fn what_is_loaded_is_what_was_written() {
        let mut memory = Memory::default();
        for number in 1..=100 {
            decide(&mut memory, number);
        }
        let written = write_back(&mut memory);
        assert!(written.len() > 3, "{} chunks", written.len());
        let mut loaded = Memory::default();
        for chunk in &written {
            load(&mut loaded, chunk).expect("a chunk");
        }
        let all = |memory: &Memory| {
            let ids = (1..=100).map(id);
            let entries = ids.map(|id| memory.get(id).map(|it| (it.hash, it.ending, it.at)));
            alloc::format!("{:?} {:?}", entries.collect::<Vec<_>>(), memory.chunks)
        };
        assert_eq!(all(&loaded), all(&memory));
        assert!(write_back(&mut loaded).is_empty());
    }

    #[test]
    fn a_chunk_that_was_cut_or_is_of_another_format_is_refused() {
        let mut memory = Memory::default();
        decide(&mut memory, 2);
        let [chunk] = write_back(&mut memory).try_into().expect("one chunk");
        let value = chunk.value.clone().expect("a value");
        for end in 2..value.len() {
            let cut = Stored {
                value: Some(value[..end].to_vec()),
                ..chunk.clone()
            };
            assert!(load(&mut Memory::default(), &cut).is_err(), "{end}");
        }
        let mut other = value;
        other[0] = 9;
        let other = Stored {
            value: Some(other),
            ..chunk
        };
        let error = load(&mut Memory::default(), &other).expect_err("another format");
        assert!(
            alloc::format!("{error}").contains("format version 9"),
            "{error}"
        );
    }

    #[test]
    fn the_watermark_is_written_down_before_what_bears_witness_goes() {
        let mut memory = Memory::default();
        let mut logged = Vec::new();
        for number in 1..=3 {
            decide(&mut memory, number);
        }
        write_back(&mut memory);
        decide(&mut memory, 4);
        // One chunk has 1, 2 and 3; 4 is in the log only.
        for (now, known) in [(4, 3), (5, 2), (6, 1), (7, 0)] {
            memory.forget(Millis(now), known, HOUR, |through| {
                logged.push(through.0);
                Lsn(now)
            });
        }
        assert_eq!(logged, [3, 4]);
        assert!(memory.may_have_forgotten(id(4)) && !memory.contains(id(4)));
        let removed = write_back(&mut memory);
        assert_eq!(removed.len(), 1);
        assert_eq!((&removed[0].value, removed[0].lsn), (&None, Lsn(7)));
    }
}
