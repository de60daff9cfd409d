//! Service *lease*: a client and the leaders on one host, about what the client may believe.
//!
//! Leases are granted with the answers of service [`meta`](crate::meta). Here a client says that it is alive and is told
//! what to give up ([`LeaseRequest::Poll`], answered as soon as there is anything, or after [`LeaseRequest::Poll::wait_ms`]),
//! and says that it has ([`LeaseRequest::Give`]).

use forebay_types::{FsId, InodeId, LeaseMode, SessionId, ShardId};
use serde::{Deserialize, Serialize};

/// What can be asked of the lease service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum LeaseRequest {
    /// The session is alive: its leases of these shards are good for another
    /// [`LEASE_MS`](forebay_types::limits::LEASE_MS) from now.
    Poll {
        /// The session.
        session: SessionId,
        /// Shards led by this host.
        shards: Vec<Known>,
        /// Longest wait for something to tell, in milliseconds.
        wait_ms: u32,
    },
    /// The session has given up leases, or part of them.
    Give {
        /// The session.
        session: SessionId,
        /// The shard.
        shard: ShardId,
        /// The number of its introduction.
        number: u64,
        /// What it gives up, and what it keeps of that.
        leases: Vec<Given>,
    },
}

/// A shard to whose leader a session has introduced itself.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Known {
    /// The shard.
    pub shard: ShardId,
    /// The number of the introduction.
    pub number: u64,
    /// The last revocation that the session knows of.
    pub seen: u64,
}

/// A lease given up.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Given {
    /// The filesystem.
    pub fs: FsId,
    /// The inode.
    pub ino: InodeId,
    /// What is kept.
    pub keep: Option<LeaseMode>,
    /// The revocation that this follows; 0 for none.
    pub number: u64,
}

/// A lease to be given up.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Revoke {
    /// The filesystem.
    pub fs: FsId,
    /// The inode.
    pub ino: InodeId,
    /// What may be kept.
    pub keep: Option<LeaseMode>,
    /// Its number; grows by one with each revocation of the session at this leader.
    pub number: u64,
}

/// What the lease service answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum LeaseReply {
    /// How the session stands with each of the shards asked about, in that order.
    Standings(Vec<Standing>),
    /// Taken in.
    Done,
    /// This host is in no cluster, or the request cannot be read; the reason is for the log.
    Refused {
        /// Why.
        reason: String,
    },
}

/// How a session stands with a shard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Standing {
    /// Its leases are good, but for these, oldest first.
    Good {
        /// The number of the last of them: to be said with the next poll.
        told: u64,
        /// To be given up.
        revokes: Vec<Revoke>,
    },
    /// The shard is not led from here, or its leader does not know the session any more: it has to introduce itself.
    Unknown,
}
