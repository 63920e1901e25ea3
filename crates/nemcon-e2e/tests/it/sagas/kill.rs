//! The coordinator is killed in the middle of many sagas. All end, each of their
//! steps has happened once or was taken back, and none of it is left half.
//!
//! `scripts/sagas.sh` runs the long form: 10,000 sagas at once.

use std::sync::Arc;
use std::time::Duration;

use nemcon_client::{NewSaga, SagaList};
use nemcon_core::id::SagaId;
use nemcon_core::message::Payload;
use nemcon_core::saga::{Compensation, Definition, Operation, Reference, Retry, State, Step, View};
use nemcon_e2e::until;
use nemcon_proto::bank::v1::{Contra, Deposit};
use nemcon_proto::inventory::v1::{Release, Reserve};
use prost::{Message, Name};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{agency, stocks};
use crate::cluster::{Cluster, name};

/// Sagas that are asked for at the same time. They then run at the same time too:
/// whoever has started one starts the next.
const ASKING: usize = 256;

/// Of so many sagas one cannot be paid, and is taken back.
const UNPAID_OF: usize = 10;

/// How long all may take after the last fault.
const END_MAX: Duration = Duration::from_secs(600);

/// How many sagas.
fn sagas() -> usize {
    let is_long = std::env::var_os("NEMCON_SAGAS").is_some_and(|form| form == "long");
    if is_long { 10_000 } else { 200 }
}

fn does<A: Message + Name>(at: &str, action: &A, inputs: &[&str]) -> Operation {
    let of = |step: &&str| Reference {
        step: step.parse().unwrap(),
        operation: 0,
    };
    Operation {
        participant: name(at),
        action: Payload {
            type_url: A::type_url(),
            value: action.encode_to_vec(),
        },
        read_only: false,
        inputs: inputs.iter().map(of).collect(),
    }
}

/// Tried until it is known: what is in the way here goes away.
const PATIENT: Retry = Retry {
    attempts: 1_000,
    ..Retry::STEP
};

fn reserves(step: &str, at: &str, item: &str) -> Step {
    let item = item.to_owned();
    Step {
        name: step.parse().unwrap(),
        depends_on: vec![],
        operations: vec![does(at, &Reserve { item, count: 1 }, &[])],
        compensation: Some(Compensation {
            operations: vec![does(at, &Release::default(), &[step])],
            retry: PATIENT,
        }),
        retry: PATIENT,
        time_limit: None,
        pivot: false,
    }
}

/// A seat, a room, and a payment that its reference lets happen once.
fn trip(number: usize) -> NewSaga {
    let account = if number.is_multiple_of(UNPAID_OF) {
        "nobody"
    } else {
        "agency"
    };
    let deposit = Deposit {
        account: account.into(),
        amount_minor: 1,
        currency: crate::money::CURRENCY.into(),
        reference: format!("trip-{number}"),
        contra: Contra::Cash.into(),
    };
    let payment = Step {
        name: "payment".parse().unwrap(),
        depends_on: ["flight", "hotel"].map(|it| it.parse().unwrap()).into(),
        operations: vec![does("bank-b", &deposit, &[])],
        compensation: None,
        retry: PATIENT,
        time_limit: None,
        pivot: true,
    };
    NewSaga::new(Definition {
        steps: vec![
            reserves("flight", "flights", "OK-101"),
            reserves("hotel", "hotels", "Ritz"),
            payment,
        ],
        time_limit: None,
        label: String::new(),
    })
}

/// All sagas of the cluster.
async fn all(cluster: &Cluster) -> Result<Vec<View>, String> {
    let mut views = Vec::new();
    let mut below: Option<SagaId> = None;
    loop {
        let list = SagaList {
            states: vec![],
            below,
            max: Some(1_000),
        };
        let page = cluster.client().sagas(list).await;
        let page = page.map_err(|error| error.to_string())?;
        views.extend(page.views);
        below = page.below;
        if below.is_none() {
            return Ok(views);
        }
    }
}

#[tokio::test]
async fn a_coordinator_that_is_killed_ends_all_its_sagas_and_does_nothing_twice() {
    let count = sagas();
    let people = u32::try_from(count).unwrap();
    let mut cluster = agency(people, people).await;
    cluster.open("bank-b/agency", 0).await;
    let client = cluster.client();
    let room = Arc::new(Semaphore::new(ASKING));
    let mut asking = JoinSet::new();
    for number in 0..count {
        let (client, room) = (client.clone(), Arc::clone(&room));
        asking.spawn(async move {
            let _place = room.acquire().await.unwrap();
            // With all the patience of the client: it asks again through the kill.
            client.start_saga(&trip(number)).await
        });
    }
    let mut killed = false;
    let mut started = 0;
    while let Some(told) = asking.join_next().await {
        told.unwrap().unwrap();
        started += 1;
        if !killed && started >= count / 2 {
            cluster.coordinator.restart().await;
            killed = true;
        }
    }
    assert!(killed && started == count);
    // Once more when most of the starting is over, and some are under way.
    cluster.coordinator.restart().await;
    until("all sagas have ended", END_MAX, async || {
        let views = all(&cluster).await?;
        let ended = |view: &&View| matches!(view.state, State::Completed | State::Compensated);
        match views.iter().filter(ended).count() {
            ended if ended == count && views.len() == count => Ok(()),
            ended => Err(format!("{ended} of {} of {count} have", views.len())),
        }
    })
    .await;

    let views = all(&cluster).await.unwrap();
    let completed = views.iter().filter(|it| it.state == State::Completed);
    let paid = u32::try_from(completed.count()).unwrap();
    let unpaid = u32::try_from(count.div_ceil(UNPAID_OF)).unwrap();
    assert_eq!(paid, people - unpaid);
    // Each completed one has its seat and its room, once; of the others nothing is
    // left.
    let expected = (unpaid, paid, 0);
    assert_eq!(stocks(&cluster).await, (expected, expected));
    assert_eq!(cluster.balance("bank-b/agency").await, i64::from(paid));
    cluster.nothing_in_doubt(crate::cluster::SOON).await;
    let tried: u64 = views
        .iter()
        .flat_map(|view| &view.steps)
        .map(|step| u64::from(step.tries_in_all))
        .sum();
    println!("{count} sagas, {paid} completed, {unpaid} taken back, {tried} tries");
}
