//! Attributes of inodes and of filesystems.

use serde::{Deserialize, Serialize};

use crate::{InodeId, Timestamp};

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// The attributes of an inode, as `stat` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Attr {
    /// The inode.
    pub ino: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, 0o0000 to 0o7777; the kind is not among them.
    pub mode: u16,
    /// Hard links; for a directory 2 plus its subdirectories.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Size in bytes; for a directory a figure that grows with its entries, for a symlink its target's length.
    pub size: u64,
    /// Bytes that extents other than holes cover.
    pub allocated_bytes: u64,
    /// Of those, the bytes that are only in a cold tier.
    pub cold_bytes: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of anything.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// Device number, for devices.
    pub rdev: u32,
    /// Tells apart two files that had one inode number.
    pub generation: u64,
    /// Grows with every change of the inode: equal versions have equal attributes and content.
    pub version: u64,
    /// Whether it has an access control list, or a default one: then mode bits do not say all. Lets a mount answer the
    /// kernel's question for lists, which it asks at every check of permission, without asking the shard.
    pub acl: bool,
    /// Whether it has file capabilities (`security.capability`), which go when its content or owner changes.
    pub capability: bool,
}

impl Attr {
    /// Whether a read at `at` sets the time of last access, by the rule of Linux's `relatime`: it is not newer than the
    /// last change, or older than a day.
    #[must_use]
    pub fn access_counts(&self, at: Timestamp) -> bool {
        const DAY_SECS: i64 = 24 * 60 * 60;
        let old =
            self.atime <= self.mtime || self.atime <= self.ctime || at.secs.saturating_sub(self.atime.secs) >= DAY_SECS;
        old && at > self.atime
    }

    /// Takes off the bits that must not survive a change of content or owner, as the file would run as somebody else:
    /// set-user-id, and set-group-id where the group may execute. Directories keep theirs.
    pub fn clear_setid(&mut self) {
        if self.kind == FileKind::Directory {
            return;
        }
        self.mode &= !0o4000;
        if self.mode & 0o010 != 0 {
            self.mode &= !0o2000;
        }
    }
}

/// Permission bits that something new is to have.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NewMode {
    /// What its maker asks for, 0o0000 to 0o7777.
    pub mode: u16,
    /// Bits taken off, unless the directory's default access control list takes their place.
    pub umask: u16,
}

impl From<u16> for NewMode {
    /// Just these bits.
    fn from(mode: u16) -> Self {
        Self { mode, umask: 0 }
    }
}

/// Space and inodes of a filesystem, as `df` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Statfs {
    /// Bytes that files can have in all (parity already taken off).
    pub total_bytes: u64,
    /// Of those, bytes still free.
    pub free_bytes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
    /// Inodes that can still be made; absent where only space limits that.
    pub free_inodes: Option<u64>,
}
