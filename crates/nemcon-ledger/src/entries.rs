//! The entries of an account, as they are stored.
//!
//! Nearly all of a bank's memory is entries, and hardly one of them is ever
//! looked at: one more is put behind them, the oldest goes, and now and then all
//! of them are written to disk. So they are kept in the form in which they are
//! written, half as large as [`Entry`], and in one piece.

use alloc::vec::Vec;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::account::Entry;

/// When there is no room for one more: so much of it, at least, must be of
/// entries that are gone for the others to be moved there instead.
const GONE_AT_LEAST: usize = 16;

/// By so much of it the room grows.
const GROWS_BY: usize = 8;

/// Entries, oldest first.
#[derive(Clone, Default)]
pub struct Entries {
    /// Each in CBOR, one behind the other.
    bytes: Vec<u8>,
    /// Where the oldest begins; what is before it is gone.
    start: u32,
    count: u32,
}

impl Entries {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        let mut decoder = Decoder::new(self.kept());
        (0..self.count).map(move |_| next(&mut decoder))
    }

    /// What each of them moved, in minor units, oldest first. Reads no more of them
    /// than that: at a start it is asked of all accounts.
    pub fn amounts_minor(&self) -> impl Iterator<Item = i64> {
        let mut decoder = Decoder::new(self.kept());
        (0..self.count).map(move |_| read(amount_minor(&mut decoder)))
    }

    /// The oldest.
    #[must_use]
    pub fn first(&self) -> Option<Entry> {
        self.iter().next()
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<Entry> {
        self.iter().last()
    }

    /// Puts one behind the others.
    pub fn push(&mut self, entry: &Entry) {
        let mut bytes = [0; ENTRY_BYTES_MAX];
        let mut encoder = Encoder::new(encode::write::Cursor::new(&mut bytes[..]));
        if encoder.encode(entry).is_err() {
            unreachable!("an entry takes at most {ENTRY_BYTES_MAX} bytes");
        }
        let length = encoder.writer().position();
        self.make_room(length);
        self.bytes.extend_from_slice(&bytes[..length]);
        self.count += 1;
    }

    /// Takes the oldest out.
    pub fn pop_first(&mut self) -> Option<Entry> {
        if self.is_empty() {
            return None;
        }
        let mut decoder = Decoder::new(self.kept());
        let entry = next(&mut decoder);
        let length = decoder.position();
        self.start += to_u32(length);
        self.count -= 1;
        Some(entry)
    }

    fn kept(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }

    /// Room for so many bytes more. It grows by little at a time, since most
    /// accounts have a few entries for good, and an account that has all that are
    /// kept needs no more: one goes for each that comes.
    fn make_room(&mut self, length: usize) {
        let capacity = self.bytes.capacity();
        if self.bytes.len() + length <= capacity {
            return;
        }
        let gone = self.start as usize;
        if gone >= length.max(capacity / GONE_AT_LEAST) {
            self.bytes.drain(..gone);
            self.start = 0;
        } else {
            self.bytes.reserve_exact(length.max(capacity / GROWS_BY));
        }
    }
}

/// A text of 64 bytes, three numbers of 9, an id of 17, and 6 for what is around them.
const ENTRY_BYTES_MAX: usize = 128;

/// The next entry.
fn next(decoder: &mut Decoder<'_>) -> Entry {
    read(decoder.decode())
}

/// What the next entry moved: its second field.
fn amount_minor(decoder: &mut Decoder<'_>) -> Result<i64, decode::Error> {
    let fields = decoder.array()?.unwrap_or_default();
    decoder.skip()?;
    let amount_minor = decoder.i64()?;
    (2..fields).try_for_each(|_| decoder.skip())?;
    Ok(amount_minor)
}

/// Of entries that were put there by [`Entries::push`], or read once when they were
/// decoded.
fn read<T>(found: Result<T, decode::Error>) -> T {
    match found {
        Ok(found) => found,
        Err(error) => unreachable!("an entry that was once read is now {error}"),
    }
}

/// Of a length within an account's value, which is far below 4 GiB.
fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut into = Self::default();
        entries.into_iter().for_each(|entry| into.push(&entry));
        into
    }
}

impl<C> Encode<C> for Entries {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let writer = e.array(self.count.into())?.writer_mut();
        writer.write_all(self.kept()).map_err(encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for Entries {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let unknown = || decode::Error::message("a list without its length");
        let count = d.array()?.ok_or_else(unknown)?;
        let from = d.position();
        for _ in 0..count {
            // What is read of it later relies on this.
            d.probe().array()?.ok_or_else(unknown)?;
            d.decode::<Entry>()?;
        }
        let bytes = d.input().get(from..d.position()).unwrap_or_default();
        Ok(Self {
            bytes: bytes.to_vec(),
            start: 0,
            count: u32::try_from(count).map_err(|_| decode::Error::message("too many entries"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::string::{String, ToString};

    use nemcon_core::codec::Codec;
    use nemcon_core::id::TransactionId;
    use nemcon_core::time::Millis;
    use proptest::prelude::*;

    use super::*;
    use crate::account::Contra;
    use crate::limits::REFERENCE_CHARS_MAX;
    use crate::name::Reference;

    fn entries() -> impl Strategy<Value = Entry> {
        let reference = proptest::option::of("[ -~]{1,64}");
        let numbers = (any::<u64>(), any::<i64>(), any::<i64>(), any::<u64>());
        (numbers, any::<bool>(), reference).prop_map(|(numbers, cash, reference)| Entry {
            booked_at: Millis(numbers.0),
            amount_minor: numbers.1,
            balance_minor: numbers.2,
            transaction: TransactionId::from_parts(Millis(numbers.3 >> 16), numbers.3.into()),
            contra: if cash { Contra::Cash } else { Contra::Clearing },
            reference: reference.map(|text| Reference::new(&text).unwrap()),
        })
    }

    #[test]
    fn the_longest_entry_has_room() {
        let longest = Entry {
            booked_at: Millis(u64::MAX),
            amount_minor: i64::MIN,
            balance_minor: i64::MAX,
            transaction: TransactionId::from_parts(Millis(1 << 47), u128::MAX),
            contra: Contra::Clearing,
            reference: Some(Reference::new(&"x".repeat(REFERENCE_CHARS_MAX)).unwrap()),
        };
        let mut entries = Entries::default();
        entries.push(&longest);
        assert_eq!(entries.last().as_ref(), Some(&longest));
        assert_eq!(entries.pop_first(), Some(longest));
    }

    proptest! {
        #[test]
        fn they_are_the_queue_they_stand_for(
            steps in proptest::collection::vec((entries(), any::<bool>()), 0..200),
        ) {
            let (mut ours, mut queue) = (Entries::default(), VecDeque::new());
            for (entry, takes) in steps {
                if takes {
                    prop_assert_eq!(ours.pop_first(), queue.pop_front());
                }
                ours.push(&entry);
                queue.push_back(entry);
                prop_assert_eq!(ours.len(), queue.len());
                prop_assert_eq!(ours.first(), queue.front().cloned());
                prop_assert_eq!(ours.last(), queue.back().cloned());
            }
            prop_assert!(ours.iter().eq(queue.iter().cloned()));
            prop_assert!(ours.amounts_minor().eq(queue.iter().map(|entry| entry.amount_minor)));
            // Stored, they are what a list of entries is.
            prop_assert_eq!(ours.to_bytes(), queue.to_bytes());
            prop_assert_eq!(Entries::from_bytes(&queue.to_bytes()), Ok(ours));
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let number: VecDeque<u64> = [7].into();
        let text: VecDeque<String> = ["entry".into()].into();
        for bytes in [number.to_bytes(), text.to_bytes()] {
            assert!(Entries::from_bytes(&bytes).is_err());
        }
        // One entry, as a list that says nowhere how long it is: we never write that.
        let endless = [1, 0x81, 0x9f, 7, 1, 1, 0x50];
        let endless = [&endless[..], &[7; 16], &[1, 0xf6, 0xff]].concat();
        let error = Entries::from_bytes(&endless).unwrap_err().to_string();
        assert!(error.contains("a list without its length"), "{error}");
        let entry: Entries = Entries::default();
        let mut cut = entry.to_bytes();
        cut.pop();
        assert!(Entries::from_bytes(&cut).is_err());
    }

    #[test]
    fn a_full_account_takes_little_more_than_its_entries() {
        let mut entries = Entries::default();
        for n in 0..10_000_i64 {
            if entries.len() == 100 {
                entries.pop_first();
            }
            entries.push(&Entry {
                booked_at: Millis(1_700_000_000_000),
                amount_minor: n,
                balance_minor: 1_000_000 + n,
                transaction: TransactionId::from_parts(Millis(1_700_000_000_000), 7),
                contra: Contra::Clearing,
                reference: None,
            });
        }
        let (kept, taken) = (entries.kept().len(), entries.bytes.capacity());
        assert!(kept > 3_000 && taken < kept + kept / 5, "{kept} in {taken}");
    }
}
