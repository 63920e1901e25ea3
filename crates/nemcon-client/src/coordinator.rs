//! Calls to a coordinator.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nemcon_core::coordinator::event::{Ending, ParticipantView, Report, View, WaitsView};
use nemcon_core::coordinator::statistics::Statistics;
use nemcon_core::id::{AttemptId, CoordinatorId, ParticipantName, TransactionId};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::trace::traced;
use nemcon_net::{Address, MESSAGE_BYTES_MAX, Refused, to_status};
use nemcon_proto::convert::{self, Change, Damage, List, Page, Removal, WireError};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use nemcon_proto::v1::saga_service_client::SagaServiceClient;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use nemcon_trace::{Context, Kind, Span, Tracer};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::delivery::{Delivery, root_cause};
use crate::error::ClientError;
use crate::settings::{Backoff, Settings};
use crate::stream::Runs;
use crate::transaction::Transaction;

/// How long a transaction takes at most, where it does not say: the default of
/// coordinators.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A client of one coordinator. Cheap to clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    channel: Channel,
    settings: Settings,
    /// Who answered last. Learned from answers, and used only to name the
    /// coordinator of a request whose own answer was lost.
    last_seen: Arc<Mutex<Option<CoordinatorId>>>,
    /// Where transactions are sent many in one message.
    runs: Option<Arc<Runs>>,
    tracer: Tracer,
}

/// Most transactions of one stream that may be under way: what a coordinator takes from
/// one at a time.
pub const WINDOW_MAX: usize = 1_024;

impl Client {
    /// A client of the coordinator at this URL. It connects when it is first
    /// used.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the text is no address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(url: &str) -> Result<Self, ClientError> {
        Ok(Self::new(url.parse()?, Settings::default()))
    }

    /// A client with settings of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(address: Address, settings: Settings) -> Self {
        let channel = nemcon_net::channel(&address);
        Self {
            address,
            channel,
            settings,
            last_seen: Arc::default(),
            runs: None,
            tracer: Tracer::off(),
        }
    }

    /// The same client, which makes a span of each transaction: under that of
    /// [`Transaction::under`] or [`Terms::under`](crate::Terms::under), or as a trace of
    /// its own. A client without a tracer passes on what it is given.
    #[must_use]
    pub fn traced_by(&self, tracer: Tracer) -> Self {
        Self {
            tracer,
            ..self.clone()
        }
    }

    /// The span of a transaction, and what is sent along with its requests.
    pub(crate) fn trace(
        &self,
        name: &'static str,
        id: TransactionId,
        under: Option<&Context>,
    ) -> (Option<Span>, Option<Context>) {
        let span = self.tracer.enter(Kind::Client, name, under);
        let Some(mut span) = span else {
            return (None, under.cloned());
        };
        span.set("nemcon.transaction", id.to_string());
        let context = span.context();
        (Some(span), Some(context))
    }

    /// The coordinator's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The same client, on the same connection, with another patience: for one
    /// call whose caller has a deadline of its own.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings,
            ..self.clone()
        }
    }

    /// The same client, with a stream of its own for transactions, at most `window`
    /// of them at a time; those beyond wait for their turn, and are refused with
    /// [`Reason::TOO_MANY_REQUESTS`] if it does not come in the time there is to try.
    /// The stream is shared by
    /// all clones, so it is worth while where many transactions run beside each
    /// other. A coordinator without such a stream is sent them one by one, and so is
    /// any other as long as the stream does not stand.
    ///
    /// A `window` of 0 counts as 1, and one above [`WINDOW_MAX`] as that: a coordinator
    /// takes no more from a stream at a time, and whoever waits here was certainly not
    /// heard.
    #[must_use]
    pub fn streaming(&self, window: usize) -> Self {
        let window = window.min(WINDOW_MAX);
        let runs = Runs::new(self.transactions_service(), window);
        Self {
            runs: Some(Arc::new(runs)),
            ..self.clone()
        }
    }

    /// Runs a transaction. Sends it again under the same id until there is an
    /// answer, so the answer is that of this transaction and of no other.
    ///
    /// That it aborted, be it for a business reason, is an answer: see
    /// [`Report::ending`].
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if it may have run and no answer is to be had;
    /// the others only if it has not.
    pub async fn run(&self, transaction: &Transaction) -> Result<Report, ClientError> {
        let until = self.settings.give_up_at();
        let _place = self.place(transaction, until).await?;
        self.run_until(transaction, until).await
    }

    /// Runs a transaction, and runs it again under a new id as long as it aborts
    /// for a reason that a rerun can help: a lock that was not to be had, a node
    /// that restarted. Gives the last report when
    /// [`give_up_after`](Settings::give_up_after) is over.
    ///
    /// # Errors
    /// As [`Client::run`], for the last try. Those before it certainly aborted.
    pub async fn run_until_decided(
        &self,
        mut transaction: Transaction,
    ) -> Result<Report, ClientError> {
        let until = self.settings.give_up_at();
        let _place = self.place(&transaction, until).await?;
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let told = self.run_until(&transaction, until).await;
            let pause = backoff.pause();
            if !a_rerun_can_help(&told) || pause >= until.saturating_duration_since(Instant::now())
            {
                return told;
            }
            tokio::time::sleep(pause).await;
            transaction = transaction.rerun();
        }
    }

    /// Waits for a place on the stream, if there is a stream.
    async fn place(
        &self,
        transaction: &Transaction,
        until: Instant,
    ) -> Result<Option<SemaphorePermit<'_>>, ClientError> {
        let Some(runs) = &self.runs else {
            return Ok(None);
        };
        let full = |_| {
            let why = "as many transactions are under way as the client's stream has places for";
            // Only this try has certainly not run.
            if transaction.may_have_run {
                return ClientError::Unknown {
                    transaction: transaction.id,
                    coordinator: transaction.first_sent_to,
                    why: why.to_owned(),
                };
            }
            let refusal = Refusal::retryable(Reason::TOO_MANY_REQUESTS, why);
            ClientError::Refused(Box::new(refusal.into()))
        };
        tokio::time::timeout_at(until, runs.place())
            .await
            .map_err(full)
    }

    async fn run_until(
        &self,
        transaction: &Transaction,
        until: Instant,
    ) -> Result<Report, ClientError> {
        let delivery = Delivery {
            may_have_run: transaction.may_have_run,
            coordinator: transaction.first_sent_to,
            until,
            ..self.delivery_of(transaction.id)
        };
        let under = transaction.trace.as_ref();
        let (span, trace) = self.trace("RunTransaction", transaction.id, under);
        let timeout = transaction.timeout.unwrap_or(TIMEOUT_DEFAULT);
        let limit = timeout.saturating_add(self.settings.answer_grace);
        let send = |first_sent_to| {
            let mut service = self.transactions_service();
            let request = v1::RunTransactionRequest::from(transaction.request(first_sent_to));
            let (runs, trace) = (self.runs.as_deref(), trace.as_ref());
            async move {
                let response = match runs {
                    Some(runs) => runs.run(request, trace).await?,
                    None => service.run_transaction(traced(request, trace)).await?,
                };
                let told = response.get_ref();
                if_known(told.outcome(), &told.coordinator_id)?;
                Ok(response)
            }
        };
        let told = delivery.deliver(limit, send).await;
        let told = told.and_then(|response| self.read::<_, (CoordinatorId, Report)>(response));
        conclude(span, told.as_ref().map(|(_, report)| &report.ending));
        let (coordinator, report) = told?;
        self.saw(coordinator);
        if report.transaction != transaction.id {
            let what = format!(
                "asked about {}, told about {}",
                transaction.id, report.transaction
            );
            return Err(ClientError::Protocol {
                address: self.address.clone(),
                what,
            });
        }
        Ok(report)
    }

    /// Asks a transaction to abort, and tells its outcome: committed, if it was
    /// too late.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the outcome is not to be had.
    pub async fn abort(
        &self,
        transaction: TransactionId,
        reason: &str,
    ) -> Result<Ending, ClientError> {
        let (transaction_id, reason) = (transaction.to_string(), reason.to_owned());
        let request = v1::AbortTransactionRequest {
            transaction_id,
            reason,
        };
        let send = |_| {
            let (mut service, request) = (self.transactions_service(), request.clone());
            async move {
                let response = service.abort_transaction(request).await?;
                if_known(response.get_ref().outcome(), "")?;
                Ok(response)
            }
        };
        let delivery = self.delivery().of(transaction);
        let response = delivery.deliver(self.settings.call_timeout, send).await?;
        self.read(response)
    }

    /// What the coordinator knows of a transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Reason::UNKNOWN_TRANSACTION`] if it knows
    /// nothing, which does not mean that it has not run.
    pub async fn transaction(&self, id: TransactionId) -> Result<View, ClientError> {
        let request = v1::GetTransactionRequest {
            transaction_id: id.to_string(),
        };
        let send = |_| {
            let (mut service, request) = (self.transactions_service(), request.clone());
            async move { service.get_transaction(request).await }
        };
        self.ask(send).await
    }

    /// Running and remembered transactions, highest id first.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn transactions(&self, list: List) -> Result<Page, ClientError> {
        let request = v1::ListTransactionsRequest::from(list);
        let send = |_| {
            let (mut service, request) = (self.transactions_service(), request.clone());
            async move { service.list_transactions(request).await }
        };
        self.ask(send).await
    }

    /// Follows a transaction, or all, from now on.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn watch(&self, only: Option<TransactionId>) -> Result<Watch, ClientError> {
        let send = |_| {
            let mut service = self.transactions_service();
            async move {
                service
                    .watch_transactions(v1::WatchTransactionsRequest::from(only))
                    .await
            }
        };
        let limit = self.settings.call_timeout;
        let changes = self.delivery().deliver(limit, send).await?;
        Ok(Watch {
            address: self.address.clone(),
            changes,
        })
    }

    /// Who is registered.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn participants(&self) -> Result<Vec<ParticipantView>, ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            async move {
                service
                    .list_participants(v1::ListParticipantsRequest {})
                    .await
            }
        };
        let limit = self.settings.call_timeout;
        let response = self.delivery().deliver(limit, send).await?;
        response
            .participants
            .into_iter()
            .map(|participant| self.read(participant))
            .collect()
    }

    /// Makes the coordinator forget a participant. With a reason to give up what it
    /// has not acknowledged, that is recorded as damage.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Reason::PARTICIPANT_BUSY`] while it has
    /// unfinished business that is not given up. If the answer to a first try was lost, a repeat finds
    /// [`Reason::UNKNOWN_PARTICIPANT`].
    pub async fn remove_participant(
        &self,
        name: &ParticipantName,
        give_up: Option<&str>,
    ) -> Result<(), ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            let request = v1::RemoveParticipantRequest::from(Removal {
                name: name.clone(),
                give_up: give_up.map(ToOwned::to_owned),
            });
            async move { service.remove_participant(request).await }
        };
        self.delivery()
            .deliver(self.settings.call_timeout, send)
            .await
            .map(drop)
    }

    /// Counts, and times of the last transactions; with the newest `samples_max` of
    /// these one by one, as far as the coordinator keeps them.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn statistics(&self, samples_max: u32) -> Result<Statistics, ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            let request = v1::GetStatisticsRequest { samples_max };
            async move { service.get_statistics(request).await }
        };
        self.ask(send).await
    }

    /// Who waits for whom, at all participants.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn waits(&self) -> Result<WaitsView, ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            async move {
                service
                    .get_waits_for_graph(v1::GetWaitsForGraphRequest {})
                    .await
            }
        };
        self.ask(send).await
    }

    /// What is decided and not acknowledged by everyone.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn in_doubt(&self) -> Result<Vec<View>, ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            async move { service.list_in_doubt(v1::ListInDoubtRequest {}).await }
        };
        let limit = self.settings.call_timeout;
        let response = self.delivery().deliver(limit, send).await?;
        response
            .transactions
            .into_iter()
            .map(|transaction| self.read(transaction))
            .collect()
    }

    /// What was decided by hand against the real decision.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn damage(&self) -> Result<Vec<Damage>, ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            async move { service.list_damage(v1::ListDamageRequest {}).await }
        };
        let limit = self.settings.call_timeout;
        let response = self.delivery().deliver(limit, send).await?;
        response
            .damage
            .into_iter()
            .map(|damage| self.read(damage))
            .collect()
    }

    /// Takes damage off the list.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn acknowledge_damage(
        &self,
        attempt: AttemptId,
        participant: &ParticipantName,
    ) -> Result<(), ClientError> {
        let send = |_| {
            let mut service = self.admin_service();
            let (attempt, participant) = (Some(attempt.into()), participant.to_string());
            let request = v1::AcknowledgeDamageRequest {
                attempt,
                participant,
            };
            async move { service.acknowledge_damage(request).await }
        };
        self.delivery()
            .deliver(self.settings.call_timeout, send)
            .await
            .map(drop)
    }

    /// Asks, and reads the answer.
    pub(crate) async fn ask<W, T, F>(
        &self,
        send: impl FnMut(Option<CoordinatorId>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<W>, Status>>,
        T: TryFrom<W, Error = WireError>,
    {
        let limit = self.settings.call_timeout;
        self.read(self.delivery().deliver(limit, send).await?)
    }

    pub(crate) fn read<W, T: TryFrom<W, Error = WireError>>(
        &self,
        wire: W,
    ) -> Result<T, ClientError> {
        T::try_from(wire).map_err(|error| self.unreadable(&error))
    }

    pub(crate) fn unreadable(&self, error: &WireError) -> ClientError {
        ClientError::unreadable(&self.address, error)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// This coordinator has answered.
    pub(crate) fn saw(&self, coordinator: CoordinatorId) {
        *self
            .last_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(coordinator);
    }

    /// For a request of a transaction whose commit has not been asked for.
    pub(crate) fn undecided(&self, transaction: TransactionId) -> Delivery<'_> {
        Delivery {
            decides: false,
            last_seen: self.last_seen(),
            ..self.delivery().of(transaction)
        }
    }

    /// For a request that may have been done when its answer is lost. Who answered
    /// last is as it was before the first try: who answers later may be another.
    pub(crate) fn delivery_of(&self, transaction: TransactionId) -> Delivery<'_> {
        Delivery {
            last_seen: self.last_seen(),
            ..self.delivery().of(transaction)
        }
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery::harmless(&self.settings, &self.address)
    }

    fn last_seen(&self) -> Option<CoordinatorId> {
        *self
            .last_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn transactions_service(&self) -> TransactionServiceClient<Channel> {
        TransactionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn sagas_service(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn admin_service(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Says in a span what became of its transaction, and ends it.
pub(crate) fn conclude(span: Option<Span>, told: Result<&Ending, &ClientError>) {
    let Some(mut span) = span else {
        return;
    };
    match told {
        Ok(Ending::Committed(_)) => span.set("nemcon.outcome", "committed"),
        Ok(Ending::Aborted(cause)) => {
            span.set("nemcon.outcome", "aborted");
            span.set("nemcon.reason", cause.refusal.reason.to_string());
        }
        Err(error) => span.fail(error.to_string()),
    }
}

/// An outcome that is not known may also be said in a response; it is the same
/// as if it came as a status.
pub(crate) fn if_known(outcome: v1::Outcome, coordinator_id: &str) -> Result<(), Status> {
    if outcome != v1::Outcome::Unknown {
        return Ok(());
    }
    let unknown = Refusal::new(Reason::OUTCOME_UNKNOWN, "the coordinator does not know it");
    let coordinator = convert::coordinator_id(coordinator_id, "coordinator_id").ok();
    Err(to_status(&Refused {
        coordinator,
        ..unknown.into()
    }))
}

/// Whether a transaction certainly did not happen, and may if it is run again.
fn a_rerun_can_help(told: &Result<Report, ClientError>) -> bool {
    match told {
        Ok(report) => match &report.ending {
            Ending::Aborted(cause) => cause.refusal.retryable,
            Ending::Committed(_) => false,
        },
        Err(ClientError::Refused(refused)) => refused.refusal.retryable,
        Err(
            ClientError::Address(_)
            | ClientError::Unreachable { .. }
            | ClientError::Unknown { .. }
            | ClientError::SagaUnknown { .. }
            | ClientError::Protocol { .. },
        ) => false,
    }
}

/// Changes of transactions, as they happen.
#[derive(Debug)]
pub struct Watch {
    address: Address,
    changes: Streaming<v1::WatchTransactionsResponse>,
}

impl Watch {
    /// Waits for the next change; `None` when the coordinator ends the stream.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the connection breaks: watch again, and
    /// take it that changes were missed.
    pub async fn next(&mut self) -> Result<Option<Change>, ClientError> {
        match self.changes.message().await {
            Ok(None) => Ok(None),
            Ok(Some(change)) => Change::try_from(change)
                .map(Some)
                .map_err(|error| ClientError::unreadable(&self.address, &error)),
            Err(status) => Err(match Refused::read(&status) {
                Some(refused) => ClientError::Refused(Box::new(refused)),
                None => ClientError::Unreachable {
                    address: self.address.clone(),
                    why: root_cause(&status),
                },
            }),
        }
    }
}
