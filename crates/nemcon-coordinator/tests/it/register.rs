//! Participants make themselves known.

use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use tonic::Code;

use crate::cluster::{Cluster, operation, request, start_coordinator, start_store, stop};

#[tokio::test(flavor = "current_thread")]
async fn another_directory_under_a_known_name_ends_its_node_with_the_way_out() {
    let cluster = Cluster::start().await;
    let dir = cluster.dir.path().join("usurper");
    let usurper = start_store("a", &dir, &cluster.coordinator).unwrap();
    usurper.ended().await;
    let error = usurper.join().unwrap_err().to_string();
    assert!(error.contains("participants remove a"), "{error}");
    let response = cluster
        .run(request(vec![operation("a", "x", 1)]))
        .await
        .unwrap();
    assert_eq!(
        response.outcome(),
        v1::Outcome::Committed,
        "the real one is untouched"
    );
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_participant_waits_for_its_coordinator() {
    // The coordinator starts, says where it is, and is gone when the store starts.
    let dir = tempfile::tempdir().unwrap();
    let (home, store) = (dir.path().join("coordinator"), dir.path().join("a"));
    let gone = start_coordinator(&home);
    let address = gone.address();
    let handle = start_store("a", &store, &gone);
    stop(gone);
    let store = handle.unwrap();
    let mut settings = nemcon_node::settings::Settings::new(address, &home);
    settings.advertise = Some(format!("http://{address}"));
    let settings = nemcon_coordinator::Settings::new(settings);
    let coordinator = nemcon_coordinator::start(settings).unwrap();
    let cluster = Cluster {
        dir,
        coordinator,
        stores: vec![store],
    };
    cluster
        .until(async |cluster| cluster.participants().await.len() == 1)
        .await;
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_is_none_is_refused_at_once() {
    let cluster = Cluster::start().await;
    let mut admin = AdminServiceClient::new(cluster.channel());
    let bad = v1::RegisterParticipantRequest {
        name: "c".into(),
        participant_id: nemcon_node::chance::fresh_uuid().to_string(),
        address: "bank-c:7110".into(),
        ..v1::RegisterParticipantRequest::default()
    };
    let status = admin.register_participant(bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("bank-c:7110"), "{status}");
    assert_eq!(cluster.participants().await.len(), 2);
    cluster.stop();
}
