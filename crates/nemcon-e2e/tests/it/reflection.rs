//! Every node can be explored: it says how it is, and what it serves.

use std::collections::BTreeSet;

use nemcon_e2e::Node;
use tokio_stream::once;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cluster::{Cluster, channel};

const COORDINATOR: &[&str] = &[
    "nemcon.v1.AdminService",
    "nemcon.v1.MaintenanceService",
    "nemcon.v1.OutcomeService",
    "nemcon.v1.SagaService",
    "nemcon.v1.TransactionService",
];

const BANK: &[&str] = &[
    "nemcon.bank.v1.BankService",
    "nemcon.v1.MaintenanceService",
    "nemcon.v1.OutcomeService",
    "nemcon.v1.ParticipantAdminService",
    "nemcon.v1.ParticipantService",
];

/// Messages that clients have to look up: actions of a bank and of an inventory,
/// also at the coordinator, which takes them without looking inside; and what
/// errors carry.
const MESSAGES: [&str; 4] = [
    "nemcon.bank.v1.Withdraw",
    "nemcon.inventory.v1.Reserve",
    "google.rpc.ErrorInfo",
    "google.rpc.RetryInfo",
];

/// The two versions differ in nothing but their names.
macro_rules! explore {
    ($version:ident, $node:expr) => {{
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        use tonic_reflection::pb::$version::{ServerReflectionRequest, ServerReflectionResponse};

        let mut client = ServerReflectionClient::new(channel(&$node.url()));
        let mut ask = async |question| -> MessageResponse {
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(question),
            };
            let answers = client.server_reflection_info(once(request)).await.unwrap();
            let answer: Option<ServerReflectionResponse> =
                answers.into_inner().message().await.unwrap();
            answer.unwrap().message_response.unwrap()
        };
        let services = match ask(MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect::<BTreeSet<_>>(),
            other => panic!("{other:?}"),
        };
        for symbol in services.iter().map(String::as_str).chain(MESSAGES) {
            match ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await {
                MessageResponse::FileDescriptorResponse(files) => {
                    assert!(!files.file_descriptor_proto.is_empty(), "{symbol}");
                }
                other => panic!("{symbol}: {other:?}"),
            }
        }
        services
    }};
}

async fn health(node: &Node) -> ServingStatus {
    let mut client = HealthClient::new(channel(&node.url()));
    let response = client.check(HealthCheckRequest::default()).await.unwrap();
    response.into_inner().status()
}

#[tokio::test(flavor = "current_thread")]
async fn every_node_is_healthy_and_lists_what_it_serves() {
    let cluster = Cluster::start(&["bank-a"]).await;
    for (node, own) in [
        (&cluster.coordinator, COORDINATOR),
        (cluster.bank("bank-a"), BANK),
    ] {
        assert_eq!(
            health(node).await,
            ServingStatus::Serving,
            "{}",
            node.name()
        );
        for (version, services) in [
            ("v1", explore!(v1, node)),
            ("v1alpha", explore!(v1alpha, node)),
        ] {
            let name = node.name();
            for service in own.iter().copied().chain(["grpc.health.v1.Health"]) {
                assert!(services.contains(service), "{name} {version}: {services:?}");
            }
            for service in &services {
                let served = own.contains(&service.as_str()) || service.starts_with("grpc.");
                assert!(served, "{name} {version} lists {service}");
            }
        }
    }
}
