//! A node: a machine, its disk, and what waits for the disk.
//!
//! The disk is kept as the machine that has read it, so two logs that mean the
//! same are the same. A crash goes on with that one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use nemcon_core::coordinator::event::{
    Effect as CoordinatorEffect, Ending, Reply as CoordinatorReply,
};
use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{AttemptId, Epoch, Lsn, TransactionId};
use nemcon_core::invariants::Violation;
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::machine::{Machine, Wake};
use nemcon_core::message::{Answer, Outcome, Vote};
use nemcon_core::output::Output;
use nemcon_core::parking::Parking;
use nemcon_core::participant::event::{
    Effect as ParticipantEffect, Reply as ParticipantReply, Source,
};
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::participant::{self, Participant};
use nemcon_core::reason::Reason;
use nemcon_core::time::Millis;

use super::packet::{Packet, Place, Waiting, at_address, identity, place_of, source};
use super::registers::{self, Registers};
use super::table::hash_of;

/// The one moment at which everything happens.
pub(super) const NOW: Millis = Millis(1_000_000_000);

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    /// An outcome, and the sum of the results where there are any.
    Outcome(Outcome, Option<i64>),
    /// Its id is as old as outcomes that were forgotten.
    Forgotten,
    /// What became of it is not known now.
    Unknown,
    /// Its id was used for something else.
    Reused,
    /// Its coordinator has restarted, and nothing of it was done.
    NothingDone,
    /// It has begun, in this epoch.
    Begun(Epoch),
    /// Its piece of this number is done, with the sum of the results.
    Worked(u8, i64),
    /// Anything else.
    Refused,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    /// To another node.
    Packet(Box<Packet>),
    /// To the client of this order.
    Told(usize, Told),
}

impl From<Packet> for Said {
    fn from(packet: Packet) -> Self {
        Self::Packet(Box::new(packet))
    }
}

/// What somebody who watches a node has seen of it. Unlike the node it forgets
/// nothing in a crash, but for what the crash undoes.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Attempts that were prepared here, with transaction and locks.
    pub(super) prepared: BTreeMap<AttemptId, (TransactionId, Vec<(LockKey, Mode)>)>,
    /// Attempts on which it has said yes.
    pub(super) voted: BTreeSet<AttemptId>,
    /// Attempts that were prepared on disk.
    pub(super) prepared_on_disk: BTreeSet<AttemptId>,
    /// Changes that were applied on disk.
    pub(super) applied_on_disk: BTreeSet<(TransactionId, AttemptId)>,
    /// Attempts that were decided alone here.
    pub(super) alone: BTreeSet<AttemptId>,
    /// Attempts with damage on disk, and where.
    pub(super) damaged_on_disk: BTreeSet<(AttemptId, String)>,
    /// Why what was written cannot be read again.
    pub(super) unreadable: Option<String>,
}

impl Facts {
    /// What was durable is read back.
    pub(super) fn readable(&self, place: Place) -> Result<(), Violation> {
        self.unreadable.as_ref().map_or(Ok(()), |why| {
            let (invariant, story) = (super::LOG, format!("the log of {place}: {why}"));
            Err(Violation { invariant, story })
        })
    }
}

impl Hash for Facts {
    fn hash<H: Hasher>(&self, into: &mut H) {
        // Of what is prepared now the machine has all that is said here.
        let Self {
            prepared: _,
            voted,
            prepared_on_disk,
            applied_on_disk,
            alone,
            damaged_on_disk,
            unreadable,
        } = self;
        (voted, prepared_on_disk, applied_on_disk).hash(into);
        (alone, damaged_on_disk, unreadable).hash(into);
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerKind {
    /// It says again what was said before.
    Repeat,
    /// It ends a wait for a lock.
    LockWait,
    /// It ends an attempt: a deadline or a lease.
    End,
}

/// What the model needs of a machine, beyond its events.
pub(super) trait Subject: Machine<Record: Clone + Hash> + Clone {
    /// How many timers are armed.
    fn timers(&self) -> usize;
    /// One of them, in words.
    fn timer(&self, at: usize) -> String;
    /// What it is for.
    fn timer_kind(&self, at: usize) -> TimerKind;
    /// Fires one of them.
    fn fire(&mut self, at: usize, out: &mut Output<Self::Record, Self::Effect>);
    /// Hashes what its next steps depend on.
    fn hash_into<H: Hasher>(&self, into: &mut H);
    /// What an effect says, if it says anything.
    fn said(place: Place, effect: &Self::Effect) -> Option<Said>;
    /// Takes note of a record that was appended.
    fn note_appended(record: &Self::Record, facts: &mut Facts);
    /// Takes note of a record that is on disk.
    fn note_durable(place: Place, record: &Self::Record, facts: &mut Facts);
}

/// A machine with its disk.
#[derive(Clone)]
pub(super) struct Node<M: Subject> {
    pub(super) place: Place,
    pub(super) machine: M,
    /// The machine that has read what is on disk.
    pub(super) disk: M,
    /// What is appended and not on disk.
    pub(super) tail: Vec<(Lsn, M::Record)>,
    pub(super) facts: Facts,
    /// The last record there is.
    last: Lsn,
    parking: Parking<M::Effect>,
}

impl<M: Subject> Node<M> {
    /// A node with an empty disk, started.
    pub(super) fn start(place: Place, machine: M) -> (Self, Vec<Said>) {
        let mut node = Self {
            place,
            disk: machine.clone(),
            machine,
            tail: Vec::new(),
            facts: Facts::default(),
            last: Lsn(0),
            parking: Parking::default(),
        };
        let said = node.crash(0, &mut |_| {});
        (node, said)
    }

    pub(super) fn step(&mut self, event: M::Event) -> Vec<Said> {
        let mut out = Output::starting_at(self.last.next());
        self.machine.step(NOW, event, &mut out);
        self.settle(out)
    }

    pub(super) fn fire(&mut self, timer: usize) -> Vec<Said> {
        let mut out = Output::starting_at(self.last.next());
        self.machine.fire(timer, &mut out);
        self.settle(out)
    }

    /// The end of every turn of the driver: append, let go, park.
    fn settle(&mut self, mut out: Output<M::Record, M::Effect>) -> Vec<Said> {
        for (lsn, record) in out.take_records() {
            M::note_appended(&record, &mut self.facts);
            self.last = lsn;
            self.tail.push((lsn, record));
        }
        let mut effects: Vec<M::Effect> = out.now.drain(..).collect();
        self.drop_repeats(&mut out);
        self.parking.park(NOW, &mut out);
        let durable = self.durable();
        while let Some(effect) = self.parking.pop_ripe(durable) {
            effects.push(effect);
        }
        let said = effects.iter().filter_map(|it| M::said(self.place, it));
        let said: Vec<Said> = said.collect();
        for it in &said {
            if let Said::Packet(packet) = it
                && let Packet::Answer { answer, .. } = packet.as_ref()
                && let Answer::Voted { attempt, vote, .. } = answer
                && let Vote::Yes(_) = vote
            {
                self.facts.voted.insert(*attempt);
            }
        }
        said
    }

    fn durable(&self) -> Lsn {
        Lsn(self.last.0 - self.tail.len() as u64)
    }

    /// Puts the first records of the tail on disk, one after the other.
    fn write(&mut self, count: usize, each: &mut dyn FnMut(&Self)) {
        for _ in 0..count {
            let (lsn, record) = self.tail.remove(0);
            M::note_durable(self.place, &record, &mut self.facts);
            if let Err(why) = self.disk.replay(lsn, record) {
                self.facts.unreadable.get_or_insert(why.to_string());
            }
            each(self);
        }
    }

    /// The disk has caught up with the first records of the tail. `each` sees
    /// the node after each of them.
    pub(super) fn flush(&mut self, count: usize, each: &mut dyn FnMut(&Self)) -> Vec<Said> {
        self.write(count, each);
        self.step(Wake::Durable(self.durable()).into())
    }

    /// Crashes, with the first records of the tail on disk, and starts again.
    /// It serves nobody before its new start is on disk.
    pub(super) fn crash(&mut self, kept: usize, each: &mut dyn FnMut(&Self)) -> Vec<Said> {
        self.write(kept, each);
        self.last = self.durable();
        self.tail.clear();
        self.parking = Parking::default();
        self.machine = self.disk.clone();
        let mut out = Output::starting_at(self.last.next());
        self.machine.recovered(NOW, &mut out);
        let mut said = self.settle(out);
        said.extend(self.flush(self.tail.len(), each));
        said
    }

    /// Drops what need not be parked, since it is going to be said sooner: then it
    /// can be heard any number of times.
    fn drop_repeats(&self, out: &mut Output<M::Record, M::Effect>) {
        let said = |effect: &M::Effect| M::said(self.place, effect).map(|said| hash_of(&said));
        let parked = self.parking.iter().filter_map(|(_, effect)| said(effect));
        let mut known: BTreeSet<u64> = parked.collect();
        let mut is_new = |effect: &M::Effect| said(effect).is_some_and(|it| known.insert(it));
        out.after.retain(&mut is_new);
        out.later.retain(&mut is_new);
    }

    /// What is parked, by how many records it waits for.
    fn promises(&self) -> BTreeSet<(u64, u64)> {
        let durable = self.durable();
        let parked = self.parking.iter().filter_map(|(lsn, effect)| {
            let missing = lsn.0.saturating_sub(durable.0);
            Some((missing, hash_of(&M::said(self.place, effect)?)))
        });
        parked.collect()
    }

    /// Hashes all that the next steps depend on.
    pub(super) fn hash_into<H: Hasher>(&self, into: &mut H) {
        self.machine.hash_into(into);
        self.disk.hash_into(into);
        for (_, record) in &self.tail {
            record.hash(into);
        }
        self.tail.len().hash(into);
        self.promises().hash(into);
        self.facts.hash(into);
    }
}

impl Subject for Coordinator {
    fn timers(&self) -> usize {
        self.armed().count()
    }

    fn timer(&self, at: usize) -> String {
        self.armed()
            .nth(at)
            .map_or_else(String::new, |timer| match timer {
                coordinator::Timer::Deadline(_) => String::from("the deadline"),
                coordinator::Timer::Repeat(_, to) => format!("the repeat to {to}"),
                coordinator::Timer::Probe(to) => format!("the probe of {to}"),
                coordinator::Timer::Floor => String::from("the end of a held floor"),
                coordinator::Timer::Look => String::from("the look for deadlocks"),
                coordinator::Timer::SagaStep(saga, step) => {
                    format!("the pause of step {step} of saga {saga}")
                }
                coordinator::Timer::SagaLimit(saga) => format!("the time limit of saga {saga}"),
                coordinator::Timer::ForgetSagas => String::from("the end of a saga's memory"),
            })
    }

    fn timer_kind(&self, at: usize) -> TimerKind {
        match self.armed().nth(at) {
            Some(coordinator::Timer::Deadline(_)) => TimerKind::End,
            _ => TimerKind::Repeat,
        }
    }

    fn fire(&mut self, at: usize, out: &mut coordinator::Output) {
        let timer = self.armed().nth(at).cloned();
        if let Some(timer) = timer {
            Self::fire(self, NOW, &timer, out);
        }
    }

    fn hash_into<H: Hasher>(&self, into: &mut H) {
        self.fingerprint(into);
    }

    fn said(place: Place, effect: &CoordinatorEffect) -> Option<Said> {
        let Place::Coordinator(from) = place else {
            return None;
        };
        match effect {
            CoordinatorEffect::Send { to, frame } => Some(Said::from(Packet::Frame {
                from,
                to: place_of(to),
                frame: frame.clone(),
            })),
            CoordinatorEffect::Reply { request, reply } => match Waiting::of(*request) {
                Waiting::Client(order, piece) => Some(Said::Told(order, told(reply, piece)?)),
                Waiting::Asker(to, attempt) => {
                    let CoordinatorReply::Verdict(verdict) = reply else {
                        return None;
                    };
                    Some(Said::from(Packet::Verdict {
                        from: place,
                        to,
                        source: Source::Coordinator,
                        attempt,
                        verdict: *verdict,
                    }))
                }
                Waiting::Damaged(to, attempt) => {
                    Some(Said::from(Packet::DamageNoted { from, to, attempt }))
                }
                Waiting::Coordinator(_) | Waiting::Nobody => None,
            },
            CoordinatorEffect::Link { .. }
            | CoordinatorEffect::Unlink { .. }
            | CoordinatorEffect::Changed(_)
            | CoordinatorEffect::SagaChanged { .. }
            | CoordinatorEffect::Alarm(_)
            | CoordinatorEffect::Drained => None,
        }
    }

    fn note_appended(_: &CoordinatorRecord, _: &mut Facts) {}

    fn note_durable(place: Place, record: &CoordinatorRecord, facts: &mut Facts) {
        let Place::Coordinator(at) = place else {
            return;
        };
        if let CoordinatorRecord::Damaged(damaged) = record {
            let attempt = AttemptId {
                coordinator: identity(at),
                position: damaged.attempt,
            };
            let participant = damaged.participant.to_string();
            facts.damaged_on_disk.insert((attempt, participant));
        }
    }
}

fn told(reply: &CoordinatorReply, piece: u8) -> Option<Told> {
    match reply {
        CoordinatorReply::Finished(report) => {
            let results = match &report.ending {
                Ending::Committed(results) => results.as_deref().map(registers::sum),
                Ending::Aborted(_) => None,
            };
            Some(Told::Outcome(report.ending.outcome(), results))
        }
        CoordinatorReply::Refused(refusal) => Some(match &refusal.reason {
            reason if *reason == Reason::OUTCOME_FORGOTTEN => Told::Forgotten,
            reason if *reason == Reason::OUTCOME_UNKNOWN => Told::Unknown,
            reason if *reason == Reason::TRANSACTION_ID_REUSED => Told::Reused,
            reason if *reason == Reason::COORDINATOR_RESTARTED => Told::NothingDone,
            _ => Told::Refused,
        }),
        CoordinatorReply::Begun { epoch } => Some(Told::Begun(*epoch)),
        CoordinatorReply::Executed(results) => Some(Told::Worked(piece, registers::sum(results))),
        _ => None,
    }
}

impl Subject for Participant<Registers> {
    fn timers(&self) -> usize {
        self.armed().count()
    }

    fn timer(&self, at: usize) -> String {
        self.armed()
            .nth(at)
            .map_or_else(String::new, |timer| match timer {
                participant::Timer::LockWait(attempt) => format!("the lock wait of {attempt}"),
                participant::Timer::Lease(attempt) => format!("the lease of {attempt}"),
                participant::Timer::Ask(attempt) => format!("the question about {attempt}"),
                participant::Timer::Report(attempt) => format!("the damage report of {attempt}"),
                participant::Timer::Suspect(attempt) => format!("the question after {attempt}"),
            })
    }

    fn timer_kind(&self, at: usize) -> TimerKind {
        use participant::Timer::{Lease, LockWait};
        match self.armed().nth(at) {
            Some(LockWait(_)) => TimerKind::LockWait,
            Some(Lease(_)) => TimerKind::End,
            _ => TimerKind::Repeat,
        }
    }

    fn fire(&mut self, at: usize, out: &mut participant::Output<Registers>) {
        let timer = self.armed().nth(at).copied();
        if let Some(timer) = timer {
            Self::fire(self, NOW, &timer, out);
        }
    }

    fn hash_into<H: Hasher>(&self, into: &mut H) {
        self.fingerprint(into);
    }

    fn said(place: Place, effect: &ParticipantEffect<i64>) -> Option<Said> {
        let Place::Participant(from) = place else {
            return None;
        };
        let packet = match effect {
            ParticipantEffect::Answer { request, answer } => {
                let Waiting::Coordinator(to) = Waiting::of(*request) else {
                    return None;
                };
                let answer = without_counts(answer.clone()).map_results(registers::result);
                Packet::Answer { from, to, answer }
            }
            ParticipantEffect::Reply {
                request,
                reply: ParticipantReply::Verdict(verdict),
            } => {
                let Waiting::Asker(to, attempt) = Waiting::of(*request) else {
                    return None;
                };
                Packet::Verdict {
                    from: place,
                    to,
                    source: source(place),
                    attempt,
                    verdict: *verdict,
                }
            }
            ParticipantEffect::Ask {
                attempt,
                whom,
                address,
            } => Packet::Ask {
                from,
                to: at_address(address),
                source: whom.clone(),
                attempt: *attempt,
            },
            ParticipantEffect::ReportDamage {
                attempt,
                by_hand,
                address,
                ..
            } => {
                let Place::Coordinator(to) = at_address(address) else {
                    return None;
                };
                Packet::Damage {
                    from,
                    to,
                    attempt: *attempt,
                    by_hand: *by_hand,
                }
            }
            ParticipantEffect::Reply { .. }
            | ParticipantEffect::Alarm(_)
            | ParticipantEffect::Drained => return None,
        };
        Some(Said::from(packet))
    }

    fn note_appended(record: &ParticipantRecord, facts: &mut Facts) {
        if let ParticipantRecord::Prepared(prepared) = record {
            let what = (prepared.transaction, prepared.locks.clone());
            facts.prepared.insert(prepared.attempt, what);
        }
        if let ParticipantRecord::DecidedAlone(decided) = record {
            facts.alone.insert(decided.attempt);
        }
    }

    fn note_durable(place: Place, record: &ParticipantRecord, facts: &mut Facts) {
        if let ParticipantRecord::Prepared(prepared) = record {
            facts.prepared_on_disk.insert(prepared.attempt);
        }
        if let ParticipantRecord::Damaged(damaged) = record {
            let here = (damaged.attempt, place.to_string());
            facts.damaged_on_disk.insert(here);
        }
        let applied = applied(record, facts);
        facts.applied_on_disk.extend(applied);
    }
}

/// The change that a record applies, if it applies one.
pub(super) fn applied(
    record: &ParticipantRecord,
    facts: &Facts,
) -> Option<(TransactionId, AttemptId)> {
    match record {
        ParticipantRecord::Committed { attempt, .. } => {
            let (transaction, _) = facts.prepared.get(attempt)?;
            Some((*transaction, *attempt))
        }
        ParticipantRecord::DecidedAlone(decided) if !decided.redo.is_empty() => {
            Some((decided.transaction, decided.attempt))
        }
        _ => None,
    }
}

/// Without what only grows and decides nothing: where a log ends tells which of two
/// copies is older, and there is one copy of each here; tokens are for others.
fn without_counts<R>(mut answer: Answer<R>) -> Answer<R> {
    match &mut answer {
        Answer::Voted { log_end, .. } => *log_end = Lsn(1),
        Answer::Waits { report, .. } => {
            let queues = report.queues.iter_mut();
            for holder in queues.flat_map(|queue| &mut queue.holders) {
                holder.token.counter = 0;
            }
        }
        _ => {}
    }
    answer
}
