//! Remove an empty directory.

use bytes::Bytes;
use forebay_types::{Errno, FileKind, InodeId};
use forebay_wire::meta::{MetaError, MetaReply, Mutation, PeerAction};

use crate::access::{self, WRITE};
use crate::dir;
use crate::error::Fault;
use crate::name::{self, NameKind};
use crate::session::Outcome;
use crate::tx::Tx;
use crate::txn::{self, Plan, rmdir::Rmdir};

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, parent: InodeId, name: &Bytes) -> Result<Outcome, Fault> {
    let mut dir = dir::need_dir(tx, m.fs, parent, &m.cred)?;
    match name::check(name)? {
        NameKind::Plain => {}
        NameKind::Dot => return Err(Errno::Invalid.into()),
        NameKind::DotDot => return Err(Errno::NotEmpty.into()),
    }
    let dentry = dir::find(tx, m.fs, parent, name)?.ok_or(Errno::NoEntry)?;
    access::need(&dir, &m.cred, WRITE)?;
    let owner = access::sticky_owner(&dir, &m.cred);
    let ino = dentry.ino;
    let local = if ino.shard() == tx.me { Some(dir::need_inode(tx, m.fs, ino)?) } else { None };
    if let Some(inode) = &local {
        access::need_owner(inode, owner)?;
    }
    if dentry.kind != FileKind::Directory {
        return Err(Errno::NotDirectory.into());
    }
    if let Some(inode) = local {
        if inode.dying.is_some() {
            return Err(MetaError::Busy.into());
        }
        dir::need_empty(tx, m.fs, ino)?;
        dir::remove(tx, m.fs, &mut dir, name, &dentry);
        dir::drop_link(tx, m.fs, inode)?;
        return Ok(Outcome::Done(MetaReply::Done));
    }
    let id = txn::begin(tx)?;
    dir::hold(tx, m.fs, parent, name, id);
    let plan = Plan::Rmdir(Rmdir { parent, name: name.clone(), ino, removed: false });
    txn::launch(tx, m, id, plan, (ino.shard(), PeerAction::KillDirectory { ino, owner }))
}
