//! The stage: a coordinator that is played, and the participant opposite.
//!
//! It keeps what a real coordinator keeps (identity, epoch, sequence, floor), and
//! what a real one would never do is up to the stories. When one is over, all that
//! it left open is aborted and the floor passes it, so the next begins afresh.

use std::collections::BTreeSet;
use std::time::Duration;

use nemcon_client::new_transaction_id;
use nemcon_core::id::{
    AttemptId, Boot, CoordinatorId, Epoch, ParticipantId, Position, Sequence, TransactionId,
};
use nemcon_core::message::{
    Alone, Answer, CommitOnePhase, Frame, Header, Hello, Operation, OperationsHash, Payload, Peer,
    Prepare, Task, ToParticipant, Verdict, Vote, Work,
};
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;
use tokio::time::{Instant, sleep};

use super::line::Line;
use super::oracle::{Oracle, Word};
use super::rule::{Ended, Told, broken};
use super::rules::restart::Scene;

/// How long a story's attempts wait for a lock that should be free, and how long
/// for one that should not be.
pub(super) const PATIENT: Span = Span(2_000);
pub(super) const HASTY: Span = Span(300);

/// Deadline of a story's transactions.
const DEADLINE: Span = Span(10_000);

/// How long a participant may take to notice, by itself, what it has to notice:
/// the longest pause between two of its questions, and something on top.
pub(super) const SOON: Duration = Duration::from_secs(8);

/// How often is looked again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The actions that are tried, as the operator gave them.
#[derive(Clone, Debug)]
pub(super) struct Actions {
    /// Commits whenever it is asked for, and changes what `read` gives each time.
    pub(super) write: Payload,
    /// Reads what `write` changes.
    pub(super) read: Payload,
    /// Is refused for a reason of the business.
    pub(super) refused: Option<Payload>,
}

/// One attempt of the played coordinator.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) attempt: AttemptId,
    pub(super) transaction: TransactionId,
    pub(super) operations: Vec<Operation<Payload>>,
    /// Whether the whole transaction is marked `read_only`.
    pub(super) read_only: bool,
    pub(super) lock_wait: Span,
    pub(super) remaining: Span,
}

impl Try {
    pub(super) fn waiting(self, lock_wait: Span) -> Self {
        Self { lock_wait, ..self }
    }
}

/// See the module.
pub(super) struct Stage {
    pub(super) line: Line,
    pub(super) oracle: Oracle,
    pub(super) actions: Actions,
    /// The participant, as its coordinators know it.
    pub(super) itself: Peer,
    pub(super) participant: ParticipantId,
    /// The boot number that answers have to name.
    pub(super) boot: Boot,
    /// What was done before a restart.
    pub(super) scene: Option<Scene>,
    coordinator: CoordinatorId,
    epoch: Epoch,
    last: Sequence,
    open: BTreeSet<Position>,
}

impl Stage {
    /// A stage before one participant, whose boot number has yet to be heard.
    pub(super) fn new(
        line: Line,
        oracle: Oracle,
        actions: Actions,
        coordinator: CoordinatorId,
        itself: Peer,
        participant: ParticipantId,
    ) -> Self {
        Self {
            line,
            oracle,
            actions,
            itself,
            participant,
            boot: Boot(0),
            scene: None,
            coordinator,
            epoch: Epoch(1),
            last: Sequence(0),
            open: BTreeSet::new(),
        }
    }

    /// The header of a message that is sent now.
    pub(super) fn header(&self) -> Header {
        let next = self.position(self.last.next());
        Header {
            coordinator: self.coordinator,
            participant: self.participant,
            epoch: self.epoch,
            floor: self.open.first().copied().unwrap_or(next),
        }
    }

    const fn position(&self, sequence: Sequence) -> Position {
        Position {
            epoch: self.epoch,
            sequence,
        }
    }

    /// Restarts the coordinator that is played.
    pub(super) const fn enter_epoch(&mut self) {
        self.epoch = self.epoch.next();
        self.last = Sequence(0);
    }

    /// The next attempt, which holds the floor from now on.
    pub(super) fn attempt(&mut self) -> AttemptId {
        self.last = self.last.next();
        let position = self.position(self.last);
        self.open.insert(position);
        let attempt = AttemptId {
            coordinator: self.coordinator,
            position,
        };
        self.oracle.say(attempt, Word::everywhere(Verdict::Pending));
        attempt
    }

    /// An attempt whose business is finished: the floor may pass it. If it was not
    /// decided, it has aborted, and whoever asks is told so.
    pub(super) fn close(&mut self, attempt: AttemptId) {
        self.open.remove(&attempt.position);
        if !self.oracle.has_committed(attempt) {
            self.oracle.say(attempt, Word::everywhere(Verdict::Aborted));
        }
    }

    fn work(&mut self, action: Payload, read_only: bool) -> Try {
        Try {
            attempt: self.attempt(),
            transaction: new_transaction_id(),
            operations: vec![Operation {
                action: Ok(action),
                read_only,
                inputs: Vec::new(),
            }],
            read_only,
            lock_wait: PATIENT,
            remaining: DEADLINE,
        }
    }

    /// An attempt that writes.
    pub(super) fn write(&mut self) -> Try {
        self.work(self.actions.write.clone(), false)
    }

    /// An attempt of a transaction that only reads, everywhere.
    pub(super) fn read(&mut self) -> Try {
        self.work(self.actions.read.clone(), true)
    }

    /// An attempt that reads here, in a transaction that writes elsewhere.
    pub(super) fn read_beside_writers(&mut self) -> Try {
        self.work(self.actions.read.clone(), false)
    }

    /// An attempt that is refused for a reason of the business.
    pub(super) fn refused(&mut self) -> Told<Try> {
        let action = self.actions.refused.clone();
        let action = action.ok_or(Ended::Skipped("--refused was not given"))?;
        Ok(self.work(action, false))
    }

    /// An attempt with an action of a type that nobody knows.
    pub(super) fn nonsense(&mut self) -> Try {
        let action = Payload {
            type_url: "type.googleapis.com/nemcon.check.v1.Nonsense".into(),
            value: Vec::new(),
        };
        self.work(action, false)
    }

    fn task(&self, work: &Try) -> Task {
        Task {
            attempt: work.attempt,
            transaction: work.transaction,
            age: work.transaction,
            remaining: work.remaining,
            lock_wait: work.lock_wait,
            coordinator_address: self.oracle.coordinator.clone(),
        }
    }

    /// The question for a vote.
    pub(super) fn asks_to_prepare(&self, work: &Try) -> ToParticipant<Payload> {
        ToParticipant::Prepare(Prepare {
            task: self.task(work),
            work: Work::OneShot(work.operations.clone()),
            peers: vec![self.itself.clone(), self.oracle.peer.clone()],
            read_only: work.read_only,
        })
    }

    /// The question to decide alone.
    pub(super) fn asks_to_decide(&self, work: &Try, hash: u8) -> ToParticipant<Payload> {
        ToParticipant::CommitOnePhase(CommitOnePhase {
            task: self.task(work),
            hash: OperationsHash([hash; 32]),
            work: Work::OneShot(work.operations.clone()),
        })
    }

    /// Sends a message with the header that it has now.
    pub(super) async fn send(&self, message: ToParticipant<Payload>) -> Told<Answer<Payload>> {
        self.send_as(self.header(), message).await
    }

    /// Sends a message with another header, as one that was delayed has.
    pub(super) async fn send_as(
        &self,
        header: Header,
        message: ToParticipant<Payload>,
    ) -> Told<Answer<Payload>> {
        self.line.call(Frame { header, message }).await
    }

    /// Sends a message whose answer is waited for later.
    pub(super) fn start(&self, message: ToParticipant<Payload>) -> Pending {
        let (line, header) = (self.line.clone(), self.header());
        Pending(tokio::spawn(async move {
            line.call(Frame { header, message }).await
        }))
    }

    /// Says hello, and hears the boot number.
    pub(super) async fn hello(&self) -> Told<Boot> {
        let address = self.oracle.coordinator.clone();
        match self.send(ToParticipant::Hello(Hello { address })).await? {
            Answer::Welcome { boot } => Ok(boot),
            other => Err(broken!("GetStatus was answered with {}", shown(&other))),
        }
    }

    /// Asks for a vote. Refusals are no votes.
    pub(super) async fn prepare(&self, work: &Try) -> Told<Answer<Payload>> {
        let answer = self.send(self.asks_to_prepare(work)).await?;
        if let Answer::Voted { boot, .. } = &answer
            && *boot != self.boot
        {
            let (boot, own) = (boot, self.boot);
            return Err(broken!("a vote names boot {boot}, GetStatus said {own}"));
        }
        Ok(answer)
    }

    /// Asks for a vote that must be yes.
    pub(super) async fn promised(&self, work: &Try) -> Told {
        yes(&self.prepare(work).await?)
    }

    /// Asks for a vote that must not be yes.
    pub(super) async fn not_promised(&self, work: &Try, when: &str) -> Told {
        not_yes(&self.prepare(work).await?, when)
    }

    /// The decision is commit, and must be acknowledged.
    pub(super) async fn commit(&self, attempt: AttemptId) -> Told {
        self.oracle
            .say(attempt, Word::everywhere(Verdict::Committed));
        acknowledged(&self.send(ToParticipant::Commit(attempt)).await?, "Commit")
    }

    /// The decision is abort, and must be acknowledged.
    pub(super) async fn abort(&self, attempt: AttemptId) -> Told {
        self.oracle.say(attempt, Word::everywhere(Verdict::Aborted));
        acknowledged(&self.send(ToParticipant::Abort(attempt)).await?, "Abort")
    }

    /// All votes are in: lets go of the locks, and says which boot held them.
    pub(super) async fn release(&self, attempt: AttemptId) -> Told<Option<Boot>> {
        match self.send(ToParticipant::Release(attempt)).await? {
            Answer::Released { boot, .. } => Ok(boot),
            other => Err(broken!("Release was answered with {}", shown(&other))),
        }
    }

    /// Asks the participant to decide alone, under operations with this hash.
    pub(super) async fn decide(&self, work: &Try, hash: u8) -> Told<Answer<Payload>> {
        self.send(self.asks_to_decide(work, hash)).await
    }

    /// Reads what `write` changes, in a transaction of its own. Who is told that it
    /// is locked and that it can be tried again, tries again.
    pub(super) async fn state(&mut self) -> Told<Payload> {
        let until = Instant::now() + SOON;
        loop {
            let work = self.read();
            let answer = self.prepare(&work).await?;
            let results = match answer {
                Answer::Voted {
                    vote: Vote::ReadOnly(results),
                    ..
                } => results,
                Answer::Voted {
                    vote: Vote::No(refusal),
                    ..
                } if refusal.retryable && Instant::now() < until => {
                    self.close(work.attempt);
                    sleep(LOOK_EVERY).await;
                    continue;
                }
                other => {
                    return Err(broken!(
                        "a transaction that only reads was answered with {}; want VOTE_READ_ONLY \
                         with the result of --read",
                        shown(&other)
                    ));
                }
            };
            self.release(work.attempt).await?;
            self.close(work.attempt);
            let [result] = results.as_slice() else {
                let results = results.len();
                return Err(broken!("one operation, but {results} results"));
            };
            return Ok(result.clone());
        }
    }

    /// Reads until something has been applied since.
    pub(super) async fn changed_from(&mut self, before: &Payload, when: &str) -> Told {
        let until = Instant::now() + SOON;
        loop {
            if self.state().await? != *before {
                return Ok(());
            }
            if Instant::now() >= until {
                let soon = SOON.as_secs();
                return Err(broken!(
                    "{when}, --read gave the same as before, also after {soon} s"
                ));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads, and finds what was there before.
    pub(super) async fn unchanged_from(&mut self, before: &Payload, when: &str) -> Told {
        if self.state().await? == *before {
            return Ok(());
        }
        Err(broken!("{when}, --read gave something else than before"))
    }

    /// Proves that nobody is in the way: an attempt that writes gets its vote, and
    /// is aborted again.
    pub(super) async fn locks_are_free(&mut self, when: &str) -> Told {
        let work = self.write();
        let answer = self.prepare(&work).await?;
        if yes(&answer).is_err() {
            let said = shown(&answer);
            return Err(broken!("{when}, an attempt that writes got {said}"));
        }
        self.abort(work.attempt).await?;
        self.close(work.attempt);
        Ok(())
    }

    /// Proves that somebody is in the way: an attempt that writes gets no vote yes.
    pub(super) async fn locks_are_held(&mut self, when: &str) -> Told {
        let work = self.write().waiting(HASTY);
        let answer = self.prepare(&work).await?;
        self.abort(work.attempt).await?;
        self.close(work.attempt);
        match answer {
            Answer::Voted {
                vote: Vote::No(refusal),
                ..
            } if refusal.retryable => Ok(()),
            other => {
                let said = shown(&other);
                Err(broken!(
                    "{when}, another attempt that writes got {said}; want a vote no that can be \
                     tried again, such as LOCK_TIMEOUT"
                ))
            }
        }
    }

    /// Ends whatever a story has left open: says again what was decided, and aborts
    /// the rest.
    ///
    /// # Errors
    /// Only if the participant does not answer: what it answers here is not what
    /// the story was about.
    pub(super) async fn clear(&mut self) -> Told {
        for position in std::mem::take(&mut self.open) {
            let attempt = AttemptId {
                coordinator: self.coordinator,
                position,
            };
            let ended = if self.oracle.has_committed(attempt) {
                self.commit(attempt).await
            } else {
                self.abort(attempt).await
            };
            match ended {
                Err(silent @ Ended::Silent(_)) => return Err(silent),
                Ok(()) | Err(Ended::Broken(_) | Ended::Skipped(_)) => {}
            }
        }
        Ok(())
    }
}

/// An answer that is waited for.
pub(super) struct Pending(tokio::task::JoinHandle<Told<Answer<Payload>>>);

impl Pending {
    /// Waits for it.
    pub(super) async fn answer(self) -> Told<Answer<Payload>> {
        match self.0.await {
            Ok(answer) => answer,
            Err(error) => Err(Ended::Silent(error.to_string())),
        }
    }
}

/// Demands a vote yes.
pub(super) fn yes(answer: &Answer<Payload>) -> Told {
    match answer {
        Answer::Voted {
            vote: Vote::Yes(_), ..
        } => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!("Prepare was answered with {said}; want VOTE_YES"))
        }
    }
}

/// Demands a vote no, or a refusal.
pub(super) fn not_yes(answer: &Answer<Payload>, when: &str) -> Told {
    match answer {
        Answer::Voted {
            vote: Vote::No(_), ..
        }
        | Answer::Refused { .. } => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "{when}, Prepare was answered with {said}; want VOTE_NO or a refusal"
            ))
        }
    }
}

/// Demands an acknowledgement.
pub(super) fn acknowledged(answer: &Answer<Payload>, what: &str) -> Told {
    match answer {
        Answer::Acknowledged { damage: None, .. } => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "{what} was answered with {said}; want an acknowledgement"
            ))
        }
    }
}

/// Demands a refusal with one reason.
pub(super) fn refused(answer: &Answer<Payload>, reason: &Reason, what: &str) -> Told {
    match answer {
        Answer::Refused { refusal, .. } if refusal.reason == *reason => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "{what} was answered with {said}; want a status with reason {reason}"
            ))
        }
    }
}

/// Demands that it was decided alone, for commit.
pub(super) fn committed(answer: &Answer<Payload>, what: &str) -> Told {
    match answer {
        Answer::DecidedAlone {
            alone: Alone::Committed(_),
            ..
        } => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "{what} was answered with {said}; want OUTCOME_COMMITTED"
            ))
        }
    }
}

/// An answer in words.
pub(super) fn shown(answer: &Answer<Payload>) -> String {
    match answer {
        Answer::Voted { vote, .. } => match vote {
            Vote::Yes(_) => "VOTE_YES".into(),
            Vote::ReadOnly(_) => "VOTE_READ_ONLY".into(),
            Vote::No(refusal) => format!("VOTE_NO ({refusal})"),
        },
        Answer::Acknowledged { damage: None, .. } => "an acknowledgement".into(),
        Answer::Acknowledged { .. } => "an acknowledgement with damage".into(),
        Answer::Released { boot: None, .. } => "no boot".into(),
        Answer::Released {
            boot: Some(boot), ..
        } => format!("boot {boot}"),
        Answer::DecidedAlone { alone, .. } => match alone {
            Alone::Committed(_) => "OUTCOME_COMMITTED".into(),
            Alone::Aborted(refusal) => format!("OUTCOME_ABORTED ({refusal})"),
        },
        Answer::Welcome { boot } => format!("a welcome of boot {boot}"),
        Answer::Executed { results, .. } => match results {
            Ok(_) => "results".into(),
            Err(refusal) => format!("no results ({refusal})"),
        },
        Answer::LocksAcquired { tokens, .. } => match tokens {
            Ok(_) => "tokens".into(),
            Err(refusal) => format!("no tokens ({refusal})"),
        },
        Answer::Waits { .. } => "who waits for whom".into(),
        Answer::WaitFailed { failed: true, .. } => "the end of a wait".into(),
        Answer::WaitFailed { .. } => "no end of a wait".into(),
        Answer::Traced { trace, .. } => format!("{trace:?}"),
        Answer::Refused { refusal, .. } => format!("a refusal ({refusal})"),
    }
}
