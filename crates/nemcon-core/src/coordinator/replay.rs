//! The log's side: what a record means after a restart, and which records a
//! checkpoint must repeat.

use alloc::vec::Vec;

use super::event::{BranchView, Effect, Ending, State, VoteKind};
use super::memory::Remembered;
use super::record::{Aborted, Decided, Record};
use super::transaction::{Branch, Phase, Transaction};
use super::{Coordinator, HORIZON_STEP, Output};
use crate::history::History;
use crate::id::{Lsn, ParticipantName, Position, TransactionId};
use crate::time::Millis;

/// How far a checkpoint has come.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Stage);

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Bounds,
    Running(Option<TransactionId>),
    Remembered(Option<TransactionId>),
    End,
}

impl Coordinator {
    pub(super) fn replay_record(&mut self, lsn: Lsn, record: Record) {
        match record {
            Record::Started {
                identity, epoch, ..
            } => {
                self.identity = identity;
                self.epoch = self.epoch.max(epoch);
            }
            Record::Decided(decided) => self.replay_decided(decided),
            Record::Ended { attempt, at } => self.replay_ended(attempt, at),
            Record::Aborted(aborted) => self.replay_aborted(aborted),
            Record::Forgotten { through } => self.memory.set_forgotten(through),
            Record::AloneHorizon { until } => {
                self.horizon.logged = self.horizon.logged.max(until);
                self.horizon.logged_lsn = lsn;
            }
            Record::Registered { name, id, address } => self.insert_member(name, id, address),
            Record::Removed { name } => {
                self.members.remove(&name);
            }
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
        }
        self.durable = self.durable.max(lsn);
    }

    fn replay_decided(&mut self, decided: Decided) {
        let Decided {
            attempt,
            transaction,
            hash,
            voters,
            begun_at,
            at,
        } = decided;
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
            voted_at: Some(at),
        };
        self.attempts.insert(attempt, transaction);
        self.transactions.insert(transaction, txn);
    }

    /// Unknown: it was decided before the checkpoint, which repeats its outcome.
    fn replay_ended(&mut self, attempt: Position, at: Millis) {
        let Some(transaction) = self.attempts.remove(&attempt) else {
            return;
        };
        let Some(mut txn) = self.transactions.remove(&transaction) else {
            return;
        };
        txn.history.enter(State::Committed, at);
        let branch = |(participant, _)| BranchView {
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
            logged: true,
        };
        self.memory
            .insert(transaction, remembered, self.settings.results_max);
    }

    fn replay_aborted(&mut self, aborted: Aborted) {
        let Aborted {
            attempt,
            transaction,
            hash,
            cause,
            begun_at,
            at,
        } = aborted;
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
            logged: true,
        };
        self.memory
            .insert(transaction, remembered, self.settings.results_max);
    }

    /// The log has been read: begins a new epoch, says hello, and goes on with
    /// what is decided. All of it waits until the epoch is durable.
    pub(super) fn begin_epoch(&mut self, now: Millis, out: &mut Output) {
        self.epoch = self.epoch.next();
        self.horizon.recovered = self.horizon.logged;
        self.horizon.durable = self.horizon.logged;
        out.persist(Record::Started {
            identity: self.identity,
            epoch: self.epoch,
            at: now,
        });
        let until = self.horizon.logged.max(now + HORIZON_STEP);
        self.horizon.logged = until;
        self.horizon.logged_lsn = out.persist(Record::AloneHorizon { until });
        self.memory
            .forget(now, self.settings.remember_max, self.settings.remember_for);

        for txn in self.transactions.values() {
            for participant in txn.branches.keys() {
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
            .flat_map(|(id, txn)| txn.branches.keys().map(move |name| (*id, name.clone())))
            .collect();
        let names: Vec<ParticipantName> = self.members.keys().cloned().collect();
        for name in &names {
            self.say_hello(name, out);
        }
        for (transaction, participant) in &calls {
            self.call(now, *transaction, participant, out);
        }
        let speech = core::mem::replace(&mut out.now, links);
        out.after.extend(speech);
    }

    pub(super) fn live_records_from(&self, cursor: &mut Cursor, max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < max {
            cursor.0 = match &cursor.0 {
                Stage::Bounds => {
                    self.live_bounds(&mut records);
                    Stage::Running(None)
                }
                Stage::Running(after) => match self.live_running(*after, max, &mut records) {
                    Some(last) => Stage::Running(Some(last)),
                    None => Stage::Remembered(None),
                },
                Stage::Remembered(after) => match self.live_remembered(*after, max, &mut records) {
                    Some(last) => Stage::Remembered(Some(last)),
                    None => {
                        // Again, now that the memory is behind: what was
                        // forgotten since the beginning is in no record of this
                        // checkpoint.
                        let through = self.memory.forgotten();
                        records.push(Record::Forgotten { through });
                        Stage::End
                    }
                },
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
        records.push(Record::Forgotten {
            through: self.memory.forgotten(),
        });
        records.push(Record::AloneHorizon {
            until: self.horizon.logged,
        });
        records.extend(
            self.members
                .iter()
                .map(|(name, member)| Record::Registered {
                    name: name.clone(),
                    id: member.id,
                    address: member.address.clone(),
                }),
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
                Phase::Deciding | Phase::Committing => {
                    let voters = txn.voters().cloned().collect();
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

    fn live_remembered(
        &self,
        after: Option<TransactionId>,
        max: usize,
        records: &mut Vec<Record>,
    ) -> Option<TransactionId> {
        let mut last = None;
        for (transaction, remembered) in self.memory.after(after).take(max) {
            last = Some(transaction);
            if !remembered.logged {
                continue;
            }
            let Remembered {
                hash,
                attempt,
                history,
                at,
                ..
            } = remembered;
            let begun_at = entered(history, State::Init);
            match &remembered.ending {
                Ending::Committed(_) => {
                    records.push(Record::Decided(Decided {
                        attempt: *attempt,
                        transaction,
                        hash: *hash,
                        voters: Vec::new(),
                        begun_at,
                        at: entered(history, State::Prepared),
                    }));
                    records.push(Record::Ended {
                        attempt: *attempt,
                        at: *at,
                    });
                }
                Ending::Aborted(cause) => records.push(Record::Aborted(Aborted {
                    attempt: *attempt,
                    transaction,
                    hash: *hash,
                    cause: cause.clone(),
                    begun_at,
                    at: *at,
                })),
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
    })
}

fn entered(history: &History<State>, wanted: State) -> Millis {
    history
        .iter()
        .find(|(state, _)| *state == wanted)
        .map_or(Millis(0), |(_, at)| at)
}
