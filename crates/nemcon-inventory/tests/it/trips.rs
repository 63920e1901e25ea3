//! Seats and rooms are taken together, or not at all, and stay so.

use std::path::Path;
use std::time::Duration;

use nemcon_client::{Client, Ending, Transaction, operation, result};
use nemcon_core::id::ParticipantName;
use nemcon_core::reason::Refusal;
use nemcon_node::node::NodeHandle;
use nemcon_node::settings;
use nemcon_participant::Settings;
use nemcon_proto::inventory::v1;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Generous: tests run unoptimised, beside each other, on small machines.
const REGISTERED_MAX: Duration = Duration::from_secs(30);

struct Agency {
    dir: TempDir,
    coordinator: NodeHandle,
    flights: NodeHandle,
    hotels: NodeHandle,
}

fn name(name: &str) -> ParticipantName {
    name.parse().unwrap()
}

fn node(dir: &Path) -> settings::Settings {
    let mut node = settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir);
    // Short, since a client that is gone would be waited for.
    node.limits.drain_max = Duration::from_millis(200);
    node
}

fn inventory(dir: &Path, called: &str, coordinator: &NodeHandle) -> NodeHandle {
    let urls = vec![coordinator.url().to_owned()];
    let settings = Settings::new(node(&dir.join(called)), name(called), urls);
    nemcon_inventory::start(settings).unwrap()
}

async fn stop(node: NodeHandle) {
    node.stop();
    tokio::task::spawn_blocking(|| node.join())
        .await
        .unwrap()
        .unwrap();
}

impl Agency {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = nemcon_coordinator::Settings::new(node(&dir.path().join("coordinator")));
        let coordinator = nemcon_coordinator::start(settings).unwrap();
        let [flights, hotels] =
            ["flights", "hotels"].map(|it| inventory(dir.path(), it, &coordinator));
        let agency = Self {
            dir,
            coordinator,
            flights,
            hotels,
        };
        agency.complete().await;
        agency
    }

    /// Waits until both are registered where they are now.
    async fn complete(&self) {
        let urls = [self.flights.url(), self.hotels.url()];
        let deadline = Instant::now() + REGISTERED_MAX;
        loop {
            let known = self.client().participants().await.unwrap();
            let there = |url: &&str| known.iter().any(|it| it.reachable && it.address == **url);
            if urls.iter().all(there) {
                return;
            }
            assert!(Instant::now() < deadline, "{known:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.coordinator.url()).unwrap()
    }

    async fn run(&self, transaction: Transaction) -> Ending {
        self.client()
            .run_until_decided(transaction)
            .await
            .unwrap()
            .ending
    }

    async fn add(&self, at: &str, item: &str, count: u32) {
        let add = v1::AddStock {
            item: item.into(),
            count,
        };
        let ending = self
            .run(Transaction::new([operation(&name(at), &add, false)]))
            .await;
        assert!(matches!(ending, Ending::Committed(_)), "{ending:?}");
    }

    async fn stock(&self, at: &str, item: &str) -> (u32, u32, u32) {
        let question = v1::GetStock { item: item.into() };
        match self
            .run(Transaction::new([operation(&name(at), &question, true)]))
            .await
        {
            Ending::Committed(Some(results)) => {
                let stock: v1::Stock = result(&results[0]).unwrap();
                assert_eq!(stock.item, item);
                (stock.free, stock.held, stock.confirmed)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes seats and rooms in one transaction; says which reservations they are.
    async fn take(&self, seats: u32, rooms: u32) -> Result<[v1::Reservation; 2], Refusal> {
        let reserve = |at, item: &str, count| {
            operation(
                &name(at),
                &v1::Reserve {
                    item: item.into(),
                    count,
                },
                false,
            )
        };
        let both = [
            reserve("flights", "OK-101", seats),
            reserve("hotels", "Ritz", rooms),
        ];
        match self.run(Transaction::new(both)).await {
            Ending::Committed(Some(results)) => Ok([0, 1].map(|at| result(&results[at]).unwrap())),
            Ending::Committed(None) => panic!("no results"),
            Ending::Aborted(cause) => Err(cause.refusal),
        }
    }

    async fn stop(self) {
        for node in [self.flights, self.hotels, self.coordinator] {
            stop(node).await;
        }
    }
}

#[tokio::test]
async fn both_are_taken_or_none() {
    let agency = Agency::start().await;
    agency.add("flights", "OK-101", 3).await;
    agency.add("hotels", "Ritz", 1).await;
    let [seats, room] = agency.take(2, 1).await.unwrap();
    assert_eq!((seats.reservation.as_str(), seats.count), ("OK-101/1", 2));
    assert_eq!(
        (room.reservation.as_str(), room.state()),
        ("Ritz/1", v1::ReservationState::Held)
    );
    let refusal = agency.take(1, 1).await.unwrap_err();
    assert_eq!(refusal.reason.as_str(), "SOLD_OUT");
    assert_eq!(refusal.message, "Ritz: 0 free, 1 wanted");
    assert_eq!(agency.stock("flights", "OK-101").await, (1, 2, 0));
    agency.stop().await;
}

#[tokio::test]
async fn what_was_taken_stays_taken_through_a_restart() {
    let mut agency = Agency::start().await;
    agency.add("flights", "OK-101", 3).await;
    agency.add("hotels", "Ritz", 2).await;
    let [seats, _] = agency.take(1, 1).await.unwrap();
    let confirm = v1::Confirm {
        reservation: seats.reservation,
    };
    let confirm = Transaction::new([operation(&name("flights"), &confirm, false)]);
    assert!(matches!(agency.run(confirm).await, Ending::Committed(_)));

    stop(agency.flights).await;
    agency.flights = inventory(agency.dir.path(), "flights", &agency.coordinator);
    agency.complete().await;
    assert_eq!(agency.stock("flights", "OK-101").await, (2, 0, 1));
    let [next, _] = agency.take(1, 1).await.unwrap();
    assert_eq!(next.reservation, "OK-101/2");
    agency.stop().await;
}
