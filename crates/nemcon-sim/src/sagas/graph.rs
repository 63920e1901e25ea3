//! Random graphs of up to twelve steps.

use nemcon_core::codec::Codec;
use nemcon_core::id::ParticipantName;
use nemcon_core::message::Payload;
use nemcon_core::saga::{
    Compensation, Definition, Graph, Operation, Reference, Retry, Step, StepName,
};
use nemcon_core::time::Span;

use super::tally::Action;
use crate::chance::{Chance, Stream};

/// How many participants there are.
pub(super) const PARTICIPANTS: usize = 3;

/// Steps of the largest graph.
const STEPS_MAX: u64 = 12;

pub(super) fn participant(at: usize) -> ParticipantName {
    ParticipantName::new(format!("p{at}")).expect("a name")
}

pub(super) fn step_name(at: usize) -> StepName {
    StepName::new(format!("s{at}")).expect("a name")
}

/// The saga of a seed. Its definition is legal.
#[must_use]
pub fn definition(seed: u64) -> Definition {
    let mut chance = Chance::new(seed, Stream::Plan);
    let count = usize::try_from(chance.between(1, STEPS_MAX)).unwrap_or(1);
    let pivot = chance.one_in(3).then(|| chance.place(count));
    let mut steps: Vec<Step> = (0..count).map(|at| step(at, pivot, &mut chance)).collect();
    // Steps may stand in any order.
    if chance.one_in(2) {
        steps.reverse();
    }
    let definition = Definition {
        steps,
        time_limit: None,
        label: String::new(),
    };
    Graph::new(definition.clone()).expect("a legal graph");
    definition
}

fn step(at: usize, pivot: Option<usize>, chance: &mut Chance) -> Step {
    let mut depends_on: Vec<usize> = (0..at).filter(|_| chance.one_in(3)).collect();
    match pivot {
        // All before it come before it, and all others after it.
        Some(pivot) if at == pivot => depends_on = (0..at).collect(),
        Some(pivot) if at > pivot && !depends_on.contains(&pivot) => depends_on.push(pivot),
        Some(_) | None => {}
    }
    let inputs: Vec<Reference> = depends_on
        .iter()
        .filter(|_| chance.one_in(2))
        .map(|from| Reference {
            step: step_name(*from),
            operation: 0,
        })
        .collect();
    let places: Vec<usize> = (0..PARTICIPANTS).filter(|_| chance.one_in(2)).collect();
    let places = if places.is_empty() {
        vec![chance.place(PARTICIPANTS)]
    } else {
        places
    };
    let operations = |amount: i64, inputs: &[Reference]| -> Vec<Operation> {
        let operation = |place: &usize| Operation {
            participant: participant(*place),
            action: payload(Action {
                step: number(at),
                amount,
                inputs: number(inputs.len()),
            }),
            read_only: false,
            inputs: inputs.to_vec(),
        };
        places.iter().map(operation).collect()
    };
    let own = [Reference {
        step: step_name(at),
        operation: 0,
    }];
    let back = Compensation {
        operations: operations(-1, if chance.one_in(2) { &[] } else { &own }),
        retry: Retry {
            attempts: 4,
            pause_first: Span(10),
            pause_max: Span(500),
            try_timeout: None,
        },
    };
    let beyond = pivot.is_some_and(|pivot| at >= pivot);
    Step {
        name: step_name(at),
        depends_on: depends_on.into_iter().map(step_name).collect(),
        operations: operations(1, &inputs),
        compensation: (!beyond || chance.one_in(3)).then_some(back),
        retry: Retry {
            attempts: 4,
            pause_first: Span(10),
            pause_max: Span(500),
            try_timeout: Some(Span::from_secs(3)),
        },
        time_limit: None,
        pivot: pivot == Some(at),
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn payload(action: Action) -> Payload {
    Payload {
        type_url: "action".into(),
        value: action.to_bytes(),
    }
}
