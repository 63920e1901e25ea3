//! Interactive transactions: work comes piece by piece, and the commit at the end.
//!
//! Before the commit is asked for nothing can have happened for good, so whatever
//! fails until then is no doubt about the outcome: the transaction aborts, by order
//! or at its deadline.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use nemcon_core::coordinator::event::{AddressedLock, AddressedOperation, Ending, Report};
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{CoordinatorId, Epoch, ParticipantName, TransactionId};
use nemcon_core::lock::{Mode, Token};
use nemcon_core::message::{LockRequest, Payload};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::trace::traced;
use nemcon_proto::convert::{self, Begun, Piece, WireError};
use nemcon_proto::v1;
use nemcon_trace::{Context, Span};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::coordinator::{Client, TIMEOUT_DEFAULT, conclude};
use crate::error::ClientError;
use crate::settings::Backoff;
use crate::transaction::{new_transaction_id, opening};

/// What an abort by a handle that is dropped gives as its reason.
const DROPPED: &str = "the client gave it up";

/// A lock on what `participant` calls `key`.
#[must_use]
pub fn lock(participant: &ParticipantName, key: &str, mode: Mode) -> AddressedLock {
    let name = key.to_owned();
    (participant.clone(), LockRequest { name, mode })
}

/// How an interactive transaction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The client's id: never to be used for another transaction.
    pub id: TransactionId,
    /// The id of the first try, if this is a rerun.
    pub first: Option<TransactionId>,
    /// How long it may take in all, up to 5 minutes; `None` for the coordinator's
    /// default.
    pub timeout: Option<Duration>,
    /// The trace it belongs to, if it is traced.
    pub trace: Option<Context>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            id: new_transaction_id(),
            first: None,
            timeout: None,
            trace: None,
        }
    }
}

impl Terms {
    /// With a deadline of its own.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// As a part of what has this place in a trace.
    #[must_use]
    pub fn under(self, trace: Option<Context>) -> Self {
        Self { trace, ..self }
    }

    /// The same under a new id, as old as the first try. Only for what certainly
    /// aborted.
    #[must_use]
    pub fn rerun(self) -> Self {
        Self {
            first: Some(self.first.unwrap_or(self.id)),
            id: new_transaction_id(),
            ..self
        }
    }
}

/// An interactive transaction that has begun.
///
/// It numbers its pieces itself, and sends each again until there is an answer. When
/// a piece fails, or the caller does not wait for its answer, the transaction takes
/// no more: nobody knows what it has seen. Dropped without commit or abort, it asks
/// for the abort in the background; if that is lost, its deadline ends it.
#[derive(Debug)]
pub struct Interactive {
    client: Client,
    terms: Terms,
    /// The coordinator's, when it began.
    epoch: Epoch,
    /// Pieces that were answered.
    number: u32,
    /// A piece was sent, and its answer has not been taken in.
    unanswered: bool,
    /// Its end was asked for.
    over: bool,
    /// From the beginning to the end.
    span: Option<Span>,
    /// What its requests are sent on behalf of, if that is traced.
    trace: Option<Context>,
}

impl Client {
    /// Begins an interactive transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`] or [`ClientError::Unreachable`]; nothing has
    /// happened then.
    pub async fn begin(&self, terms: Terms) -> Result<Interactive, ClientError> {
        let delivery = self.undecided(terms.id);
        let under = terms.trace.as_ref();
        let (span, trace) = self.trace("Transaction", terms.id, under);
        let send = |first_sent_to| {
            let (mut service, trace) = (self.transactions_service(), trace.as_ref());
            let request = v1::BeginTransactionRequest::from(opening(
                terms.id,
                terms.first,
                terms.timeout,
                first_sent_to,
            ));
            async move { service.begin_transaction(traced(request, trace)).await }
        };
        let told = delivery.deliver(self.settings().call_timeout, send).await;
        let begun = match told.and_then(|response| self.read::<_, Begun>(response)) {
            Ok(begun) => begun,
            Err(error) => {
                conclude(span, Err(&error));
                return Err(error);
            }
        };
        self.saw(begun.coordinator);
        Ok(Interactive {
            client: self.clone(),
            terms,
            epoch: begun.epoch,
            number: 0,
            unanswered: false,
            over: false,
            span,
            trace,
        })
    }

    /// Does `work` in an interactive transaction and commits it. If it aborts for a
    /// reason that a rerun can help, all is done again in a new one that is as old as
    /// the first, until [`give_up_after`](crate::Settings::give_up_after) is over.
    ///
    /// `work` may run several times, and must leave no other traces. It is lent the
    /// transaction, and is to give it back by dropping it:
    ///
    /// ```no_run
    /// # use nemcon_client::{AddressedOperation, Client, InteractError, Terms};
    /// # async fn rent(client: Client, look: AddressedOperation, pay: AddressedOperation)
    /// # -> Result<(), InteractError<&'static str>> {
    /// client
    ///     .interact(Terms::default(), |mut transaction| {
    ///         let (look, pay) = (look.clone(), pay.clone());
    ///         async move {
    ///             let seen = transaction.execute([look]).await?;
    ///             if seen.is_empty() {
    ///                 return Err(InteractError::Work("nothing to pay from"));
    ///             }
    ///             transaction.execute([pay]).await?;
    ///             Ok(())
    ///         }
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InteractError::Client`] with [`ClientError::Unknown`] if the outcome of the
    /// last try is not known: it is never run again then. All the others mean that
    /// nothing has happened.
    pub async fn interact<T, E, W, F>(
        &self,
        mut terms: Terms,
        mut work: W,
    ) -> Result<T, InteractError<E>>
    where
        W: FnMut(Lent) -> F,
        F: Future<Output = Result<T, InteractError<E>>>,
    {
        let until = self.settings().give_up_at();
        let mut backoff = Backoff::new(self.settings());
        loop {
            let told = self.try_once(&terms, &mut work).await;
            let pause = backoff.pause();
            let left = until.saturating_duration_since(Instant::now());
            match told {
                Err(error) if error.a_rerun_can_help() && pause < left => {}
                told => return told,
            }
            tokio::time::sleep(pause).await;
            terms = terms.rerun();
        }
    }

    async fn try_once<T, E, F: Future<Output = Result<T, InteractError<E>>>>(
        &self,
        terms: &Terms,
        work: &mut impl FnMut(Lent) -> F,
    ) -> Result<T, InteractError<E>> {
        let transaction = self.begin(terms.clone()).await?;
        let (back, mut returned) = oneshot::channel();
        let lent = Lent(Some((transaction, back)));
        // If it fails, the handle is dropped and asks for the abort.
        let brought = work(lent).await?;
        let transaction = returned.try_recv().map_err(|_| InteractError::Kept)?;
        match transaction.commit().await?.ending {
            Ending::Committed(_) => Ok(brought),
            Ending::Aborted(cause) => Err(InteractError::Aborted(Box::new(cause))),
        }
    }
}

/// A transaction that [`Client::interact`] has lent to work in. Dropped, it goes back.
//
// By value, and not as `&mut`: the futures of closures that borrow cannot be said to
// be `Send`, and whoever calls could not be spawned.
#[derive(Debug)]
pub struct Lent(Option<(Interactive, oneshot::Sender<Interactive>)>);

impl Deref for Lent {
    type Target = Interactive;

    fn deref(&self) -> &Interactive {
        let lent = self.0.as_ref();
        &lent.expect("it is there until it is dropped").0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Interactive {
        let lent = self.0.as_mut();
        &mut lent.expect("it is there until it is dropped").0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((transaction, back)) = self.0.take() {
            // If nobody waits for it, it is dropped as well, and aborts.
            let _ = back.send(transaction);
        }
    }
}

impl Interactive {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.terms.id
    }

    /// Runs operations, whose results come in their order. Their locks are kept
    /// until the end, and what they write is seen by those that follow.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the transaction has aborted, with the reason, or
    /// will not take them. After any error it takes no more work.
    pub async fn execute(
        &mut self,
        operations: impl IntoIterator<Item = AddressedOperation>,
    ) -> Result<Vec<Payload>, ClientError> {
        let piece = self.next(operations.into_iter().collect())?;
        let request = v1::ExecuteOperationsRequest::from(piece);
        let send = |_| {
            let mut service = self.client.transactions_service();
            let request = traced(request.clone(), self.trace.as_ref());
            async move { service.execute_operations(request).await }
        };
        let delivery = self.client.undecided(self.terms.id);
        let response = delivery.deliver(self.limit(), send).await?;
        self.taken_in();
        let results = response.results.into_iter();
        Ok(results.map(convert::payload).collect())
    }

    /// Locks keys by name; see [`lock`]. The tokens come in their order, and those
    /// of a key only grow.
    ///
    /// # Errors
    /// As [`Interactive::execute`].
    pub async fn acquire_locks(
        &mut self,
        locks: impl IntoIterator<Item = AddressedLock>,
    ) -> Result<Vec<Token>, ClientError> {
        let piece = self.next(locks.into_iter().collect())?;
        let request = v1::AcquireLocksRequest::from(piece);
        let send = |_| {
            let mut service = self.client.transactions_service();
            let request = traced(request.clone(), self.trace.as_ref());
            async move { service.acquire_locks(request).await }
        };
        let delivery = self.client.undecided(self.terms.id);
        let response = delivery.deliver(self.limit(), send).await?;
        let tokens = response.tokens.into_iter().map(Token::try_from);
        let tokens: Result<Vec<Token>, WireError> = tokens.collect();
        let tokens = tokens.map_err(|error| self.client.unreadable(&error))?;
        self.taken_in();
        Ok(tokens)
    }

    /// Commits. That it aborted is an answer: see [`Report::ending`].
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if it may have committed and no answer is to be had;
    /// the others only if it has not.
    pub async fn commit(mut self) -> Result<Report, ClientError> {
        if self.unanswered {
            return Err(self.broken());
        }
        self.over = true;
        let request = v1::CommitTransactionRequest {
            transaction_id: self.terms.id.to_string(),
            epoch: self.epoch.0,
        };
        let send = |_| {
            let mut service = self.client.transactions_service();
            let request = traced(request.clone(), self.trace.as_ref());
            async move {
                let response = service.commit_transaction(request).await?;
                let told = response.get_ref();
                crate::coordinator::if_known(told.outcome(), &told.coordinator_id)?;
                Ok(response)
            }
        };
        let delivery = self.client.delivery().of(self.terms.id);
        let told = delivery.deliver(self.limit(), send).await;
        let told = told.and_then(|it| self.client.read::<_, (CoordinatorId, Report)>(it));
        let ending = told.as_ref().map(|(_, report)| &report.ending);
        conclude(self.span.take(), ending);
        let (coordinator, report) = told?;
        self.client.saw(coordinator);
        Ok(report)
    }

    /// Asks for the abort, and waits until it is durable.
    ///
    /// # Errors
    /// As [`Client::abort`]. Its deadline ends the transaction then.
    pub async fn abort(mut self, reason: &str) -> Result<Ending, ClientError> {
        self.over = true;
        let told = self.client.abort(self.terms.id, reason).await;
        conclude(self.span.take(), told.as_ref());
        told
    }

    /// Takes the next number. From here until its answer is taken in the piece is
    /// in doubt, even if the caller stops waiting.
    fn next<T>(&mut self, asked: Vec<T>) -> Result<Piece<T>, ClientError> {
        if self.unanswered {
            return Err(self.broken());
        }
        self.unanswered = true;
        Ok(Piece {
            transaction: self.terms.id,
            epoch: self.epoch,
            number: self.number + 1,
            asked,
        })
    }

    fn taken_in(&mut self) {
        self.number += 1;
        self.unanswered = false;
    }

    fn broken(&self) -> ClientError {
        let why = format!(
            "piece {} of transaction {} has failed, or its answer was not waited for; begin anew",
            self.number + 1,
            self.terms.id
        );
        let refusal = Refusal::new(Reason::INVALID_REQUEST, why);
        ClientError::Refused(Box::new(refusal.into()))
    }

    /// No call takes longer than the transaction may.
    fn limit(&self) -> Duration {
        let timeout = self.terms.timeout.unwrap_or(TIMEOUT_DEFAULT);
        timeout.saturating_add(self.client.settings().answer_grace)
    }
}

impl Drop for Interactive {
    /// Best effort: the deadline does what this does not.
    fn drop(&mut self) {
        let Some(runtime) = tokio::runtime::Handle::try_current()
            .ok()
            .filter(|_| !self.over)
        else {
            return;
        };
        let (client, id) = (self.client.clone(), self.terms.id);
        runtime.spawn(async move { client.abort(id, DROPPED).await });
    }
}

/// Why work in an interactive transaction came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum InteractError<E> {
    /// It aborted when the commit was asked for.
    #[error("{}", .0.refusal)]
    Aborted(Box<Cause>),
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The work itself gave up.
    #[error("the work was given up")]
    Work(E),
    /// The work is done and has not given the transaction back.
    #[error("the work has kept the transaction; drop it when it is done")]
    Kept,
}

impl<E> InteractError<E> {
    /// Whether nothing has happened, and may if it is run again.
    fn a_rerun_can_help(&self) -> bool {
        match self {
            Self::Aborted(cause) => cause.refusal.retryable,
            Self::Client(ClientError::Refused(refused)) => refused.refusal.retryable,
            Self::Client(
                ClientError::Address(_)
                | ClientError::Unreachable { .. }
                | ClientError::Unknown { .. }
                | ClientError::SagaUnknown { .. }
                | ClientError::Protocol { .. },
            )
            | Self::Work(_)
            | Self::Kept => false,
        }
    }
}
