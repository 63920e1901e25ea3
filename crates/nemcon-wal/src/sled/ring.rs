//! Where pages lie: in slots, each used again once its page is needed no more.
//!
//! ```text
//!   slot   0    1    2    3    4    5    6    7      key: big-endian u64
//!   page  17   18   19   12   13   14   15   16      value: the page, which has its number
//!                    ▲    └ the oldest that is needed is 14: 12 and 13 are free
//!                    └ the newest
//! ```
//!
//! A tree that only grows at its end and shrinks at its beginning makes sled write
//! each page some five times: a node of the tree is written as a whole when it has got
//! ten new values, and twice when it is cut in two for having more than sixteen. And
//! what is removed leaves holes in the file that sled has to be driven to clean. Slots
//! are made empty, when cutting in two costs little, and are overwritten in turn ever
//! after: nothing is cut, nothing is removed, and the file cleans itself for the most
//! part, since what lies in a segment is written again elsewhere within a round.
//!
//! So pages that are needed no more stay where they are until their slots are used.
//! They are free in the order of their numbers. If more lie there than the log has
//! needed of late, their slots are emptied, little by little, and rest.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;

use ::sled::{IVec, Tree};

use super::database::refused;
use super::guard::{EngineError, Guarded, guarded};
use super::store::{INLINE_BYTES_MAX, look_at};
use crate::error::OpenError;
use crate::page;
use crate::store::Entry;

/// Slots that stay empty behind all others: as many as a tree node has at most, so
/// that it is always empty ones that are cut in two.
const SPARE: usize = 17;

/// Slots made at once when there are fewer.
const MADE_AT_ONCE: u64 = 32;

/// Bytes of pages beyond the most that were needed of late, which are left in free slots.
const MARGIN_BYTES: usize = 1 << 20;

/// How fast that most is forgotten: by this part of it with each page that is freed,
/// however many are freed at once.
const FORGOTTEN: usize = 65_536;

/// For so many slots that are freed one is emptied, if there is too much in free ones.
const EMPTIED: usize = 8;

/// The slots of a log, in a tree.
pub(super) struct Ring {
    tree: Tree,
    /// Where each page is.
    pages: BTreeMap<u64, Slot>,
    /// Those whose page is needed no more, the oldest page first.
    free: VecDeque<Slot>,
    /// The numbers of empty ones, for when these do not suffice.
    reserve: Vec<u64>,
    /// Bytes of all pages, and of those that are free.
    bytes: usize,
    free_bytes: usize,
    /// The most bytes of pages that were needed at once of late.
    peak: usize,
    /// Slots freed since one was last emptied, or might have been.
    freed: usize,
    /// The number of the next slot that is made.
    next: u64,
}

/// One place for a page.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    /// Bytes of the page in it, needed or not.
    bytes: usize,
}

impl Slot {
    const fn key(self) -> [u8; 8] {
        self.number.to_be_bytes()
    }
}

impl Ring {
    /// Looks which pages there are. `dir` is the log's directory, for messages.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] if what is found cannot be what was written.
    pub(super) fn open(tree: Tree, dir: &Path) -> Result<Self, OpenError> {
        let damaged = |what: String| OpenError::Damaged {
            dir: dir.to_owned(),
            what,
        };
        let mut ring = Self {
            tree: tree.clone(),
            pages: BTreeMap::new(),
            free: VecDeque::new(),
            reserve: Vec::new(),
            bytes: 0,
            free_bytes: 0,
            peak: 0,
            freed: 0,
            next: 0,
        };
        for entry in Guarded::new(&tree) {
            let (key, value) = entry.map_err(|error| refused(dir, &error))?;
            guarded(|| look_at(&tree, &key, value.len())).map_err(|error| refused(dir, &error))?;
            let number = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes);
            let number =
                number.map_err(|_| damaged(format!("a slot's number of {} bytes", key.len())))?;
            let bytes = value.len();
            let slot = Slot { number, bytes };
            ring.bytes += bytes;
            if number > u64::MAX - 2 * MADE_AT_ONCE {
                return Err(damaged(format!(
                    "slot {number} is among the last there can be"
                )));
            }
            ring.next = number + 1;
            if bytes == 0 {
                ring.reserve.push(number);
                continue;
            }
            let page = page::number(&value)
                .ok_or_else(|| damaged(format!("{bytes} bytes in slot {number} are no page")))?;
            if let Some(other) = ring.pages.insert(page, slot) {
                let (one, two) = (other.number, number);
                return Err(damaged(format!("page {page} is in slots {one} and {two}")));
            }
        }
        Ok(ring)
    }

    /// Writes a page into a free slot.
    pub(super) fn write(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), EngineError> {
        let slot = Slot {
            number: self.take()?,
            bytes: bytes.len(),
        };
        guarded(|| {
            self.tree.insert(slot.key(), bytes)?;
            look_at(&self.tree, &slot.key(), slot.bytes)
        })?;
        self.bytes += slot.bytes;
        self.pages.insert(page, slot);
        Ok(())
    }

    /// The number of a slot that is free.
    fn take(&mut self) -> Result<u64, EngineError> {
        loop {
            if self.free.len() > SPARE
                && let Some(slot) = self.free.pop_front()
            {
                self.bytes -= slot.bytes;
                self.free_bytes -= slot.bytes;
                return Ok(slot.number);
            }
            if let Some(number) = self.reserve.pop() {
                return Ok(number);
            }
            self.make()?;
        }
    }

    /// Makes empty slots.
    fn make(&mut self) -> Result<(), EngineError> {
        let first = self.next;
        self.next += MADE_AT_ONCE;
        let made = (first..self.next).map(|number| Slot { number, bytes: 0 });
        guarded(|| {
            for slot in made.clone() {
                self.tree.insert(slot.key(), &[])?;
            }
            Ok(())
        })?;
        self.free.extend(made);
        Ok(())
    }

    /// Frees the slots of pages.
    pub(super) fn free(&mut self, pages: Range<u64>) -> Result<(), EngineError> {
        let needed = self.bytes - self.free_bytes;
        let mut freed = 0;
        while let Some((&page, &(mut slot))) = self.pages.range(pages.clone()).next() {
            if slot.bytes > INLINE_BYTES_MAX {
                // It would be written again, as large as it is, with its neighbours.
                guarded(|| self.tree.insert(slot.key(), &[]))?;
                self.bytes -= slot.bytes;
                slot.bytes = 0;
            }
            self.pages.remove(&page);
            self.free_bytes += slot.bytes;
            self.free.push_back(slot);
            freed += 1;
        }
        let forgotten = self.peak / FORGOTTEN * freed;
        self.peak = needed.max(self.peak.saturating_sub(forgotten));
        self.freed += freed;
        for _ in 0..self.freed / EMPTIED {
            if self.bytes <= self.peak + MARGIN_BYTES {
                break;
            }
            if let Some(slot) = self.free.pop_front() {
                guarded(|| self.tree.insert(slot.key(), &[]))?;
                self.bytes -= slot.bytes;
                self.free_bytes -= slot.bytes;
                self.reserve.push(slot.number);
            }
        }
        self.freed %= EMPTIED;
        Ok(())
    }

    /// One page; `None` if it is not there.
    pub(super) fn page(&self, page: u64) -> Result<Option<IVec>, EngineError> {
        match self.pages.get(&page) {
            Some(slot) => guarded(|| self.tree.get(slot.key())),
            None => Ok(None),
        }
    }

    /// Pages in their order, from one on, while sled lets go of what has been read.
    pub(super) fn pages_from<'a>(
        &'a self,
        first: u64,
        dir: &'a Path,
    ) -> impl DoubleEndedIterator<Item = Entry<IVec>> + use<'a> {
        self.pages.range(first..).map(move |(&page, slot)| {
            let read = guarded(|| {
                let bytes = self.tree.get(slot.key())?;
                look_at(&self.tree, &slot.key(), slot.bytes)?;
                Ok(bytes)
            });
            match read {
                Ok(Some(bytes)) => Ok((IVec::from(&page.to_be_bytes()), bytes)),
                Ok(None) => Err(OpenError::Damaged {
                    dir: dir.to_owned(),
                    what: format!("slot {} has lost page {page}", slot.number),
                }),
                Err(error) => Err(refused(dir, &error)),
            }
        })
    }
}
