//! What the tables of [`crate::key`] hold.

use bytes::Bytes;
use forebay_types::{
    Acl, Attr, FileKind, FsId, Geometry, InodeId, LifetimeClass, Location, OpId, SessionId, ShardId, Timestamp,
};
use forebay_wire::meta::{MetaReply, PeerStep, TxnId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ShardError;
use crate::txn::Plan;

/// Version of the encoding of values: their first byte.
const VERSION: u8 = 4;

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&forebay_wire::encode(value));
    bytes
}

pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ShardError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            forebay_wire::decode(body).map_err(|e| ShardError::Corrupt { what, reason: e.to_string() })
        }
        Some((version, _)) => Err(ShardError::Version { what, found: *version }),
        None => Err(ShardError::Corrupt { what, reason: "it is empty".into() }),
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Inode {
    pub attr: Attr,
    pub class: LifetimeClass,
    /// Directories: the directory it is in (its own number for a root). Others: where it was made.
    pub parent: InodeId,
    /// Directories: the cookie of the next name.
    pub next_cookie: u64,
    /// Directories: the transaction that is removing it.
    pub dying: Option<TxnId>,
    /// Symlinks: the target.
    pub target: Bytes,
    /// The access control list, where the mode does not say all; its owner's, mask's and others' bits are the mode's.
    pub acl: Option<Box<Acl>>,
    /// Directories: the list that what is made in them begins with.
    pub default_acl: Option<Box<Acl>>,
    /// Whether it may be given a name though it has none: a file that was made without one.
    pub linkable: bool,
    /// The directory whose quota it counts for: the one it is in has the same, but for that directory itself.
    pub quota_dir: Option<InodeId>,
}

impl Inode {
    pub fn is_dir(&self) -> bool {
        self.attr.kind == FileKind::Directory
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Dentry {
    pub ino: InodeId,
    pub kind: FileKind,
    pub cookie: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct CookieRecord {
    pub name: Bytes,
    pub ino: InodeId,
    pub kind: FileKind,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct ExtentRecord {
    pub len: u64,
    pub location: Location,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Counters {
    /// Next inode number's counter; the first is kept for roots.
    pub inode: u64,
    pub stripe: u64,
    pub txn: u64,
    /// No transaction below this number is under way.
    pub oldest_txn: u64,
    /// Transactions under way.
    pub active_txns: u32,
}

impl Default for Counters {
    fn default() -> Self {
        Self { inode: 2, stripe: 1, txn: 1, oldest_txn: 1, active_txns: 0 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) enum StripeState {
    /// Allocated, not committed.
    Allocated,
    /// Durable, and named by at least one extent.
    Live,
    /// Named by nothing; may be erased from this time on.
    Garbage(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct StripeRecord {
    pub session: SessionId,
    pub geometry: Geometry,
    pub state: StripeState,
    /// Known from the first commit on.
    pub chunk_bytes: u32,
    pub live_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub(crate) struct Usage {
    pub inodes: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub(crate) struct SessionRecord {
    pub ended: bool,
    /// Whether it may have leases.
    pub joined: bool,
    pub acknowledged_below: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) enum ReplyRecord {
    Done(MetaReply),
    Pending(u64),
}

/// A transaction this shard drives, with the one step it waits for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct TxnRecord {
    pub fs: FsId,
    pub client: OpId,
    pub plan: Plan,
    pub to: ShardId,
    pub step: PeerStep,
}
