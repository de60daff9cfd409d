//! What a shard answers.

use bytes::Bytes;
use forebay_types::{
    Attr, Epoch, Errno, Extent, FileKind, FileLock, Geometry, HostId, InodeId, LifetimeClass, Owner, SessionId,
    ShardId, Space, Statfs, StripeId, Timestamp,
};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::ReadOp;
use super::{FsckReply, OwnerUsage, QuotaState};

/// What a shard answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MetaReply {
    /// A name was found or made; `attr` is absent where another shard has it.
    Entry {
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
        /// Its attributes, where this shard has them.
        attr: Option<Attr>,
        /// Whether this call made it.
        created: bool,
    },
    /// Attributes.
    Attr(Attr),
    /// Directory entries.
    Entries {
        /// In cookie order.
        entries: Vec<DirEntry>,
        /// Whether there are no more.
        end: bool,
    },
    /// A symlink's target, or an extended attribute's value.
    Bytes(Bytes),
    /// Extended attribute names.
    Names(Vec<Bytes>),
    /// Extents of the range asked for, in order; bytes in none of them are holes.
    Extents {
        /// The file's attributes at the same moment.
        attr: Attr,
        /// The extents, clipped to the range, at most [`forebay_types::limits::EXTENTS_PER_MESSAGE`].
        extents: Vec<Extent>,
        /// How far the answer reaches: ask again from here where it is before the range's end.
        covered_to: u64,
        /// Lifetime class of the file.
        class: LifetimeClass,
    },
    /// Stripes allocated, each in a placement group of the geometry given.
    Stripes {
        /// Their ids.
        stripes: Vec<StripeId>,
        /// How each is to be cut, by position.
        geometries: Vec<Geometry>,
    },
    /// Space.
    Statfs(Statfs),
    /// Done, nothing to tell.
    Done,
    /// Refused; nothing has changed.
    Error(MetaError),
    /// Between shards: a name is reserved for a rename.
    Reserved {
        /// What has the name now and will be replaced, or exchanged.
        target: Option<(InodeId, FileKind)>,
        /// Where given, only this user may replace it: the directory is sticky.
        owner: Option<u32>,
    },
    /// The session is known to the shard's leader now.
    Introduced {
        /// Its number, for its calls from now on.
        number: u64,
        /// Those of its exclusive leases that it still has.
        exclusive: Vec<InodeId>,
        /// Those of its programs' locks that it has lost to others.
        lost: Vec<(InodeId, FileLock)>,
    },
    /// So many bytes are shared now.
    Copied {
        /// How many.
        bytes: u64,
        /// Attributes of the file copied to.
        attr: Attr,
    },
    /// Inode numbers set aside for the session.
    Inodes {
        /// The first.
        first: InodeId,
        /// How many, one after the other.
        count: u32,
    },
    /// A directory that is the session's to change.
    Delegated(Box<Delegated>),
    /// What the session had done by itself is done.
    Logged {
        /// What was refused, by position.
        failed: Vec<(u32, MetaError)>,
        /// Owners that grew by it and may not grow any more.
        over: Vec<Owner>,
    },
    /// Quotas, in the order of their owners.
    Quotas(Vec<QuotaState>),
    /// What the shard has of each owner asked for.
    OwnerUsage(Vec<OwnerUsage>),
    /// The directory whose quota the inode counts for, if any.
    QuotaDir(Option<InodeId>),
    /// Who has something in the shard, in order, with what that is.
    Owners(Vec<(Owner, Space)>),
    /// What a check has asked for.
    Fsck(Box<FsckReply>),
}

/// A delegated directory, as it was when it was delegated.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Delegated {
    /// The shard's time at that moment.
    pub now: Timestamp,
    /// The directory's inode, as the shard keeps it.
    pub inode: Bytes,
    /// All its names but `.` and `..`, without attributes.
    pub names: Vec<DirEntry>,
    /// Those whom what the caller makes there would count for, and who may not grow any more.
    pub over: Vec<Owner>,
}

/// A directory entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: Bytes,
    /// Its inode.
    pub ino: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// Its place: grows, never reused within the directory, stable while other entries come and go. `.` has 1, `..` 2.
    pub cookie: u64,
    /// Its attributes, where asked for and here.
    pub attr: Option<Attr>,
}

/// Why a shard refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum MetaError {
    /// An answer POSIX has a number for.
    #[error("{0}")]
    Posix(Errno),
    /// The host does not lead the shard: ask its leader, or fetch the map.
    #[error("{shard} is not led from here (map epoch {epoch})")]
    NotServed {
        /// The shard.
        shard: ShardId,
        /// The host's map epoch.
        epoch: Epoch,
        /// Who leads it, if the host knows.
        leader: Option<HostId>,
    },
    /// The name is part of an operation over two shards that has not ended: ask again shortly.
    #[error("an operation on this name is still under way")]
    Busy,
    /// The session has ended.
    #[error("{0} has ended")]
    SessionEnded(SessionId),
    /// No placement group can be written at present.
    #[error("too few storage hosts are up to store data safely")]
    NoPlacement,
    /// A commit named a stripe without proof that enough of it is durable.
    #[error("{stripe} has {have} durable chunks, {need} are needed")]
    NotDurable {
        /// The stripe.
        stripe: StripeId,
        /// Valid receipts.
        have: u8,
        /// Receipts needed.
        need: u8,
    },
    /// The shard's store failed.
    #[error("the shard's store failed: {reason}")]
    Storage {
        /// What storage said.
        reason: String,
    },
    /// The shard's leader does not know the session, or not any more: say what it has open with [`ReadOp::Introduce`], then ask
    /// again. Nothing happened.
    #[error("the new leader of {shard} does not know the session yet")]
    NotIntroduced {
        /// The shard.
        shard: ShardId,
    },
}

impl From<Errno> for MetaError {
    fn from(errno: Errno) -> Self {
        Self::Posix(errno)
    }
}
