//! What a coordinator's log says of a saga, compared with what may be.
//!
//! It reads records in their order and knows of none of the machine's state: begun
//! tries, decisions, aborts, and what the saga itself wrote down.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::coordinator::record::Record;
use nemcon_core::id::{Lsn, SagaId, TransactionId};
use nemcon_core::invariants::{self, StepSum};
use nemcon_core::saga::{Ended, Fact, Graph, Way};

/// What the log says so far.
pub(super) struct Account<'a> {
    graph: &'a Graph,
    /// Tries of which no outcome was written down, by step.
    open: BTreeMap<usize, (TransactionId, Way)>,
    used: BTreeSet<TransactionId>,
    /// The record that says that a try begins.
    pub(super) tried: BTreeMap<TransactionId, Lsn>,
    done: BTreeSet<usize>,
    undone: BTreeSet<usize>,
    turned: bool,
    pub(super) ended: Option<Ended>,
}

impl<'a> Account<'a> {
    /// Reads a log.
    ///
    /// # Errors
    /// What must not be.
    pub(super) fn read(graph: &'a Graph, log: &[(Lsn, Record)]) -> Result<Self, String> {
        let mut account = Self {
            graph,
            open: BTreeMap::new(),
            used: BTreeSet::new(),
            tried: BTreeMap::new(),
            done: BTreeSet::new(),
            undone: BTreeSet::new(),
            turned: false,
            ended: None,
        };
        for (lsn, record) in log {
            match record {
                Record::Saga { saga, fact } => account.fact(*lsn, *saga, fact)?,
                Record::Decided(decided) => account.committed(decided.transaction)?,
                Record::Aborted(aborted) => account.failed(aborted.transaction),
                Record::Started { .. }
                | Record::Ended { .. }
                | Record::Forgotten { .. }
                | Record::AloneHorizon { .. }
                | Record::Registered { .. }
                | Record::Removed { .. }
                | Record::Damaged(_)
                | Record::DamageAcknowledged { .. }
                | Record::Restored { .. }
                | Record::SagasForgotten { .. } => {}
            }
        }
        Ok(account)
    }

    fn name(&self, step: usize) -> &str {
        self.graph.steps()[step].name.as_str()
    }

    fn fact(&mut self, lsn: Lsn, saga: SagaId, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Tried {
                step,
                way,
                transaction,
                ..
            } => {
                self.tried.insert(*transaction, lsn);
                self.begun(*step as usize, *way, *transaction)
            }
            Fact::Failed { step, .. } => {
                self.open.remove(&(*step as usize));
                Ok(())
            }
            Fact::Turned { .. } => {
                let pivot = self.graph.pivot();
                if let Some(pivot) = pivot.filter(|pivot| self.done.contains(pivot)) {
                    let name = self.name(pivot);
                    return Err(format!("went back although its pivot {name} is done"));
                }
                self.turned = true;
                Ok(())
            }
            Fact::Ended { ended, .. } => self.over(saga, *ended),
            Fact::Started { .. } | Fact::ByHand(_) | Fact::Forgotten | Fact::Kept(_) => Ok(()),
        }
    }

    fn begun(&mut self, step: usize, way: Way, transaction: TransactionId) -> Result<(), String> {
        let name = self.name(step).to_owned();
        if self.open.contains_key(&step) {
            return Err(format!(
                "a try of {name} began before the outcome of the last was known"
            ));
        }
        if !self.used.insert(transaction) {
            return Err(format!("two tries of {name} are one transaction"));
        }
        if self.ended.is_some() {
            return Err(format!("a try of {name} began after the end"));
        }
        match way {
            Way::Forward => {
                if self.turned {
                    return Err(format!("{name} began although the saga goes back"));
                }
                if self.done.contains(&step) {
                    return Err(format!("{name} was done, and began again"));
                }
                let missing = self.graph.needs(step).iter();
                if let Some(missing) = missing.copied().find(|it| !self.done.contains(it)) {
                    let missing = self.name(missing);
                    return Err(format!("{name} began before {missing} was done"));
                }
            }
            Way::Back => {
                if !self.done.contains(&step) {
                    return Err(format!("{name} is compensated and was never done"));
                }
                if self.undone.contains(&step) {
                    return Err(format!("{name} is compensated once more"));
                }
                if let Some(later) = self.left_after(step) {
                    let later = self.name(later);
                    return Err(format!("{name} is compensated before {later}"));
                }
            }
        }
        self.open.insert(step, (transaction, way));
        Ok(())
    }

    /// A step that came after this one, of which something is left.
    fn left_after(&self, step: usize) -> Option<usize> {
        let mut way: Vec<usize> = self.graph.needed_by(step).to_vec();
        while let Some(later) = way.pop() {
            if self.is_left(later) {
                return Some(later);
            }
            way.extend(self.graph.needed_by(later));
        }
        None
    }

    fn is_left(&self, step: usize) -> bool {
        self.done.contains(&step)
            && !self.undone.contains(&step)
            && self.graph.steps()[step].compensation.is_some()
    }

    fn committed(&mut self, transaction: TransactionId) -> Result<(), String> {
        let Some((step, way)) = self.of(transaction) else {
            return if self.used.contains(&transaction) {
                Err("a try committed after its outcome was known".to_owned())
            } else {
                Ok(())
            };
        };
        self.open.remove(&step);
        let fresh = match way {
            Way::Forward => self.done.insert(step),
            Way::Back => self.undone.insert(step),
        };
        if fresh {
            Ok(())
        } else {
            Err(format!("{} took effect twice", self.name(step)))
        }
    }

    fn failed(&mut self, transaction: TransactionId) {
        if let Some((step, _)) = self.of(transaction) {
            self.open.remove(&step);
        }
    }

    fn of(&self, transaction: TransactionId) -> Option<(usize, Way)> {
        let mut open = self.open.iter();
        open.find(|(_, (it, _))| *it == transaction)
            .map(|(step, (_, way))| (*step, *way))
    }

    fn over(&mut self, saga: SagaId, ended: Ended) -> Result<(), String> {
        if let Some(step) = self.open.keys().next() {
            let name = self.name(*step);
            return Err(format!("it ended while a try of {name} was under way"));
        }
        let sums = self.effects().map(|(step, effects)| {
            let step = &self.graph.steps()[step];
            StepSum {
                step: &step.name,
                effects,
                has_compensation: step.compensation.is_some(),
            }
        });
        invariants::saga_sums(saga, ended, sums).map_err(|it| it.to_string())?;
        self.ended = Some(ended);
        Ok(())
    }

    /// What the data have to be in the end: how often each step took effect and was
    /// not taken back.
    pub(super) fn effects(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        let effect = |step: usize| {
            let done = i64::from(self.done.contains(&step));
            (step, done - i64::from(self.undone.contains(&step)))
        };
        (0..self.graph.steps().len()).map(effect)
    }
}
