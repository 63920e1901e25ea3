//! Sagas go to the wire and back; mistakes are named.

use nemcon_core::coordinator::record::Cause;
use nemcon_core::message::Payload;
use nemcon_core::reason::Refusal;
use nemcon_core::saga::{
    Compensation, Hand, Operation, Reference, Retry, Step, StepState, StepView,
};
use nemcon_core::time::{Millis, Span};
use prost::Message;

use super::definition::retry;
use super::*;
use crate::convert::sample;
use crate::convert::value::any;

fn id() -> SagaId {
    SagaId::from_parts(Millis(1_700_000_000_000), 7)
}

fn name(name: &str) -> StepName {
    name.parse().unwrap()
}

fn operation(at: &str, inputs: &[&str]) -> Operation {
    let named = |(at, step): (usize, &&str)| Reference {
        step: name(step),
        operation: u32::try_from(at).unwrap(),
    };
    Operation {
        participant: sample::name(at),
        action: Payload {
            type_url: "type.googleapis.com/x.Y".into(),
            value: vec![1, 2],
        },
        read_only: at == "bank-a",
        inputs: inputs.iter().enumerate().map(named).collect(),
    }
}

fn definition() -> Definition {
    let flight = Step {
        name: name("flight"),
        depends_on: vec![],
        operations: vec![operation("flights", &[])],
        compensation: Some(Compensation {
            operations: vec![operation("flights", &["flight"])],
            retry: Retry::COMPENSATION,
        }),
        retry: Retry::STEP,
        time_limit: Some(Span(5_000)),
        pivot: false,
    };
    let payment = Step {
        name: name("payment"),
        depends_on: vec![name("flight")],
        operations: vec![operation("bank-a", &["flight", "flight"])],
        compensation: None,
        retry: Retry {
            try_timeout: Some(Span(700)),
            ..Retry::STEP
        },
        time_limit: None,
        pivot: true,
    };
    Definition {
        steps: vec![flight, payment],
        time_limit: Some(Span(60_000)),
        label: "a trip".into(),
    }
}

fn start() -> SagaStart {
    SagaStart {
        saga: Some(id()),
        definition: definition(),
        first_sent_to: Some(sample::coordinator()),
    }
}

const STEP_STATES: [StepState; 10] = [
    StepState::Waiting,
    StepState::Trying,
    StepState::Pausing,
    StepState::Done,
    StepState::Failed,
    StepState::Stuck,
    StepState::Compensating,
    StepState::CompensationPausing,
    StepState::Compensated,
    StepState::CompensationStuck,
];

fn view(state: State) -> View {
    let [cause, _] = sample::causes();
    let step = |(at, state): (usize, &StepState)| StepView {
        name: name(&format!("step-{at}")),
        state: *state,
        tries: 1,
        tries_in_all: 4,
        transaction: (at > 0).then(sample::transaction),
        began_at: (at > 0).then_some(Millis(2_000)),
        changed_at: Millis(3_000),
        cause: (at > 3).then(|| cause.clone()),
        depends_on: (at > 0).then(|| name("step-0")).into_iter().collect(),
        pivot: at == 5,
    };
    let hand = |step, resolution| Hand {
        who: "jana".into(),
        why: "by phone".into(),
        at: Millis(4_000),
        step,
        resolution,
    };
    let ended = matches!(state, State::Completed | State::Compensated);
    View {
        saga: id(),
        label: "a trip".into(),
        state,
        cause: (state != State::Running).then(|| cause.clone()),
        stuck: (state == State::Stuck).then(|| cause.refusal.clone()),
        beyond_pivot: state == State::Running,
        started_at: Millis(1_000),
        turned_at: (state != State::Running).then_some(Millis(2_500)),
        ended_at: ended.then_some(Millis(9_000)),
        steps: STEP_STATES.iter().enumerate().map(step).collect(),
        hands: vec![
            hand(Some(9), Some(Resolution::Compensated)),
            hand(Some(5), Some(Resolution::Done)),
            hand(Some(5), Some(Resolution::Retry)),
            hand(None, None),
        ],
    }
}

#[test]
fn a_start_goes_there_and_back() {
    let there = v1::StartSagaRequest::from(start());
    assert_eq!(SagaStart::try_from(there), Ok(start()));
}

#[test]
fn no_view_takes_more_than_it_says() {
    let longest = |at: usize| name(&format!("{at:0>64}"));
    let mut large = view(State::Stuck);
    large.label = "x".repeat(500);
    let [cause, _] = sample::causes();
    let cause = Cause {
        participant: Some("p".repeat(64).parse().unwrap()),
        refusal: Refusal {
            message: "m".repeat(2_000),
            ..cause.refusal
        },
    };
    large.cause = Some(cause.clone());
    large.stuck = Some(cause.refusal.clone());
    for (at, step) in large.steps.iter_mut().enumerate() {
        step.name = longest(at);
        (step.tries, step.tries_in_all) = (u32::MAX, u32::MAX);
        step.transaction = Some(sample::transaction());
        (step.began_at, step.changed_at) = (Some(Millis(253_402_300_799_999)), Millis(1));
        step.cause = Some(cause.clone());
        step.depends_on = (0..at).map(longest).collect();
        step.pivot = true;
    }
    for view in [view(State::Running), view(State::Compensated), large] {
        let bytes = v1::Saga::from(view.clone()).encoded_len();
        assert!(
            bytes <= view.bytes(),
            "{bytes} is more than {}",
            view.bytes()
        );
        let twice = 2 * bytes + 8 * 1_024;
        assert!(
            view.bytes() <= twice,
            "{} is far more than {bytes}",
            view.bytes()
        );
    }
}

#[test]
fn a_view_goes_there_and_back() {
    for state in [
        State::Running,
        State::Compensating,
        State::Stuck,
        State::Completed,
        State::Compensated,
    ] {
        let there = v1::GetSagaResponse::from(view(state));
        assert_eq!(View::try_from(there), Ok(view(state)));
    }
    let page = SagaPage::new(vec![view(State::Stuck)], true);
    assert_eq!(page.below, Some(id()));
    let there = v1::ListSagasResponse::from(page.clone());
    assert_eq!(SagaPage::try_from(there), Ok(page));
}

#[test]
fn questions_and_decisions_go_there_and_back() {
    let list = SagaList {
        states: vec![State::Stuck, State::Running],
        below: Some(id()),
        max: Some(7),
    };
    let there = v1::ListSagasRequest::from(list.clone());
    assert_eq!(SagaList::try_from(there), Ok(list));
    let decision = SagaStepDecision {
        decision: SagaDecision {
            saga: id(),
            who: "jana".into(),
            why: "by phone".into(),
        },
        step: name("hotel"),
        resolution: Resolution::Compensated,
    };
    let there = v1::ResolveSagaStepRequest::from(decision.clone());
    assert_eq!(SagaStepDecision::try_from(there), Ok(decision));
}

#[test]
fn what_is_left_out_is_as_usual() {
    assert_eq!(retry(None, Retry::STEP), Retry::STEP);
    let said = v1::SagaRetry {
        attempts: 2,
        pause_first_ms: 60_000,
        ..v1::SagaRetry::default()
    };
    let read = retry(Some(said), Retry::COMPENSATION);
    assert_eq!(read.attempts, 2);
    assert_eq!(
        (read.pause_first, read.pause_max),
        (Span(60_000), Span(60_000))
    );
}

/// The path of the first field that is wrong, and what is said of it.
fn wrong(change: impl FnOnce(&mut v1::StartSagaRequest)) -> String {
    let mut request = v1::StartSagaRequest::from(start());
    change(&mut request);
    SagaStart::try_from(request).unwrap_err().to_string()
}

fn step(request: &mut v1::StartSagaRequest) -> &mut v1::SagaStepDefinition {
    &mut request.definition.as_mut().unwrap().steps[1]
}

#[test]
fn mistakes_name_the_field_its_value_and_what_is_allowed() {
    let told = wrong(|it| it.definition = None);
    assert_eq!(told, "definition is missing: want a value");
    let told = wrong(|it| it.saga_id = "7".into());
    assert!(told.starts_with("saga_id \"7\": want a UUID"), "{told}");
    let told = wrong(|it| step(it).name = "a b".into());
    assert!(
        told.starts_with("definition.steps[1].name \"a b\": want 1 to 64"),
        "{told}"
    );
    let told = wrong(|it| step(it).depends_on[0].clear());
    assert!(
        told.starts_with("definition.steps[1].depends_on[0] is missing"),
        "{told}"
    );
    let told = wrong(|it| step(it).operations[0].action = None);
    assert!(
        told.starts_with("definition.steps[1].operations[0].action is missing"),
        "{told}"
    );
    let told = wrong(|it| {
        step(it).operations[0].inputs[1].value = Some(any(Payload::default()));
    });
    assert_eq!(
        told,
        "definition.steps[1].operations[0].inputs[1].value is there: want none: in the \
         definition of a saga an input names a step"
    );
    let told = wrong(|it| it.definition.as_mut().unwrap().label = "x".repeat(501));
    assert!(told.starts_with("definition.label"), "{told}");
}

#[test]
fn who_decides_says_who_and_why() {
    let request = v1::ResumeSagaRequest {
        saga_id: id().to_string(),
        operator: " ".into(),
        reason: "by phone".into(),
    };
    let error = SagaDecision::try_from(request).unwrap_err();
    assert_eq!(error.field, "operator");
    let request = v1::ResolveSagaStepRequest {
        saga_id: id().to_string(),
        step: "hotel".into(),
        ..v1::ResolveSagaStepRequest::default()
    };
    let error = SagaStepDecision::try_from(request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resolution Unspecified: want SAGA_RESOLUTION_DONE, _COMPENSATED or _RETRY"
    );
}
