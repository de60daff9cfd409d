//! What shards ask of each other: the steps of operations over more than one.

use bytes::Bytes;
use forebay_types::{Acl, Cred, FileKind, FsId, InodeId, LifetimeClass, SessionId, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::MetaReply;
use super::RenameHow;

/// A transaction over two shards: the source shard and its own number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct TxnId {
    /// The shard that drives it.
    pub source: ShardId,
    /// That shard's number, never reused, starting at 1.
    pub number: u64,
}

/// A step that one shard asks of another. Asking twice is harmless: the answer is kept until `forget_below`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PeerStep {
    /// The transaction.
    pub txn: TxnId,
    /// Which of its steps, from 0.
    pub step: u32,
    /// The source has the answers to all its transactions below this number.
    pub forget_below: u64,
    /// The filesystem.
    pub fs: FsId,
    /// The session whose operation it is part of.
    pub author: SessionId,
    /// When the source decided it.
    pub now: Timestamp,
    /// What to do.
    pub action: PeerAction,
}

/// What one shard asks of another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum PeerAction {
    /// Make the inode of a new directory.
    MakeDirectory {
        /// Its number, chosen by the source.
        ino: InodeId,
        /// Its parent.
        parent: InodeId,
        /// Permission bits, as they are to be.
        mode: u16,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Lifetime class.
        class: LifetimeClass,
        /// Its access control list, where its mode does not say all.
        acl: Option<Box<Acl>>,
        /// The list that what is made in it begins with.
        default_acl: Option<Box<Acl>>,
        /// The directory whose quota it counts for.
        quota_dir: Option<InodeId>,
    },
    /// Mark a directory dying if it is empty; `NotEmpty` if not. A dying directory takes no new names, until it is
    /// either revived or, by `DropLink`, gone.
    KillDirectory {
        /// The directory.
        ino: InodeId,
        /// Where given: refuse with `NotPermitted` unless this user owns it (the sticky bit of the directory it is in).
        owner: Option<u32>,
    },
    /// A directory marked dying lives again: the removal did not go through.
    ReviveDirectory {
        /// The directory.
        ino: InodeId,
    },
    /// One more name for a file. Answered with its attributes.
    AddLink {
        /// The file.
        ino: InodeId,
        /// The directory whose quota it has to count for, as the directory of the new name does; else `CrossDevice`.
        quota_dir: Option<InodeId>,
    },
    /// One name fewer for a file, or the end of a dying directory; with none left it goes once nobody has it open.
    DropLink {
        /// The inode.
        ino: InodeId,
        /// Where given: refuse with `NotPermitted` unless this user owns it (the sticky bit of the directory it is in).
        owner: Option<u32>,
    },
    /// Put the reserved name into the directory, replacing what has it.
    InsertName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
    },
    /// A directory was moved: its parent is another now.
    SetParent {
        /// The directory.
        ino: InodeId,
        /// Its new parent.
        parent: InodeId,
    },
    /// Let nobody else move a directory of the filesystem to another parent until `MoveDone` (asked of shard 0); `Busy`
    /// where somebody does already. The source then walks up from `into` and gives up where it meets `moved`.
    MoveBegin {
        /// The directory that moves.
        moved: InodeId,
        /// Where to.
        into: InodeId,
    },
    /// The move is over.
    MoveDone {
        /// The directory that moved.
        moved: InodeId,
    },
    /// The parent of a directory, for the no-cycle check. Answered with [`MetaReply::Entry`].
    ParentOf {
        /// The directory.
        ino: InodeId,
    },
    /// Check that a rename may put a name into a directory, and keep everybody else off the name until `InsertName` or
    /// `ReleaseName`. Answered with [`MetaReply::Reserved`].
    ReserveName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The inode that is to get the name.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
        /// What becomes of what has the name.
        how: RenameHow,
        /// Who asks, for the permission check on the directory.
        cred: Cred,
        /// The directory whose quota the inode counts for; the directory has to count for the same, else `CrossDevice`.
        quota_dir: Option<InodeId>,
    },
    /// The rename does not take place: the name is free again.
    ReleaseName {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// May an inode be moved, or lose its name?
    MayMove {
        /// The inode.
        ino: InodeId,
        /// Where given: this user must own it, else `NotPermitted`.
        owner: Option<u32>,
        /// Where given: the caller must have write permission on it, else `Access`.
        write: Option<Cred>,
    },
}
