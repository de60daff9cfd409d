//! Service *lock*: locks of programs on files, kept by the leader of each file's shard.
//!
//! A call is made under the number of the session's introduction, as those of service [`meta`](crate::meta) are. What
//! changes locks is numbered by the session, and every attempt at it carries the same number: it happens once.
//! Who waits for a lock asks again and again with [`LockCall::Wait`], each time waiting on the host for a while, and
//! keeps its place in between.

use forebay_types::{FileLock, FsId, InodeId, LockSpan, SessionId, ShardId};
use serde::{Deserialize, Serialize};

use crate::meta::MetaError;

/// A call about a lock.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct LockRequest {
    /// The shard.
    pub shard: ShardId,
    /// The filesystem.
    pub fs: FsId,
    /// The caller's session, whose all locks and owners named are.
    pub session: SessionId,
    /// The number of its introduction to the shard's leader.
    pub number: u64,
    /// The call's number.
    pub op: u64,
    /// No call of the session with a number below this is waited for any more.
    pub answered_below: u64,
    /// What is asked.
    pub call: LockCall,
}

/// What can be asked about a lock.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum LockCall {
    /// What would be in its way: [`LockReply::InTheWay`].
    Test {
        /// The file.
        ino: InodeId,
        /// The lock.
        lock: FileLock,
    },
    /// Take it at once or not at all.
    Try {
        /// The file.
        ino: InodeId,
        /// The lock.
        lock: FileLock,
    },
    /// Take it, or go on waiting for it. [`LockReply::Waits`]: ask again, soon.
    Wait {
        /// The file.
        ino: InodeId,
        /// The lock.
        lock: FileLock,
        /// The name of the wait, of the session's choice: a new one for each lock that is waited for.
        wait: u64,
        /// Whether its process does not wait for others that wait: it holds locks in other shards, for which they may be
        /// waiting.
        overtakes: bool,
        /// Longest wait for an answer, in milliseconds.
        wait_ms: u32,
    },
    /// Nobody wants the lock any more. Refused where it was had, and what was there before cannot be had again.
    Withdraw {
        /// The file.
        ino: InodeId,
        /// The lock.
        lock: FileLock,
        /// The name of the wait; 0 where there was none.
        wait: u64,
        /// The last call that asked for it. If that has not come yet, it comes to nothing.
        asked: u64,
        /// What its owner had of its bytes before, and has again.
        before: Vec<FileLock>,
    },
    /// Give back what an owner holds of some bytes.
    Unlock {
        /// The file.
        ino: InodeId,
        /// Which bytes.
        span: LockSpan,
    },
    /// Give back all that was taken on an open file.
    Close {
        /// The file.
        ino: InodeId,
        /// The open file.
        handle: u64,
        /// The owner of its `flock`, which goes as well.
        flock: Option<u64>,
    },
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum LockReply {
    /// The lock is held.
    Held,
    /// It is waited for.
    Waits,
    /// It is not to be had.
    Refused(LockRefusal),
    /// What is in its way.
    InTheWay(Option<FileLock>),
    /// Done.
    Done,
    /// The shard refused the call; nothing has changed.
    Error(MetaError),
}

/// Why a lock is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum LockRefusal {
    /// Another is in the way (`EAGAIN`).
    #[error("another lock is in the way")]
    Conflict,
    /// The wait would never end (`EDEADLK`).
    #[error("those who hold the lock wait for who asks for it")]
    Deadlock,
    /// There are too many (`ENOLCK`).
    #[error("there are too many locks, of this node or in all")]
    TooMany,
}
