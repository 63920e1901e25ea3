//! What must hold, and what has come of it all.

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
        invariants::once(self.applied())
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
        let mut applied = Vec::new();
        for node in &self.participants {
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
        }
        applied
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
