//! Change attributes.

use forebay_types::{ByteRange, Errno, InodeId, limits};
use forebay_wire::meta::{MetaReply, Mutation, SetAttr, SetTime};

use crate::access::{self, SETGID, WRITE};
use crate::error::Fault;
use crate::record::Inode;
use crate::shard::has_extents;
use crate::tx::Tx;
use crate::{dir, extents};

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, set: &SetAttr) -> Result<MetaReply, Fault> {
    let mut inode = dir::need_inode(tx, m.fs, ino)?;
    check(tx, m, &inode, set)?;
    if *set == SetAttr::default() {
        return Ok(MetaReply::Attr(inode.attr));
    }
    if let Some(size) = set.size {
        resize(tx, m, &mut inode, size)?;
    }
    if set.uid.is_some() || set.gid.is_some() {
        inode.attr.uid = set.uid.unwrap_or(inode.attr.uid);
        inode.attr.gid = set.gid.unwrap_or(inode.attr.gid);
        access::drop_privileges(tx, m.fs, &mut inode, true);
    } else if set.drop_privileges {
        access::drop_privileges(tx, m.fs, &mut inode, true);
    }
    if let Some(mode) = set.mode {
        let mut mode = mode & 0o7777;
        if m.cred.uid != 0 && !m.cred.in_group(inode.attr.gid) {
            mode &= !SETGID;
        }
        inode.attr.mode = mode;
        if let Some(acl) = &mut inode.acl {
            acl.chmod(mode);
        }
    }
    let at = |time: SetTime| match time {
        SetTime::Now => tx.now,
        SetTime::At(time) => time,
    };
    inode.attr.atime = set.atime.map_or(inode.attr.atime, at);
    inode.attr.mtime = set.mtime.map_or(inode.attr.mtime, at);
    inode.class = set.class.unwrap_or(inode.class);
    inode.attr.ctime = tx.now;
    tx.put_inode(m.fs, &mut inode);
    Ok(MetaReply::Attr(inode.attr))
}

fn check(tx: &Tx<'_>, m: &Mutation, inode: &Inode, set: &SetAttr) -> Result<(), Errno> {
    let (cred, root) = (&m.cred, m.cred.uid == 0);
    let owner = access::owns(inode, cred);
    if set.class.is_some() && !root {
        return Err(Errno::NotPermitted);
    }
    if !root && set.uid.is_some_and(|uid| !owner || uid != inode.attr.uid) {
        return Err(Errno::NotPermitted);
    }
    if set.gid.is_some_and(|gid| !root && !(owner && (gid == inode.attr.gid || cred.in_group(gid)))) {
        return Err(Errno::NotPermitted);
    }
    if set.mode.is_some() && !owner {
        return Err(Errno::NotPermitted);
    }
    if !owner && (set.atime.is_some() || set.mtime.is_some()) {
        // Both times to now is for whoever may write; one alone, or another time, is for the owner. With a new size
        // the times are the kernel's doing, and the size's rule is the one that counts.
        let touch = set.atime == Some(SetTime::Now) && set.mtime == Some(SetTime::Now);
        if !touch && set.size.is_none() {
            return Err(Errno::NotPermitted);
        }
        if !tx.held {
            access::need(inode, cred, WRITE)?;
        }
    }
    if let Some(size) = set.size {
        if inode.is_dir() {
            return Err(Errno::IsDirectory);
        }
        if !has_extents(inode.attr.kind) {
            return Err(Errno::Invalid);
        }
        if !tx.held {
            access::need(inode, cred, WRITE)?;
        }
        if size > limits::FILE_SIZE_MAX {
            return Err(Errno::TooBig);
        }
    }
    Ok(())
}

fn resize(tx: &mut Tx<'_>, m: &Mutation, inode: &mut Inode, size: u64) -> Result<(), Fault> {
    if size < inode.attr.size {
        extents::clear(tx, m.fs, inode, ByteRange::between(size, u64::MAX))?;
    }
    inode.attr.size = size;
    inode.attr.mtime = tx.now;
    access::drop_privileges(tx, m.fs, inode, m.cred.uid != 0);
    Ok(())
}
