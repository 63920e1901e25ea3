//! The log's side: what a record means after a restart, and which records a
//! checkpoint must repeat.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::{BranchView, Effect, Ending, State, VoteKind};
use super::members::Life;
use super::memory::Remembered;
use super::record::{Aborted, Decided, Record};
use super::transaction::{Branch, Phase, Stamps, Transaction};
use super::{Coordinator, HORIZON_STEP, Output};
use crate::codec::CorruptLog;
use crate::history::History;
use crate::id::{
    Epoch, LogPosition, Lsn, ParticipantId, ParticipantName, Position, SagaId, TransactionId,
};
use crate::limits;
use crate::planted::Bug;
use crate::saga::{Fact, Invalid};
use crate::time::Millis;

/// How far a checkpoint has come.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Stage);

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Bounds,
    Running(Option<TransactionId>),
    Sagas(Option<SagaId>),
    End,
}

impl Coordinator {
    pub(super) fn replay_record(&mut self, lsn: Lsn, record: Record) -> Result<(), CorruptLog> {
        match record {
            Record::Started {
                identity, epoch, ..
            } => {
                self.identity = identity;
                self.epoch = self.epoch.max(epoch);
            }
            Record::Decided(decided) => self.replay_decided(decided),
            Record::Ended { attempt, at } => self.replay_ended(lsn, attempt, at),
            Record::Aborted(aborted) => self.replay_aborted(lsn, aborted),
            Record::Forgotten { through } => self.memory.set_forgotten(through),
            Record::AloneHorizon { until } => {
                self.horizon.logged = self.horizon.logged.max(until);
                self.horizon.logged_lsn = lsn;
            }
            Record::Registered {
                name,
                id,
                address,
                began,
                promised,
                restored,
            } => {
                let life = Life { began, restored };
                self.replay_registered(name, id, address, life, promised);
            }
            Record::Removed { name } => self.replay_removed(&name),
            Record::Damaged(damaged) => {
                let key = (damaged.attempt, damaged.participant.clone());
                self.damage.insert(key, damaged);
            }
            Record::DamageAcknowledged {
                attempt,
                participant,
            } => {
                self.mended.insert((attempt, participant));
            }
            Record::Restored {
                id,
                at,
                lost_at,
                epoch,
                before,
            } => {
                if self.replay_restored((id, at, lost_at, epoch).into(), before) {
                    self.sagas.restored(at);
                }
            }
            Record::Saga { saga, fact } => {
                let illegal = |invalid: Invalid| CorruptLog::Illegal {
                    lsn,
                    record: format!("Saga({saga})"),
                    why: invalid.to_string(),
                };
                self.sagas.replay(saga, *fact).map_err(illegal)?;
            }
            Record::SagasForgotten { through } => self.sagas.set_forgotten(through),
        }
        self.durable = self.durable.max(lsn);
        Ok(())
    }

    /// A checkpoint repeats it, and what it says of promises may be older than
    /// what a decision before it has said.
    fn replay_registered(
        &mut self,
        name: ParticipantName,
        id: ParticipantId,
        address: String,
        life: Life,
        promised: Option<LogPosition>,
    ) {
        let known = self.members.get(&name).filter(|member| member.id == id);
        let promised = known.and_then(|member| member.promised).max(promised);
        self.insert_member(name.clone(), id, address);
        if let Some(member) = self.members.get_mut(&name) {
            member.life = life;
            member.promised = promised;
        }
    }

    /// It was removed when it had acknowledged all that was decided, or that was
    /// given up; whoever has its name now is not to be asked for it.
    fn replay_removed(&mut self, name: &ParticipantName) {
        self.members.remove(name);
        for txn in self.transactions.values_mut() {
            if let Some(branch) = txn.branches.get_mut(name) {
                branch.acknowledged = true;
            }
        }
    }

    fn replay_decided(&mut self, decided: Decided) {
        let Decided {
            attempt,
            transaction,
            hash,
            voters,
            begun_at,
            at,
            promised,
            results,
        } = decided;
        if !self.settings.planted.has(Bug::SagaOutcomeForgotten) {
            let results = results.unwrap_or_default();
            self.sagas.committed(transaction, results, at);
        }
        for (voter, promised) in voters.iter().zip(promised.into_iter().flatten()) {
            self.note_promise(voter, promised);
        }
        if self.memory.get(transaction).is_some() || self.transactions.contains_key(&transaction) {
            return;
        }
        let mut history = History::default();
        history.enter(State::Init, begun_at);
        history.enter(State::Prepared, at);
        history.enter(State::Committing, at);
        let branch = |name: ParticipantName| {
            let branch = Branch {
                vote: Some(VoteKind::Yes),
                sent: true,
                ..Branch::default()
            };
            (name, branch)
        };
        let txn = Transaction {
            asked_before: false,
            age: transaction,
            hash,
            attempt,
            begun_at,
            deadline: at,
            history,
            phase: Phase::Committing,
            one_shot: true,
            read_only: false,
            operations: 0,
            branches: voters.into_iter().map(branch).collect(),
            waiters: Vec::new(),
            stamps: Stamps::default(),
            tried: None,
        };
        self.attempts.insert(attempt, transaction);
        self.transactions.insert(transaction, Box::new(txn));
    }

    /// Unknown: it was decided before the checkpoint, which stored its outcome.
    fn replay_ended(&mut self, lsn: Lsn, attempt: Position, at: Millis) {
        let Some(transaction) = self.attempts.remove(&attempt) else {
            return;
        };
        let Some(mut txn) = self.transactions.remove(&transaction) else {
            return;
        };
        txn.history.enter(State::Committed, at);
        let branch = |(participant, _)| BranchView {
            waiting: None,
            participant,
            vote: Some(VoteKind::Yes),
            acknowledged: true,
        };
        let remembered = Remembered {
            hash: txn.hash,
            attempt,
            ending: Ending::Committed(None),
            history: txn.history,
            branches: txn.branches.into_iter().map(branch).collect(),
            at,
            logged: Some(lsn),
        };
        self.memory
            .insert(transaction, remembered, self.settings.results_max);
    }

    fn replay_aborted(&mut self, lsn: Lsn, aborted: Aborted) {
        let Aborted {
            attempt,
            transaction,
            hash,
            cause,
            begun_at,
            at,
        } = aborted;
        self.sagas.aborted(transaction, &cause, at);
        if self.memory.get(transaction).is_some() {
            return;
        }
        let mut history = History::default();
        history.enter(State::Init, begun_at);
        history.enter(State::Aborting, at);
        history.enter(State::Aborted, at);
        let branches = Vec::new();
        let ending = Ending::Aborted(cause);
        let remembered = Remembered {
            hash,
            attempt,
            ending,
            history,
            branches,
            at,
            logged: Some(lsn),
        };
        self.memory
            .insert(transaction, remembered, self.settings.results_max);
    }

    /// The log has been read: begins a new epoch, says hello, and goes on with
    /// what is decided. All of it waits until the epoch is durable.
    pub(super) fn begin_epoch(&mut self, now: Millis, out: &mut Output) {
        let stays = self.settings.planted.has(Bug::EpochNotRaised) && self.epoch > Epoch(0);
        if !stays {
            self.epoch = self.epoch.next();
        }
        self.started_at = now;
        let lost = self.lost_through().unwrap_or_default();
        self.horizon.recovered = self.horizon.logged.max(lost);
        self.hold_floor(now);
        self.horizon.durable = self.horizon.logged;
        out.persist(Record::Started {
            identity: self.identity,
            epoch: self.epoch,
            at: now,
        });
        let until = self.horizon.logged.max(now + HORIZON_STEP);
        self.horizon.logged = until;
        self.horizon.logged_lsn = out.persist(Record::AloneHorizon { until });
        self.forget(now, out);

        for txn in self.transactions.values() {
            for participant in txn.unacknowledged() {
                if let Some(member) = self.members.get_mut(participant) {
                    member.unfinished.insert(txn.attempt);
                }
            }
        }
        let links: Vec<Effect> = self
            .members
            .iter()
            .map(|(name, member)| Effect::Link {
                name: name.clone(),
                address: member.address.clone(),
            })
            .collect();
        let calls: Vec<(TransactionId, ParticipantName)> = self
            .transactions
            .iter()
            .flat_map(|(id, txn)| txn.unacknowledged().map(move |name| (*id, name.clone())))
            .collect();
        let names: Vec<ParticipantName> = self.members.keys().cloned().collect();
        for name in &names {
            self.greet(now, name, out);
        }
        for (transaction, participant) in &calls {
            self.call(now, *transaction, participant, out);
        }
        // Nobody promised anything: steps of sagas that only read.
        let mut over: Vec<TransactionId> = self.transactions.keys().copied().collect();
        over.retain(|id| self.transactions[id].branches.is_empty());
        for transaction in over {
            self.end_committed(now, transaction, out);
        }
        self.sagas_recovered(now, out);
        self.sagas_go_on(now, out);
        let speech = core::mem::replace(&mut out.now, links);
        out.after.extend(speech);
    }

    pub(super) fn live_records_from(&self, cursor: &mut Cursor, max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let mut room = limits::SAGA_PIECE_BYTES_MAX;
        while records.len() < max && room > 0 {
            cursor.0 = match &cursor.0 {
                Stage::Bounds => {
                    self.live_bounds(&mut records);
                    Stage::Running(None)
                }
                Stage::Running(after) => match self.live_running(*after, max, &mut records) {
                    Some(last) => Stage::Running(Some(last)),
                    None => Stage::Sagas(None),
                },
                Stage::Sagas(after) => {
                    match self.live_sagas(*after, max, &mut room, &mut records) {
                        Some(last) => Stage::Sagas(Some(last)),
                        None => Stage::End,
                    }
                }
                Stage::End => break,
            };
        }
        records
    }

    fn live_bounds(&self, records: &mut Vec<Record>) {
        let (identity, epoch) = (self.identity, self.epoch);
        records.push(Record::Started {
            identity,
            epoch,
            at: Millis(0),
        });
        records.extend(self.restored_record());
        let forgets = self.settings.planted.has(Bug::CheckpointForgetsWatermark);
        records.push(Record::Forgotten {
            through: self
                .memory
                .forgotten()
                .min(Millis(if forgets { 0 } else { u64::MAX })),
        });
        records.push(Record::AloneHorizon {
            until: self.horizon.logged,
        });
        if self.sagas.forgotten() > Millis(0) {
            records.push(Record::SagasForgotten {
                through: self.sagas.forgotten(),
            });
        }
        records.extend(
            self.members
                .iter()
                .map(|(name, member)| member.record(name.clone())),
        );
        records.extend(self.damage.values().cloned().map(Record::Damaged));
        let mended = self.mended.iter().cloned();
        records.extend(
            mended.map(|(attempt, participant)| Record::DamageAcknowledged {
                attempt,
                participant,
            }),
        );
    }

    /// Whole sagas: what has become of their tries is in them, at the moment of the
    /// record.
    fn live_sagas(
        &self,
        after: Option<SagaId>,
        max: usize,
        room: &mut usize,
        records: &mut Vec<Record>,
    ) -> Option<SagaId> {
        if self.settings.planted.has(Bug::CheckpointForgetsSagas) {
            return None;
        }
        let mut last = None;
        for (id, saga) in self.sagas.after(after).take(max) {
            last = Some(id);
            let fact = Box::new(Fact::Kept(Box::new(saga.snapshot())));
            records.push(Record::Saga { saga: id, fact });
            *room = room.saturating_sub(saga.bytes());
            if *room == 0 {
                break;
            }
        }
        last
    }

    fn live_running(
        &self,
        after: Option<TransactionId>,
        max: usize,
        records: &mut Vec<Record>,
    ) -> Option<TransactionId> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut last = None;
        for (transaction, txn) in self.transactions.range((from, Unbounded)).take(max) {
            last = Some(*transaction);
            match &txn.phase {
                Phase::Committing if self.settings.planted.has(Bug::CheckpointForgetsDecision) => {}
                Phase::Deciding | Phase::Committing => {
                    // Who has acknowledged may have been removed since, and its
                    // name be another's.
                    let voters = txn.unacknowledged().cloned().collect();
                    records.push(decided(*transaction, txn, voters));
                }
                Phase::Aborting(cause) => records.push(Record::Aborted(Aborted {
                    attempt: txn.attempt,
                    transaction: *transaction,
                    hash: txn.hash,
                    cause: cause.clone(),
                    begun_at: txn.begun_at,
                    at: entered(&txn.history, State::Aborting),
                })),
                // Undecided: aborted by a crash, as if it had never been.
                Phase::Inquiring { .. }
                | Phase::Open(_)
                | Phase::Preparing
                | Phase::Releasing
                | Phase::Alone => {}
            }
        }
        last
    }
}

fn decided(transaction: TransactionId, txn: &Transaction, voters: Vec<ParticipantName>) -> Record {
    Record::Decided(Decided {
        attempt: txn.attempt,
        transaction,
        hash: txn.hash,
        voters,
        begun_at: txn.begun_at,
        at: entered(&txn.history, State::Prepared),
        promised: None,
        // The saga itself has them.
        results: None,
    })
}

fn entered(history: &History<State>, wanted: State) -> Millis {
    history
        .iter()
        .find(|(state, _)| *state == wanted)
        .map_or(Millis(0), |(_, at)| at)
}
