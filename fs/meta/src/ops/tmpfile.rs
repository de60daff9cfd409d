//! Make a file without a name, open from the start (`O_TMPFILE`).

use forebay_types::{FileKind, InodeId, NewMode};
use forebay_wire::meta::{MetaReply, Mutation};

use crate::access::{self, WRITE};
use crate::dir::{self, Birth};
use crate::entry::Effect;
use crate::error::Fault;
use crate::tx::Tx;

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    parent: InodeId,
    mode: NewMode,
    linkable: bool,
) -> Result<MetaReply, Fault> {
    let dir = dir::need_dir(tx, m.fs, parent, &m.cred)?;
    access::need(&dir, &m.cred, WRITE)?;
    let kind = FileKind::Regular;
    let inherited = access::inherit(&dir, &m.cred, mode, kind);
    let ino = dir::next_ino(tx)?;
    let (uid, class, quota_dir) = (m.cred.uid, dir.class, dir.quota_dir);
    let mut inode = dir::born(tx, Birth { ino, kind, parent, uid, class, quota_dir, inherited });
    inode.attr.nlink = 0;
    inode.linkable = linkable;
    dir::give_birth(tx, m.fs, &mut inode)?;
    tx.put_raw(tx.keys.orphan(m.fs, ino), Vec::new());
    tx.effects.push(Effect::Opened { fs: m.fs, session: m.id.session, ino });
    Ok(MetaReply::Entry { ino, kind, attr: Some(inode.attr), created: true })
}
