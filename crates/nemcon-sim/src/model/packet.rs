//! What nodes say, and how it is named.

use std::fmt;

use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, ParticipantId, ParticipantName, Position, RequestId, Sequence,
};
use nemcon_core::message::{Answer, Failure, Frame, Outcome, Payload, Peer, Verdict};
use nemcon_core::participant::event::Source;
use uuid::Uuid;

/// A node. At most half of [`PLACES_MAX`] of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Coordinator(usize),
    Participant(usize),
}

/// So that a place fits into four bits.
pub(super) const PLACES_MAX: usize = 16;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(at) => write!(f, "c{at}"),
            Self::Participant(at) => write!(f, "p{at}"),
        }
    }
}

/// A message between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Packet {
    /// From a coordinator.
    Frame {
        from: usize,
        to: usize,
        frame: Frame<Payload>,
    },
    /// To a coordinator.
    Answer {
        from: usize,
        to: usize,
        answer: Answer<Payload>,
    },
    /// A participant in doubt asks.
    Ask {
        from: usize,
        to: Place,
        source: Source,
        attempt: AttemptId,
    },
    /// It is answered.
    Verdict {
        from: Place,
        to: usize,
        source: Source,
        attempt: AttemptId,
        verdict: Verdict,
    },
    /// A participant tells of damage.
    Damage {
        from: usize,
        to: usize,
        attempt: AttemptId,
        by_hand: Outcome,
    },
    /// It is on record.
    DamageNoted {
        from: usize,
        to: usize,
        attempt: AttemptId,
    },
}

impl Packet {
    fn ends(&self) -> (Place, Place) {
        use Place::{Coordinator, Participant};
        match self {
            Self::Frame { from, to, .. } => (Coordinator(*from), Participant(*to)),
            Self::Answer { from, to, .. } | Self::Damage { from, to, .. } => {
                (Participant(*from), Coordinator(*to))
            }
            Self::Ask { from, to, .. } => (Participant(*from), *to),
            Self::Verdict { from, to, .. } => (*from, Participant(*to)),
            Self::DamageNoted { from, to, .. } => (Coordinator(*from), Participant(*to)),
        }
    }

    /// Its key, if it is the packet of that number.
    pub(super) fn key(&self, number: usize) -> Key {
        let (from, to) = self.ends();
        Key((number as u32) << 8 | code(from) << 4 | code(to))
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.ends();
        match self {
            Self::Frame { frame, .. } => {
                let (floor, call) = (frame.header.floor, frame.message.call());
                write!(f, "{call:?} (floor {floor})")
            }
            Self::Answer { answer, .. } => write!(f, "{answer:?}"),
            Self::Ask { attempt, .. } => write!(f, "the question about {attempt}"),
            Self::Verdict {
                attempt, verdict, ..
            } => write!(f, "{verdict:?} about {attempt}"),
            Self::Damage {
                attempt, by_hand, ..
            } => write!(f, "the damage report: {attempt} was {by_hand:?} by hand"),
            Self::DamageNoted { attempt, .. } => write!(f, "that damage of {attempt} is on record"),
        }?;
        write!(f, ", from {from} to {to}")
    }
}

/// Names a packet: its number, and in the lowest bits who says it to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u32);

impl Key {
    pub(super) const fn number(self) -> usize {
        (self.0 >> 8) as usize
    }

    pub(super) const fn from(self) -> Place {
        place(self.0 >> 4)
    }

    pub(super) const fn to(self) -> Place {
        place(self.0)
    }
}

/// Participants have the upper half of the sixteen.
const fn code(place: Place) -> u32 {
    match place {
        Place::Coordinator(at) => at as u32,
        Place::Participant(at) => (PLACES_MAX / 2 + at) as u32,
    }
}

const fn place(code: u32) -> Place {
    let at = code as usize % PLACES_MAX;
    match at.checked_sub(PLACES_MAX / 2) {
        Some(at) => Place::Participant(at),
        None => Place::Coordinator(at),
    }
}

pub(super) fn name(participant: usize) -> ParticipantName {
    ParticipantName::new(format!("p{participant}")).expect("a letter and a digit make a name")
}

pub(super) fn place_of(name: &ParticipantName) -> usize {
    name.as_str()[1..]
        .parse()
        .expect("names are made by `name`")
}

pub(super) const fn participant_id(participant: usize) -> ParticipantId {
    ParticipantId::new(Uuid::from_u128(participant as u128))
}

pub(super) const fn identity(coordinator: usize) -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128((0xc0 + coordinator as u128) << 96))
}

pub(super) fn coordinator_of(id: CoordinatorId) -> usize {
    (id.uuid().as_u128() >> 96) as usize - 0xc0
}

/// Where an address, like `c0` or `p1`, leads.
pub(super) fn at_address(address: &str) -> Place {
    let at = address[1..].parse().expect("addresses are names of places");
    if address.starts_with('c') {
        Place::Coordinator(at)
    } else {
        Place::Participant(at)
    }
}

/// How a node that was asked is named in the answer.
pub(super) fn source(place: Place) -> Source {
    match place {
        Place::Coordinator(_) => Source::Coordinator,
        Place::Participant(at) => Source::Peer(Peer {
            name: name(at),
            address: place.to_string(),
        }),
    }
}

/// Who waits for an answer, written into the number of the request: so no node's
/// state depends on how many requests there were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A coordinator, for the answer to a frame.
    Coordinator(usize),
    /// A client that has sent this order; of an interactive one, this piece.
    Client(usize, u8),
    /// A participant that asks about an attempt.
    Asker(usize, AttemptId),
    /// A participant that reports damage.
    Damaged(usize, AttemptId),
    /// Nobody.
    Nobody,
}

impl Waiting {
    pub(super) fn request(self) -> RequestId {
        let about = |at: usize, attempt: AttemptId| {
            let Position { epoch, sequence } = attempt.position;
            let owner = coordinator_of(attempt.coordinator) as u64;
            (at as u64) << 8 | owner << 16 | epoch.0 << 24 | sequence.0 << 40
        };
        RequestId(match self {
            Self::Coordinator(at) => 1 | (at as u64) << 8,
            Self::Client(order, stage) => 2 | (order as u64) << 8 | u64::from(stage) << 16,
            Self::Asker(at, attempt) => 3 | about(at, attempt),
            Self::Damaged(at, attempt) => 4 | about(at, attempt),
            Self::Nobody => 5,
        })
    }

    pub(super) fn of(request: RequestId) -> Self {
        let byte = |shift: u64| (request.0 >> shift) as usize & 0xff;
        let attempt = || AttemptId {
            coordinator: identity(byte(16)),
            position: Position {
                epoch: Epoch((request.0 >> 24) & 0xffff),
                sequence: Sequence(request.0 >> 40),
            },
        };
        match byte(0) {
            1 => Self::Coordinator(byte(8)),
            2 => Self::Client(byte(8), byte(16) as u8),
            3 => Self::Asker(byte(8), attempt()),
            4 => Self::Damaged(byte(8), attempt()),
            _ => Self::Nobody,
        }
    }
}

/// Why a call or a question brought no answer: the strongest reason there is.
pub(super) const FAILURE: Failure = Failure::Unreachable;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_who_waits_for_it() {
        let attempt = AttemptId {
            coordinator: identity(1),
            position: Position {
                epoch: Epoch(3),
                sequence: Sequence(7),
            },
        };
        for waiting in [
            Waiting::Coordinator(1),
            Waiting::Client(2, 0),
            Waiting::Client(1, 3),
            Waiting::Asker(2, attempt),
            Waiting::Damaged(0, attempt),
            Waiting::Nobody,
        ] {
            assert_eq!(Waiting::of(waiting.request()), waiting);
        }
    }

    #[test]
    fn a_key_says_from_whom_to_whom() {
        let packet = Packet::Ask {
            from: 2,
            to: Place::Coordinator(1),
            source: Source::Coordinator,
            attempt: AttemptId {
                coordinator: identity(1),
                position: Position::default(),
            },
        };
        let key = packet.key(300);
        assert_eq!(key.number(), 300);
        assert_eq!(key.from(), Place::Participant(2));
        assert_eq!(key.to(), Place::Coordinator(1));
    }
}
