//! What a machine will do next, as a hash: for a model checker, which must know
//! whether it has been in a state before.
//!
//! Two machines with one fingerprint behave alike from here on, as long as the
//! clock stands still and timers fire one by one, whenever they are armed. So a
//! fingerprint leaves out
//!
//! - times: when something began, ended or comes due, and the jitter; a timer
//!   counts as armed or not;
//! - what nobody decides by: statistics, histories but for the present state,
//!   counters of tries, tokens and waits, sentences for people, and how often
//!   somebody waits who waits;
//! - where in the log something stands, once it is durable; before that it counts
//!   how far it is from being so;
//! - what is written back to disk beside the log.
//!
//! Each machine's function takes its state apart field by field, so that nobody
//! adds a field without saying on which side it belongs.

use alloc::collections::BTreeSet;
use core::hash::{Hash, Hasher};

use crate::id::{Lsn, RequestId};
use crate::resource::Resource;

/// A resource all of whose values can be hashed.
pub trait Hashable: Resource<Action: Hash, Redo: Hash, Result: Hash> + Hash {}

impl<R: Resource<Action: Hash, Redo: Hash, Result: Hash> + Hash> Hashable for R {}

/// Something with a fingerprint that is not all of it.
pub(crate) trait Fingerprint {
    fn fingerprint<H: Hasher>(&self, into: &mut H);
}

/// How far a record is from being durable; 0: it is.
pub(crate) fn missing(lsn: Lsn, durable: Lsn) -> u64 {
    lsn.0.saturating_sub(durable.0)
}

/// Hashes who waits: whoever waits twice gets one answer twice.
pub(crate) fn set<H: Hasher>(waiting: &[RequestId], into: &mut H) {
    let waiting: BTreeSet<&RequestId> = waiting.iter().collect();
    waiting.hash(into);
}

/// Hashes a sequence, its length included.
pub(crate) fn all<'a, T, H: Hasher>(
    items: impl Iterator<Item = T> + 'a,
    into: &mut H,
    mut each: impl FnMut(T, &mut H),
) {
    let mut count = 0_usize;
    for item in items {
        each(item, into);
        count += 1;
    }
    count.hash(into);
}
