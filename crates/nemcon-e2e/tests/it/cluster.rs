//! A coordinator and some banks, each a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nemcon_client::{BankClient, Client};
use nemcon_core::id::{ParticipantId, ParticipantName};
use nemcon_e2e::{Node, Process, binary, until};
use nemcon_net::Address;
use nemcon_proto::v1;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Request;
use tonic::transport::Channel;

/// How long anything may take that needs a few messages. Generous: tests run
/// unoptimised, beside each other, on small machines.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// After the last fault is healed, nothing may be in doubt for longer.
pub(crate) const DOUBT_MAX: Duration = Duration::from_secs(5);

/// How long a call without any waiting in it may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// The room there is for clusters: one takes one place, and one that must not be
/// disturbed takes all. Tests of one binary run side by side, and what a small
/// machine can do in a time that is written down it can only do for one of them.
static ROOM: Semaphore = Semaphore::const_new(PLACES as usize);
const PLACES: u32 = 64;

pub(crate) struct Cluster {
    // First, so that the nodes are dead before their directory goes.
    pub(crate) coordinator: Node,
    /// Shares the banks with the other, if there is one.
    second: Option<Node>,
    /// Inventories too, where a test has added some: to a coordinator they are alike.
    banks: BTreeMap<String, Node>,
    /// Whose data directory each bank has, as far as they have registered.
    ids: BTreeMap<String, ParticipantId>,
    dir: TempDir,
    _room: SemaphorePermit<'static>,
}

/// What a `nemcon` command said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// Its standard output, read as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn name(name: &str) -> ParticipantName {
    name.parse().unwrap()
}

/// A connection of its own.
pub(crate) fn channel(url: &str) -> Channel {
    nemcon_net::channel(&url.parse::<Address>().unwrap())
}

impl Cluster {
    /// Makes a cluster and starts nothing.
    pub(crate) async fn new(banks: &[&str]) -> Self {
        Self::with_room(banks, 1).await
    }

    /// Starts a cluster of two coordinators that share the banks, beside which no
    /// other runs.
    pub(crate) async fn start_alone_with_two(banks: &[&str]) -> Self {
        let mut cluster = Self::with_room(banks, PLACES).await;
        let second = Node::new("coordinator-2", "nemcon-coordinator", &[], cluster.dir());
        let argument = format!("--coordinator={}", second.url());
        for bank in cluster.banks.values_mut() {
            bank.add_arguments(&[&argument]);
        }
        cluster.second = Some(second);
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster beside which no other runs.
    pub(crate) async fn start_alone(banks: &[&str]) -> Self {
        let mut cluster = Self::with_room(banks, PLACES).await;
        cluster.start_all().await;
        cluster
    }

    async fn with_room(banks: &[&str], places: u32) -> Self {
        // Built before the clock of any deadline runs.
        let _ = binary("nemcon");
        let room = ROOM.acquire_many(places).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let coordinator = Node::new("coordinator", "nemcon-coordinator", &[], dir.path());
        let mut cluster = Self {
            coordinator,
            second: None,
            banks: BTreeMap::new(),
            ids: BTreeMap::new(),
            dir,
            _room: room,
        };
        for bank in banks {
            cluster.add(bank, "nemcon-bank");
        }
        cluster
    }

    /// Adds a participant of any kind, and does not start it.
    pub(crate) fn add(&mut self, name: &str, program: &'static str) {
        let arguments = [
            format!("--name={name}"),
            format!("--coordinator={}", self.coordinator.url()),
        ];
        let node = Node::new(name, program, &arguments, self.dir());
        self.banks.insert(name.to_owned(), node);
    }

    /// Starts a cluster, and waits until every bank is registered.
    pub(crate) async fn start(banks: &[&str]) -> Self {
        let mut cluster = Self::new(banks).await;
        cluster.start_all().await;
        cluster
    }

    /// As [`Cluster::start`], for tests that keep transactions in flight by
    /// keeping them from their locks: these wait for locks as long as they need.
    pub(crate) async fn start_patient(banks: &[&str]) -> Self {
        let mut cluster = Self::new(banks).await;
        cluster.coordinator.add_arguments(&["--lock-wait-ms=60000"]);
        cluster.start_all().await;
        cluster
    }

    /// Starts all nodes, and waits until every bank is registered.
    pub(crate) async fn start_all(&mut self) {
        for node in self.nodes() {
            node.spawn();
        }
        for node in self.nodes() {
            node.serving().await;
        }
        self.complete().await;
        let views = self.client().participants().await.unwrap();
        let ids = views
            .into_iter()
            .map(|view| (view.name.to_string(), view.id));
        self.ids = ids.collect();
    }

    /// Where everything of this cluster is, and files of the test may be.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn bank(&self, name: &str) -> &Node {
        &self.banks[name]
    }

    pub(crate) fn bank_mut(&mut self, name: &str) -> &mut Node {
        self.banks.get_mut(name).unwrap()
    }

    /// The identity of a bank's data directory.
    pub(crate) fn id(&self, bank: &str) -> ParticipantId {
        self.ids[bank]
    }

    /// A node by its name; the coordinator's is `coordinator`.
    pub(crate) fn node_mut(&mut self, name: &str) -> &mut Node {
        match self.banks.get_mut(name) {
            Some(bank) => bank,
            None => &mut self.coordinator,
        }
    }

    pub(crate) fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        let coordinators = std::iter::once(&mut self.coordinator).chain(&mut self.second);
        coordinators.chain(self.banks.values_mut())
    }

    pub(crate) fn banks(&self) -> impl Iterator<Item = &Node> {
        self.banks.values()
    }

    /// The client that our users have, with all its patience.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.coordinator.url()).unwrap()
    }

    /// The same, of the second coordinator.
    pub(crate) fn second_client(&self) -> Client {
        let second = self.second.as_ref().expect("a second coordinator");
        Client::connect(&second.url()).unwrap()
    }

    /// A connection of its own that sends once, and shows statuses as they are.
    pub(crate) fn raw(&self) -> TransactionServiceClient<Channel> {
        TransactionServiceClient::new(channel(&self.coordinator.url()))
    }

    pub(crate) fn bank_client(&self, bank: &str) -> BankClient {
        BankClient::connect(&self.bank(bank).url()).unwrap()
    }

    /// Waits until every coordinator knows every bank and can reach it.
    pub(crate) async fn complete(&self) {
        self.complete_at(self.client()).await;
        if self.second.is_some() {
            self.complete_at(self.second_client()).await;
        }
    }

    async fn complete_at(&self, client: Client) {
        until("every bank is registered", SOON, async || {
            let views = client
                .participants()
                .await
                .map_err(|error| error.to_string())?;
            let reachable = |bank: &Node| {
                let mut views = views.iter();
                views.any(|view| view.name.as_str() == bank.name() && view.reachable)
            };
            match self.banks().find(|bank| !reachable(bank)) {
                Some(bank) => Err(format!("{} is not", bank.name())),
                None => Ok(()),
            }
        })
        .await;
    }

    /// What a bank is in doubt about.
    pub(crate) async fn in_doubt_at(&self, bank: &str) -> Result<Vec<v1::AttemptInDoubt>, String> {
        let mut service = ParticipantAdminServiceClient::new(channel(&self.bank(bank).url()));
        let mut request = Request::new(v1::ListAttemptsInDoubtRequest {});
        request.set_timeout(CALL_MAX);
        let response = service.list_in_doubt(request).await;
        response
            .map(|response| response.into_inner().attempts)
            .map_err(|status| format!("{bank}: {status}"))
    }

    /// Waits until all that a bank has done so far is durable there: its answer
    /// about damage leaves no sooner.
    pub(crate) async fn durable_at(&self, bank: &str) {
        let mut service = ParticipantAdminServiceClient::new(channel(&self.bank(bank).url()));
        service.list_damage(v1::ListDamageRequest {}).await.unwrap();
    }

    /// Waits until nothing is in doubt anywhere: nothing prepared without
    /// outcome at a bank, nothing decided and unacknowledged at the coordinator.
    pub(crate) async fn nothing_in_doubt(&self, within: Duration) {
        let client = self.client();
        until("nothing is in doubt", within, async || {
            for bank in self.banks.keys() {
                let attempts = self.in_doubt_at(bank).await?;
                if !attempts.is_empty() {
                    return Err(format!("{bank}: {attempts:?}"));
                }
            }
            match client.in_doubt().await {
                Ok(views) if views.is_empty() => Ok(()),
                other => Err(format!("coordinator: {other:?}")),
            }
        })
        .await;
    }

    /// Starts a `nemcon` command that talks to this cluster.
    pub(crate) fn spawn_nemcon(&self, label: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(binary("nemcon"));
        command
            .current_dir(self.dir())
            .args(arguments)
            .args(["--coordinator", &self.coordinator.url()]);
        Process::spawn(label, &mut command, self.dir())
    }

    /// Runs a `nemcon` command that talks to this cluster.
    pub(crate) async fn nemcon(&self, arguments: &[&str]) -> Told {
        let mut arguments = arguments.to_vec();
        let url = self.coordinator.url();
        arguments.extend(["--coordinator", &url]);
        nemcon(self.dir(), &arguments).await
    }
}

/// Runs a `nemcon` command.
pub(crate) async fn nemcon(dir: &Path, arguments: &[&str]) -> Told {
    let mut command = Command::new(binary("nemcon"));
    command.current_dir(dir).args(arguments);
    run("nemcon", &mut command, dir).await
}

/// Runs a program to its end.
pub(crate) async fn run(label: &str, command: &mut Command, dir: &Path) -> Told {
    let output = tempfile::tempdir_in(dir).unwrap();
    let mut process = Process::spawn(label, command, output.path());
    let status = process.ended(SOON).await;
    Told {
        exit: status.code().unwrap_or_else(|| panic!("{label}: {status}")),
        stdout: process.stdout(),
        stderr: process.stderr(),
    }
}
