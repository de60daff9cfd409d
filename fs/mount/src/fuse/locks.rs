//! Locks of programs, in the words of both sides.
//!
//! A `fcntl` lock of a process goes with the first descriptor of the file that the process closes; one of an open file,
//! and `flock`, with the last descriptor of that. The kernel tells the first by FLUSH with the owner, and the last by
//! RELEASE with the handle.

use forebay_fuse::abi::{self, Handle, HeldLock, LockOwner, LockRange, LockRequest};
use forebay_types::{Errno, FileLock, InodeId, LockKind, LockMode};

use crate::fuse::{Ops, Outcome};

impl Ops {
    /// The lock that is in the way of another.
    pub(super) async fn lock_in_the_way(&self, ino: InodeId, request: &LockRequest) -> Outcome<Option<HeldLock>> {
        let Some(mode) = request.mode else { return Ok(None) };
        Ok(self.fs.lock_in_the_way(ino, self.file_lock(request, mode)).await?.map(held))
    }

    /// Takes a lock or gives it back; waits for it where `wait`, until dropped.
    pub(super) async fn set_lock(&self, ino: InodeId, request: &LockRequest, wait: bool) -> Outcome<()> {
        match request.mode {
            Some(mode) => self.fs.lock(ino, self.file_lock(request, mode), wait).await,
            None => self.fs.unlock(ino, self.file_lock(request, abi::LockMode::Shared).span()).await,
        }
    }

    /// A process has closed a descriptor of a file.
    pub(super) async fn unlock_process(&self, ino: InodeId, owner: LockOwner) -> Outcome<()> {
        self.fs.unlock_all(ino, LockKind::Posix, owner.0).await
    }

    /// Nobody has an open file any more.
    pub(super) async fn unlock_handle(&self, ino: InodeId, handle: Handle, flock: Option<LockOwner>) -> Outcome<()> {
        self.fs.close_locks(ino, handle.0, flock.map(|owner| owner.0)).await
    }

    /// Refuses to read or write by an open file whose lock others have taken: its program believes that it has it.
    pub(super) fn check_lock(&self, ino: InodeId, handle: Handle) -> Outcome<()> {
        if self.fs.has_lost_lock(ino, handle.0) { Err(Errno::Io.into()) } else { Ok(()) }
    }

    fn file_lock(&self, request: &LockRequest, mode: abi::LockMode) -> FileLock {
        let kind = match request.kind {
            abi::LockKind::Posix => LockKind::Posix,
            abi::LockKind::Flock => LockKind::Flock,
        };
        let mode = match mode {
            abi::LockMode::Shared => LockMode::Shared,
            abi::LockMode::Exclusive => LockMode::Exclusive,
        };
        let (session, owner, handle, pid) = (self.fs.session(), request.owner.0, request.handle.0, request.pid);
        let LockRange { first, last } = request.range;
        FileLock { session, kind, owner, handle, first, last, mode, pid }
    }
}

fn held(lock: FileLock) -> HeldLock {
    let mode = match lock.mode {
        LockMode::Shared => abi::LockMode::Shared,
        LockMode::Exclusive => abi::LockMode::Exclusive,
    };
    HeldLock { range: LockRange { first: lock.first, last: lock.last }, mode, pid: lock.pid }
}
