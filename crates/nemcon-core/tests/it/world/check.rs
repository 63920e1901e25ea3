//! What must hold, and what has come of it all.

use nemcon_core::invariants::StepSum;
use nemcon_core::saga::{Ended, Fact, Way};

use super::*;

impl World {
    /// Checks everything that must hold at every moment.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        invariants::agreement(self.claims())?;
        for (at, node) in self.coordinators.iter().enumerate() {
            for (_, record) in &node.appended {
                if let CoordinatorRecord::Decided(decided) = record
                    && let attempt = (AttemptId {
                        coordinator: identity(at),
                        position: decided.attempt,
                    })
                    && let Some(asked) = self.asked.get(&attempt)
                {
                    let none = BTreeSet::new();
                    let in_favour = self.in_favour.get(&attempt).unwrap_or(&none);
                    invariants::unanimity(&Unanimity {
                        attempt,
                        asked,
                        in_favour,
                    })?;
                }
            }
        }
        // A transaction that only reads may be read again after a restart.
        let writes = |(id, _): &&(TransactionId, Outcome)| {
            let order = self.orders.iter().find(|order| order.transaction == *id);
            order.is_none_or(|order| order.operations.iter().any(|(_, _, read)| !read))
        };
        invariants::constancy(self.answers.iter().filter(writes).copied())?;
        for (at, node) in self.participants.iter().enumerate() {
            let Some(machine) = &node.machine else {
                continue;
            };
            invariants::promises_kept(machine, self.promised[at].iter().copied())?;
            let promised: BTreeMap<AttemptId, Vec<(LockKey, Mode)>> = node
                .appended
                .iter()
                .filter_map(|(_, record)| match record {
                    ParticipantRecord::Prepared(prepared) => {
                        Some((prepared.attempt, prepared.locks.clone()))
                    }
                    _ => None,
                })
                .collect();
            let promised = promised.iter().map(|(id, locks)| (*id, locks.as_slice()));
            invariants::prepared_locks(machine, promised)?;
            invariants::no_leaked_lock(machine)?;
        }
        for order in &self.sagas {
            self.check_saga(order)?;
        }
        invariants::once(self.applied())
    }

    /// What the log of its coordinator says of a saga that has ended.
    fn check_saga(&self, order: &SagaOrder) -> Result<(), Violation> {
        let log = &self.coordinators[order.coordinator].appended;
        let tries = self.tries(order);
        let decided = log.iter().filter_map(|(_, record)| match record {
            CoordinatorRecord::Decided(decided) => Some(decided.transaction),
            _ => None,
        });
        // A checkpoint says again what was decided.
        let decided: BTreeSet<TransactionId> = decided.collect();
        self.check_sums(order, |step| Some(sum(&tries, step, &decided)))
    }

    /// All tries of a saga: of which step, and which way.
    fn tries(&self, order: &SagaOrder) -> BTreeMap<TransactionId, (usize, Way)> {
        let log = self.coordinators[order.coordinator].appended.iter();
        let tried = log.filter_map(|(_, record)| match record {
            CoordinatorRecord::Saga { saga, fact } if *saga == order.saga => match &**fact {
                Fact::Tried {
                    step,
                    way,
                    transaction,
                    ..
                } => Some((*transaction, (*step as usize, *way))),
                _ => None,
            },
            _ => None,
        });
        tried.collect()
    }

    /// I12 by what an account knows of its steps, if the saga has ended and nobody has
    /// settled anything of it.
    fn check_sums(
        &self,
        order: &SagaOrder,
        effects: impl Fn(usize) -> Option<i64>,
    ) -> Result<(), Violation> {
        let Some(view) = self.saga(order.saga) else {
            return Ok(());
        };
        let ended = match view.state {
            SagaState::Completed => Ended::Completed,
            SagaState::Compensated => Ended::Compensated,
            SagaState::Running | SagaState::Compensating | SagaState::Stuck => return Ok(()),
        };
        if view.hands.iter().any(|hand| hand.resolution.is_some()) {
            return Ok(());
        }
        let steps = order.definition.steps.iter().enumerate();
        let sums = steps.filter_map(|(at, step)| {
            Some(StepSum {
                step: &step.name,
                effects: effects(at)?,
                has_compensation: step.compensation.is_some(),
            })
        });
        invariants::saga_sums(order.saga, ended, sums)
    }

    /// When all faults are healed and there was time enough: everything is over, each
    /// saga has ended or is stuck with an alarm, and the data are as its end says.
    pub(crate) fn check_rest(&self) -> Result<(), Violation> {
        for node in &self.participants {
            invariants::all_is_over(node.machine.as_ref().expect("all are up"))?;
        }
        for order in &self.sagas {
            let Some(view) = self.saga(order.saga) else {
                continue;
            };
            invariants::saga_rests(&view, self.stuck.contains(&order.saga))?;
            self.check_data(order)?;
        }
        Ok(())
    }

    /// I12 by the logs of the participants that the steps name.
    fn check_data(&self, order: &SagaOrder) -> Result<(), Violation> {
        let tries = self.tries(order);
        for (at, node) in self.participants.iter().enumerate() {
            let applied: BTreeSet<TransactionId> = applied_at(node)
                .into_iter()
                .map(|(transaction, _)| transaction)
                .collect();
            // What only reads leaves no trace there.
            let leaves_a_trace = |step: usize| {
                let plan = &order.definition.steps[step];
                let is_here = plan.operations.iter().any(|it| it.participant == name(at));
                is_here && !plan.only_reads()
            };
            self.check_sums(order, |step| {
                leaves_a_trace(step).then(|| sum(&tries, step, &applied))
            })?;
        }
        Ok(())
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (at, node) in self.participants.iter().enumerate() {
            let Some(machine) = &node.machine else {
                continue;
            };
            for view in machine.attempts() {
                if let Standing::Ended(outcome) = view.standing {
                    claims.push(Claim {
                        node: format!("p{at}"),
                        attempt: view.attempt,
                        outcome,
                    });
                    // One-phase outcomes are the participant's alone.
                    if self.asked.contains_key(&view.attempt) {
                        claims.extend(self.claim_of_coordinator(&view));
                    }
                }
            }
        }
        claims
    }

    /// What the attempt's coordinator holds. Once it has forgotten a transaction
    /// that everyone has acknowledged, its "aborted" is no claim: nobody can be
    /// in doubt about it.
    fn claim_of_coordinator(&self, view: &AttemptView) -> Option<Claim> {
        let owner = coordinator_of(view.attempt.coordinator);
        let machine = self.coordinators[owner].machine.as_ref()?;
        let known = machine.look_up(view.transaction).is_some();
        if !known && machine.may_have_forgotten(view.transaction) {
            return None;
        }
        let outcome = machine.verdict(view.attempt.position).outcome()?;
        Some(Claim {
            node: format!("c{owner}"),
            attempt: view.attempt,
            outcome,
        })
    }

    /// Every commit in the participants' logs.
    fn applied(&self) -> Vec<(TransactionId, AttemptId)> {
        self.participants.iter().flat_map(applied_at).collect()
    }

    /// The sum over all registers of all participants.
    pub(crate) fn total(&self) -> i64 {
        let machines = self
            .participants
            .iter()
            .filter_map(|node| node.machine.as_ref());
        machines
            .map(|machine| machine.resource().values.values().sum::<i64>())
            .sum()
    }

    pub(crate) fn value(&self, participant: usize, register: u8) -> i64 {
        let machine = self.participants[participant]
            .machine
            .as_ref()
            .expect("it is up");
        machine
            .resource()
            .values
            .get(&register)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn outcome(&self, transaction: TransactionId) -> Option<Outcome> {
        let mut answers = self.answers.iter().rev();
        answers
            .find(|(id, _)| *id == transaction)
            .map(|(_, outcome)| *outcome)
    }
}

/// Every commit in a participant's log.
fn applied_at(node: &Node<Participant<Registers>>) -> Vec<(TransactionId, AttemptId)> {
    let mut applied = Vec::new();
    let mut prepared = BTreeMap::new();
    for (_, record) in &node.appended {
        match record {
            ParticipantRecord::Prepared(p) => {
                prepared.insert(p.attempt, p.transaction);
            }
            ParticipantRecord::Committed { attempt, .. } => {
                if let Some(transaction) = prepared.get(attempt) {
                    applied.push((*transaction, *attempt));
                }
            }
            ParticipantRecord::DecidedAlone(decided) if !decided.redo.is_empty() => {
                applied.push((decided.transaction, decided.attempt));
            }
            _ => {}
        }
    }
    applied
}

/// How often a step took effect, less how often that was taken back.
fn sum(
    tries: &BTreeMap<TransactionId, (usize, Way)>,
    step: usize,
    effective: &BTreeSet<TransactionId>,
) -> i64 {
    let of_step = tries
        .iter()
        .filter(|(id, (of, _))| *of == step && effective.contains(*id));
    of_step
        .map(|(_, (_, way))| match way {
            Way::Forward => 1,
            Way::Back => -1,
        })
        .sum()
}
