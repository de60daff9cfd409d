//! Changes of a shard.

use bytes::Bytes;
use forebay_types::{ByteRange, Cred, Extent, InodeId, LifetimeClass, NewMode, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::{MetaReply, ReadOp};
use super::{QuotaChange, Repair};
use crate::chunk::Receipt;

/// Mutations.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MutateOp {
    /// Make a filesystem's root directory (idempotent; sent once by the cluster group to shard 0).
    MakeRoot,
    /// Make anything but a directory.
    Create {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// What to make.
        node: NewNode,
        /// Permission bits.
        mode: NewMode,
        /// Whether a name that exists is an error (`O_EXCL`, `mknod`, `symlink`); else it is returned.
        exclusive: bool,
        /// Whether the session has it open, for writing too, from its first moment on; not where it existed.
        open: bool,
        /// For imports (superuser only): owner, times and content at once.
        content: Option<Box<NewContent>>,
    },
    /// Make a directory.
    Mkdir {
        /// The directory it goes into.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// Permission bits.
        mode: NewMode,
    },
    /// Remove a name that is not a directory's.
    Unlink {
        /// The directory.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Remove an empty directory.
    Rmdir {
        /// The directory it is in.
        parent: InodeId,
        /// The name.
        name: Bytes,
    },
    /// Move a name, replacing what has the new one. Sent to the shard of `parent`.
    Rename {
        /// The directory it is in.
        parent: InodeId,
        /// The name.
        name: Bytes,
        /// The directory it goes to.
        new_parent: InodeId,
        /// The new name.
        new_name: Bytes,
        /// What becomes of what has the new name.
        how: RenameHow,
    },
    /// Give a file another name. Sent to the shard of `parent`.
    Link {
        /// The file.
        ino: InodeId,
        /// The directory of the new name.
        parent: InodeId,
        /// The new name.
        name: Bytes,
    },
    /// Change attributes.
    SetAttr {
        /// The inode.
        ino: InodeId,
        /// What to change.
        set: SetAttr,
    },
    /// Set an extended attribute.
    SetXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name.
        name: Bytes,
        /// Its value.
        value: Bytes,
        /// Whether it must, or must not, exist already.
        when: XattrWhen,
    },
    /// Remove an extended attribute.
    RemoveXattr {
        /// The inode.
        ino: InodeId,
        /// Its full name.
        name: Bytes,
    },
    /// Allocate stripe ids for the session; ids it does not commit are erased when the session ends.
    AllocateStripes {
        /// How many, at most [`forebay_types::limits::STRIPES_PER_ALLOCATION`].
        count: u32,
        /// How long their bytes are expected to live.
        class: LifetimeClass,
    },
    /// Map bytes of a file to new extents, whatever was there before.
    Commit {
        /// The file.
        ino: InodeId,
        /// New extents, in order, not overlapping.
        extents: Vec<Extent>,
        /// Proof that every stripe named that is not committed yet is durable.
        receipts: Vec<Receipt>,
        /// The file's size becomes at least this.
        size_at_least: u64,
        /// When the bytes were written, by the client's clock: the file's mtime and ctime become this, but nothing
        /// before its last change and nothing after now. Absent where the bytes are not new.
        touch: Option<Timestamp>,
        /// Whether set-user-id and set-group-id go: somebody without privilege has written.
        drop_privileges: bool,
    },
    /// Map bytes of a file to other extents holding the same bytes, only where they still are what is expected:
    /// recall (cold to hot) and evict (hot to cold). Answers [`Errno::Again`] where something else is there now.
    Exchange {
        /// The file.
        ino: InodeId,
        /// What must be there, in order.
        expect: Vec<Extent>,
        /// What is to be there; covers the same bytes.
        replace: Vec<Extent>,
        /// Proof that every new stripe is durable.
        receipts: Vec<Receipt>,
    },
    /// The session has ended: forget its answers, its open files and its uncommitted stripes.
    EndSession {
        /// The session.
        session: SessionId,
    },
    /// Make a file without a name (`O_TMPFILE`), which the session has open for writing: it goes with the last `Close`,
    /// unless it is given a name before.
    Tmpfile {
        /// The directory in which it could have a name.
        parent: InodeId,
        /// Permission bits.
        mode: NewMode,
        /// Whether it may be given a name at all (without `O_EXCL`).
        linkable: bool,
    },
    /// Make a range of a file zeros, or only the file longer. Space cannot be set aside: bytes are written elsewhere
    /// than those they replace.
    Fallocate {
        /// The file.
        ino: InodeId,
        /// Which of its bytes.
        range: ByteRange,
        /// Whether they become zeros (a hole).
        zero: bool,
        /// Whether the file's size stays (`FALLOC_FL_KEEP_SIZE`); else it becomes at least the range's end.
        keep_size: bool,
        /// Whether set-user-id and set-group-id go.
        drop_privileges: bool,
    },
    /// Map bytes of a file to where the bytes of another (or of itself, elsewhere) are: both share them. Answered with
    /// how many bytes that was, from the range's start on; fewer than asked for where there are very many extents.
    CopyRange {
        /// The file copied from, of the same shard.
        from: InodeId,
        /// Its bytes; those past its end are left out.
        range: ByteRange,
        /// The file copied to.
        to: InodeId,
        /// Where the first byte goes.
        to_offset: u64,
        /// Whether set-user-id and set-group-id of `to` go.
        drop_privileges: bool,
    },
    /// A file was read: its time of last access becomes `at`, where it is older than its last change or more than a
    /// day (`relatime`), and nothing has changed since.
    Accessed {
        /// The file.
        ino: InodeId,
        /// When it was read.
        at: Timestamp,
    },
    /// Set numbers aside for inodes that the session will make in directories delegated to it. Answered with
    /// [`MetaReply::Inodes`]; what it does not use is never used.
    ReserveInodes {
        /// How many, at most [`forebay_types::limits::INODES_PER_RESERVATION`].
        count: u32,
    },
    /// What the session has done by itself in directories delegated to it, in order. Each is carried out on its own; the
    /// answer, [`MetaReply::Logged`], names those that were refused. Refused as a whole ([`Errno::Stale`]) where a
    /// directory or file that it names is not the session's any more.
    Logged {
        /// At most [`forebay_types::limits::OPS_PER_LOG_MESSAGE`].
        ops: Vec<LoggedOp>,
    },
    /// Change a quota, or what counts for one.
    Quota(QuotaChange),
    /// Repair damage that a check has found (superuser only).
    Repair(Repair),
}

/// A mutation that a client has carried out on its own copy of a delegated directory: done again with the same time and
/// the same number it comes to the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct LoggedOp {
    /// The time it took place, by the shard's clock as far as the client knows it.
    pub now: Timestamp,
    /// The number of what it made.
    pub ino: Option<InodeId>,
    /// Who asked for it.
    pub cred: Cred,
    /// What it is: a mutation of one shard and of inodes that have one name.
    pub op: MutateOp,
}

/// What to make.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum NewNode {
    /// A regular file.
    File,
    /// A symlink to this target.
    Symlink(Bytes),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A device of this number.
    CharDevice(u32),
    /// A device of this number.
    BlockDevice(u32),
}

/// Owner, times and content of an imported file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NewContent {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change.
    pub mtime: Timestamp,
    /// Size in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub extents: Vec<Extent>,
}

/// Attributes to change; what is absent stays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: truncates, or grows with a hole.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of content.
    pub mtime: Option<SetTime>,
    /// Lifetime class of the bytes written from now on; new files and directories inherit their parent's (superuser).
    pub class: Option<LifetimeClass>,
    /// Whether set-user-id and set-group-id go, whoever asks: somebody without privilege has changed the content.
    pub drop_privileges: bool,
}

/// What a rename does with what has the new name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RenameHow {
    /// Replaces it, as POSIX says.
    Replace,
    /// Refuses (`RENAME_NOREPLACE`).
    NoReplace,
    /// Gives it the old name (`RENAME_EXCHANGE`).
    Exchange,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum SetTime {
    /// The shard's time.
    Now,
    /// This.
    At(Timestamp),
}

/// Condition of setting an extended attribute.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum XattrWhen {
    /// In any case.
    Always,
    /// Only if it does not exist (`XATTR_CREATE`).
    Absent,
    /// Only if it exists (`XATTR_REPLACE`).
    Present,
}
