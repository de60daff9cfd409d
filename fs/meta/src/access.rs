//! Permission: who may do what to an inode.

use forebay_types::{Cred, Errno, FileKind};

use crate::record::Inode;

pub(crate) const READ: u16 = 4;
pub(crate) const WRITE: u16 = 2;
pub(crate) const SEARCH: u16 = 1;

pub(crate) const SETUID: u16 = 0o4000;
pub(crate) const SETGID: u16 = 0o2000;
pub(crate) const STICKY: u16 = 0o1000;
const GROUP_EXEC: u16 = 0o010;

/// Whether the mode bits give the caller all of `want`. The superuser may do everything here: whether a file may be
/// executed is decided where it is executed.
pub(crate) fn may(inode: &Inode, cred: &Cred, want: u16) -> bool {
    let attr = &inode.attr;
    if cred.uid == 0 {
        return true;
    }
    let bits = if cred.uid == attr.uid {
        attr.mode >> 6
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

/// Takes the bits off that must not survive a change of owner: they would run as somebody else.
pub(crate) fn clear_setid(inode: &mut Inode) {
    if inode.attr.kind == FileKind::Directory {
        return;
    }
    inode.attr.mode &= !SETUID;
    if inode.attr.mode & GROUP_EXEC != 0 {
        inode.attr.mode &= !SETGID;
    }
}

/// Group and mode of what is made in a directory.
pub(crate) fn inherit(parent: &Inode, cred: &Cred, mode: u16, kind: FileKind) -> (u32, u16) {
    let mode = mode & 0o7777;
    if parent.attr.mode & SETGID == 0 {
        return (cred.gid, mode);
    }
    let gid = parent.attr.gid;
    if kind == FileKind::Directory {
        return (gid, mode | SETGID);
    }
    let foreign = cred.uid != 0 && !cred.in_group(gid);
    if foreign && mode & GROUP_EXEC != 0 { (gid, mode & !SETGID) } else { (gid, mode) }
}
