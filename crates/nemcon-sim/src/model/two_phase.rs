//! Two-phase commit as textbooks have it: resource managers and a transaction
//! manager, without logs, crashes, locks or timers.
//!
//! A resource manager is working until it promises or gives up by itself. The
//! transaction manager commits when it has heard every promise, and may abort at
//! any time before that. What was said once can be heard for ever. With three
//! resource managers there are 288 states.

use stateright::{Model, Property};

/// How far a resource manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// It has promised nothing.
    Working,
    /// It has promised to commit.
    Prepared,
    /// It has committed.
    Committed,
    /// It has aborted.
    Aborted,
}

/// How far the transaction manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It has not decided.
    Open,
    /// It has decided to commit, and said so.
    Committed,
    /// It has decided to abort, and said so.
    Aborted,
}

/// The state of one transaction. Its last two sets have a bit for each manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The resource managers.
    pub managers: Vec<Manager>,
    /// The transaction manager.
    pub decision: Decision,
    /// Who has said that it promises.
    pub promised: u8,
    /// Of these, whom the transaction manager has heard.
    pub heard: u8,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The transaction manager hears a promise.
    HearPromise(usize),
    /// It decides to commit.
    Commit,
    /// It decides to abort.
    Abort,
    /// A resource manager promises.
    Promise(usize),
    /// A resource manager gives up.
    GiveUp(usize),
    /// A resource manager hears the decision.
    HearDecision(usize),
}

impl State {
    /// Nobody has done anything.
    #[must_use]
    pub fn beginning(managers: usize) -> Self {
        Self {
            managers: vec![Manager::Working; managers],
            decision: Decision::Open,
            promised: 0,
            heard: 0,
        }
    }

    /// What can happen now.
    #[must_use]
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.decision == Decision::Open {
            let everyone = (1 << self.managers.len()) - 1;
            if self.heard == everyone {
                actions.push(Action::Commit);
            }
            actions.push(Action::Abort);
        }
        for (at, manager) in self.managers.iter().enumerate() {
            let bit = 1 << at;
            if self.decision == Decision::Open && self.promised & bit & !self.heard != 0 {
                actions.push(Action::HearPromise(at));
            }
            if *manager == Manager::Working {
                actions.extend([Action::Promise(at), Action::GiveUp(at)]);
            }
            if self.decision != Decision::Open && *manager != self.told() {
                actions.push(Action::HearDecision(at));
            }
        }
        actions
    }

    /// What a resource manager is once it has heard the decision.
    const fn told(&self) -> Manager {
        match self.decision {
            Decision::Committed => Manager::Committed,
            Decision::Open | Decision::Aborted => Manager::Aborted,
        }
    }

    /// The state after `action`, which must be one of [`State::actions`].
    #[must_use]
    pub fn after(&self, action: Action) -> Self {
        let mut next = self.clone();
        match action {
            Action::HearPromise(at) => next.heard |= 1 << at,
            Action::Commit => next.decision = Decision::Committed,
            Action::Abort => next.decision = Decision::Aborted,
            Action::Promise(at) => {
                next.managers[at] = Manager::Prepared;
                next.promised |= 1 << at;
            }
            Action::GiveUp(at) => next.managers[at] = Manager::Aborted,
            Action::HearDecision(at) => next.managers[at] = self.told(),
        }
        next
    }

    /// Whether `next` is this state, or one step away from it.
    #[must_use]
    pub fn can_become(&self, next: &Self) -> bool {
        let mut steps = self.actions().into_iter();
        self == next || steps.any(|action| self.after(action) == *next)
    }
}

/// Two-phase commit of one transaction.
#[derive(Clone, Copy, Debug)]
pub struct TwoPhase {
    /// How many resource managers take part, at most 8.
    pub managers: usize,
}

impl Model for TwoPhase {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::beginning(self.managers)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.actions());
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.after(action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| {
                !(state.managers.contains(&Manager::Committed)
                    && state.managers.contains(&Manager::Aborted))
            }),
            Property::sometimes("all commit", |_, state: &State| {
                state.managers.iter().all(|it| *it == Manager::Committed)
            }),
            Property::sometimes("all abort", |_, state: &State| {
                state.managers.iter().all(|it| *it == Manager::Aborted)
            }),
        ]
    }
}
