//! What this session has open, for leaders of shards that do not know it yet.
//!
//! Shards know only whether a session has an inode open, so that asking twice is harmless; the session counts. An inode
//! is listed from before its first `Open` is sent until after its last `Close` was: a new leader is never told less
//! than is open. `Open` and `Close` of one inode never overtake each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_types::{InodeId, ShardId};
use forebay_wire::meta::OpenInode;

/// Locks that keep `Open` and `Close` of one inode apart.
const LANES: usize = 64;

#[derive(Clone, Copy, Default, Debug)]
struct Count {
    opens: u32,
    write: bool,
    /// Whether the shard may have been told.
    told: bool,
}

/// See the module.
pub(crate) struct Opens {
    counts: Mutex<BTreeMap<InodeId, Count>>,
    introductions: Mutex<BTreeMap<ShardId, u64>>,
    lanes: Vec<tokio::sync::Mutex<()>>,
}

impl Default for Opens {
    fn default() -> Self {
        let lanes = (0..LANES).map(|_| tokio::sync::Mutex::default()).collect();
        Self { counts: Mutex::default(), introductions: Mutex::default(), lanes }
    }
}

impl Opens {
    /// The right to open or close an inode.
    pub async fn turn(&self, ino: InodeId) -> tokio::sync::MutexGuard<'_, ()> {
        self.lanes[(ino.0 >> forebay_types::limits::SHARD_BITS) as usize % LANES].lock().await
    }

    /// One more `Open` is about to be asked for.
    pub fn add(&self, ino: InodeId, write: bool) {
        let mut counts = self.lock();
        let count = counts.entry(ino).or_default();
        count.opens += 1;
        count.write |= write;
    }

    /// One less; whether it was the last.
    pub fn remove(&self, ino: InodeId) -> bool {
        let mut counts = self.lock();
        let Some(count) = counts.get_mut(&ino) else { return false };
        count.opens -= 1;
        if count.opens > 0 {
            return false;
        }
        counts.remove(&ino);
        true
    }

    /// Whether an inode is open.
    pub fn is_open(&self, ino: InodeId) -> bool {
        self.lock().contains_key(&ino)
    }

    /// The shard is going to be told that an inode is open.
    pub fn tell(&self, ino: InodeId) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&ino) {
            count.told = true;
        }
    }

    /// Whether the shard may have been told that an inode is open, since it was last closed.
    pub fn was_told(&self, ino: InodeId) -> bool {
        self.lock().get(&ino).is_some_and(|count| count.told)
    }

    /// How often [`Self::introduce`] was called for a shard.
    pub fn introductions(&self, shard: ShardId) -> u64 {
        let introductions = self.introductions.lock().unwrap_or_else(PoisonError::into_inner);
        introductions.get(&shard).copied().unwrap_or(0)
    }

    /// Everything open in a shard, to be told to its leader.
    pub fn introduce(&self, shard: ShardId) -> Vec<OpenInode> {
        *self.introductions.lock().unwrap_or_else(PoisonError::into_inner).entry(shard).or_default() += 1;
        self.of(shard)
    }

    fn of(&self, shard: ShardId) -> Vec<OpenInode> {
        let mut counts = self.lock();
        let here = counts.iter_mut().filter(|(ino, _)| ino.shard() == shard);
        let tell = |(&ino, count): (&InodeId, &mut Count)| {
            count.told = true;
            OpenInode { ino, write: count.write }
        };
        here.map(tell).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InodeId, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "opens_tests.rs"]
mod tests;
