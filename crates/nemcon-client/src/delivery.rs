//! Sending a request until there is an answer, and saying no more than is known
//! when there is none.

use std::error::Error;
use std::time::Duration;

use nemcon_core::id::{CoordinatorId, TransactionId};
use nemcon_core::message::Failure;
use nemcon_core::reason::Reason;
use nemcon_net::{Address, Refused, Unanswered, retry_after};
use tokio::time::Instant;
use tonic::{Code, Response, Status};

use crate::error::ClientError;
use crate::settings::{Backoff, Settings};

/// One request on its way.
///
/// Invariant: `may_have_run` is never cleared. Once a request may have been done,
/// a later refusal does not prove that it was not: the node that refuses may have
/// lost its memory, or be another one.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) address: &'a Address,
    /// The transaction it runs; `None` for what can be repeated without harm.
    pub(crate) transaction: Option<TransactionId>,
    /// A try before this one, of this process or another, may have been done.
    pub(crate) may_have_run: bool,
    /// The coordinator that try went to, if it is known.
    pub(crate) coordinator: Option<CoordinatorId>,
    /// The coordinator that answered at this address last. If a first try is
    /// lost, it went there.
    pub(crate) last_seen: Option<CoordinatorId>,
    /// Whether the transaction may have been decided by it. Before a commit is asked
    /// for nothing can have happened for good, whatever became of the request.
    pub(crate) decides: bool,
    /// When no further call is begun.
    pub(crate) until: Instant,
}

impl<'a> Delivery<'a> {
    /// For a question, or anything else that can be repeated without harm.
    pub(crate) fn harmless(settings: &'a Settings, address: &'a Address) -> Self {
        Self {
            settings,
            address,
            transaction: None,
            may_have_run: false,
            coordinator: None,
            last_seen: None,
            decides: true,
            until: settings.give_up_at(),
        }
    }

    /// For a request that belongs to a transaction.
    pub(crate) fn of(self, transaction: TransactionId) -> Self {
        Self {
            transaction: Some(transaction),
            ..self
        }
    }

    /// Sends until there is an answer. `send` is told the coordinator to name,
    /// and each call may take `limit`.
    pub(crate) async fn deliver<T, F>(
        mut self,
        limit: Duration,
        mut send: impl FnMut(Option<CoordinatorId>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut backoff = Backoff::new(self.settings);
        loop {
            let status = match nemcon_net::call(limit, send(self.coordinator)).await {
                Ok(response) => return Ok(response),
                Err(status) => status,
            };
            self.judge(&status)?;
            let pause = backoff
                .pause()
                .max(retry_after(&status).unwrap_or_default());
            // Compared as spans: a peer may ask for a pause that no clock can hold.
            if pause >= self.until.saturating_duration_since(Instant::now()) {
                return Err(self.give_up(&status));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Notes what a status tells, and fails if sending again is of no use.
    fn judge(&mut self, status: &Status) -> Result<(), ClientError> {
        match Unanswered::of(status) {
            Unanswered::Failed(Failure::Unreachable) => Ok(()),
            Unanswered::Failed(Failure::TimedOut) => {
                self.may_have_run = true;
                let told = Refused::read(status).and_then(|refused| refused.coordinator);
                self.coordinator = self.coordinator.or(told).or(self.last_seen);
                Ok(())
            }
            // A transaction that a node ran for a question: it has no id, so
            // sending the question again is running it again.
            Unanswered::Refused(_)
                if self.transaction.is_none() && status.code() == Code::Aborted =>
            {
                Ok(())
            }
            Unanswered::Refused(refused) => Err(self.refused(refused, status)),
        }
    }

    /// What a refusal means for the caller.
    fn refused(&self, refused: Refused, status: &Status) -> ClientError {
        // A remembered id with other operations cannot have run these; whoever
        // has forgotten ids of that time cannot tell.
        let proves_nothing = match &refused.refusal.reason {
            _ if refused.outcome.is_some() => false,
            reason if *reason == Reason::TRANSACTION_ID_REUSED => false,
            reason if *reason == Reason::SAGA_ID_REUSED => false,
            reason if *reason == Reason::OUTCOME_FORGOTTEN => true,
            _ => self.may_have_run && self.decides,
        };
        if let Some(transaction) = self.transaction.filter(|_| proves_nothing) {
            let coordinator = self.coordinator;
            let why = refused.refusal.message;
            return ClientError::Unknown {
                transaction,
                coordinator,
                why,
            };
        }
        if Refused::read(status).is_none() {
            let (address, what) = (self.address.clone(), refused.refusal.message);
            return ClientError::Protocol { address, what };
        }
        ClientError::Refused(Box::new(refused))
    }

    /// What is known when the time is over.
    fn give_up(self, status: &Status) -> ClientError {
        if let Some(transaction) = self
            .transaction
            .filter(|_| self.may_have_run && self.decides)
        {
            let (coordinator, why) = (self.coordinator, root_cause(status));
            return ClientError::Unknown {
                transaction,
                coordinator,
                why,
            };
        }
        match Refused::read(status) {
            Some(refused) if refused.refusal.reason != Reason::NOT_SERVING => {
                ClientError::Refused(Box::new(refused))
            }
            _ => ClientError::Unreachable {
                address: self.address.clone(),
                why: root_cause(status),
            },
        }
    }
}

/// The innermost cause: "connection refused" says more than "transport error".
pub(crate) fn root_cause(status: &Status) -> String {
    let mut cause = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    cause
}
