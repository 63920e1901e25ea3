//! A definition that has been checked: steps by number, and who waits for whom.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::definition::{Compensation, Definition, Operation, Retry, Step, StepName};
use crate::codec::Codec;
use crate::id::ParticipantName;
use crate::limits;
use crate::reason::{Reason, Refusal};
use crate::time::Span;

/// Why a definition is none. Names the step, what it has there and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// None, or too many.
    #[error("{count} steps: want 1 to {}", limits::SAGA_STEPS_MAX)]
    StepCount {
        /// How many.
        count: usize,
    },
    /// All of it takes too much room.
    #[error(
        "the definition takes {bytes} bytes: want at most {}",
        limits::SAGA_BYTES_MAX
    )]
    TooLarge {
        /// How much.
        bytes: usize,
    },
    /// Two steps of one name.
    #[error("step {step}: there are two of this name: want each to have its own")]
    SameName {
        /// The name.
        step: StepName,
    },
    /// It depends on a step that is not there.
    #[error("step {step} depends on {on}, which is no step of this saga")]
    UnknownDependency {
        /// Which step.
        step: StepName,
        /// On what.
        on: StepName,
    },
    /// It waits for itself, through others.
    #[error("step {step} waits for itself: {}", shown(.cycle))]
    Cycle {
        /// One of the circle.
        step: StepName,
        /// The circle: each waits for the next, the last for the first.
        cycle: Vec<StepName>,
    },
    /// A number that is out of range.
    #[error("step {step}: {what} {value}: want {allowed}")]
    OutOfRange {
        /// Which step.
        step: StepName,
        /// Of what.
        what: &'static str,
        /// What was found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The time limit of the saga is out of range.
    #[error("time limit {limit}: want 1 ms to {}", limits::SAGA_TIME_MAX)]
    TimeLimit {
        /// What was found.
        limit: Span,
    },
    /// It uses a result that it cannot have.
    #[error("step {step}, {part}: input {input} names {from}, {why}")]
    Input {
        /// Which step.
        step: StepName,
        /// Which of its operations.
        part: String,
        /// Which of that one's inputs.
        input: usize,
        /// The step that it names.
        from: StepName,
        /// What is wrong with that, and what is allowed.
        why: String,
    },
    /// Its effect cannot be taken back.
    #[error(
        "step {step} has no compensation: want one, unless all its operations are read_only, or \
         it is a pivot or after one"
    )]
    NoCompensation {
        /// Which step.
        step: StepName,
    },
    /// It is neither before nor after a pivot.
    #[error(
        "step {step} is neither before nor after the pivot {pivot}: want every other step to be \
         one of the two, so that none is under way when there is no way back"
    )]
    BesidePivot {
        /// Which step.
        step: StepName,
        /// Beside which.
        pivot: StepName,
    },
}

fn shown(cycle: &[StepName]) -> String {
    let mut shown: Vec<&str> = cycle.iter().take(20).map(StepName::as_str).collect();
    if cycle.len() > shown.len() {
        shown.push("…");
    } else {
        shown.extend(cycle.first().map(StepName::as_str));
    }
    shown.join(" → ")
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::new(Reason::INVALID_REQUEST, invalid.to_string())
    }
}

/// A checked definition. Steps have numbers, their places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    definition: Definition,
    /// How many bytes it takes, encoded.
    bytes: usize,
    /// For each step: whom it waits for.
    needs: Vec<Vec<usize>>,
    /// For each step: who waits for it.
    needed_by: Vec<Vec<usize>>,
    /// Every step after those it waits for.
    order: Vec<usize>,
    /// The first pivot.
    pivot: Option<usize>,
    /// For each step: which of its results others use.
    wanted: Vec<BTreeSet<u32>>,
}

impl Hash for Graph {
    fn hash<H: Hasher>(&self, into: &mut H) {
        self.definition.hash(into);
    }
}

impl Graph {
    /// Checks a definition.
    ///
    /// # Errors
    /// [`Invalid`] for the first mistake that is found.
    pub fn new(definition: Definition) -> Result<Self, Invalid> {
        let count = definition.steps.len();
        if count == 0 || count > limits::SAGA_STEPS_MAX {
            return Err(Invalid::StepCount { count });
        }
        for step in &definition.steps {
            check_numbers(step)?;
        }
        if let Some(limit) = definition.time_limit
            && (limit.0 == 0 || limit > limits::SAGA_TIME_MAX)
        {
            return Err(Invalid::TimeLimit { limit });
        }
        let bytes = definition.to_bytes().len();
        if bytes > limits::SAGA_BYTES_MAX {
            return Err(Invalid::TooLarge { bytes });
        }
        let numbers = numbers(&definition.steps)?;
        let needs = needs(&definition.steps, &numbers)?;
        let mut needed_by = vec![Vec::new(); count];
        for (step, needs) in needs.iter().enumerate() {
            for need in needs {
                needed_by[*need].push(step);
            }
        }
        let order = order(&definition.steps, &needs, &needed_by)?;
        let before = before(&needs, &order);
        let wanted = wanted(&definition.steps, &numbers, &before)?;
        let pivots: Vec<usize> = (0..count)
            .filter(|it| definition.steps[*it].pivot)
            .collect();
        for pivot in &pivots {
            let beside = (0..count)
                .find(|it| it != pivot && !before[*pivot].has(*it) && !before[*it].has(*pivot));
            if let Some(beside) = beside {
                return Err(Invalid::BesidePivot {
                    step: definition.steps[beside].name.clone(),
                    pivot: definition.steps[*pivot].name.clone(),
                });
            }
        }
        let first = |it: &&usize| {
            pivots
                .iter()
                .all(|other| other == *it || before[*other].has(**it))
        };
        let pivot = pivots.iter().find(first).copied();
        for (number, step) in definition.steps.iter().enumerate() {
            let beyond = pivot.is_some_and(|pivot| pivot == number || before[number].has(pivot));
            if step.compensation.is_none() && !step.only_reads() && !beyond {
                return Err(Invalid::NoCompensation {
                    step: step.name.clone(),
                });
            }
        }
        Ok(Self {
            definition,
            bytes,
            needs,
            needed_by,
            order,
            pivot,
            wanted,
        })
    }

    /// What was checked.
    #[must_use]
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// How many bytes the definition takes in the log.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The steps, by number.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.definition.steps
    }

    /// The steps that have to be done before this one begins.
    #[must_use]
    pub fn needs(&self, step: usize) -> &[usize] {
        self.needs.get(step).map_or(&[], Vec::as_slice)
    }

    /// The steps that wait for this one.
    #[must_use]
    pub fn needed_by(&self, step: usize) -> &[usize] {
        self.needed_by.get(step).map_or(&[], Vec::as_slice)
    }

    /// All steps, each after those it waits for.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The first step after which there is no way back.
    #[must_use]
    pub const fn pivot(&self) -> Option<usize> {
        self.pivot
    }

    /// A planted mistake: as if there were a way back from everywhere.
    pub(crate) fn without_pivot(mut self) -> Self {
        self.pivot = None;
        self
    }

    /// Which results of a step are used by others, or by its compensation.
    #[must_use]
    pub fn wanted(&self, step: usize) -> Option<&BTreeSet<u32>> {
        self.wanted.get(step)
    }

    /// The number of a step.
    #[must_use]
    pub fn number(&self, name: &StepName) -> Option<usize> {
        self.steps().iter().position(|step| step.name == *name)
    }

    /// All participants, each with a step that needs it.
    #[must_use]
    pub fn participants(&self) -> BTreeMap<&ParticipantName, &StepName> {
        let mut all = BTreeMap::new();
        for step in self.steps() {
            for operation in operations(step) {
                all.entry(&operation.participant).or_insert(&step.name);
            }
        }
        all
    }
}

fn operations(step: &Step) -> impl Iterator<Item = &Operation> {
    let back = step.compensation.iter().flat_map(|it| &it.operations);
    step.operations.iter().chain(back)
}

fn check_numbers(step: &Step) -> Result<(), Invalid> {
    let wrong = |what, value: String, allowed: String| Invalid::OutOfRange {
        step: step.name.clone(),
        what,
        value,
        allowed,
    };
    let count = |what, operations: &[Operation]| {
        let (count, max) = (operations.len(), limits::OPERATIONS_MAX);
        if count == 0 || count > max {
            return Err(wrong(what, count.to_string(), format!("1 to {max}")));
        }
        let at: BTreeSet<&ParticipantName> = operations.iter().map(|it| &it.participant).collect();
        if at.len() > limits::PARTICIPANTS_MAX {
            let allowed = format!("at most {}", limits::PARTICIPANTS_MAX);
            return Err(wrong("participants", at.len().to_string(), allowed));
        }
        let most = operations.iter().map(|it| it.inputs.len()).max();
        match most.filter(|most| *most > limits::INPUTS_MAX) {
            Some(most) => {
                let allowed = format!("at most {} of one operation", limits::INPUTS_MAX);
                Err(wrong("inputs", most.to_string(), allowed))
            }
            None => Ok(()),
        }
    };
    let retry = |what, retry: &Retry| {
        if retry.attempts == 0 || retry.attempts > limits::TRIES_MAX {
            let allowed = format!("1 to {}", limits::TRIES_MAX);
            return Err(wrong(what, retry.attempts.to_string(), allowed));
        }
        if retry.pause_max < retry.pause_first || retry.pause_max > limits::PAUSE_MAX {
            let allowed = format!("{} (the first) to {}", retry.pause_first, limits::PAUSE_MAX);
            return Err(wrong("longest pause", retry.pause_max.to_string(), allowed));
        }
        match retry.try_timeout {
            Some(it) if it.0 == 0 || it > limits::DEADLINE_MAX => {
                let allowed = format!("1 ms to {}", limits::DEADLINE_MAX);
                Err(wrong("time-out of a try", it.to_string(), allowed))
            }
            Some(_) | None => Ok(()),
        }
    };
    count("operations", &step.operations)?;
    retry("attempts", &step.retry)?;
    if let Some(Compensation {
        operations,
        retry: it,
    }) = &step.compensation
    {
        count("operations of the compensation", operations)?;
        retry("attempts of the compensation", it)?;
    }
    match step.time_limit {
        Some(it) if it.0 == 0 || it > limits::SAGA_TIME_MAX => {
            let allowed = format!("1 ms to {}", limits::SAGA_TIME_MAX);
            Err(wrong("time limit", it.to_string(), allowed))
        }
        Some(_) | None => Ok(()),
    }
}

fn numbers(steps: &[Step]) -> Result<BTreeMap<&StepName, usize>, Invalid> {
    let mut numbers = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        if numbers.insert(&step.name, number).is_some() {
            let step = step.name.clone();
            return Err(Invalid::SameName { step });
        }
    }
    Ok(numbers)
}

fn needs(steps: &[Step], numbers: &BTreeMap<&StepName, usize>) -> Result<Vec<Vec<usize>>, Invalid> {
    let of = |step: &Step| {
        let number = |on: &StepName| {
            numbers
                .get(on)
                .copied()
                .ok_or_else(|| Invalid::UnknownDependency {
                    step: step.name.clone(),
                    on: on.clone(),
                })
        };
        // Named twice it is still one.
        let needs: BTreeSet<usize> = step
            .depends_on
            .iter()
            .map(number)
            .collect::<Result<_, _>>()?;
        Ok(needs.into_iter().collect())
    };
    steps.iter().map(of).collect()
}

/// Every step after those it needs (Kahn 1962). What is left over waits in a circle.
fn order(
    steps: &[Step],
    needs: &[Vec<usize>],
    needed_by: &[Vec<usize>],
) -> Result<Vec<usize>, Invalid> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: BTreeSet<usize> = (0..steps.len()).filter(|it| missing[*it] == 0).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(step) = ready.pop_first() {
        order.push(step);
        for next in &needed_by[step] {
            missing[*next] -= 1;
            if missing[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    let Some(first) = (0..steps.len()).find(|it| missing[*it] > 0) else {
        return Ok(order);
    };
    // From any that is left, a need that is left too leads on, and at last round.
    let mut way = vec![first];
    loop {
        let last = way[way.len() - 1];
        let Some(next) = needs[last].iter().copied().find(|it| missing[*it] > 0) else {
            unreachable!("whoever is left waits for another that is left");
        };
        if let Some(at) = way.iter().position(|it| *it == next) {
            let cycle: Vec<StepName> = way[at..].iter().map(|it| steps[*it].name.clone()).collect();
            return Err(Invalid::Cycle {
                step: steps[next].name.clone(),
                cycle,
            });
        }
        way.push(next);
    }
}

/// A set of steps, one bit each.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, step: usize) -> bool {
        (self.0[step / 64] >> (step % 64)) & 1 == 1
    }

    fn insert(&mut self, step: usize) {
        self.0[step / 64] |= 1 << (step % 64);
    }
}

/// For each step all that are before it, however far.
fn before(needs: &[Vec<usize>], order: &[usize]) -> Vec<Bits> {
    let mut before = vec![Bits(vec![0; needs.len().div_ceil(64)]); needs.len()];
    for step in order {
        let mut all = before[*step].clone();
        for need in &needs[*step] {
            all.insert(*need);
            for (mine, theirs) in all.0.iter_mut().zip(&before[*need].0) {
                *mine |= theirs;
            }
        }
        before[*step] = all;
    }
    before
}

/// Which results of each step are used. Checks that whoever uses one can have it.
fn wanted(
    steps: &[Step],
    numbers: &BTreeMap<&StepName, usize>,
    before: &[Bits],
) -> Result<Vec<BTreeSet<u32>>, Invalid> {
    let mut wanted = vec![BTreeSet::new(); steps.len()];
    for (number, step) in steps.iter().enumerate() {
        let forward = step.operations.iter().enumerate();
        let back = step
            .compensation
            .iter()
            .flat_map(|it| &it.operations)
            .enumerate();
        let all = forward
            .map(|(at, it)| (false, at, it))
            .chain(back.map(|(at, it)| (true, at, it)));
        for (back, at, operation) in all {
            for (input, reference) in operation.inputs.iter().enumerate() {
                let from = numbers.get(&reference.step).copied();
                let wrong = |why: String| Invalid::Input {
                    step: step.name.clone(),
                    part: format!("{} {at}", if back { "compensation" } else { "operation" }),
                    input,
                    from: reference.step.clone(),
                    why,
                };
                let Some(from) = from else {
                    return Err(wrong("which is no step of this saga".to_string()));
                };
                if !(before[number].has(from) || (back && from == number)) {
                    return Err(wrong(format!(
                        "which {} does not depend on: want a step before it",
                        step.name
                    )));
                }
                let has = steps[from].operations.len();
                if reference.operation as usize >= has {
                    return Err(wrong(format!(
                        "operation {}: it has {has}, counted from 0",
                        reference.operation
                    )));
                }
                wanted[from].insert(reference.operation);
            }
        }
    }
    Ok(wanted)
}
