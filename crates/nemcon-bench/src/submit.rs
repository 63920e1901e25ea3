//! The ways by which one-shot transactions reach the coordinator. Workloads know
//! nothing of them; whoever adds another adds it here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nemcon_client::{Client, ClientError, Report, Transaction, WINDOW_MAX};

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Each as one gRPC call.
    Unary,
    /// Many in one message, on a stream that all share.
    Stream,
}

impl Transport {
    /// The word that reports have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
        }
    }
}

/// Hands transactions in, to each coordinator as many.
#[derive(Clone, Debug)]
pub(crate) struct Submitter {
    clients: Arc<[Client]>,
    /// Whose turn it is.
    turn: Arc<AtomicUsize>,
}

impl Submitter {
    /// By these clients, one at least, in this way.
    pub(crate) fn new(clients: &[Client], transport: Transport) -> Self {
        let by = |client: &Client| match transport {
            Transport::Unary => client.clone(),
            Transport::Stream => client.streaming(WINDOW_MAX),
        };
        Self {
            clients: clients.iter().map(by).collect(),
            turn: Arc::default(),
        }
    }

    /// Runs a transaction, once.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub(crate) async fn run(&self, transaction: &Transaction) -> Result<Report, ClientError> {
        self.client().run(transaction).await
    }

    /// The client whose turn it is, for what is not a one-shot transaction: all of it
    /// is one coordinator's.
    pub(crate) fn client(&self) -> &Client {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.clients[turn % self.clients.len()]
    }
}
