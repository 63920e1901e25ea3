//! A node with a toy machine: real port, real log, real end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nemcon_core::id::RequestId;
use nemcon_core::time::Millis;
use nemcon_node::driver::Perform;
use nemcon_node::front::{Front, NoAnswer};
use nemcon_node::health;
use nemcon_node::maintenance::NodeKind;
use nemcon_node::metrics::Figures;
use nemcon_node::node::{self, Assembly, Chain, Ending, NodeError, NodeHandle, Shell, Site};
use nemcon_node::settings::{HttpListen, Settings};
use nemcon_wal::checkpoint::Due;
use tokio::sync::oneshot;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::toy::{Effect, Event, Toy};

type ToyFront = Front<Event, u64>;

/// Hands its front out as soon as it has one.
struct ToyShell(oneshot::Sender<(ToyFront, Ending)>);

struct Hands {
    front: ToyFront,
    ending: Ending,
}

impl Perform<Toy> for Hands {
    fn perform(&mut self, effect: Effect, _: &mut Vec<Event>) {
        match effect {
            Effect::Say(request, count) => self.front.replies().answer(request, count),
            Effect::Drained => self.ending.drained(),
            Effect::Woken | Effect::Room(_) => {}
        }
    }

    fn ended(&mut self) {
        self.front.replies().hang_up();
    }
}

impl Shell for ToyShell {
    type Machine = Toy;
    type Performer = Hands;
    const KIND: NodeKind = NodeKind::Participant;

    fn identity(_: &Toy) -> String {
        "a toy".to_owned()
    }

    fn assemble(self, site: Site<Event>) -> Assembly<Toy, Hands> {
        let front = Front::new(site.inbox, site.gate);
        let _ = self.0.send((front.clone(), site.ending.clone()));
        let performer = Hands {
            front,
            ending: site.ending,
        };
        Assembly {
            machine: Toy::default(),
            performer,
            services: nemcon_node::server::Services::default(),
        }
    }

    fn figures(_: &Toy, _: Millis) -> Figures {
        Figures {
            in_doubt: 7,
            ..Figures::default()
        }
    }

    fn drain_requested() -> Event {
        Event::DrainRequested
    }
}

fn settings(dir: &Path) -> Settings {
    Settings::new("127.0.0.1:0".parse().unwrap(), dir.join("data"))
}

fn start(settings: Settings) -> Result<(NodeHandle, ToyFront, Ending), NodeError> {
    let (shell, front) = oneshot::channel();
    let node = node::start("toy", settings, ToyShell(shell))?;
    let (front, ending) = front.blocking_recv().unwrap();
    Ok((node, front, ending))
}

/// Runs a future to its end, on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limit = Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(limit, future).await.unwrap() })
}

fn refused(settings: Settings) -> String {
    match start(settings) {
        Ok(_) => panic!("it should not have started"),
        Err(error) => Chain(&error).to_string(),
    }
}

#[test]
fn what_was_answered_outlives_the_node() {
    let dir = tempfile::tempdir().unwrap();
    for life in 1..=3 {
        let (node, front, _) = start(settings(dir.path())).unwrap();
        assert_eq!(wait(front.ask(Event::Peek)), Ok(life - 1));
        assert_eq!(wait(front.ask(Event::Add)), Ok(life));
        node.stop();
        node.join().unwrap();
        assert_eq!(wait(front.ask(Event::Peek)), Err(NoAnswer::NotServing));
    }
}

#[test]
fn checkpoints_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.checkpoint = Due {
        records: 5,
        bytes: u64::MAX,
    };
    for life in 0..3 {
        let (node, front, _) = start(settings.clone()).unwrap();
        for add in 1..=40 {
            assert_eq!(wait(front.ask(Event::AddLazily)), Ok(life * 40 + add));
        }
        node.stop();
        node.join().unwrap();
    }
}

#[test]
fn health_says_whether_it_serves_and_the_ready_file_where() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let settings = Settings {
        ready_file: Some(ready.clone()),
        ..settings(dir.path())
    };
    let (node, _, _) = start(settings).unwrap();
    let url = std::fs::read_to_string(&ready).unwrap();
    assert_eq!(url.trim(), node.url());
    assert_eq!(node.url(), format!("http://{}", node.address()));
    let address = node.address();
    health::check(address).unwrap();
    node.stop();
    node.join().unwrap();
    assert!(!ready.exists(), "nobody is sent to where nobody is");
    let error = health::check(address).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no node answers at http://{address}")),
        "{error}"
    );
}

/// One request by HTTP: its status and its body.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[test]
fn the_http_port_shows_metrics_and_answers_probes() {
    let dir = tempfile::tempdir().unwrap();
    let (node, front, ending) = start(settings(dir.path())).unwrap();
    let address = node.http_address().unwrap();
    wait(front.ask(Event::Add)).unwrap();
    let (status, metrics) = ask(address, "GET /metrics");
    assert_eq!(status, 200, "{metrics}");
    for line in ["nemcon_ready 1", "nemcon_in_doubt 7"] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    let durable = |line: &&str| line.starts_with("nemcon_wal_flush_seconds_count ");
    let flushes = metrics.lines().find(durable).unwrap();
    assert!(!flushes.ends_with(" 0"), "{flushes}");
    assert_eq!(ask(address, "GET /healthz"), (200, "alive\n".into()));
    assert_eq!(ask(address, "GET /readyz"), (200, "serving\n".into()));
    assert_eq!(ask(address, "HEAD /metrics"), (200, String::new()));
    assert_eq!(ask(address, "POST /metrics").0, 405);
    assert_eq!(ask(address, "GET /").0, 404);
    // Somebody who connects and says nothing keeps nobody from anything.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address)).collect();
    assert_eq!(ask(address, "GET /healthz").0, 200);
    drop((silent, ending));
    node.stop();
    node.join().unwrap();
    assert!(TcpListener::bind(address).is_ok(), "the port is free again");
}

#[test]
fn a_taken_http_port_is_named_and_can_be_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let elsewhere = |http| Settings {
        http,
        ..settings(dir.path())
    };
    let error = refused(elsewhere(HttpListen::At(at)));
    assert!(
        error.contains(&at.to_string()) && error.contains("--http-listen"),
        "{error}"
    );
    let (node, _, _) = start(elsewhere(HttpListen::None)).unwrap();
    assert_eq!(node.http_address(), None);
    node.stop();
    node.join().unwrap();
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = refused(Settings {
        listen: address,
        ..settings(dir.path())
    });
    assert!(
        error.contains(&address.to_string()) && error.contains("--listen"),
        "{error}"
    );
    assert!(
        !dir.path().join("data").exists(),
        "the data directory was not touched"
    );
}

#[test]
fn a_data_directory_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (node, front, _) = start(settings(dir.path())).unwrap();
    let error = refused(settings(dir.path()));
    assert!(
        error.contains("data") && error.contains("in use"),
        "{error}"
    );
    assert_eq!(
        wait(front.ask(Event::Add)),
        Ok(1),
        "the first node does not mind"
    );
    node.stop();
    node.join().unwrap();
}

#[test]
fn it_does_not_open_itself_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let mut settings = Settings {
        listen: everywhere,
        ..settings(dir.path())
    };
    assert!(refused(settings.clone()).contains("--insecure"));
    settings.insecure = true;
    assert!(refused(settings).contains("--advertise"));
}

#[test]
fn a_node_can_be_ended_from_within_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (node, front, ending) = start(settings(dir.path())).unwrap();
    ending.refuse("somebody else has this name");
    wait(node.ended());
    assert_eq!(
        node.join().unwrap_err().to_string(),
        "somebody else has this name"
    );
    assert_eq!(wait(front.ask(Event::Peek)), Err(NoAnswer::NotServing));
}

#[test]
fn a_dropped_handle_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let (node, front, _) = start(settings(dir.path())).unwrap();
    let ended = node.ended();
    drop(node);
    wait(ended);
    assert_eq!(
        wait(front.ask(|_: RequestId| Event::Arm)),
        Err(NoAnswer::NotServing)
    );
}

#[test]
fn reflection_names_what_every_node_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _, _) = start(settings(dir.path())).unwrap();
    let services = wait(async {
        let channel = nemcon_net::channel(&node.url().parse().unwrap());
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel);
        let answers = client
            .server_reflection_info(tokio_stream::iter([ask]))
            .await
            .unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        match answer.message_response {
            Some(MessageResponse::ListServicesResponse(list)) => list.service,
            other => panic!("{other:?}"),
        }
    });
    let names: Vec<_> = services.into_iter().map(|service| service.name).collect();
    // The toy has no services of its own; what it knows of others it does not
    // serve is not listed.
    assert_eq!(
        names,
        ["nemcon.v1.MaintenanceService", "grpc.health.v1.Health"]
    );
    node.stop();
    node.join().unwrap();
}
