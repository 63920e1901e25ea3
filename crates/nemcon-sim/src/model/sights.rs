//! What a scenario must show at least once.

use std::sync::PoisonError;

use nemcon_core::id::{AttemptId, ParticipantName, TransactionId};
use nemcon_core::message::{Answer, ToParticipant, Trace, Vote};
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::reason::Reason;
use stateright::Property;

use super::cluster::{Held, Kind};
use super::packet::{Packet, Place, name};
use super::scenario::Sight;
use super::state::{Explorer, State, told};

macro_rules! property {
    ($sight:ident, $words:literal) => {
        Property::sometimes($words, |it: &Explorer, state: &State| {
            it.sees_first(Sight::$sight, state)
        })
    };
}

impl Sight {
    pub(super) fn property(self) -> Property<Explorer> {
        match self {
            Self::Committed => property!(Committed, "a client is told: committed"),
            Self::Aborted => property!(Aborted, "a client is told: aborted"),
            Self::CrashInDoubt => property!(CrashInDoubt, "a participant crashes in doubt"),
            Self::CommitAfterCrash => {
                property!(CommitAfterCrash, "a participant commits after its crash")
            }
            Self::PeerKnows => property!(PeerKnows, "a peer resolves a doubt"),
            Self::PeerRefuses => property!(PeerRefuses, "a peer's question ends an attempt"),
            Self::StaleEpoch => property!(StaleEpoch, "a message of an ended epoch arrives"),
            Self::LateDuplicate => property!(LateDuplicate, "work arrives after the end"),
            Self::BelowFloor => property!(BelowFloor, "forgotten work arrives below the floor"),
            Self::Forgotten => property!(Forgotten, "an id is refused that was forgotten"),
            Self::Unknown => property!(Unknown, "a client is told: unknown"),
            Self::Reused => property!(Reused, "an id is refused that was used otherwise"),
            Self::Traced => property!(Traced, "a participant tells what it decided alone"),
            Self::ReadAgain => property!(ReadAgain, "readers have to read again"),
            Self::LockTimeout => property!(LockTimeout, "a lock is waited for in vain"),
            Self::WorkLost => property!(WorkLost, "work is missed that a restart has lost"),
            Self::NothingDone => {
                property!(
                    NothingDone,
                    "a client is told: nothing done, after a restart"
                )
            }
            Self::Deadlock => property!(Deadlock, "somebody gives way to a deadlock"),
            Self::Damage => property!(Damage, "damage is on record at both ends"),
        }
    }
}

impl Explorer {
    /// Whether this is the first time that it is seen: who looks for examples
    /// keeps the last one it is shown.
    fn sees_first(&self, sight: Sight, state: &State) -> bool {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().contains(&sight) || !self.sees(sight, state) {
            return false;
        }
        seen().insert(sight)
    }

    fn sees(&self, sight: Sight, state: &State) -> bool {
        let is_told = |bit: u8| state.told.iter().any(|told| told & bit != 0);
        match sight {
            Sight::Committed => is_told(told::COMMITTED),
            Sight::Aborted => is_told(told::ABORTED),
            Sight::Forgotten => is_told(told::FORGOTTEN),
            Sight::Unknown => is_told(told::UNKNOWN),
            Sight::Reused => is_told(told::REUSED),
            Sight::CrashInDoubt => self.crashed_in_doubt(state),
            Sight::CommitAfterCrash => self.participants(state, |held| {
                let Kind::Participant(node) = &held.kind else {
                    return false;
                };
                let commits =
                    |it: &ParticipantRecord| matches!(it, ParticipantRecord::Committed { .. });
                node.machine.boot().0 > 1 && node.tail.iter().any(|(_, it)| commits(it))
            }),
            Sight::PeerKnows => state.peer_believed,
            Sight::PeerRefuses => self.participants(state, |held| {
                let Kind::Participant(node) = &held.kind else {
                    return false;
                };
                let refuses =
                    |it: &ParticipantRecord| matches!(it, ParticipantRecord::Refused { .. });
                node.tail.iter().any(|(_, it)| refuses(it))
            }),
            Sight::StaleEpoch => self.refused(state, &Reason::STALE_EPOCH),
            Sight::LateDuplicate => self.refused(state, &Reason::ATTEMPT_ENDED),
            Sight::BelowFloor => self.refused(state, &Reason::BELOW_FLOOR),
            Sight::Traced => self.answers_have(state, |answer| {
                matches!(
                    answer,
                    Answer::Traced {
                        trace: Trace::Decided { .. },
                        ..
                    }
                )
            }),
            Sight::ReadAgain => self.reads_again(state),
            Sight::LockTimeout => self.brought(state, &Reason::LOCK_TIMEOUT),
            Sight::WorkLost => {
                self.brought(state, &Reason::WORK_LOST) || self.refused(state, &Reason::WORK_LOST)
            }
            Sight::NothingDone => is_told(told::NOTHING_DONE),
            Sight::Deadlock => self.brought(state, &Reason::DEADLOCK),
            Sight::Damage => self.is_damaged(state),
        }
    }

    fn participants(&self, state: &State, is: impl Fn(&Held) -> bool) -> bool {
        let nodes = &state.nodes[self.cluster.scenario.coordinators..];
        nodes.iter().any(|key| is(&self.cluster.node(*key)))
    }

    fn packets(&self, state: &State, is: impl Fn(&Packet) -> bool) -> bool {
        let mut keys = self.cluster.keys(&state.network).into_iter();
        keys.any(|key| is(&self.cluster.packet(key)))
    }

    fn answers_have(
        &self,
        state: &State,
        is: impl Fn(&Answer<nemcon_core::message::Payload>) -> bool,
    ) -> bool {
        self.packets(state, |packet| match packet {
            Packet::Answer { answer, .. } => is(answer),
            _ => false,
        })
    }

    /// A vote or a piece of work has come to that.
    fn brought(&self, state: &State, reason: &Reason) -> bool {
        self.answers_have(state, |answer| match answer {
            Answer::Voted {
                vote: Vote::No(refusal),
                ..
            }
            | Answer::Executed {
                results: Err(refusal),
                ..
            } => refusal.reason == *reason,
            _ => false,
        })
    }

    fn refused(&self, state: &State, reason: &Reason) -> bool {
        self.answers_have(state, |answer| match answer {
            Answer::Refused { refusal, .. } => refusal.reason == *reason,
            _ => false,
        })
    }

    /// A participant holds what it has promised in an earlier boot.
    fn crashed_in_doubt(&self, state: &State) -> bool {
        self.participants(state, |held| {
            let Kind::Participant(node) = &held.kind else {
                return false;
            };
            let now = node.machine.boot();
            let me = node.place;
            let promised = |attempt: &AttemptId| {
                self.packets(state, |packet| match packet {
                    Packet::Answer { from, answer, .. } => {
                        let Answer::Voted {
                            attempt: voted,
                            boot,
                            vote: Vote::Yes(_),
                            ..
                        } = answer
                        else {
                            return false;
                        };
                        Place::Participant(*from) == me && voted == attempt && *boot < now
                    }
                    _ => false,
                })
            };
            held.prepared.iter().any(promised)
        })
    }

    /// Two attempts of one transaction ask for votes.
    fn reads_again(&self, state: &State) -> bool {
        let mut attempts: Vec<(TransactionId, AttemptId)> = Vec::new();
        for key in self.cluster.keys(&state.network) {
            if let Packet::Frame { frame, .. } = self.cluster.packet(key).as_ref()
                && let ToParticipant::Prepare(prepare) = &frame.message
            {
                attempts.push((prepare.task.transaction, prepare.task.attempt));
            }
        }
        let mut pairs = attempts.iter();
        pairs.any(|(transaction, attempt)| {
            let mut others = attempts.iter();
            others.any(|(same, other)| same == transaction && other != attempt)
        })
    }

    fn is_damaged(&self, state: &State) -> bool {
        let coordinators = &state.nodes[..self.cluster.scenario.coordinators];
        let at_coordinator = |attempt: AttemptId, at: &ParticipantName| {
            coordinators
                .iter()
                .any(|key| match &self.cluster.node(*key).kind {
                    Kind::Coordinator(node) => node
                        .facts
                        .damaged_on_disk
                        .contains(&(attempt, at.to_string())),
                    Kind::Participant(_) => false,
                })
        };
        self.participants(state, |held| {
            let (Kind::Participant(node), Place::Participant(me)) = (&held.kind, held.kind.place())
            else {
                return false;
            };
            let mut damaged = node.facts.damaged_on_disk.iter();
            damaged.any(|(attempt, _)| at_coordinator(*attempt, &name(me)))
        })
    }
}
