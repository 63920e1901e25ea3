//! The lock table of one participant: strict two-phase locks on keys the
//! resource names.
//!
//! - Shared and exclusive; a holder of a shared lock may ask for the exclusive
//!   one (an upgrade).
//! - Fair: who waits is served in order, and nobody overtakes by being
//!   compatible with the holders. Only an upgrade goes first, since whoever is
//!   ahead of it in the queue could never be served before it.
//! - An owner waits for one key at a time.
//! - Locks are let go all at once, at the end of the attempt.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};

use crate::id::Boot;

/// What a lock is on. The resource chooses the bytes; their order is the order
/// in which an action's locks are taken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockKey(Box<[u8]>);

impl LockKey {
    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Box<[u8]>>> From<T> for LockKey {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for LockKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for LockKey {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes().map(Self::from)
    }
}

/// How a key is locked. The order is that of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// Others may read too.
    #[n(0)]
    Shared,
    /// Nobody else.
    #[n(1)]
    Exclusive,
}

impl Mode {
    const fn is_compatible_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Shared, Self::Shared))
    }
}

/// Proof of a grant that only grows: a store that remembers the highest token it
/// has seen can turn away a holder whose lock was taken from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The participant's boot number.
    pub boot: Boot,
    /// Counts grants within that boot, from 1.
    pub counter: u64,
}

/// Answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The owner holds the key in the mode asked for, or a stronger one.
    Granted(Token),
    /// The owner is in the queue. The number names this very wait.
    Waiting(u64),
}

/// One edge of the waits-for graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge<O> {
    /// Who waits.
    pub waiter: O,
    /// For whom: a holder, or an incompatible waiter ahead in the queue.
    pub holder: O,
    /// The wait's number.
    pub wait: u64,
}

#[derive(Clone, Debug)]
struct Waiter<O> {
    owner: O,
    mode: Mode,
    wait: u64,
}

#[derive(Clone, Debug)]
struct Entry<O> {
    holders: BTreeMap<O, (Mode, Token)>,
    queue: VecDeque<Waiter<O>>,
}

impl<O: Ord + Copy> Entry<O> {
    /// Whether `owner` could hold the key in `mode` beside the other holders.
    fn admits(&self, owner: O, mode: Mode) -> bool {
        self.holders
            .iter()
            .all(|(holder, (held, _))| *holder == owner || mode.is_compatible_with(*held))
    }
}

/// All locks of a participant.
///
/// Invariants: holders of a key are compatible; nobody waits who could be
/// served; an entry without holders does not exist.
#[derive(Clone, Debug)]
pub struct Table<O> {
    boot: Boot,
    tokens: u64,
    waits: u64,
    entries: BTreeMap<LockKey, Entry<O>>,
    held: BTreeMap<O, Vec<LockKey>>,
    waiting: BTreeMap<O, LockKey>,
}

impl<O: Ord + Copy> Table<O> {
    /// An empty table whose tokens carry `boot`.
    #[must_use]
    pub const fn new(boot: Boot) -> Self {
        Self {
            boot,
            tokens: 0,
            waits: 0,
            entries: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Sets the boot number that tokens carry from now on; called once, before
    /// the first request of a boot is served.
    pub fn set_boot(&mut self, boot: Boot) {
        self.boot = boot;
    }

    /// Asks for a key. Asking again for what is held, or waited for, changes
    /// nothing.
    pub fn request(&mut self, owner: O, key: &LockKey, mode: Mode) -> Grant {
        let Some(entry) = self.entries.get_mut(key) else {
            let entry = Entry {
                holders: BTreeMap::new(),
                queue: VecDeque::new(),
            };
            self.entries.insert(key.clone(), entry);
            return Grant::Granted(self.grant(owner, key, mode));
        };
        let held = entry.holders.get(&owner).copied();
        if let Some((held, token)) = held
            && held >= mode
        {
            return Grant::Granted(token);
        }
        if let Some(waiter) = entry.queue.iter().find(|waiter| waiter.owner == owner) {
            return Grant::Waiting(waiter.wait);
        }
        let upgrade = held.is_some();
        if (upgrade || entry.queue.is_empty()) && entry.admits(owner, mode) {
            return Grant::Granted(self.grant(owner, key, mode));
        }
        self.waits += 1;
        let waiter = Waiter {
            owner,
            mode,
            wait: self.waits,
        };
        if upgrade {
            let upgrades = |w: &Waiter<O>| entry.holders.contains_key(&w.owner);
            let at = entry.queue.iter().take_while(|w| upgrades(w)).count();
            entry.queue.insert(at, waiter);
        } else {
            entry.queue.push_back(waiter);
        }
        self.waiting.insert(owner, key.clone());
        Grant::Waiting(self.waits)
    }

    /// Lets go of all that `owner` holds or waits for. Returns who was granted
    /// what they waited for, in the order of the grants.
    pub fn release(&mut self, owner: O) -> Vec<O> {
        let mut granted = Vec::new();
        if let Some(key) = self.waiting.remove(&owner) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.queue.retain(|waiter| waiter.owner != owner);
            }
            self.serve(&key, &mut granted);
        }
        for key in self.held.remove(&owner).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.holders.remove(&owner);
            }
            self.serve(&key, &mut granted);
        }
        granted
    }

    /// The keys `owner` holds, in the order they were granted.
    pub fn held_by(&self, owner: O) -> impl Iterator<Item = (&LockKey, Mode)> {
        self.held
            .get(&owner)
            .into_iter()
            .flatten()
            .filter_map(move |key| {
                let (mode, _) = self.entries.get(key)?.holders.get(&owner)?;
                Some((key, *mode))
            })
    }

    /// Whether `owner` holds the key in `mode` or a stronger one.
    #[must_use]
    pub fn holds(&self, owner: O, key: &LockKey, mode: Mode) -> bool {
        let held = self
            .entries
            .get(key)
            .and_then(|entry| entry.holders.get(&owner));
        held.is_some_and(|(held, _)| *held >= mode)
    }

    /// What `owner` waits for, if it waits.
    #[must_use]
    pub fn awaited_by(&self, owner: O) -> Option<&LockKey> {
        self.waiting.get(&owner)
    }

    /// Who holds anything.
    pub fn holders(&self) -> impl Iterator<Item = O> + '_ {
        self.held.keys().copied()
    }

    /// Who holds `key` now.
    pub fn holders_of(&self, key: &LockKey) -> impl Iterator<Item = O> + '_ {
        self.entries
            .get(key)
            .into_iter()
            .flat_map(|entry| entry.holders.keys().copied())
    }

    /// How many owners wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.waiting.len()
    }

    /// The edges of one waiter: to the holders and to those ahead of it that it
    /// is not compatible with.
    #[must_use]
    pub fn edges(&self, waiter: O) -> Vec<Edge<O>> {
        let entry = self
            .waiting
            .get(&waiter)
            .and_then(|key| self.entries.get(key));
        let Some(entry) = entry else {
            return Vec::new();
        };
        let mut ahead: Vec<(O, Mode)> = entry
            .holders
            .iter()
            .map(|(holder, (mode, _))| (*holder, *mode))
            .collect();
        for other in &entry.queue {
            if other.owner == waiter {
                let blocks = |(owner, mode): &(O, Mode)| {
                    *owner != waiter && !other.mode.is_compatible_with(*mode)
                };
                let edge = |(holder, _)| Edge {
                    waiter,
                    holder,
                    wait: other.wait,
                };
                return ahead.into_iter().filter(blocks).map(edge).collect();
            }
            ahead.push((other.owner, other.mode));
        }
        Vec::new()
    }

    fn grant(&mut self, owner: O, key: &LockKey, mode: Mode) -> Token {
        self.tokens += 1;
        let token = Token {
            boot: self.boot,
            counter: self.tokens,
        };
        if let Some(entry) = self.entries.get_mut(key)
            && entry.holders.insert(owner, (mode, token)).is_none()
        {
            self.held.entry(owner).or_default().push(key.clone());
        }
        token
    }

    /// Grants from the head of the queue for as long as that is possible.
    fn serve(&mut self, key: &LockKey, granted: &mut Vec<O>) {
        while let Some(entry) = self.entries.get_mut(key) {
            let Some(head) = entry.queue.front() else {
                if entry.holders.is_empty() {
                    self.entries.remove(key);
                }
                return;
            };
            let (owner, mode) = (head.owner, head.mode);
            if !entry.admits(owner, mode) {
                return;
            }
            entry.queue.pop_front();
            self.waiting.remove(&owner);
            self.grant(owner, key, mode);
            granted.push(owner);
        }
    }
}
