//! The participants a coordinator knows: where they are, whether they answer,
//! and what is unfinished there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::{Effect, ParticipantView, Reply};
use super::record::Record;
use super::{Coordinator, Output, Timer, refuse, reply};
use crate::id::{Boot, ParticipantId, ParticipantName, Position, RequestId, TransactionId};
use crate::message::{Frame, Header, Hello, ToParticipant};
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// One participant.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: ParticipantId,
    pub(super) address: String,
    /// It answered the last call, or none was made.
    pub(super) reachable: bool,
    /// Probes in vain since it was last heard.
    pub(super) probes: u32,
    pub(super) boot: Option<Boot>,
    /// Attempts with unfinished business here. The lowest is the floor.
    pub(super) unfinished: BTreeSet<Position>,
    /// Transactions it is asked about before they may run.
    pub(super) inquiries: BTreeSet<TransactionId>,
}

/// All participants by name.
pub(super) type Members = BTreeMap<ParticipantName, Member>;

impl Coordinator {
    pub(super) fn register(
        &mut self,
        request: RequestId,
        name: ParticipantName,
        id: ParticipantId,
        address: String,
        out: &mut Output,
    ) {
        match self.members.get_mut(&name) {
            Some(member) if member.id != id => {
                let why = format!(
                    "participant {name} is registered with data directory {}, not {id}; if its old \
                     data are gone for good, remove it first: nemcon participants remove {name}",
                    member.id
                );
                let refusal = Refusal::new(Reason::PARTICIPANT_REPLACED, why);
                return out.now.push(refuse(request, refusal));
            }
            Some(member) if member.address == address => {}
            Some(member) => {
                member.address.clone_from(&address);
                self.record_member(name.clone(), id, address, out);
            }
            None => {
                self.insert_member(name.clone(), id, address.clone());
                self.record_member(name.clone(), id, address, out);
            }
        }
        let registered = Reply::Registered {
            coordinator: self.identity,
            epoch: self.epoch,
        };
        out.after.push(reply(request, registered));
        // Whoever registers is there: what waited for it can go on.
        self.say_hello(&name, out);
    }

    fn record_member(
        &self,
        name: ParticipantName,
        id: ParticipantId,
        address: String,
        out: &mut Output,
    ) {
        out.persist(Record::Registered {
            name: name.clone(),
            id,
            address: address.clone(),
        });
        out.now.push(Effect::Link { name, address });
    }

    pub(super) fn insert_member(
        &mut self,
        name: ParticipantName,
        id: ParticipantId,
        address: String,
    ) {
        let member = Member {
            id,
            address,
            reachable: true,
            probes: 0,
            boot: None,
            unfinished: BTreeSet::new(),
            inquiries: BTreeSet::new(),
        };
        self.members.insert(name, member);
    }

    pub(super) fn remove(&mut self, request: RequestId, name: &ParticipantName, out: &mut Output) {
        let Some(member) = self.members.get(name) else {
            return out
                .now
                .push(refuse(request, self.unknown_participant(name)));
        };
        let unfinished = member.unfinished.len();
        let branch_in_open = self.open.iter().any(|position| {
            let txn = self
                .attempts
                .get(position)
                .and_then(|id| self.transactions.get(id));
            txn.is_some_and(|txn| txn.branches.contains_key(name))
        });
        if unfinished > 0 || branch_in_open {
            let why = format!(
                "participant {name} has {unfinished} unfinished transactions; it must come back \
                 and acknowledge them first"
            );
            let refusal = Refusal::retryable(Reason::PARTICIPANT_BUSY, why);
            return out.now.push(refuse(request, refusal));
        }
        self.members.remove(name);
        self.timers.disarm(&Timer::Probe(name.clone()));
        out.persist(Record::Removed { name: name.clone() });
        out.now.push(Effect::Unlink { name: name.clone() });
        out.after.push(reply(request, Reply::Done));
    }

    pub(super) fn unknown_participant(&self, name: &ParticipantName) -> Refusal {
        let mut known: Vec<&str> = self.members.keys().map(ParticipantName::as_str).collect();
        known.truncate(20);
        let known = match known.as_slice() {
            [] => String::from("none is registered"),
            names => format!("registered are {}", names.join(", ")),
        };
        Refusal::new(
            Reason::UNKNOWN_PARTICIPANT,
            format!("no participant {name}; {known}"),
        )
    }

    /// The lowest attempt with unfinished business at a participant, or the next
    /// one to come.
    fn floor(&self, member: &Member) -> Position {
        let next = Position {
            epoch: self.epoch,
            sequence: self.sequence.next(),
        };
        let first = member.unfinished.first().copied().unwrap_or(next);
        self.open.first().copied().unwrap_or(next).min(first)
    }

    /// A message with the header that goes with it now.
    pub(super) fn frame(
        &self,
        to: &ParticipantName,
        message: ToParticipant<crate::message::Payload>,
    ) -> Option<Effect> {
        let member = self.members.get(to)?;
        let header = Header {
            coordinator: self.identity,
            participant: member.id,
            epoch: self.epoch,
            floor: self.floor(member),
        };
        Some(Effect::Send {
            to: to.clone(),
            frame: Frame { header, message },
        })
    }

    pub(super) fn say_hello(&self, to: &ParticipantName, out: &mut Output) {
        let hello = Hello {
            address: self.settings.address.clone(),
        };
        out.now.extend(self.frame(to, ToParticipant::Hello(hello)));
    }

    /// Sees whether an unreachable participant is back, and arms the next try in
    /// case even the failure of this one gets lost.
    pub(super) fn probe(&mut self, now: Millis, name: &ParticipantName, out: &mut Output) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        if !member.reachable {
            let tries = member.probes;
            self.say_hello(name, out);
            self.arm_probe(now + self.settings.call_timeout, name, tries);
        }
    }

    fn arm_probe(&mut self, from: Millis, name: &ParticipantName, tries: u32) {
        let settings = &self.settings;
        let wait = self
            .jitter
            .backoff(settings.retry_first, settings.retry_max, tries);
        self.timers.arm(Timer::Probe(name.clone()), from + wait);
    }

    /// A call could not arrive: nothing more is sent there until a probe comes
    /// through. Of many calls that fail together only the first counts.
    pub(super) fn mark_unreachable(&mut self, now: Millis, name: &ParticipantName) {
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        if member.reachable {
            member.reachable = false;
            self.arm_probe(now, name, 0);
        }
    }

    /// A probe has failed: the next one waits longer.
    pub(super) fn probe_failed(&mut self, now: Millis, name: &ParticipantName) {
        self.mark_unreachable(now, name);
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        member.probes = member.probes.saturating_add(1);
        let tries = member.probes;
        self.arm_probe(now, name, tries);
    }

    /// It answered. If it had been away, whatever waited for it goes out.
    pub(super) fn mark_reachable(&mut self, now: Millis, name: &ParticipantName, out: &mut Output) {
        if self.was_away(name) {
            self.call_again(now, name, out);
        }
    }

    /// It has said hello: if it had been away, or has restarted and lost what was
    /// unprepared, repeats every call it has not answered.
    pub(super) fn welcomed(
        &mut self,
        now: Millis,
        name: &ParticipantName,
        boot: Boot,
        out: &mut Output,
    ) {
        let away = self.was_away(name);
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        let before = member.boot.replace(boot);
        if away || before.is_some_and(|before| before != boot) {
            self.call_again(now, name, out);
        }
    }

    /// Notes that it is there, and says whether it had been away.
    fn was_away(&mut self, name: &ParticipantName) -> bool {
        let Some(member) = self.members.get_mut(name) else {
            return false;
        };
        member.probes = 0;
        let away = !member.reachable;
        member.reachable = true;
        if away {
            self.timers.disarm(&Timer::Probe(name.clone()));
        }
        away
    }

    fn call_again(&mut self, now: Millis, name: &ParticipantName, out: &mut Output) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        let unfinished = member.unfinished.iter().chain(&self.open);
        let mut waiting: Vec<TransactionId> = unfinished
            .filter_map(|position| self.attempts.get(position).copied())
            .collect();
        waiting.extend(member.inquiries.iter().copied());
        for transaction in waiting {
            self.call(now, transaction, name, out);
        }
    }

    pub(super) fn participants(&self) -> Vec<ParticipantView> {
        let view = |(name, member): (&ParticipantName, &Member)| ParticipantView {
            name: name.clone(),
            id: member.id,
            address: member.address.clone(),
            reachable: member.reachable,
            unfinished: member.unfinished.len() as u64,
            boot: member.boot,
        };
        self.members.iter().map(view).collect()
    }
}
