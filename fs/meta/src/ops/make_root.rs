//! Make a filesystem's root directory, once.

use forebay_types::{Errno, FileKind, InodeId, LifetimeClass};
use forebay_wire::meta::{MetaReply, Mutation};

use crate::access::Inherited;
use crate::dir::{self, Birth};
use crate::error::Fault;
use crate::tx::Tx;

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation) -> Result<MetaReply, Fault> {
    let ino = InodeId::ROOT;
    tx.local(ino)?;
    if m.cred.uid != 0 {
        return Err(Errno::NotPermitted.into());
    }
    let created = tx.inode(m.fs, ino)?.is_none();
    if created {
        let class = LifetimeClass::default();
        let inherited = Inherited { gid: 0, mode: 0o755, acl: None, default_acl: None };
        let birth = Birth { ino, kind: FileKind::Directory, parent: ino, uid: 0, class, quota_dir: None, inherited };
        let mut root = dir::born(tx, birth);
        dir::give_birth(tx, m.fs, &mut root)?;
    }
    dir::entry(tx, m.fs, ino, FileKind::Directory, created)
}
