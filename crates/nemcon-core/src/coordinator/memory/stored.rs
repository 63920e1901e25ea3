//! Remembered outcomes as they lie in the stored data: in chunks, each written
//! once and removed once.
//!
//! Each takes about 36 bytes: neighbours have nearly the same times and numbers, so
//! these are told as differences.
//!
//! ```text
//!   version 1, when the first ended (8 bytes, big-endian), then each outcome:
//!   │ kind │ id: made, rest │ hash │ epoch │ sequence │ ended │ decided │ begun │ cause │
//!       1      1-10     10    16      1-10      1-10     1-10     1-10     1-10     –
//! ```
//!
//! - *kind*: 0 committed, 1 aborted; only then there is a cause: its length, and
//!   its CBOR, as in the records;
//! - numbers are in groups of seven bits, the lowest first, each but the last with
//!   the high bit set; those that may be negative have their sign in the lowest
//!   bit;
//! - *made* is the id's time, *epoch* and *sequence* are the attempt: as
//!   differences to the outcome before, at first to when the first ended and to
//!   zero;
//! - *ended*: since the first ended; *decided*: before that; *begun*: before that.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uuid::Uuid;

use super::kept::{Kept, ShortHash, Times};
use crate::codec::{Codec, CorruptLog};
use crate::coordinator::record::Cause;
use crate::id::{Epoch, Position, Sequence, TransactionId};
use crate::message::Outcome;
use crate::remembered::chunks::CHUNK_BYTES;
use crate::time::{Millis, Span};

/// What the keys of chunks begin with; the number follows, big-endian.
pub(super) const KEY: &[u8] = b"outcomes/";

/// Bytes of an outcome at least.
pub(super) const OUTCOME_BYTES_MIN: usize = 1 + 1 + 10 + 16 + 5;

const VERSION: u8 = 1;

/// Kinds of outcomes.
const COMMITTED: u8 = 0;
const ABORTED: u8 = 1;

/// What an outcome is told as a difference to.
#[derive(Clone, Copy)]
struct Before {
    minted: u64,
    epoch: u64,
    sequence: u64,
}

/// Makes the value of a chunk.
pub(super) struct Writer {
    since: Millis,
    before: Before,
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with what ended at `since`, or later.
    pub(super) fn new(since: Millis) -> Self {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES + 256);
        bytes.push(VERSION);
        bytes.extend_from_slice(&since.0.to_be_bytes());
        let before = Before {
            minted: since.0,
            epoch: 0,
            sequence: 0,
        };
        Self {
            since,
            before,
            bytes,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// Appends an outcome; with why it aborted, encoded, if it did.
    pub(super) fn push(&mut self, kept: &Kept, cause: Option<&[u8]>) {
        let (times, attempt) = (kept.times(), kept.attempt());
        let now = Before {
            minted: kept.transaction.minted_at().0,
            epoch: attempt.epoch.0,
            sequence: attempt.sequence.0,
        };
        self.bytes.push(match kept.outcome() {
            Outcome::Committed => COMMITTED,
            Outcome::Aborted => ABORTED,
        });
        self.signed(now.minted, self.before.minted);
        let id = kept.transaction.uuid();
        self.bytes.extend_from_slice(&id.as_bytes()[6..]);
        self.bytes.extend_from_slice(&kept.hash.0);
        self.signed(now.epoch, self.before.epoch);
        self.signed(now.sequence, self.before.sequence);
        // What ended earlier by another clock ended now.
        self.unsigned(times.ended.since(self.since).0);
        self.unsigned(times.ended.since(times.decided).0);
        self.unsigned(times.decided.since(times.begun).0);
        if kept.outcome() == Outcome::Aborted {
            // Whoever has lost the cause must not turn it into a commit.
            let cause = cause.unwrap_or_default();
            self.unsigned(cause.len() as u64);
            self.bytes.extend_from_slice(cause);
        }
        self.before = now;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn unsigned(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn signed(&mut self, number: u64, before: u64) {
        let difference = number.wrapping_sub(before).cast_signed();
        self.unsigned(((difference << 1) ^ (difference >> 63)).cast_unsigned());
    }
}

/// Reads what [`Writer`] wrote, and gives each outcome to `take`, with why it
/// aborted.
pub(super) fn read(
    key: &[u8],
    value: &[u8],
    mut take: impl FnMut(Kept, Option<&[u8]>),
) -> Result<(), CorruptLog> {
    let mut reader = Reader(value);
    let wrong = |why: String| CorruptLog::value(key, why);
    let cut = || wrong("the chunk is cut off, or not one".to_string());
    match reader.array() {
        Some([VERSION]) => {}
        Some([found]) => {
            let why = format!("format version {found}; this program reads up to {VERSION}");
            return Err(wrong(why));
        }
        None => return Err(cut()),
    }
    let since = Millis(u64::from_be_bytes(reader.array().ok_or_else(cut)?));
    let mut before = Before {
        minted: since.0,
        epoch: 0,
        sequence: 0,
    };
    while !reader.0.is_empty() {
        let Raw { kept, cause } = reader.outcome(since, &mut before).ok_or_else(cut)?;
        let (id, hash, attempt, times) = kept;
        let id = TransactionId::new(id).map_err(|error| wrong(error.to_string()))?;
        let outcome = match cause {
            None => Outcome::Committed,
            Some([]) => Outcome::Aborted,
            Some(bytes) => {
                Cause::from_bytes(bytes).map_err(|error| wrong(error.to_string()))?;
                Outcome::Aborted
            }
        };
        take(Kept::new(id, hash, attempt, times, outcome), cause);
    }
    Ok(())
}

/// An outcome that has been read and not been checked.
struct Raw<'a> {
    kept: (Uuid, ShortHash, Position, Times),
    cause: Option<&'a [u8]>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self, before: u64) -> Option<u64> {
        let number = self.unsigned()?;
        let difference = (number >> 1) ^ (number & 1).wrapping_neg();
        Some(before.wrapping_add(difference))
    }

    fn outcome(&mut self, since: Millis, before: &mut Before) -> Option<Raw<'a>> {
        let [kind] = self.array()?;
        let minted = self.signed(before.minted)?;
        let mut id = [0; 16];
        id[..6].copy_from_slice(&minted.to_be_bytes()[2..]);
        id[6..].copy_from_slice(self.take(10)?);
        let hash = ShortHash(self.array()?);
        let epoch = self.signed(before.epoch)?;
        let sequence = self.signed(before.sequence)?;
        *before = Before {
            minted,
            epoch,
            sequence,
        };
        let ended = since + Span(self.unsigned()?);
        let decided = ended - Span(self.unsigned()?);
        let begun = decided - Span(self.unsigned()?);
        let cause = match kind {
            COMMITTED => None,
            ABORTED => {
                let bytes = usize::try_from(self.unsigned()?).ok()?;
                Some(self.take(bytes)?)
            }
            _ => return None,
        };
        let attempt = Position {
            epoch: Epoch(epoch),
            sequence: Sequence(sequence),
        };
        let times = Times {
            begun,
            decided,
            ended,
        };
        Some(Raw {
            kept: (Uuid::from_bytes(id), hash, attempt, times),
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::{Reason, Refusal};
    use proptest::prelude::*;

    type Told = (Kept, Option<Vec<u8>>);

    fn outcome() -> impl Strategy<Value = Told> {
        let minted = prop_oneof![Just(1_700_000_000_000_u64), 0..1_u64 << 48];
        let numbers = (any::<u32>(), any::<u64>(), 0_u64..1 << 50);
        let spans = (any::<u32>(), any::<u32>());
        (
            minted,
            any::<u128>(),
            any::<[u8; 16]>(),
            numbers,
            spans,
            any::<Option<u8>>(),
        )
            .prop_map(
                |(minted, chance, hash, (epoch, sequence, ended), spans, cause)| {
                    let attempt = Position {
                        epoch: Epoch(u64::from(epoch)),
                        sequence: Sequence(sequence),
                    };
                    let ended = Millis(ended + (1 << 34));
                    let decided = ended - Span(u64::from(spans.0));
                    let times = Times {
                        begun: decided - Span(u64::from(spans.1)),
                        decided,
                        ended,
                    };
                    let cause = cause.map(|number| Cause {
                        refusal: Refusal::new(Reason::LOCK_TIMEOUT, number.to_string()),
                        participant: None,
                    });
                    let id = TransactionId::from_parts(Millis(minted), chance);
                    let outcome = match cause {
                        None => Outcome::Committed,
                        Some(_) => Outcome::Aborted,
                    };
                    let kept = Kept::new(id, ShortHash(hash), attempt, times, outcome);
                    (kept, cause.map(|cause| cause.to_bytes()))
                },
            )
    }

    fn write(outcomes: &[Told]) -> Vec<u8> {
        let since = outcomes.iter().map(|(kept, _)| kept.at).min();
        let mut writer = Writer::new(since.unwrap_or_default());
        for (kept, cause) in outcomes {
            writer.push(kept, cause.as_deref());
        }
        writer.finish()
    }

    fn read_all(value: &[u8]) -> Result<Vec<Told>, CorruptLog> {
        let mut found = Vec::new();
        let take = |kept, cause: Option<&[u8]>| found.push((kept, cause.map(<[u8]>::to_vec)));
        read(b"key", value, take).map(|()| found)
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back(outcomes in prop::collection::vec(outcome(), 0..20)) {
            let found = read_all(&write(&outcomes)).expect("a chunk");
            let show = |all: &[Told]| alloc::format!("{all:?}");
            prop_assert_eq!(show(&found), show(&outcomes));
        }

        #[test]
        fn nonsense_is_no_chunk_and_no_panic(
            outcomes in prop::collection::vec(outcome(), 1..5),
            at: prop::sample::Index,
            byte: u8,
            cut: prop::sample::Index,
        ) {
            let mut value = write(&outcomes);
            let end = cut.index(value.len());
            let found = read_all(&value[..end]);
            prop_assert!(found.is_err() || found.is_ok_and(|found| found.len() < outcomes.len()));
            let at = at.index(value.len());
            value[at] = byte;
            let _ = read_all(&value);
        }
    }

    #[test]
    fn the_bytes_of_a_chunk_do_not_change_between_versions() {
        let attempt = Position {
            epoch: Epoch(2),
            sequence: Sequence(300),
        };
        let times = Times {
            begun: Millis(1_000),
            decided: Millis(1_010),
            ended: Millis(1_015),
        };
        let id = TransactionId::from_parts(Millis(999), 7);
        let kept = Kept::new(
            id,
            ShortHash([0xab; 16]),
            attempt,
            times,
            Outcome::Committed,
        );
        let value = write(&[(kept, None)]);
        let hex: String = value
            .iter()
            .map(|byte| alloc::format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "01",
            "00000000000003f7",
            "00",
            "1f",
            "70008000000000000007",
            "abababababababababababababababab",
            "04",
            "d804",
            "00",
            "05",
            "0a",
        );
        assert_eq!(hex, golden);
    }
}
