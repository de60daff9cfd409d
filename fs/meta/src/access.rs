//! Permission: who may do what to an inode.

use forebay_types::{Acl, Cred, Errno, FileKind, FsId, NewMode};

use crate::record::Inode;
use crate::tx::Tx;

pub(crate) const READ: u16 = 4;
pub(crate) const WRITE: u16 = 2;
pub(crate) const SEARCH: u16 = 1;

pub(crate) const SETGID: u16 = 0o2000;
pub(crate) const STICKY: u16 = 0o1000;
const GROUP_EXEC: u16 = 0o010;
const GROUP_BITS: u16 = 0o070;
const PERMISSIONS: u16 = 0o777;

/// The extended attribute in which file capabilities are.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// Whether mode bits and access control list give the caller all of `want`. The superuser may do everything here: whether a file may be
/// executed is decided where it is executed.
pub(crate) fn may(inode: &Inode, cred: &Cred, want: u16) -> bool {
    let attr = &inode.attr;
    if cred.uid == 0 {
        return true;
    }
    let bits = if cred.uid == attr.uid {
        attr.mode >> 6
    } else if let Some(acl) = inode.acl.as_ref().filter(|_| attr.mode & GROUP_BITS != 0) {
        // Like Linux, which does not look at a list whose mask leaves nothing: named users are others then.
        return acl.permits(cred, attr.gid, want as forebay_types::Perm);
    } else if cred.in_group(attr.gid) {
        attr.mode >> 3
    } else {
        attr.mode
    };
    bits & want == want
}

pub(crate) fn need(inode: &Inode, cred: &Cred, want: u16) -> Result<(), Errno> {
    may(inode, cred, want).then_some(()).ok_or(Errno::Access)
}

/// Whether the caller is the owner or the superuser.
pub(crate) fn owns(inode: &Inode, cred: &Cred) -> bool {
    cred.uid == 0 || cred.uid == inode.attr.uid
}

/// Who must own an inode that the caller takes out of the directory: nobody in particular, or, where the directory is
/// sticky and not the caller's, the caller.
pub(crate) fn sticky_owner(dir: &Inode, cred: &Cred) -> Option<u32> {
    (dir.attr.mode & STICKY != 0 && !owns(dir, cred)).then_some(cred.uid)
}

/// Checks what [`sticky_owner`] asks for.
pub(crate) fn need_owner(inode: &Inode, owner: Option<u32>) -> Result<(), Errno> {
    match owner {
        Some(uid) if uid != inode.attr.uid => Err(Errno::NotPermitted),
        _ => Ok(()),
    }
}

/// The content has changed, or the owner: file capabilities go, and with `setid` the set-id bits. The caller writes the
/// inode.
pub(crate) fn drop_privileges(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, setid: bool) {
    if std::mem::take(&mut inode.attr.capability) {
        tx.delete(tx.keys.xattr(fs, inode.attr.ino, CAPABILITY));
    }
    if setid {
        inode.attr.clear_setid();
    }
}

/// What an inode gets from the directory it is made in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inherited {
    pub gid: u32,
    pub mode: u16,
    pub acl: Option<Box<Acl>>,
    pub default_acl: Option<Box<Acl>>,
}

/// Group, mode and access control lists of what is made in a directory.
pub(crate) fn inherit(parent: &Inode, cred: &Cred, new: NewMode, kind: FileKind) -> Inherited {
    let is_dir = kind == FileKind::Directory;
    let mut mode = new.mode & 0o7777;
    let mut gid = cred.gid;
    if parent.attr.mode & SETGID != 0 {
        gid = parent.attr.gid;
        let foreign = cred.uid != 0 && !cred.in_group(gid);
        if is_dir {
            mode |= SETGID;
        } else if foreign && mode & GROUP_EXEC != 0 {
            mode &= !SETGID;
        }
    }
    match &parent.default_acl {
        Some(default) if kind != FileKind::Symlink => {
            let (acl, permissions) = default.born(mode);
            Inherited {
                gid,
                mode: mode & !PERMISSIONS | permissions,
                acl: (!acl.is_mode()).then(|| Box::new(acl)),
                default_acl: is_dir.then(|| default.clone()),
            }
        }
        _ => Inherited { gid, mode: mode & !(new.umask & PERMISSIONS), acl: None, default_acl: None },
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
