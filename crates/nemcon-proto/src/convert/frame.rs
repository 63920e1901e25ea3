//! What a coordinator says to a participant.
//!
//! The coordinator writes a [`Frame`] as the [`Request`] of the call it travels
//! by; the participant reads each request back into a frame.

use nemcon_core::id::{Boot, Epoch};
use nemcon_core::limits;
use nemcon_core::message::{
    AcquireLocks, CommitOnePhase, Execute, FailWait, Frame, Header, Hello, LockRequest, Operation,
    OperationsHash, Payload, Prepare, ReportWaits, Task, ToParticipant, Work,
};
use nemcon_core::time::Span;

use super::error::{WireError, counted, list, required};
use super::id::{address, attempt, coordinator_id, participant_id, transaction_id};
use super::lock::cycle;
use super::outcome::Question;
use super::value::{received, span_ms, unaddressed};
use crate::v1;
use crate::v1::{commit_one_phase_request, prepare_request};

/// A frame as the request of the call it travels by.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `ParticipantService.GetStatus`.
    GetStatus(v1::GetStatusRequest),
    /// `ParticipantService.Execute`.
    Execute(v1::ExecuteRequest),
    /// `ParticipantService.AcquireLocks`.
    AcquireLocks(v1::AcquireAttemptLocksRequest),
    /// `ParticipantService.Prepare`.
    Prepare(v1::PrepareRequest),
    /// `ParticipantService.Commit`.
    Commit(v1::CommitRequest),
    /// `ParticipantService.Abort`.
    Abort(v1::AbortRequest),
    /// `ParticipantService.Release`.
    Release(v1::ReleaseRequest),
    /// `ParticipantService.CommitOnePhase`.
    CommitOnePhase(v1::CommitOnePhaseRequest),
    /// `OutcomeService.GetOutcome`.
    GetOutcome(v1::GetOutcomeRequest),
    /// `ParticipantService.GetWaitsForEdges`.
    GetWaitsForEdges(v1::GetWaitsForEdgesRequest),
    /// `ParticipantService.FailWait`.
    FailWait(v1::FailWaitRequest),
}

impl From<Frame<Payload>> for Request {
    fn from(frame: Frame<Payload>) -> Self {
        let header = Some(frame.header.into());
        match frame.message {
            ToParticipant::Hello(hello) => Self::GetStatus(v1::GetStatusRequest {
                header,
                coordinator_address: hello.address,
            }),
            ToParticipant::Execute(execute) => Self::Execute(v1::ExecuteRequest {
                header,
                task: Some(execute.task.into()),
                number: execute.number,
                operations: execute.operations.into_iter().map(unaddressed).collect(),
            }),
            ToParticipant::AcquireLocks(acquire) => {
                Self::AcquireLocks(v1::AcquireAttemptLocksRequest {
                    header,
                    task: Some(acquire.task.into()),
                    number: acquire.number,
                    locks: acquire.locks.into_iter().map(Into::into).collect(),
                })
            }
            ToParticipant::Prepare(prepare) => {
                Self::Prepare(prepare_request(frame.header, prepare))
            }
            ToParticipant::Commit(id) => {
                let attempt = Some(id.into());
                Self::Commit(v1::CommitRequest { header, attempt })
            }
            ToParticipant::Abort(id) => {
                let attempt = Some(id.into());
                Self::Abort(v1::AbortRequest { header, attempt })
            }
            ToParticipant::Release(id) => {
                let attempt = Some(id.into());
                Self::Release(v1::ReleaseRequest { header, attempt })
            }
            ToParticipant::CommitOnePhase(commit) => {
                Self::CommitOnePhase(commit_one_phase_request(frame.header, commit))
            }
            ToParticipant::Inquire(transaction) => {
                let header = frame.header;
                Self::GetOutcome(
                    Question::Inquiry {
                        header,
                        transaction,
                    }
                    .into(),
                )
            }
            ToParticipant::ReportWaits(ask) => {
                Self::GetWaitsForEdges(v1::GetWaitsForEdgesRequest {
                    header,
                    older_than_ms: span_ms(ask.older),
                })
            }
            ToParticipant::FailWait(fail) => Self::FailWait(v1::FailWaitRequest {
                header,
                attempt: Some(fail.victim.into()),
                boot: fail.boot.0,
                wait: fail.wait,
                cycle: fail.cycle.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

fn prepare_request(header: Header, prepare: Prepare<Payload>) -> v1::PrepareRequest {
    v1::PrepareRequest {
        header: Some(header.into()),
        task: Some(prepare.task.into()),
        work: Some(prepare.work.into()),
        participants: prepare.peers.into_iter().map(Into::into).collect(),
        read_only: prepare.read_only,
    }
}

fn commit_one_phase_request(
    header: Header,
    commit: CommitOnePhase<Payload>,
) -> v1::CommitOnePhaseRequest {
    v1::CommitOnePhaseRequest {
        header: Some(header.into()),
        task: Some(commit.task.into()),
        operations_hash: commit.hash.0.to_vec(),
        work: Some(commit.work.into()),
    }
}

impl TryFrom<v1::GetStatusRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::GetStatusRequest) -> Result<Self, WireError> {
        let address = address(request.coordinator_address, "coordinator_address")?;
        let message = ToParticipant::Hello(Hello { address });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

impl TryFrom<v1::ExecuteRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::ExecuteRequest) -> Result<Self, WireError> {
        let message = ToParticipant::Execute(Execute {
            task: required(request.task, "task")?,
            number: number(request.number)?,
            operations: operations(request.operations, "operations")?,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

impl TryFrom<v1::AcquireAttemptLocksRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::AcquireAttemptLocksRequest) -> Result<Self, WireError> {
        let max = limits::OPERATIONS_MAX;
        let message = ToParticipant::AcquireLocks(AcquireLocks {
            task: required(request.task, "task")?,
            number: number(request.number)?,
            locks: list(request.locks, "locks", max, LockRequest::try_from)?,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

/// The question is not numbered: its answer is that of the call.
impl TryFrom<v1::GetWaitsForEdgesRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::GetWaitsForEdgesRequest) -> Result<Self, WireError> {
        let message = ToParticipant::ReportWaits(ReportWaits {
            look: 0,
            older: within_deadline(request.older_than_ms, "older_than_ms")?,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

impl TryFrom<v1::FailWaitRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::FailWaitRequest) -> Result<Self, WireError> {
        let message = ToParticipant::FailWait(FailWait {
            victim: attempt(request.attempt)?,
            boot: Boot(counted(request.boot, "boot")?),
            wait: counted(request.wait, "wait")?,
            cycle: cycle(request.cycle)?,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

impl TryFrom<v1::PrepareRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::PrepareRequest) -> Result<Self, WireError> {
        let peers = request.participants;
        let message = ToParticipant::Prepare(Prepare {
            task: required(request.task, "task")?,
            work: work(request.work)?,
            peers: list(
                peers,
                "participants",
                limits::PARTICIPANTS_MAX,
                TryInto::try_into,
            )?,
            read_only: request.read_only,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

impl TryFrom<v1::CommitOnePhaseRequest> for Frame<Payload> {
    type Error = WireError;

    fn try_from(request: v1::CommitOnePhaseRequest) -> Result<Self, WireError> {
        let message = ToParticipant::CommitOnePhase(CommitOnePhase {
            task: required(request.task, "task")?,
            hash: operations_hash(&request.operations_hash)?,
            work: work(request.work.map(Into::into))?,
        });
        Ok(Self {
            header: required(request.header, "header")?,
            message,
        })
    }
}

/// Requests that only name an attempt.
macro_rules! about_an_attempt {
    ($($request:ident => $message:ident),* $(,)?) => {$(
        impl TryFrom<v1::$request> for Frame<Payload> {
            type Error = WireError;

            fn try_from(request: v1::$request) -> Result<Self, WireError> {
                let message = ToParticipant::$message(attempt(request.attempt)?);
                Ok(Self { header: required(request.header, "header")?, message })
            }
        }
    )*};
}

about_an_attempt! {
    CommitRequest => Commit,
    AbortRequest => Abort,
    ReleaseRequest => Release,
}

impl From<Header> for v1::Header {
    fn from(header: Header) -> Self {
        Self {
            coordinator: header.coordinator.to_string(),
            epoch: header.epoch.0,
            floor: Some(header.floor.into()),
            participant_id: header.participant.to_string(),
        }
    }
}

impl TryFrom<v1::Header> for Header {
    type Error = WireError;

    fn try_from(header: v1::Header) -> Result<Self, WireError> {
        let allowed = "the lowest position with unfinished business";
        let floor = header
            .floor
            .ok_or_else(|| WireError::missing("floor", allowed))?;
        Ok(Self {
            coordinator: coordinator_id(&header.coordinator, "coordinator")?,
            epoch: Epoch(counted(header.epoch, "epoch")?),
            participant: participant_id(&header.participant_id, "participant_id")?,
            floor: floor.into(),
        })
    }
}

impl From<Task> for v1::Task {
    fn from(task: Task) -> Self {
        Self {
            attempt: Some(task.attempt.into()),
            transaction_id: task.transaction.to_string(),
            first_transaction_id: task.age.to_string(),
            remaining_ms: span_ms(task.remaining),
            lock_wait_ms: span_ms(task.lock_wait),
            coordinator_address: task.coordinator_address,
        }
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = WireError;

    fn try_from(task: v1::Task) -> Result<Self, WireError> {
        let coordinator_address = address(task.coordinator_address, "coordinator_address")?;
        Ok(Self {
            attempt: attempt(task.attempt)?,
            transaction: transaction_id(&task.transaction_id, "transaction_id")?,
            age: transaction_id(&task.first_transaction_id, "first_transaction_id")?,
            remaining: within_deadline(task.remaining_ms, "remaining_ms")?,
            lock_wait: within_deadline(task.lock_wait_ms, "lock_wait_ms")?,
            coordinator_address,
        })
    }
}

/// Reads a wait: none is longer than the longest transaction.
pub(super) fn within_deadline(ms: u32, field: &str) -> Result<Span, WireError> {
    let max = limits::DEADLINE_MAX.0;
    if u64::from(ms) > max {
        return Err(WireError::new(
            field,
            ms,
            format_args!("at most {max} (milliseconds)"),
        ));
    }
    Ok(Span(ms.into()))
}

/// Reads a fingerprint.
pub(super) fn operations_hash(bytes: &[u8]) -> Result<OperationsHash, WireError> {
    let found = format_args!("of {} bytes", bytes.len());
    let wrong = |_| WireError::new("operations_hash", found, "32 bytes (SHA-256)");
    bytes.try_into().map(OperationsHash).map_err(wrong)
}

/// Reads the number of a piece of work.
pub(super) fn number(number: u32) -> Result<u32, WireError> {
    counted(number.into(), "number").map(|_| number)
}

/// Reads operations at the participant they are for.
fn operations(
    operations: Vec<v1::Operation>,
    field: &str,
) -> Result<Vec<Operation<Payload>>, WireError> {
    let read = |operation| Ok(received(operation));
    list(operations, field, limits::OPERATIONS_MAX, read)
}

/// Reads the work a vote is about.
fn work(work: Option<prepare_request::Work>) -> Result<Work<Payload>, WireError> {
    match work {
        Some(prepare_request::Work::OneShot(one_shot)) => {
            operations(one_shot.operations, "one_shot.operations").map(Work::OneShot)
        }
        Some(prepare_request::Work::Interactive(work)) => Ok(Work::Interactive {
            boot: Boot(counted(work.boot, "interactive.boot")?),
            count: work.count,
        }),
        None => Err(WireError::missing("work", "one_shot or interactive")),
    }
}

/// Work travels in a `oneof` of two messages. Protobuf makes them two types; here
/// that of `PrepareRequest` stands for both.
impl From<Work<Payload>> for prepare_request::Work {
    fn from(work: Work<Payload>) -> Self {
        match work {
            Work::OneShot(operations) => {
                let operations = operations.into_iter().map(unaddressed).collect();
                Self::OneShot(v1::OneShotWork { operations })
            }
            Work::Interactive { boot, count } => Self::Interactive(v1::InteractiveWork {
                boot: boot.0,
                count,
            }),
        }
    }
}

impl From<Work<Payload>> for commit_one_phase_request::Work {
    fn from(work: Work<Payload>) -> Self {
        match work.into() {
            prepare_request::Work::OneShot(work) => Self::OneShot(work),
            prepare_request::Work::Interactive(work) => Self::Interactive(work),
        }
    }
}

impl From<commit_one_phase_request::Work> for prepare_request::Work {
    fn from(work: commit_one_phase_request::Work) -> Self {
        match work {
            commit_one_phase_request::Work::OneShot(work) => Self::OneShot(work),
            commit_one_phase_request::Work::Interactive(work) => Self::Interactive(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::deadlock::Link;
    use nemcon_core::id::Position;
    use nemcon_core::lock::LockKey;
    use nemcon_core::reason::Reason;

    use super::super::{exchange, sample};
    use super::*;

    /// Reads a request as the participant would.
    fn read(request: Request) -> Result<Frame<Payload>, WireError> {
        match request {
            Request::GetStatus(request) => request.try_into(),
            Request::Execute(request) => request.try_into(),
            Request::AcquireLocks(request) => request.try_into(),
            Request::GetWaitsForEdges(request) => request.try_into(),
            Request::FailWait(request) => request.try_into(),
            Request::Prepare(request) => request.try_into(),
            Request::Commit(request) => request.try_into(),
            Request::Abort(request) => request.try_into(),
            Request::Release(request) => request.try_into(),
            Request::CommitOnePhase(request) => request.try_into(),
            Request::GetOutcome(request) => match Question::try_from(request)? {
                Question::Inquiry {
                    header,
                    transaction,
                } => Ok(Frame {
                    header,
                    message: ToParticipant::Inquire(transaction),
                }),
                Question::Attempt { .. } => panic!("not what was asked"),
            },
        }
    }

    fn works() -> [Work<Payload>; 3] {
        let operation = || sample::operation("bank-a").1;
        [
            Work::OneShot(vec![operation(), operation()]),
            Work::OneShot(vec![]),
            Work::Interactive {
                boot: Boot(4),
                count: 17,
            },
        ]
    }

    fn messages() -> Vec<ToParticipant<Payload>> {
        let attempt = sample::attempt();
        let mut messages = vec![
            ToParticipant::Hello(Hello {
                address: "http://c:1".into(),
            }),
            ToParticipant::Commit(attempt),
            ToParticipant::Abort(attempt),
            ToParticipant::Release(attempt),
            ToParticipant::Inquire(sample::transaction()),
            ToParticipant::Execute(Execute {
                task: sample::task(),
                number: 3,
                operations: vec![sample::operation("bank-a").1],
            }),
            ToParticipant::AcquireLocks(AcquireLocks {
                task: sample::task(),
                number: 4,
                locks: vec![sample::lock()],
            }),
            ToParticipant::ReportWaits(ReportWaits {
                look: 0,
                older: Span(20),
            }),
            ToParticipant::FailWait(FailWait {
                victim: attempt,
                boot: Boot(5),
                wait: 6,
                cycle: vec![Link {
                    waiter: sample::transaction(),
                    participant: sample::name("bank-a"),
                    key: LockKey::from(b"alice".to_vec()),
                }],
            }),
        ];
        for work in works() {
            let (task, hash) = (sample::task(), OperationsHash([7; 32]));
            let commit = CommitOnePhase {
                task: task.clone(),
                hash,
                work: work.clone(),
            };
            messages.push(ToParticipant::CommitOnePhase(commit));
            let peers = vec![sample::peer("bank-a"), sample::peer("bank-b")];
            let prepare = Prepare {
                task,
                work,
                peers,
                read_only: true,
            };
            messages.push(ToParticipant::Prepare(prepare));
        }
        messages
    }

    #[test]
    fn every_frame_goes_there_and_back() {
        for message in messages() {
            let frame = Frame {
                header: sample::header(),
                message,
            };
            let request = Request::from(frame.clone());
            if let Ok(among_many) = request.clone().for_exchange() {
                let (_, read) = exchange::asked(Some(among_many)).unwrap();
                assert_eq!(read, frame);
            } else {
                assert!(matches!(request, Request::GetOutcome(_)), "{request:?}");
            }
            assert_eq!(read(request), Ok(frame));
        }
    }

    fn prepare() -> v1::PrepareRequest {
        let [work, ..] = works();
        let (task, peers) = (sample::task(), vec![sample::peer("bank-a")]);
        prepare_request(
            sample::header(),
            Prepare {
                task,
                work,
                peers,
                read_only: false,
            },
        )
    }

    fn refused(change: impl FnOnce(&mut v1::PrepareRequest)) -> String {
        let mut request = prepare();
        change(&mut request);
        Frame::<Payload>::try_from(request).unwrap_err().to_string()
    }

    #[test]
    fn a_frame_without_its_parts_is_refused_by_name() {
        let task = |request: &mut v1::PrepareRequest| request.task.take().unwrap();
        assert!(refused(|r| r.header = None).starts_with("header is missing"));
        assert!(refused(|r| r.task = None).starts_with("task is missing"));
        assert!(refused(|r| r.work = None).starts_with("work is missing"));
        let shown = refused(|r| {
            let attempt = v1::Attempt {
                coordinator: "xyz".into(),
                epoch: 1,
                sequence: 1,
            };
            r.task = Some(v1::Task {
                attempt: Some(attempt),
                ..task(r)
            });
        });
        assert_eq!(shown, r#"task.attempt.coordinator "xyz": want a UUID"#);
        let shown = refused(|r| {
            r.task = Some(v1::Task {
                remaining_ms: 300_001,
                ..task(r)
            })
        });
        assert_eq!(
            shown,
            "task.remaining_ms 300001: want at most 300000 (milliseconds)"
        );
        let shown = refused(|r| r.participants[0].name.clear());
        assert!(
            shown.starts_with("participants[0].name is missing"),
            "{shown}"
        );
        let header = v1::Header {
            floor: None,
            ..sample::header().into()
        };
        assert!(refused(|r| r.header = Some(header)).starts_with("header.floor is missing"));
        let header = v1::Header {
            epoch: 0,
            ..sample::header().into()
        };
        let shown = refused(|r| r.header = Some(header));
        assert_eq!(shown, "header.epoch 0: want a number from 1");
    }

    #[test]
    fn a_frame_beyond_the_limits_is_refused() {
        let operations = vec![v1::Operation::default(); limits::OPERATIONS_MAX + 1];
        let work = prepare_request::Work::OneShot(v1::OneShotWork { operations });
        let shown = refused(|r| r.work = Some(work));
        assert_eq!(
            shown,
            "one_shot.operations with 1001 items: want at most 1000"
        );
        let peer = v1::Peer::from(sample::peer("bank-a"));
        let peers = vec![peer; limits::PARTICIPANTS_MAX + 1];
        let shown = refused(|r| r.participants = peers);
        assert_eq!(shown, "participants with 129 items: want at most 128");
        assert!(operations_hash(&[0; 31]).is_err());
    }

    #[test]
    fn an_operation_that_was_not_understood_stays_so() {
        let mut request = prepare();
        let operations = vec![v1::Operation::default()];
        request.work = Some(prepare_request::Work::OneShot(v1::OneShotWork {
            operations,
        }));
        let frame = Frame::<Payload>::try_from(request).unwrap();
        let ToParticipant::Prepare(Prepare {
            work: Work::OneShot(work),
            ..
        }) = frame.message
        else {
            panic!("not a one-shot prepare: {frame:?}");
        };
        assert_eq!(
            work[0].action.as_ref().unwrap_err().reason,
            Reason::INVALID_ACTION
        );
    }

    #[test]
    fn the_lowest_floor_is_legal() {
        let header = Header {
            floor: Position::default(),
            ..sample::header()
        };
        assert_eq!(Header::try_from(v1::Header::from(header)), Ok(header));
    }
}
