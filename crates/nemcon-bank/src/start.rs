//! Starts a bank's node.

use nemcon_ledger::Ledger;
use nemcon_net::{Address, AddressError, MESSAGE_BYTES_MAX};
use nemcon_node::node::{NodeError, NodeHandle};
use nemcon_participant::{Settings, serve};
use nemcon_proto::bank::v1::bank_service_server::BankServiceServer;

use crate::coordinators::Coordinators;
use crate::service::Desk;
use crate::wire::Wire;

/// Starts a bank on a thread of its own and waits until it serves. Its books are
/// those of its data directory; a new directory is a bank without accounts.
///
/// A coordinator that is down is no error: the bank registers when it is back,
/// and until then its customers are told so.
///
/// # Errors
/// [`NodeError`] if it does not come to serve: the port is taken, the data
/// directory in use, its log damaged, a coordinator's URL no URL.
pub fn start(settings: Settings) -> Result<NodeHandle, NodeError> {
    let coordinators: Vec<Address> = settings
        .coordinators
        .iter()
        .map(|url| url.parse())
        .collect::<Result<_, AddressError>>()
        .map_err(|error| NodeError::Refused(error.to_string()))?;
    serve(settings, Ledger::new(), Wire, move |handle, services| {
        let desk = Desk::new(handle.clone(), Coordinators::new(coordinators));
        services.add(BankServiceServer::new(desk).max_decoding_message_size(MESSAGE_BYTES_MAX));
    })
}
