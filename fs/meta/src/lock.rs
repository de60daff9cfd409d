//! Locks of programs on files: `fcntl` (of processes and of open files) and `flock`, with those who wait for them.
//!
//! Job: decide ([`LockTable`]), and see to it that every call counts once and that locks go with their sessions
//! ([`LockBook`]). Volatile, on the shard's leader only. Every call that can let others go on says whom. Invariants: locks
//! of one kind that conflict are never held together; an owner's locks on a file never overlap. The two kinds do not know
//! each other, as on any Linux filesystem. Owners, open files and processes are of a session: those of two are never the
//! same.
//!
//! Order: who is ready to wait does not overtake those who wait already, so that sharers cannot starve who wants a lock
//! alone. A process that holds any lock is not made to wait for those who wait: they could be waiting for it, and
//! programs written for Linux, which has no order, must not come to a standstill here. What it holds in other shards its
//! session says (`overtakes`).
//!
//! A wait that could never end, because those who hold `fcntl` locks of this shard wait for each other, is refused
//! ([`LockRefusal::Deadlock`]). Who waits for another `flock` than the one it has gives that up first.

mod book;

use std::collections::{HashMap, HashSet, VecDeque};

use forebay_types::limits::{LOCKS_PER_SESSION, LOCKS_PER_SHARD};
use forebay_types::{FileLock, LockKind, LockMode, LockSet, LockSpan, SessionId};
use forebay_wire::lock::LockRefusal;

pub use self::book::{LockBook, LockCaller, LockOutcome};
use crate::lease::Inode;

/// Names one who waits: a session, and what that calls the wait.
pub type WaitId = (SessionId, u64);

/// A process of a session's node.
type Process = (SessionId, u32);

/// What became of a request that may wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// It is held. Others that go on now: one that is made weaker lets them.
    Held(Vec<WaitId>),
    /// It waits. Others that go on now.
    Waits(Vec<WaitId>),
}

#[derive(Clone, Debug)]
struct Waiter {
    id: WaitId,
    lock: FileLock,
    overtakes: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    held: LockSet,
    waiting: VecDeque<Waiter>,
}

/// Locks of all files of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockTable {
    files: HashMap<Inode, File>,
    /// Locks held by each process.
    processes: HashMap<Process, usize>,
    /// Locks held by each session.
    sessions: HashMap<SessionId, usize>,
    count: usize,
}

impl LockTable {
    /// The locks that would be in the way of `lock`.
    pub fn in_the_way(&self, inode: Inode, lock: FileLock) -> impl Iterator<Item = &FileLock> {
        let held = self.files.get(&inode).into_iter().flat_map(|file| file.held.iter());
        held.filter(move |held| held.conflicts(&lock))
    }

    /// Takes a lock at once or not at all; instead of what its owner holds of the range. Returns who goes on now.
    pub fn try_lock(&mut self, inode: Inode, lock: FileLock) -> Result<Vec<WaitId>, LockRefusal> {
        if self.in_the_way(inode, lock).next().is_some() {
            return Err(LockRefusal::Conflict);
        }
        self.room(lock.session)?;
        self.change(inode, |file| file.held.hold(lock));
        Ok(self.let_go_on(inode))
    }

    /// Takes a lock, or waits for it by a name that nobody waits by.
    pub fn lock(&mut self, inode: Inode, id: WaitId, lock: FileLock, overtakes: bool) -> Result<Asked, LockRefusal> {
        self.room(lock.session)?;
        let waiter = Waiter { id, lock, overtakes };
        if !self.must_wait(inode, &waiter, usize::MAX) {
            self.change(inode, |file| file.held.hold(lock));
            return Ok(Asked::Held(self.let_go_on(inode)));
        }
        if lock.kind == LockKind::Posix && self.would_wait_for_itself(inode, &lock) {
            return Err(LockRefusal::Deadlock);
        }
        self.change(inode, |file| {
            if lock.kind == LockKind::Flock {
                // As Linux has it: what is to become another `flock` is none while it waits.
                file.held.retain(|held| held.kind != LockKind::Flock || !held.same_owner(&lock));
            }
            file.waiting.push_back(waiter);
        });
        let mut gone_on = self.let_go_on(inode);
        // What it gave up may have been all that was in its way, by way of those who waited for that.
        match gone_on.iter().position(|gone| *gone == id) {
            Some(place) => {
                gone_on.remove(place);
                Ok(Asked::Held(gone_on))
            }
            None => Ok(Asked::Waits(gone_on)),
        }
    }

    /// One who waits does not wait for others that wait any more. Returns who goes on now.
    pub fn overtake(&mut self, inode: Inode, id: WaitId) -> Vec<WaitId> {
        let waiting = self.files.get_mut(&inode).map(|file| &mut file.waiting);
        match waiting.into_iter().flatten().find(|waiter| waiter.id == id) {
            Some(waiter) if !waiter.overtakes => waiter.overtakes = true,
            _ => return Vec::new(),
        }
        self.let_go_on(inode)
    }

    /// Gives up waiting. Returns who goes on now.
    pub fn withdraw(&mut self, inode: Inode, id: WaitId) -> Vec<WaitId> {
        self.remove(inode, |file| file.waiting.retain(|waiter| waiter.id != id))
    }

    /// Gives back what an owner holds of a range. Returns who goes on now.
    pub fn unlock(&mut self, inode: Inode, span: &LockSpan) -> Vec<WaitId> {
        self.remove(inode, |file| file.held.clear(span))
    }

    /// Gives back what an owner holds of a range, and gives it what it had of that before; a weaker lock where others
    /// have been let in. Whether it has all again, and who goes on now.
    pub fn restore(&mut self, inode: Inode, span: &LockSpan, before: &[FileLock]) -> (bool, Vec<WaitId>) {
        self.change(inode, |file| file.held.clear(span));
        let mut whole = true;
        for lock in before {
            let free = self.in_the_way(inode, *lock).next().is_none();
            whole &= free;
            let lock = FileLock { mode: if free { lock.mode } else { LockMode::Shared }, ..*lock };
            if self.in_the_way(inode, lock).next().is_none() {
                self.change(inode, |file| file.held.hold(lock));
            }
        }
        (whole, self.let_go_on(inode))
    }

    /// Gives back all that was taken on an open file. Returns who goes on now.
    pub fn close(&mut self, inode: Inode, session: SessionId, handle: u64) -> Vec<WaitId> {
        self.remove(inode, |file| file.held.retain(|held| (held.session, held.handle) != (session, handle)))
    }

    /// Takes away the locks of a file of which `which` says so; them, and who goes on now.
    pub fn take_away(&mut self, inode: Inode, which: impl Fn(&FileLock) -> bool) -> (Vec<FileLock>, Vec<WaitId>) {
        let mut taken = Vec::new();
        let gone_on = self.remove(inode, |file| {
            taken.extend(file.held.iter().copied().filter(&which));
            file.held.retain(|held| !which(held));
        });
        (taken, gone_on)
    }

    /// A session has these locks of a file and no others, and waits for none; each unless another is in its way. Those
    /// that it has not, and who goes on now.
    pub fn replace(&mut self, inode: Inode, session: SessionId, locks: &[FileLock]) -> (Vec<FileLock>, Vec<WaitId>) {
        self.change(inode, |file| {
            file.held.retain(|held| held.session != session);
            file.waiting.retain(|waiter| waiter.id.0 != session);
        });
        let mut refused = Vec::new();
        for lock in locks {
            if self.in_the_way(inode, *lock).next().is_some() {
                refused.push(*lock);
            } else {
                self.change(inode, |file| file.held.hold(*lock));
            }
        }
        (refused, self.let_go_on(inode))
    }

    /// Files on which a session holds locks or waits.
    pub fn files_of(&self, session: SessionId) -> Vec<Inode> {
        let of_session = |file: &File| {
            file.held.iter().any(|held| held.session == session) || file.waiting.iter().any(|w| w.id.0 == session)
        };
        self.files.iter().filter(|(_, file)| of_session(file)).map(|(inode, _)| *inode).collect()
    }

    /// The locks of a file that are waited for.
    pub fn waited_for(&self, inode: Inode) -> Vec<FileLock> {
        let waiting = self.files.get(&inode).into_iter().flat_map(|file| &file.waiting);
        waiting.map(|waiter| waiter.lock).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn room(&self, session: SessionId) -> Result<(), LockRefusal> {
        // One change can split a lock in two and add one.
        let of_session = self.sessions.get(&session).copied().unwrap_or(0);
        let full = self.count + 2 > LOCKS_PER_SHARD || of_session + 2 > LOCKS_PER_SESSION;
        if full { Err(LockRefusal::TooMany) } else { Ok(()) }
    }

    fn remove(&mut self, inode: Inode, change: impl FnOnce(&mut File)) -> Vec<WaitId> {
        if !self.files.contains_key(&inode) {
            return Vec::new();
        }
        self.change(inode, change);
        self.let_go_on(inode)
    }

    fn change(&mut self, inode: Inode, change: impl FnOnce(&mut File)) {
        let file = self.files.entry(inode).or_default();
        let before = file.len();
        for held in file.held.iter() {
            decrease(&mut self.processes, (held.session, held.pid));
            decrease(&mut self.sessions, held.session);
        }
        change(file);
        for held in file.held.iter() {
            *self.processes.entry((held.session, held.pid)).or_default() += 1;
            *self.sessions.entry(held.session).or_default() += 1;
        }
        self.count = self.count - before + file.len();
        if file.len() == 0 {
            self.files.remove(&inode);
        }
    }

    /// Gives locks to all who wait for nothing any more.
    fn let_go_on(&mut self, inode: Inode) -> Vec<WaitId> {
        let mut gone_on = Vec::new();
        let mut place = 0;
        while let Some(waiter) = self.files.get(&inode).and_then(|file| file.waiting.get(place)).cloned() {
            if self.must_wait(inode, &waiter, place) {
                place += 1;
                continue;
            }
            self.change(inode, |file| {
                file.waiting.remove(place);
                file.held.hold(waiter.lock);
            });
            gone_on.push(waiter.id);
            // Its process may have been waiting here more than once, and holds something now.
            place = 0;
        }
        gone_on
    }

    /// Whether one has to wait: for a lock held, or for one of the first `before` who wait.
    fn must_wait(&self, inode: Inode, Waiter { lock, overtakes, .. }: &Waiter, before: usize) -> bool {
        let Some(file) = self.files.get(&inode) else { return false };
        let holds = *overtakes || self.processes.contains_key(&(lock.session, lock.pid));
        let waits_its_turn = lock.pid != 0 && !holds;
        file.held.iter().any(|held| held.conflicts(lock))
            || (waits_its_turn && file.waiting.iter().take(before).any(|waiter| waiter.lock.conflicts(lock)))
    }

    /// Whether those who hold what is in the way of a lock wait, directly or not, for its owner. Who only waits its
    /// turn holds nothing, so nobody waits for it in earnest.
    fn would_wait_for_itself(&self, inode: Inode, lock: &FileLock) -> bool {
        let holders = |inode: Inode, lock: &FileLock| -> Vec<(SessionId, u64)> {
            self.in_the_way(inode, *lock).map(|held| (held.session, held.owner)).collect()
        };
        let mut seen = HashSet::new();
        let mut next = holders(inode, lock);
        while let Some(owner) = next.pop() {
            if owner == (lock.session, lock.owner) {
                return true;
            }
            if !seen.insert(owner) {
                continue;
            }
            for (inode, file) in &self.files {
                let waits = file.waiting.iter().filter(|waiter| (waiter.lock.session, waiter.lock.owner) == owner);
                waits.for_each(|waiter| next.extend(holders(*inode, &waiter.lock)));
            }
        }
        false
    }

    /// Panics where an invariant of the module is broken.
    #[cfg(test)]
    fn check_invariants(&self) {
        let (mut count, mut by_process, mut by_session) = (0, HashMap::new(), HashMap::new());
        for (inode, file) in &self.files {
            count += file.len();
            for held in file.held.iter() {
                *by_process.entry((held.session, held.pid)).or_default() += 1;
                *by_session.entry(held.session).or_default() += 1;
            }
            assert!(file.len() > 0, "{inode:?} has no locks and is remembered");
            for (place, one) in file.held.iter().enumerate() {
                assert!(one.first <= one.last, "{inode:?}: {one:?} is empty");
                for other in file.held.iter().skip(place + 1) {
                    assert!(!one.conflicts(other), "{inode:?}: {one:?} and {other:?} are held together");
                    let same = one.same_owner(other) && one.overlaps(other);
                    assert!(!same, "{inode:?}: {one:?} and {other:?} overlap");
                }
            }
            for (place, waiter) in file.waiting.iter().enumerate() {
                let mut before = file.held.iter().chain(file.waiting.iter().take(place).map(|waiter| &waiter.lock));
                assert!(before.any(|other| other.conflicts(&waiter.lock)), "{inode:?}: {waiter:?} waits for nothing");
            }
        }
        assert_eq!((count, &by_process), (self.count, &self.processes), "locks are counted wrongly");
        assert_eq!(by_session, self.sessions, "locks are counted wrongly");
    }
}

fn decrease<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl File {
    fn len(&self) -> usize {
        self.held.len() + self.waiting.len()
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
