//! What goes into a shard's log, and what comes out of applying it.

use bytes::Bytes;
use forebay_types::{FsId, Geometry, InodeId, OpId, Owner, PgId, SessionId, ShardId, Space, StripeId, Timestamp};
use forebay_wire::meta::{MetaReply, Mutation, PeerStep, TxnId};
use serde::{Deserialize, Serialize};

use crate::error::ShardError;

/// Version of the encoding of an entry: its first byte.
pub const ENTRY_VERSION: u8 = 4;

/// What a shard is asked to change.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Input {
    /// A client's or mover's mutation.
    Mutate(Box<Mutation>),
    /// A step of a transaction that another shard (or this one) drives.
    Peer(PeerStep),
    /// The answer to a step this shard asked for with [`Effect::Send`].
    Answer {
        /// The transaction.
        txn: TxnId,
        /// The step that was asked for.
        step: u32,
        /// What the other shard answered.
        reply: MetaReply,
    },
    /// Remove an orphan that nobody has open (a part of it, where it has very many extents).
    Reap {
        /// The filesystem.
        fs: FsId,
        /// The orphan.
        ino: InodeId,
    },
    /// Every chunk of these stripes, listed by `garbage`, is erased.
    Erased {
        /// The stripes.
        stripes: Vec<StripeId>,
    },
    /// Changes of the cluster group's state, decided by its core (shard 0 only).
    Cluster {
        /// Keys of [`crate::Shard::cluster_state`] with their new values; no value deletes the key.
        writes: Vec<(Bytes, Option<Bytes>)>,
    },
    /// A session is going to have leases here: the next leader must hear of it before it changes anything.
    Join {
        /// The session.
        session: SessionId,
    },
}

/// A log entry: an input with everything that is not determined by the shard's state already decided.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Entry {
    /// The shard's time.
    pub now: Timestamp,
    /// Inodes that nobody had open when the entry was prepared: losing its last name removes such a one at once.
    pub closed: Vec<InodeId>,
    /// Whether the mutation's session had the inode it names open for writing.
    pub held: bool,
    /// Placement groups for an allocation of stripes.
    pub placements: Vec<(PgId, Geometry)>,
    /// What to do.
    pub input: Input,
}

impl Entry {
    /// The bytes that go into the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![ENTRY_VERSION];
        bytes.extend_from_slice(&forebay_wire::encode(self));
        bytes
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ShardError> {
        match bytes.split_first() {
            Some((&ENTRY_VERSION, body)) => {
                forebay_wire::decode(body).map_err(|e| ShardError::Corrupt { what: "log entry", reason: e.to_string() })
            }
            Some((version, _)) => Err(ShardError::Version { what: "log entry", found: *version }),
            None => Err(ShardError::Corrupt { what: "log entry", reason: "it is empty".into() }),
        }
    }
}

/// What applying an entry came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// The answer to the entry's input. Absent for a mutation whose transaction has not ended: its answer comes as
    /// [`Effect::Reply`] with a later entry.
    pub reply: Option<MetaReply>,
    /// What the shell has to do, in order.
    pub effects: Vec<Effect>,
    /// Inodes of which anything has changed: attributes, names or bytes.
    pub changed: Vec<(FsId, InodeId)>,
    /// The session whose operation it was, or was part of.
    pub author: Option<SessionId>,
    /// The mutation that it was, or whose transaction was driven on.
    pub operation: Option<OpId>,
}

/// What the shell does for a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask a shard (this one too) to do a step, and bring its answer back as [`Input::Answer`]. Listed by `outbox`
    /// until then.
    Send {
        /// The shard.
        to: ShardId,
        /// The step.
        step: PeerStep,
    },
    /// A mutation whose own entry gave no answer has one now: tell everybody who waits for it.
    Reply {
        /// The mutation.
        id: OpId,
        /// Its answer.
        reply: MetaReply,
    },
    /// An inode has no name any more: reap it with [`Input::Reap`] as soon as nobody has it open.
    Orphaned {
        /// The filesystem.
        fs: FsId,
        /// The inode.
        ino: InodeId,
    },
    /// The mutation made a file that its session has open for writing: add it with `OpenTable::opened`.
    Opened {
        /// The filesystem.
        fs: FsId,
        /// The session.
        session: SessionId,
        /// The file.
        ino: InodeId,
    },
    /// Something was refused for want of budget.
    Wanted {
        /// The filesystem.
        fs: FsId,
        /// Who.
        owner: Owner,
        /// What it would have in this shard; zero of what does not grow.
        wanted: Space,
    },
    /// A session has ended: forget its open files with `OpenTable::end_session`.
    SessionEnded {
        /// The session.
        session: SessionId,
    },
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
