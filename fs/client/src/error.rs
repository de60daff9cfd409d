//! What a client operation can fail with.

use forebay_net::NetError;
use forebay_types::{Errno, InodeId, SessionId, ShardId, StripeId};
use forebay_wire::cluster::ClusterError;
use forebay_wire::tier::TierError;

/// Why an operation failed. [`Self::errno`] is what an application sees of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// An answer POSIX has a number for.
    #[error("{0}")]
    Posix(#[from] Errno),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The cluster group refused.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A mover refused or failed.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// None of the addresses given answers.
    #[error("no host of {seeds} answers: {reason}")]
    NoHost {
        /// The addresses.
        seeds: String,
        /// What the last one did.
        reason: String,
    },
    /// The deadline passed while trying again.
    #[error("no success within {timeout_ms} ms: {reason}")]
    TimedOut {
        /// The deadline.
        timeout_ms: u64,
        /// What the last attempt came to.
        reason: String,
    },
    /// Too few drives took the chunks of a stripe, or too few have them.
    #[error("{stripe}: {have} chunks can be had, {need} are needed: {reason}")]
    TooFewChunks {
        /// The stripe.
        stripe: StripeId,
        /// Chunks that could be written or read.
        have: usize,
        /// Chunks needed.
        need: usize,
        /// What the last drive that failed said.
        reason: String,
    },
    /// A shard's store failed.
    #[error("metadata could not be stored: {reason}")]
    MetadataStore {
        /// What it said.
        reason: String,
    },
    /// The session has ended: the mount was silent for too long.
    #[error("this client's session has ended (it was silent for too long): unmount and mount again")]
    SessionEnded,
    /// A shard could not be told that a session has ended: what the session has on its way may still be carried out.
    #[error("{shard} cannot be told that {session} has ended, and may still take changes from it: {reason}")]
    NotFenced {
        /// The session.
        session: SessionId,
        /// The shard.
        shard: ShardId,
        /// Why it could not be told.
        reason: Box<ClientError>,
    },
    /// Others may have changed a file while this client could not be reached: what it had not written back is lost.
    #[error(
        "{ino} was written here and not made durable while this client could not be reached for longer than a lease: that is lost"
    )]
    LeaseLost {
        /// The file.
        ino: InodeId,
    },
    /// Others may have changed a directory while this client could not be reached: what it had done there and not made
    /// durable is lost.
    #[error(
        "{ops} operations in directories were done here and not made durable while this client could not be reached for longer than a lease: they are lost"
    )]
    DelegationLost {
        /// How many.
        ops: u64,
    },
    /// The shard refused what was done here before; a defect.
    #[error("{failed} of the operations done here were refused by {shard}, the first because: {reason}")]
    LogRefused {
        /// The shard.
        shard: ShardId,
        /// How many.
        failed: usize,
        /// Why the first was.
        reason: forebay_wire::meta::MetaError,
    },
    /// An answer that does not fit the question; a defect of the peer.
    #[error("{what} was answered by something else")]
    UnexpectedReply {
        /// The question.
        what: &'static str,
    },
    /// Random numbers cannot be had.
    #[error("the operating system gives no random numbers: {reason}")]
    NoRandom {
        /// What it said.
        reason: String,
    },
}

impl ClientError {
    /// What an application sees of it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Posix(errno) => *errno,
            Self::TimedOut { .. } => Errno::TimedOut,
            Self::SessionEnded => Errno::Stale,
            Self::Tier(TierError::Filesystem { errno, .. }) => *errno,
            _ => Errno::Io,
        }
    }
}
