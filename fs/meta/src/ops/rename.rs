//! Move a name, replacing what has the new one. One entry where all that has to be known is in this shard; else a
//! transaction.

use bytes::Bytes;
use forebay_types::{Cred, Errno, FileKind, FsId, InodeId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply, Mutation, RenameHow};

use crate::access::{self, WRITE};
use crate::dir;
use crate::error::Fault;
use crate::name::{self, NameKind};
use crate::quota;
use crate::record::Dentry;
use crate::session::Outcome;
use crate::tx::Tx;
use crate::txn::{self, Plan, rename::Rename};

/// A name in a directory.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub dir: InodeId,
    pub name: &'a Bytes,
}

/// What is to be moved where.
pub(crate) struct Arrival<'a> {
    pub to: Place<'a>,
    pub ino: InodeId,
    pub kind: FileKind,
    pub how: RenameHow,
}

/// What a rename finds at its destination.
pub(crate) struct Found {
    pub target: Option<Dentry>,
    /// Who must own the target.
    pub owner: Option<u32>,
}

/// Checks that a rename may put a name into a directory of this shard, as far as this shard can tell: a target's owner
/// and emptiness are for the shard that has it.
pub(crate) fn check_arrival(tx: &Tx<'_>, fs: FsId, cred: &Cred, new: &Arrival<'_>) -> Result<Found, Fault> {
    let dir = dir::need_dir(tx, fs, new.to.dir, cred)?;
    let target = dir::find(tx, fs, new.to.dir, new.to.name)?;
    match new.how {
        RenameHow::NoReplace if target.is_some() => return Err(Errno::Exists.into()),
        RenameHow::Exchange if target.is_none() => return Err(Errno::NoEntry.into()),
        _ => {}
    }
    let owner = access::sticky_owner(&dir, cred);
    if target.is_some_and(|t| t.ino == new.ino) {
        return Ok(Found { target, owner });
    }
    access::need(&dir, cred, WRITE)?;
    let moves_dir = new.kind == FileKind::Directory;
    if new.how == RenameHow::Exchange {
        if moves_dir {
            dir::need_room_for_dir(&dir)?;
        }
        return Ok(Found { target, owner });
    }
    match target.map(|t| t.kind == FileKind::Directory) {
        Some(true) if !moves_dir => return Err(Errno::IsDirectory.into()),
        Some(false) if moves_dir => return Err(Errno::NotDirectory.into()),
        None if moves_dir => dir::need_room_for_dir(&dir)?,
        _ => {}
    }
    Ok(Found { target, owner })
}

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    from: Place<'_>,
    to: Place<'_>,
    how: RenameHow,
) -> Result<Outcome, Fault> {
    let dir = dir::need_dir(tx, m.fs, from.dir, &m.cred)?;
    if name::check(from.name)? != NameKind::Plain || name::check(to.name)? != NameKind::Plain {
        return Err(if how == RenameHow::NoReplace { Errno::Exists } else { Errno::Busy }.into());
    }
    let dentry = dir::find(tx, m.fs, from.dir, from.name)?.ok_or(Errno::NoEntry)?;
    let same_dir = from.dir == to.dir;
    if same_dir && from.name == to.name {
        let exists = how == RenameHow::NoReplace;
        return if exists { Err(Errno::Exists.into()) } else { Ok(Outcome::Done(MetaReply::Done)) };
    }
    if to.dir == dentry.ino {
        return Err(Errno::Invalid.into());
    }
    access::need(&dir, &m.cred, WRITE)?;
    let moves_dir = dentry.kind == FileKind::Directory && !same_dir;
    let owner = access::sticky_owner(&dir, &m.cred);
    if to.dir.shard() == tx.me {
        let into = dir::need_dir(tx, m.fs, to.dir, &m.cred)?;
        // A file of this shard can count for another directory at once; what is elsewhere, or has more below it, cannot.
        let counts_anew =
            dentry.kind != FileKind::Directory && dentry.ino.shard() == tx.me && how != RenameHow::Exchange;
        if !counts_anew {
            quota::need_same(dir.quota_dir, &into)?;
        }
        let new = Arrival { to, ino: dentry.ino, kind: dentry.kind, how };
        let found = check_arrival(tx, m.fs, &m.cred, &new)?;
        if found.target.is_some_and(|t| t.ino == dentry.ino) {
            return Ok(Outcome::Done(MetaReply::Done));
        }
        let here = |ino: InodeId| ino.shard() == tx.me;
        let moved_known = here(dentry.ino) || (owner.is_none() && !moves_dir);
        let target = found.target;
        if how == RenameHow::Exchange {
            let target = target.ok_or(Errno::NoEntry)?;
            if here(dentry.ino) && here(target.ino) {
                let dirs = [(&dentry, to.dir), (&target, from.dir)];
                if same_dir || walks_here(tx, m.fs, &dirs)? {
                    return exchange_at_once(tx, m, (from, to), (&dentry, &target), (owner, found.owner));
                }
            }
        } else {
            let target_known = target.is_none_or(|t| here(t.ino));
            if moved_known && target_known && (same_dir || walks_here(tx, m.fs, &[(&dentry, to.dir)])?) {
                return at_once(tx, m, from, to, &dentry, &found, owner);
            }
        }
    }
    let id = txn::begin(tx)?;
    dir::hold(tx, m.fs, from.dir, from.name, id);
    let mut plan = Rename::new(m, from, to, (&dentry, dir.quota_dir), how, owner);
    let first = plan.first();
    txn::launch(tx, m, id, Plan::Rename(Box::new(plan)), first)
}

fn at_once(
    tx: &mut Tx<'_>,
    m: &Mutation,
    from: Place<'_>,
    to: Place<'_>,
    dentry: &Dentry,
    found: &Found,
    owner: Option<u32>,
) -> Result<Outcome, Fault> {
    let moves_dir = dentry.kind == FileKind::Directory && from.dir != to.dir;
    let mut moved = if dentry.ino.shard() == tx.me { Some(dir::need_inode(tx, m.fs, dentry.ino)?) } else { None };
    if let Some(moved) = &moved {
        access::need_owner(moved, owner)?;
        if moves_dir {
            access::need(moved, &m.cred, WRITE)?;
        }
    }
    let replaced = found.target.map(|t| dir::need_inode(tx, m.fs, t.ino)).transpose()?;
    if let Some(replaced) = &replaced {
        access::need_owner(replaced, found.owner)?;
        if replaced.is_dir() {
            if replaced.dying.is_some() {
                return Err(MetaError::Busy.into());
            }
            dir::need_empty(tx, m.fs, replaced.attr.ino)?;
        }
    }
    let mut source = dir::need_inode(tx, m.fs, from.dir)?;
    dir::remove(tx, m.fs, &mut source, from.name, dentry);
    let mut dest = dir::need_inode(tx, m.fs, to.dir)?;
    if let Some(target) = &found.target {
        dir::remove(tx, m.fs, &mut dest, to.name, target);
    }
    dir::insert(tx, m.fs, &mut dest, to.name, dentry.ino, dentry.kind);
    if let Some(moved) = &mut moved {
        moved.attr.ctime = tx.now;
        if source.quota_dir != dest.quota_dir {
            if moved.is_dir() || moved.attr.nlink != 1 {
                return Err(Errno::CrossDevice.into());
            }
            moved.quota_dir = dest.quota_dir;
        }
        if moves_dir {
            moved.parent = to.dir;
        }
        tx.put_inode(m.fs, moved);
    }
    if let Some(replaced) = replaced {
        dir::drop_link(tx, m.fs, replaced)?;
    }
    Ok(Outcome::Done(MetaReply::Done))
}

/// Two names for two inodes of this shard change places.
fn exchange_at_once(
    tx: &mut Tx<'_>,
    m: &Mutation,
    (from, to): (Place<'_>, Place<'_>),
    (there, here): (&Dentry, &Dentry),
    (owner, target_owner): (Option<u32>, Option<u32>),
) -> Result<Outcome, Fault> {
    let same_dir = from.dir == to.dir;
    for (dentry, owner, into) in [(there, owner, to.dir), (here, target_owner, from.dir)] {
        let mut inode = dir::need_inode(tx, m.fs, dentry.ino)?;
        access::need_owner(&inode, owner)?;
        if inode.is_dir() && !same_dir {
            if inode.dying.is_some() {
                return Err(MetaError::Busy.into());
            }
            access::need(&inode, &m.cred, WRITE)?;
            inode.parent = into;
        }
        inode.attr.ctime = tx.now;
        tx.put_inode(m.fs, &mut inode);
    }
    dir::replace(tx, m.fs, from.dir, from.name, there, here)?;
    dir::replace(tx, m.fs, to.dir, to.name, here, there)?;
    Ok(Outcome::Done(MetaReply::Done))
}

/// [`walk_here`] for everything that moves; what is not a directory may go anywhere.
fn walks_here(tx: &Tx<'_>, fs: FsId, moves: &[(&Dentry, InodeId)]) -> Result<bool, Fault> {
    for (dentry, into) in moves {
        if dentry.kind == FileKind::Directory && !walk_here(tx, fs, dentry.ino, *into)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this shard alone can tell that `moved` may become a descendant of `into`: it is the arbiter, nobody else
/// moves a directory, and all directories up to the root are here. An error where it may not.
fn walk_here(tx: &Tx<'_>, fs: FsId, moved: InodeId, into: InodeId) -> Result<bool, Fault> {
    if tx.me != ShardId(0) || tx.get_raw(&tx.keys.moving(fs))?.is_some() {
        return Ok(false);
    }
    let mut at = into;
    loop {
        if at == moved {
            return Err(Errno::Invalid.into());
        }
        if at.shard() != tx.me {
            return Ok(false);
        }
        let parent = dir::need_inode(tx, fs, at)?.parent;
        if parent == at {
            return Ok(true);
        }
        at = parent;
    }
}
