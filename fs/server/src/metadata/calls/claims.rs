//! Claims: what a change is about stays in nobody else's hands until it is done.

use std::collections::BTreeSet;

use forebay_types::{FileKind, FsId, InodeId, SessionId};
use forebay_wire::meta::{MetaError, MutateOp, PeerAction};

use crate::metadata::{Metadata, Served, read_lock};

impl Metadata {
    /// Waits until nobody else writes behind these inodes, and keeps it so until the claims are dropped.
    pub(super) async fn claim<'a>(
        &self,
        served: &'a Served,
        fs: FsId,
        by: Claimant,
        inodes: Vec<InodeId>,
    ) -> Result<Claims<'a>, MetaError> {
        let mut news = served.leases.watch();
        let mut claims = Claims { served, fs, inodes: Vec::new() };
        loop {
            let waits = served.leases.with(|desk| {
                if let Claimant::Session(session, number) = by {
                    self.admit(served, desk, session, number)?;
                }
                let now = self.clock.nanos();
                let mut claim = |ino: &InodeId| match by {
                    Claimant::Session(session, _) => desk.table.claim((fs, *ino), session, now),
                    Claimant::Shard => desk.table.claim_undelegated((fs, *ino), now),
                };
                let missing = inodes.iter().filter(|ino| !claims.inodes.contains(ino));
                let got: Vec<InodeId> = missing.filter(|ino| claim(ino)).copied().collect();
                claims.inodes.extend(got);
                Ok::<_, MetaError>(claims.inodes.len() < inodes.len())
            })?;
            if !waits {
                return Ok(claims);
            }
            let _ = news.changed().await;
        }
    }

    /// Claims the directories of this shard that a mutation moves or removes by a name: what somebody, the author
    /// included, has done in them by itself has to be known first.
    pub(super) async fn claim_directories_below<'a>(
        &self,
        served: &'a Served,
        fs: FsId,
        op: &MutateOp,
    ) -> Result<Claims<'a>, MetaError> {
        let find = || {
            let shard = read_lock(&served.shard);
            let find = |(dir, name): (InodeId, &[u8])| shard.find(fs, dir, name).ok().flatten();
            let found = moved(op).into_iter().filter(|(dir, _)| dir.shard() == served.id).filter_map(find);
            let directories = found.filter(|(ino, kind)| *kind == FileKind::Directory && ino.shard() == served.id);
            directories.map(|(ino, _)| ino).collect::<Vec<InodeId>>()
        };
        loop {
            let found = find();
            let claims = self.claim(served, fs, Claimant::Shard, found.clone()).await?;
            if find() == found {
                return Ok(claims);
            }
        }
    }
}

/// Who claims inodes.
#[derive(Clone, Copy)]
pub(super) enum Claimant {
    /// A session, by the number of its introduction.
    Session(SessionId, u64),
    /// Another shard.
    Shard,
}

/// Inodes that nobody else may begin to write behind.
pub(super) struct Claims<'a> {
    served: &'a Served,
    fs: FsId,
    pub inodes: Vec<InodeId>,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if self.inodes.is_empty() {
            return;
        }
        let (fs, inodes) = (self.fs, &self.inodes);
        self.served.leases.with(|desk| inodes.iter().for_each(|ino| desk.table.unclaim((fs, *ino))));
        self.served.leases.notify();
    }
}

/// What a mutation changes in a way that does not go together with what somebody writes behind, or does by itself in a
/// directory.
pub(super) fn written(op: &MutateOp) -> Vec<InodeId> {
    match op {
        // A new name does not change the file's bytes.
        MutateOp::Link { parent, .. } => vec![*parent],
        MutateOp::Logged { ops } => {
            let mut all: Vec<InodeId> = ops.iter().flat_map(|logged| written(&logged.op)).collect();
            let made = made_by_client(op);
            all.retain(|ino| !made.contains(ino));
            all.sort_unstable();
            all.dedup();
            all
        }
        op => op.inodes(),
    }
}

/// The names by which a mutation may move or remove directories.
fn moved(op: &MutateOp) -> Vec<(InodeId, &[u8])> {
    match op {
        MutateOp::Rmdir { parent, name } => vec![(*parent, name)],
        MutateOp::Rename { parent, name, new_parent, new_name, .. } => {
            vec![(*parent, name), (*new_parent, new_name)]
        }
        _ => Vec::new(),
    }
}

/// What a client has made by itself.
pub(super) fn made_by_client(op: &MutateOp) -> BTreeSet<InodeId> {
    match op {
        MutateOp::Logged { ops } => ops.iter().filter_map(|logged| logged.ino).collect(),
        _ => BTreeSet::new(),
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
        PeerAction::MakeDirectory { .. }
        | PeerAction::AddLink { .. }
        | PeerAction::DropLink { .. }
        | PeerAction::MoveBegin { .. }
        | PeerAction::MoveDone { .. }
        | PeerAction::ParentOf { .. }
        | PeerAction::MayMove { .. } => None,
    }
}
