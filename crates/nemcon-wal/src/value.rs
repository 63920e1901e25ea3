//! A value of the data tree.
//!
//! ```text
//!   0     1      5             13
//!   ├─────┼──────┼─────────────┼──────── … ┤
//!   │ ver │ crc  │ LSN         │ the value │   big-endian
//!   └─────┴──────┴─────────────┴──────── … ┘
//! ```
//!
//! The CRC32C covers the key too, so that a value under a foreign key is found.

use nemcon_core::id::Lsn;

/// The version this code writes, and the newest it reads.
pub const VERSION: u8 = 1;

const HEADER_BYTES: usize = 13;

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Shorter than its header.
    #[error("only {0} bytes")]
    Short(usize),
    /// Written by another version.
    #[error("format version {0}; this program reads up to {VERSION}")]
    Version(u8),
    /// The checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
}

/// The bytes to store under `key`.
#[must_use]
pub fn to_bytes(key: &[u8], lsn: Lsn, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&checksum(key, lsn, value).to_be_bytes());
    bytes.extend_from_slice(&lsn.0.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// Reads what [`to_bytes`] wrote.
///
/// # Errors
/// [`ValueError`] for anything else.
pub fn read<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(Lsn, &'a [u8]), ValueError> {
    let (head, value) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(ValueError::Short(bytes.len()))?;
    if head[0] != VERSION {
        return Err(ValueError::Version(head[0]));
    }
    let sum = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut lsn = [0; 8];
    lsn.copy_from_slice(&head[5..]);
    let lsn = Lsn(u64::from_be_bytes(lsn));
    if checksum(key, lsn, value) != sum {
        return Err(ValueError::Checksum);
    }
    Ok((lsn, value))
}

fn checksum(key: &[u8], lsn: Lsn, value: &[u8]) -> u32 {
    let sum = crc32c::crc32c(key);
    let sum = crc32c::crc32c_append(sum, &lsn.0.to_be_bytes());
    crc32c::crc32c_append(sum, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_and_damage_is_found(
            key: Vec<u8>, lsn: u64, value: Vec<u8>, at: prop::sample::Index, bit in 0..8,
        ) {
            let mut bytes = to_bytes(&key, Lsn(lsn), &value);
            prop_assert_eq!(read(&key, &bytes), Ok((Lsn(lsn), &value[..])));
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(read(&key, &bytes).is_err());
        }
    }

    #[test]
    fn the_bytes_of_a_value_do_not_change_between_versions() {
        let golden = [
            0x01, 0x81, 0x71, 0x60, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x31,
            0x30, 0x30,
        ];
        assert_eq!(to_bytes(b"alice", Lsn(7), b"100"), golden);
    }

    #[test]
    fn a_value_under_a_foreign_key_is_found() {
        let bytes = to_bytes(b"alice", Lsn(3), b"100");
        assert_eq!(read(b"bob", &bytes), Err(ValueError::Checksum));
    }
}
