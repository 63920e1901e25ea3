//! What the writer and the recovery need of whatever keeps the bytes.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use crate::error::{LogError, OpenError};
use crate::extent::Extent;
use crate::mark::Mark;

/// A key and its value, as stored.
pub(crate) type Entry<B> = Result<(B, B), OpenError>;

/// Two ordered trees (the log's pages, the data's values) and a mark.
///
/// Writes may reach the disk at any time, each whole or not at all, and those to
/// one tree as a prefix of the order in which they were made. Nothing is assumed
/// of the order between the trees. Each has a sync of its own, after which all of
/// its writes have; and so has the mark.
pub(crate) trait Store {
    /// Bytes read from a tree.
    type Bytes: AsRef<[u8]>;

    /// Where it is, for messages.
    fn place(&self) -> &Path;

    /// Adds a page to the log.
    fn write_page(&mut self, page: u64, bytes: Vec<u8>) -> Result<(), LogError>;

    /// Gives up pages at the beginning of the log: nobody needs them any more.
    fn remove_pages(&mut self, pages: Range<u64>) -> Result<(), LogError>;

    /// Sets or removes a value of the data.
    fn write_value(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), LogError>;

    /// Says how far the data is complete. Ordered behind the values written before.
    fn write_extent(&mut self, extent: Extent) -> Result<(), LogError>;

    /// Makes the values and their extent durable.
    fn sync_values(&mut self) -> Result<(), LogError>;

    /// Makes the pages durable. Says how long that took (zero where there is no
    /// clock).
    fn sync(&mut self) -> Result<Duration, LogError>;

    /// Bytes that are free for more.
    fn free_bytes(&self) -> Result<u64, LogError>;

    /// Hands the mark to the operating system, which keeps it if only the
    /// process dies.
    fn write_mark(&mut self, mark: Mark) -> Result<(), LogError>;

    /// Makes the mark durable.
    fn sync_mark(&mut self) -> Result<(), LogError>;

    /// The newest mark.
    fn read_mark(&self) -> Result<Mark, OpenError>;

    /// How far the data was said to be complete; `None` if nothing was said.
    fn read_extent(&self) -> Result<Option<Extent>, OpenError>;

    /// Pages in the order of their numbers, from `first` on. Those that were removed
    /// may be among them, or some of them, until the store has other use for their place.
    fn pages_from(&self, first: u64) -> impl DoubleEndedIterator<Item = Entry<Self::Bytes>>;

    /// Values in the order of their keys, from behind `after` on.
    fn values_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Entry<Self::Bytes>>;

    /// One page.
    fn page(&self, page: u64) -> Result<Vec<u8>, OpenError>;

    /// All values in the order of their keys.
    fn values(&self) -> impl Iterator<Item = Entry<Self::Bytes>>;
}
