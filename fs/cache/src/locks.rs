//! Locks of this node's programs, as shards gave them: to be named to a new leader, and to know what closing a file has
//! to give back.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FileLock, InodeId, LockKind, LockSet, LockSpan, ShardId};

/// See the module.
#[derive(Default, Debug)]
pub struct HeldLocks {
    files: BTreeMap<InodeId, File>,
    /// Open files with locks that others have taken since.
    lost: BTreeSet<(InodeId, u64)>,
}

#[derive(Default, Debug)]
struct File {
    held: LockSet,
    /// Who was given a lock and on which open file, until it has given back all. Calls of one owner meet on their way, so
    /// that `held` may lack what the shard has: this never does.
    takers: BTreeSet<(LockKind, u64, u64)>,
}

impl HeldLocks {
    /// A lock was had.
    pub fn hold(&mut self, ino: InodeId, lock: FileLock) {
        let file = self.files.entry(ino).or_default();
        file.held.hold(lock);
        file.takers.insert((lock.kind, lock.owner, lock.handle));
    }

    /// Bytes are about to be given back; whether their owner may have any.
    pub fn clear(&mut self, ino: InodeId, span: &LockSpan) -> bool {
        let Some(file) = self.files.get_mut(&ino) else { return false };
        file.held.clear(span);
        file.takers.iter().any(|taker| (taker.0, taker.1) == (span.kind, span.owner))
    }

    /// What an owner has of some bytes.
    #[must_use]
    pub fn within(&self, ino: InodeId, span: &LockSpan) -> Vec<FileLock> {
        self.files.get(&ino).map(|file| file.held.within(span)).unwrap_or_default()
    }

    /// An owner is about to give back all its locks of a kind; whether it may have any.
    pub fn clear_owner(&mut self, ino: InodeId, kind: LockKind, owner: u64) -> bool {
        self.clear_takers(ino, |taker| (taker.0, taker.1) == (kind, owner))
    }

    /// Nobody has an open file any more; whether there may be locks that were taken on it. `flock`: its owner, whose
    /// `flock` goes as well.
    pub fn close(&mut self, ino: InodeId, handle: u64, flock: Option<u64>) -> bool {
        self.lost.remove(&(ino, handle));
        let of_flock = flock.map(|owner| (LockKind::Flock, owner));
        self.clear_takers(ino, |taker| taker.2 == handle || of_flock == Some((taker.0, taker.1)))
    }

    fn clear_takers(&mut self, ino: InodeId, which: impl Fn(&(LockKind, u64, u64)) -> bool) -> bool {
        let Some(file) = self.files.get_mut(&ino) else { return false };
        let before = file.takers.len();
        file.takers.retain(|taker| !which(taker));
        file.held.retain(|held| !which(&(held.kind, held.owner, held.handle)));
        let any = file.takers.len() < before;
        if file.takers.is_empty() {
            self.files.remove(&ino);
        }
        any
    }

    /// Whether a process holds a lock of any file.
    #[must_use]
    pub fn holds_any(&self, pid: u32) -> bool {
        self.files.values().any(|file| file.held.iter().any(|held| held.pid == pid))
    }

    /// Locks on files of a shard.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> Vec<(InodeId, FileLock)> {
        let here = self.files.iter().filter(|(ino, _)| ino.shard() == shard);
        here.flat_map(|(ino, file)| file.held.iter().map(|lock| (*ino, *lock))).collect()
    }

    /// Others have a lock now that this node had. False where it was being given back.
    pub fn lose(&mut self, ino: InodeId, lock: &FileLock) -> bool {
        let had = !self.within(ino, &lock.span()).is_empty();
        if had {
            self.clear(ino, &lock.span());
            self.lost.insert((ino, lock.handle));
        }
        had
    }

    /// Whether a lock that was taken on an open file is lost.
    #[must_use]
    pub fn is_lost(&self, ino: InodeId, handle: u64) -> bool {
        self.lost.contains(&(ino, handle))
    }
}

#[cfg(test)]
#[path = "locks_tests.rs"]
mod tests;
