//! Locks of this node's programs on files: had from the leaders of the files' shards, and remembered here so that a new
//! leader can be told of them.
//!
//! What asks for a lock may be dropped at any moment: then the lock is withdrawn. What gives locks back is carried out to
//! the end, whoever stops waiting for it; the same owner's next lock on the file waits until it was. What is given back is
//! forgotten here first, what is had is remembered last, and only if no introduction has come in between: so no leader is
//! told of a lock that somebody else may have.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_cache::HeldLocks;
use forebay_net::call_lock;
use forebay_types::{Errno, FileLock, InodeId, LockKind, LockSpan, ShardId};
use forebay_wire::lock::{LockCall, LockRefusal, LockReply, LockRequest};
use forebay_wire::meta::{LocksHeld, MetaError};
use tokio::sync::Notify;

use crate::ClientError;
use crate::cluster::{Attempts, SHARD_TIMEOUT};
use crate::filesystem::Filesystem;
use crate::shard::Shards;

/// How long a host keeps a call that waits for a lock.
const WAIT: Duration = Duration::from_millis(2_500);
/// Pause before locks that could not be given back are tried to be again.
const INSIST_PAUSE: Duration = Duration::from_secs(1);

/// An owner's locks on a file.
type Owned = (InodeId, u64);

/// See the module.
#[derive(Default)]
pub(crate) struct Locks {
    held: Mutex<HeldLocks>,
    /// Of calls to each shard.
    numbers: Mutex<HashMap<ShardId, Numbers>>,
    /// Calls under way that give back locks.
    settling: Mutex<HashMap<Owned, u32>>,
    settled: Notify,
}

#[derive(Default)]
struct Numbers {
    last: u64,
    /// Of calls whose answers may matter yet.
    open: BTreeSet<u64>,
}

/// A call's number; its answer is kept until this is dropped.
struct Numbered {
    locks: Arc<Locks>,
    shard: ShardId,
    op: u64,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        if let Some(numbers) = self.locks.numbers().get_mut(&self.shard) {
            numbers.open.remove(&self.op);
        }
    }
}

/// A call under way that gives back locks of an owner.
struct Settling {
    locks: Arc<Locks>,
    of: Owned,
}

impl Drop for Settling {
    fn drop(&mut self) {
        let mut settling = self.locks.settling();
        if let Some(count) = settling.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                settling.remove(&self.of);
            }
        }
        drop(settling);
        self.locks.settled.notify_waiters();
    }
}

impl Locks {
    fn held(&self) -> MutexGuard<'_, HeldLocks> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbers(&self) -> MutexGuard<'_, HashMap<ShardId, Numbers>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(self: &Arc<Self>, shard: ShardId) -> Numbered {
        let mut all = self.numbers();
        let numbers = all.entry(shard).or_default();
        numbers.last += 1;
        let op = numbers.last;
        numbers.open.insert(op);
        Numbered { locks: self.clone(), shard, op }
    }

    /// Every call to a shard below this number has been answered, or its answer does not matter.
    fn answered_below(&self, shard: ShardId) -> u64 {
        let mut all = self.numbers();
        let numbers = all.entry(shard).or_default();
        numbers.open.first().copied().unwrap_or(numbers.last + 1)
    }

    fn settling(&self) -> MutexGuard<'_, HashMap<Owned, u32>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(self: &Arc<Self>, of: Owned) -> Settling {
        *self.settling().entry(of).or_default() += 1;
        Settling { locks: self.clone(), of }
    }

    /// Ends when nothing is under way that gives back locks of an owner.
    async fn until_settled(&self, of: Owned) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Listen first, look then: what comes between is heard.
            settled.as_mut().enable();
            if !self.settling().contains_key(&of) {
                return;
            }
            settled.await;
        }
    }
}

/// A lock that is asked for; withdrawn where it is dropped before it was had or refused.
struct Asking {
    shards: Shards,
    ino: InodeId,
    lock: FileLock,
    wait: u64,
    /// The last call that asked for it.
    asked: Option<Numbered>,
}

impl Asking {
    /// The next call that asks for it, and its number.
    fn call(&mut self) -> (LockCall, u64) {
        let locks = &self.shards.locks;
        let numbered = locks.number(self.ino.shard());
        let op = numbered.op;
        let Self { ino, lock, wait, .. } = *self;
        let call = match wait {
            0 => LockCall::Try { ino, lock },
            wait => {
                let (overtakes, wait_ms) = (locks.held().holds_any(lock.pid), self.shards.lock_wait().as_millis());
                LockCall::Wait { ino, lock, wait, overtakes, wait_ms: wait_ms as u32 }
            }
        };
        self.asked = Some(numbered);
        (call, op)
    }

    /// It is had, by an answer of the leader that knows the session by a number. False where the session has introduced
    /// itself since: then it is to be asked for again.
    fn had(&mut self, number: u64) -> bool {
        let core = self.shards.leases.lock();
        if core.number(self.ino.shard()) != number {
            return false;
        }
        self.shards.locks.held().hold(self.ino, self.lock);
        drop(core);
        self.asked = None;
        true
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else { return };
        // Without a runtime the process ends, and its session.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shards, ino, lock, wait) = (self.shards.clone(), self.ino, self.lock, self.wait);
        let settling = shards.locks.settle((ino, lock.owner));
        runtime.spawn(async move {
            let before = shards.locks.held().within(ino, &lock.span());
            let call = LockCall::Withdraw { ino, lock, wait, asked: asked.op, before: before.clone() };
            if let Ok(LockReply::Refused(_)) = shards.insist(ino.shard(), &call).await {
                before.iter().for_each(|lock| shards.lose_lock(ino, lock));
            }
            drop(settling);
        });
    }
}

impl Shards {
    /// Locks that this node's programs hold in a shard, for its leader. `good`: whether the leases were until now.
    pub fn locks_held(&self, shard: ShardId, good: bool) -> LocksHeld {
        LocksHeld { good, locks: self.locks.held().of_shard(shard) }
    }

    /// Others have taken a lock that this node had: what its programs do under it must come to nothing.
    pub fn lose_lock(&self, ino: InodeId, lock: &FileLock) {
        if self.locks.held().lose(ino, lock) {
            let FileLock { kind, first, last, pid, .. } = *lock;
            tracing::warn!(%ino, ?kind, first, last, pid, "a program's lock is lost: others took it while this client could not be reached");
            self.files.lose_lock(ino);
        }
    }

    /// How long a host is to keep a call that waits for a lock: its answer has to be here in time.
    fn lock_wait(&self) -> Duration {
        WAIT.min(self.cluster.options().timeout / 2)
    }

    /// Asks the leader of a shard about a lock, until it answers; with the number of the introduction it was asked under.
    async fn lock_call(&self, shard: ShardId, op: u64, call: &LockCall) -> Result<(LockReply, u64), ClientError> {
        let mut attempts = Attempts::new(self.cluster.options().timeout);
        let wait = if matches!(call, LockCall::Wait { .. }) { self.lock_wait() } else { Duration::ZERO };
        loop {
            let map = self.cluster.map().await?;
            let Some(host) = self.cluster.leader(&map, shard) else {
                return Err(ClientError::Posix(Errno::Stale));
            };
            let number = self.leases.lock().number(shard);
            if number == 0 {
                self.be_introduced(shard, 0, &attempts).await?;
                continue;
            }
            let (fs, session, answered_below) = (self.fs, self.session.id, self.locks.answered_below(shard));
            let request = LockRequest { shard, fs, session, number, op, answered_below, call: call.clone() };
            let timeout = attempts.call_timeout().min(wait + SHARD_TIMEOUT);
            match call_lock(&self.cluster.peer(&host.address), &request, timeout).await {
                Ok(LockReply::Error(error @ MetaError::NotIntroduced { .. })) => {
                    self.be_introduced(shard, number, &attempts).await?;
                    attempts.pause(&error).await?;
                }
                Ok(LockReply::Error(error)) => self.refused(shard, (&map, host.id), error, &mut attempts).await?,
                Ok(reply) => return Ok((reply, number)),
                Err(error) if error.is_transient() => {
                    self.cluster.not_leader(&map, shard, host.id, None);
                    attempts.pause(&error).await?;
                    attempts.refresh(&self.cluster).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// [`Self::lock_call`] again and again until it is answered, or the session has ended and its locks with it.
    async fn insist(&self, shard: ShardId, call: &LockCall) -> Result<LockReply, ClientError> {
        loop {
            self.session.check()?;
            let numbered = self.locks.number(shard);
            match self.lock_call(shard, numbered.op, call).await {
                Ok((reply, _)) => return Ok(reply),
                Err(ClientError::SessionEnded) => return Err(ClientError::SessionEnded),
                Err(error) => tracing::info!(%shard, ?call, %error, "locks are not given back yet, trying again"),
            }
            tokio::time::sleep(INSIST_PAUSE).await;
        }
    }

    /// Has a call carried out that gives back locks, and waits for it, within the time that operations have.
    async fn give_locks_back(&self, of: Owned, call: LockCall) -> Result<(), ClientError> {
        let (this, settling) = (self.clone(), self.locks.settle(of));
        let given = tokio::spawn(async move {
            let given = this.insist(of.0.shard(), &call).await;
            drop(settling);
            given
        });
        let attempts = Attempts::new(self.cluster.options().timeout);
        let unfinished = |_| ClientError::UnexpectedReply { what: "an unlock" };
        attempts.within("locks are not given back yet", async { given.await.map_err(unfinished)? }).await.map(drop)
    }
}

impl Filesystem {
    /// The lock that would be in the way of another; of one on another node, the process is not told.
    pub async fn lock_in_the_way(&self, ino: InodeId, lock: FileLock) -> Result<Option<FileLock>, ClientError> {
        match self.shards.lock_call(ino.shard(), 0, &LockCall::Test { ino, lock }).await?.0 {
            LockReply::InTheWay(other) => Ok(other.map(|other| {
                let pid = if other.session == self.session() { other.pid } else { 0 };
                FileLock { pid, ..other }
            })),
            _ => Err(ClientError::UnexpectedReply { what: "a lock's test" }),
        }
    }

    /// Takes a lock; with `wait`, waits for it for as long as the shard can be reached. Dropping the future ends that.
    pub async fn lock(&self, ino: InodeId, lock: FileLock, wait: bool) -> Result<(), ClientError> {
        let shards = &self.shards;
        let lock = FileLock { session: self.session(), ..lock };
        let settled = async {
            shards.locks.until_settled((ino, lock.owner)).await;
            Ok(())
        };
        let attempts = Attempts::new(shards.cluster.options().timeout);
        attempts.within("locks of the same owner are not given back yet", settled).await?;
        if self.has_lost_lock(ino, lock.handle) {
            return Err(Errno::Io.into());
        }
        if wait && lock.kind == LockKind::Flock {
            // It is given up while another is waited for.
            shards.locks.held().clear(ino, &lock.span());
        }
        // Named by a number that nothing else has.
        let name = if wait { shards.locks.number(ino.shard()).op } else { 0 };
        let mut asking = Asking { shards: shards.clone(), ino, lock, wait: name, asked: None };
        loop {
            shards.session.check()?;
            let (call, op) = asking.call();
            let (reply, number) = shards.lock_call(ino.shard(), op, &call).await?;
            match reply {
                LockReply::Held if asking.had(number) => return Ok(()),
                LockReply::Held => {}
                LockReply::Waits if wait => {}
                LockReply::Refused(refusal) => {
                    asking.asked = None;
                    return Err(errno(refusal).into());
                }
                _ => return Err(ClientError::UnexpectedReply { what: "a lock" }),
            }
        }
    }

    /// Gives back what an owner of this node holds of some bytes. It is carried out, whatever this ends with.
    pub async fn unlock(&self, ino: InodeId, span: LockSpan) -> Result<(), ClientError> {
        let span = LockSpan { session: self.session(), ..span };
        if !self.shards.locks.held().clear(ino, &span) {
            return Ok(());
        }
        self.shards.give_locks_back((ino, span.owner), LockCall::Unlock { ino, span }).await
    }

    /// Gives back all of an owner's locks of a kind on a file; see [`Self::unlock`].
    pub async fn unlock_all(&self, ino: InodeId, kind: LockKind, owner: u64) -> Result<(), ClientError> {
        if !self.shards.locks.held().clear_owner(ino, kind, owner) {
            return Ok(());
        }
        let span = LockSpan { session: self.session(), kind, owner, first: 0, last: u64::MAX };
        self.shards.give_locks_back((ino, owner), LockCall::Unlock { ino, span }).await
    }

    /// Nobody has an open file any more: gives back the locks that were taken on it, and the `flock` of an owner; see
    /// [`Self::unlock`].
    pub async fn close_locks(&self, ino: InodeId, handle: u64, flock: Option<u64>) -> Result<(), ClientError> {
        if !self.shards.locks.held().close(ino, handle, flock) {
            return Ok(());
        }
        self.shards.give_locks_back((ino, flock.unwrap_or(handle)), LockCall::Close { ino, handle, flock }).await
    }

    /// Whether others have taken a lock that was held by way of an open file. Until that is closed, nothing should be
    /// read or written by it.
    #[must_use]
    pub fn has_lost_lock(&self, ino: InodeId, handle: u64) -> bool {
        self.shards.locks.held().is_lost(ino, handle)
    }
}

fn errno(refusal: LockRefusal) -> Errno {
    match refusal {
        LockRefusal::Conflict => Errno::Again,
        LockRefusal::Deadlock => Errno::Deadlock,
        LockRefusal::TooMany => Errno::NoLocks,
    }
}
