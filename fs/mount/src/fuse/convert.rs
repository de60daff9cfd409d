//! The kernel's words and ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_client::ClientError;
use forebay_types::{Attr, Errno, FileKind, InodeId, Timestamp};
use forebay_wire::meta::{NewNode, SetTime, XattrWhen};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

/// What `stat` calls the best size of a request, in bytes.
const BLOCK_BYTES: u32 = 128 * 1024;
/// Unit in which `stat` counts allocated space, in bytes.
const STAT_UNIT: u64 = 512;

/// The inode of a kernel's node id: all are the same but the root's.
pub(super) fn inode(node: INodeNo) -> InodeId {
    if node == INodeNo::ROOT { InodeId::ROOT } else { InodeId(node.0) }
}

/// The node id of an inode.
pub(super) fn node(ino: InodeId) -> INodeNo {
    if ino == InodeId::ROOT { INodeNo::ROOT } else { INodeNo(ino.0) }
}

/// The kernel's word for what an inode is.
pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// Attributes as the kernel takes them.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: node(attr.ino),
        size: attr.size,
        blocks: attr.allocated_bytes.div_ceil(STAT_UNIT),
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let second = if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(UNIX_EPOCH)
}

/// A time to set.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

/// Times before 1970 come from the FUSE library with the kernel's nanoseconds counted backwards, like the seconds:
/// 1.5 s before 1970 is -2 s and 0.5 s for the kernel, and 2.5 s before in the library.
fn timestamp(time: SystemTime) -> Timestamp {
    let (sign, distance) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (1, after),
        Err(before) => (-1, before.duration()),
    };
    Timestamp { secs: sign * distance.as_secs() as i64, nanos: distance.subsec_nanos() }
}

/// Permission bits of a mode.
pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
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
pub(super) fn errno(op: &'static str, ino: InodeId, error: &ClientError) -> fuser::Errno {
    let errno = error.errno();
    if !matches!(error, ClientError::Posix(_)) {
        tracing::warn!(op, %ino, %error, "request failed");
    }
    fuser::Errno::from_i32(errno.raw())
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
