//! What is kept once, however many states refer to it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock};

/// How many locks share the work of one table.
const SHARDS: usize = 64;

/// Hashes keys that are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type Shard<T> = RwLock<HashMap<u64, T, BuildHasherDefault<AsItIs>>>;

/// Values by their hashes, for several threads. What is in it stays.
pub(super) struct Table<T>(Vec<Shard<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

impl<T: Clone> Table<T> {
    fn shard(&self, key: u64) -> &Shard<T> {
        // The lowest bits may mean something, and the highest choose the bucket.
        &self.0[(key >> 20) as usize % SHARDS]
    }

    pub(super) fn get(&self, key: u64) -> Option<T> {
        let shard = self.shard(key).read();
        let shard = shard.unwrap_or_else(PoisonError::into_inner);
        shard.get(&key).cloned()
    }

    pub(super) fn insert(&self, key: u64, value: T) {
        let shard = self.shard(key).write();
        let mut shard = shard.unwrap_or_else(PoisonError::into_inner);
        shard.entry(key).or_insert(value);
    }

    pub(super) fn len(&self) -> usize {
        let shards = self.0.iter();
        let lens = shards.map(|it| it.read().unwrap_or_else(PoisonError::into_inner).len());
        lens.sum()
    }
}

/// The hash of something, the same in every run of one build.
pub(super) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
