//! One record inside a page.
//!
//! ```text
//!   0      4      8              16
//!   ├──────┼──────┼───────────────┼─────────────── … ┤
//!   │ len  │ crc  │ LSN           │ the record       │   big-endian
//!   └──────┴──────┴───────────────┴─────────────── … ┘
//! ```
//!
//! The CRC32C covers length, LSN and record. Length stands outside of what it
//! measures, so a frame whose length was hit is either cut short or fails the
//! sum; both are found.

use nemcon_core::id::Lsn;

/// Bytes in front of each record.
pub const HEADER_BYTES: usize = 16;

/// A record as it stands in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// The record.
    pub bytes: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame says it is longer than what is left of the page.
    #[error("a frame of {wanted} bytes, but only {left} are left")]
    Cut {
        /// Bytes the frame needs.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// The checksum does not fit.
    #[error("checksum {found:08x} of record {lsn}, but its bytes give {computed:08x}")]
    Checksum {
        /// The LSN it claims.
        lsn: Lsn,
        /// The sum it carries.
        found: u32,
        /// The sum of its bytes.
        computed: u32,
    },
}

/// Bytes that a record of `len` bytes takes in a page.
#[must_use]
pub const fn framed_bytes(len: usize) -> usize {
    HEADER_BYTES + len
}

/// Appends a frame to a page. The caller has checked the record's length
/// against [`crate::RECORD_BYTES_MAX`].
pub fn push(page: &mut Vec<u8>, lsn: Lsn, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    page.extend_from_slice(&len.to_be_bytes());
    page.extend_from_slice(&checksum(len, lsn, bytes).to_be_bytes());
    page.extend_from_slice(&lsn.0.to_be_bytes());
    page.extend_from_slice(bytes);
}

/// Splits the first frame off `bytes`.
///
/// # Errors
/// [`FrameError`] if no whole and undamaged frame stands there.
pub fn split(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), FrameError> {
    let cut = |wanted| FrameError::Cut {
        wanted,
        left: bytes.len(),
    };
    let (header, rest) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(cut(HEADER_BYTES))?;
    let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let found = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let mut lsn = [0; 8];
    lsn.copy_from_slice(&header[8..]);
    let lsn = Lsn(u64::from_be_bytes(lsn));
    let (record, rest) = rest
        .split_at_checked(len as usize)
        .ok_or(cut(framed_bytes(len as usize)))?;
    let computed = checksum(len, lsn, record);
    if computed != found {
        return Err(FrameError::Checksum {
            lsn,
            found,
            computed,
        });
    }
    Ok((Frame { lsn, bytes: record }, rest))
}

fn checksum(len: u32, lsn: Lsn, bytes: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&len.to_be_bytes());
    let sum = crc32c::crc32c_append(sum, &lsn.0.to_be_bytes());
    crc32c::crc32c_append(sum, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_frame_do_not_change_between_versions() {
        let mut page = Vec::new();
        push(&mut page, Lsn(7), b"vote");
        let golden = b"\x00\x00\x00\x04\xb7\x88\x8e\x5d\x00\x00\x00\x00\x00\x00\x00\x07vote";
        assert_eq!(page, golden, "{page:02x?}");
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_as_it_was(lsn: u64, record: Vec<u8>, rest: Vec<u8>) {
            let mut page = Vec::new();
            push(&mut page, Lsn(lsn), &record);
            prop_assert_eq!(page.len(), framed_bytes(record.len()));
            page.extend_from_slice(&rest);
            let (frame, left) = split(&page).unwrap();
            prop_assert_eq!(frame, Frame { lsn: Lsn(lsn), bytes: &record });
            prop_assert_eq!(left, &rest[..]);
        }

        /// Of frames that follow each other and are cut anywhere, those before the cut
        /// come back, and then it is noticed that something is missing.
        #[test]
        fn a_cut_takes_nothing_but_what_it_has_cut(
            first in 0..1_000_u64,
            records in prop::collection::vec(any::<Vec<u8>>(), 1..9),
            cut: prop::sample::Index,
        ) {
            let mut page = Vec::new();
            let mut ends = Vec::new();
            for (record, lsn) in records.iter().zip(first..) {
                push(&mut page, Lsn(lsn), record);
                ends.push(page.len());
            }
            let cut = cut.index(page.len() + 1);
            let mut rest = &page[..cut];
            let whole = ends.iter().filter(|end| **end <= cut).count();
            for (record, lsn) in records.iter().zip(first..).take(whole) {
                let (frame, left) = split(rest).unwrap();
                prop_assert_eq!(frame, Frame { lsn: Lsn(lsn), bytes: record });
                rest = left;
            }
            let left = rest.len();
            match split(rest) {
                Ok(frame) => prop_assert!(false, "{frame:?} out of a cut one"),
                Err(FrameError::Cut { wanted, left: there }) => {
                    prop_assert_eq!(there, left);
                    prop_assert!(wanted > left);
                }
                Err(damage) => prop_assert!(false, "{damage} where nothing was damaged"),
            }
        }

        #[test]
        fn a_changed_byte_is_found(
            lsn: u64,
            record: Vec<u8>,
            rest: Vec<u8>,
            at: prop::sample::Index,
            by in 1..=255_u8,
        ) {
            let mut page = Vec::new();
            push(&mut page, Lsn(lsn), &record);
            let framed = page.len();
            page.extend_from_slice(&rest);
            page[at.index(framed)] ^= by;
            prop_assert!(split(&page).is_err());
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
            prop_assert!(split(&bytes).is_err());
        }
    }
}
