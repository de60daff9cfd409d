//! How damage is repaired: one log entry each, which looks again first and does nothing where nothing is wrong.

use bytes::Bytes;
use forebay_types::{FileKind, InodeId, StripeId};
use serde::{Deserialize, Serialize};

use super::FsckHold;

/// A repair, sent to the shard that has what is to be repaired. What that shard cannot see for itself, because another
/// shard has it, is told, with the version that the inode had meanwhile: one that has changed is left alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Repair {
    /// Remove a row that cannot be read, or does not belong there; what it said is found again by other repairs, as far as other rows say it too.
    Row {
        /// Its key, from the table's letter on.
        key: Bytes,
    },
    /// Make an inode, its extents or its names agree. One whose record is lost, but not what belongs to it, is made anew.
    Inode {
        /// The inode.
        ino: InodeId,
    },
    /// List an inode without names as an orphan, or take one with names, or one that does not exist, off the list.
    Orphan {
        /// The inode.
        ino: InodeId,
        /// Its version when no name led to it.
        version: u64,
    },
    /// The links of a file, or life for a directory that has a name.
    Links {
        /// The inode.
        ino: InodeId,
        /// Its version when its names were counted.
        version: u64,
        /// Its names, at least one.
        names: u32,
    },
    /// The directory that a directory is in.
    Parent {
        /// The directory that is in it.
        ino: InodeId,
        /// Its version when its name was seen.
        version: u64,
        /// Where its name is.
        parent: InodeId,
    },
    /// Remove a name that leads nowhere, or is one too many for a directory; or say what it leads to.
    Name {
        /// The directory it is in.
        dir: InodeId,
        /// The name.
        name: Bytes,
        /// Where it leads.
        ino: InodeId,
        /// What that is; the name goes where absent.
        kind: Option<FileKind>,
    },
    /// Give an inode without a name one in `lost+found`.
    Attach {
        /// The directory `lost+found`.
        dir: InodeId,
        /// The inode.
        ino: InodeId,
        /// What it is.
        kind: FileKind,
    },
    /// Let go of what a transaction holds that is over.
    Hold(FsckHold),
    /// Count the bytes of stripes that extents name.
    Stripes {
        /// The stripes, at most [`super::FsckRead::INODES_MAX`].
        stripes: Vec<StripeId>,
    },
    /// Count the filesystem's inodes and bytes.
    Usage,
    /// Count transactions under way, and set counters of numbers above all that are in use.
    Counters,
}

impl Repair {
    /// The inodes that it may change.
    #[must_use]
    pub fn inodes(&self) -> Vec<InodeId> {
        match self {
            Self::Inode { ino } | Self::Orphan { ino, .. } | Self::Links { ino, .. } | Self::Parent { ino, .. } => {
                vec![*ino]
            }
            Self::Name { dir, .. } | Self::Attach { dir, .. } => vec![*dir],
            Self::Row { .. } | Self::Hold(_) | Self::Stripes { .. } | Self::Usage | Self::Counters => Vec::new(),
        }
    }
}
