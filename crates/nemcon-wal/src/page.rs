//! Pages: the unit in which records reach the store.
//!
//! A page holds all records of a batch that fit into it, or one record that is
//! longer than a page. Packing is what makes the log fast: the store's price is
//! per value, not per byte, and a page is one value.
//!
//! ```text
//!   0     3   4    5    8       16      24        32     36     40    44
//!   ├─────┼───┼────┼────┼───────┼───────┼─────────┼──────┼──────┼─────┼── … ┤
//!   │"nlp"│ver│kind│zero│ page  │ first │ replay  │count │ body │ crc │frames│
//!   │     │   │    │    │ number│ LSN   │ from    │      │ bytes│     │      │
//!   └─────┴───┴────┴────┴───────┴───────┴─────────┴──────┴──────┴─────┴── … ┘
//! ```
//!
//! All numbers are big-endian. The header's CRC32C covers the 40 bytes before
//! it; each frame has its own. Page numbers are dense from 1, and so are LSNs
//! through all pages, so that a page that is gone, doubled or out of place is
//! found.

use nemcon_core::id::Lsn;

use crate::frame::{self, Frame, FrameError};

/// The version this code writes, and the newest it reads.
pub const VERSION: u8 = 1;

/// Bytes in front of the frames.
pub const HEADER_BYTES: usize = 44;

const MAGIC: &[u8; 3] = b"nlp";
const SUMMED_BYTES: usize = HEADER_BYTES - 4;

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It holds records.
    Records,
    /// It holds none: a checkpoint is closed, and replay starts at an older page
    /// (or at this one, when nothing was alive).
    CheckpointClosed {
        /// Where replay starts.
        first_page: u64,
    },
}

/// The head of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the page is for.
    pub kind: Kind,
    /// Its number.
    pub page: u64,
    /// Its first record, or the one that follows if it has none.
    pub first_lsn: Lsn,
    /// How many records it holds.
    pub count: u32,
    body_bytes: u32,
}

/// Why bytes are not a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Shorter than a header, or than its header says; or longer.
    #[error("{found} bytes where {expected} were written")]
    Length {
        /// Bytes there should be (at least a header).
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// It does not begin like a page.
    #[error("it is no page of a log")]
    Magic,
    /// Written by a newer version.
    #[error("format version {found}; this program reads up to {VERSION}")]
    Version {
        /// The version that was found.
        found: u8,
    },
    /// The header's checksum does not fit.
    #[error("the header's checksum does not fit")]
    HeaderChecksum,
    /// A kind that this version does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// It stands under another number than it was written under.
    #[error("it is page {0}, out of its place")]
    Misplaced(u64),
    /// Its number or those of its records are the last there can be. No log gets so
    /// far, and nothing could follow.
    #[error("its numbers are the last there can be")]
    Exhausted,
    /// One of its frames is damaged.
    #[error("record {index} in it is damaged: {error}")]
    Frame {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        error: FrameError,
    },
    /// A whole frame has the wrong LSN.
    #[error("record {found} in it where {expected} had to follow")]
    NotDense {
        /// The LSN that had to come.
        expected: Lsn,
        /// The LSN that came.
        found: Lsn,
    },
}

/// The number that stands in the head of a page, whatever else is wrong with it; `None`
/// if the bytes are too few to be one.
#[cfg(feature = "sled")]
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64_at(bytes.first_chunk::<HEADER_BYTES>()?, 8))
}

impl Header {
    /// Reads the head of a page that is stored under `page`.
    ///
    /// # Errors
    /// [`PageError`], but for what concerns the frames.
    pub fn read(page: u64, bytes: &[u8]) -> Result<Self, PageError> {
        let head = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(PageError::Length {
                expected: HEADER_BYTES,
                found: bytes.len(),
            })?;
        if &head[..3] != MAGIC {
            return Err(PageError::Magic);
        }
        // Before the checksum: a newer version may place it elsewhere.
        if head[3] > VERSION {
            return Err(PageError::Version { found: head[3] });
        }
        if crc32c::crc32c(&head[..SUMMED_BYTES]) != u32_at(head, SUMMED_BYTES) {
            return Err(PageError::HeaderChecksum);
        }
        let kind = match head[4] {
            0 => Kind::Records,
            1 => Kind::CheckpointClosed {
                first_page: u64_at(head, 24),
            },
            unknown => return Err(PageError::Kind(unknown)),
        };
        let header = Self {
            kind,
            page: u64_at(head, 8),
            first_lsn: Lsn(u64_at(head, 16)),
            count: u32_at(head, 32),
            body_bytes: u32_at(head, 36),
        };
        if header.page != page {
            return Err(PageError::Misplaced(header.page));
        }
        let next_lsn = header.first_lsn.0.checked_add(header.count.into());
        if page == u64::MAX || next_lsn.is_none_or(|next| next == u64::MAX) {
            return Err(PageError::Exhausted);
        }
        let expected = HEADER_BYTES + header.body_bytes as usize;
        if bytes.len() != expected {
            return Err(PageError::Length {
                expected,
                found: bytes.len(),
            });
        }
        Ok(header)
    }

    /// The LSN that follows this page's last record.
    #[must_use]
    pub const fn next_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0 + self.count as u64)
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let (kind, first_page) = match self.kind {
            Kind::Records => (0, 0),
            Kind::CheckpointClosed { first_page } => (1, first_page),
        };
        let mut head = [0; HEADER_BYTES];
        head[..3].copy_from_slice(MAGIC);
        head[3] = VERSION;
        head[4] = kind;
        head[8..16].copy_from_slice(&self.page.to_be_bytes());
        head[16..24].copy_from_slice(&self.first_lsn.0.to_be_bytes());
        head[24..32].copy_from_slice(&first_page.to_be_bytes());
        head[32..36].copy_from_slice(&self.count.to_be_bytes());
        head[36..40].copy_from_slice(&self.body_bytes.to_be_bytes());
        let sum = crc32c::crc32c(&head[..SUMMED_BYTES]);
        head[SUMMED_BYTES..].copy_from_slice(&sum.to_be_bytes());
        head
    }
}

/// Reads a whole page that is stored under `page`, checks all of it and hands
/// out its records.
///
/// # Errors
/// [`PageError`] for the first thing that is wrong.
pub fn read(page: u64, bytes: &[u8]) -> Result<(Header, Vec<Frame<'_>>), PageError> {
    let header = Header::read(page, bytes)?;
    let mut rest = &bytes[HEADER_BYTES..];
    let mut frames = Vec::with_capacity(rest.len() / frame::HEADER_BYTES);
    let mut expected = header.first_lsn;
    for index in 0..header.count {
        let (frame, left) =
            frame::split(rest).map_err(|error| PageError::Frame { index, error })?;
        if frame.lsn != expected {
            return Err(PageError::NotDense {
                expected,
                found: frame.lsn,
            });
        }
        frames.push(frame);
        rest = left;
        expected = expected.next();
    }
    if !rest.is_empty() {
        let expected = bytes.len() - rest.len();
        return Err(PageError::Length {
            expected,
            found: bytes.len(),
        });
    }
    Ok((header, frames))
}

/// Fills pages with records, in order.
#[derive(Debug)]
pub(crate) struct Packer {
    page_bytes_max: usize,
    next_page: u64,
    next_lsn: Lsn,
    /// The page being filled: room for the header, then frames.
    open: Vec<u8>,
    open_count: u32,
    full: Vec<Page>,
    full_bytes: usize,
}

/// A page ready for the store.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Packer {
    pub(crate) const fn new(page_bytes_max: usize, next_page: u64, next_lsn: Lsn) -> Self {
        Self {
            page_bytes_max,
            next_page,
            next_lsn,
            open: Vec::new(),
            open_count: 0,
            full: Vec::new(),
            full_bytes: 0,
        }
    }

    /// The LSN the next record must have.
    pub(crate) const fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// The number of the page that is filled next, once the open one has ended.
    pub(crate) const fn next_page(&self) -> u64 {
        self.next_page
    }

    /// Bytes of the pages that wait for [`Packer::take_full`].
    pub(crate) const fn full_bytes(&self) -> usize {
        self.full_bytes
    }

    /// Adds a record, whose LSN the caller has checked.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let framed = frame::framed_bytes(bytes.len());
        if self.open.len() + framed > self.page_bytes_max {
            self.end_page();
        }
        if self.open.is_empty() {
            self.open
                .reserve(self.page_bytes_max.max(HEADER_BYTES + framed));
            self.open.resize(HEADER_BYTES, 0);
        }
        frame::push(&mut self.open, self.next_lsn, bytes);
        self.open_count += 1;
        self.next_lsn = self.next_lsn.next();
    }

    /// Ends the open page, if any record stands in it.
    pub(crate) fn end_page(&mut self) {
        if self.open_count > 0 {
            let bytes = std::mem::take(&mut self.open);
            let count = std::mem::take(&mut self.open_count);
            self.finish(Kind::Records, count, bytes);
        }
    }

    /// Ends the open page and adds one that closes a checkpoint.
    pub(crate) fn close_checkpoint(&mut self, first_page: u64) {
        self.end_page();
        self.finish(
            Kind::CheckpointClosed { first_page },
            0,
            vec![0; HEADER_BYTES],
        );
    }

    /// Takes the pages that have ended.
    pub(crate) fn take_full(&mut self) -> Vec<Page> {
        self.full_bytes = 0;
        std::mem::take(&mut self.full)
    }

    fn finish(&mut self, kind: Kind, count: u32, mut bytes: Vec<u8>) {
        let header = Header {
            kind,
            page: self.next_page,
            first_lsn: Lsn(self.next_lsn.0 - u64::from(count)),
            count,
            body_bytes: u32::try_from(bytes.len() - HEADER_BYTES).unwrap_or(u32::MAX),
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        self.full_bytes += bytes.len();
        self.full.push(Page {
            number: self.next_page,
            bytes,
        });
        self.next_page += 1;
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(number)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(number)
}

#[cfg(test)]
mod tests;
