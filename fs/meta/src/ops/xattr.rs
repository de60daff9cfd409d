//! Extended attributes.

use bytes::Bytes;
use forebay_types::{Cred, Errno, FileKind, InodeId, limits};
use forebay_wire::meta::{MetaReply, Mutation, XattrWhen};

use crate::access::{self, CAPABILITY, SETGID, STICKY, WRITE};
use crate::acl;
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
    /// The access control list of an inode, kept in its record.
    AccessAcl,
    /// The list for what is made in a directory, kept in its record.
    DefaultAcl,
}

/// The name space of an attribute's name.
pub(crate) fn space(name: &[u8]) -> Result<Space, Errno> {
    if name.len() > limits::XATTR_NAME_MAX {
        return Err(Errno::Range);
    }
    match name {
        acl::ACCESS => return Ok(Space::AccessAcl),
        acl::DEFAULT => return Ok(Space::DefaultAcl),
        _ => {}
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
        // Security modules and file capabilities are for the superuser, as on Linux without such a module.
        Space::Trusted | Space::Security if cred.uid != 0 => Err(Errno::NotPermitted),
        Space::Trusted | Space::Security => Ok(()),
        Space::AccessAcl | Space::DefaultAcl if inode.attr.kind == FileKind::Symlink => Err(Errno::NotSupported),
        Space::AccessAcl | Space::DefaultAcl if !owner => Err(Errno::NotPermitted),
        Space::AccessAcl | Space::DefaultAcl => Ok(()),
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
    let mut inode = dir::need_inode(tx, m.fs, ino)?;
    need_change(&inode, &m.cred, name)?;
    if value.len() > limits::XATTR_VALUE_MAX {
        return Err(Errno::TooLong.into());
    }
    if let space @ (Space::AccessAcl | Space::DefaultAcl) = space(name)? {
        return set_acl(tx, m, inode, space, value);
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
    inode.attr.capability |= &name[..] == CAPABILITY;
    Ok(changed(tx, m, inode))
}

/// Sets a list, or with a value that has none takes it away. The permission bits follow the access list; a list that
/// they say all of is not kept.
fn set_acl(tx: &mut Tx<'_>, m: &Mutation, mut inode: Inode, space: Space, value: &[u8]) -> Result<MetaReply, Fault> {
    let list = acl::decode(value)?;
    if space == Space::DefaultAcl {
        if !inode.is_dir() {
            return if list.is_some() { Err(Errno::Access.into()) } else { Ok(MetaReply::Done) };
        }
        inode.default_acl = list.map(Box::new);
        return Ok(changed(tx, m, inode));
    }
    if let Some(list) = &list {
        inode.attr.mode = inode.attr.mode & !0o777 | list.mode();
        if m.cred.uid != 0 && !m.cred.in_group(inode.attr.gid) {
            inode.attr.mode &= !SETGID;
        }
    }
    inode.acl = list.filter(|list| !list.is_mode()).map(Box::new);
    Ok(changed(tx, m, inode))
}

pub(super) fn remove(tx: &mut Tx<'_>, m: &Mutation, ino: InodeId, name: &Bytes) -> Result<MetaReply, Fault> {
    let mut inode = dir::need_inode(tx, m.fs, ino)?;
    need_change(&inode, &m.cred, name)?;
    if let space @ (Space::AccessAcl | Space::DefaultAcl) = space(name)? {
        return set_acl(tx, m, inode, space, &[]);
    }
    let key = tx.keys.xattr(m.fs, ino, name);
    if tx.get_raw(&key)?.is_none() {
        return Err(Errno::NoData.into());
    }
    tx.delete(key);
    inode.attr.capability &= &name[..] != CAPABILITY;
    Ok(changed(tx, m, inode))
}
