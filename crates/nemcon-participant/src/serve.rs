//! Starts a participant's node.

use std::sync::Arc;

use nemcon_core::id::ParticipantId;
use nemcon_core::participant::event::Event;
use nemcon_core::participant::{self, Participant};
use nemcon_core::resource::Resource;
use nemcon_core::time::Millis;
use nemcon_net::{Address, AddressError, NODE_MESSAGE_BYTES_MAX};
use nemcon_node::chance;
use nemcon_node::front::Front;
use nemcon_node::maintenance::NodeKind;
use nemcon_node::metrics::{Figures, OwnFigures};
use nemcon_node::node::{Assembly, NodeError, NodeHandle, Shell, Site};
use nemcon_node::server::Services;
use nemcon_proto::v1::outcome_service_server::OutcomeServiceServer;
use nemcon_proto::v1::participant_admin_service_server::ParticipantAdminServiceServer;
use nemcon_proto::v1::participant_service_server::ParticipantServiceServer;

use crate::api::Api;
use crate::decode::Decode;
use crate::handle::Handle;
use crate::perform::Hands;
use crate::registration::Registrar;
use crate::settings::Settings;

/// A [`Resource`] that can live on a node's thread. Nothing to implement.
pub trait ServeResource:
    Resource<Action: Send + 'static, Redo: Send + 'static, Result: Send + 'static> + Send + 'static
{
}

impl<R> ServeResource for R where
    R: Resource<Action: Send + 'static, Redo: Send + 'static, Result: Send + 'static>
        + Send
        + 'static
{
}

/// Starts a participant on a thread of its own and waits until it serves.
///
/// `resource` is empty: its data comes from the data directory. `extra` adds
/// services of your own on the same port; it is called once, on the node's
/// thread, before recovery.
///
/// # Errors
/// [`NodeError`] if the node does not come to serve: the port is taken, the data
/// directory in use, its log damaged, a coordinator's URL no URL.
pub fn serve<R, D, X>(
    settings: Settings,
    resource: R,
    decode: D,
    extra: X,
) -> Result<NodeHandle, NodeError>
where
    R: ServeResource,
    D: Decode<R>,
    X: FnOnce(&Handle<R>, &mut Services) + Send + 'static,
{
    let coordinators = addresses(&settings.coordinators)?;
    let (name, node) = (settings.name.to_string(), settings.node.clone());
    let shell = ParticipantShell {
        settings,
        coordinators,
        resource,
        decode,
        extra,
    };
    nemcon_node::node::start(name, node, shell)
}

/// Puts a participant together once its address is known.
struct ParticipantShell<R, D, X> {
    settings: Settings,
    coordinators: Vec<Address>,
    resource: R,
    decode: D,
    extra: X,
}

impl<R, D, X> Shell for ParticipantShell<R, D, X>
where
    R: ServeResource,
    D: Decode<R>,
    X: FnOnce(&Handle<R>, &mut Services) + Send + 'static,
{
    type Machine = Participant<R>;
    type Performer = Hands<R>;
    const KIND: NodeKind = NodeKind::Participant;

    fn identity(machine: &Participant<R>) -> String {
        machine.id().to_string()
    }

    fn assemble(self, site: Site<Event<R::Action>>) -> Assembly<Participant<R>, Hands<R>> {
        let Self {
            settings,
            coordinators,
            resource,
            decode,
            extra,
        } = self;
        let handle = Handle {
            front: Front::new(site.inbox.clone(), site.gate),
            name: Arc::new(settings.name.clone()),
            url: site.url.as_str().into(),
            id: Arc::default(),
            tracer: site.tracer,
        };
        let api = Api {
            handle: handle.clone(),
            decode: Arc::new(decode),
        };
        let mut services = Services::default();
        services
            .add(
                ParticipantServiceServer::new(api.clone())
                    .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX),
            )
            .add(OutcomeServiceServer::new(api.clone()))
            .add(ParticipantAdminServiceServer::new(api));
        extra(&handle, &mut services);
        let registrar = Registrar {
            name: settings.name.clone(),
            address: site.url,
            coordinators,
        };
        let calls_max = settings.node.limits.calls_in_flight_max;
        let fresh_id = ParticipantId::new(chance::fresh_uuid());
        let machine = participant::Settings {
            locks: settings.locks,
            suspect_after: settings.suspect_after,
            ..participant::Settings::new(settings.name, fresh_id, chance::seed())
        };
        Assembly {
            machine: Participant::new(machine, resource),
            performer: Hands::new(handle, site.inbox, site.ending, registrar, calls_max),
            services,
        }
    }

    fn figures(machine: &Participant<R>, now: Millis) -> Figures {
        let (in_doubt, in_doubt_oldest) = machine.undecided(now);
        Figures {
            in_doubt,
            in_doubt_oldest,
            damage: machine.open_damages(),
            own: OwnFigures::Participant {
                lock_waiters: machine.locks().waiters(),
            },
        }
    }

    fn drain_requested() -> Event<R::Action> {
        Event::DrainRequested
    }
}

/// The addresses of the coordinators, looked at before anything is started.
fn addresses(urls: &[String]) -> Result<Vec<Address>, NodeError> {
    let address = |url: &String| {
        url.parse()
            .map_err(|error: AddressError| NodeError::Refused(error.to_string()))
    };
    urls.iter().map(address).collect()
}
