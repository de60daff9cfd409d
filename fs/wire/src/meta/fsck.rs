//! The check of a filesystem's metadata: what is asked of shards, what they tell, and how damage is repaired.
//!
//! A shard is examined as it is at one moment ([`FsckRead::Examine`]), page by page: that finds what is wrong within it
//! ([`Finding`]) and tells what has to be compared with other shards: inodes, names, and what transactions hold. As no
//! moment is one of all shards, what looks wrong between them is looked at again while it is watched
//! ([`FsckRead::Watch`]), and counts only if it was at rest all the while.

mod finding;
mod repair;

use bytes::Bytes;
use forebay_types::{FileKind, FsId, InodeId};
use serde::{Deserialize, Serialize};

use super::TxnId;
pub use finding::{CounterOf, Finding, Quantity};
pub use repair::Repair;

/// A part of all inodes, or stripes: what is examined at a time, so that neither side needs memory without bound.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Part {
    /// Which, from 0.
    pub number: u32,
    /// Of how many; at least 1.
    pub of: u32,
}

impl Part {
    /// Everything.
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// Whether the number of an inode or stripe is in the part.
    #[must_use]
    pub fn has(self, number: u64) -> bool {
        // Numbers that follow each other go to different parts, whatever their low bits mean.
        let mixed = (number ^ (number >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed % u64::from(self.of.max(1)) == u64::from(self.number)
    }

    /// Whether it is the first, which what there is only once counts to.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.number == 0
    }
}

/// What is asked for a check; of the superuser only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum FsckRead {
    /// A page of an examination, which begins with page 0; pages are asked for in order, the last one asked for also
    /// again. Answered with [`FsckReply::Page`], or [`forebay_types::Errno::Stale`] where the examination is not known
    /// (any more): it has to begin anew.
    Examine {
        /// The examination's number, chosen at random.
        check: u64,
        /// Which page.
        page: u32,
        /// What to examine.
        part: Part,
        /// Where there are any: only their names are told, nothing else. At most [`Self::INODES_MAX`].
        only: Vec<InodeId>,
    },
    /// Notice from now on which of these inodes are given names in this shard; ends what was watched before. Answered
    /// with [`FsckReply::Watching`].
    Watch {
        /// The watch's number, chosen at random.
        watch: u64,
        /// The inodes, at most [`Self::INODES_MAX`].
        inodes: Vec<InodeId>,
    },
    /// How some things are now. Answered with [`FsckReply::Seen`].
    Look {
        /// The watch to tell of.
        watch: u64,
        /// Inodes of this shard, at most [`Self::INODES_MAX`].
        inodes: Vec<InodeId>,
        /// Inodes of any shard: which of them have to do with a transaction that this shard drives. At most
        /// [`Self::INODES_MAX`].
        moving: Vec<InodeId>,
        /// Numbers of transactions of this shard, at most [`Self::INODES_MAX`].
        txns: Vec<u64>,
        /// What is held in this shard, at most [`Self::INODES_MAX`].
        holds: Vec<FsckHold>,
    },
}

impl FsckRead {
    /// Most inodes, transactions or holds that one question may name.
    pub const INODES_MAX: usize = 4096;
}

/// What a shard tells.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum FsckReply {
    /// A page of an examination.
    Page(FsckPage),
    /// The inodes are watched.
    Watching,
    /// How things are.
    Seen(FsckSeen),
}

/// A part of what an examination finds.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct FsckPage {
    /// Inodes of the part.
    pub inodes: Vec<InodeFacts>,
    /// Names that lead to inodes of the part, in whatever shard those are.
    pub names: Vec<NameFacts>,
    /// What transactions hold, with the first part.
    pub holds: Vec<FsckHold>,
    /// Numbers of the transactions that the shard drives, with the first part.
    pub txns: Vec<u64>,
    /// What is wrong within the shard.
    pub findings: Vec<Finding>,
    /// Whether there are no more pages.
    pub end: bool,
}

/// How things are in a shard at one moment.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct FsckSeen {
    /// Those of the inodes that are there.
    pub inodes: Vec<InodeFacts>,
    /// Those that have to do with a transaction under way.
    pub moving: Vec<InodeId>,
    /// Those of the transactions that are under way.
    pub txns: Vec<u64>,
    /// Those of the holds that are there.
    pub holds: Vec<FsckHold>,
    /// Those of the watched inodes that have been given a name; none where the watch is not known (any more).
    pub named: Option<Vec<InodeId>>,
}

/// What a check has to know of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InodeFacts {
    /// Its number.
    pub ino: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// Links, as it says.
    pub nlink: u32,
    /// Its version.
    pub version: u64,
    /// Directories: the directory it is in, as it says. Others: where it was made.
    pub parent: InodeId,
}

/// What a check has to know of a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub struct NameFacts {
    /// The directory.
    pub dir: InodeId,
    /// The name.
    pub name: Bytes,
    /// Where it leads.
    pub ino: InodeId,
    /// What that is, as the directory says.
    pub kind: FileKind,
}

/// Something that others are kept off by a transaction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub struct FsckHold {
    /// The filesystem.
    pub fs: FsId,
    /// What.
    pub what: Held,
    /// By which transaction.
    pub txn: TxnId,
}

/// What a transaction may hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Held {
    /// A name in a directory.
    Name {
        /// The directory.
        dir: InodeId,
        /// The name.
        name: Bytes,
    },
    /// A directory that is being removed.
    Directory {
        /// The directory.
        ino: InodeId,
    },
    /// The right to move directories of the filesystem.
    Moves,
}
