//! Give a file another name.

use bytes::Bytes;
use forebay_types::{Errno, InodeId};
use forebay_wire::meta::{MetaReply, Mutation, PeerAction};

use crate::access::{self, WRITE};
use crate::error::Fault;
use crate::session::Outcome;
use crate::tx::Tx;
use crate::txn::{self, Plan, link::Link, peer};
use crate::{dir, name};

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    ino: InodeId,
    parent: InodeId,
    name: &Bytes,
) -> Result<Outcome, Fault> {
    let mut dir = dir::need_dir(tx, m.fs, parent, &m.cred)?;
    name::check_new(name)?;
    if dir::find(tx, m.fs, parent, name)?.is_some() {
        return Err(Errno::Exists.into());
    }
    access::need(&dir, &m.cred, WRITE)?;
    if ino.shard() == tx.me {
        let attr = peer::add_link(tx, m.fs, ino, dir.quota_dir)?;
        dir::insert(tx, m.fs, &mut dir, name, ino, attr.kind);
        let reply = MetaReply::Entry { ino, kind: attr.kind, attr: Some(attr), created: true };
        return Ok(Outcome::Done(reply));
    }
    let id = txn::begin(tx)?;
    dir::hold(tx, m.fs, parent, name, id);
    let plan = Plan::Link(Link { parent, name: name.clone(), ino });
    txn::launch(tx, m, id, plan, (ino.shard(), PeerAction::AddLink { ino, quota_dir: dir.quota_dir }))
}
