//! A saga of which a restored coordinator does not know how far it came: nothing turns
//! it back by itself, and what people say of its pivot decides.

use nemcon_core::coordinator::event::{Effect, Event, Reply};
use nemcon_core::coordinator::record::Record;
use nemcon_core::coordinator::{Coordinator, Output, Settings};
use nemcon_core::id::{
    CoordinatorId, Epoch, Lsn, ParticipantId, ParticipantName, RequestId, SagaId, TransactionId,
};
use nemcon_core::machine::{Machine, Wake};
use nemcon_core::message::{OperationsHash, Payload};
use nemcon_core::reason::Reason;
use nemcon_core::saga::{
    Definition, Fact, Operation, Resolution, Retry, State, Step, StepName, StepState, View, Way,
};
use nemcon_core::time::{Millis, Span};
use uuid::Uuid;

const START: Millis = Millis(1_000_000_000);
const LIMIT: Span = Span::from_secs(60);

fn saga() -> SagaId {
    SagaId::from_parts(START, 1)
}

/// One step, which is the pivot.
fn definition() -> Definition {
    let step = Step {
        name: StepName::new("pay").expect("a name"),
        depends_on: Vec::new(),
        operations: vec![Operation {
            participant: ParticipantName::new("a").expect("a name"),
            action: Payload::default(),
            read_only: false,
            inputs: Vec::new(),
        }],
        compensation: None,
        retry: Retry::STEP,
        time_limit: None,
        pivot: true,
    };
    Definition {
        steps: vec![step],
        time_limit: Some(LIMIT),
        ..Definition::default()
    }
}

/// The backup was taken while the pivot was tried.
fn log() -> Vec<Record> {
    let fact = |fact| Record::Saga {
        saga: saga(),
        fact: Box::new(fact),
    };
    vec![
        Record::Started {
            identity: CoordinatorId::new(Uuid::from_u128(0xc0)),
            epoch: Epoch(1),
            at: START,
        },
        Record::Registered {
            name: ParticipantName::new("a").expect("a name"),
            id: ParticipantId::new(Uuid::from_u128(0xa)),
            address: String::from("p"),
            began: None,
            promised: None,
            restored: None,
        },
        fact(Fact::Started {
            definition: definition(),
            hash: OperationsHash([1; 32]),
            at: START,
        }),
        fact(Fact::Tried {
            step: 0,
            way: Way::Forward,
            transaction: TransactionId::from_parts(START, 2),
            at: START,
        }),
        Record::Restored {
            id: 7,
            at: START,
            lost_at: START,
            epoch: Epoch(9),
            before: None,
        },
    ]
}

struct Node {
    machine: Coordinator,
    now: Millis,
    lsn: Lsn,
}

impl Node {
    fn restored() -> Self {
        let identity = CoordinatorId::new(Uuid::from_u128(0xc0));
        let settings = Settings::new(String::from("c"), identity, 1);
        let mut machine = Coordinator::new(settings);
        let mut lsn = Lsn(0);
        for record in log() {
            lsn = lsn.next();
            machine.replay(lsn, record).expect("a record of ours");
        }
        let mut node = Self {
            machine,
            now: START + Span::from_secs(10),
            lsn,
        };
        let mut out = Output::starting_at(lsn.next());
        node.machine.recovered(node.now, &mut out);
        node.settle(out);
        node
    }

    /// All that was appended is durable. What is said then comes back.
    fn settle(&mut self, mut out: Output) -> Vec<Effect> {
        let mut said = Vec::new();
        loop {
            let last = out.take_records().last().map(|(lsn, _)| *lsn);
            said.append(&mut out.now);
            said.append(&mut out.after);
            said.append(&mut out.later);
            let Some(last) = last else {
                return said;
            };
            self.lsn = last;
            let durable = Event::Wake(Wake::Durable(self.lsn));
            self.machine.step(self.now, durable, &mut out);
        }
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Output::starting_at(self.lsn.next());
        self.machine.step(self.now, event, &mut out);
        self.settle(out)
    }

    /// The answer to a request.
    fn ask(&mut self, event: Event) -> Result<View, Reason> {
        let mut replies = self
            .tell(event)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Reply { reply, .. } => Some(reply),
                _ => None,
            });
        match replies.next_back().expect("an answer") {
            Reply::Saga(view) => Ok(view),
            Reply::Refused(refusal) => Err(refusal.reason),
            other => panic!("{other:?}"),
        }
    }

    fn resolve(&mut self, resolution: Resolution) -> Result<View, Reason> {
        self.ask(Event::SagaStepResolved {
            request: RequestId(1),
            saga: saga(),
            step: StepName::new("pay").expect("a name"),
            resolution,
            who: String::from("jana"),
            why: String::from("looked"),
        })
    }

    fn resume(&mut self) -> Result<View, Reason> {
        self.ask(Event::SagaResumeRequested {
            request: RequestId(1),
            saga: saga(),
            who: String::from("jana"),
            why: String::from("looked"),
        })
    }

    fn cancel(&mut self) -> Result<View, Reason> {
        self.ask(Event::SagaCancelRequested {
            request: RequestId(1),
            saga: saga(),
            why: String::new(),
        })
    }

    /// Long after its time limit.
    fn wait(&mut self) {
        self.now = self.now + LIMIT + LIMIT;
        self.tell(Event::Wake(Wake::DeadlinePassed));
    }

    fn state(&self) -> State {
        self.machine.saga(saga()).expect("it is known").state
    }
}

#[test]
fn a_pivot_that_took_effect_is_not_followed_by_a_way_back() {
    let mut node = Node::restored();
    node.wait();
    assert_eq!(node.cancel(), Err(Reason::SAGA_NOT_CANCELLABLE));
    assert_eq!(
        node.state(),
        State::Stuck,
        "nobody knows whether it is done"
    );
    node.resolve(Resolution::Done)
        .expect("people say that it is");
    let view = node.resume().expect("it can go on");
    assert_eq!(view.state, State::Completed);
}

#[test]
fn the_time_limit_of_a_saga_counts_again_when_it_is_resumed() {
    let mut node = Node::restored();
    node.wait();
    assert_eq!(node.resume(), Err(Reason::SAGA_NOT_RESOLVABLE));
    let view = node.resolve(Resolution::Retry).expect("it is tried anew");
    assert_eq!(view.state, State::Stuck, "until it is resumed");
    node.resume().expect("it can go on");
    node.tell(Event::Wake(Wake::DeadlinePassed));
    assert_eq!(node.state(), State::Compensated);
}

#[test]
fn to_say_twice_that_nothing_of_a_step_is_left_is_no_mistake() {
    let mut node = Node::restored();
    for _ in 0..2 {
        let view = node.resolve(Resolution::Compensated).expect("so it is");
        assert_eq!(view.steps[0].state, StepState::Failed);
    }
    let view = node.resume().expect("it can go on");
    assert_eq!(view.state, State::Compensated);
}
