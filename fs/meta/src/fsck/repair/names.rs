//! Names, and what inodes say of theirs.

use bytes::Bytes;
use forebay_types::{FileKind, FsId, InodeId};

use super::{each, inode_of};
use crate::dir;
use crate::error::Fault;
use crate::fsck::look::readable;
use crate::record::{CookieRecord, Dentry, Inode, decode};
use crate::tx::Tx;

/// The inode, unless it has changed since it was judged.
fn unchanged(tx: &Tx<'_>, fs: FsId, ino: InodeId, version: u64) -> Result<Option<Inode>, Fault> {
    Ok(inode_of(tx, fs, ino)?.filter(|inode| inode.attr.version == version))
}

pub(super) fn links(tx: &mut Tx<'_>, fs: FsId, ino: InodeId, version: u64, names: u32) -> Result<(), Fault> {
    let Some(mut inode) = unchanged(tx, fs, ino, version)?.filter(|_| names > 0) else { return Ok(()) };
    if inode.is_dir() {
        if inode.attr.nlink > 0 {
            return Ok(());
        }
        let mut subdirs = 0;
        each(tx, &tx.keys.of_inode(b'D', fs, ino), &mut |_, value| {
            let dentry: Option<Dentry> = decode("dentry", value).ok();
            subdirs += u32::from(dentry.is_some_and(|dentry| dentry.kind == FileKind::Directory));
            Ok(())
        })?;
        inode.attr.nlink = subdirs.saturating_add(2);
    } else {
        inode.attr.nlink = names;
        inode.linkable = false;
    }
    tx.delete(tx.keys.orphan(fs, ino));
    tx.put_inode(fs, &mut inode);
    Ok(())
}

pub(super) fn parent(tx: &mut Tx<'_>, fs: FsId, ino: InodeId, version: u64, parent: InodeId) -> Result<(), Fault> {
    if let Some(mut inode) = unchanged(tx, fs, ino, version)?
        && inode.is_dir()
        && inode.parent != parent
    {
        inode.parent = parent;
        tx.put_inode(fs, &mut inode);
    }
    Ok(())
}

pub(super) fn name(
    tx: &mut Tx<'_>,
    fs: FsId,
    (dir, name): (InodeId, &Bytes),
    ino: InodeId,
    kind: Option<FileKind>,
) -> Result<(), Fault> {
    let (key, held) = (tx.keys.dentry(fs, dir, name), tx.keys.intent(fs, dir, name));
    let found: Option<Dentry> = readable(tx, &key)?;
    let Some(old) = found.filter(|dentry| dentry.ino == ino) else { return Ok(()) };
    let Some(mut directory) = inode_of(tx, fs, dir)?.filter(|_| kind != Some(old.kind)) else { return Ok(()) };
    if tx.get_raw(&held)?.is_some() {
        return Ok(());
    }
    if ino.shard() == tx.me {
        let is = inode_of(tx, fs, ino)?.map(|inode| inode.attr.kind);
        // A file may have any number of names.
        let wrong = match kind {
            Some(kind) => is == Some(kind),
            None => is.is_none() || is == Some(FileKind::Directory),
        };
        if !wrong {
            return Ok(());
        }
    }
    let is_dir = |kind| u32::from(kind == FileKind::Directory);
    let links = directory.attr.nlink.saturating_sub(is_dir(old.kind));
    let place = tx.keys.cookie(fs, dir, old.cookie);
    let here: Option<CookieRecord> = readable(tx, &place)?;
    match kind {
        Some(kind) => {
            directory.attr.nlink = links.saturating_add(is_dir(kind));
            tx.put(key, &Dentry { kind, ..old });
            tx.put(place, &CookieRecord { name: name.clone(), ino, kind });
        }
        None => {
            directory.attr.nlink = links;
            directory.attr.size = directory.attr.size.saturating_sub(1);
            tx.delete(key);
            if here.is_some_and(|here| here.name == *name) {
                tx.delete(place);
            }
        }
    }
    tx.put_inode(fs, &mut directory);
    Ok(())
}

/// The name is the inode's number. What more has to be changed for it, another repair does.
pub(super) fn attach(tx: &mut Tx<'_>, fs: FsId, dir: InodeId, ino: InodeId, kind: FileKind) -> Result<(), Fault> {
    let name = Bytes::from(ino.0.to_string());
    let taken = tx.get_raw(&tx.keys.dentry(fs, dir, &name))?.is_some();
    let gone = ino.shard() == tx.me && inode_of(tx, fs, ino)?.is_none();
    if let Some(mut directory) = inode_of(tx, fs, dir)?
        && directory.is_dir()
        && directory.attr.nlink > 0
        && !taken
        && !gone
    {
        dir::insert(tx, fs, &mut directory, &name, ino, kind);
    }
    Ok(())
}
