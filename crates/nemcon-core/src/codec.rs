//! How records become bytes: one byte of format version, then CBOR with numbered
//! fields, so that a later version may add fields and still read older logs.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::id::Lsn;

/// The version this code writes, and the newest it reads.
pub const FORMAT_VERSION: u8 = 1;

/// A log that cannot be what this code wrote. A node that meets one refuses to
/// start; nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptLog {
    /// The record was written by a newer version.
    #[error("record of format version {found}; this version reads up to {FORMAT_VERSION}")]
    Version {
        /// The version byte that was found.
        found: u8,
    },
    /// The bytes are not a record.
    #[error("malformed record: {0}")]
    Malformed(String),
    /// The record makes no sense after those before it.
    #[error("record {lsn} ({record}) cannot follow: {why}")]
    Illegal {
        /// Where it stands.
        lsn: Lsn,
        /// What it says.
        record: String,
        /// Why it cannot be.
        why: String,
    },
    /// A stored value that the resource cannot read.
    #[error("malformed value of key {key}: {why}")]
    Value {
        /// The key, printable characters as they are and others escaped.
        key: String,
        /// Why it cannot be.
        why: String,
    },
}

impl CorruptLog {
    /// For a value that its resource cannot read.
    #[must_use]
    pub fn value(key: &[u8], why: impl Into<String>) -> Self {
        Self::Value {
            key: key.escape_ascii().to_string(),
            why: why.into(),
        }
    }
}

/// What can be written to the log and read back.
pub trait Codec: Sized {
    /// Adds the bytes that the log keeps to `bytes`.
    fn write_to(&self, bytes: &mut Vec<u8>);

    /// The same bytes by themselves.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.write_to(&mut bytes);
        bytes
    }

    /// Reads what [`Codec::to_bytes`] wrote, by this version or an older one.
    ///
    /// # Errors
    /// [`CorruptLog`] for anything else, trailing bytes included.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CorruptLog>;
}

impl<T> Codec for T
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(FORMAT_VERSION);
        if let Err(error) = minicbor::encode(self, bytes) {
            match error.into_write() {
                Some(never) => match never {},
                None => unreachable!("our own types encode without custom errors"),
            }
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CorruptLog> {
        let (&version, body) = bytes
            .split_first()
            .ok_or_else(|| CorruptLog::Malformed("empty".to_string()))?;
        if version != FORMAT_VERSION {
            return Err(CorruptLog::Version { found: version });
        }
        let mut decoder = minicbor::Decoder::new(body);
        let value = decoder
            .decode()
            .map_err(|error| CorruptLog::Malformed(error.to_string()))?;
        match body.len() - decoder.position() {
            0 => Ok(value),
            left => Err(CorruptLog::Malformed(format!("{left} bytes too many"))),
        }
    }
}
