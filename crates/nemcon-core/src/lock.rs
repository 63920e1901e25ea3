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

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Bound;

use minicbor::{Decode, Encode};

use crate::fingerprint::{self, Fingerprint};
use crate::id::Boot;
use crate::planted::{Bug, Planted};
use crate::time::Millis;

/// What a lock is on. The resource chooses the bytes; their order is the order
/// in which an action's locks are taken. Cheap to clone: the table, the record and
/// the answer have the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockKey(Arc<[u8]>);

impl LockKey {
    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for LockKey {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
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
    /// Whether two owners may hold a key in these modes.
    #[must_use]
    pub const fn is_compatible_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Shared, Self::Shared))
    }
}

/// Proof of a grant that only grows: a store that remembers the highest token it
/// has seen can turn away a holder whose lock was taken from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// There is no room for it.
    Refused(Full),
}

/// What there may be no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The owner holds as many locks as one may.
    Held,
    /// As many wait for the key as may.
    Waiters,
}

/// How much of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Locks of one owner. Default 10,000.
    pub held: usize,
    /// Owners that wait for one key. Default 1,000: whoever comes behind so many
    /// would wait longer than anybody should.
    pub waiters: usize,
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held: 10_000,
            waiters: 1_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody who holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder<O> {
    /// Who.
    pub owner: O,
    /// How.
    pub mode: Mode,
    /// The proof of it.
    pub token: Token,
    /// Since when.
    pub since: Millis,
}

/// Somebody who waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiter<O> {
    /// Who.
    pub owner: O,
    /// What for.
    pub mode: Mode,
    /// Names this very wait.
    pub wait: u64,
    /// Since when.
    pub since: Millis,
}

/// A key, who holds it, and who waits for it, in the order of service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue<O> {
    /// The key.
    pub key: LockKey,
    /// Who holds it.
    pub holders: Vec<Holder<O>>,
    /// Who waits.
    pub waiters: Vec<Waiter<O>>,
}

impl<O> Queue<O> {
    /// The same queue, with everybody called something else.
    pub fn map<P>(self, name: impl Fn(O) -> P) -> Queue<P> {
        let holder = |it: Holder<O>| Holder {
            owner: name(it.owner),
            mode: it.mode,
            token: it.token,
            since: it.since,
        };
        let waiter = |it: Waiter<O>| Waiter {
            owner: name(it.owner),
            mode: it.mode,
            wait: it.wait,
            since: it.since,
        };
        Queue {
            key: self.key,
            holders: self.holders.into_iter().map(holder).collect(),
            waiters: self.waiters.into_iter().map(waiter).collect(),
        }
    }

    /// How many bytes it takes where it travels, at most: for each party two ids, an
    /// attempt, a number and a time, and the key, once as it is and once printable.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        const PARTY: usize = 192;
        const REST: usize = 64;
        REST + 5 * self.key.as_bytes().len() + PARTY * self.owners().count()
    }

    /// Everybody who is in it; whoever holds the key and waits for more, twice.
    pub fn owners(&self) -> impl Iterator<Item = &O> {
        let holders = self.holders.iter().map(|it| &it.owner);
        holders.chain(self.waiters.iter().map(|it| &it.owner))
    }
}

/// Those of the queues for which there is room in one answer, and how many there were
/// besides. What is left out hides edges of the graph, and adds none.
pub fn fitting<O>(
    queues: impl Iterator<Item = Queue<O>>,
    room: &mut usize,
) -> (Vec<Queue<O>>, usize) {
    let (mut fit, mut left_out) = (Vec::new(), 0);
    for queue in queues {
        match room.checked_sub(queue.wire_bytes()) {
            Some(rest) => {
                *room = rest;
                fit.push(queue);
            }
            None => left_out += 1,
        }
    }
    (fit, left_out)
}

impl<O: Ord + Copy> Queue<O> {
    /// For whom the waiter at this place waits, each once: the holders, and those
    /// ahead of it, with which it is not compatible.
    pub fn blockers(&self, place: usize) -> impl Iterator<Item = O> + '_ {
        let waiter = self.waiters.get(place);
        // A reader that waits to write is ahead of all who do not hold the key, and
        // is met once, as what it wants to be.
        let wants = |owner: O| self.waiters.iter().find(|it| it.owner == owner);
        let holds = |owner: O| self.holders.iter().any(|it| it.owner == owner);
        let holders = self.holders.iter().map(move |it| {
            let wanted = wants(it.owner).map_or(it.mode, |waiter| waiter.mode);
            (it.owner, wanted.max(it.mode))
        });
        let ahead = self.waiters.iter().take(place);
        let ahead = ahead.map(|it| (it.owner, it.mode));
        let ahead = ahead.filter(move |(owner, _)| !holds(*owner));
        let blocks = move |(owner, mode): &(O, Mode)| {
            waiter.is_some_and(|it| it.owner != *owner && !it.mode.is_compatible_with(*mode))
        };
        let all = holders.chain(ahead).filter(blocks);
        all.map(|(owner, _)| owner)
    }
}

/// Tokens and the numbers of waits only grow, and nothing here decides by them.
impl<O: Hash> Fingerprint for Table<O> {
    fn fingerprint<H: Hasher>(&self, into: &mut H) {
        let Self {
            boot,
            limits: _,
            planted: _,
            tokens: _,
            requests: _,
            entries,
            held,
            waiting,
        } = self;
        boot.hash(into);
        fingerprint::all(entries.iter(), into, |(key, entry), into| {
            key.hash(into);
            let Entry { holders, queue } = entry;
            fingerprint::all(holders.iter(), into, |(owner, held), into| {
                (owner, held.mode).hash(into);
            });
            fingerprint::all(queue.iter(), into, |waiter, into| {
                (&waiter.owner, waiter.mode).hash(into);
            });
        });
        held.hash(into);
        fingerprint::all(waiting.iter(), into, |(owner, (key, _)), into| {
            (owner, key).hash(into);
        });
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    mode: Mode,
    token: Token,
    since: Millis,
    /// The number of the request, among all requests.
    asked: u64,
}

#[derive(Clone, Debug)]
struct Entry<O> {
    holders: BTreeMap<O, Held>,
    queue: VecDeque<Waiter<O>>,
}

impl<O: Ord + Copy> Entry<O> {
    /// Whether `owner` could hold the key in `mode` beside the other holders. They are
    /// compatible with each other, so that one of them stands for all.
    fn admits(&self, owner: O, mode: Mode) -> bool {
        let mut others = self.holders.iter().filter(|(holder, _)| **holder != owner);
        others
            .next()
            .is_none_or(|(_, held)| mode.is_compatible_with(held.mode))
    }

    fn queue(&self, key: &LockKey) -> Queue<O> {
        let holder = |(owner, held): (&O, &Held)| Holder {
            owner: *owner,
            mode: held.mode,
            token: held.token,
            since: held.since,
        };
        Queue {
            key: key.clone(),
            holders: self.holders.iter().map(holder).collect(),
            waiters: self.queue.iter().copied().collect(),
        }
    }
}

/// All locks of a participant.
///
/// Invariants: holders of a key are compatible; nobody waits who could be
/// served; an entry without holders does not exist.
#[derive(Clone, Debug)]
pub struct Table<O> {
    boot: Boot,
    limits: Limits,
    planted: Planted,
    tokens: u64,
    /// Counts requests; that of a wait is its number.
    requests: u64,
    entries: BTreeMap<LockKey, Entry<O>>,
    held: BTreeMap<O, Vec<LockKey>>,
    waiting: BTreeMap<O, (LockKey, u64)>,
}

impl<O: Ord + Copy> Table<O> {
    /// An empty table whose tokens carry `boot`.
    #[must_use]
    pub const fn new(boot: Boot, limits: Limits, planted: Planted) -> Self {
        Self {
            boot,
            limits,
            planted,
            tokens: 0,
            requests: 0,
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
    pub fn request(&mut self, now: Millis, owner: O, key: &LockKey, mode: Mode) -> Grant {
        self.requests += 1;
        let asked = self.requests;
        let count = self.held.get(&owner).map_or(0, Vec::len);
        let Some(entry) = self.entries.get_mut(key) else {
            if count >= self.limits.held {
                return Grant::Refused(Full::Held);
            }
            let entry = Entry {
                holders: BTreeMap::new(),
                queue: VecDeque::new(),
            };
            self.entries.insert(key.clone(), entry);
            return Grant::Granted(self.grant(now, owner, key, mode, asked));
        };
        let held = entry.holders.get(&owner).copied();
        if let Some(held) = held
            && held.mode >= mode
        {
            return Grant::Granted(held.token);
        }
        if let Some((_, wait)) = self.waiting.get(&owner).filter(|(at, _)| at == key) {
            return Grant::Waiting(*wait);
        }
        let upgrade = held.is_some();
        if !upgrade && count >= self.limits.held {
            return Grant::Refused(Full::Held);
        }
        let skips = self.planted.has(Bug::QueueSkipped);
        let blind = upgrade && self.planted.has(Bug::UpgradeIgnoresReaders);
        let first = upgrade || entry.queue.is_empty() || skips;
        if first && (entry.admits(owner, mode) || blind) {
            return Grant::Granted(self.grant(now, owner, key, mode, asked));
        }
        if entry.queue.len() >= self.limits.waiters {
            return Grant::Refused(Full::Waiters);
        }
        let waiter = Waiter {
            owner,
            mode,
            wait: asked,
            since: now,
        };
        if upgrade {
            let upgrades = |w: &Waiter<O>| entry.holders.contains_key(&w.owner);
            let at = entry.queue.iter().take_while(|w| upgrades(w)).count();
            entry.queue.insert(at, waiter);
        } else {
            entry.queue.push_back(waiter);
        }
        self.waiting.insert(owner, (key.clone(), asked));
        Grant::Waiting(asked)
    }

    /// Lets go of all that `owner` holds or waits for. Returns who was granted
    /// what they waited for, in the order of the grants.
    pub fn release(&mut self, now: Millis, owner: O) -> Vec<O> {
        let mut granted = Vec::new();
        if let Some((key, _)) = self.waiting.remove(&owner) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.queue.retain(|waiter| waiter.owner != owner);
            }
            self.serve(now, &key, &mut granted);
        }
        for key in self.held.remove(&owner).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.holders.remove(&owner);
            }
            self.serve(now, &key, &mut granted);
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
                let held = self.entries.get(key)?.holders.get(&owner)?;
                Some((key, held.mode))
            })
    }

    /// Whether `owner` holds the key in `mode` or a stronger one.
    #[must_use]
    pub fn holds(&self, owner: O, key: &LockKey, mode: Mode) -> bool {
        self.held_as(owner, key)
            .is_some_and(|held| held.mode >= mode)
    }

    /// The token of the grant under which `owner` holds the key, if it does.
    #[must_use]
    pub fn token(&self, owner: O, key: &LockKey) -> Option<Token> {
        self.held_as(owner, key).map(|held| held.token)
    }

    fn held_as(&self, owner: O, key: &LockKey) -> Option<&Held> {
        self.entries.get(key)?.holders.get(&owner)
    }

    /// What `owner` waits for, if it waits, and the number of that wait.
    #[must_use]
    pub fn awaited_by(&self, owner: O) -> Option<(&LockKey, u64)> {
        self.waiting.get(&owner).map(|(key, wait)| (key, *wait))
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

    /// The numbers by which waits are told apart: how many requests there were, and
    /// then that of each owner's wait.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        let waits = self.waiting.values().map(|(_, wait)| *wait);
        core::iter::once(self.requests).chain(waits)
    }

    /// How many owners wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.waiting.len()
    }

    /// Whether anybody waits for a key that `owner` holds.
    #[must_use]
    pub fn is_waited_for(&self, owner: O) -> bool {
        let mut held = self.held.get(&owner).into_iter().flatten();
        held.any(|key| {
            let entry = self.entries.get(key);
            entry.is_some_and(|entry| entry.queue.iter().any(|waiter| waiter.owner != owner))
        })
    }

    /// The key, who holds it and who waits for it; `None` if nobody does.
    #[must_use]
    pub fn queue(&self, key: &LockKey) -> Option<Queue<O>> {
        self.entries.get(key).map(|entry| entry.queue(key))
    }

    /// The keys somebody waits for.
    pub fn contended(&self) -> impl Iterator<Item = Queue<O>> + '_ {
        let keys: BTreeSet<&LockKey> = self.waiting.values().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.queue(key))
    }

    /// Up to `max` keys that are held, in their order, from behind `after` on.
    pub fn page(&self, after: Option<&LockKey>, max: usize) -> impl Iterator<Item = Queue<O>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded)).take(max);
        entries.map(|(key, entry)| entry.queue(key))
    }

    /// Somebody who waits, and a holder who asked later and does not wait: nobody
    /// overtakes but a reader that wants to write what it has read.
    #[must_use]
    pub fn overtaken(&self) -> Option<(O, O)> {
        self.waiting.iter().find_map(|(owner, (key, wait))| {
            let entry = self.entries.get(key)?;
            if entry.holders.contains_key(owner) {
                return None;
            }
            let mut holders = entry.holders.iter();
            let later = holders.find(|(_, held)| held.asked > *wait)?;
            Some((*owner, *later.0))
        })
    }

    fn grant(&mut self, now: Millis, owner: O, key: &LockKey, mode: Mode, asked: u64) -> Token {
        self.tokens += 1;
        let token = Token {
            boot: self.boot,
            counter: self.tokens,
        };
        let Some(entry) = self.entries.get_mut(key) else {
            return token;
        };
        match entry.holders.get_mut(&owner) {
            Some(held) => (held.mode, held.token) = (mode, token),
            None => {
                let held = Held {
                    mode,
                    token,
                    since: now,
                    asked,
                };
                entry.holders.insert(owner, held);
                self.held.entry(owner).or_default().push(key.clone());
            }
        }
        token
    }

    /// Grants from the head of the queue for as long as that is possible.
    fn serve(&mut self, now: Millis, key: &LockKey, granted: &mut Vec<O>) {
        while let Some(entry) = self.entries.get_mut(key) {
            let Some(head) = entry.queue.front() else {
                if entry.holders.is_empty() {
                    self.entries.remove(key);
                }
                return;
            };
            let (owner, mode, asked) = (head.owner, head.mode, head.wait);
            if !entry.admits(owner, mode) {
                return;
            }
            entry.queue.pop_front();
            self.waiting.remove(&owner);
            if self.planted.has(Bug::TokenNotRaised) {
                self.tokens -= 1;
            }
            self.grant(now, owner, key, mode, asked);
            granted.push(owner);
        }
    }
}
