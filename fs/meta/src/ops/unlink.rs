//! Remove a name that is not a directory's.

use bytes::Bytes;
use forebay_types::{Errno, FileKind, InodeId};
use forebay_wire::meta::{MetaReply, Mutation, PeerAction};

use crate::access::{self, WRITE};
use crate::dir;
use crate::error::Fault;
use crate::name::{self, NameKind};
use crate::session::Outcome;
use crate::tx::Tx;
use crate::txn::{self, Plan, unlink::Unlink};

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, parent: InodeId, name: &Bytes) -> Result<Outcome, Fault> {
    let mut dir = dir::need_dir(tx, m.fs, parent, &m.cred)?;
    if name::check(name)? != NameKind::Plain {
        return Err(Errno::IsDirectory.into());
    }
    let dentry = dir::find(tx, m.fs, parent, name)?.ok_or(Errno::NoEntry)?;
    access::need(&dir, &m.cred, WRITE)?;
    let owner = access::sticky_owner(&dir, &m.cred);
    let local = if dentry.ino.shard() == tx.me { Some(dir::need_inode(tx, m.fs, dentry.ino)?) } else { None };
    if let Some(inode) = &local {
        access::need_owner(inode, owner)?;
    }
    if dentry.kind == FileKind::Directory {
        return Err(Errno::IsDirectory.into());
    }
    if let Some(inode) = local {
        dir::remove(tx, m.fs, &mut dir, name, &dentry);
        dir::drop_link(tx, m.fs, inode)?;
        return Ok(Outcome::Done(MetaReply::Done));
    }
    let id = txn::begin(tx)?;
    dir::hold(tx, m.fs, parent, name, id);
    let plan = Plan::Unlink(Unlink { parent, name: name.clone() });
    txn::launch(tx, m, id, plan, (dentry.ino.shard(), PeerAction::DropLink { ino: dentry.ino, owner }))
}
