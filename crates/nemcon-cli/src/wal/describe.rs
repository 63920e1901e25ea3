//! Records in words.

use std::fmt::Display;

use nemcon_core::codec::{Codec, CorruptLog};
use nemcon_core::coordinator::record as coordinator;
use nemcon_core::id::{LogPosition, TransactionId};
use nemcon_core::message::Outcome;
use nemcon_core::participant::record as participant;
use nemcon_core::saga::{Fact, Way};
use nemcon_core::time::Millis;
use nemcon_proto::convert::timestamp;

/// Whose log it is. Both kinds of record are numbered from zero, so bytes alone
/// do not say; all records of a log together do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Coordinator,
    Participant,
}

impl Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Coordinator => "coordinator",
            Self::Participant => "participant",
        })
    }
}

/// What a record says: its name, and names and values of its fields.
pub(super) struct Said {
    pub(super) record: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Said {
    fn new(record: &'static str) -> Self {
        Self {
            record,
            fields: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    fn at(self, at: Millis) -> Self {
        self.with("at", timestamp(at))
    }

    fn position(self, name: &'static str, position: Option<LogPosition>) -> Self {
        match position {
            Some(LogPosition { boot, lsn, .. }) => {
                self.with(name, format_args!("boot {boot} record {lsn}"))
            }
            None => self,
        }
    }

    fn maybe(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn of(self, transaction: Option<TransactionId>) -> Self {
        match transaction {
            Some(id) => self.with("transaction", id),
            None => self,
        }
    }
}

/// Reads a record of a log of this kind.
pub(super) fn describe(kind: Kind, bytes: &[u8]) -> Result<Said, CorruptLog> {
    match kind {
        Kind::Coordinator => coordinator::Record::from_bytes(bytes).map(of_coordinator),
        Kind::Participant => participant::Record::from_bytes(bytes).map(of_participant),
    }
}

fn of_coordinator(record: coordinator::Record) -> Said {
    use coordinator::{Aborted, Damaged, Decided, Record};
    match record {
        Record::Started {
            identity,
            epoch,
            at,
        } => Said::new("Started")
            .with("coordinator", identity)
            .with("epoch", epoch)
            .at(at),
        Record::Decided(Decided {
            attempt,
            transaction,
            voters,
            at,
            ..
        }) => Said::new("Decided")
            .with("attempt", attempt)
            .of(Some(transaction))
            .with("voters", listed(&voters))
            .at(at),
        Record::Ended { attempt, at } => Said::new("Ended").with("attempt", attempt).at(at),
        Record::Aborted(Aborted {
            attempt,
            transaction,
            cause,
            at,
            ..
        }) => Said::new("Aborted")
            .with("attempt", attempt)
            .of(Some(transaction))
            .with("why", crate::failure::no(&cause))
            .at(at),
        Record::Forgotten { through } => Said::new("Forgotten").with("through", timestamp(through)),
        Record::AloneHorizon { until } => Said::new("AloneHorizon").with("until", timestamp(until)),
        Record::Registered {
            name,
            id,
            address,
            began,
            promised,
            restored,
        } => Said::new("Registered")
            .with("participant", name)
            .with("id", id)
            .with("address", address)
            .position("began", began)
            .position("promised", promised)
            .maybe("restored", restored),
        Record::Removed { name } => Said::new("Removed").with("participant", name),
        Record::Damaged(Damaged {
            attempt,
            transaction,
            participant,
            by_hand,
            decided,
            reason,
            at,
        }) => Said::new("Damaged")
            .with("attempt", attempt)
            .of(transaction)
            .with("participant", participant)
            .with("by hand", by_hand.map_or("lost", outcome))
            .with("decided", outcome(decided))
            .with("reason", reason)
            .at(at),
        Record::DamageAcknowledged {
            attempt,
            participant,
        } => Said::new("DamageAcknowledged")
            .with("attempt", attempt)
            .with("participant", participant),
        Record::Saga { saga, fact } => fact_of(*fact).with("saga", saga),
        Record::SagasForgotten { through } => Said::new("SagasForgotten").with("through", through),
        Record::Restored {
            id,
            at,
            lost_at,
            epoch,
            before,
        } => Said::new("Restored")
            .with("id", id)
            .with("lost at", timestamp(lost_at))
            .with("epochs through", epoch)
            .maybe("backup's epoch", before)
            .at(at),
    }
}

fn fact_of(fact: Fact) -> Said {
    let back = |way: Way| if way == Way::Back { "back" } else { "forward" };
    match fact {
        Fact::Started { definition, at, .. } => Said::new("SagaStarted")
            .with("steps", definition.steps.len())
            .with("label", definition.label)
            .at(at),
        Fact::Tried {
            step,
            way,
            transaction,
            at,
        } => Said::new("SagaStepTried")
            .with("step", step)
            .with("way", back(way))
            .of(Some(transaction))
            .at(at),
        Fact::Failed {
            step,
            way,
            cause,
            at,
        } => Said::new("SagaStepFailed")
            .with("step", step)
            .with("way", back(way))
            .with("why", cause.refusal)
            .at(at),
        Fact::Turned { cause, at } => Said::new("SagaTurned").with("why", cause.refusal).at(at),
        Fact::ByHand(hand) => {
            let said = match (hand.step, hand.resolution) {
                (Some(step), Some(resolution)) => Said::new("SagaStepResolved")
                    .with("step", step)
                    .with("as", format!("{resolution:?}").to_lowercase()),
                (None, _) | (_, None) => Said::new("SagaResumed"),
            };
            said.with("by", hand.who)
                .with("reason", hand.why)
                .at(hand.at)
        }
        Fact::Ended { ended, at } => Said::new("SagaEnded")
            .with("how", format!("{ended:?}").to_lowercase())
            .at(at),
        Fact::Forgotten => Said::new("SagaForgotten"),
        Fact::Kept(snapshot) => Said::new("SagaKept")
            .with("steps", snapshot.steps.len())
            .with("started", timestamp(snapshot.started_at)),
    }
}

fn of_participant(record: participant::Record) -> Said {
    use participant::{AloneEnding, Damaged, DecidedAlone, Prepared, Record, ResolvedByHand};
    match record {
        Record::Started { id, boot, at } => Said::new("Started")
            .with("participant", id)
            .with("boot", boot)
            .at(at),
        Record::EpochSeen { coordinator, epoch } => Said::new("EpochSeen")
            .with("coordinator", coordinator)
            .with("epoch", epoch),
        Record::FloorRaised { coordinator, floor } => Said::new("FloorRaised")
            .with("coordinator", coordinator)
            .with("floor", floor),
        Record::Prepared(Prepared {
            attempt,
            transaction,
            coordinator_address,
            peers,
            locks,
            redo,
            at,
            ..
        }) => {
            let peers: Vec<_> = peers.into_iter().map(|peer| peer.name).collect();
            Said::new("Prepared")
                .with("attempt", attempt)
                .of(Some(transaction))
                .with("coordinator", coordinator_address)
                .with("participants", listed(&peers))
                .with("locks", locks.len())
                .with("redo", bytes(redo.len()))
                .at(at)
        }
        Record::Committed { attempt, at } => Said::new("Committed").with("attempt", attempt).at(at),
        Record::Aborted { attempt, at } => Said::new("Aborted").with("attempt", attempt).at(at),
        Record::Refused { attempt, at } => Said::new("Refused").with("attempt", attempt).at(at),
        Record::DecidedAlone(DecidedAlone {
            attempt,
            transaction,
            ending,
            redo,
            at,
            ..
        }) => {
            let said = Said::new("DecidedAlone")
                .with("attempt", attempt)
                .of(Some(transaction));
            match ending {
                AloneEnding::Committed(_) => said
                    .with("outcome", outcome(Outcome::Committed))
                    .with("redo", bytes(redo.len())),
                AloneEnding::Aborted(refusal) => said
                    .with("outcome", outcome(Outcome::Aborted))
                    .with("why", refusal),
            }
            .at(at)
        }
        Record::Forgotten { through } => Said::new("Forgotten").with("through", timestamp(through)),
        Record::ResolvedByHand(ResolvedByHand {
            attempt,
            outcome: chosen,
            reason,
            at,
        }) => Said::new("ResolvedByHand")
            .with("attempt", attempt)
            .with("outcome", outcome(chosen))
            .with("reason", reason)
            .at(at),
        Record::Damaged(Damaged {
            attempt,
            transaction,
            by_hand,
            decided,
            reason,
            at,
        }) => Said::new("Damaged")
            .with("attempt", attempt)
            .of(transaction)
            .with("by hand", by_hand.map_or("lost", outcome))
            .with("decided", outcome(decided))
            .with("reason", reason)
            .at(at),
        Record::DamageAcknowledged { attempt } => {
            Said::new("DamageAcknowledged").with("attempt", attempt)
        }
        Record::Restored {
            id,
            at,
            lost_at,
            boot,
        } => Said::new("Restored")
            .with("id", id)
            .with("lost at", timestamp(lost_at))
            .with("boots through", boot)
            .at(at),
        Record::Readmitted { coordinator } => {
            Said::new("Readmitted").with("coordinator", coordinator)
        }
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "committed",
        Outcome::Aborted => "aborted",
    }
}

fn listed(names: &[impl Display]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(",")
}

fn bytes(count: usize) -> String {
    format!("{count} B")
}
