//! Looks for deadlocks across participants, and answers who waits for whom.
//!
//! ```text
//!            a wait is old          there are cycles
//!    REST ──────────────▶ FIRST ────────────────────▶ SECOND ──▶ REST
//!                            │ there are none                │ an end to the wait
//!                            └───────────▶ REST              ▼ of each victim
//! ```
//!
//! A cycle across participants has a transaction in it that waits at one of them and
//! is in the way at another. So we look when a call of ours that may wait for a lock,
//! of a transaction with two participants or more, has been unanswered for a while.
//! All participants are asked, for the others in the cycle may be anybody's.
//!
//! What they answer was not so at one moment. If it has a cycle, its participants
//! are asked once more, and what has stood at both looks stood when the first was
//! complete: then it is a deadlock. Its victim is the same whoever finds it, and
//! only that very wait ends, so it does no harm if several do.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::event::{Reply, WaitsView};
use super::transaction::{Phase, Waiting};
use super::{Coordinator, Output, Timer, reply};
use crate::deadlock::{Deadlock, Graph, Link};
use crate::fingerprint::Fingerprint;
use crate::id::{AttemptId, Boot, ParticipantName, Position, RequestId, TransactionId};
use crate::limits;
use crate::lock::{self, LockKey, Queue, Waiter};
use crate::message::{FailWait, Party, ReportWaits, ToParticipant, WaitsReport};
use crate::planted::Bug;
use crate::time::{Millis, Span};

/// How often it is seen whether the answers that have come are enough: a deadlock
/// among those who answer does not wait for one that is silent.
const LOOK_STEP: Span = Span(100);

/// After looks that found nobody waiting, the next comes later, up to this.
const PAUSE_MAX: Span = Span(160);

/// So many waits make the next look come later by as much as the first came.
const WAITS_A_LOOK: u64 = 1_000;

/// Up to so many calls it is not worth while to see which are answered.
const SENT_MIN: usize = 1_024;

/// Of how many blockers a view of a wait tells.
const BLOCKERS_TOLD: usize = 10;

/// How far the search for deadlocks is.
#[derive(Clone, Debug, Default)]
pub(super) struct Looking {
    /// Calls that may wait for a lock, in the order in which they were sent. They are
    /// taken out when they are looked at and turn out to be answered.
    sent: VecDeque<(Millis, Position)>,
    stage: Stage,
    /// Numbers the looks.
    looks: u64,
    /// Whoever asked who waits for whom, since the last look began.
    askers: Vec<RequestId>,
    /// How many calls there may be before those are taken out that are answered.
    sent_max: usize,
    /// Time between two looks; zero: as set.
    pause: Span,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Rest,
    First {
        gathered: Gathered,
        askers: Vec<RequestId>,
    },
    Second {
        gathered: Gathered,
        suspects: Vec<Suspect>,
    },
}

/// What was answered so far.
#[derive(Clone, Debug, Default)]
struct Gathered {
    began: Millis,
    unanswered: BTreeSet<ParticipantName>,
    reports: BTreeMap<ParticipantName, WaitsReport>,
}

/// A cycle as it was seen at the first look; the victim is first.
type Suspect = Vec<Edge>;

/// One wait, and for whom. It is the attempt that tells who somebody is: what a
/// participant says of it besides is hearsay, on which two may differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Edge {
    waiter: Party,
    blocker: AttemptId,
    participant: ParticipantName,
    boot: Boot,
    key: LockKey,
    wait: u64,
}

impl Edge {
    /// Whether a later report has it too.
    fn stands(&self, reports: &BTreeMap<ParticipantName, WaitsReport>) -> bool {
        let report = reports.get(&self.participant);
        let report = report.filter(|report| report.boot == self.boot);
        let queue = report.and_then(|it| it.queues.iter().find(|queue| queue.key == self.key));
        queue.is_some_and(|queue| {
            let waiter = self.waiter.attempt;
            let is_it = |it: &Waiter<Party>| it.owner.attempt == waiter && it.wait == self.wait;
            let place = queue.waiters.iter().position(is_it);
            place.is_some_and(|place| queue.blockers(place).any(|it| it.attempt == self.blocker))
        })
    }
}

impl Fingerprint for Looking {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            sent,
            stage,
            looks: _,
            askers,
            sent_max: _,
            pause: _,
        } = self;
        // Which calls are old is a matter of time.
        let sent: BTreeSet<Position> = sent.iter().map(|(_, position)| *position).collect();
        (sent, askers).hash(into);
        core::mem::discriminant(stage).hash(into);
        let gathered = match stage {
            Stage::Rest => return,
            Stage::First { gathered, askers } => {
                askers.hash(into);
                gathered
            }
            Stage::Second { gathered, suspects } => {
                suspects.hash(into);
                gathered
            }
        };
        gathered.unanswered.hash(into);
        for (name, report) in &gathered.reports {
            (name, report.boot).hash(into);
            for queue in &report.queues {
                queue.key.hash(into);
                for holder in &queue.holders {
                    (holder.owner, holder.mode).hash(into);
                }
                for waiter in &queue.waiters {
                    (waiter.owner, waiter.mode, waiter.wait).hash(into);
                }
            }
        }
    }
}

impl Coordinator {
    /// How often it has asked all participants who waits for whom.
    #[must_use]
    pub const fn looks(&self) -> u64 {
        self.looking.looks
    }

    /// A call has left that may wait for a lock.
    pub(super) fn note_lock_call(&mut self, now: Millis, position: Position) {
        let Some(after) = self.settings.look_after else {
            return;
        };
        self.looking.sent.push_back((now, position));
        let resting = matches!(self.looking.stage, Stage::Rest);
        if resting && !self.timers.is_armed(&Timer::Look) {
            self.timers
                .arm(Timer::Look, now + after.max(self.looking.pause));
        }
    }

    /// It is time for a look, or a look has taken too long.
    pub(super) fn look_is_due(&mut self, now: Millis, out: &mut Output) {
        if !matches!(self.looking.stage, Stage::Rest) {
            return self.look_takes_long(now, out);
        }
        let Some(after) = self.settings.look_after else {
            return;
        };
        if self.looking.sent.len() > self.looking.sent_max {
            let mut sent = core::mem::take(&mut self.looking.sent);
            sent.retain(|(_, position)| self.may_wait(*position));
            self.looking.sent_max = (2 * sent.len()).max(SENT_MIN);
            self.looking.sent = sent;
        }
        while let Some((at, position)) = self.looking.sent.front().copied() {
            if !self.may_wait(position) {
                self.looking.sent.pop_front();
            } else if now.since(at) < after {
                return self.timers.arm(Timer::Look, at + after);
            } else {
                return self.look(now, after, out);
            }
        }
        self.looking.pause = Span(0);
    }

    /// Not all have answered yet. Those who have may be enough; and whoever is silent
    /// for as long as any call may take is left out.
    fn look_takes_long(&mut self, now: Millis, out: &mut Output) {
        let (gathered, first) = match &self.looking.stage {
            Stage::Rest => return,
            Stage::First { gathered, .. } => (gathered, true),
            Stage::Second { gathered, .. } => (gathered, false),
        };
        let late = now.since(gathered.began) >= self.settings.call_timeout;
        let enough = first && !self.suspects(&gathered.reports).is_empty();
        if !late && !enough {
            return self.timers.arm(Timer::Look, now + LOOK_STEP);
        }
        if let Stage::First { gathered, .. } | Stage::Second { gathered, .. } =
            &mut self.looking.stage
        {
            gathered.unanswered.clear();
        }
        self.look_may_be_complete(now, out);
    }

    /// Whether an attempt has a call out that may wait for a lock.
    fn may_wait(&self, position: Position) -> bool {
        let transaction = self.attempts.get(&position);
        let txn = transaction.and_then(|transaction| self.transactions.get(transaction));
        txn.is_some_and(|txn| match &txn.phase {
            Phase::Open(piece) => !piece.unanswered.is_empty(),
            Phase::Preparing => !txn.all_voted(),
            Phase::Inquiring { .. }
            | Phase::Releasing
            | Phase::Alone
            | Phase::Deciding
            | Phase::Committing
            | Phase::Aborting(_) => false,
        })
    }

    /// Somebody wants to see who waits for whom.
    pub(super) fn waits_asked(&mut self, now: Millis, request: RequestId, out: &mut Output) {
        self.looking.askers.push(request);
        if matches!(self.looking.stage, Stage::Rest) {
            self.look(now, Span(0), out);
        }
    }

    /// Looks for the first time.
    fn look(&mut self, now: Millis, older: Span, out: &mut Output) {
        if self.settings.planted.has(Bug::DeadlocksNotLookedFor) {
            return;
        }
        let askers = core::mem::take(&mut self.looking.askers);
        let older = if askers.is_empty() { older } else { Span(0) };
        let reachable = self.members.iter().filter(|(_, member)| member.reachable);
        let whom = reachable.map(|(name, _)| name.clone()).collect();
        let gathered = self.gather(now, whom, older, out);
        self.looking.stage = Stage::First { gathered, askers };
        self.look_may_be_complete(now, out);
    }

    fn gather(
        &mut self,
        now: Millis,
        whom: BTreeSet<ParticipantName>,
        older: Span,
        out: &mut Output,
    ) -> Gathered {
        self.looking.looks += 1;
        let look = self.looking.looks;
        for name in &whom {
            let ask = ToParticipant::ReportWaits(ReportWaits { look, older });
            out.now.extend(self.frame(name, ask));
        }
        self.timers.arm(Timer::Look, now + LOOK_STEP);
        Gathered {
            began: now,
            unanswered: whom,
            reports: BTreeMap::new(),
        }
    }

    /// A participant has said who waits for whom, or cannot.
    pub(super) fn waits_reported(
        &mut self,
        now: Millis,
        from: &ParticipantName,
        look: u64,
        report: Option<WaitsReport>,
        out: &mut Output,
    ) {
        let (Stage::First { gathered, .. } | Stage::Second { gathered, .. }) =
            &mut self.looking.stage
        else {
            return;
        };
        if look != self.looking.looks || !gathered.unanswered.remove(from) {
            return;
        }
        if let Some(report) = report {
            gathered.reports.insert(from.clone(), report);
        }
        self.look_may_be_complete(now, out);
    }

    fn look_may_be_complete(&mut self, now: Millis, out: &mut Output) {
        let (Stage::First { gathered, .. } | Stage::Second { gathered, .. }) = &self.looking.stage
        else {
            return;
        };
        if !gathered.unanswered.is_empty() {
            return;
        }
        match core::mem::take(&mut self.looking.stage) {
            Stage::Rest => {}
            Stage::First { gathered, askers } => self.looked(now, gathered.reports, askers, out),
            Stage::Second { gathered, suspects } => {
                self.looked_again(now, &gathered.reports, suspects, out);
            }
        }
    }

    /// The first look is complete.
    fn looked(
        &mut self,
        now: Millis,
        reports: BTreeMap<ParticipantName, WaitsReport>,
        askers: Vec<RequestId>,
        out: &mut Output,
    ) {
        self.show_waits(&reports, out);
        let suspects = self.suspects(&reports);
        self.pace(&reports);
        if !askers.is_empty() {
            let silent = self.members.keys();
            let silent = silent.filter(|name| !reports.contains_key(*name));
            let mut room = limits::QUEUES_BYTES_MAX;
            let fit = |(name, mut report): (ParticipantName, WaitsReport)| {
                let (queues, left_out) = lock::fitting(report.queues.into_iter(), &mut room);
                report.queues = queues;
                report.left_out = report.left_out.saturating_add(left_out);
                (name, report)
            };
            let view = WaitsView {
                silent: silent.cloned().collect(),
                reports: reports.into_iter().map(fit).collect(),
            };
            for request in askers {
                out.now.push(reply(request, Reply::Waits(view.clone())));
            }
        }
        if suspects.is_empty() {
            return self.rest(now, out);
        }
        if self.settings.planted.has(Bug::FirstLookSuffices) {
            self.break_cycles(&suspects, out);
            return self.rest(now, out);
        }
        let edges = suspects.iter().flatten();
        let whom = edges.map(|edge| edge.participant.clone()).collect();
        let gathered = self.gather(now, whom, Span(0), out);
        self.looking.stage = Stage::Second { gathered, suspects };
    }

    /// The cycles in what was reported, of waits that have lasted a while.
    fn suspects(&self, reports: &BTreeMap<ParticipantName, WaitsReport>) -> Vec<Suspect> {
        let Some(after) = self.settings.look_after else {
            return Vec::new();
        };
        let mut graph = Graph::default();
        // The oldest that anybody says.
        let mut ages: BTreeMap<AttemptId, (TransactionId, TransactionId)> = BTreeMap::new();
        for report in reports.values() {
            let is_old = |it: &Waiter<AttemptId>| report.at.since(it.since) >= after;
            for queue in &report.queues {
                for party in queue.owners() {
                    let age = (party.age, party.transaction);
                    let said = ages.entry(party.attempt).or_insert(age);
                    *said = age.min(*said);
                }
                graph.add(&queue.clone().map(|party| party.attempt), is_old);
            }
        }
        let deadlocks = graph.deadlocks(|attempt| ages.get(&attempt).copied());
        let cycles = deadlocks.iter();
        cycles
            .filter_map(|deadlock| edges(deadlock, reports))
            .collect()
    }

    /// The second look is complete.
    fn looked_again(
        &mut self,
        now: Millis,
        reports: &BTreeMap<ParticipantName, WaitsReport>,
        mut suspects: Vec<Suspect>,
        out: &mut Output,
    ) {
        suspects.retain(|cycle| cycle.iter().all(|edge| edge.stands(reports)));
        if self.settings.planted.has(Bug::BystanderGivesWay) {
            for cycle in &mut suspects {
                let victim = bystander(cycle, reports);
                if let (Some(first), Some(victim)) = (cycle.first_mut(), victim) {
                    *first = victim;
                }
            }
        }
        self.break_cycles(&suspects, out);
        self.rest(now, out);
    }

    /// Tells the participants where the victims wait.
    fn break_cycles(&self, cycles: &[Suspect], out: &mut Output) {
        for cycle in cycles {
            let Some(victim) = cycle.first() else {
                continue;
            };
            let link = |edge: &Edge| Link {
                waiter: edge.waiter.transaction,
                participant: edge.participant.clone(),
                key: edge.key.clone(),
            };
            let fail = FailWait {
                victim: victim.waiter.attempt,
                boot: victim.boot,
                wait: victim.wait,
                cycle: cycle.iter().map(link).collect(),
            };
            let fail = ToParticipant::FailWait(fail);
            out.now.extend(self.frame(&victim.participant, fail));
        }
    }

    /// Until the next look.
    fn rest(&mut self, now: Millis, out: &mut Output) {
        self.looking.stage = Stage::Rest;
        self.timers.disarm(&Timer::Look);
        if !self.looking.askers.is_empty() {
            return self.look(now, Span(0), out);
        }
        if !self.looking.sent.is_empty()
            && let Some(after) = self.settings.look_after
        {
            self.timers
                .arm(Timer::Look, now + after.max(self.looking.pause));
        }
    }

    /// When to look again: soon if somebody waits, later if there are many, since
    /// that is work; and later if nobody does, since then it is not locks that take
    /// so long.
    fn pace(&mut self, reports: &BTreeMap<ParticipantName, WaitsReport>) {
        let Some(after) = self.settings.look_after else {
            return;
        };
        let queues = reports.values().flat_map(|report| &report.queues);
        let waits: usize = queues.map(|queue| queue.waiters.len()).sum();
        let pause = self.looking.pause.max(after);
        self.looking.pause = match waits {
            0 => Span(pause.0 * 2).min(PAUSE_MAX),
            _ => Span(after.0 + after.0 * waits as u64 / WAITS_A_LOOK),
        };
    }

    /// Shows those who watch what our transactions wait for.
    fn show_waits(&mut self, reports: &BTreeMap<ParticipantName, WaitsReport>, out: &mut Output) {
        let mut changed = BTreeSet::new();
        for (name, report) in reports {
            for queue in &report.queues {
                for (place, waiter) in queue.waiters.iter().enumerate() {
                    let attempt = waiter.owner.attempt;
                    if attempt.coordinator != self.identity {
                        continue;
                    }
                    let Some((transaction, txn)) = self.running(attempt.position) else {
                        continue;
                    };
                    let Some(branch) = txn.branches.get_mut(name) else {
                        continue;
                    };
                    let blockers = queue.blockers(place).take(BLOCKERS_TOLD);
                    let waiting = Waiting {
                        key: queue.key.clone(),
                        wait: waiter.wait,
                        waited: report.at.since(waiter.since),
                        blockers: blockers.map(|party| party.transaction).collect(),
                    };
                    if branch
                        .waiting
                        .as_ref()
                        .is_none_or(|it| !it.is_same(&waiting))
                    {
                        changed.insert(transaction);
                    }
                    branch.waiting = Some(waiting);
                }
            }
        }
        for transaction in changed {
            self.note_change(transaction, out);
        }
    }
}

/// The waits that make up a cycle.
fn edges(
    deadlock: &Deadlock<AttemptId>,
    reports: &BTreeMap<ParticipantName, WaitsReport>,
) -> Option<Suspect> {
    let edge = |(waiter, blocker): (AttemptId, AttemptId)| {
        reports.iter().find_map(|(participant, report)| {
            report.queues.iter().find_map(|queue| {
                let mut waiters = queue.waiters.iter();
                let place = waiters.position(|it| it.owner.attempt == waiter)?;
                let waiter = queue.waiters.get(place)?;
                let is_blocked = queue.blockers(place).any(|it| it.attempt == blocker);
                is_blocked.then(|| Edge {
                    waiter: waiter.owner,
                    blocker,
                    participant: participant.clone(),
                    boot: report.boot,
                    key: queue.key.clone(),
                    wait: waiter.wait,
                })
            })
        })
    };
    deadlock.links().map(edge).collect()
}

/// Somebody who waits and is not in the cycle: only a planted mistake asks for one.
fn bystander(cycle: &Suspect, reports: &BTreeMap<ParticipantName, WaitsReport>) -> Option<Edge> {
    let outside = |queue: &Queue<Party>| {
        let mut waiters = queue.waiters.iter();
        waiters
            .find(|it| {
                cycle
                    .iter()
                    .all(|edge| edge.waiter.attempt != it.owner.attempt)
            })
            .copied()
    };
    reports.iter().find_map(|(participant, report)| {
        report.queues.iter().find_map(|queue| {
            let waiter = outside(queue)?;
            Some(Edge {
                waiter: waiter.owner,
                blocker: waiter.owner.attempt,
                participant: participant.clone(),
                boot: report.boot,
                key: queue.key.clone(),
                wait: waiter.wait,
            })
        })
    })
}
