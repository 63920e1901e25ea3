//! Why something was refused: a stable word for programs, a sentence for people.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};

use minicbor::{Decode, Encode};

use crate::limits;

/// A stable word like `LOCK_TIMEOUT`. The protocol's own are constants of this
/// type; a participant adds those of its business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Cow<'static, str>);

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        impl Reason {
            $($(#[$meta])* pub const $name: Self = Self(Cow::Borrowed(stringify!($name)));)*

            /// All reasons the protocol itself gives; `docs/errors.md` has a
            /// heading for each, and a test holds it to that.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

reasons! {
    // Why a transaction was aborted.
    /// A lock was not to be had within the wait limit. A rerun can help.
    LOCK_TIMEOUT,
    /// The transaction waited in a circle with others, was the youngest of them, and
    /// gave way. A rerun of the same age helps.
    DEADLOCK,
    /// The transaction holds as many locks at one participant as one may.
    TOO_MANY_LOCKS,
    /// As many transactions wait for a lock as may. A rerun can help, later.
    TOO_MANY_WAITERS,
    /// The transaction's deadline passed before all votes were in. A rerun can help.
    DEADLINE_EXCEEDED,
    /// The client asked for the abort.
    ABORT_REQUESTED,
    /// An operation marked `read_only` would have written.
    READ_ONLY_VIOLATED,
    /// A participant restarted and lost unprepared work. A rerun can help.
    WORK_LOST,
    /// A reader could not prove that it held its locks to the end. A rerun can help.
    LOCKS_LOST,
    /// The attempt had ended at a participant before this message. A rerun can help.
    ATTEMPT_ENDED,
    /// The coordinator restarted before it decided. A rerun can help.
    COORDINATOR_RESTARTED,
    /// A participant could not make sense of an operation.
    INVALID_ACTION,
    /// The results, changes and locks at one participant take too much room.
    TOO_LARGE,
    /// A participant refused the coordinator's message as out of order.
    PEER_REFUSED,

    // Why a request was refused without an outcome.
    /// The id was used for a transaction with other operations.
    TRANSACTION_ID_REUSED,
    /// The id is as old as outcomes that were forgotten: it may have run.
    OUTCOME_FORGOTTEN,
    /// The id is not a UUID of version 7.
    TRANSACTION_ID_INVALID,
    /// The time in the id lies too far ahead of the coordinator's clock.
    TRANSACTION_ID_AHEAD,
    /// The outcome is not known now; ask again by id.
    OUTCOME_UNKNOWN,
    /// The question was meant for another coordinator.
    WRONG_COORDINATOR,
    /// No participant of that name is registered.
    UNKNOWN_PARTICIPANT,
    /// No transaction of that id is remembered here. It may still have run.
    UNKNOWN_TRANSACTION,
    /// A field of a request is missing or out of range.
    INVALID_REQUEST,
    /// The transaction can no longer be aborted.
    NOT_ABORTABLE,
    /// The node is starting or stopping; send again.
    NOT_SERVING,
    /// Another data directory is registered under that name.
    PARTICIPANT_REPLACED,
    /// The participant's data directory is an old copy of one that has promised
    /// more since.
    PARTICIPANT_SET_BACK,
    /// The participant still has unfinished business.
    PARTICIPANT_BUSY,
    /// Too much is in flight; slow down.
    TOO_MANY_REQUESTS,
    /// A node's disk is nearly full: it begins nothing new. Also why a transaction
    /// was aborted, where a participant says so. A rerun can help.
    DISK_FULL,
    /// A backup took too long, or nobody took it; the node goes on.
    BACKUP_GIVEN_UP,
    /// A node could not be reached; send again.
    UNREACHABLE,
    /// The node met an error of its own.
    INTERNAL,

    // About sagas.
    /// The id was used for another saga.
    SAGA_ID_REUSED,
    /// No saga of that id is known here.
    UNKNOWN_SAGA,
    /// The saga was cancelled; that is why it compensates.
    SAGA_CANCELLED,
    /// The saga can no longer be cancelled.
    SAGA_NOT_CANCELLABLE,
    /// The saga does not wait for a decision by hand, or not for this one.
    SAGA_NOT_RESOLVABLE,
    /// The coordinator was restored from a backup that is older than the saga's
    /// last steps may be.
    SAGA_RESTORED,

    // What a participant says to a coordinator that is out of order.
    /// The frame is of an epoch that has ended.
    STALE_EPOCH,
    /// The attempt lies below the floor and is not known.
    BELOW_FLOOR,
    /// A commit for an attempt the participant never prepared: damage.
    LOST_PREPARE,
    /// The message is meant for another participant, which had this address.
    WRONG_PARTICIPANT,
}

impl Reason {
    /// Takes a word of a participant's business: upper-case letters, digits and
    /// underscores, at most 64. Anything else becomes [`Reason::PEER_REFUSED`],
    /// since a peer's nonsense must not travel on.
    #[must_use]
    pub fn from_wire(word: &str) -> Self {
        let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if (1..=64).contains(&word.len()) && word.chars().all(legal) {
            match Self::ALL.iter().find(|known| known.as_str() == word) {
                Some(known) => known.clone(),
                None => Self(Cow::Owned(String::from(word))),
            }
        } else {
            Self::PEER_REFUSED
        }
    }

    /// A reason of a participant's business, known when it is compiled.
    #[must_use]
    pub const fn business(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<C> Encode<C> for Reason {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Reason {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str().map(Self::from_wire)
    }
}

/// A no: why, in a word and in a sentence, and whether a rerun can help.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The word for programs.
    #[n(0)]
    pub reason: Reason,
    /// The sentence for people; names the thing, its value and what is allowed.
    #[n(1)]
    pub message: String,
    /// Whether the same operations under a new id may succeed.
    #[n(2)]
    pub retryable: bool,
}

/// Equal refusals hash alike, and so do those that only differ in the sentence.
impl Hash for Refusal {
    fn hash<H: Hasher>(&self, into: &mut H) {
        self.reason.hash(into);
        self.retryable.hash(into);
    }
}

impl Refusal {
    /// A no that a rerun will not change.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shorten(message.into()),
            retryable: false,
        }
    }

    /// A no that a rerun may change.
    #[must_use]
    pub fn retryable(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shorten(message.into()),
            retryable: true,
        }
    }
}

/// Cuts a message to what the log keeps.
fn shorten(mut message: String) -> String {
    if let Some((at, _)) = message.char_indices().nth(limits::MESSAGE_CHARS_MAX) {
        message.truncate(at);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_nonsense_becomes_a_word_of_ours() {
        assert_eq!(Reason::from_wire("LOCK_TIMEOUT"), Reason::LOCK_TIMEOUT);
        assert_eq!(Reason::from_wire("NO_FUNDS").as_str(), "NO_FUNDS");
        assert_eq!(Reason::from_wire("no funds\n"), Reason::PEER_REFUSED);
        assert_eq!(Reason::from_wire(""), Reason::PEER_REFUSED);
    }
}
