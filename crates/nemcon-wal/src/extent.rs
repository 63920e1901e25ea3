//! How far the data is complete.
//!
//! The data has a database of its own, so it may be restored, or lost, apart from
//! the log. Each checkpoint therefore leaves a statement in it before it is closed:
//! every change of a record before this one is in the values. A log whose newest
//! closed checkpoint lets replay start later than that has data that is too old,
//! and one in which the page named here begins with another record has data that
//! belongs to another log.
//!
//! ```text
//!   0     1      5             13            21
//!   ├─────┼──────┼─────────────┼─────────────┤
//!   │ ver │ crc  │ LSN         │ page        │   big-endian
//!   └─────┴──────┴─────────────┴─────────────┘
//! ```
//!
//! It is encoded as a value is, under a key of its own.

use nemcon_core::id::Lsn;

#[cfg(any(feature = "sled", test))]
use crate::value;

/// Goes into the checksum, so that no other value is taken for this one.
#[cfg(any(feature = "sled", test))]
const KEY: &[u8] = b"extent";

/// Every change of a record before this place is in the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where the checkpoint that wrote it lets replay start.
    pub(crate) page: u64,
    /// The first record of that page.
    pub(crate) lsn: Lsn,
}

/// The log in memory keeps it as it is.
#[cfg(any(feature = "sled", test))]
impl Extent {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        value::to_bytes(KEY, self.lsn, &self.page.to_be_bytes())
    }

    /// `None` if [`Extent::to_bytes`] did not write it.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (lsn, page) = value::read(KEY, bytes).ok()?;
        let page = u64::from_be_bytes(page.try_into().ok()?);
        Some(Self { page, lsn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_an_extent_do_not_change_between_versions() {
        let extent = Extent {
            page: 9,
            lsn: Lsn(7),
        };
        let bytes = extent.to_bytes();
        assert_eq!(bytes[0], value::VERSION);
        assert_eq!(bytes[5..], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(Extent::read(&bytes), Some(extent));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Extent::read(&damaged), None, "byte {at}");
        }
    }
}
