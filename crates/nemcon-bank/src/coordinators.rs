//! Whom a bank asks to run its customers' transactions.
//!
//! A bank can know several coordinators, each with a memory of its own. That a
//! transaction runs only once is the word of *one* of them: sent to a second, it
//! would run a second time. Hence two rules:
//!
//! - What writes always goes to the coordinator that is named first. If that one
//!   is down, the customer is told that nothing has been done. To move on to the
//!   next would be kinder, until a customer whose answer was lost comes back with
//!   the id and meets the other coordinator, which has never heard of it.
//! - What only reads goes to the first that answers, in the order in which they
//!   are named. To read twice harms nobody.
//!
//! So the order of `--coordinator` matters, and its first place must not be given
//! to another one while customers may still repeat a request (an hour, as long as
//! outcomes are remembered).

use std::time::Duration;

use nemcon_client::{Client, ClientError, Report, Settings, Transaction};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::Address;
use tokio::time::{Instant, timeout};

/// Transactions that a bank has under way at a coordinator; a customer beyond them is
/// told to come again. As many as a coordinator takes from a stream at a time: what it
/// has not taken would end as unknown, though nobody has heard of it.
const WINDOW: usize = nemcon_client::WINDOW_MAX;

/// What a transaction does to the books; decides who may run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It only reads.
    Reads,
    /// It may write.
    Writes,
}

/// The coordinators of a bank, in the order in which they were named.
#[derive(Clone, Debug)]
pub(crate) struct Coordinators {
    clients: Vec<Client>,
}

impl Coordinators {
    /// Clients of these coordinators. They connect when they are first used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        let client = |address| Client::new(address, Settings::default()).streaming(WINDOW);
        Self {
            clients: addresses.into_iter().map(client).collect(),
        }
    }

    /// Runs a transaction and waits for its outcome, at most as long as
    /// `patience`.
    ///
    /// A coordinator that cannot be reached is told of at once, since the
    /// customer knows best how long it wants to wait. Only where an answer was
    /// lost, and the outcome with it, is the request sent again from here: a
    /// customer that gave no id could not do it.
    ///
    /// # Errors
    /// As [`Client::run`]: [`ClientError::Unknown`] if it may have run, any other
    /// only if it has not.
    pub(crate) async fn run(
        &self,
        access: Access,
        transaction: Transaction,
        patience: Duration,
    ) -> Result<Report, ClientError> {
        let id = transaction.id;
        match timeout(patience, self.run_patiently(access, transaction, patience)).await {
            Ok(told) => told,
            Err(_) => Err(ClientError::Unknown {
                transaction: id,
                coordinator: None,
                why: format!("no answer within {} ms", patience.as_millis()),
            }),
        }
    }

    async fn run_patiently(
        &self,
        access: Access,
        transaction: Transaction,
        patience: Duration,
    ) -> Result<Report, ClientError> {
        let until = Instant::now() + patience;
        let candidates = match access {
            Access::Reads => self.clients.len(),
            Access::Writes => 1,
        };
        let mut told = Err(nobody());
        for client in self.clients.iter().take(candidates) {
            told = patient(client, Duration::ZERO).run(&transaction).await;
            match told {
                Err(ClientError::Unreachable { .. }) => {}
                Err(ClientError::Unknown { coordinator, .. }) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let again = transaction.sent_before(coordinator);
                    return patient(client, left).run(&again).await;
                }
                _ => return told,
            }
        }
        told
    }
}

/// The client, sending again only as long as this.
fn patient(client: &Client, give_up_after: Duration) -> Client {
    client.with_settings(Settings {
        give_up_after,
        ..Settings::default()
    })
}

/// The error of a bank that was started without a coordinator.
fn nobody() -> ClientError {
    let message = "this bank knows no coordinator, so it can run no transaction; start it with \
                   --coordinator URL";
    ClientError::Refused(Box::new(Refusal::new(Reason::NOT_SERVING, message).into()))
}
