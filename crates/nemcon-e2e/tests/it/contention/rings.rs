//! Each has an account and wants the next one's, round in a circle. One gives way,
//! soon, and always the youngest.

use std::time::{Duration, Instant};

use nemcon_client::{Client, ClientError, Ending, Interactive, Terms};
use nemcon_core::id::TransactionId;
use nemcon_core::reason::Reason;
use tokio::task::JoinSet;

use super::{is_long, put, sized, take};
use crate::cluster::{Cluster, SOON};
use nemcon_e2e::until;

const ACCOUNT: &str = "ring";

/// From the last link of a ring until its victim is told, in the middle of many.
const BROKEN_WITHIN: Duration = Duration::from_millis(100);

/// Beside other tests it only has to be sooner than the locks' own limit, by far.
const BROKEN_SOONER: Duration = Duration::from_secs(2);

/// How a member of a ring ended.
enum Told {
    Committed,
    GaveWay { id: TransactionId, at: Instant },
}

#[tokio::test]
async fn a_ring_is_broken_by_one_coordinator() {
    let cluster = Cluster::start_alone(&banks()).await;
    rings(&cluster, &[cluster.client()]).await;
}

#[tokio::test]
async fn a_ring_is_broken_by_two_coordinators() {
    let cluster = Cluster::start_alone_with_two(&banks()).await;
    rings(&cluster, &[cluster.client(), cluster.second_client()]).await;
}

fn banks() -> Vec<&'static str> {
    vec![
        "bank-0", "bank-1", "bank-2", "bank-3", "bank-4", "bank-5", "bank-6", "bank-7", "bank-8",
        "bank-9",
    ]
}

/// Rings of 2, 3 and 10 transactions over as many banks, whose members take turns
/// with the coordinators.
async fn rings(cluster: &Cluster, clients: &[Client]) {
    let banks = banks();
    for bank in &banks {
        cluster.open(&format!("{bank}/{ACCOUNT}"), 1_000_000).await;
    }
    let count = sized(100, 5);
    for size in [2, 3, 10] {
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(ring(clients, &banks[..size]).await);
        }
        times.sort_unstable();
        let (median, slowest) = (times[count / 2], times[count - 1]);
        println!(
            "{count} rings of {size} over as many banks, {} coordinators: broken after {median:?} \
             (median), {slowest:?} (slowest)",
            clients.len()
        );
        let limit = if is_long() {
            BROKEN_WITHIN
        } else {
            BROKEN_SOONER
        };
        assert!(median <= limit, "{median:?}, want {limit:?} at most");
    }
}

/// Closes one ring, and gives the time until it was broken.
async fn ring(clients: &[Client], banks: &[&'static str]) -> Duration {
    let size = banks.len();
    let mut members = Vec::new();
    for (bank, client) in banks.iter().zip(clients.iter().cycle()) {
        let mut member = client.begin(Terms::default()).await.unwrap();
        member.execute([take(bank, ACCOUNT, 1)]).await.unwrap();
        members.push(member);
    }
    let youngest = members.iter().map(Interactive::id).max();
    let last = members.pop().unwrap();
    let mut wait = JoinSet::new();
    for (member, next) in members.into_iter().zip(&banks[1..]) {
        wait.spawn(go_on(member, next));
    }
    until("all but the last wait", SOON, async || {
        let view = clients[0]
            .waits()
            .await
            .map_err(|error| error.to_string())?;
        let queues = view.reports.iter().flat_map(|(_, report)| &report.queues);
        match queues.map(|queue| queue.waiters.len()).sum::<usize>() {
            waiting if waiting == size - 1 => Ok(()),
            waiting => Err(format!("{waiting} of {}", size - 1)),
        }
    })
    .await;
    let closed = Instant::now();
    wait.spawn(go_on(last, banks[0]));
    let mut victims = Vec::new();
    while let Some(told) = wait.join_next().await {
        match told.unwrap() {
            Told::Committed => {}
            Told::GaveWay { id, at } => victims.push((id, at)),
        }
    }
    let ids: Vec<TransactionId> = victims.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, Vec::from_iter(youngest), "one victim, the youngest");
    victims[0].1.duration_since(closed)
}

/// Wants the next account too, and commits when it has it.
async fn go_on(mut member: Interactive, bank: &str) -> Told {
    let id = member.id();
    match member.execute([put(bank, ACCOUNT, 1)]).await {
        Ok(_) => {
            let ending = member.commit().await.unwrap().ending;
            assert!(matches!(ending, Ending::Committed(_)), "{id}: {ending:?}");
            Told::Committed
        }
        Err(ClientError::Refused(refused)) => {
            let at = Instant::now();
            assert_eq!(
                refused.refusal.reason,
                Reason::DEADLOCK,
                "{id}: {refused:?}"
            );
            Told::GaveWay { id, at }
        }
        Err(error) => panic!("{id}: {error}"),
    }
}
