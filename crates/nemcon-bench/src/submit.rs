//! The ways by which one-shot transactions reach the coordinator. Workloads know
//! nothing of them; whoever adds another adds it here.

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

/// Hands transactions in.
#[derive(Clone, Debug)]
pub(crate) struct Submitter {
    client: Client,
}

impl Submitter {
    /// By this client, in this way.
    pub(crate) fn new(client: &Client, transport: Transport) -> Self {
        Self {
            client: match transport {
                Transport::Unary => client.clone(),
                Transport::Stream => client.streaming(WINDOW_MAX),
            },
        }
    }

    /// Runs a transaction, once.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub(crate) async fn run(&self, transaction: &Transaction) -> Result<Report, ClientError> {
        self.client.run(transaction).await
    }

    /// The client, for what is not a one-shot transaction.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}
