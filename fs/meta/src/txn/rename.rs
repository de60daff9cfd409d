//! Rename over shards.
//!
//! The source name is held throughout. In order, each where it applies: reserve the new name at its directory; for a
//! directory that changes its parent, keep others from moving directories (shard 0) and walk up from the new parent,
//! which must not meet it; check the moved inode; mark a replaced directory dying, or check a replaced file. From here
//! on nothing can be refused: insert the new name (which frees it), remove the old name here, tell a directory its new
//! parent, drop what was replaced, let others move directories again.
//!
//! An exchange does the same with what has the new name: it is checked like the moved inode, walked up for from the old
//! parent, gets the old name in place of its removal, and its new parent. Before that point a refusal undoes what was done:
//! release the new name, revive the replaced directory, let others move, free the source name.
//!
//! Steps go to this shard, too, the same way as to others.

use bytes::Bytes;
use forebay_types::{Cred, Errno, FileKind, FsId, InodeId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply, Mutation, PeerAction, RenameHow, TxnId};
use serde::{Deserialize, Serialize};

use super::Next;
use crate::dir;
use crate::error::Fault;
use crate::ops::rename::Place;
use crate::record::Dentry;
use crate::tx::Tx;

/// Which answer is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
enum State {
    Reserve,
    MoveBegin,
    Walk(InodeId),
    WalkBack(InodeId),
    CheckMoved,
    TakeTarget,
    Insert,
    SetParent,
    SetTargetParent,
    DropTarget,
    MoveDone,
    UndoReserve,
    UndoTarget,
    UndoMove,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Rename {
    parent: InodeId,
    name: Bytes,
    new_parent: InodeId,
    new_name: Bytes,
    ino: InodeId,
    kind: FileKind,
    how: RenameHow,
    cred: Cred,
    /// The directory whose quota both directories count for.
    quota_dir: Option<InodeId>,
    /// Who must own the moved inode.
    owner: Option<u32>,
    target: Option<(InodeId, FileKind)>,
    /// Who must own the target.
    target_owner: Option<u32>,
    /// Whether others are kept from moving directories.
    moving: bool,
    /// Whether the target is a directory marked dying.
    killed: bool,
    /// The answer, once a refusal is being undone.
    outcome: MetaReply,
    state: State,
}

type Ask = (ShardId, PeerAction);

impl Rename {
    pub fn new(
        m: &Mutation,
        from: Place<'_>,
        to: Place<'_>,
        (dentry, quota_dir): (&Dentry, Option<InodeId>),
        how: RenameHow,
        owner: Option<u32>,
    ) -> Self {
        Self {
            parent: from.dir,
            name: from.name.clone(),
            new_parent: to.dir,
            new_name: to.name.clone(),
            ino: dentry.ino,
            kind: dentry.kind,
            how,
            cred: m.cred.clone(),
            quota_dir,
            owner,
            target: None,
            target_owner: None,
            moving: false,
            killed: false,
            outcome: MetaReply::Done,
            state: State::Reserve,
        }
    }

    /// What is moved, and what it replaces or changes places with.
    pub fn inodes(&self) -> Vec<InodeId> {
        self.target.map(|(target, _)| target).into_iter().chain([self.ino]).collect()
    }

    /// The first step.
    pub fn first(&mut self) -> Ask {
        self.ask(State::Reserve).expect("a rename always reserves the new name")
    }

    fn moves_dir(&self) -> bool {
        self.kind == FileKind::Directory && self.parent != self.new_parent
    }

    /// Whether the target is a directory that gets another parent.
    fn moves_target_dir(&self) -> bool {
        let dir = self.target.is_some_and(|(_, kind)| kind == FileKind::Directory);
        self.how == RenameHow::Exchange && dir && self.parent != self.new_parent
    }

    /// The step of a state; none where it does not apply.
    fn ask(&self, state: State) -> Option<Ask> {
        let (parent, name) = (self.new_parent, self.new_name.clone());
        let (ino, kind) = (self.ino, self.kind);
        let write = self.moves_dir().then(|| self.cred.clone());
        match state {
            State::Reserve => {
                let (how, cred) = (self.how, self.cred.clone());
                Some((
                    parent.shard(),
                    PeerAction::ReserveName { parent, name, ino, kind, how, cred, quota_dir: self.quota_dir },
                ))
            }
            State::MoveBegin => {
                let action = PeerAction::MoveBegin { moved: ino, into: parent };
                (self.moves_dir() || self.moves_target_dir()).then_some((ShardId(0), action))
            }
            State::Walk(at) => self.moves_dir().then_some((at.shard(), PeerAction::ParentOf { ino: at })),
            State::WalkBack(at) => self.moves_target_dir().then_some((at.shard(), PeerAction::ParentOf { ino: at })),
            State::CheckMoved => (self.owner.is_some() || write.is_some())
                .then(|| (ino.shard(), PeerAction::MayMove { ino, owner: self.owner, write })),
            State::TakeTarget => {
                let (target, kind) = self.target?;
                let owner = self.target_owner;
                match kind {
                    _ if self.how == RenameHow::Exchange => {
                        let write = self.moves_target_dir().then(|| self.cred.clone());
                        let asks = owner.is_some() || write.is_some();
                        asks.then_some((target.shard(), PeerAction::MayMove { ino: target, owner, write }))
                    }
                    FileKind::Directory => Some((target.shard(), PeerAction::KillDirectory { ino: target, owner })),
                    _ => owner
                        .is_some()
                        .then_some((target.shard(), PeerAction::MayMove { ino: target, owner, write: None })),
                }
            }
            State::Insert => Some((parent.shard(), PeerAction::InsertName { parent, name, ino, kind })),
            State::SetParent => self.moves_dir().then_some((ino.shard(), PeerAction::SetParent { ino, parent })),
            State::SetTargetParent => {
                let (ino, _) = self.target.filter(|_| self.moves_target_dir())?;
                Some((ino.shard(), PeerAction::SetParent { ino, parent: self.parent }))
            }
            State::DropTarget if self.how == RenameHow::Exchange => None,
            State::DropTarget => self.target.map(|(ino, _)| (ino.shard(), PeerAction::DropLink { ino, owner: None })),
            State::MoveDone | State::UndoMove => {
                self.moving.then_some((ShardId(0), PeerAction::MoveDone { moved: ino }))
            }
            State::UndoReserve => Some((parent.shard(), PeerAction::ReleaseName { parent, name })),
            State::UndoTarget => {
                let (ino, _) = self.target?;
                self.killed.then_some((ino.shard(), PeerAction::ReviveDirectory { ino }))
            }
        }
    }

    /// The first of the states that applies.
    fn go(&mut self, states: &[State]) -> Option<Next> {
        for state in states {
            if let Some((to, action)) = self.ask(*state) {
                self.state = *state;
                return Some(Next::Ask(to, action));
            }
        }
        None
    }

    pub fn answered(&mut self, tx: &mut Tx<'_>, fs: FsId, id: TxnId, reply: &MetaReply) -> Result<Next, Fault> {
        if let (true, MetaReply::Error(error)) = (self.can_be_refused(), reply) {
            return self.give_up(tx, fs, MetaReply::Error(error.clone()));
        }
        let next = match self.state {
            State::Reserve => {
                let MetaReply::Reserved { target, owner } = reply else { return self.odd(tx, fs, id) };
                self.target = *target;
                self.target_owner = *owner;
                if target.is_some_and(|(ino, _)| ino == self.ino) {
                    // Two names of one file: nothing is to be done.
                    self.target = None;
                    return self.give_up(tx, fs, MetaReply::Done);
                }
                self.go(&[State::MoveBegin, State::CheckMoved, State::TakeTarget, State::Insert])
            }
            State::MoveBegin => {
                self.moving = true;
                if self.moves_target_dir() && self.target.is_some_and(|(target, _)| target == self.parent) {
                    return self.give_up(tx, fs, MetaReply::Error(Errno::Invalid.into()));
                }
                self.go(&[State::Walk(self.new_parent), State::WalkBack(self.parent)])
            }
            State::Walk(at) | State::WalkBack(at) => {
                let MetaReply::Entry { ino: above, .. } = reply else { return self.odd(tx, fs, id) };
                let back = matches!(self.state, State::WalkBack(_));
                let moved = if back { self.target.map(|(target, _)| target) } else { Some(self.ino) };
                if moved == Some(*above) {
                    return self.give_up(tx, fs, MetaReply::Error(Errno::Invalid.into()));
                }
                match (*above == at, back) {
                    (false, false) => self.go(&[State::Walk(*above)]),
                    (false, true) => self.go(&[State::WalkBack(*above)]),
                    (true, false) => {
                        self.go(&[State::WalkBack(self.parent), State::CheckMoved, State::TakeTarget, State::Insert])
                    }
                    (true, true) => self.go(&[State::CheckMoved, State::TakeTarget, State::Insert]),
                }
            }
            State::CheckMoved => self.go(&[State::TakeTarget, State::Insert]),
            State::TakeTarget => {
                let dir = self.target.is_some_and(|(_, kind)| kind == FileKind::Directory);
                self.killed = dir && self.how != RenameHow::Exchange;
                self.go(&[State::Insert])
            }
            State::Insert => {
                self.leave(tx, fs)?;
                self.go(&[State::SetParent, State::SetTargetParent, State::DropTarget, State::MoveDone])
            }
            State::SetParent => self.go(&[State::SetTargetParent, State::DropTarget, State::MoveDone]),
            State::SetTargetParent => self.go(&[State::DropTarget, State::MoveDone]),
            State::DropTarget => self.go(&[State::MoveDone]),
            State::UndoReserve => self.go(&[State::UndoTarget, State::UndoMove]),
            State::UndoTarget => self.go(&[State::UndoMove]),
            State::MoveDone | State::UndoMove => None,
        };
        Ok(next.unwrap_or_else(|| self.finish(tx, fs)))
    }

    fn can_be_refused(&self) -> bool {
        matches!(
            self.state,
            State::Reserve
                | State::MoveBegin
                | State::Walk(_)
                | State::WalkBack(_)
                | State::CheckMoved
                | State::TakeTarget
        )
    }

    /// An answer that does not fit the step: as good as a refusal.
    fn odd(&mut self, tx: &mut Tx<'_>, fs: FsId, id: TxnId) -> Result<Next, Fault> {
        let reason = format!("an answer to {id:?} does not fit its step");
        self.give_up(tx, fs, MetaReply::Error(MetaError::Storage { reason }))
    }

    fn give_up(&mut self, tx: &mut Tx<'_>, fs: FsId, outcome: MetaReply) -> Result<Next, Fault> {
        self.outcome = outcome;
        // A name that could not be reserved is not ours to release.
        let refused = self.state == State::Reserve && matches!(self.outcome, MetaReply::Error(_));
        let next = if refused { None } else { self.go(&[State::UndoReserve]) };
        Ok(next.unwrap_or_else(|| self.finish(tx, fs)))
    }

    fn finish(&mut self, tx: &mut Tx<'_>, fs: FsId) -> Next {
        let after_insert = matches!(
            self.state,
            State::Insert | State::SetParent | State::SetTargetParent | State::DropTarget | State::MoveDone
        );
        if !after_insert {
            dir::release(tx, fs, self.parent, &self.name);
        }
        Next::Finish(self.outcome.clone())
    }

    /// The old name goes, or to what had the new one.
    fn leave(&self, tx: &mut Tx<'_>, fs: FsId) -> Result<(), Fault> {
        dir::release(tx, fs, self.parent, &self.name);
        let mut parent = dir::need_inode(tx, fs, self.parent)?;
        let dentry = dir::find_held(tx, fs, self.parent, &self.name)?.ok_or(Errno::NoEntry)?;
        dir::remove(tx, fs, &mut parent, &self.name, &dentry);
        if let (RenameHow::Exchange, Some((target, kind))) = (self.how, self.target) {
            dir::insert(tx, fs, &mut parent, &self.name, target, kind);
        }
        if self.ino.shard() == tx.me
            && let Some(mut moved) = tx.inode(fs, self.ino)?
        {
            moved.attr.ctime = tx.now;
            tx.put_inode(fs, &mut moved);
        }
        Ok(())
    }
}
