//! Locks of programs on files: whose they are, on which bytes, and what they allow others.

use serde::{Deserialize, Serialize};

use crate::SessionId;

/// Whose rules a lock follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum LockKind {
    /// `fcntl`: byte ranges.
    Posix,
    /// `flock`: whole files.
    Flock,
}

/// What a lock allows others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum LockMode {
    /// Others may share it.
    Shared,
    /// Nobody else may have it.
    Exclusive,
}

/// Bytes of a file, as far as one owner has them locked.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct LockSpan {
    /// The session of the owner's node.
    pub session: SessionId,
    /// Whose rules.
    pub kind: LockKind,
    /// The owner, as its node calls it.
    pub owner: u64,
    /// First byte.
    pub first: u64,
    /// Last byte, included.
    pub last: u64,
}

/// A lock, asked for or held.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FileLock {
    /// The session of the owner's node.
    pub session: SessionId,
    /// Whose rules.
    pub kind: LockKind,
    /// Who has it, as its node calls it.
    pub owner: u64,
    /// The open file it was asked on, as the owner's node calls it: when that is closed for good, the lock goes.
    pub handle: u64,
    /// First byte.
    pub first: u64,
    /// Last byte, included.
    pub last: u64,
    /// What it allows others.
    pub mode: LockMode,
    /// The owner's process on its node, to be shown.
    pub pid: u32,
}

impl FileLock {
    /// Its bytes.
    #[must_use]
    pub fn span(&self) -> LockSpan {
        let Self { session, kind, owner, first, last, .. } = *self;
        LockSpan { session, kind, owner, first, last }
    }

    /// Whether both are locks of one kind on a byte.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.kind == other.kind && self.first <= other.last && other.first <= self.last
    }

    /// Whether both have the same owner.
    #[must_use]
    pub fn same_owner(&self, other: &Self) -> bool {
        (self.session, self.owner) == (other.session, other.owner)
    }

    /// Whether they cannot be held together.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        !self.same_owner(other)
            && self.overlaps(other)
            && (self.mode == LockMode::Exclusive || other.mode == LockMode::Exclusive)
    }
}

/// Locks held on one file. Those of one kind and owner never overlap.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LockSet {
    held: Vec<FileLock>,
}

impl LockSet {
    /// They, in no order.
    pub fn iter(&self) -> std::slice::Iter<'_, FileLock> {
        self.held.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Adds a lock that nobody is in the way of, instead of what its owner holds of its bytes.
    pub fn hold(&mut self, mut lock: FileLock) {
        self.clear(&lock.span());
        // Neighbours become one, so that a program that locks record by record does not collect records.
        self.held.retain(|held| {
            let same =
                held.same_owner(&lock) && (held.kind, held.mode, held.handle) == (lock.kind, lock.mode, lock.handle);
            if same && held.last.checked_add(1) == Some(lock.first) {
                lock.first = held.first;
                return false;
            }
            if same && lock.last.checked_add(1) == Some(held.first) {
                lock.last = held.last;
                return false;
            }
            true
        });
        self.held.push(lock);
    }

    /// Takes bytes out of an owner's locks.
    pub fn clear(&mut self, span: &LockSpan) {
        let LockSpan { first, last, .. } = *span;
        let mut rest = Vec::new();
        self.held.retain(|held| {
            let of_owner = (held.session, held.kind, held.owner) == (span.session, span.kind, span.owner);
            if !of_owner || held.last < first || last < held.first {
                return true;
            }
            if held.first < first {
                rest.push(FileLock { last: first - 1, ..*held });
            }
            if last < held.last {
                rest.push(FileLock { first: last + 1, ..*held });
            }
            false
        });
        self.held.append(&mut rest);
    }

    /// An owner's locks of some bytes, as far as they are of those.
    #[must_use]
    pub fn within(&self, span: &LockSpan) -> Vec<FileLock> {
        let of_owner =
            |held: &&FileLock| (held.session, held.kind, held.owner) == (span.session, span.kind, span.owner);
        let clip = |held: &FileLock| {
            let (first, last) = (held.first.max(span.first), held.last.min(span.last));
            (first <= last).then_some(FileLock { first, last, ..*held })
        };
        self.held.iter().filter(of_owner).filter_map(clip).collect()
    }

    /// Keeps those of which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&FileLock) -> bool) {
        self.held.retain(keep);
    }
}
