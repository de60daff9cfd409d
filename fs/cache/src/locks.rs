//! Locks of programs on files: `fcntl` (of processes and of open files) and `flock`, with those who wait for them.
//!
//! Job: decide. Who waits is named by a [`WaitId`]; every call that can let others go on says whom. Invariants: locks of
//! one kind that conflict are never held together; an owner's locks on a file never overlap. The two kinds do not know
//! each other, as on any Linux filesystem.
//!
//! Order: who is ready to wait does not overtake those who wait already, so that sharers cannot starve who wants a lock
//! alone. A process that holds any lock is not made to wait for those who wait: they could be waiting for it, and
//! programs written for Linux, which has no order, must not come to a standstill here.
//!
//! A wait that could never end, because those who hold `fcntl` locks wait for each other, is refused
//! ([`LockRefusal::Deadlock`]). Who waits for another `flock` than the one it has gives that up first.

use std::collections::{HashMap, HashSet, VecDeque};

use forebay_types::InodeId;

/// Most locks held and waited for at once; memory, not a rule of POSIX.
pub const LOCKS_MAX: usize = 1 << 20;

/// Whose rules a lock follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockKind {
    /// `fcntl`: byte ranges.
    Posix,
    /// `flock`: whole files.
    Flock,
}

/// What a lock allows others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockMode {
    /// Others may share it.
    Shared,
    /// Nobody else may have it.
    Exclusive,
}

/// A lock, asked for or held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileLock {
    /// Whose rules.
    pub kind: LockKind,
    /// Who has it.
    pub owner: u64,
    /// The open file it was asked on: when that is closed for good, the lock goes.
    pub handle: u64,
    /// First byte.
    pub first: u64,
    /// Last byte, included.
    pub last: u64,
    /// What it allows others.
    pub mode: LockMode,
    /// The owner's process, to be shown.
    pub pid: u32,
}

impl FileLock {
    fn overlaps(&self, other: &Self) -> bool {
        self.kind == other.kind && self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.owner != other.owner
            && self.overlaps(other)
            && (self.mode == LockMode::Exclusive || other.mode == LockMode::Exclusive)
    }
}

/// Names one who waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitId(pub u64);

/// Why a lock is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LockRefusal {
    /// Another is in the way (`EAGAIN`).
    #[error("another lock is in the way")]
    Conflict(FileLock),
    /// The wait would never end (`EDEADLK`).
    #[error("those who hold the lock wait for who asks for it")]
    Deadlock,
    /// There are too many (`ENOLCK`).
    #[error("there are {LOCKS_MAX} locks on this node already")]
    TooMany,
}

/// What became of a request that may wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockOutcome {
    /// It is held. Others that go on now: one that is made weaker lets them.
    Held(Vec<WaitId>),
    /// It waits. Others that go on now.
    Waits(WaitId, Vec<WaitId>),
}

/// What became of one who waited no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Withdrawn {
    /// It waited still. Others that go on now.
    Waited(Vec<WaitId>),
    /// It had been let go on, or never was.
    NotWaiting,
}

#[derive(Clone, Debug)]
struct Waiter {
    id: WaitId,
    lock: FileLock,
}

#[derive(Clone, Debug, Default)]
struct File {
    held: Vec<FileLock>,
    waiting: VecDeque<Waiter>,
}

/// Locks of all files.
#[derive(Clone, Debug, Default)]
pub struct LockTable {
    files: HashMap<InodeId, File>,
    /// Locks held by each process.
    processes: HashMap<u32, usize>,
    last_wait: u64,
    count: usize,
}

impl LockTable {
    /// The lock that would be in the way of `lock`.
    #[must_use]
    pub fn in_the_way(&self, ino: InodeId, lock: &FileLock) -> Option<FileLock> {
        self.files.get(&ino)?.held.iter().find(|held| held.conflicts(lock)).copied()
    }

    /// Takes a lock at once or not at all; instead of what its owner holds of the range. Returns who goes on now.
    pub fn try_lock(&mut self, ino: InodeId, lock: FileLock) -> Result<Vec<WaitId>, LockRefusal> {
        if let Some(held) = self.in_the_way(ino, &lock) {
            return Err(LockRefusal::Conflict(held));
        }
        self.room()?;
        self.change(ino, |file| file.hold(lock));
        Ok(self.let_go_on(ino))
    }

    /// Takes a lock, or waits for it.
    pub fn lock(&mut self, ino: InodeId, lock: FileLock) -> Result<LockOutcome, LockRefusal> {
        self.room()?;
        if !self.must_wait(ino, &lock, usize::MAX) {
            self.change(ino, |file| file.hold(lock));
            return Ok(LockOutcome::Held(self.let_go_on(ino)));
        }
        if lock.kind == LockKind::Posix && self.would_wait_for_itself(ino, &lock) {
            return Err(LockRefusal::Deadlock);
        }
        self.last_wait += 1;
        let id = WaitId(self.last_wait);
        self.change(ino, |file| {
            // As Linux has it: what is to become another `flock` is none while it waits.
            file.held.retain(|held| lock.kind == LockKind::Posix || held.kind != lock.kind || held.owner != lock.owner);
            file.waiting.push_back(Waiter { id, lock });
        });
        let mut gone_on = self.let_go_on(ino);
        // What it gave up may have been all that was in its way, by way of those who waited for that.
        match gone_on.iter().position(|gone| *gone == id) {
            Some(place) => {
                gone_on.remove(place);
                Ok(LockOutcome::Held(gone_on))
            }
            None => Ok(LockOutcome::Waits(id, gone_on)),
        }
    }

    /// Gives up waiting.
    pub fn withdraw(&mut self, ino: InodeId, id: WaitId) -> Withdrawn {
        let waits = self.files.get(&ino).is_some_and(|file| file.waiting.iter().any(|waiter| waiter.id == id));
        if !waits {
            return Withdrawn::NotWaiting;
        }
        self.change(ino, |file| file.waiting.retain(|waiter| waiter.id != id));
        Withdrawn::Waited(self.let_go_on(ino))
    }

    /// Gives back what an owner holds of a range. Returns who goes on now.
    pub fn unlock(&mut self, ino: InodeId, kind: LockKind, owner: u64, first: u64, last: u64) -> Vec<WaitId> {
        self.remove(ino, |file| file.clear(kind, owner, first, last))
    }

    /// Gives back all that was taken on an open file. Returns who goes on now.
    pub fn close(&mut self, ino: InodeId, handle: u64) -> Vec<WaitId> {
        self.remove(ino, |file| file.held.retain(|held| held.handle != handle))
    }

    /// Locks held and waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn room(&self) -> Result<(), LockRefusal> {
        // One change can split a lock in two and add one.
        if self.count + 2 > LOCKS_MAX { Err(LockRefusal::TooMany) } else { Ok(()) }
    }

    fn remove(&mut self, ino: InodeId, change: impl FnOnce(&mut File)) -> Vec<WaitId> {
        if !self.files.contains_key(&ino) {
            return Vec::new();
        }
        self.change(ino, change);
        self.let_go_on(ino)
    }

    fn change(&mut self, ino: InodeId, change: impl FnOnce(&mut File)) {
        let file = self.files.entry(ino).or_default();
        let before = file.len();
        for held in &file.held {
            if let Some(locks) = self.processes.get_mut(&held.pid) {
                *locks -= 1;
                if *locks == 0 {
                    self.processes.remove(&held.pid);
                }
            }
        }
        change(file);
        for held in &file.held {
            *self.processes.entry(held.pid).or_default() += 1;
        }
        self.count = self.count - before + file.len();
        if file.len() == 0 {
            self.files.remove(&ino);
        }
    }

    /// Gives locks to all who wait for nothing any more.
    fn let_go_on(&mut self, ino: InodeId) -> Vec<WaitId> {
        let mut gone_on = Vec::new();
        let mut place = 0;
        while let Some(waiter) = self.files.get(&ino).and_then(|file| file.waiting.get(place)).cloned() {
            if self.must_wait(ino, &waiter.lock, place) {
                place += 1;
                continue;
            }
            self.change(ino, |file| {
                file.waiting.remove(place);
                file.hold(waiter.lock);
            });
            gone_on.push(waiter.id);
            // Its process may have been waiting here more than once, and holds something now.
            place = 0;
        }
        gone_on
    }

    /// Whether a lock has to wait: for one held, or for one of the first `before` who wait.
    fn must_wait(&self, ino: InodeId, lock: &FileLock, before: usize) -> bool {
        let Some(file) = self.files.get(&ino) else { return false };
        let waits_its_turn = lock.pid != 0 && !self.processes.contains_key(&lock.pid);
        file.held.iter().any(|held| held.conflicts(lock))
            || (waits_its_turn && file.waiting.iter().take(before).any(|waiter| waiter.lock.conflicts(lock)))
    }

    /// Whether those who hold what is in the way of a lock wait, directly or not, for its owner. Who only waits its
    /// turn holds nothing, so nobody waits for it in earnest.
    fn would_wait_for_itself(&self, ino: InodeId, lock: &FileLock) -> bool {
        let in_the_way = |ino: &InodeId, lock: &FileLock| -> Vec<u64> {
            let file = self.files.get(ino).map(|file| file.held.as_slice()).unwrap_or_default();
            file.iter().filter(|held| held.conflicts(lock)).map(|held| held.owner).collect()
        };
        let mut seen = HashSet::new();
        let mut next = in_the_way(&ino, lock);
        while let Some(owner) = next.pop() {
            if owner == lock.owner {
                return true;
            }
            if !seen.insert(owner) {
                continue;
            }
            for (ino, file) in &self.files {
                let waits = file.waiting.iter().filter(|waiter| waiter.lock.owner == owner);
                waits.for_each(|waiter| next.extend(in_the_way(ino, &waiter.lock)));
            }
        }
        false
    }

    /// Panics where an invariant of the module is broken.
    pub fn check_invariants(&self) {
        let (mut count, mut by_process) = (0, HashMap::new());
        for (ino, file) in &self.files {
            count += file.len();
            file.held.iter().for_each(|held| *by_process.entry(held.pid).or_default() += 1);
            assert!(file.len() > 0, "{ino} has no locks and is remembered");
            for (place, one) in file.held.iter().enumerate() {
                assert!(one.first <= one.last, "{ino}: {one:?} is empty");
                for other in &file.held[place + 1..] {
                    assert!(!one.conflicts(other), "{ino}: {one:?} and {other:?} are held together");
                    let same = one.owner == other.owner && one.overlaps(other);
                    assert!(!same, "{ino}: {one:?} and {other:?} overlap");
                }
            }
            for (place, waiter) in file.waiting.iter().enumerate() {
                let mut before = file.held.iter().chain(file.waiting.iter().take(place).map(|waiter| &waiter.lock));
                assert!(before.any(|other| other.conflicts(&waiter.lock)), "{ino}: {waiter:?} waits for nothing");
            }
        }
        assert_eq!((count, &by_process), (self.count, &self.processes), "locks are counted wrongly");
    }
}

impl File {
    fn len(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    /// Takes a lock that nobody is in the way of, instead of what its owner holds of the range.
    fn hold(&mut self, mut lock: FileLock) {
        self.clear(lock.kind, lock.owner, lock.first, lock.last);
        // Neighbours become one, so that a program that locks record by record does not collect records.
        self.held.retain(|held| {
            let same =
                (held.kind, held.owner, held.mode, held.handle) == (lock.kind, lock.owner, lock.mode, lock.handle);
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

    /// Takes a range out of an owner's locks.
    fn clear(&mut self, kind: LockKind, owner: u64, first: u64, last: u64) {
        let mut rest = Vec::new();
        self.held.retain(|held| {
            if held.kind != kind || held.owner != owner || held.last < first || last < held.first {
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
}

#[cfg(test)]
#[path = "locks_tests.rs"]
mod tests;
