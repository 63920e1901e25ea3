//! Which participants an operator asks.

use clap::Args;
use nemcon_client::Address;
use nemcon_core::id::ParticipantName;

use crate::failure::Failure;
use crate::operator::Operator;
use crate::session::Session;

/// Which participants to ask.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Only this participant
    #[arg(long, value_name = "NAME")]
    participant: Option<ParticipantName>,
    /// The participant at this address, without asking a coordinator for it
    #[arg(long, value_name = "URL", conflicts_with = "participant")]
    at: Option<Address>,
}

impl Whom {
    /// The windows to ask at. Only without an address is a coordinator needed.
    pub(crate) async fn operators(self, coordinator: &Address) -> Result<Vec<Operator>, Failure> {
        if let Some(address) = self.at {
            let address = address.to_string();
            return Ok(vec![Operator::of(&address, &address)?]);
        }
        let session = Session::open(coordinator).await?;
        if let Some(name) = self.participant {
            let view = session.bank(&name)?;
            return Ok(vec![Operator::of(name.as_str(), &view.address)?]);
        }
        let views = session.participants().iter();
        views
            .map(|view| Operator::of(view.name.as_str(), &view.address))
            .collect()
    }
}
