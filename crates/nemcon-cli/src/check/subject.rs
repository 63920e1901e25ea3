//! Who is checked, and with which actions.

use nemcon_client::{Address, Client, Settings};
use nemcon_core::id::{CoordinatorId, Epoch, ParticipantId, ParticipantName, Position, Sequence};
use nemcon_core::message::{Header, Payload, Peer};
use nemcon_core::reason::Reason;
use nemcon_net::Refused;
use nemcon_proto::convert::{participant_id, payload};
use nemcon_proto::v1;
use tonic::Status;

use super::Check;
use super::line::Line;
use super::oracle::Oracle;
use super::rule::Ended;
use super::stage::{Actions, Stage};
use crate::failure::Failure;
use crate::json::Types;

/// Finds the participant, and sets a stage before it.
pub(super) async fn meet(arguments: &Check, coordinator: &Address) -> Result<Stage, Failure> {
    let actions = actions(arguments)?;
    let oracle = Oracle::open(&arguments.host)
        .await
        .map_err(|source| Failure::System {
            doing: "listen for questions of the participant",
            source,
        })?;
    let visitor = Visitor {
        line: Line::to(&arguments.url),
        identity: CoordinatorId::new(nemcon_node::chance::fresh_uuid()),
        address: oracle.coordinator.clone(),
    };
    let (participant, name) = visitor.find(arguments, coordinator).await?;
    let itself = Peer {
        name,
        address: arguments.url.to_string(),
    };
    let Visitor { line, identity, .. } = visitor;
    let mut stage = Stage::new(line, oracle, actions, identity, itself, participant);
    stage.boot = stage.hello().await.map_err(|ended| match ended {
        Ended::Broken(why) | Ended::Silent(why) => silent(arguments, why),
        Ended::Skipped(why) => silent(arguments, why.to_owned()),
    })?;
    Ok(stage)
}

/// Reads the actions, so that a mistake in them is found before anything is done.
fn actions(arguments: &Check) -> Result<Actions, Failure> {
    let types = match &arguments.descriptors {
        Some(path) => Types::with(path)?,
        None => Types::new()?,
    };
    let action = |flag: &str, text: &String| -> Result<Payload, Failure> {
        let read = types.read::<prost_types::Any>(text);
        read.map(payload)
            .map_err(|error| Failure::Usage(format!("{flag}: {error}")))
    };
    let refused = arguments.refused.as_ref();
    Ok(Actions {
        write: action("--write", &arguments.write)?,
        read: action("--read", &arguments.read)?,
        refused: refused.map(|text| action("--refused", text)).transpose()?,
        lock: arguments.lock.clone(),
    })
}

/// Rings at the door.
struct Visitor {
    line: Line,
    identity: CoordinatorId,
    address: String,
}

impl Visitor {
    /// The participant's id, as it was given or as the coordinator knows it, and
    /// its name, as it says itself.
    ///
    /// A coordinator may know it by another address than this one, from within a
    /// network of containers for example. So each id is tried, and a participant
    /// takes only what is meant for itself.
    async fn find(
        &self,
        arguments: &Check,
        coordinator: &Address,
    ) -> Result<(ParticipantId, ParticipantName), Failure> {
        let candidates = match &arguments.participant_id {
            Some(text) => vec![
                participant_id(text, "--participant-id")
                    .map_err(|error| Failure::Usage(error.to_string()))?,
            ],
            None => self.registered(arguments, coordinator).await?,
        };
        for id in candidates {
            match self.greet(id).await {
                Ok(name) => return Ok((id, name.parse()?)),
                Err(status) if is_another(&status) => {}
                Err(status) => return Err(silent(arguments, status.message().to_owned())),
            }
        }
        let url = &arguments.url;
        Err(Failure::Refused(match &arguments.participant_id {
            Some(id) => format!("the participant at {url} does not have the id {id}"),
            None => format!(
                "no participant that is registered at the coordinator {coordinator} answers at \
                 {url}; register it there, or give --participant-id"
            ),
        }))
    }

    /// Ids that are registered; first those with this very address.
    async fn registered(
        &self,
        arguments: &Check,
        coordinator: &Address,
    ) -> Result<Vec<ParticipantId>, Failure> {
        let client = Client::new(coordinator.clone(), Settings::default());
        let mut views = client.participants().await?;
        let url = arguments.url.to_string();
        views.sort_by_key(|view| view.address != url);
        Ok(views.into_iter().map(|view| view.id).collect())
    }

    /// Says hello to who has this id, and hears its name.
    async fn greet(&self, participant: ParticipantId) -> Result<String, Status> {
        let (epoch, sequence) = (Epoch(1), Sequence(1));
        let header = Header {
            coordinator: self.identity,
            participant,
            epoch,
            floor: Position { epoch, sequence },
        };
        let hello = v1::GetStatusRequest {
            header: Some(header.into()),
            coordinator_address: self.address.clone(),
        };
        self.line.name(hello).await
    }
}

fn is_another(status: &Status) -> bool {
    let reason = Refused::read(status).map(|refused| refused.refusal.reason);
    reason == Some(Reason::WRONG_PARTICIPANT)
}

/// The failure of a participant that is not there.
pub(super) fn silent(arguments: &Check, why: String) -> Failure {
    Failure::ParticipantSilent {
        name: "the participant".to_owned(),
        address: arguments.url.to_string(),
        why,
    }
}
