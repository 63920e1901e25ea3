//! One job in three steps, as a saga or as one transaction: what two accounts give a
//! third one gets, each at a bank of its own. Both write the same, so what differs is
//! the price of the one and of the other.

use nemcon_client::{AddressedOperation, ClientError, NewSaga};
use nemcon_core::saga::{Compensation, Definition, Operation, Retry, State, Step, StepName};
use nemcon_proto::bank::v1::Contra;

use super::Ground;
use crate::accounts::PLAIN;
use crate::chance::Chance;
use crate::fate::{Effect, Fate, Try};
use crate::plan::Manner;
use crate::population::Customer;

/// Most that one account gives, in cents.
const AMOUNT_MINOR_MAX: i64 = 100;

pub(super) async fn attempt(
    ground: &Ground,
    manner: Manner,
    chance: &mut Chance,
) -> Result<Try, ClientError> {
    let places = ground.population.at_different_banks(3, chance);
    let given = [(); 2].map(|()| chance.between(1, AMOUNT_MINOR_MAX));
    let legs = legs(ground, &places, given);
    let fate = match manner {
        Manner::Transaction => ground.one_shot(legs.into_iter().map(|leg| leg.go)).await?,
        Manner::Saga => saga(ground, legs).await?,
    };
    // What two give the third gets. A saga of which nothing is known may be half done.
    let effect = match (manner, &fate) {
        (Manner::Saga, Fate::Unknown) => Effect {
            low_minor: -given.iter().sum::<i64>(),
            high_minor: 0,
        },
        _ => Effect::of(0),
    };
    Ok(Try {
        kind: manner.as_str(),
        fate,
        effect,
    })
}

/// A step of the job, and what takes it back.
struct Leg {
    go: AddressedOperation,
    back: AddressedOperation,
}

fn legs(ground: &Ground, places: &[Customer], [first, second]: [i64; 2]) -> Vec<Leg> {
    let take = |from: Customer, amount| Leg {
        go: ground.withdraw(from, PLAIN, amount, Contra::Clearing),
        back: ground.deposit(from, PLAIN, amount, Contra::Clearing),
    };
    let give = |to: Customer, amount| Leg {
        go: ground.deposit(to, PLAIN, amount, Contra::Clearing),
        back: ground.withdraw(to, PLAIN, amount, Contra::Clearing),
    };
    match *places {
        [one, another, third] => vec![
            take(one, first),
            take(another, second),
            give(third, first + second),
        ],
        // A plan without three banks is refused before.
        _ => Vec::new(),
    }
}

/// Starts it, and follows it to its end.
async fn saga(ground: &Ground, legs: Vec<Leg>) -> Result<Fate, ClientError> {
    let client = ground.submitter.client();
    let saga = NewSaga::new(definition(legs));
    let ended = async {
        let mut view = client.start_saga(&saga).await?;
        let mut watch = client.watch_saga(saga.id).await?;
        while let Some(next) = watch.next().await? {
            view = next;
            if view.state == State::Stuck {
                break;
            }
        }
        Ok(view)
    };
    let view = match ended.await {
        Ok(view) => view,
        // It goes on without us.
        Err(ClientError::SagaUnknown { .. } | ClientError::Unreachable { .. }) => {
            return Ok(Fate::Unknown);
        }
        Err(error) => return Fate::of_error(error),
    };
    Ok(match (view.state, view.cause) {
        (State::Completed, _) => Fate::Committed,
        (State::Compensated, Some(cause)) => Fate::of_reason(&cause.refusal.reason),
        (State::Compensated, None) | (State::Running | State::Compensating | State::Stuck, _) => {
            Fate::Unknown
        }
    })
}

/// One step after the other.
fn definition(legs: Vec<Leg>) -> Definition {
    // An action that we have made ourselves is there.
    let operations = |(participant, it): AddressedOperation| -> Vec<Operation> {
        let made = it.action.into_iter();
        made.map(|action| Operation {
            participant: participant.clone(),
            action,
            read_only: it.read_only,
            inputs: Vec::new(),
        })
        .collect()
    };
    let mut last: Option<StepName> = None;
    let mut steps = Vec::with_capacity(legs.len());
    for (leg, name) in legs.into_iter().zip(["first", "second", "third"]) {
        let Ok(name) = StepName::new(name) else {
            continue;
        };
        steps.push(Step {
            name: name.clone(),
            depends_on: last.replace(name).into_iter().collect(),
            operations: operations(leg.go),
            compensation: Some(Compensation {
                operations: operations(leg.back),
                retry: Retry::COMPENSATION,
            }),
            // As everywhere here: no try is repeated.
            retry: Retry {
                attempts: 1,
                ..Retry::STEP
            },
            time_limit: None,
            pivot: false,
        });
    }
    Definition {
        steps,
        ..Definition::default()
    }
}
