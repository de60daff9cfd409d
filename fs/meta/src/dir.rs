//! Directories and inodes: names come and go, links are counted, the last one takes the inode along.

use bytes::Bytes;
use forebay_types::{Attr, Cred, Errno, FileKind, FsId, InodeId, LifetimeClass, limits};
use forebay_wire::meta::{MetaError, MetaReply, TxnId};

use crate::access::{self, Inherited, SEARCH};
use crate::entry::Effect;
use crate::error::Fault;
use crate::extents;
use crate::record::{CookieRecord, Dentry, Inode};
use crate::tx::Tx;

/// Cookie of a directory's first name; 1 is `.` and 2 is `..`.
pub(crate) const FIRST_COOKIE: u64 = 3;

/// An inode that is to be made.
pub(crate) struct Birth {
    pub ino: InodeId,
    pub kind: FileKind,
    pub parent: InodeId,
    pub uid: u32,
    pub class: LifetimeClass,
    pub quota_dir: Option<InodeId>,
    pub inherited: Inherited,
}

/// An inode of this shard, alive.
pub(crate) fn need_inode(tx: &Tx<'_>, fs: FsId, ino: InodeId) -> Result<Inode, Fault> {
    tx.local(ino)?;
    tx.inode(fs, ino)?.ok_or_else(|| Errno::NoEntry.into())
}

/// A directory of this shard that the caller may search, and that is not being removed.
pub(crate) fn need_dir(tx: &Tx<'_>, fs: FsId, ino: InodeId, cred: &Cred) -> Result<Inode, Fault> {
    let dir = need_inode(tx, fs, ino)?;
    if !dir.is_dir() {
        return Err(Errno::NotDirectory.into());
    }
    if dir.attr.nlink == 0 {
        return Err(Errno::NoEntry.into());
    }
    access::need(&dir, cred, SEARCH)?;
    if dir.dying.is_some() {
        return Err(MetaError::Busy.into());
    }
    Ok(dir)
}

/// What has a name; `Busy` where a transaction is at it.
pub(crate) fn find(tx: &Tx<'_>, fs: FsId, dir: InodeId, name: &[u8]) -> Result<Option<Dentry>, Fault> {
    if holder(tx, fs, dir, name)?.is_some() {
        return Err(MetaError::Busy.into());
    }
    find_held(tx, fs, dir, name)
}

/// What has a name, whether or not a transaction is at it.
pub(crate) fn find_held(tx: &Tx<'_>, fs: FsId, dir: InodeId, name: &[u8]) -> Result<Option<Dentry>, Fault> {
    tx.get("dentry", &tx.keys.dentry(fs, dir, name))
}

/// The transaction that keeps others off a name.
pub(crate) fn holder(tx: &Tx<'_>, fs: FsId, dir: InodeId, name: &[u8]) -> Result<Option<TxnId>, Fault> {
    tx.get("intent", &tx.keys.intent(fs, dir, name))
}

/// Keeps everybody but a transaction off a name.
pub(crate) fn hold(tx: &mut Tx<'_>, fs: FsId, dir: InodeId, name: &[u8], txn: TxnId) {
    tx.put(tx.keys.intent(fs, dir, name), &txn);
}

/// The end of [`hold`].
pub(crate) fn release(tx: &mut Tx<'_>, fs: FsId, dir: InodeId, name: &[u8]) {
    tx.delete(tx.keys.intent(fs, dir, name));
}

/// Adds a name, which must be free, to a directory. Changes `dir`; the caller need not write it.
pub(crate) fn insert(tx: &mut Tx<'_>, fs: FsId, dir: &mut Inode, name: &Bytes, ino: InodeId, kind: FileKind) {
    let cookie = dir.next_cookie;
    dir.next_cookie += 1;
    dir.attr.size += 1;
    if kind == FileKind::Directory {
        dir.attr.nlink += 1;
    }
    dir.attr.mtime = tx.now;
    dir.attr.ctime = tx.now;
    let of = dir.attr.ino;
    tx.named.push((fs, ino));
    tx.put(tx.keys.dentry(fs, of, name), &Dentry { ino, kind, cookie });
    tx.put(tx.keys.cookie(fs, of, cookie), &CookieRecord { name: name.clone(), ino, kind });
    tx.put_inode(fs, dir);
}

/// Takes a name from a directory. Changes `dir`; the caller need not write it.
pub(crate) fn remove(tx: &mut Tx<'_>, fs: FsId, dir: &mut Inode, name: &[u8], dentry: &Dentry) {
    dir.attr.size -= 1;
    if dentry.kind == FileKind::Directory {
        dir.attr.nlink -= 1;
    }
    dir.attr.mtime = tx.now;
    dir.attr.ctime = tx.now;
    let of = dir.attr.ino;
    tx.delete(tx.keys.dentry(fs, of, name));
    tx.delete(tx.keys.cookie(fs, of, dentry.cookie));
    tx.put_inode(fs, dir);
}

/// Lets a name lead elsewhere.
pub(crate) fn replace(
    tx: &mut Tx<'_>,
    fs: FsId,
    dir: InodeId,
    name: &Bytes,
    old: &Dentry,
    new: &Dentry,
) -> Result<(), Fault> {
    let mut dir = need_inode(tx, fs, dir)?;
    remove(tx, fs, &mut dir, name, old);
    insert(tx, fs, &mut dir, name, new.ino, new.kind);
    Ok(())
}

/// Whether a directory has no names and no transaction is making one.
pub(crate) fn need_empty(tx: &Tx<'_>, fs: FsId, dir: InodeId) -> Result<(), Fault> {
    if tx.any(&tx.keys.of_inode(b'D', fs, dir))? {
        return Err(Errno::NotEmpty.into());
    }
    if tx.any(&tx.keys.of_inode(b'N', fs, dir))? {
        return Err(MetaError::Busy.into());
    }
    Ok(())
}

/// A directory must not have more subdirectories than links can be counted.
pub(crate) fn need_room_for_dir(parent: &Inode) -> Result<(), Errno> {
    if parent.attr.nlink >= limits::DIRECTORY_LINK_MAX { Err(Errno::TooManyLinks) } else { Ok(()) }
}

/// A new inode, not written yet.
pub(crate) fn born(tx: &Tx<'_>, birth: Birth) -> Inode {
    let Inherited { gid, mode, acl, default_acl } = birth.inherited;
    let dir = birth.kind == FileKind::Directory;
    Inode {
        attr: Attr {
            ino: birth.ino,
            kind: birth.kind,
            mode,
            nlink: if dir { 2 } else { 1 },
            uid: birth.uid,
            gid,
            size: 0,
            allocated_bytes: 0,
            cold_bytes: 0,
            atime: tx.now,
            mtime: tx.now,
            ctime: tx.now,
            btime: tx.now,
            rdev: 0,
            // Inode numbers are never reused.
            generation: 1,
            version: 0,
            acl: false,
            capability: false,
        },
        class: birth.class,
        parent: birth.parent,
        next_cookie: FIRST_COOKIE,
        dying: None,
        target: Bytes::new(),
        acl,
        default_acl,
        linkable: false,
        quota_dir: birth.quota_dir,
    }
}

/// An inode number of this shard, never used before: one that a client has chosen of those set aside for it, or the next.
pub(crate) fn next_ino(tx: &mut Tx<'_>) -> Result<InodeId, Fault> {
    if let Some(given) = tx.given.take() {
        return Ok(given);
    }
    let mut counters = tx.counters()?;
    let ino = InodeId::new(tx.me, counters.inode);
    counters.inode += 1;
    tx.put_counters(&counters);
    Ok(ino)
}

/// An inode number of another shard, never used before: this shard's number is in its high bits, so that no two
/// shards choose the same, and it is not zero there, so that the other shard does not choose it itself.
pub(crate) fn next_ino_in(tx: &mut Tx<'_>, shard: forebay_types::ShardId) -> Result<InodeId, Fault> {
    let own = next_ino(tx)?.counter();
    Ok(InodeId::new(shard, ((u64::from(tx.me.0) + 1) << 40) | own))
}

/// Writes a new inode.
pub(crate) fn give_birth(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode) -> Result<(), Fault> {
    tx.add_usage(fs, 1, 0)?;
    tx.put_inode(fs, inode);
    Ok(())
}

/// One name fewer for a file, or the end of an empty directory.
pub(crate) fn drop_link(tx: &mut Tx<'_>, fs: FsId, mut inode: Inode) -> Result<(), Fault> {
    inode.attr.nlink = if inode.is_dir() { 0 } else { inode.attr.nlink.saturating_sub(1) };
    inode.attr.ctime = tx.now;
    tx.put_inode(fs, &mut inode);
    if inode.attr.nlink > 0 {
        return Ok(());
    }
    let ino = inode.attr.ino;
    if tx.closed.contains(&ino) {
        return destroy(tx, fs, inode);
    }
    tx.put_raw(tx.keys.orphan(fs, ino), Vec::new());
    tx.effects.push(Effect::Orphaned { fs, ino });
    Ok(())
}

/// Removes an inode without names. One with very many extents loses some of them and stays an orphan, to be reaped
/// again, so that no entry grows without bound.
pub(crate) fn destroy(tx: &mut Tx<'_>, fs: FsId, mut inode: Inode) -> Result<(), Fault> {
    let ino = inode.attr.ino;
    if !extents::clear_some(tx, fs, &mut inode)? {
        tx.put_inode(fs, &mut inode);
        tx.put_raw(tx.keys.orphan(fs, ino), Vec::new());
        tx.effects.push(Effect::Orphaned { fs, ino });
        return Ok(());
    }
    tx.delete_all(&tx.keys.of_inode(b'X', fs, ino))?;
    tx.delete(tx.keys.inode(fs, ino));
    tx.delete(tx.keys.orphan(fs, ino));
    tx.add_usage(fs, -1, 0)
}

/// The answer that names an inode, with its attributes where this shard has them.
pub(crate) fn entry(tx: &Tx<'_>, fs: FsId, ino: InodeId, kind: FileKind, created: bool) -> Result<MetaReply, Fault> {
    let attr = if ino.shard() == tx.me { tx.inode(fs, ino)?.map(|inode| inode.attr) } else { None };
    Ok(MetaReply::Entry { ino, kind, attr, created })
}
