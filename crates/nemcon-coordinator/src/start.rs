//! Starts a coordinator node.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nemcon_core::coordinator::Coordinator;
use nemcon_core::coordinator::event::Event;
use nemcon_core::saga::State;
use nemcon_core::time::Millis;
use nemcon_net::MESSAGE_BYTES_MAX;
use nemcon_node::front::Front;
use nemcon_node::maintenance::NodeKind;
use nemcon_node::metrics::{Figures, OwnFigures};
use nemcon_node::node::{Assembly, NodeError, NodeHandle, Shell, Site};
use nemcon_node::server::Services;
use nemcon_proto::v1::admin_service_server::AdminServiceServer;
use nemcon_proto::v1::outcome_service_server::OutcomeServiceServer;
use nemcon_proto::v1::saga_service_server::SagaServiceServer;
use nemcon_proto::v1::transaction_service_server::TransactionServiceServer;

use crate::api::Api;
use crate::perform::{Hands, Patience};
use crate::settings::Settings;
use crate::traces::Traces;
use crate::watch::Teller;

/// The states of sagas, and the words for them in figures.
const SAGA_STATES: [(State, &str); 5] = [
    (State::Running, "running"),
    (State::Compensating, "compensating"),
    (State::Stuck, "stuck"),
    (State::Completed, "completed"),
    (State::Compensated, "compensated"),
];

/// Starts a coordinator on a thread of its own and waits until it serves.
///
/// # Errors
/// [`NodeError`] if it does not come to serve: the port is taken, the data
/// directory in use, its log damaged.
pub fn start(settings: Settings) -> Result<NodeHandle, NodeError> {
    let (name, node) = (settings.name.clone(), settings.node.clone());
    nemcon_node::node::start(name, node, CoordinatorShell(settings))
}

/// Puts a coordinator together once its address is known: the machine sends that
/// address out with every prepare, so that whoever is in doubt knows whom to ask.
struct CoordinatorShell(Settings);

impl Shell for CoordinatorShell {
    type Machine = Coordinator;
    type Performer = Hands;
    const KIND: NodeKind = NodeKind::Coordinator;

    fn identity(machine: &Coordinator) -> String {
        machine.identity().to_string()
    }

    fn assemble(self, site: Site<Event>) -> Assembly<Coordinator, Hands> {
        let Self(settings) = self;
        let machine = settings.machine(site.url);
        let patience = Patience {
            call: Duration::from_millis(machine.call_timeout.0),
            lock: Duration::from_millis(machine.lock_wait.0),
            calls_max: settings.node.limits.calls_in_flight_max,
        };
        let (teller, watches) = Teller::new();
        let identity = Arc::new(OnceLock::new());
        let front = Front::new(site.inbox.clone(), site.gate);
        let traces = Traces::new(site.tracer);
        let hands = Hands::new(
            front.replies().clone(),
            site.inbox,
            site.ending,
            teller,
            traces.clone(),
            Arc::clone(&identity),
            patience,
        );
        let api = Api {
            front,
            identity,
            watches,
            traces,
        };
        let mut services = Services::default();
        services
            .add(
                TransactionServiceServer::new(api.clone())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add(SagaServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(OutcomeServiceServer::new(api.clone()))
            .add(AdminServiceServer::new(api));
        Assembly {
            machine: Coordinator::new(machine),
            performer: hands,
            services,
        }
    }

    fn figures(machine: &Coordinator, now: Millis) -> Figures {
        let (in_doubt, in_doubt_oldest) = machine.unacknowledged(now);
        let reached = machine.reached();
        let participants = reached.map(|(name, reached)| (name.clone(), reached));
        let held = machine.held();
        // Each state is always there, so that a query need not care for a first time.
        let counts = machine.saga_counts();
        let sagas = SAGA_STATES.iter().map(|(state, word)| {
            let count = counts.get(state).copied().unwrap_or(0);
            (*word, count)
        });
        Figures {
            in_doubt,
            in_doubt_oldest,
            damage: machine.open_damages(),
            own: OwnFigures::Coordinator {
                running: held.running,
                remembered: held.remembered,
                sagas: sagas.collect(),
                participants: participants.collect(),
            },
        }
    }

    fn drain_requested() -> Event {
        Event::DrainRequested
    }
}
