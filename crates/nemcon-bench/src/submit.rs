//! The way by which one-shot transactions reach the coordinator. Workloads know
//! nothing of it; whoever adds another way adds it here.

use nemcon_client::{Client, ClientError, Report, Transaction};

/// Hands transactions in, each as one gRPC call.
#[derive(Clone, Debug)]
pub(crate) struct Submitter {
    client: Client,
}

impl Submitter {
    /// The word that reports have for this way.
    pub(crate) const TRANSPORT: &'static str = "unary";

    /// By this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
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
