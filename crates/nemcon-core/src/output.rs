//! What a step of a machine asks for, split by what must be durable first.

use alloc::vec::Vec;

use crate::id::Lsn;
use crate::observation::Observation;
use crate::time::Tick;

/// Records to append and effects to perform, in four lanes.
///
/// - `persist`: appended in order; not forced by itself.
/// - `now`: may leave at once.
/// - `after`: may leave only when everything this node has appended so far is
///   durable, and asks for that flush.
/// - `later`: the same promise, but asks for nothing: it rides on the next
///   flush, at the latest after [`crate::parking::LATER_MAX`].
///
/// What is forced is the choice of a lane, and nowhere else. A promise (a vote,
/// an outcome, an acknowledgement) never travels in `now`.
///
/// Beside the lanes it carries what is measured: the moment of the step by a fine
/// clock, and the observations made in it; and whether anybody watches. Nothing else
/// depends on any of these.
#[derive(Debug)]
pub struct Output<R, E> {
    next_lsn: Lsn,
    persist: Vec<(Lsn, R)>,
    /// Effects that promise nothing.
    pub now: Vec<E>,
    /// Effects that promise, and are waited for.
    pub after: Vec<E>,
    /// Effects that promise, and are not waited for.
    pub later: Vec<E>,
    tick: Tick,
    watched: bool,
    /// `None`: nobody wants to know.
    observations: Option<Vec<Observation>>,
}

impl<R, E> Output<R, E> {
    /// An empty output whose first record will get `next_lsn`.
    #[must_use]
    pub const fn starting_at(next_lsn: Lsn) -> Self {
        Self {
            next_lsn,
            persist: Vec::new(),
            now: Vec::new(),
            after: Vec::new(),
            later: Vec::new(),
            tick: Tick::from_micros(0),
            watched: true,
            observations: None,
        }
    }

    /// From now on observations are kept; whoever asks for that takes them away with
    /// [`Output::take_observations`] after every batch, or they pile up.
    pub fn keep_observations(&mut self) {
        self.observations.get_or_insert_default();
    }

    /// Sets the moment of the steps that follow.
    pub const fn set_tick(&mut self, tick: Tick) {
        self.tick = tick;
    }

    /// The moment of this step.
    #[must_use]
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    /// Says whether anybody watches. What is only for those who do need not be made
    /// where nobody does.
    pub const fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// Whether anybody watches; taken to be so unless it is said otherwise.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Notes what was observed in this step, if anybody wants to know.
    pub fn observe(&mut self, observation: Observation) {
        if let Some(kept) = &mut self.observations {
            kept.push(observation);
        }
    }

    /// The observations of this batch, in order.
    pub fn take_observations(&mut self) -> impl Iterator<Item = Observation> + '_ {
        self.observations.iter_mut().flat_map(|kept| kept.drain(..))
    }

    /// Appends a record and says where it will stand.
    pub fn persist(&mut self, record: R) -> Lsn {
        let lsn = self.next_lsn;
        self.next_lsn = lsn.next();
        self.persist.push((lsn, record));
        lsn
    }

    /// The last record appended so far, through all steps.
    #[must_use]
    pub const fn appended(&self) -> Lsn {
        Lsn(self.next_lsn.0 - 1)
    }

    /// Takes the records of this batch, in order.
    pub fn take_records(&mut self) -> Vec<(Lsn, R)> {
        core::mem::take(&mut self.persist)
    }

    /// The records of this batch that have not been taken.
    #[must_use]
    pub fn records(&self) -> &[(Lsn, R)] {
        &self.persist
    }
}
