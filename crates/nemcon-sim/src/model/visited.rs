//! States that need not be looked at, since another can do all that they can.
//!
//! A state in which the same nodes have heard the same, but more was said, told
//! or is still allowed to happen, can go every way that this one can. So whatever
//! can be broken from here can be broken from there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::network::Network;
use super::state::State;
use super::table::hash_of;

/// How many locks share the work.
const SHARDS: usize = 64;

/// What may be more or less where the nodes are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Growth {
    network: Network,
    told: Vec<u8>,
    left: Vec<u8>,
}

impl Growth {
    fn of(state: &State) -> Self {
        let mut left = state.sends_left.clone();
        left.extend(&state.aborts_left);
        left.extend([state.crashes_left, state.by_hand_left]);
        let (network, told) = (state.network.clone(), state.told.clone());
        Self {
            network,
            told,
            left,
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        let mut told = self.told.iter().zip(&other.told);
        let mut left = self.left.iter().zip(&other.left);
        told.all(|(ours, theirs)| ours & !theirs == 0)
            && left.all(|(ours, theirs)| ours <= theirs)
            && self.network.is_within(&other.network)
    }
}

/// The states that were met so far, but for those that others make needless.
pub(super) struct Visited {
    shards: Vec<Mutex<HashMap<u64, Vec<Growth>>>>,
    /// Every state is needed when a way is gone again.
    off: AtomicBool,
}

impl Default for Visited {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            off: AtomicBool::new(false),
        }
    }
}

impl Visited {
    /// From now on no state is needless.
    pub(super) fn turn_off(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    /// Whether a state that was met before can do more than this one. Takes this
    /// one in if not.
    pub(super) fn dominates(&self, state: &State) -> bool {
        if self.off.load(Ordering::SeqCst) {
            return false;
        }
        let same = (
            &state.nodes,
            &state.clients,
            &state.deadlocked,
            state.peer_believed,
            &state.textbook,
            state.broken,
        );
        let key = hash_of(&same);
        let growth = Growth::of(state);
        let shard = self.shards[key as usize % SHARDS].lock();
        let mut shard = shard.unwrap_or_else(PoisonError::into_inner);
        let met = shard.entry(key).or_default();
        if met.iter().any(|it| growth.is_within(it)) {
            return !met.contains(&growth);
        }
        met.retain(|it| !it.is_within(&growth));
        met.push(growth);
        false
    }
}
