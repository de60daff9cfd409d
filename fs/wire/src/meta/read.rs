//! What can be asked of a shard without changing it.

use bytes::Bytes;
use forebay_types::{ByteRange, FileLock, InodeId, Owner};
use serde::{Deserialize, Serialize};

use super::FsckRead;
#[cfg(doc)]
use super::{MetaReply, MutateOp};

/// Reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ReadOp {
    /// Find a name in a directory (`.` and `..` are legal).
    Lookup {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Attributes of an inode.
    GetAttr {
        /// The inode.
        ino: InodeId,
    },
    /// Entries of a directory.
    ReadDir {
        /// The directory.
        dir: InodeId,
        /// Entries after this cookie; 0 for all.
        after: u64,
        /// Most entries in the answer.
        limit: u32,
        /// Whether to add the attributes that this shard has.
        with_attrs: bool,
    },
    /// Target of a symlink.
    ReadLink {
        /// The symlink.
        ino: InodeId,
    },
    /// Value of an extended attribute.
    GetXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name, as in `user.mime_type`.
        name: Bytes,
    },
    /// Names of extended attributes.
    ListXattr {
        /// The inode.
        ino: InodeId,
    },
    /// Check permission and remember (until `Close` or the session's end) that the session has the file open: an
    /// unlinked file lives as long. Opened twice, one `Close` still ends it: clients count. With neither `read` nor `write` nothing is checked: for a file the caller has just
    /// made, whose mode may deny what its descriptor allows.
    Open {
        /// The file.
        ino: InodeId,
        /// To read.
        read: bool,
        /// To write.
        write: bool,
    },
    /// The session has the file open no more.
    Close {
        /// The file.
        ino: InodeId,
    },
    /// Where a file's bytes are.
    Extents {
        /// The file.
        ino: InodeId,
        /// Which of its bytes.
        range: ByteRange,
    },
    /// Space and inodes of this shard's part of the filesystem: `total_bytes` is what its files' extents cover, and
    /// `free_bytes` is zero.
    Statfs,
    /// Begin anew with a leader: everything that the session has open in the shard, and which exclusive leases and
    /// locks it has from an earlier leader. It has given up all others. Answered with [`MetaReply::Introduced`].
    Introduce {
        /// What it has open, or is about to.
        inodes: Vec<OpenInode>,
        /// Files it writes behind.
        exclusive: Vec<Behind>,
        /// Locks of its programs.
        locks: LocksHeld,
    },
    /// An exclusive lease of a file, to write behind; granted or not, the answer is the file's attributes.
    Exclusive {
        /// The file.
        ino: InodeId,
        /// Whether it cannot be written without: then also where other sessions want the same.
        must: bool,
    },
    /// An exclusive lease of a directory, with all of it: the session goes on by itself from there and says with
    /// [`MutateOp::Logged`] what it has done. Answered with [`MetaReply::Delegated`], or [`Errno::Again`] where others
    /// are at the directory too or it has more names than a client should keep.
    Delegate {
        /// The directory.
        dir: InodeId,
    },
    /// Quotas of the filesystem (asked of shard 0), in the order of their owners. Answered with [`MetaReply::Quotas`].
    Quotas {
        /// Those after this owner's; all where absent.
        after: Option<Owner>,
        /// Most in the answer, at most [`forebay_types::limits::OWNERS_PER_MESSAGE`].
        limit: u32,
    },
    /// What the shard has of some owners. Answered with [`MetaReply::OwnerUsage`].
    OwnerUsage {
        /// They, at most [`forebay_types::limits::OWNERS_PER_MESSAGE`].
        owners: Vec<Owner>,
    },
    /// The directory whose quota an inode counts for. Answered with [`MetaReply::QuotaDir`].
    QuotaDir {
        /// The inode.
        ino: InodeId,
    },
    /// Who has anything in the shard, in order. Answered with [`MetaReply::Owners`].
    Owners {
        /// Those after this one; all where absent.
        after: Option<Owner>,
        /// Most in the answer, at most [`forebay_types::limits::OWNERS_PER_MESSAGE`].
        limit: u32,
    },
    /// For a check of the filesystem. Answered with [`MetaReply::Fsck`].
    Fsck(FsckRead),
}

/// Locks that programs of a session hold in a shard.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct LocksHeld {
    /// Whether the session's leases were good, by its clock, until it learned of the leader: if so, nobody else can have
    /// been given a lock that is in the way.
    pub good: bool,
    /// They, each with its file.
    pub locks: Vec<(InodeId, FileLock)>,
}

/// A file that a session writes behind.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Behind {
    /// The file.
    pub ino: InodeId,
    /// The version of its attributes that the session knows; 0 for none.
    pub version: u64,
    /// Whether the lease is still good by the session's clock.
    pub good: bool,
}

/// An inode that a session has open.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct OpenInode {
    /// The inode.
    pub ino: InodeId,
    /// Whether for writing.
    pub write: bool,
}
