//! Service *meta*: clients and movers to a metadata shard, and shards to each other.
//!
//! Reads are answered from applied state. A mutation is one log entry of one shard and carries an [`OpId`]: the shard
//! keeps its answer until the client says it has it, so a retry is safe. [`MetaCall::Peer`] carries the numbered,
//! idempotent steps of operations that touch two shards.

mod fsck;
mod inodes;
mod mutate;
mod peer;
mod quota;
mod read;
mod reply;

use forebay_types::{Attr, Cred, Epoch, FsId, InodeId, LeaseMode, OpId, SessionId, ShardId};
use serde::{Deserialize, Serialize};

pub use fsck::{
    CounterOf, Finding, FsckHold, FsckPage, FsckRead, FsckReply, FsckSeen, Held, InodeFacts, NameFacts, Part, Quantity,
    Repair,
};
pub use mutate::{LoggedOp, MutateOp, NewContent, NewNode, RenameHow, SetAttr, SetTime, XattrWhen};
pub use peer::{PeerAction, PeerStep, TxnId};
pub use quota::{Allowance, Budget, OwnerUsage, QuotaChange, QuotaState};
pub use read::{Behind, LocksHeld, OpenInode, ReadOp};
pub use reply::{Delegated, DirEntry, MetaError, MetaReply};

/// A call to a shard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MetaRequest {
    /// The shard.
    pub shard: ShardId,
    /// Map epoch the caller has.
    pub epoch: Epoch,
    /// The number of the session's introduction to the shard's leader ([`MetaReply::Introduced`]); 0 of who has no
    /// leases. Of an introduction, the session's own number for it: a later one has a greater number.
    pub number: u64,
    /// What is asked.
    pub call: MetaCall,
}

/// A shard's answer to a call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MetaAnswer {
    /// What it answers.
    pub reply: MetaReply,
    /// Inodes that the session may believe what it was told of, and now is.
    pub grants: Vec<Grant>,
    /// Inodes that the session has changed and must not go on believing.
    pub stale: Vec<InodeId>,
}

/// A lease, and what it is of: attributes that go with the answer, or are newer.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Grant {
    /// The inode's attributes.
    pub attr: Attr,
    /// What the session may do.
    pub mode: LeaseMode,
}

impl From<MetaReply> for MetaAnswer {
    fn from(reply: MetaReply) -> Self {
        Self { reply, grants: Vec::new(), stale: Vec::new() }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MetaCall {
    /// Changes nothing that outlives the shard's process.
    Read {
        /// The filesystem.
        fs: FsId,
        /// The caller's session.
        session: SessionId,
        /// Who asks.
        cred: Cred,
        /// What.
        op: ReadOp,
    },
    /// Changes the namespace.
    Mutate(Box<Mutation>),
    /// Another shard's step.
    Peer(PeerStep),
}

/// A mutation with its name and its author.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Mutation {
    /// The filesystem.
    pub fs: FsId,
    /// Its name, for exactly-once.
    pub id: OpId,
    /// The session has the answers to all its mutations below this sequence number: they can be forgotten.
    pub acknowledged_below: u64,
    /// Who asks.
    pub cred: Cred,
    /// What.
    pub op: MutateOp,
}
