//! How stories speak of messages, records and answers.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::coordinator::event::{
    Alarm as CoordinatorAlarm, Ending, Reply as CoordinatorReply, State,
};
use nemcon_core::coordinator::record::{Cause, Record as CoordinatorRecord};
use nemcon_core::id::{AttemptId, ParticipantName, SagaId, TransactionId};
use nemcon_core::lock::Queue;
use nemcon_core::message::{
    Alone, Answer, Call, Failure, Outcome, Party, Payload, ToParticipant, Trace, Verdict, Vote,
};
use nemcon_core::participant::event::{
    Alarm as ParticipantAlarm, Reply as ParticipantReply, Source,
};
use nemcon_core::participant::record::{AloneEnding, Record as ParticipantRecord};
use nemcon_core::reason::Refusal;
use nemcon_core::saga::StepName;

use super::sagas::SagaNames;
use super::script::{Cluster, Kind, Selector};
use crate::world::{Overheard, Packet, Place, Waiting, coordinator_of, decode};

/// What the story calls everything.
pub(crate) struct Names {
    pub(crate) cluster: Cluster,
    pub(super) transactions: BTreeMap<TransactionId, String>,
    attempts: BTreeMap<AttemptId, (TransactionId, String)>,
    pub(super) sagas: BTreeMap<SagaId, SagaNames>,
}

impl Names {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            transactions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            sagas: BTreeMap::new(),
        }
    }

    pub(crate) fn give_name(&mut self, transaction: TransactionId, name: &str) {
        self.transactions.insert(transaction, name.to_owned());
    }

    /// Learns the names of attempts from what is sent: the first of a transaction is
    /// called like it, later ones are numbered.
    pub(crate) fn learn(&mut self, packet: &Packet) {
        if let Packet::Frame { frame, .. } = packet
            && let Some(task) = frame.message.task()
            && !self.attempts.contains_key(&task.attempt)
        {
            let of_transaction = |(of, _): &&(TransactionId, String)| *of == task.transaction;
            let earlier = self.attempts.values().filter(of_transaction).count();
            let name = self.transaction(task.transaction);
            let name = match earlier {
                0 => name,
                earlier => format!("{name}/{}", earlier + 1),
            };
            self.attempts.insert(task.attempt, (task.transaction, name));
        }
    }

    pub(crate) fn transaction(&self, transaction: TransactionId) -> String {
        let name = self.transactions.get(&transaction);
        name.map_or_else(|| transaction.to_string(), Clone::clone)
    }

    /// Whether it has a name.
    pub(super) fn is_known(&self, transaction: TransactionId) -> bool {
        self.transactions.contains_key(&transaction)
    }

    pub(crate) fn attempt(&self, attempt: AttemptId) -> String {
        let name = self.attempts.get(&attempt);
        name.map_or_else(|| attempt.to_string(), |(_, name)| name.clone())
    }

    /// All attempts of a transaction so far.
    pub(crate) fn attempts_of(&self, transaction: TransactionId) -> Vec<AttemptId> {
        let of = self
            .attempts
            .iter()
            .filter(|(_, (of, _))| *of == transaction);
        of.map(|(attempt, _)| *attempt).collect()
    }

    fn transaction_of(&self, attempt: AttemptId) -> Option<TransactionId> {
        self.attempts
            .get(&attempt)
            .map(|(transaction, _)| *transaction)
    }

    pub(crate) fn node(&self, place: Place) -> String {
        self.cluster.name(place)
    }

    /// The world calls participants p0, p1 and so on.
    fn participant(&self, name: &ParticipantName) -> String {
        let number = name.as_str().strip_prefix('p').and_then(|n| n.parse().ok());
        number.map_or_else(|| name.to_string(), |at| self.node(Place::Participant(at)))
    }

    /// Who sends a message, to whom, and what it says.
    pub(crate) fn packet(&self, packet: &Packet) -> (Place, Place, String) {
        let to = packet.receiver();
        let said = match packet {
            Packet::Frame { frame, .. } => self.frame(&frame.message, frame.header.epoch.0),
            Packet::Answer { answer, .. } => self.answer(answer),
            Packet::Ask { attempt, .. } => format!("what became of {}?", self.attempt(*attempt)),
            Packet::Verdict {
                attempt,
                verdict: Ok(verdict),
                ..
            } => self.verdict(*attempt, *verdict),
            Packet::Damage {
                attempt, by_hand, ..
            } => format!(
                "{} was {} by hand",
                self.attempt(*attempt),
                outcome(*by_hand)
            ),
            Packet::DamageAnswered { attempt, .. } => {
                format!("the damage of {} is on record", self.attempt(*attempt))
            }
            Packet::Lost { failure, .. } => failure_words(*failure).to_owned(),
            Packet::Verdict {
                verdict: Err(failure),
                ..
            } => failure_words(*failure).to_owned(),
        };
        (sender(packet), to, said)
    }

    fn frame(&self, message: &ToParticipant<Payload>, epoch: u64) -> String {
        match message {
            ToParticipant::Hello(_) => format!("hello, epoch {epoch}"),
            ToParticipant::Execute(execute) => format!(
                "do piece {} of {}",
                execute.number,
                self.attempt(execute.task.attempt)
            ),
            ToParticipant::Prepare(prepare) => {
                format!("prepare {}", self.attempt(prepare.task.attempt))
            }
            ToParticipant::Commit(attempt) => format!("commit {}", self.attempt(*attempt)),
            ToParticipant::Abort(attempt) => format!("abort {}", self.attempt(*attempt)),
            ToParticipant::Release(attempt) => format!("release {}", self.attempt(*attempt)),
            ToParticipant::CommitOnePhase(commit) => {
                format!("decide {} alone", self.attempt(commit.task.attempt))
            }
            ToParticipant::Inquire(transaction) => {
                format!("did you decide {} alone?", self.transaction(*transaction))
            }
            ToParticipant::AcquireLocks(acquire) => {
                let locks = acquire.locks.iter().map(|lock| lock.name.as_str());
                format!(
                    "lock {} for {}, piece {}",
                    Vec::from_iter(locks).join(", "),
                    self.attempt(acquire.task.attempt),
                    acquire.number
                )
            }
            ToParticipant::ReportWaits(_) => "who waits?".to_owned(),
            ToParticipant::FailWait(fail) => {
                let cycle = fail.cycle.iter().map(|link| {
                    let who = self.transaction(link.waiter);
                    format!("{who} at {}", self.participant(&link.participant))
                });
                let cycle = Vec::from_iter(cycle).join(", ");
                format!(
                    "{} gives way: in a circle wait {cycle}",
                    self.attempt(fail.victim)
                )
            }
        }
    }

    fn answer(&self, answer: &Answer<Payload>) -> String {
        match answer {
            Answer::Welcome { boot } => format!("welcome, boot {boot}"),
            Answer::Executed {
                attempt,
                number,
                results,
                ..
            } => {
                let name = self.attempt(*attempt);
                match results {
                    Ok(results) => format!("piece {number} of {name} is done{}", values(results)),
                    Err(refusal) => format!("no to {name}: {}", refusal.reason),
                }
            }
            Answer::LocksAcquired {
                attempt, tokens, ..
            } => {
                let name = self.attempt(*attempt);
                match tokens {
                    Ok(tokens) => format!("{name} has {}", counted(tokens.len(), "lock")),
                    Err(refusal) => format!("no to {name}: {}", refusal.reason),
                }
            }
            Answer::Waits { report, .. } => {
                let wait = |queue: &Queue<Party>, place: usize| {
                    let waiter = self.transaction(queue.waiters[place].owner.transaction);
                    let behind = queue.blockers(place);
                    let behind: BTreeSet<String> =
                        behind.map(|it| self.transaction(it.transaction)).collect();
                    format!("{waiter} behind {}", Vec::from_iter(behind).join(", "))
                };
                let queues = report.queues.iter();
                let waits = queues.flat_map(|queue| {
                    (0..queue.waiters.len()).map(move |place| wait(queue, place))
                });
                let waits: Vec<String> = waits.collect();
                match waits.is_empty() {
                    true => "nobody waits".to_owned(),
                    false => format!("there wait {}", waits.join("; ")),
                }
            }
            Answer::WaitFailed { victim, failed } => {
                let name = self.attempt(*victim);
                match failed {
                    true => format!("{name} has given way"),
                    false => format!("{name} does not wait for that any more"),
                }
            }
            Answer::Voted { attempt, vote, .. } => {
                let name = self.attempt(*attempt);
                match vote {
                    Vote::Yes(None) => format!("yes to {name}, its results are lost"),
                    Vote::Yes(Some(results)) => format!("yes to {name}{}", values(results)),
                    Vote::ReadOnly(results) => format!("read-only on {name}{}", values(results)),
                    Vote::No(refusal) => format!("no to {name}: {}", refusal.reason),
                }
            }
            Answer::Acknowledged { attempt, damage } => match damage {
                None => format!("acknowledged {}", self.attempt(*attempt)),
                Some(by_hand) => format!(
                    "heard of {}, which was {} here by hand",
                    self.attempt(*attempt),
                    outcome(*by_hand)
                ),
            },
            Answer::Released { attempt, boot } => match boot {
                Some(_) => format!("{} held its locks until now", self.attempt(*attempt)),
                None => format!("{} has not held its locks", self.attempt(*attempt)),
            },
            Answer::DecidedAlone { attempt, alone } => self.alone(&self.attempt(*attempt), alone),
            Answer::Traced { transaction, trace } => {
                let name = self.transaction(*transaction);
                match trace {
                    Trace::None => format!("no trace of {name}, and none will come"),
                    Trace::Forgotten => format!("forgotten what was as old as {name}"),
                    Trace::Decided { alone, .. } => self.alone(&name, alone),
                }
            }
            Answer::Refused { call, refusal } => {
                let about = call
                    .attempt()
                    .map_or_else(String::new, |attempt| format!(" {}", self.attempt(attempt)));
                format!("refused{about}: {}", refusal.reason)
            }
        }
    }

    fn alone(&self, name: &str, alone: &Alone<Payload>) -> String {
        match alone {
            Alone::Committed(results) => format!("{name} is committed{}", values(results)),
            Alone::Aborted(refusal) => format!("{name} is aborted: {}", refusal.reason),
        }
    }

    fn verdict(&self, attempt: AttemptId, verdict: Verdict) -> String {
        let name = self.attempt(attempt);
        match verdict {
            Verdict::Committed => format!("{name} is committed"),
            Verdict::Aborted => format!("{name} is aborted"),
            Verdict::Pending => format!("{name} is not decided yet"),
            Verdict::Unknown => format!("what became of {name} is not known here"),
            Verdict::WrongCoordinator => format!("{name} is of another coordinator"),
        }
    }

    pub(crate) fn participant_record(&self, record: &ParticipantRecord) -> String {
        match record {
            ParticipantRecord::Started { boot, .. } => format!("Started(boot {boot})"),
            ParticipantRecord::EpochSeen { coordinator, epoch } => {
                let owner = Place::Coordinator(coordinator_of(*coordinator));
                format!("EpochSeen({} {epoch})", self.node(owner))
            }
            ParticipantRecord::FloorRaised { .. } => "FloorRaised".to_owned(),
            ParticipantRecord::Prepared(prepared) => {
                format!("Prepared({})", self.attempt(prepared.attempt))
            }
            ParticipantRecord::Committed { attempt, .. } => {
                format!("Committed({})", self.attempt(*attempt))
            }
            ParticipantRecord::Aborted { attempt, .. } => {
                format!("Aborted({})", self.attempt(*attempt))
            }
            ParticipantRecord::Refused { attempt, .. } => {
                format!("Refused({})", self.attempt(*attempt))
            }
            ParticipantRecord::DecidedAlone(decided) => {
                let ending = match decided.ending {
                    AloneEnding::Committed(_) => Outcome::Committed,
                    AloneEnding::Aborted(_) => Outcome::Aborted,
                };
                let name = self.attempt(decided.attempt);
                format!("DecidedAlone({name} {})", outcome(ending))
            }
            ParticipantRecord::Forgotten { .. } => "Forgotten".to_owned(),
            ParticipantRecord::ResolvedByHand(resolved) => format!(
                "ResolvedByHand({} {})",
                self.attempt(resolved.attempt),
                outcome(resolved.outcome)
            ),
            ParticipantRecord::Damaged(damaged) => {
                format!("Damaged({})", self.attempt(damaged.attempt))
            }
            ParticipantRecord::DamageAcknowledged { attempt } => {
                format!("DamageAcknowledged({})", self.attempt(*attempt))
            }
            ParticipantRecord::Restored { .. } => "Restored".to_owned(),
            ParticipantRecord::Readmitted { coordinator } => {
                let by = Place::Coordinator(coordinator_of(*coordinator));
                format!("Readmitted({})", self.node(by))
            }
        }
    }

    pub(crate) fn coordinator_record(&self, at: usize, record: &CoordinatorRecord) -> String {
        let attempt = |position| {
            let coordinator = crate::world::identity(at);
            self.attempt(AttemptId {
                coordinator,
                position,
            })
        };
        match record {
            CoordinatorRecord::Started { epoch, .. } => format!("Started(epoch {epoch})"),
            CoordinatorRecord::Decided(decided) => {
                let voters: Vec<String> = decided
                    .voters
                    .iter()
                    .map(|name| self.participant(name))
                    .collect();
                let name = attempt(decided.attempt);
                match voters.as_slice() {
                    // A checkpoint keeps only the outcome of what has ended.
                    [] => format!("Decided({name})"),
                    voters => format!("Decided({name} at {})", voters.join(", ")),
                }
            }
            CoordinatorRecord::Ended { attempt: of, .. } => format!("Ended({})", attempt(*of)),
            CoordinatorRecord::Aborted(aborted) => {
                format!("Aborted({})", self.transaction(aborted.transaction))
            }
            CoordinatorRecord::Forgotten { .. } => "Forgotten".to_owned(),
            CoordinatorRecord::AloneHorizon { .. } => "AloneHorizon".to_owned(),
            CoordinatorRecord::Registered { name, .. } => {
                format!("Registered({})", self.participant(name))
            }
            CoordinatorRecord::Restored { .. } => "Restored".to_owned(),
            CoordinatorRecord::Removed { name } => format!("Removed({})", self.participant(name)),
            CoordinatorRecord::Damaged(damaged) => format!(
                "Damaged({} at {})",
                attempt(damaged.attempt),
                self.participant(&damaged.participant)
            ),
            CoordinatorRecord::Saga { saga, fact } => self.fact(*saga, fact),
            CoordinatorRecord::SagasForgotten { through } => {
                format!("SagasForgotten(up to {through})")
            }
            CoordinatorRecord::DamageAcknowledged {
                attempt: of,
                participant,
            } => format!(
                "DamageAcknowledged({} at {})",
                attempt(*of),
                self.participant(participant)
            ),
        }
    }

    /// What a node has said to somebody outside the network; nothing if a reader
    /// need not hear it.
    pub(crate) fn overheard(&self, overheard: &Overheard) -> Option<String> {
        match overheard {
            Overheard::Coordinator(at, waiting, reply) => {
                let node = self.node(Place::Coordinator(*at));
                let (whom, said) = self.coordinator_reply(waiting, reply)?;
                Some(format!("{node} → {whom}: {said}"))
            }
            Overheard::Participant(at, Waiting::Nobody, reply) => {
                let node = self.node(Place::Participant(*at));
                let said = match reply {
                    ParticipantReply::Done => "done".to_owned(),
                    ParticipantReply::Refused(refusal) => refused(refusal),
                    ParticipantReply::Verdict(_)
                    | ParticipantReply::Peeked { .. }
                    | ParticipantReply::InDoubt(_)
                    | ParticipantReply::Locks { .. }
                    | ParticipantReply::Damage(_) => return None,
                };
                Some(format!("{node} → operator: {said}"))
            }
            // An answer to another node, which is seen on the network.
            Overheard::Participant(..) => None,
            Overheard::CoordinatorAlarm(at, alarm) => {
                let node = self.node(Place::Coordinator(*at));
                Some(format!(
                    "{node} raises an alarm: {}",
                    self.coordinator_alarm(*at, alarm)
                ))
            }
            Overheard::ParticipantAlarm(at, alarm) => {
                let node = self.node(Place::Participant(*at));
                Some(format!(
                    "{node} raises an alarm: {}",
                    self.participant_alarm(alarm)
                ))
            }
            Overheard::SagaChanged(at, saga, state) => {
                let node = self.node(Place::Coordinator(*at));
                Some(format!(
                    "{node} → watcher: {}",
                    self.saga_changed(*saga, *state)
                ))
            }
            Overheard::Drained(place) => Some(format!("{} may stop", self.node(*place))),
        }
    }

    fn coordinator_alarm(&self, at: usize, alarm: &CoordinatorAlarm) -> String {
        match alarm {
            CoordinatorAlarm::HeuristicDamage(damaged) => {
                let attempt = AttemptId {
                    coordinator: crate::world::identity(at),
                    position: damaged.attempt,
                };
                let (name, decided) = (self.attempt(attempt), outcome(damaged.decided));
                let place = self.participant(&damaged.participant);
                match damaged.by_hand {
                    Some(by_hand) => {
                        let by_hand = outcome(by_hand);
                        format!("{name} was {decided}, but {by_hand} by hand at {place}")
                    }
                    None => format!("{name} was {decided}, but {place} has lost it"),
                }
            }
            CoordinatorAlarm::SagaStuck { step, refusal, .. } => {
                let step = step.as_ref().map_or("the saga", StepName::as_str);
                format!("{step} is stuck: {}", refusal.reason)
            }
            CoordinatorAlarm::ProtocolViolated { participant, what } => {
                format!(
                    "{} broke the protocol: {what}",
                    self.participant(participant)
                )
            }
        }
    }

    fn participant_alarm(&self, alarm: &ParticipantAlarm) -> String {
        match alarm {
            ParticipantAlarm::HeuristicDamage(damaged) => {
                let (name, decided) = (self.attempt(damaged.attempt), outcome(damaged.decided));
                match damaged.by_hand {
                    Some(by_hand) => {
                        let by_hand = outcome(by_hand);
                        format!("{name} was {decided}, but {by_hand} by hand here")
                    }
                    None => format!("{name} was {decided}, but is not known here"),
                }
            }
            ParticipantAlarm::ProtocolViolated { what, .. } => {
                format!("its coordinator broke the protocol: {what}")
            }
        }
    }

    fn coordinator_reply(
        &self,
        waiting: &Waiting,
        reply: &CoordinatorReply,
    ) -> Option<(String, String)> {
        match waiting {
            Waiting::Client { transaction } => {
                let name = self.transaction(*transaction);
                let said = match reply {
                    CoordinatorReply::Finished(report) => match &report.ending {
                        Ending::Committed(Some(results)) => {
                            format!("{name} is committed{}", values(results))
                        }
                        Ending::Committed(None) => {
                            format!("{name} is committed, its results are lost")
                        }
                        Ending::Aborted(cause) => format!("{name} is aborted{}", self.cause(cause)),
                    },
                    CoordinatorReply::Begun { .. } => format!("{name} has begun"),
                    CoordinatorReply::Executed(results) => {
                        format!("{name} goes on{}", values(results))
                    }
                    CoordinatorReply::LocksAcquired(tokens) => {
                        format!("{name} has {}", counted(tokens.len(), "lock"))
                    }
                    CoordinatorReply::Refused(refusal) => {
                        format!("no outcome for {name}: {}", refusal.reason)
                    }
                    other => format!("{other:?}"),
                };
                Some(("client".to_owned(), said))
            }
            Waiting::Saga { saga, asker } => Some(self.saga_reply(*saga, *asker, reply)),
            Waiting::Registration { participant } => match reply {
                CoordinatorReply::Refused(refusal) => {
                    let node = self.node(Place::Participant(*participant));
                    Some((node, format!("you are not welcome: {}", refusal.reason)))
                }
                _ => None,
            },
            Waiting::Nobody => {
                let said = match reply {
                    CoordinatorReply::Done => "done".to_owned(),
                    CoordinatorReply::Refused(refusal) => refused(refusal),
                    _ => return None,
                };
                Some(("operator".to_owned(), said))
            }
            // Seen on the network.
            Waiting::Frame { .. } | Waiting::Asker { .. } | Waiting::Damage { .. } => None,
        }
    }

    fn cause(&self, cause: &Cause) -> String {
        let place = cause.participant.as_ref();
        let place = place.map_or_else(String::new, |name| {
            format!(" at {}", self.participant(name))
        });
        let again = if cause.refusal.retryable {
            ", a rerun may help"
        } else {
            ""
        };
        format!(": {}{place}{again}", cause.refusal.reason)
    }

    /// Whether a message is one of those that a command means.
    pub(crate) fn is_meant(
        &self,
        packet: &Packet,
        selector: &Selector,
        transaction: Option<TransactionId>,
    ) -> bool {
        let of = match packet {
            Packet::Frame { frame, .. } => self.call(frame.message.call()),
            Packet::Answer { answer, .. } => self.answered(answer),
            Packet::Lost { call, .. } => self.call(*call),
            Packet::Ask { attempt, .. }
            | Packet::Verdict { attempt, .. }
            | Packet::Damage { attempt, .. }
            | Packet::DamageAnswered { attempt, .. } => self.transaction_of(*attempt),
        };
        [Kind::Any, kind(packet)].contains(&selector.kind)
            && selector.from.is_none_or(|from| from == sender(packet))
            && selector.to.is_none_or(|to| to == packet.receiver())
            && transaction.is_none_or(|transaction| of == Some(transaction))
    }

    fn call(&self, call: Call) -> Option<TransactionId> {
        match call {
            Call::Inquire(transaction) => Some(transaction),
            Call::FailWait(victim) => self.transaction_of(victim),
            call => self.transaction_of(call.attempt()?),
        }
    }

    fn answered(&self, answer: &Answer<Payload>) -> Option<TransactionId> {
        match answer {
            Answer::Welcome { .. } | Answer::Waits { .. } => None,
            Answer::WaitFailed { victim, .. } => self.transaction_of(*victim),
            Answer::LocksAcquired { attempt, .. }
            | Answer::Executed { attempt, .. }
            | Answer::Voted { attempt, .. }
            | Answer::Acknowledged { attempt, .. }
            | Answer::Released { attempt, .. }
            | Answer::DecidedAlone { attempt, .. } => self.transaction_of(*attempt),
            Answer::Traced { transaction, .. } => Some(*transaction),
            Answer::Refused { call, .. } => self.transaction_of(call.attempt()?),
        }
    }
}

/// Whether this is only the news that a call has failed.
pub(crate) fn is_failure(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::Lost { .. }
            | Packet::Verdict {
                verdict: Err(_),
                ..
            }
            | Packet::DamageAnswered { result: Err(_), .. }
    )
}

fn sender(packet: &Packet) -> Place {
    match packet {
        Packet::Frame { from, .. } => Place::Coordinator(*from),
        Packet::Answer { from, .. } => Place::Participant(*from),
        Packet::Lost { to, .. } => Place::Participant(*to),
        Packet::Ask { from, .. } | Packet::Damage { from, .. } => Place::Participant(*from),
        Packet::Verdict {
            source, attempt, ..
        } => match source {
            Source::Coordinator => Place::Coordinator(coordinator_of(attempt.coordinator)),
            Source::Peer(peer) => Place::Participant(crate::world::place_of(&peer.name)),
        },
        Packet::DamageAnswered { attempt, .. } => {
            Place::Coordinator(coordinator_of(attempt.coordinator))
        }
    }
}

fn kind(packet: &Packet) -> Kind {
    match packet {
        Packet::Frame { frame, .. } => match &frame.message {
            ToParticipant::Hello(_) => Kind::Hello,
            ToParticipant::Execute(_) => Kind::Work,
            ToParticipant::Prepare(_) => Kind::Prepare,
            ToParticipant::Commit(_) => Kind::Commit,
            ToParticipant::Abort(_) => Kind::Abort,
            ToParticipant::Release(_) => Kind::Release,
            ToParticipant::CommitOnePhase(_) => Kind::OnePhase,
            ToParticipant::Inquire(_) => Kind::Inquiry,
            ToParticipant::AcquireLocks(_) => Kind::Work,
            ToParticipant::ReportWaits(_) => Kind::Look,
            ToParticipant::FailWait(_) => Kind::WayOut,
        },
        Packet::Answer { answer, .. } => match answer {
            Answer::Welcome { .. } => Kind::Welcome,
            Answer::Executed { .. } | Answer::LocksAcquired { .. } => Kind::Result,
            Answer::Waits { .. } => Kind::Sight,
            Answer::WaitFailed { .. } => Kind::WayGiven,
            Answer::Voted { .. } => Kind::Vote,
            Answer::Acknowledged { .. } => Kind::Acknowledgement,
            Answer::Released { .. } => Kind::Released,
            Answer::DecidedAlone { .. } => Kind::Decision,
            Answer::Traced { .. } => Kind::Trace,
            Answer::Refused { .. } => Kind::Refusal,
        },
        Packet::Ask { .. } => Kind::Question,
        Packet::Verdict { .. } => Kind::Verdict,
        Packet::Damage { .. } | Packet::DamageAnswered { .. } => Kind::Report,
        Packet::Lost { .. } => Kind::Refusal,
    }
}

pub(crate) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "committed",
        Outcome::Aborted => "aborted",
    }
}

/// The names that the design gives to the states.
pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::Init => "INIT",
        State::Preparing => "PREPARING",
        State::Prepared => "PREPARED",
        State::Committing => "COMMITTING",
        State::Committed => "COMMITTED",
        State::Aborting => "ABORTING",
        State::Aborted => "ABORTED",
    }
}

const fn failure_words(failure: Failure) -> &'static str {
    match failure {
        Failure::Unreachable => "cannot be reached",
        Failure::TimedOut => "does not answer in time",
    }
}

pub(super) fn refused(refusal: &Refusal) -> String {
    format!("refused: {}", refusal.reason)
}

fn values(results: &[Payload]) -> String {
    let values: Vec<String> = decode(results).iter().map(i64::to_string).collect();
    match values.as_slice() {
        [] => String::new(),
        values => format!(" ({})", values.join(", ")),
    }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
