//! Which inodes an operation names.

use forebay_types::InodeId;

use super::{MutateOp, QuotaChange, ReadOp};

impl ReadOp {
    /// The inode that it is about.
    pub fn inode(&self) -> Option<InodeId> {
        match self {
            Self::Lookup { parent: ino, .. }
            | Self::ReadDir { dir: ino, .. }
            | Self::GetAttr { ino }
            | Self::ReadLink { ino }
            | Self::GetXattr { ino, .. }
            | Self::ListXattr { ino }
            | Self::Open { ino, .. }
            | Self::Close { ino }
            | Self::Extents { ino, .. }
            | Self::Exclusive { ino, .. }
            | Self::QuotaDir { ino }
            | Self::Delegate { dir: ino } => Some(*ino),
            Self::Statfs
            | Self::Introduce { .. }
            | Self::Quotas { .. }
            | Self::OwnerUsage { .. }
            | Self::Owners { .. }
            | Self::Fsck(_) => None,
        }
    }
}

impl MutateOp {
    /// The inodes that it names, each once: a directory for each name, a file for each change of one. Of what a log has
    /// in it, none ([`MutateOp::Logged`]).
    pub fn inodes(&self) -> Vec<InodeId> {
        match self {
            Self::Create { parent, .. }
            | Self::Mkdir { parent, .. }
            | Self::Unlink { parent, .. }
            | Self::Rmdir { parent, .. }
            | Self::Tmpfile { parent, .. } => vec![*parent],
            Self::Rename { parent: first, new_parent: second, .. }
            | Self::Link { ino: first, parent: second, .. }
            | Self::CopyRange { from: first, to: second, .. } => both(*first, *second),
            Self::SetAttr { ino, .. }
            | Self::SetXattr { ino, .. }
            | Self::RemoveXattr { ino, .. }
            | Self::Commit { ino, .. }
            | Self::Exchange { ino, .. }
            | Self::Fallocate { ino, .. }
            | Self::Accessed { ino, .. }
            | Self::Quota(QuotaChange::Assign { ino, .. }) => vec![*ino],
            Self::Repair(repair) => repair.inodes(),
            Self::MakeRoot
            | Self::AllocateStripes { .. }
            | Self::EndSession { .. }
            | Self::ReserveInodes { .. }
            | Self::Logged { .. }
            | Self::Quota(_) => Vec::new(),
        }
    }
}

fn both(first: InodeId, second: InodeId) -> Vec<InodeId> {
    if first == second { vec![first] } else { vec![first, second] }
}
