//! The log's side: what a record means after a restart, and which records a
//! checkpoint must repeat.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::attempt::{Asking, Attempt, ByHand, Finished, Phase, Promise};
use super::ending::state_of;
use super::event::State;
use super::record::{AloneEnding, DecidedAlone, Prepared, Record, ResolvedByHand};
use super::{Damage, Output, Participant, Timer, alone, stored};
use crate::codec::CorruptLog;
use crate::id::{AttemptId, Lsn, TransactionId};
use crate::lock::{Grant, LockKey, Mode};
use crate::machine::Stored;
use crate::message::Outcome;
use crate::planted::Bug;
use crate::resource::Resource;
use crate::time::{Millis, Span};

/// How far a checkpoint has come.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Stage);

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Bounds,
    Attempts(Option<AttemptId>),
    Damage,
    End,
}

impl<R: Resource> Participant<R> {
    pub(super) fn replay_record(&mut self, lsn: Lsn, record: Record) -> Result<(), CorruptLog> {
        match record {
            Record::Started { id, boot, .. } => {
                self.id = id;
                self.boot = self.boot.max(boot);
            }
            Record::EpochSeen { coordinator, epoch } => {
                self.coordinators.enter_epoch(coordinator, epoch, lsn);
            }
            Record::FloorRaised { coordinator, floor } => {
                self.coordinators.log_floor(coordinator, floor, lsn);
            }
            Record::Prepared(prepared) => self.replay_prepared(lsn, prepared)?,
            Record::Committed { attempt, at } => {
                self.replay_decision(lsn, attempt, Outcome::Committed, at)?;
            }
            Record::Aborted { attempt, at } => {
                self.replay_decision(lsn, attempt, Outcome::Aborted, at)?;
            }
            Record::Refused { attempt, at } => {
                self.replay_finished(attempt, State::Aborted, at, Finished::Refused);
            }
            Record::DecidedAlone(decided) => self.replay_alone(lsn, decided)?,
            Record::Forgotten { through } => self.alone.set_forgotten(through),
            Record::ResolvedByHand(resolved) => self.replay_by_hand(lsn, resolved),
            Record::Damaged(record) => {
                let reports = record.by_hand.map(|_| 0);
                let damage = Damage {
                    record: record.clone(),
                    reports,
                    mended: false,
                };
                self.damage.insert(record.attempt, damage);
            }
            Record::DamageAcknowledged { attempt } => {
                if let Some(damage) = self.damage.get_mut(&attempt) {
                    damage.mended = true;
                }
            }
            Record::Restored {
                id,
                at,
                lost_at,
                boot,
            } => self.replay_restored(id, at, lost_at, boot),
            Record::Readmitted { coordinator } => self.replay_readmitted(coordinator),
        }
        self.durable = self.durable.max(lsn);
        Ok(())
    }

    fn replay_prepared(&mut self, lsn: Lsn, record: Prepared) -> Result<(), CorruptLog> {
        let id = record.attempt;
        match self.attempts.get(&id).map(|attempt| &attempt.phase) {
            // A checkpoint repeats what was prepared, or resolved by hand.
            Some(Phase::Prepared(_) | Phase::Finished(Finished::ByHand(_))) => return Ok(()),
            Some(Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_)) => {
                return Err(illegal(lsn, "Prepared", id, "the attempt has ended"));
            }
            None => {}
        }
        let forgets = self.settings.planted.has(Bug::RestartLosesLocks);
        for (key, mode) in record.locks.iter().filter(|_| !forgets) {
            if let Grant::Waiting(_) = self.locks.request(record.at, id, key, *mode) {
                let why = format!("the lock on {key} is held by another prepared attempt");
                return Err(illegal(lsn, "Prepared", id, &why));
            }
        }
        let redo = match record.redo.as_slice() {
            [] => R::Redo::default(),
            bytes => self.resource.decode_redo(bytes)?,
        };
        let Prepared {
            coordinator_address,
            peers,
            ..
        } = record;
        let asking = Asking {
            coordinator_address,
            peers,
            questions: 0,
            failures: 0,
        };
        let phase = Phase::Prepared(Promise {
            age: record.age,
            redo,
            results: None,
            asking,
        });
        let mut attempt = Attempt::new(record.transaction, State::Active, record.begun_at, phase);
        attempt.history.enter(State::Prepared, record.at);
        self.attempts.insert(id, attempt);
        Ok(())
    }

    fn replay_decision(
        &mut self,
        lsn: Lsn,
        id: AttemptId,
        decided: Outcome,
        at: Millis,
    ) -> Result<(), CorruptLog> {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            // Prepared before the checkpoint: the stored data have it.
            self.replay_finished(id, state_of(decided), at, Finished::Heard(decided));
            return Ok(());
        };
        match &mut attempt.phase {
            Phase::Prepared(promise) => {
                let redo = core::mem::take(&mut promise.redo);
                attempt.history.enter(state_of(decided), at);
                if decided == Outcome::Committed {
                    self.apply(lsn, &redo);
                }
                self.finish(id, Finished::Heard(decided));
                self.locks.release(at, id);
            }
            Phase::Finished(Finished::ByHand(_)) => {
                self.set_finished(id, Finished::Heard(decided));
            }
            Phase::Finished(Finished::Heard(before)) if *before == decided => {}
            Phase::Active(_) | Phase::Holding { .. } | Phase::Finished(_) => {
                return Err(illegal(lsn, "decision", id, "another end is on record"));
            }
        }
        Ok(())
    }

    fn replay_finished(&mut self, id: AttemptId, state: State, at: Millis, how: Finished<R>) {
        let unknown = TransactionId::from_parts(Millis(0), 0);
        let attempt = Attempt::new(unknown, state, at, Phase::Finished(how));
        if self.attempts.insert(id, attempt).is_none() {
            self.coordinators.count_finished(id);
        }
    }

    fn replay_alone(&mut self, lsn: Lsn, record: DecidedAlone) -> Result<(), CorruptLog> {
        let DecidedAlone {
            attempt,
            transaction,
            hash,
            ending,
            redo,
            at,
        } = record;
        // Also where it is remembered already: its chunk may have been written back
        // and what it has changed not yet.
        if !redo.is_empty() {
            let redo = self.resource.decode_redo(&redo)?;
            self.apply(lsn, &redo);
        }
        check_results(&self.resource, &ending)?;
        let state = match ending {
            AloneEnding::Committed(_) => State::Committed,
            AloneEnding::Aborted(_) => State::Aborted,
        };
        self.alone.insert(alone::Entry {
            transaction,
            attempt,
            hash,
            ending,
            lsn,
            at,
        });
        self.replay_finished(attempt, state, at, Finished::DecidedAlone);
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.transaction = transaction;
        }
        Ok(())
    }

    /// Takes a value that was written back before the restart.
    pub(super) fn load_value(&mut self, stored: &Stored) -> Result<(), CorruptLog> {
        if let Some(key) = stored::resource_key(&stored.key) {
            if let Some(value) = &stored.value {
                self.resource.load(key, value)?;
            }
            self.stored.insert(key.to_vec(), stored.lsn);
            return Ok(());
        }
        let chunk = self.alone.chunk_of(&stored.key);
        let chunk = chunk.ok_or_else(|| {
            let why = "no key of this program's; a newer one may have written it";
            CorruptLog::value(&stored.key, why)
        })?;
        let resource = &self.resource;
        self.alone.load(chunk, stored, |entry| {
            check_results(resource, &entry.ending)
        })
    }

    /// The next values to be written back, the resource's before our own; nothing at
    /// the end of a round.
    pub(super) fn take_changed_values(&mut self, max: usize) -> Vec<Stored> {
        if self.round.is_none() {
            self.alone.begin_round();
        }
        let changed = &mut self.changed;
        let round = self.round.get_or_insert_with(|| core::mem::take(changed));
        let mut values = Vec::new();
        while values.len() < max
            && let Some((key, lsn)) = round.pop_first()
        {
            // It may have changed again since the round began; then the value is
            // as of that record.
            let lsn = changed.get(&key).copied().unwrap_or(lsn);
            let value = self.resource.stored(&key);
            let key = stored::key(key);
            values.push(Stored { key, value, lsn });
        }
        if values.is_empty() {
            values = self.alone.take_changed(max);
        }
        if values.is_empty() {
            self.round = None;
        }
        values
    }

    fn replay_by_hand(&mut self, lsn: Lsn, record: ResolvedByHand) {
        let id = record.attempt;
        // Unknown: prepared before the checkpoint, which repeats both records.
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Phase::Prepared(promise) = &mut attempt.phase else {
            return;
        };
        let redo = core::mem::take(&mut promise.redo);
        let (age, asking) = (promise.age, promise.asking.clone());
        attempt.history.enter(state_of(record.outcome), record.at);
        if record.outcome == Outcome::Committed {
            self.apply(lsn, &redo);
        }
        let ResolvedByHand {
            outcome, reason, ..
        } = record;
        self.set_finished(
            id,
            Finished::ByHand(ByHand {
                outcome,
                reason,
                age,
                asking,
            }),
        );
        self.locks.release(record.at, id);
    }

    /// The log has been read: begins a new boot and asks about what is in doubt.
    pub(super) fn begin_boot(&mut self, now: Millis, out: &mut Output<R>) {
        self.stored.clear();
        self.boot = self.boot.next();
        self.began_at = out.appended();
        self.locks.set_boot(self.boot);
        out.persist(Record::Started {
            id: self.id,
            boot: self.boot,
            at: now,
        });
        for id in self.asking() {
            let wait = self
                .jitter
                .backoff(self.settings.ask_first, self.settings.ask_first, 0);
            self.timers.arm(Timer::Ask(id), now + wait);
        }
        let unreported = self
            .damage
            .iter()
            .filter(|(_, damage)| damage.reports.is_some());
        for id in unreported.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.timers.arm(Timer::Report(id), now + Span::from_secs(1));
        }
        self.forget_alone(now, out);
    }

    /// Forgets what was decided alone and is too old, or too much.
    pub(super) fn forget_alone(&mut self, now: Millis, out: &mut Output<R>) {
        let (max, age) = (self.settings.remember_max, self.settings.remember_for);
        self.alone.forget(now, max, age, |through| {
            out.persist(Record::Forgotten { through })
        });
    }

    pub(super) fn live_records_from(&self, cursor: &mut Cursor, max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < max {
            cursor.0 = match &cursor.0 {
                Stage::Bounds => {
                    self.live_bounds(&mut records);
                    Stage::Attempts(None)
                }
                Stage::Attempts(after) => match self.live_attempts(*after, max, &mut records) {
                    Some(last) => Stage::Attempts(Some(last)),
                    None => Stage::Damage,
                },
                Stage::Damage => {
                    self.live_damage(&mut records);
                    Stage::End
                }
                Stage::End => break,
            };
        }
        records
    }

    fn live_bounds(&self, records: &mut Vec<Record>) {
        records.push(Record::Started {
            id: self.id,
            boot: self.boot,
            at: Millis(0),
        });
        records.extend(self.restored_records());
        records.push(Record::Forgotten {
            through: self.alone.forgotten(),
        });
        for (coordinator, known) in self.coordinators.iter() {
            records.push(Record::EpochSeen {
                coordinator,
                epoch: known.epoch,
            });
            records.push(Record::FloorRaised {
                coordinator,
                floor: known.logged_floor,
            });
        }
    }

    fn live_damage(&self, records: &mut Vec<Record>) {
        for (id, damage) in &self.damage {
            records.push(Record::Damaged(damage.record.clone()));
            if damage.mended {
                records.push(Record::DamageAcknowledged { attempt: *id });
            }
        }
    }

    /// Live records of the next attempts; the last one looked at, or none when
    /// there were no more.
    fn live_attempts(
        &self,
        after: Option<AttemptId>,
        max: usize,
        records: &mut Vec<Record>,
    ) -> Option<AttemptId> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut last = None;
        for (id, attempt) in self.attempts.range((from, Unbounded)).take(max) {
            last = Some(*id);
            self.live_attempt(*id, attempt, records);
        }
        last
    }

    fn live_attempt(&self, id: AttemptId, attempt: &Attempt<R>, records: &mut Vec<Record>) {
        let at = attempt
            .history
            .iter()
            .last()
            .map_or(Millis(0), |(_, at)| at);
        match &attempt.phase {
            // Unprepared work, and ends that nobody was promised, are not kept.
            Phase::Active(_)
            | Phase::Holding { .. }
            | Phase::Finished(
                Finished::Declined { .. } | Finished::Read(_) | Finished::ReadAlone(_),
            ) => {}
            // What was decided is in the stored data; that this attempt has ended is
            // not, and a late echo of it may still come.
            Phase::Finished(Finished::DecidedAlone) => {
                if let Some(entry) = self.alone.get(attempt.transaction) {
                    records.push(Record::DecidedAlone(DecidedAlone {
                        attempt: id,
                        transaction: entry.transaction,
                        hash: entry.hash,
                        ending: entry.ending,
                        redo: Vec::new(),
                        at: entry.at,
                    }));
                }
            }
            Phase::Finished(Finished::Heard(Outcome::Committed)) => {
                records.push(Record::Committed { attempt: id, at });
            }
            Phase::Finished(Finished::Heard(Outcome::Aborted)) => {
                records.push(Record::Aborted { attempt: id, at });
            }
            Phase::Finished(Finished::Refused) => {
                records.push(Record::Refused { attempt: id, at });
            }
            Phase::Prepared(_) if self.settings.planted.has(Bug::CheckpointForgetsPrepared) => {}
            Phase::Prepared(promise) => {
                let redo = self.resource.encode_redo(&promise.redo);
                let asking = &promise.asking;
                records.push(self.prepared_again(id, attempt, promise.age, asking, redo));
            }
            Phase::Finished(Finished::ByHand(by_hand)) => {
                // Its redo was applied long ago and must not be applied again.
                let asking = &by_hand.asking;
                records.push(self.prepared_again(id, attempt, by_hand.age, asking, Vec::new()));
                let (outcome, reason) = (by_hand.outcome, by_hand.reason.clone());
                let resolved = ResolvedByHand {
                    attempt: id,
                    outcome,
                    reason,
                    at,
                };
                records.push(Record::ResolvedByHand(resolved));
            }
        }
    }

    fn prepared_again(
        &self,
        id: AttemptId,
        attempt: &Attempt<R>,
        age: TransactionId,
        asking: &Asking,
        redo: Vec<u8>,
    ) -> Record {
        let entered = |wanted| attempt.history.iter().find(|(state, _)| *state == wanted);
        let locks: Vec<(LockKey, Mode)> = self
            .locks
            .held_by(id)
            .map(|(key, mode)| (key.clone(), mode))
            .collect();
        Record::Prepared(Prepared {
            attempt: id,
            transaction: attempt.transaction,
            age,
            coordinator_address: asking.coordinator_address.clone(),
            peers: asking.peers.clone(),
            locks,
            redo,
            begun_at: entered(State::Active).map_or(Millis(0), |(_, at)| at),
            at: entered(State::Prepared).map_or(Millis(0), |(_, at)| at),
        })
    }
}

/// Results are kept as bytes. Whether the resource can read them is found out at the
/// start, and not when a client asks.
fn check_results<R: Resource>(resource: &R, ending: &AloneEnding) -> Result<(), CorruptLog> {
    if let AloneEnding::Committed(results) = ending {
        for bytes in results {
            resource.decode_result(bytes)?;
        }
    }
    Ok(())
}

fn illegal(lsn: Lsn, record: &str, id: AttemptId, why: &str) -> CorruptLog {
    CorruptLog::Illegal {
        lsn,
        record: format!("{record} of attempt {id}"),
        why: String::from(why),
    }
}
