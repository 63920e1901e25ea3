//! What is wrong with a saga's definition is said before anything runs, and names the
//! step.

use nemcon_core::id::ParticipantName;
use nemcon_core::limits;
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::{
    Compensation, Definition, Graph, Invalid, Operation, Reference, Retry, Step, StepName,
};
use nemcon_core::time::Span;

fn name(name: &str) -> StepName {
    StepName::new(name).expect("a name")
}

fn operation() -> Operation {
    Operation {
        participant: ParticipantName::new("a").expect("a name"),
        action: Payload::default(),
        read_only: false,
        inputs: Vec::new(),
    }
}

fn step(of: &str, depends_on: &[&str]) -> Step {
    Step {
        name: name(of),
        depends_on: depends_on.iter().map(|it| name(it)).collect(),
        operations: vec![operation()],
        compensation: Some(Compensation {
            operations: vec![operation()],
            retry: Retry::COMPENSATION,
        }),
        retry: Retry::STEP,
        time_limit: None,
        pivot: false,
    }
}

fn check(steps: Vec<Step>) -> Result<Graph, Invalid> {
    Graph::new(Definition {
        steps,
        ..Definition::default()
    })
}

fn refused(steps: Vec<Step>) -> String {
    check(steps).expect_err("a wrong definition").to_string()
}

fn input(from: &str, operation: u32) -> Reference {
    Reference {
        step: name(from),
        operation,
    }
}

#[test]
fn steps_follow_what_they_depend_on() {
    let graph = check(vec![
        step("c", &["a", "b", "a"]),
        step("a", &[]),
        step("b", &["a"]),
    ]);
    let graph = graph.expect("a legal graph");
    assert_eq!(graph.order(), [1, 2, 0]);
    assert_eq!(graph.needs(0), [1, 2]);
    assert_eq!(graph.needed_by(1), [0, 2]);
    assert_eq!(graph.pivot(), None);
}

#[test]
fn names_and_dependencies_are_checked() {
    assert_eq!(refused(Vec::new()), "0 steps: want 1 to 1000");
    let many = (0..=limits::SAGA_STEPS_MAX).map(|at| step(&format!("s{at}"), &[]));
    assert_eq!(refused(many.collect()), "1001 steps: want 1 to 1000");
    assert_eq!(
        refused(vec![step("a", &[]), step("a", &[])]),
        "step a: there are two of this name: want each to have its own"
    );
    assert_eq!(
        refused(vec![step("pay", &["order"])]),
        "step pay depends on order, which is no step of this saga"
    );
    assert_eq!(
        refused(vec![step("a", &["a"])]),
        "step a waits for itself: a → a"
    );
    let circle = vec![
        step("d", &["c"]),
        step("a", &["b"]),
        step("b", &["c"]),
        step("c", &["a"]),
    ];
    assert_eq!(refused(circle), "step c waits for itself: c → a → b → c");
}

#[test]
fn the_largest_graph_is_taken() {
    let name_of = |at: usize| format!("s{at}");
    let steps = (0..limits::SAGA_STEPS_MAX).map(|at| {
        let before: Vec<String> = (at.saturating_sub(3)..at).map(name_of).collect();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        step(&name_of(at), &before)
    });
    assert!(check(steps.collect()).is_ok());
}

#[test]
fn what_cannot_be_taken_back_comes_at_a_pivot_or_after_it() {
    let bare = |of: &str, depends_on: &[&str]| Step {
        compensation: None,
        ..step(of, depends_on)
    };
    let pivot = |of: &str, depends_on: &[&str]| Step {
        pivot: true,
        ..bare(of, depends_on)
    };
    let no = refused(vec![bare("a", &[])]);
    assert!(
        no.starts_with("step a has no compensation: want one"),
        "{no}"
    );
    let reads = Step {
        operations: vec![Operation {
            read_only: true,
            ..operation()
        }],
        ..bare("a", &[])
    };
    assert!(check(vec![reads]).is_ok());
    let beyond = vec![step("a", &[]), pivot("b", &["a"]), bare("c", &["b"])];
    assert_eq!(check(beyond).expect("a legal graph").pivot(), Some(1));
    let no = refused(vec![bare("a", &[]), pivot("b", &["a"])]);
    assert!(no.starts_with("step a has no compensation"), "{no}");
    let no = refused(vec![step("a", &[]), pivot("b", &[])]);
    assert!(
        no.starts_with("step a is neither before nor after the pivot b"),
        "{no}"
    );
    let ordered = vec![pivot("b", &["a"]), pivot("a", &[])];
    assert_eq!(check(ordered).expect("a legal graph").pivot(), Some(1));
}

#[test]
fn inputs_come_from_before() {
    let uses = |of: &str, depends_on: &[&str], from: Reference| Step {
        operations: vec![Operation {
            inputs: vec![from],
            ..operation()
        }],
        ..step(of, depends_on)
    };
    let far = vec![
        step("a", &[]),
        step("b", &["a"]),
        uses("c", &["b"], input("a", 0)),
    ];
    let graph = check(far).expect("a legal graph");
    assert!(graph.wanted(0).is_some_and(|it| it.contains(&0)));
    assert_eq!(
        refused(vec![step("a", &[]), uses("b", &[], input("a", 0))]),
        "step b, operation 0: input 0 names a, which b does not depend on: want a step before it"
    );
    assert_eq!(
        refused(vec![step("a", &[]), uses("b", &["a"], input("a", 1))]),
        "step b, operation 0: input 0 names a, operation 1: it has 1, counted from 0"
    );
    assert_eq!(
        refused(vec![uses("b", &[], input("x", 0))]),
        "step b, operation 0: input 0 names x, which is no step of this saga"
    );
    assert!(check(vec![uses("b", &[], input("b", 0))]).is_err());
    let mut own = step("a", &[]);
    if let Some(back) = &mut own.compensation {
        back.operations[0].inputs = vec![input("a", 0)];
    }
    assert!(check(vec![own]).is_ok(), "a compensation uses its own step");
}

#[test]
fn numbers_have_limits() {
    let with = |change: fn(&mut Step)| {
        let mut step = step("a", &[]);
        change(&mut step);
        refused(vec![step])
    };
    assert_eq!(
        with(|it| it.operations.clear()),
        "step a: operations 0: want 1 to 1000"
    );
    assert_eq!(
        with(|it| it.retry.attempts = 0),
        "step a: attempts 0: want 1 to 10000"
    );
    let no = with(|it| it.retry.pause_max = Span(1));
    assert!(no.starts_with("step a: longest pause 1 ms"), "{no}");
    let no = with(|it| it.retry.try_timeout = Some(Span(300_001)));
    assert_eq!(
        no,
        "step a: time-out of a try 300001 ms: want 1 ms to 300000 ms"
    );
    assert!(with(|it| it.time_limit = Some(Span(0))).starts_with("step a: time limit 0 ms"));
    let no = with(|it| it.operations[0].inputs = vec![input("a", 0); limits::INPUTS_MAX + 1]);
    assert_eq!(no, "step a: inputs 33: want at most 32 of one operation");
    let no = with(|it| it.operations[0].action.value = vec![0; limits::SAGA_BYTES_MAX]);
    assert!(no.starts_with("the definition takes 1048"), "{no}");
}

#[test]
fn a_refusal_has_the_sentence() {
    let invalid = check(vec![step("pay", &["order"])]).expect_err("a wrong definition");
    let refusal = Refusal::from(invalid.clone());
    assert_eq!(refusal.reason, Reason::INVALID_REQUEST);
    assert_eq!(refusal.message, invalid.to_string());
}
