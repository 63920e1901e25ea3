//! What is on its way, and who waits for an answer.

use nemcon_core::coordinator::event::Reply;
use nemcon_core::id::{AttemptId, Epoch, TransactionId};
use nemcon_core::message::{
    Answer, Call, Failure, Frame, Outcome, Payload, ToParticipant, Verdict,
};
use nemcon_core::participant::event::Source;

use super::streams::{Line, Ticket};
use crate::plan::Place;

/// A message.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// A coordinator's call.
    Frame {
        from: usize,
        life: u32,
        to: usize,
        frame: Frame<Payload>,
    },
    /// The answer to a call.
    Answer {
        from: usize,
        to: usize,
        life: u32,
        answer: Answer<Payload>,
    },
    /// A call brought no answer. Comes from the caller's own side.
    CallFailed {
        by: usize,
        life: u32,
        to: usize,
        call: Call,
        failure: Failure,
    },
    /// A participant in doubt asks.
    Ask {
        from: usize,
        life: u32,
        whom: Place,
        source: Source,
        attempt: AttemptId,
    },
    /// The answer to that, or its failure.
    Verdict {
        from: Place,
        to: usize,
        life: u32,
        source: Source,
        attempt: AttemptId,
        verdict: Result<Verdict, Failure>,
    },
    /// A participant tells of damage.
    Damage {
        from: usize,
        life: u32,
        to: usize,
        attempt: AttemptId,
        by_hand: Outcome,
        reason: String,
    },
    /// The answer to that, or its failure.
    DamageAnswered {
        from: usize,
        to: usize,
        life: u32,
        attempt: AttemptId,
        result: Result<(), Failure>,
    },
    /// A participant makes itself known.
    Register { from: usize, life: u32, to: usize },
    /// It is known.
    Registered { from: usize, to: usize, life: u32 },
    /// A client asks a coordinator.
    Request {
        to: usize,
        session: usize,
        serial: u64,
        ask: Ask,
    },
    /// A coordinator answers a client.
    Reply {
        from: usize,
        session: usize,
        serial: u64,
        reply: Reply,
    },
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Run all of it.
    Run {
        /// It was sent before, to this coordinator.
        sent_to: Option<usize>,
    },
    /// Begin it.
    Begin,
    /// Do a piece of it, or lock something for it, as it was begun in this epoch.
    Piece(u32, Epoch),
    /// Commit it, as it was begun in this epoch.
    Commit(Epoch),
    /// Abort it.
    Abort,
    /// Tell what is known of it.
    Outcome,
    /// Run something else under its id.
    Reuse,
}

/// Who waits behind a request.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Client {
        session: usize,
        serial: u64,
        ticket: Option<Ticket>,
    },
    Frame {
        coordinator: usize,
        life: u32,
        call: Call,
        ticket: Option<Ticket>,
    },
    Asker {
        participant: usize,
        life: u32,
        source: Source,
        attempt: AttemptId,
    },
    Damage {
        participant: usize,
        life: u32,
        attempt: AttemptId,
    },
    Registration {
        participant: usize,
        life: u32,
    },
    /// An operator, who looks elsewhere.
    Nobody,
}

/// Where a message comes from or goes to: a node, or (`None`) a client.
pub(crate) type End = Option<Place>;

impl Packet {
    /// From where to where it travels; `None` if it does not leave the node.
    pub(crate) fn way(&self) -> Option<(End, End)> {
        use Place::{Coordinator, Participant};
        Some(match self {
            Self::Frame { from, to, .. } => (Some(Coordinator(*from)), Some(Participant(*to))),
            Self::Answer { from, to, .. } => (Some(Participant(*from)), Some(Coordinator(*to))),
            Self::CallFailed { .. } => return None,
            Self::Ask { from, whom, .. } => (Some(Participant(*from)), Some(*whom)),
            Self::Verdict {
                verdict: Err(_), ..
            }
            | Self::DamageAnswered { result: Err(_), .. } => return None,
            Self::Verdict { from, to, .. } => (Some(*from), Some(Participant(*to))),
            Self::Damage { from, to, .. } | Self::Register { from, to, .. } => {
                (Some(Participant(*from)), Some(Coordinator(*to)))
            }
            Self::DamageAnswered { from, to, .. } | Self::Registered { from, to, .. } => {
                (Some(Coordinator(*from)), Some(Participant(*to)))
            }
            Self::Request { to, .. } => (None, Some(Coordinator(*to))),
            Self::Reply { from, .. } => (Some(Coordinator(*from)), None),
        })
    }

    /// The stream by which it may travel, if it is a call that can. Inquiries are of
    /// a service that has none, and of what clients ask only whole transactions do.
    pub(crate) fn line(&self) -> Option<Line> {
        let (asker, at) = match self {
            Self::Frame {
                from, to, frame, ..
            } if !matches!(frame.message, ToParticipant::Inquire(_)) => {
                (Some(Place::Coordinator(*from)), Place::Participant(*to))
            }
            Self::Request {
                to,
                ask: Ask::Run { .. },
                ..
            } => (None, Place::Coordinator(*to)),
            Self::Frame { .. }
            | Self::Request { .. }
            | Self::Answer { .. }
            | Self::CallFailed { .. }
            | Self::Ask { .. }
            | Self::Verdict { .. }
            | Self::Damage { .. }
            | Self::DamageAnswered { .. }
            | Self::Register { .. }
            | Self::Registered { .. }
            | Self::Reply { .. } => return None,
        };
        Some(Line { asker, at })
    }

    /// The node that takes it; `None`: a client.
    pub(crate) fn receiver(&self) -> End {
        use Place::{Coordinator, Participant};
        Some(match self {
            Self::Frame { to, .. }
            | Self::Verdict { to, .. }
            | Self::DamageAnswered { to, .. }
            | Self::Registered { to, .. } => Participant(*to),
            Self::Answer { to, .. }
            | Self::CallFailed { by: to, .. }
            | Self::Damage { to, .. }
            | Self::Register { to, .. }
            | Self::Request { to, .. } => Coordinator(*to),
            Self::Ask { whom, .. } => *whom,
            Self::Reply { .. } => return None,
        })
    }

    /// What its sender is told if it cannot have arrived, or got no answer.
    pub(crate) fn failed(&self, failure: Failure) -> Option<Self> {
        Some(match self {
            Self::Frame {
                from,
                life,
                to,
                frame,
            } => Self::CallFailed {
                by: *from,
                life: *life,
                to: *to,
                call: frame.message.call(),
                failure,
            },
            Self::Ask {
                from,
                life,
                whom,
                source,
                attempt,
            } => Self::Verdict {
                from: *whom,
                to: *from,
                life: *life,
                source: source.clone(),
                attempt: *attempt,
                verdict: Err(failure),
            },
            Self::Damage {
                from,
                life,
                to,
                attempt,
                ..
            } => Self::DamageAnswered {
                from: *to,
                to: *from,
                life: *life,
                attempt: *attempt,
                result: Err(failure),
            },
            Self::Answer { .. }
            | Self::CallFailed { .. }
            | Self::Verdict { .. }
            | Self::DamageAnswered { .. }
            | Self::Register { .. }
            | Self::Registered { .. }
            | Self::Request { .. }
            | Self::Reply { .. } => return None,
        })
    }

    /// The life in which its receiver asked for it. An answer travels by the
    /// connection of the question, and is lost with it.
    pub(crate) const fn asked_in(&self) -> Option<u32> {
        match self {
            Self::Answer { life, .. }
            | Self::CallFailed { life, .. }
            | Self::Verdict { life, .. }
            | Self::DamageAnswered { life, .. } => Some(*life),
            Self::Frame { .. }
            | Self::Ask { .. }
            | Self::Damage { .. }
            | Self::Register { .. }
            | Self::Registered { .. }
            | Self::Request { .. }
            | Self::Reply { .. } => None,
        }
    }

    /// In words, for a story.
    pub(crate) fn tell(&self, transaction: impl Fn(usize) -> TransactionId) -> String {
        match self {
            Self::Frame {
                from, to, frame, ..
            } => {
                format!(
                    "c{from} → p{to}: {} (epoch {}, floor {})",
                    call_words(frame.message.call()),
                    frame.header.epoch.0,
                    frame.header.floor
                )
            }
            Self::Answer {
                from, to, answer, ..
            } => format!("p{from} → c{to}: {answer:?}"),
            Self::CallFailed {
                by,
                to,
                call,
                failure,
                ..
            } => {
                format!("c{by} hears that p{to} {failure:?}: {}", call_words(*call))
            }
            Self::Ask {
                from,
                whom,
                attempt,
                ..
            } => format!("p{from} asks {} about {attempt}", place_words(*whom)),
            Self::Verdict {
                to,
                from,
                attempt,
                verdict,
                ..
            } => format!(
                "p{to} hears from {} about {attempt}: {verdict:?}",
                place_words(*from)
            ),
            Self::Damage {
                from, to, attempt, ..
            } => format!("p{from} tells c{to} of damage to {attempt}"),
            Self::DamageAnswered {
                to,
                attempt,
                result,
                ..
            } => format!("p{to} hears about damage to {attempt}: {result:?}"),
            Self::Register { from, to, .. } => format!("p{from} registers at c{to}"),
            Self::Registered { from, to, .. } => format!("c{from} has registered p{to}"),
            Self::Request {
                to, session, ask, ..
            } => format!("a client asks c{to} for {}: {ask:?}", transaction(*session)),
            Self::Reply {
                from,
                session,
                reply,
                ..
            } => format!("c{from} answers {}: {reply:?}", transaction(*session)),
        }
    }
}

fn call_words(call: Call) -> String {
    match call {
        Call::Hello => "hello".into(),
        Call::Execute(attempt, number) => format!("execute piece {number} of {attempt}"),
        Call::AcquireLocks(attempt, number) => format!("lock, piece {number} of {attempt}"),
        Call::ReportWaits(look) => format!("who waits? (look {look})"),
        Call::FailWait(victim) => format!("{victim} gives way"),
        Call::Prepare(attempt) => format!("prepare {attempt}"),
        Call::Commit(attempt) => format!("commit {attempt}"),
        Call::Abort(attempt) => format!("abort {attempt}"),
        Call::Release(attempt) => format!("release {attempt}"),
        Call::CommitOnePhase(attempt) => format!("commit {attempt} alone"),
        Call::Inquire(transaction) => format!("what became of {transaction}?"),
    }
}

pub(crate) fn place_words(place: Place) -> String {
    match place {
        Place::Coordinator(at) => format!("c{at}"),
        Place::Participant(at) => format!("p{at}"),
    }
}
