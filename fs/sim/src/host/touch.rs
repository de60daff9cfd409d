//! What calls are about: the twin of the functions of the same names in `server`'s `metadata/calls.rs`, for the operations
//! that the simulation has.

use forebay_types::InodeId;
use forebay_wire::meta::{MutateOp, PeerAction, ReadOp};

/// The inodes that a read tells of by what it names.
pub(super) fn told_of(op: &ReadOp) -> Option<InodeId> {
    match op {
        ReadOp::Lookup { parent: ino, .. }
        | ReadOp::ReadDir { dir: ino, .. }
        | ReadOp::GetAttr { ino }
        | ReadOp::Open { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// What a mutation changes in a way that does not go together with what somebody writes behind.
pub(super) fn written(op: &MutateOp) -> Vec<InodeId> {
    match op {
        MutateOp::SetAttr { ino, .. } => vec![*ino],
        MutateOp::Create { parent, .. }
        | MutateOp::Mkdir { parent, .. }
        | MutateOp::Unlink { parent, .. }
        | MutateOp::Rmdir { parent, .. }
        | MutateOp::Link { parent, .. } => vec![*parent],
        MutateOp::Rename { parent, new_parent, .. } if parent == new_parent => vec![*parent],
        MutateOp::Rename { parent, new_parent, .. } => vec![*parent, *new_parent],
        _ => Vec::new(),
    }
}

/// The names by which a mutation may move or remove directories.
pub(super) fn moved(op: &MutateOp) -> Vec<(InodeId, &[u8])> {
    match op {
        MutateOp::Rmdir { parent, name } => vec![(*parent, name)],
        MutateOp::Rename { parent, name, new_parent, new_name, .. } => {
            vec![(*parent, name), (*new_parent, new_name)]
        }
        _ => Vec::new(),
    }
}

/// The directory that another shard's step is about.
pub(super) fn directory_of(action: &PeerAction) -> Option<InodeId> {
    match action {
        PeerAction::KillDirectory { ino, .. }
        | PeerAction::ReviveDirectory { ino }
        | PeerAction::SetParent { ino, .. }
        | PeerAction::InsertName { parent: ino, .. }
        | PeerAction::ReserveName { parent: ino, .. }
        | PeerAction::ReleaseName { parent: ino, .. } => Some(*ino),
        _ => None,
    }
}
