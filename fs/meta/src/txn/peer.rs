//! The other side of a transaction: steps that a shard (this one, too) asks for. Each is done once; its answer is kept
//! until the source says that it is done with the transaction. A step that finds something held by another transaction
//! answers [`Errno::Again`], for which the source gives up with `Busy`.

use forebay_types::{Attr, Errno, FileKind, FsId, InodeId, limits};
use forebay_wire::meta::{MetaError, MetaReply, PeerAction, PeerStep, TxnId};

use crate::access::{self, Inherited, WRITE};
use crate::dir::{self, Birth};
use crate::error::Fault;
use crate::key;
use crate::name::{self, NameKind};
use crate::ops::rename::{Arrival, Place, check_arrival};
use crate::quota::{self, Enforce};
use crate::record::Inode;
use crate::tx::Tx;

/// Does a step, unless it was done before.
pub(crate) fn answer(tx: &mut Tx<'_>, step: &PeerStep) -> Result<MetaReply, Fault> {
    let source = step.txn.source;
    let forgotten = tx.get_raw(&tx.keys.forgotten(source))?.map_or(0, |bytes| key::number(&bytes, 0));
    if step.txn.number < forgotten {
        // A copy that was long under way: nobody waits for it.
        return Ok(MetaReply::Error(Errno::Stale.into()));
    }
    let key = tx.keys.answer(step.txn, step.step);
    if let Some(reply) = tx.get("answer", &key)? {
        return Ok(reply);
    }
    if step.forget_below > forgotten {
        tx.put_raw(tx.keys.forgotten(source), step.forget_below.to_be_bytes().to_vec());
        let from = tx.keys.answer(TxnId { source, number: forgotten }, 0);
        let to = tx.keys.answer(TxnId { source, number: step.forget_below }, 0);
        tx.delete_all(&(from, to))?;
    }
    let before = tx.savepoint();
    let acted = act(tx, step).and_then(|reply| quota::settle(tx, Enforce::Yes).map(|()| reply));
    let reply = match acted {
        Ok(reply) => reply,
        Err(Fault::Refused(error)) => {
            tx.rollback(before);
            // An answer that is kept, and not what shells say of a step that was not done and is to be asked for again.
            MetaReply::Error(if error == MetaError::Busy { Errno::Again.into() } else { error })
        }
        Err(broken) => return Err(broken),
    };
    tx.put(key, &reply);
    Ok(reply)
}

fn act(tx: &mut Tx<'_>, step: &PeerStep) -> Result<MetaReply, Fault> {
    let (fs, txn) = (step.fs, step.txn);
    match &step.action {
        PeerAction::MakeDirectory { ino, parent, mode, uid, gid, class, acl, default_acl, quota_dir } => {
            tx.local(*ino)?;
            let (acl, default_acl) = (acl.clone(), default_acl.clone());
            let inherited = Inherited { gid: *gid, mode: *mode, acl, default_acl };
            let kind = FileKind::Directory;
            let (ino, parent, quota_dir) = (*ino, *parent, *quota_dir);
            let birth = Birth { ino, kind, parent, uid: *uid, class: *class, quota_dir, inherited };
            let mut inode = dir::born(tx, birth);
            dir::give_birth(tx, fs, &mut inode)?;
            Ok(MetaReply::Attr(inode.attr))
        }
        PeerAction::KillDirectory { ino, owner } => kill(tx, fs, txn, *ino, *owner),
        PeerAction::ReviveDirectory { ino } => revive(tx, fs, txn, *ino),
        PeerAction::AddLink { ino, quota_dir } => add_link(tx, fs, *ino, *quota_dir).map(MetaReply::Attr),
        PeerAction::DropLink { ino, owner } => {
            let mut inode = dir::need_inode(tx, fs, *ino)?;
            access::need_owner(&inode, *owner)?;
            if inode.is_dir() && inode.dying != Some(txn) {
                return Err(Errno::IsDirectory.into());
            }
            inode.dying = None;
            dir::drop_link(tx, fs, inode)?;
            Ok(MetaReply::Done)
        }
        PeerAction::ReserveName { .. } => reserve(tx, fs, txn, &step.action),
        PeerAction::InsertName { parent, name, ino, kind } => {
            need_held(tx, fs, txn, *parent, name)?;
            dir::release(tx, fs, *parent, name);
            let mut dir = dir::need_inode(tx, fs, *parent)?;
            if let Some(replaced) = dir::find_held(tx, fs, *parent, name)? {
                dir::remove(tx, fs, &mut dir, name, &replaced);
            }
            dir::insert(tx, fs, &mut dir, name, *ino, *kind);
            Ok(MetaReply::Done)
        }
        PeerAction::ReleaseName { parent, name } => {
            need_held(tx, fs, txn, *parent, name)?;
            dir::release(tx, fs, *parent, name);
            Ok(MetaReply::Done)
        }
        PeerAction::SetParent { ino, parent } => {
            let mut inode = dir::need_inode(tx, fs, *ino)?;
            inode.parent = *parent;
            inode.attr.ctime = tx.now;
            tx.put_inode(fs, &mut inode);
            Ok(MetaReply::Done)
        }
        PeerAction::MayMove { ino, owner, write } => {
            let inode = dir::need_inode(tx, fs, *ino)?;
            access::need_owner(&inode, *owner)?;
            if let Some(cred) = write {
                access::need(&inode, cred, WRITE)?;
            }
            Ok(MetaReply::Done)
        }
        PeerAction::MoveBegin { .. } => {
            let key = tx.keys.moving(fs);
            match tx.get::<TxnId>("move", &key)? {
                Some(other) if other != txn => Err(MetaError::Busy.into()),
                _ => {
                    tx.put(key, &txn);
                    Ok(MetaReply::Done)
                }
            }
        }
        PeerAction::MoveDone { .. } => {
            let key = tx.keys.moving(fs);
            if tx.get::<TxnId>("move", &key)? == Some(txn) {
                tx.delete(key);
            }
            Ok(MetaReply::Done)
        }
        PeerAction::ParentOf { ino } => {
            let inode = need_directory(tx, fs, *ino)?;
            let kind = FileKind::Directory;
            Ok(MetaReply::Entry { ino: inode.parent, kind, attr: None, created: false })
        }
    }
}

fn need_directory(tx: &Tx<'_>, fs: FsId, ino: InodeId) -> Result<Inode, Fault> {
    let inode = dir::need_inode(tx, fs, ino)?;
    if !inode.is_dir() {
        return Err(Errno::NotDirectory.into());
    }
    if inode.attr.nlink == 0 {
        return Err(Errno::NoEntry.into());
    }
    Ok(inode)
}

/// One more name for a file, or the first one of a file that was made without.
pub(crate) fn add_link(tx: &mut Tx<'_>, fs: FsId, ino: InodeId, quota_dir: Option<InodeId>) -> Result<Attr, Fault> {
    let mut inode = dir::need_inode(tx, fs, ino)?;
    if inode.is_dir() {
        return Err(Errno::NotPermitted.into());
    }
    quota::need_same(quota_dir, &inode)?;
    match inode.attr.nlink {
        0 if !inode.linkable => return Err(Errno::NoEntry.into()),
        0 => tx.delete(tx.keys.orphan(fs, ino)),
        limits::LINK_MAX.. => return Err(Errno::TooManyLinks.into()),
        _ => {}
    }
    inode.linkable = false;
    inode.attr.nlink += 1;
    inode.attr.ctime = tx.now;
    tx.put_inode(fs, &mut inode);
    Ok(inode.attr)
}

fn kill(tx: &mut Tx<'_>, fs: FsId, txn: TxnId, ino: InodeId, owner: Option<u32>) -> Result<MetaReply, Fault> {
    let mut inode = need_directory(tx, fs, ino)?;
    access::need_owner(&inode, owner)?;
    if inode.dying.is_some_and(|other| other != txn) {
        return Err(MetaError::Busy.into());
    }
    dir::need_empty(tx, fs, ino)?;
    inode.dying = Some(txn);
    tx.put_inode(fs, &mut inode);
    Ok(MetaReply::Done)
}

fn revive(tx: &mut Tx<'_>, fs: FsId, txn: TxnId, ino: InodeId) -> Result<MetaReply, Fault> {
    if let Some(mut inode) = tx.inode(fs, ino)?.filter(|inode| inode.dying == Some(txn)) {
        inode.dying = None;
        tx.put_inode(fs, &mut inode);
    }
    Ok(MetaReply::Done)
}

fn reserve(tx: &mut Tx<'_>, fs: FsId, txn: TxnId, action: &PeerAction) -> Result<MetaReply, Fault> {
    let PeerAction::ReserveName { parent, name, ino, kind, how, cred, quota_dir } = action else {
        return Err(Errno::Invalid.into());
    };
    if name::check(name)? != NameKind::Plain {
        return Err(Errno::Busy.into());
    }
    let to = Place { dir: *parent, name };
    quota::need_same(*quota_dir, &dir::need_dir(tx, fs, *parent, cred)?)?;
    let found = check_arrival(tx, fs, cred, &Arrival { to, ino: *ino, kind: *kind, how: *how })?;
    dir::hold(tx, fs, *parent, name, txn);
    let owner = found.target.and(found.owner);
    Ok(MetaReply::Reserved { target: found.target.map(|t| (t.ino, t.kind)), owner })
}

fn need_held(tx: &Tx<'_>, fs: FsId, txn: TxnId, dir: InodeId, name: &[u8]) -> Result<(), Fault> {
    match dir::holder(tx, fs, dir, name)? {
        Some(holder) if holder == txn => Ok(()),
        _ => Err(Errno::Stale.into()),
    }
}
