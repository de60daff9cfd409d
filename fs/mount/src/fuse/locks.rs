//! Locks of this node's programs, and waiting for them.
//!
//! A `fcntl` lock of a process goes with the first descriptor of the file that the process closes; one of an open file,
//! and `flock`, with the last descriptor of that. The kernel tells the first by FLUSH with the owner, and the last by
//! RELEASE with the handle.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_cache::{FileLock, LockKind, LockMode, LockOutcome, LockRefusal, LockTable, WaitId, Withdrawn};
use forebay_fuse::Errno;
use forebay_fuse::abi::{self, Handle, HeldLock, LockOwner, LockRange, LockRequest};
use forebay_types::InodeId;
use tokio::sync::oneshot;

/// Locks, and who waits for them.
#[derive(Default)]
pub(super) struct Locks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    table: LockTable,
    waiting: HashMap<WaitId, oneshot::Sender<()>>,
}

impl State {
    fn let_go_on(&mut self, gone_on: Vec<WaitId>) {
        for id in gone_on {
            if let Some(waiter) = self.waiting.remove(&id) {
                // One that has just given up sees in the table that it was let go on.
                let _ = waiter.send(());
            }
        }
    }
}

/// One who waits; when dropped before the lock was had, waits no longer.
struct Waiting<'a> {
    locks: &'a Locks,
    ino: InodeId,
    lock: FileLock,
    id: WaitId,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.locks.lock();
        state.waiting.remove(&self.id);
        let gone_on = match state.table.withdraw(self.ino, self.id) {
            Withdrawn::Waited(gone_on) => gone_on,
            // It was let go on and nobody will hear of it.
            Withdrawn::NotWaiting => {
                let FileLock { kind, owner, first, last, .. } = self.lock;
                state.table.unlock(self.ino, kind, owner, first, last)
            }
        };
        state.let_go_on(gone_on);
    }
}

impl Locks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock that is in the way of another.
    pub fn in_the_way(&self, ino: InodeId, request: &LockRequest) -> Option<HeldLock> {
        let held = self.lock().table.in_the_way(ino, &wanted(request)?)?;
        let mode = match held.mode {
            LockMode::Shared => abi::LockMode::Shared,
            LockMode::Exclusive => abi::LockMode::Exclusive,
        };
        Some(HeldLock { range: LockRange { first: held.first, last: held.last }, mode, pid: held.pid })
    }

    /// Takes a lock or gives it back; waits for it where `wait`, until dropped.
    pub async fn set(&self, ino: InodeId, request: &LockRequest, wait: bool) -> Result<(), Errno> {
        let Some(lock) = wanted(request) else {
            let mut state = self.lock();
            let LockRange { first, last } = request.range;
            let gone_on = state.table.unlock(ino, kind(request.kind), request.owner.0, first, last);
            state.let_go_on(gone_on);
            return Ok(());
        };
        let (heard, waiting) = {
            let mut state = self.lock();
            let outcome = match wait {
                true => state.table.lock(ino, lock).map_err(errno)?,
                false => state.table.try_lock(ino, lock).map(LockOutcome::Held).map_err(errno)?,
            };
            match outcome {
                LockOutcome::Held(gone_on) => {
                    state.let_go_on(gone_on);
                    return Ok(());
                }
                LockOutcome::Waits(id, gone_on) => {
                    let (waiter, heard) = oneshot::channel();
                    state.waiting.insert(id, waiter);
                    state.let_go_on(gone_on);
                    (heard, Waiting { locks: self, ino, lock, id, over: false })
                }
            }
        };
        let mut waiting = waiting;
        let had = heard.await;
        waiting.over = had.is_ok();
        had.map_err(|_| Errno::EINTR)
    }

    /// A process has closed a descriptor of the file.
    pub fn flushed(&self, ino: InodeId, owner: LockOwner) {
        let mut state = self.lock();
        let gone_on = state.table.unlock(ino, LockKind::Posix, owner.0, 0, u64::MAX);
        state.let_go_on(gone_on);
    }

    /// Nobody has an open file any more.
    pub fn closed(&self, ino: InodeId, handle: Handle, flock: Option<LockOwner>) {
        let mut state = self.lock();
        let mut gone_on = state.table.close(ino, handle.0);
        if let Some(owner) = flock {
            gone_on.extend(state.table.unlock(ino, LockKind::Flock, owner.0, 0, u64::MAX));
        }
        state.let_go_on(gone_on);
    }
}

fn kind(kind: abi::LockKind) -> LockKind {
    match kind {
        abi::LockKind::Posix => LockKind::Posix,
        abi::LockKind::Flock => LockKind::Flock,
    }
}

/// The lock that is asked for; `None` where one is given back.
fn wanted(request: &LockRequest) -> Option<FileLock> {
    let mode = match request.mode? {
        abi::LockMode::Shared => LockMode::Shared,
        abi::LockMode::Exclusive => LockMode::Exclusive,
    };
    let (owner, handle, pid) = (request.owner.0, request.handle.0, request.pid);
    let LockRange { first, last } = request.range;
    Some(FileLock { kind: kind(request.kind), owner, handle, first, last, mode, pid })
}

fn errno(refusal: LockRefusal) -> Errno {
    match refusal {
        LockRefusal::Conflict(_) => Errno::EAGAIN,
        LockRefusal::Deadlock => Errno::EDEADLK,
        LockRefusal::TooMany => Errno::ENOLCK,
    }
}

#[cfg(test)]
#[path = "locks_tests.rs"]
mod tests;
