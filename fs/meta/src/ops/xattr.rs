//! Extended attributes.

use bytes::Bytes;
use forebay_types::{Cred, Errno, FileKind, InodeId, limits};
use forebay_wire::meta::{MetaReply, Mutation, XattrWhen};

use crate::access::{self, STICKY, WRITE};
use crate::dir;
use crate::error::Fault;
use crate::record::Inode;
use crate::tx::Tx;

/// Who a name is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    User,
    Trusted,
    Security,
}

/// The name space of an attribute's name.
pub(crate) fn space(name: &[u8]) -> Result<Space, Errno> {
    if name.len() > limits::XATTR_NAME_MAX {
        return Err(Errno::Range);
    }
    let spaces = [(&b"user."[..], Space::User), (b"trusted.", Space::Trusted), (b"security.", Space::Security)];
    let found = spaces.iter().find(|(prefix, _)| name.starts_with(prefix)).ok_or(Errno::NotSupported)?;
    if name.len() == found.0.len() || name.contains(&0) {
        return Err(Errno::Invalid);
    }
    Ok(found.1)
}

fn need_change(inode: &Inode, cred: &Cred, name: &[u8]) -> Result<(), Errno> {
    let owner = access::owns(inode, cred);
    match space(name)? {
        Space::User => {
            let dir = inode.is_dir();
            if !dir && inode.attr.kind != FileKind::Regular {
                return Err(Errno::NotPermitted);
            }
            if dir && inode.attr.mode & STICKY != 0 && !owner {
                return Err(Errno::NotPermitted);
            }
            access::need(inode, cred, WRITE)
        }
        Space::Trusted if cred.uid != 0 => Err(Errno::NotPermitted),
        Space::Security if !owner => Err(Errno::NotPermitted),
        Space::Trusted | Space::Security => Ok(()),
    }
}

/// Bytes of an inode's list of names: each ends in a NUL there.
fn list_bytes(tx: &Tx<'_>, m: &Mutation, ino: InodeId) -> Result<usize, Fault> {
    let range = tx.keys.of_inode(b'X', m.fs, ino);
    let prefix = range.0.len();
    Ok(tx.scan(&range, limits::XATTR_LIST_MAX)?.iter().map(|(key, _)| key.len() - prefix + 1).sum())
}

fn changed(tx: &mut Tx<'_>, m: &Mutation, mut inode: Inode) -> MetaReply {
    inode.attr.ctime = tx.now;
    tx.put_inode(m.fs, &mut inode);
    MetaReply::Done
}

pub(super) fn set(
    tx: &mut Tx<'_>,
    m: &Mutation,
    ino: InodeId,
    name: &Bytes,
    value: &Bytes,
    when: XattrWhen,
) -> Result<MetaReply, Fault> {
    let inode = dir::need_inode(tx, m.fs, ino)?;
    need_change(&inode, &m.cred, name)?;
    if value.len() > limits::XATTR_VALUE_MAX {
        return Err(Errno::Range.into());
    }
    let key = tx.keys.xattr(m.fs, ino, name);
    let exists = tx.get_raw(&key)?.is_some();
    match when {
        XattrWhen::Absent if exists => return Err(Errno::Exists.into()),
        XattrWhen::Present if !exists => return Err(Errno::NoData.into()),
        _ => {}
    }
    if !exists && list_bytes(tx, m, ino)? + name.len() + 1 > limits::XATTR_LIST_MAX {
        return Err(Errno::NoSpace.into());
    }
    tx.put(key, value);
    Ok(changed(tx, m, inode))
}

pub(super) fn remove(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, name: &Bytes) -> Result<MetaReply, Fault> {
    let inode = dir::need_inode(tx, m.fs, ino)?;
    need_change(&inode, &m.cred, name)?;
    let key = tx.keys.xattr(m.fs, ino, name);
    if tx.get_raw(&key)?.is_none() {
        return Err(Errno::NoData.into());
    }
    tx.delete(key);
    Ok(changed(tx, m, inode))
}
