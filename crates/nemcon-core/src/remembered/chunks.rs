//! Which remembered transactions lie where in the stored data.
//!
//! A million that every checkpoint repeats as records would fill the disk two or
//! three times over, and be most of what the disk does. So on the disk each is in
//! the log's records until the next checkpoint, then in a chunk of the stored data,
//! with others that ended about then:
//!
//! ```text
//!   ends ──▶ in the log ──write-back──▶ in a chunk ──all forgotten──▶ removed
//! ```
//!
//! - A checkpoint does not repeat them: all that ended before its write-back began
//!   is in chunks when it closes, and the records of what ended later stand behind
//!   its beginning.
//! - What is forgotten must not come to be unknown by a crash, or it could run
//!   again. So the watermark is written down before what bears witness goes: when
//!   one is forgotten that is in no chunk, and when the last of a chunk is. The log
//!   makes that record durable before it removes the chunk.
//! - A chunk that has lost some of what is in it keeps them on the disk. After a
//!   crash they are remembered once more, which does no harm.
//! - A chunk's number is free when its removal has been handed to the log, which
//!   does things in order: until then the old chunk bears witness, and after that
//!   the new one, or the records it was made of.
//!
//! Chunks go when the highest of their ids do. A client whose clock is ahead may
//! put a high one into each, so on the disk is what ended while it is remembered,
//! and for as long before as an id may be ahead.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::id::{Lsn, TransactionId};
use crate::machine::Stored;

/// Bytes of a chunk, about. sled reads and caches some sixteen neighbours
/// together, in 256 places at least, so larger ones would cost memory.
pub(crate) const CHUNK_BYTES: usize = 2 << 10;

/// The highest number of a chunk; the lowest is 1.
pub(crate) const CHUNK_MAX: u32 = (1 << 31) - 2;

/// Chunks made at one go: a third of a millisecond.
const CHUNKS_AT_ONCE: usize = 12;

/// What ended and is in no chunk yet, with the record that says so.
pub(crate) type Ended = VecDeque<(TransactionId, Lsn)>;

/// A chunk as it is written.
pub(crate) struct Chunk {
    pub(crate) value: Vec<u8>,
    /// How many are in it.
    pub(crate) remembered: u32,
    /// The newest record among theirs.
    pub(crate) newest: Lsn,
}

/// A write-back under way.
#[derive(Clone, Debug, Default)]
struct Round {
    ended: Ended,
    removed: Vec<u32>,
}

/// The chunks of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    /// What their keys begin with; the number follows, 4 bytes, big-endian.
    prefix: &'static [u8],
    /// How many of each chunk are still remembered. Where none is, the chunk waits
    /// to be removed.
    remembered: BTreeMap<u32, u32>,
    /// The number given to the newest chunk.
    last: u32,
    /// Since the last write-back.
    ended: Ended,
    /// Chunks of which all is forgotten.
    removed: Vec<u32>,
    /// The record of the newest watermark.
    watermark_lsn: Lsn,
    round: Option<Round>,
}

impl Chunks {
    pub(crate) const fn new(prefix: &'static [u8]) -> Self {
        Self {
            prefix,
            remembered: BTreeMap::new(),
            last: 0,
            ended: VecDeque::new(),
            removed: Vec::new(),
            watermark_lsn: Lsn(0),
            round: None,
        }
    }

    /// The key of a chunk.
    pub(crate) fn key(&self, chunk: u32) -> Vec<u8> {
        [self.prefix, &chunk.to_be_bytes()].concat()
    }

    /// Which chunk a key is of, if it is one's.
    pub(crate) fn number(&self, key: &[u8]) -> Option<u32> {
        let number = key.strip_prefix(self.prefix)?.try_into().ok();
        number
            .map(u32::from_be_bytes)
            .filter(|number| (1..=CHUNK_MAX).contains(number))
    }

    /// One has ended: this record says so.
    pub(crate) fn note_ended(&mut self, transaction: TransactionId, lsn: Lsn) {
        self.ended.push_back((transaction, lsn));
    }

    /// The watermark has been written down, as this record.
    pub(crate) const fn note_watermark(&mut self, lsn: Lsn) {
        self.watermark_lsn = lsn;
    }

    /// A chunk was read of which so many are remembered.
    pub(crate) fn note_loaded(&mut self, number: u32, remembered: u32) {
        self.last = self.last.max(number);
        self.remembered.insert(number, remembered);
        if remembered == 0 {
            self.removed.push(number);
        }
    }

    /// One of a chunk is forgotten; whether it was the last.
    pub(crate) fn leave(&mut self, number: u32) -> bool {
        let Some(remembered) = self.remembered.get_mut(&number) else {
            return false;
        };
        *remembered = remembered.saturating_sub(1);
        let last = *remembered == 0;
        if last {
            self.removed.push(number);
        }
        last
    }

    /// Settles what the write-back under way is about: what has ended, and what is
    /// forgotten, by now.
    pub(crate) fn begin_round(&mut self) {
        if self.round.is_none() {
            self.round = Some(Round {
                ended: core::mem::take(&mut self.ended),
                removed: core::mem::take(&mut self.removed),
            });
        }
    }

    /// The next chunks to be written or removed, a few at a time; nothing at the
    /// end of a round. `fill` makes a chunk of the first that have ended, and gives
    /// none when there are no more.
    pub(crate) fn take_changed(
        &mut self,
        max: usize,
        mut fill: impl FnMut(u32, &mut Ended) -> Option<Chunk>,
    ) -> Vec<Stored> {
        self.begin_round();
        let mut round = self.round.take().unwrap_or_default();
        let mut values = Vec::new();
        while values.len() < max {
            let Some(number) = round.removed.pop() else {
                break;
            };
            self.remembered.remove(&number);
            values.push(Stored {
                key: self.key(number),
                value: None,
                lsn: self.watermark_lsn,
            });
        }
        while values.len() < max.min(CHUNKS_AT_ONCE) {
            let number = self.free_number();
            let Some(chunk) = fill(number, &mut round.ended) else {
                break;
            };
            self.remembered.insert(number, chunk.remembered);
            self.last = number;
            values.push(Stored {
                key: self.key(number),
                value: Some(chunk.value),
                lsn: chunk.newest,
            });
        }
        if !values.is_empty() {
            self.round = Some(round);
        }
        values
    }

    /// The next number that no chunk has: they may come round again in some years.
    fn free_number(&self) -> u32 {
        let mut number = self.last;
        loop {
            number = if number < CHUNK_MAX { number + 1 } else { 1 };
            if !self.remembered.contains_key(&number) {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(chunks: &Chunks, written: &[Stored]) -> Vec<(u32, bool)> {
        let number = |it: &Stored| chunks.number(&it.key).expect("a key of ours");
        written
            .iter()
            .map(|it| (number(it), it.value.is_some()))
            .collect()
    }

    /// A whole round, with one in each chunk.
    fn write_back(chunks: &mut Chunks) -> Vec<Stored> {
        let mut all = Vec::new();
        loop {
            let piece = chunks.take_changed(5, |_, ended| {
                let (_, newest) = ended.pop_front()?;
                Some(Chunk {
                    value: Vec::new(),
                    remembered: 1,
                    newest,
                })
            });
            if piece.is_empty() {
                return all;
            }
            all.extend(piece);
        }
    }

    fn end(chunks: &mut Chunks, number: u64) {
        let id = TransactionId::from_parts(crate::time::Millis(number), 0);
        chunks.note_ended(id, Lsn(number));
    }

    #[test]
    fn numbers_come_round_and_are_not_given_twice() {
        let mut chunks = Chunks::new(b"it/");
        chunks.note_loaded(2, 1);
        // One outcome cannot be in two chunks; to the second it is no loss.
        chunks.note_loaded(CHUNK_MAX, 0);
        end(&mut chunks, 6);
        let written = write_back(&mut chunks);
        assert_eq!(numbers(&chunks, &written), [(CHUNK_MAX, false), (1, true)]);
        // 2 is taken, by what waits to be removed as well.
        assert!(chunks.leave(2));
        chunks.note_watermark(Lsn(7));
        assert_eq!(chunks.free_number(), 3);
        let removed = write_back(&mut chunks);
        assert_eq!(numbers(&chunks, &removed), [(2, false)]);
        assert_eq!(removed[0].lsn, Lsn(7), "after the watermark");
        assert_eq!(chunks.free_number(), 2);
    }

    #[test]
    fn a_round_is_about_what_had_ended_when_it_began() {
        let mut chunks = Chunks::new(b"it/");
        end(&mut chunks, 1);
        chunks.begin_round();
        end(&mut chunks, 2);
        assert_eq!(write_back(&mut chunks).len(), 1);
        assert_eq!(write_back(&mut chunks).len(), 1);
        assert!(write_back(&mut chunks).is_empty());
    }

    #[test]
    fn only_keys_of_chunks_have_a_number() {
        let chunks = Chunks::new(b"it/");
        for number in [1, 77, CHUNK_MAX] {
            assert_eq!(chunks.number(&chunks.key(number)), Some(number));
        }
        for number in [0, CHUNK_MAX + 1, u32::MAX] {
            assert_eq!(chunks.number(&chunks.key(number)), None);
        }
        assert_eq!(chunks.number(b"it/12345"), None);
        assert_eq!(chunks.number(b"other/1234"), None);
    }
}
