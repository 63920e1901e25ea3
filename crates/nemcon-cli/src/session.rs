//! A conversation with one coordinator.
//!
//! It begins with a harmless question. So a wrong address is found out at once
//! and called by its name, instead of after the time that a transaction is given
//! and with an outcome that nobody knows. The answer also says which
//! participants there are and which of them are down.

use std::time::Duration;

use nemcon_client::{
    Address, AddressedOperation, Client, ClientError, Ending, ResultError, Settings, Transaction,
    operation, result,
};
use nemcon_core::coordinator::event::ParticipantView;
use nemcon_core::id::{ParticipantName, TransactionId};
use nemcon_core::message::Payload;
use nemcon_core::reason::Reason;
use prost::{Message, Name};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;

/// How long somebody is looked for at the coordinator's address.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long a coordinator that is there may take to serve: it may be recovering.
const SERVING_MAX: Duration = Duration::from_secs(5);

/// Deadline of a transaction that a person waits for. Shorter than the
/// coordinator's default, since what takes longer has met a node that is down.
const TRANSACTION_MAX: Duration = Duration::from_secs(5);

/// How long an answer is asked for again and again, once it may have been done;
/// and for what only reads, where nothing hangs on it.
const ANSWER_MAX: Duration = Duration::from_secs(15);
const READING_MAX: Duration = Duration::from_secs(6);

/// How long a transaction is run again that aborted for a reason which a rerun
/// can help, and the pause before that.
const RERUN_MAX: Duration = Duration::from_secs(3);
const RERUN_PAUSE: Duration = Duration::from_millis(100);

/// A coordinator that answered.
pub(crate) struct Session {
    client: Client,
    reader: Client,
    participants: Vec<ParticipantView>,
}

/// What a transaction that committed has brought.
pub(crate) struct Committed {
    /// Its id.
    pub(crate) transaction: TransactionId,
    /// One result for each operation; `None` if a restart has lost them.
    pub(crate) results: Option<Vec<Payload>>,
}

impl Session {
    /// Finds the coordinator.
    pub(crate) async fn open(url: &Address) -> Result<Self, Failure> {
        find(url).await?;
        let patience = |give_up_after| Settings {
            give_up_after,
            ..Settings::default()
        };
        let asked = Client::new(url.clone(), patience(SERVING_MAX))
            .participants()
            .await;
        let participants = asked.map_err(|error| match error {
            ClientError::Unreachable { why, .. } | ClientError::Protocol { what: why, .. } => {
                Failure::NotACoordinator {
                    url: url.to_string(),
                    what: why,
                }
            }
            other => other.into(),
        })?;
        Ok(Self {
            client: Client::new(url.clone(), patience(ANSWER_MAX)),
            reader: Client::new(url.clone(), patience(READING_MAX)),
            participants,
        })
    }

    /// The client, for calls that are no transactions.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Who was registered when the conversation began.
    pub(crate) fn participants(&self) -> &[ParticipantView] {
        &self.participants
    }

    /// A bank by its name, if it is registered and answers.
    pub(crate) fn bank(&self, name: &ParticipantName) -> Result<&ParticipantView, Failure> {
        let found = self.participants.iter().find(|view| view.name == *name);
        let bank = found.ok_or_else(|| Failure::NoSuchBank {
            name: name.clone(),
            url: self.client.address().to_string(),
            known: self
                .participants
                .iter()
                .map(|view| view.name.clone())
                .collect(),
        })?;
        if bank.reachable {
            Ok(bank)
        } else {
            Err(down(bank))
        }
    }

    /// Runs operations as one transaction, and again if that can help. All their
    /// participants must be there.
    pub(crate) async fn run(
        &self,
        operations: Vec<AddressedOperation>,
    ) -> Result<Committed, Failure> {
        for (name, _) in &operations {
            self.bank(name)?;
        }
        let reads = operations.iter().all(|(_, operation)| operation.read_only);
        let client = if reads { &self.reader } else { &self.client };
        let mut transaction = Transaction::new(operations).with_timeout(TRANSACTION_MAX);
        let rerun_until = Instant::now() + RERUN_MAX;
        loop {
            let report = match client.run(&transaction).await {
                Ok(report) => report,
                Err(error) => return Err(self.explain(&transaction, error, reads).await),
            };
            let cause = match report.ending {
                Ending::Committed(results) => {
                    let transaction = report.transaction;
                    return Ok(Committed {
                        transaction,
                        results,
                    });
                }
                Ending::Aborted(cause) => cause,
            };
            if !cause.refusal.retryable || Instant::now() >= rerun_until {
                let late = cause.refusal.reason == Reason::DEADLINE_EXCEEDED;
                if late && let Some(gone) = self.gone(&transaction).await {
                    return Err(down(&gone));
                }
                let transaction = report.transaction;
                return Err(Failure::Aborted { transaction, cause });
            }
            sleep(RERUN_PAUSE).await;
            transaction = transaction.rerun();
        }
    }

    /// Why there is no outcome. A read without one has done nothing.
    async fn explain(&self, transaction: &Transaction, error: ClientError, reads: bool) -> Failure {
        let ClientError::Unknown {
            transaction: id, ..
        } = &error
        else {
            return error.into();
        };
        match self.gone(transaction).await {
            Some(gone) if reads => down(&gone),
            Some(gone) => Failure::DownInBetween {
                transaction: *id,
                name: gone.name,
                address: gone.address,
            },
            None => error.into(),
        }
    }

    /// Looks for a participant that has gone since the conversation began: that
    /// says more than a deadline which has passed.
    async fn gone(&self, transaction: &Transaction) -> Option<ParticipantView> {
        let now = self.reader.participants().await.ok()?;
        let asked = |view: &ParticipantView| {
            let mut operations = transaction.operations.iter();
            operations.any(|(name, _)| *name == view.name)
        };
        now.into_iter().find(|view| asked(view) && !view.reachable)
    }

    /// Reads something at a bank, in a transaction of its own.
    pub(crate) async fn read<A, R>(&self, bank: &ParticipantName, action: &A) -> Result<R, Failure>
    where
        A: Message + Name,
        R: Message + Name + Default,
    {
        let done = self.run(vec![operation(bank, action, true)]).await?;
        done.result(0)?
            .ok_or_else(|| Failure::Nonsense("there is no result".into()))
    }
}

impl Committed {
    /// The result of one operation, if it is not lost.
    pub(crate) fn result<R: Message + Name + Default>(
        &self,
        at: usize,
    ) -> Result<Option<R>, Failure> {
        let payload = self.results.as_ref().and_then(|results| results.get(at));
        payload
            .map(result)
            .transpose()
            .map_err(|error: ResultError| Failure::Nonsense(error.to_string()))
    }
}

/// What to say about a participant that does not answer.
fn down(bank: &ParticipantView) -> Failure {
    Failure::BankDown {
        name: bank.name.clone(),
        address: bank.address.clone(),
    }
}

/// Whether anybody listens at an address at all.
async fn find(url: &Address) -> Result<(), Failure> {
    let nobody = |why: String| Failure::NoCoordinator {
        url: url.to_string(),
        why,
    };
    // An IPv6 address stands in brackets there, and without them here.
    let host = url
        .uri()
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let port = url.uri().port_u16().unwrap_or_default();
    match timeout(CONNECT_MAX, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(nobody(error.to_string())),
        Err(_) => Err(nobody(format!(
            "no answer within {} s",
            CONNECT_MAX.as_secs()
        ))),
    }
}
