//! Identities, names, addresses.

use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, ParticipantId, ParticipantName, Position, Sequence,
    TransactionId,
};
use nemcon_core::limits;
use nemcon_core::message::Peer;
use nemcon_core::reason::Reason;
use uuid::Uuid;

use super::error::{WireError, Within, counted};
use crate::v1;

/// Reads a transaction id; `field` is where it stands.
///
/// # Errors
/// [`WireError`] with [`Reason::TRANSACTION_ID_INVALID`] if it is no UUID of
/// version 7.
pub fn transaction_id(text: &str, field: &str) -> Result<TransactionId, WireError> {
    let example = "a UUID of version 7, for example 01890a5d-ac96-774b-bcce-b302099a8057";
    text.parse()
        .map_err(|_| WireError::text(field, text, example).because(Reason::TRANSACTION_ID_INVALID))
}

/// Reads the identity of a coordinator; `field` is where it stands.
///
/// # Errors
/// [`WireError`] if it is no UUID.
pub fn coordinator_id(text: &str, field: &str) -> Result<CoordinatorId, WireError> {
    uuid(text, field).map(CoordinatorId::new)
}

/// Reads the identity of a participant's data directory; `field` is where it
/// stands.
///
/// # Errors
/// [`WireError`] if it is no UUID.
pub fn participant_id(text: &str, field: &str) -> Result<ParticipantId, WireError> {
    uuid(text, field).map(ParticipantId::new)
}

fn uuid(text: &str, field: &str) -> Result<Uuid, WireError> {
    Uuid::try_parse(text).map_err(|_| WireError::text(field, text, "a UUID"))
}

/// Reads the name of a participant; `field` is where it stands.
///
/// # Errors
/// [`WireError`] if it breaks the rule of [`ParticipantName`].
pub fn participant_name(text: String, field: &str) -> Result<ParticipantName, WireError> {
    ParticipantName::new(text).map_err(|error| {
        let allowed = format!(
            "1 to {} characters of A-Z a-z 0-9 . _ -, the first a letter or a digit",
            limits::NAME_BYTES_MAX
        );
        WireError::text(field, &error.name, allowed)
    })
}

/// Reads the address of a node; `field` is where it stands. Only its length is
/// looked at: whether it can be reached shows when it is.
///
/// # Errors
/// [`WireError`] if it is empty or too long.
pub fn address(text: String, field: &str) -> Result<String, WireError> {
    if (1..=limits::ADDRESS_BYTES_MAX).contains(&text.len()) {
        return Ok(text);
    }
    let max = limits::ADDRESS_BYTES_MAX;
    let allowed = format!("a URL of at most {max} bytes, for example http://127.0.0.1:7110");
    Err(WireError::text(field, &text, allowed))
}

/// Reads what may be left out: an empty text is `None`.
pub(super) fn optional<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if text.is_empty() {
        Ok(None)
    } else {
        read(text).map(Some)
    }
}

/// Shows what may be left out.
pub(super) fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> Self {
        Self {
            epoch: position.epoch.0,
            sequence: position.sequence.0,
        }
    }
}

/// Every position is legal: zero lies below everything.
impl From<v1::Position> for Position {
    fn from(position: v1::Position) -> Self {
        Self {
            epoch: Epoch(position.epoch),
            sequence: Sequence(position.sequence),
        }
    }
}

impl From<AttemptId> for v1::Attempt {
    fn from(attempt: AttemptId) -> Self {
        Self {
            coordinator: attempt.coordinator.to_string(),
            epoch: attempt.position.epoch.0,
            sequence: attempt.position.sequence.0,
        }
    }
}

impl TryFrom<v1::Attempt> for AttemptId {
    type Error = WireError;

    fn try_from(attempt: v1::Attempt) -> Result<Self, WireError> {
        Ok(Self {
            coordinator: coordinator_id(&attempt.coordinator, "coordinator")?,
            position: Position {
                epoch: Epoch(counted(attempt.epoch, "epoch")?),
                sequence: Sequence(counted(attempt.sequence, "sequence")?),
            },
        })
    }
}

/// Reads the attempt that a message is about.
pub(super) fn attempt(attempt: Option<v1::Attempt>) -> Result<AttemptId, WireError> {
    let allowed = "the coordinator's UUID, its epoch and a sequence number";
    let attempt = attempt.ok_or_else(|| WireError::missing("attempt", allowed))?;
    attempt.try_into().within("attempt")
}

impl From<Peer> for v1::Peer {
    fn from(peer: Peer) -> Self {
        Self {
            name: peer.name.to_string(),
            address: peer.address,
        }
    }
}

impl TryFrom<v1::Peer> for Peer {
    type Error = WireError;

    fn try_from(peer: v1::Peer) -> Result<Self, WireError> {
        Ok(Self {
            name: participant_name(peer.name, "name")?,
            address: address(peer.address, "address")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn ids_go_there_and_back() {
        let attempt = sample::attempt();
        assert_eq!(AttemptId::try_from(v1::Attempt::from(attempt)), Ok(attempt));
        let position = attempt.position;
        assert_eq!(Position::from(v1::Position::from(position)), position);
        let peer = sample::peer("bank-a");
        assert_eq!(Peer::try_from(v1::Peer::from(peer.clone())), Ok(peer));
    }

    #[test]
    fn an_attempt_names_the_field_that_is_wrong() {
        let good = v1::Attempt::from(sample::attempt());
        let bad = v1::Attempt {
            coordinator: "xyz".into(),
            ..good.clone()
        };
        let error = attempt(Some(bad)).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"attempt.coordinator "xyz": want a UUID"#
        );
        let error = attempt(Some(v1::Attempt {
            sequence: 0,
            ..good
        }))
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "attempt.sequence 0: want a number from 1"
        );
        assert!(
            attempt(None)
                .unwrap_err()
                .to_string()
                .starts_with("attempt is missing")
        );
    }

    #[test]
    fn transaction_ids_have_a_word_of_their_own() {
        let v4 = "936da01f-9abd-4d9d-80c7-02af85c822a8";
        for bad in ["", "7", v4] {
            let error = transaction_id(bad, "transaction_id").unwrap_err();
            assert_eq!(error.reason, Reason::TRANSACTION_ID_INVALID, "{error}");
        }
    }

    #[test]
    fn names_and_addresses_have_limits() {
        assert!(participant_name("a b".into(), "name").is_err());
        assert!(address(String::new(), "address").is_err());
        let longest = "x".repeat(limits::ADDRESS_BYTES_MAX);
        assert_eq!(address(longest.clone(), "address"), Ok(longest.clone()));
        assert!(address(longest + "x", "address").is_err());
    }
}
