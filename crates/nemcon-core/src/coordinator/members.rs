//! The participants a coordinator knows: where they are, whether they answer,
//! and what is unfinished there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::{Effect, ParticipantView, Reply};
use super::record::Record;
use super::transaction::Phase;
use super::{Coordinator, Output, Timer, refuse, reply};
use crate::id::{
    Boot, LogPosition, Lsn, ParticipantId, ParticipantName, Position, RequestId, TransactionId,
};
use crate::message::{Frame, Header, Hello, ToParticipant};
use crate::planted::Bug;
use crate::reason::{Reason, Refusal};
use crate::time::Millis;

/// What a participant says of its data directory when it registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Life {
    /// How its present boot began, if it says so.
    pub(super) began: Option<LogPosition>,
    /// Which restoration from a backup it is of, if it is of one.
    pub(super) restored: Option<u64>,
}

/// A participant as it registers.
pub(super) struct Registration {
    pub(super) name: ParticipantName,
    pub(super) id: ParticipantId,
    pub(super) address: String,
    pub(super) life: Life,
}

/// One participant.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: ParticipantId,
    pub(super) address: String,
    /// It answered the last call, or none was made.
    pub(super) reachable: bool,
    /// It has answered a hello since it registered, or since we started: it knows where
    /// we are.
    pub(super) greeted: bool,
    /// Probes in vain since it was last heard.
    pub(super) probes: u32,
    pub(super) boot: Option<Boot>,
    /// What it said of its present life when it registered.
    pub(super) life: Life,
    /// How far its log had come with the last promise that counted: an old copy
    /// of its data directory has not come so far.
    pub(super) promised: Option<LogPosition>,
    /// Attempts with unfinished business here. The lowest is the floor.
    pub(super) unfinished: BTreeSet<Position>,
    /// The highest time in the ids that it was asked to decide alone in this epoch.
    pub(super) alone_through: Millis,
    /// Transactions it is asked about before they may run.
    pub(super) inquiries: BTreeSet<TransactionId>,
}

impl Member {
    /// Whether another life than this one is known to have had its boot number.
    fn has_another_life(&self, of: LogPosition) -> bool {
        let known = [self.life.began, self.promised];
        let mut known = known.into_iter().flatten();
        known.any(|known| known.boot == of.boot && known.life != of.life)
    }

    /// What the log says of it.
    pub(super) fn record(&self, name: ParticipantName) -> Record {
        Record::Registered {
            name,
            id: self.id,
            address: self.address.clone(),
            began: self.life.began,
            promised: self.promised,
            restored: self.life.restored,
        }
    }
}

fn set_back(name: &ParticipantName, member: &Member, is: LogPosition, was: LogPosition) -> Refusal {
    let why = format!(
        "the data directory {} of participant {name} is an old copy: it is in boot {} with a log \
         of {} records, and had come to boot {} and {} records with what it promised here. Start \
         it with the newest one; if that is gone for good, first give up what was promised: \
         nemcon participants remove {name} --give-up REASON",
        member.id, is.boot, is.lsn, was.boot, was.lsn
    );
    Refusal::new(Reason::PARTICIPANT_SET_BACK, why)
}

/// All participants by name.
pub(super) type Members = BTreeMap<ParticipantName, Member>;

impl Coordinator {
    pub(super) fn register(
        &mut self,
        now: Millis,
        request: RequestId,
        registration: Registration,
        out: &mut Output,
    ) {
        let Registration {
            name,
            id,
            address,
            life,
        } = registration;
        let refusal = self.refusal_of_restored(&name, id, life);
        if let Some(refusal) = refusal.or_else(|| self.refusal_of_old_copy(&name, id, life.began)) {
            return out.now.push(refuse(request, refusal));
        }
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
            Some(member) if member.address == address && member.life == life => {}
            Some(member) => {
                member.address.clone_from(&address);
                member.life = life;
                self.record_member(&name, out);
            }
            None => {
                self.insert_member(name.clone(), id, address);
                if let Some(member) = self.members.get_mut(&name) {
                    member.life = life;
                }
                self.record_member(&name, out);
            }
        }
        let registered = Reply::Registered {
            coordinator: self.identity,
            epoch: self.epoch,
        };
        out.after.push(reply(request, registered));
        // Whoever registers is there: what waited for it can go on.
        self.greet(now, &name, out);
    }

    fn record_member(&self, name: &ParticipantName, out: &mut Output) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        out.persist(member.record(name.clone()));
        let (name, address) = (name.clone(), member.address.clone());
        out.now.push(Effect::Link { name, address });
    }

    /// Why a participant that was restored from a backup is not taken, or one that
    /// was not, after we have taken its restoration. How far its log had come
    /// proves nothing here: what it decided alone, and what it did for others,
    /// was never reported. Only its removal, which is for a person to decide,
    /// makes a newcomer of it.
    fn refusal_of_restored(
        &self,
        name: &ParticipantName,
        id: ParticipantId,
        life: Life,
    ) -> Option<Refusal> {
        let member = self.members.get(name).filter(|member| member.id == id)?;
        if member.life.restored == life.restored {
            return None;
        }
        let is = match life.restored {
            Some(_) => "was restored from a backup: what it did and promised since is lost",
            None => "is an old one: another was restored from its backup and has taken its place",
        };
        let why = format!(
            "the data directory {id} of participant {name} {is}. Start it with the newest one; if \
             that is gone for good, first give up what was promised: nemcon participants remove \
             {name} --give-up REASON"
        );
        Some(Refusal::new(Reason::PARTICIPANT_SET_BACK, why))
    }

    /// Why a participant is an old copy of one that has promised more since, if
    /// it is one. Told by how its boot began: a log that was not set back is, at
    /// each start, at least as long as at any promise before.
    fn refusal_of_old_copy(
        &self,
        name: &ParticipantName,
        id: ParticipantId,
        began: Option<LogPosition>,
    ) -> Option<Refusal> {
        let member = self.members.get(name).filter(|member| member.id == id)?;
        let (began, last) = (began?, member.promised.max(member.life.began)?);
        let earlier = began.boot < last.boot;
        let shorter = began.boot > last.boot && began.lsn < last.lsn;
        (earlier || shorter || member.has_another_life(began))
            .then(|| set_back(name, member, began, last))
    }

    /// The same of one that votes. A vote of an earlier boot may just be late.
    pub(super) fn refusal_of_another_life(
        &self,
        name: &ParticipantName,
        voted: LogPosition,
    ) -> Option<Refusal> {
        let member = self.members.get(name)?;
        let last = member.promised.max(member.life.began)?;
        (voted.lsn > Lsn(0) && member.has_another_life(voted))
            .then(|| set_back(name, member, voted, last))
    }

    /// Notes how far a participant's log had come with a vote that counts.
    pub(super) fn note_promise(&mut self, name: &ParticipantName, promised: LogPosition) {
        if promised.lsn > Lsn(0)
            && let Some(member) = self.members.get_mut(name)
        {
            member.promised = member.promised.max(Some(promised));
        }
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
            greeted: false,
            probes: 0,
            boot: None,
            life: Life::default(),
            promised: None,
            unfinished: BTreeSet::new(),
            alone_through: Millis(0),
            inquiries: BTreeSet::new(),
        };
        self.members.insert(name, member);
    }

    /// Forgets a participant. What it has not acknowledged is in the way, unless
    /// it is given up: then each such decision is recorded as damage.
    pub(super) fn remove(
        &mut self,
        now: Millis,
        request: RequestId,
        name: &ParticipantName,
        give_up: Option<String>,
        out: &mut Output,
    ) {
        let Some(member) = self.members.get(name) else {
            return out
                .now
                .push(refuse(request, self.unknown_participant(name)));
        };
        let unfinished: Vec<Position> = member.unfinished.iter().copied().collect();
        let alone_through = self.horizon.recovered.max(member.alone_through);
        // What may yet send it work, and what is going to once its id is known not
        // to have run.
        let wanted = self.transactions.values().any(|txn| match &txn.phase {
            Phase::Inquiring { unanswered, then } => {
                unanswered.contains(name) || then.concerns(name)
            }
            Phase::Open(_) => txn.branches.contains_key(name),
            // Of these there is unfinished business.
            Phase::Preparing
            | Phase::Releasing
            | Phase::Alone
            | Phase::Deciding
            | Phase::Committing
            | Phase::Aborting(_) => false,
        });
        if wanted || !(unfinished.is_empty() || give_up.is_some()) {
            let why = format!(
                "participant {name} has {} unfinished transactions; it must come back and \
                 acknowledge them first",
                unfinished.len()
            );
            let refusal = Refusal::retryable(Reason::PARTICIPANT_BUSY, why);
            return out.now.push(refuse(request, refusal));
        }
        if let Some(saga) = self.sagas.concerning(name)
            && give_up.is_none()
        {
            let why = format!(
                "participant {name} is named by saga {saga}, which has not ended; it must end first"
            );
            let refusal = Refusal::retryable(Reason::PARTICIPANT_BUSY, why);
            return out.now.push(refuse(request, refusal));
        }
        for attempt in unfinished {
            let why = give_up.clone().unwrap_or_default();
            self.record_damage(now, name, attempt, None, why, out);
            self.acknowledged(now, name, attempt, out);
        }
        // What it decided alone only it remembers: such ids are never run again.
        if alone_through > Millis(0) {
            self.memory.set_forgotten(alone_through);
            let through = self.memory.forgotten();
            out.persist(Record::Forgotten { through });
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
        if self.settings.planted.has(Bug::FloorTooHigh) {
            return next;
        }
        let first = member.unfinished.first().copied().unwrap_or(next);
        let open = self.open.first().copied().unwrap_or(next);
        self.floor_held().unwrap_or(next).min(open).min(first)
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

    /// Says hello until it is answered. Whoever is in doubt asks at once then, and
    /// whoever has something to report knows where.
    pub(super) fn greet(&mut self, now: Millis, to: &ParticipantName, out: &mut Output) {
        let Some(member) = self.members.get_mut(to) else {
            return;
        };
        member.greeted = false;
        let tries = member.probes;
        self.say_hello(to, out);
        self.arm_probe(now + self.settings.call_timeout, to, tries);
    }

    fn say_hello(&self, to: &ParticipantName, out: &mut Output) {
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
        if !member.reachable || !member.greeted {
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
        member.greeted = true;
        let before = member.boot.replace(boot);
        self.timers.disarm(&Timer::Probe(name.clone()));
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
        if away && member.greeted {
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
