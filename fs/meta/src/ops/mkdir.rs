//! Make a directory.

use bytes::Bytes;
use forebay_types::{FileKind, InodeId, NewMode};
use forebay_wire::meta::{MetaReply, Mutation, PeerAction};

use crate::access::{self, Inherited, WRITE};
use crate::dir::{self, Birth};
use crate::error::Fault;
use crate::name;
use crate::session::Outcome;
use crate::shard::shard_of_directory;
use crate::tx::Tx;
use crate::txn::{self, Plan, mkdir::Mkdir};

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    parent: InodeId,
    name: &Bytes,
    mode: NewMode,
) -> Result<Outcome, Fault> {
    let mut dir = dir::need_dir(tx, m.fs, parent, &m.cred)?;
    name::check_new(name)?;
    if dir::find(tx, m.fs, parent, name)?.is_some() {
        return Err(forebay_types::Errno::Exists.into());
    }
    access::need(&dir, &m.cred, WRITE)?;
    dir::need_room_for_dir(&dir)?;
    let kind = FileKind::Directory;
    let inherited = access::inherit(&dir, &m.cred, mode, kind);
    let (uid, class, quota_dir) = (m.cred.uid, dir.class, dir.quota_dir);
    let shard = shard_of_directory(parent, name, dir.next_cookie, tx.shard_count);
    // What a client makes by itself stays with what it is in: it could not be whole otherwise.
    if shard == tx.me || tx.given.is_some() {
        let ino = dir::next_ino(tx)?;
        let mut inode = dir::born(tx, Birth { ino, kind, parent, uid, class, quota_dir, inherited });
        dir::give_birth(tx, m.fs, &mut inode)?;
        dir::insert(tx, m.fs, &mut dir, name, ino, kind);
        return Ok(Outcome::Done(MetaReply::Entry { ino, kind, attr: Some(inode.attr), created: true }));
    }
    let ino = dir::next_ino_in(tx, shard)?;
    let id = txn::begin(tx)?;
    dir::hold(tx, m.fs, parent, name, id);
    let plan = Plan::Mkdir(Mkdir { parent, name: name.clone(), ino });
    let Inherited { gid, mode, acl, default_acl } = inherited;
    let action = PeerAction::MakeDirectory { ino, parent, mode, uid, gid, class, acl, default_acl, quota_dir };
    txn::launch(tx, m, id, plan, (shard, action))
}
