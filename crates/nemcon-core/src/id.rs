//! Identities. Each is a newtype, so that none is taken for another.
//!
//! Two of them look alike and must not be mixed. The *transaction id* is the
//! client's promise of "this, once". The *attempt* is the coordinator's, and
//! everything at a participant is keyed by it.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::limits;
use crate::time::Millis;

/// CBOR form of a UUID: a byte string of 16.
mod uuid_bytes {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};
    use uuid::Uuid;

    pub(super) fn encode<C, W: Write>(
        uuid: &Uuid,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(uuid.as_bytes())?;
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Uuid, Error> {
        Uuid::from_slice(d.bytes()?).map_err(|_| Error::message("a UUID has 16 bytes"))
    }
}

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] #[cbor(with = "uuid_bytes")] Uuid);

        impl $name {
            /// The UUID inside.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        /// The order of the bytes. Compared as numbers: every tree is searched by
        /// ids, and a call to compare 16 bytes takes longer than comparing them.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id! {
    /// The client's name for one transaction: a UUID of version 7.
    ///
    /// Its order is the order of the times in it, which is what lets outcomes be
    /// forgotten oldest first and a single time stand for all that is forgotten.
    TransactionId
}

uuid_id! {
    /// The client's name for one saga: a UUID of version 7, like that of a
    /// transaction and for the same reasons.
    SagaId
}

uuid_id! {
    /// A coordinator, minted with its data directory and never configured, so
    /// that an emptied directory cannot answer for the one it replaced.
    CoordinatorId
}

uuid_id! {
    /// The data directory of a participant: tells an emptied or exchanged
    /// directory from the one that was registered under the same name.
    ParticipantId
}

/// Why a text or a UUID is not the id of a transaction or of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionIdError {
    /// Not a UUID at all.
    #[error("not a UUID; want one of version 7, for example 01890a5d-ac96-774b-bcce-b302099a8057")]
    Malformed,
    /// A UUID of another version: its time could not be trusted.
    #[error("a UUID of version {0}; want version 7 (it carries the time it was made)")]
    Version(usize),
}

macro_rules! minted_by_clients {
    ($name:ident) => {
        impl $name {
            /// Takes a UUID of version 7.
            ///
            /// # Errors
            /// [`TransactionIdError::Version`] for any other version.
            pub fn new(uuid: Uuid) -> Result<Self, TransactionIdError> {
                if uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122 {
                    Ok(Self(uuid))
                } else {
                    Err(TransactionIdError::Version(uuid.get_version_num()))
                }
            }

            /// When the id says it was made, in milliseconds since the Unix epoch: the
            /// first 48 bits of a version 7 UUID (RFC 9562, section 5.7).
            #[must_use]
            pub fn minted_at(self) -> Millis {
                Millis((self.0.as_u128() >> 80) as u64)
            }

            /// An id made from a time and 74 bits of chance.
            #[must_use]
            pub fn from_parts(at: Millis, chance: u128) -> Self {
                let time = (u128::from(at.0) & 0xffff_ffff_ffff) << 80;
                let a = ((chance >> 62) & 0xfff) << 64;
                let b = chance & 0x3fff_ffff_ffff_ffff;
                Self(Uuid::from_u128(time | (7 << 76) | a | (0b10 << 62) | b))
            }
        }

        impl FromStr for $name {
            type Err = TransactionIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(Uuid::try_parse(text).map_err(|_| TransactionIdError::Malformed)?)
            }
        }
    };
}

minted_by_clients!(TransactionId);
minted_by_clients!(SagaId);

impl CoordinatorId {
    /// Takes any UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl ParticipantId {
    /// Takes any UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub u64);

        impl $name {
            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// How often a coordinator has started; forced up at each start, from 1.
    Epoch
}
number! {
    /// Counts a coordinator's attempts within one epoch, from 1.
    Sequence
}
number! {
    /// How often a participant has started; forced up at each start, from 1.
    /// An answer from another boot was given by a node that lost its memory.
    Boot
}
number! {
    /// Log sequence number of a record: dense, from 1. Zero means "nothing yet".
    Lsn
}
number! {
    /// The shell's handle for someone who waits for an answer.
    RequestId
}

/// Where an attempt stands in its coordinator's order: epoch, then sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Position {
    /// The coordinator's epoch when the attempt began.
    #[n(0)]
    pub epoch: Epoch,
    /// Its number within that epoch.
    #[n(1)]
    pub sequence: Sequence,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// How far a participant's log has come. In one data directory boot and record
/// only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogPosition {
    /// The boot in which it is so.
    #[n(0)]
    pub boot: Boot,
    /// The last record.
    #[n(1)]
    pub lsn: Lsn,
    /// Which life of that boot: a number that another start would not have. A
    /// directory and its copy that are both started have one boot and two lives.
    #[n(2)]
    pub life: u32,
}

/// One try of a coordinator to carry out a transaction.
///
/// Shown as `1f0c…/3.17`: the start of the coordinator's identity, its epoch,
/// the sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AttemptId {
    /// Whose attempt it is.
    #[n(0)]
    pub coordinator: CoordinatorId,
    /// Where it stands among that coordinator's attempts.
    #[n(1)]
    pub position: Position,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.coordinator.0.as_u128() >> 96;
        write!(f, "{id:08x}/{}", self.position)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name a participant registers under and operations address it by.
///
/// 1 to 64 characters of `A–Z a–z 0–9 . _ -`, the first a letter or a digit.
/// A name is shared, not copied: it goes with every message and every timer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantName(Arc<str>);

/// Why a text is not a participant's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "participant name {name:?}: want 1 to {} characters of A-Z a-z 0-9 . _ -, the first a letter or a digit",
    limits::NAME_BYTES_MAX
)]
pub struct NameError {
    /// The text that was refused.
    pub name: String,
}

impl ParticipantName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] where it breaks the rule above.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=limits::NAME_BYTES_MAX).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(legal)
        {
            Ok(Self(name.into()))
        } else {
            Err(NameError { name: name.into() })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParticipantName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<C> Encode<C> for ParticipantName {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ParticipantName {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))
    }
}

impl fmt::Display for ParticipantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ParticipantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_id_keeps_its_time_and_its_version() {
        let id = TransactionId::from_parts(Millis(1_700_000_000_123), u128::MAX);
        assert_eq!(id.minted_at(), Millis(1_700_000_000_123));
        assert_eq!(id.to_string().parse(), Ok(id));
        let v4 = "936da01f-9abd-4d9d-80c7-02af85c822a8";
        assert_eq!(
            v4.parse::<TransactionId>(),
            Err(TransactionIdError::Version(4))
        );
        assert_eq!(
            "x".parse::<TransactionId>(),
            Err(TransactionIdError::Malformed)
        );
    }

    #[test]
    fn ids_are_ordered_by_their_time() {
        let early = TransactionId::from_parts(Millis(5), u128::MAX);
        let late = TransactionId::from_parts(Millis(6), 0);
        assert!(early < late);
    }

    #[test]
    fn names_are_checked() {
        for good in ["bank-a", "A", "9.x_y"] {
            assert!(ParticipantName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "ä", &"x".repeat(65)] {
            assert!(ParticipantName::new(bad).is_err(), "{bad}");
        }
    }
}
