//! Participants, damage, figures: what administrators ask for.

use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::coordinator::record as coordinator;
use nemcon_core::id::{
    AttemptId, Boot, CoordinatorId, Epoch, LogPosition, Lsn, ParticipantId, ParticipantName,
    TransactionId,
};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::message::Outcome;
use nemcon_core::participant::event::InDoubt;
use nemcon_core::participant::record as participant;
use nemcon_core::time::Millis;

use super::error::{WireError, counted};
use super::id::{
    address, attempt, coordinator_id, optional, participant_id, participant_name, shown,
    transaction_id,
};
use super::outcome::{by_hand, definite, if_by_hand};
use super::value::{required_sentence, sentence, time, timestamp};
use crate::v1;

/// A participant makes itself known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub name: ParticipantName,
    /// Its data directory.
    pub id: ParticipantId,
    /// Its URL.
    pub address: String,
    /// How its present boot began, if it says so.
    pub began: Option<LogPosition>,
    /// Which restoration from a backup its data directory is of, if it is of one.
    pub restored: Option<u64>,
}

/// A participant is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its name.
    pub name: ParticipantName,
    /// Why what it has not acknowledged is given up, if it is.
    pub give_up: Option<String>,
}

impl From<Registration> for v1::RegisterParticipantRequest {
    fn from(registration: Registration) -> Self {
        Self {
            name: registration.name.to_string(),
            participant_id: registration.id.to_string(),
            address: registration.address,
            boot: registration.began.map_or(0, |began| began.boot.0),
            log_end: registration.began.map_or(0, |began| began.lsn.0),
            life: registration.began.map_or(0, |began| began.life),
            restored: registration.restored.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::RegisterParticipantRequest> for Registration {
    type Error = WireError;

    fn try_from(request: v1::RegisterParticipantRequest) -> Result<Self, WireError> {
        Ok(Self {
            name: participant_name(request.name, "name")?,
            id: participant_id(&request.participant_id, "participant_id")?,
            address: address(request.address, "address")?,
            began: (request.boot > 0).then_some(LogPosition {
                boot: Boot(request.boot),
                lsn: Lsn(request.log_end),
                life: request.life,
            }),
            restored: (request.restored > 0).then_some(request.restored),
        })
    }
}

/// Who the coordinator is that took a registration.
impl From<(CoordinatorId, Epoch)> for v1::RegisterParticipantResponse {
    fn from((coordinator, epoch): (CoordinatorId, Epoch)) -> Self {
        Self {
            coordinator_id: coordinator.to_string(),
            epoch: epoch.0,
        }
    }
}

impl TryFrom<v1::RegisterParticipantResponse> for (CoordinatorId, Epoch) {
    type Error = WireError;

    fn try_from(response: v1::RegisterParticipantResponse) -> Result<Self, WireError> {
        let coordinator = coordinator_id(&response.coordinator_id, "coordinator_id")?;
        Ok((coordinator, Epoch(counted(response.epoch, "epoch")?)))
    }
}

impl From<Removal> for v1::RemoveParticipantRequest {
    fn from(removal: Removal) -> Self {
        Self {
            name: removal.name.to_string(),
            give_up_reason: removal.give_up.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::RemoveParticipantRequest> for Removal {
    type Error = WireError;

    fn try_from(request: v1::RemoveParticipantRequest) -> Result<Self, WireError> {
        let reason = sentence(request.give_up_reason, "give_up_reason")?;
        Ok(Self {
            name: participant_name(request.name, "name")?,
            give_up: Some(reason).filter(|reason| !reason.trim().is_empty()),
        })
    }
}

impl From<ParticipantView> for v1::Participant {
    fn from(view: ParticipantView) -> Self {
        Self {
            name: view.name.to_string(),
            participant_id: view.id.to_string(),
            address: view.address,
            reachable: view.reachable,
            unfinished: view.unfinished,
            boot: view.boot.map_or(0, |boot| boot.0),
        }
    }
}

impl TryFrom<v1::Participant> for ParticipantView {
    type Error = WireError;

    fn try_from(participant: v1::Participant) -> Result<Self, WireError> {
        Ok(Self {
            name: participant_name(participant.name, "name")?,
            id: participant_id(&participant.participant_id, "participant_id")?,
            address: address(participant.address, "address")?,
            reachable: participant.reachable,
            unfinished: participant.unfinished,
            boot: (participant.boot != 0).then_some(Boot(participant.boot)),
        })
    }
}

/// A participant's operator decided against the real decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeuristicReport {
    /// Where.
    pub participant: ParticipantName,
    /// About what.
    pub attempt: AttemptId,
    /// What was done by hand.
    pub by_hand: Outcome,
    /// The operator's reason.
    pub reason: String,
}

impl From<HeuristicReport> for v1::ReportHeuristicRequest {
    fn from(report: HeuristicReport) -> Self {
        Self {
            participant: report.participant.to_string(),
            attempt: Some(report.attempt.into()),
            by_hand: v1::Outcome::from(report.by_hand).into(),
            reason: report.reason,
        }
    }
}

impl TryFrom<v1::ReportHeuristicRequest> for HeuristicReport {
    type Error = WireError;

    fn try_from(request: v1::ReportHeuristicRequest) -> Result<Self, WireError> {
        Ok(Self {
            participant: participant_name(request.participant, "participant")?,
            attempt: attempt(request.attempt)?,
            by_hand: definite(request.by_hand, "by_hand")?,
            reason: sentence(request.reason, "reason")?,
        })
    }
}

/// An operator decides about an attempt in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Which.
    pub attempt: AttemptId,
    /// What to do.
    pub outcome: Outcome,
    /// Why; never empty.
    pub reason: String,
}

impl From<Resolution> for v1::ResolveAttemptRequest {
    fn from(resolution: Resolution) -> Self {
        Self {
            attempt: Some(resolution.attempt.into()),
            outcome: v1::Outcome::from(resolution.outcome).into(),
            reason: resolution.reason,
        }
    }
}

impl TryFrom<v1::ResolveAttemptRequest> for Resolution {
    type Error = WireError;

    fn try_from(request: v1::ResolveAttemptRequest) -> Result<Self, WireError> {
        Ok(Self {
            attempt: attempt(request.attempt)?,
            outcome: definite(request.outcome, "outcome")?,
            reason: required_sentence(request.reason, "reason")?,
        })
    }
}

/// Heuristic damage, as either side records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Of which transaction, if that is still known.
    pub transaction: Option<TransactionId>,
    /// Where.
    pub participant: ParticipantName,
    /// What was done there by hand; `None`: it had lost the attempt.
    pub by_hand: Option<Outcome>,
    /// What was decided.
    pub decided: Outcome,
    /// The operator's reason, or what the participant said.
    pub reason: String,
    /// When it was recorded.
    pub at: Millis,
}

/// As a coordinator of that identity recorded it.
impl From<(CoordinatorId, coordinator::Damaged)> for Damage {
    fn from((coordinator, damaged): (CoordinatorId, coordinator::Damaged)) -> Self {
        Self {
            attempt: AttemptId {
                coordinator,
                position: damaged.attempt,
            },
            transaction: damaged.transaction,
            participant: damaged.participant,
            by_hand: damaged.by_hand,
            decided: damaged.decided,
            reason: damaged.reason,
            at: damaged.at,
        }
    }
}

/// As the participant of that name recorded it.
impl From<(ParticipantName, participant::Damaged)> for Damage {
    fn from((participant, damaged): (ParticipantName, participant::Damaged)) -> Self {
        Self {
            attempt: damaged.attempt,
            transaction: damaged.transaction,
            participant,
            by_hand: damaged.by_hand,
            decided: damaged.decided,
            reason: damaged.reason,
            at: damaged.at,
        }
    }
}

impl From<Damage> for v1::Damage {
    fn from(damage: Damage) -> Self {
        Self {
            attempt: Some(damage.attempt.into()),
            transaction_id: shown(damage.transaction),
            participant: damage.participant.to_string(),
            by_hand: by_hand(damage.by_hand),
            decided: v1::Outcome::from(damage.decided).into(),
            reason: damage.reason,
            recorded_at: Some(timestamp(damage.at)),
        }
    }
}

impl TryFrom<v1::Damage> for Damage {
    type Error = WireError;

    fn try_from(damage: v1::Damage) -> Result<Self, WireError> {
        let transaction = |text: &str| transaction_id(text, "transaction_id");
        Ok(Self {
            attempt: attempt(damage.attempt)?,
            transaction: optional(&damage.transaction_id, transaction)?,
            participant: participant_name(damage.participant, "participant")?,
            by_hand: if_by_hand(damage.by_hand, "by_hand")?,
            decided: definite(damage.decided, "decided")?,
            reason: damage.reason,
            at: time(damage.recorded_at, "recorded_at")?,
        })
    }
}

/// Which damage somebody has seen to, and where; a participant that is asked
/// about its own may be left unnamed.
impl TryFrom<v1::AcknowledgeDamageRequest> for (AttemptId, Option<ParticipantName>) {
    type Error = WireError;

    fn try_from(request: v1::AcknowledgeDamageRequest) -> Result<Self, WireError> {
        let name = |text: &str| participant_name(text.to_owned(), "participant");
        Ok((
            attempt(request.attempt)?,
            optional(&request.participant, name)?,
        ))
    }
}

/// For people: there is no way back from printable keys.
impl From<InDoubt> for v1::AttemptInDoubt {
    fn from(in_doubt: InDoubt) -> Self {
        Self {
            attempt: Some(in_doubt.attempt.into()),
            transaction_id: in_doubt.transaction.to_string(),
            prepared_at: Some(timestamp(in_doubt.prepared_at)),
            coordinator_address: in_doubt.coordinator_address,
            participants: in_doubt.peers.into_iter().map(Into::into).collect(),
            questions: in_doubt.questions,
            locks: in_doubt.locks.iter().map(printable).collect(),
        }
    }
}

fn printable((key, mode): &(LockKey, Mode)) -> String {
    let mode = match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    };
    format!("{key} ({mode})")
}

#[cfg(test)]
mod tests {
    use nemcon_core::history::History;

    use super::super::sample;
    use super::*;

    #[test]
    fn removals_go_there_and_back() {
        for give_up in [None, Some("the disk is gone".to_owned())] {
            let removal = Removal {
                name: sample::name("bank-a"),
                give_up,
            };
            let there = v1::RemoveParticipantRequest::from(removal.clone());
            assert_eq!(Removal::try_from(there), Ok(removal));
        }
    }

    #[test]
    fn registrations_go_there_and_back() {
        let registration = Registration {
            name: sample::name("bank-a"),
            id: sample::participant(),
            address: "http://127.0.0.1:7110".into(),
            began: Some(LogPosition {
                boot: Boot(2),
                lsn: Lsn(17),
                life: u32::MAX,
            }),
            restored: Some(u64::MAX),
        };
        let silent = Registration {
            began: None,
            restored: None,
            ..registration.clone()
        };
        let there = v1::RegisterParticipantRequest::from(silent.clone());
        assert_eq!(Registration::try_from(there), Ok(silent));
        let there = v1::RegisterParticipantRequest::from(registration.clone());
        assert_eq!(Registration::try_from(there.clone()), Ok(registration));
        let field = |request: v1::RegisterParticipantRequest| {
            Registration::try_from(request).unwrap_err().field
        };
        let nameless = v1::RegisterParticipantRequest {
            name: String::new(),
            ..there.clone()
        };
        assert_eq!(field(nameless), "name");
        let lost = v1::RegisterParticipantRequest {
            address: String::new(),
            ..there.clone()
        };
        assert_eq!(field(lost), "address");
        let participant_id = "bank-a".into();
        let foreign = v1::RegisterParticipantRequest {
            participant_id,
            ..there
        };
        assert_eq!(field(foreign), "participant_id");

        let taken = (sample::coordinator(), Epoch(6));
        assert_eq!(
            v1::RegisterParticipantResponse::from(taken).try_into(),
            Ok(taken)
        );
    }

    #[test]
    fn participants_go_there_and_back() {
        for boot in [None, Some(Boot(5))] {
            let view = ParticipantView {
                name: sample::name("bank-a"),
                id: sample::participant(),
                address: "http://127.0.0.1:7110".into(),
                reachable: true,
                unfinished: 12,
                boot,
            };
            let there = v1::Participant::from(view.clone());
            assert_eq!(ParticipantView::try_from(there), Ok(view));
        }
    }

    #[test]
    fn what_was_done_by_hand_goes_there_and_back() {
        let (participant, attempt) = (sample::name("bank-b"), sample::attempt());
        let (by_hand, reason) = (Outcome::Aborted, String::from("the customer called"));
        let report = HeuristicReport {
            participant,
            attempt,
            by_hand,
            reason: reason.clone(),
        };
        let there = v1::ReportHeuristicRequest::from(report.clone());
        assert_eq!(HeuristicReport::try_from(there), Ok(report));

        let resolution = Resolution {
            attempt,
            outcome: Outcome::Committed,
            reason,
        };
        let there = v1::ResolveAttemptRequest::from(resolution.clone());
        assert_eq!(Resolution::try_from(there.clone()), Ok(resolution));
        let silent = v1::ResolveAttemptRequest {
            reason: " ".into(),
            ..there.clone()
        };
        assert_eq!(Resolution::try_from(silent).unwrap_err().field, "reason");
        let outcome = v1::Outcome::Unknown.into();
        let undecided = v1::ResolveAttemptRequest { outcome, ..there };
        assert_eq!(
            Resolution::try_from(undecided).unwrap_err().field,
            "outcome"
        );
    }

    #[test]
    fn both_kinds_of_damage_go_there_and_back() {
        let attempt = sample::attempt();
        for by_hand in [None, Some(Outcome::Aborted)] {
            let by_coordinator = coordinator::Damaged {
                attempt: attempt.position,
                transaction: Some(sample::transaction()),
                participant: sample::name("bank-a"),
                by_hand,
                decided: Outcome::Committed,
                reason: "lost".into(),
                at: Millis(9_876),
            };
            let by_participant = participant::Damaged {
                attempt,
                transaction: Some(sample::transaction()),
                by_hand,
                decided: Outcome::Committed,
                reason: "lost".into(),
                at: Millis(9_876),
            };
            let damage = Damage::from((attempt.coordinator, by_coordinator));
            assert_eq!(
                Damage::from((sample::name("bank-a"), by_participant)),
                damage
            );
            let there = v1::Damage::from(damage.clone());
            assert_eq!(Damage::try_from(there), Ok(damage));
        }
        let attempt = Some(attempt.into());
        let request = v1::AcknowledgeDamageRequest {
            attempt,
            participant: String::new(),
        };
        assert_eq!(request.try_into(), Ok((sample::attempt(), None)));
    }

    #[test]
    fn what_is_in_doubt_is_printable() {
        let key = LockKey::from(b"account/\xff".to_vec());
        let wire = v1::AttemptInDoubt::from(InDoubt {
            attempt: sample::attempt(),
            transaction: sample::transaction(),
            history: History::default(),
            prepared_at: Millis(1_500),
            coordinator_address: "http://c:1".into(),
            peers: vec![sample::peer("bank-b")],
            questions: 3,
            locks: vec![(key.clone(), Mode::Shared), (key, Mode::Exclusive)],
        });
        assert_eq!(
            wire.locks,
            [r"account/\xff (shared)", r"account/\xff (exclusive)"]
        );
        assert_eq!(wire.prepared_at, Some(timestamp(Millis(1_500))));
        assert_eq!((wire.questions, wire.participants.len()), (3, 1));
    }
}
