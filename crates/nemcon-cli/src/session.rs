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

/// How long an answer is asked for again and again, once it may have been done.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How long a transaction is run again that aborted for a reason which a rerun
/// can help, and the pause before that.
const RERUN_MAX: Duration = Duration::from_secs(3);
const RERUN_PAUSE: Duration = Duration::from_millis(100);

/// A coordinator that answered.
pub(crate) struct Session {
    client: Client,
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
        let mut transaction = Transaction::new(operations).with_timeout(TRANSACTION_MAX);
        let rerun_until = Instant::now() + RERUN_MAX;
        loop {
            let report = self.client.run(&transaction).await?;
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
                if cause.refusal.reason == Reason::DEADLINE_EXCEEDED {
                    self.blame(&transaction).await?;
                }
                let transaction = report.transaction;
                return Err(Failure::Aborted { transaction, cause });
            }
            sleep(RERUN_PAUSE).await;
            transaction = transaction.rerun();
        }
    }

    /// Looks for a participant that has gone since the conversation began: that
    /// says more than a deadline which has passed.
    async fn blame(&self, transaction: &Transaction) -> Result<(), Failure> {
        let asked = |view: &&ParticipantView| {
            transaction
                .operations
                .iter()
                .any(|(name, _)| *name == view.name)
        };
        let now = self.client.participants().await?;
        match now.iter().filter(asked).find(|view| !view.reachable) {
            Some(gone) => Err(down(gone)),
            None => Ok(()),
        }
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
