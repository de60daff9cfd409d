//! The kernel's words and ours.

use forebay_client::ClientError;
use forebay_fuse::abi::{self, NodeId, Time};
use forebay_types::{Attr, Errno, FileKind, InodeId, NewMode, Timestamp};
use forebay_wire::meta::{NewNode, RenameHow, SetAttr, SetTime, XattrWhen};

/// What `stat` calls the best size of a request, in bytes.
const BLOCK_BYTES: u32 = 128 * 1024;
/// Unit in which `stat` counts allocated space, in bytes.
const STAT_UNIT: u64 = 512;

/// The inode of a kernel's node id: all are the same but the root's.
pub(super) fn inode(node: NodeId) -> InodeId {
    if node == NodeId::ROOT { InodeId::ROOT } else { InodeId(node.0) }
}

/// The node id of an inode.
pub(super) fn node(ino: InodeId) -> NodeId {
    if ino == InodeId::ROOT { NodeId::ROOT } else { NodeId(ino.0) }
}

/// What an inode is, as `st_mode` says it.
pub(super) fn kind(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => nix::libc::S_IFREG,
        FileKind::Directory => nix::libc::S_IFDIR,
        FileKind::Symlink => nix::libc::S_IFLNK,
        FileKind::Fifo => nix::libc::S_IFIFO,
        FileKind::Socket => nix::libc::S_IFSOCK,
        FileKind::CharDevice => nix::libc::S_IFCHR,
        FileKind::BlockDevice => nix::libc::S_IFBLK,
    }
}

/// Attributes as the kernel takes them.
pub(super) fn kernel_attr(attr: &Attr) -> abi::Attr {
    let time = |time: Timestamp| Time { secs: time.secs, nanos: time.nanos };
    abi::Attr {
        ino: node(attr.ino).0,
        mode: kind(attr.kind) | u32::from(attr.mode),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        size: attr.size,
        blocks: attr.allocated_bytes.div_ceil(STAT_UNIT),
        block_bytes: BLOCK_BYTES,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        btime: time(attr.btime),
    }
}

/// Attributes to change.
pub(super) fn set_attr(set: &abi::SetAttr) -> SetAttr {
    SetAttr {
        mode: set.mode.map(permissions),
        uid: set.uid,
        gid: set.gid,
        size: set.size,
        atime: set.atime.map(set_time),
        mtime: set.mtime.map(set_time),
        class: None,
        drop_privileges: set.kill_privileges,
    }
}

fn set_time(time: abi::SetTime) -> SetTime {
    match time {
        abi::SetTime::Now => SetTime::Now,
        abi::SetTime::At(Time { secs, nanos }) => SetTime::At(Timestamp { secs, nanos }),
    }
}

/// Permission bits of a mode.
pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// Permission bits of something new.
pub(super) fn new_mode(mode: u32, umask: u32) -> NewMode {
    NewMode { mode: permissions(mode), umask: permissions(umask) }
}

/// What a rename with these flags does; `None` for flags that are not known.
pub(super) fn rename_how(flags: u32) -> Option<RenameHow> {
    match flags {
        0 => Some(RenameHow::Replace),
        nix::libc::RENAME_NOREPLACE => Some(RenameHow::NoReplace),
        nix::libc::RENAME_EXCHANGE => Some(RenameHow::Exchange),
        _ => None,
    }
}

/// What `mknod` is to make; `None` for a kind it cannot.
pub(super) fn new_node(mode: u32, rdev: u32) -> Option<NewNode> {
    Some(match mode & nix::libc::S_IFMT {
        nix::libc::S_IFREG | 0 => NewNode::File,
        nix::libc::S_IFIFO => NewNode::Fifo,
        nix::libc::S_IFSOCK => NewNode::Socket,
        nix::libc::S_IFCHR => NewNode::CharDevice(rdev),
        nix::libc::S_IFBLK => NewNode::BlockDevice(rdev),
        _ => return None,
    })
}

/// Condition of `setxattr`.
pub(super) fn xattr_when(flags: i32) -> Result<XattrWhen, Errno> {
    match flags {
        0 => Ok(XattrWhen::Always),
        nix::libc::XATTR_CREATE => Ok(XattrWhen::Absent),
        nix::libc::XATTR_REPLACE => Ok(XattrWhen::Present),
        _ => Err(Errno::Invalid),
    }
}

/// How an `open` uses its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OpenMode {
    pub read: bool,
    pub write: bool,
    pub truncate: bool,
}

impl OpenMode {
    /// From the flags of `open`.
    pub fn of(flags: i32) -> Self {
        let access = flags & nix::libc::O_ACCMODE;
        let truncate = flags & nix::libc::O_TRUNC != 0;
        // The kernel opens programs to run them with a flag of its own, and checks that they may be run.
        let run = flags & FMODE_EXEC != 0;
        Self { read: access != nix::libc::O_WRONLY && !run, write: access != nix::libc::O_RDONLY || truncate, truncate }
    }
}

/// `FMODE_EXEC`: the file is opened to be run.
const FMODE_EXEC: i32 = 0o40;

/// What an application sees of a failure. One that POSIX has no number for is told to the log, here and only here.
pub(super) fn errno(op: &'static str, ino: InodeId, error: &ClientError) -> forebay_fuse::Errno {
    let errno = error.errno();
    if !matches!(error, ClientError::Posix(_)) {
        tracing::warn!(op, %ino, %error, "request failed");
    }
    forebay_fuse::Errno::from_raw(errno.raw())
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
