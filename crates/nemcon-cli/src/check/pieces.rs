//! What a stage can do beyond one-shot work: pieces of interactive transactions, and
//! waits that are told and ended.

use nemcon_core::deadlock::Link;
use nemcon_core::id::{AttemptId, Boot};
use nemcon_core::lock::{LockKey, Mode, Token};
use nemcon_core::message::{
    AcquireLocks, Answer, CommitOnePhase, Execute, FailWait, LockRequest, OperationsHash, Party,
    Payload, Prepare, ReportWaits, ToParticipant, WaitsReport, Work,
};
use nemcon_core::reason::Refusal;
use nemcon_core::time::Span;
use tokio::time::{Instant, sleep};

use super::rule::{Told, broken};
use super::stage::{LOOK_EVERY, SOON, Stage, Try, shown};

/// Somebody who waits, as the participant tells of it.
pub(super) struct Wait {
    pub(super) party: Party,
    pub(super) key: LockKey,
    pub(super) number: u64,
}

impl Stage {
    /// The question for a piece of work.
    pub(super) fn asks_to_execute(&self, work: &Try, number: u32) -> ToParticipant<Payload> {
        ToParticipant::Execute(Execute {
            task: self.task(work),
            number,
            operations: work.operations.clone(),
        })
    }

    /// Asks for a piece, and hears its results or why there are none.
    pub(super) async fn piece(
        &self,
        work: &Try,
        number: u32,
    ) -> Told<Result<Vec<Payload>, Refusal>> {
        self.brought(self.send(self.asks_to_execute(work, number)).await?, number)
    }

    /// What the answer to a piece brought. A refusal of the call is one of the piece.
    pub(super) fn brought(
        &self,
        answer: Answer<Payload>,
        number: u32,
    ) -> Told<Result<Vec<Payload>, Refusal>> {
        match answer {
            Answer::Executed {
                number: said,
                boot,
                results,
                ..
            } => {
                self.names_piece(number, said, boot)?;
                Ok(results)
            }
            Answer::Refused { refusal, .. } => Ok(Err(refusal)),
            other => Err(broken!("Execute was answered with {}", shown(&other))),
        }
    }

    fn names_piece(&self, number: u32, said: u32, boot: Boot) -> Told {
        let own = self.boot;
        if said != number {
            return Err(broken!(
                "the answer to piece {number} says that it is about piece {said}"
            ));
        }
        if boot != own {
            return Err(broken!(
                "the answer to piece {number} names boot {boot}, GetStatus said {own}"
            ));
        }
        Ok(())
    }

    /// Asks for a piece that must be done.
    pub(super) async fn done(&self, work: &Try, number: u32) -> Told<Vec<Payload>> {
        let expected = work.operations.len();
        match self.piece(work, number).await? {
            Ok(results) if results.len() == expected => Ok(results),
            Ok(results) => Err(broken!(
                "piece {number} had {expected} operations, and its answer {} results",
                results.len()
            )),
            Err(refusal) => Err(broken!(
                "piece {number} of an attempt that nobody is in the way of was refused ({refusal})"
            )),
        }
    }

    /// Asks for a piece that must not be done.
    pub(super) async fn not_done(&self, work: &Try, number: u32, when: &str) -> Told<Refusal> {
        match self.piece(work, number).await? {
            Err(refusal) => Ok(refusal),
            Ok(_) => Err(broken!(
                "{when}, piece {number} was done; want a refusal, such as WORK_LOST"
            )),
        }
    }

    /// The question for a vote on pieces.
    pub(super) fn asks_about_pieces(
        &self,
        work: &Try,
        boot: Boot,
        count: u32,
    ) -> ToParticipant<Payload> {
        ToParticipant::Prepare(Prepare {
            task: self.task(work),
            work: Work::Interactive { boot, count },
            peers: vec![self.itself.clone(), self.oracle.peer.clone()],
            read_only: work.read_only,
        })
    }

    /// Asks the participant to decide alone on its pieces.
    pub(super) async fn decide_pieces(
        &self,
        work: &Try,
        count: u32,
        hash: u8,
    ) -> Told<Answer<Payload>> {
        let question = ToParticipant::CommitOnePhase(CommitOnePhase {
            task: self.task(work),
            hash: OperationsHash([hash; 32]),
            work: Work::Interactive {
                boot: self.boot,
                count,
            },
        });
        self.send(question).await
    }

    /// Locks a key by its name.
    pub(super) async fn lock(
        &self,
        work: &Try,
        number: u32,
        name: &str,
    ) -> Told<Result<Vec<Token>, Refusal>> {
        let question = ToParticipant::AcquireLocks(AcquireLocks {
            task: self.task(work),
            number,
            locks: vec![LockRequest {
                name: name.to_owned(),
                mode: Mode::Exclusive,
            }],
        });
        match self.send(question).await? {
            Answer::LocksAcquired {
                number: said,
                boot,
                tokens,
                ..
            } => {
                self.names_piece(number, said, boot)?;
                Ok(tokens)
            }
            Answer::Refused { refusal, .. } => Ok(Err(refusal)),
            other => Err(broken!("AcquireLocks was answered with {}", shown(&other))),
        }
    }

    /// Who waits for whom, also since just now.
    pub(super) async fn waits(&self) -> Told<WaitsReport> {
        let question = ToParticipant::ReportWaits(ReportWaits {
            look: 0,
            older: Span(0),
        });
        match self.send(question).await? {
            Answer::Waits { report, .. } if report.boot == self.boot => Ok(report),
            Answer::Waits { report, .. } => {
                let (said, own) = (report.boot, self.boot);
                Err(broken!(
                    "GetWaitsForEdges names boot {said}, GetStatus said {own}"
                ))
            }
            other => Err(broken!(
                "GetWaitsForEdges was answered with {}",
                shown(&other)
            )),
        }
    }

    /// Looks until one attempt is told to wait for another.
    pub(super) async fn wait_of(&self, waiter: AttemptId, holder: AttemptId) -> Told<Wait> {
        let until = Instant::now() + SOON;
        loop {
            for queue in self.waits().await?.queues {
                let held = queue.holders.iter().any(|it| it.owner.attempt == holder);
                let waits = queue.waiters.iter().find(|it| it.owner.attempt == waiter);
                if let Some(it) = waits
                    && held
                {
                    return Ok(Wait {
                        party: it.owner,
                        number: it.wait,
                        key: queue.key.clone(),
                    });
                }
            }
            if Instant::now() >= until {
                let soon = SOON.as_secs();
                return Err(broken!(
                    "GetWaitsForEdges did not tell, within {soon} s, that an attempt waits for \
                     another that holds what it wants"
                ));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends a wait, and says whether the very wait still stood.
    pub(super) async fn fail_wait(&self, wait: &Wait, boot: Boot, number: u64) -> Told<bool> {
        let link = Link {
            waiter: wait.party.transaction,
            participant: self.itself.name.clone(),
            key: wait.key.clone(),
        };
        let question = ToParticipant::FailWait(FailWait {
            victim: wait.party.attempt,
            boot,
            wait: number,
            cycle: vec![link],
        });
        match self.send(question).await? {
            Answer::WaitFailed { failed, .. } => Ok(failed),
            other => Err(broken!("FailWait was answered with {}", shown(&other))),
        }
    }
}
