//! Requests as the kernel means them. Names, values and data share the memory of the request they came in.

use bytes::Bytes;

use super::Opcode;

/// An inode as the kernel names it; the number was told to it by an [`Entry`](super::Entry).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root of the mount.
    pub const ROOT: Self = Self(1);
}

/// An open file or directory; the number was told to the kernel by an [`Opened`](super::Opened).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Handle(pub u64);

/// Who holds a lock: a process's table of files, or an open file. Meaningless but for comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LockOwner(pub u64);

/// A time since 1970, nanoseconds counted forwards from the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub secs: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanos: u32,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// The time when it is carried out.
    Now,
    /// This one.
    At(Time),
}

/// Who asks, in the terms of the daemon's namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller {
    /// User that counts for files.
    pub uid: u32,
    /// Group that counts for files.
    pub gid: u32,
    /// Thread; 0 where it cannot be seen from here, or where the kernel asks by itself.
    pub pid: u32,
}

/// What every request begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it asks for.
    pub opcode: Opcode,
    /// Number of the request, never used twice by a mount.
    pub unique: u64,
    /// What it is about; 0 for some.
    pub node: NodeId,
    /// Who asks.
    pub caller: Caller,
}

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Its header.
    pub header: Header,
    /// What is to be done.
    pub operation: Operation,
}

/// Attributes to change; absent ones stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// Permission bits, perhaps with those of the kind.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Time of access.
    pub atime: Option<SetTime>,
    /// Time of change of content.
    pub mtime: Option<SetTime>,
    /// Time of change of anything, where the kernel keeps it.
    pub ctime: Option<Time>,
    /// The open file it was asked on.
    pub handle: Option<Handle>,
    /// Who truncates, where that matters for mandatory locks.
    pub lock_owner: Option<LockOwner>,
    /// Privilege bits go (with `HANDLE_KILLPRIV_V2`).
    pub kill_privileges: bool,
}

/// Whose rules a lock follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockKind {
    /// `fcntl`: byte ranges; of a process, or with `F_OFD_SETLK` of an open file.
    Posix,
    /// `flock`: whole files, of an open file.
    Flock,
}

/// What a lock allows others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockMode {
    /// Others may share it.
    Shared,
    /// Nobody else may have it.
    Exclusive,
}

/// Bytes locked, the last included; what goes to the end of any file has `i64::MAX` there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LockRange {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
}

/// A lock to take, to give back or to ask about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRequest {
    /// The open file it is asked on.
    pub handle: Handle,
    /// Whose.
    pub owner: LockOwner,
    /// Whose rules.
    pub kind: LockKind,
    /// Which bytes.
    pub range: LockRange,
    /// What is wanted; `None` gives the bytes back.
    pub mode: Option<LockMode>,
    /// The owner's process, which `F_GETLK` shows to others.
    pub pid: u32,
}

/// Bytes to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteRequest {
    /// The open file.
    pub handle: Handle,
    /// Where they go.
    pub offset: u64,
    /// They.
    pub data: Bytes,
    /// Flags of the open file, as `open` had them and `fcntl` has changed them.
    pub flags: u32,
    /// The kernel writes pages back, with a handle that it has guessed.
    pub from_cache: bool,
    /// Privilege bits go (with `HANDLE_KILLPRIV_V2`).
    pub kill_privileges: bool,
}

/// A range to copy from the open file of the request to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyRequest {
    /// The open file.
    pub handle: Handle,
    /// Where the range begins in it.
    pub offset: u64,
    /// The other file.
    pub target: NodeId,
    /// It, open.
    pub target_handle: Handle,
    /// Where the range goes to in it.
    pub target_offset: u64,
    /// Bytes.
    pub length: u64,
    /// Flags of `copy_file_range`.
    pub flags: u64,
}

/// An `ioctl`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoctlRequest {
    /// The open file.
    pub handle: Handle,
    /// How the kernel passes it on (`FUSE_IOCTL_…`).
    pub flags: u32,
    /// Its number.
    pub command: u32,
    /// Its argument.
    pub argument: u64,
    /// What the argument points to, as far as the number says.
    pub input: Bytes,
    /// Most bytes of the output.
    pub output_bytes: u32,
}

/// What the kernel says when it says hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitRequest {
    /// Its version: 7.
    pub major: u32,
    /// And this.
    pub minor: u32,
    /// How far it would read ahead, in bytes.
    pub max_readahead: u32,
    /// What it can do, of [`init`](super::codes::init).
    pub flags: u64,
}

/// What a request asks for. `node` of the header is what it is about, where nothing else is said.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "fields are those of the system call of the same name, in its units")]
pub enum Operation {
    /// Finds a name in a directory.
    Lookup { name: Bytes },
    /// The kernel has forgotten so many answers that named the inode. No answer.
    Forget { lookups: u64 },
    /// [`Self::Forget`] for many. No answer.
    BatchForget { nodes: Vec<(NodeId, u64)> },
    /// Attributes.
    GetAttr { handle: Option<Handle> },
    /// Attributes, with the time of creation.
    Statx { handle: Option<Handle>, flags: u32, mask: u32 },
    /// Changes attributes.
    SetAttr(SetAttr),
    /// Target of a symlink.
    ReadLink,
    /// Makes a symlink.
    Symlink { name: Bytes, target: Bytes },
    /// Makes a file, pipe, socket or device.
    MkNod { name: Bytes, mode: u32, rdev: u32, umask: u32 },
    /// Makes a directory.
    MkDir { name: Bytes, mode: u32, umask: u32 },
    /// Removes a name that is not a directory's.
    Unlink { name: Bytes },
    /// Removes an empty directory.
    RmDir { name: Bytes },
    /// Moves a name; `flags` are those of `renameat2`.
    Rename { name: Bytes, new_parent: NodeId, new_name: Bytes, flags: u32 },
    /// Gives `node` another name, in the header's directory.
    Link { node: NodeId, name: Bytes },
    /// Opens a file; `flags` are those of `open`.
    Open { flags: u32, kill_privileges: bool },
    /// Reads.
    Read { handle: Handle, offset: u64, size: u32, flags: u32, lock_owner: Option<LockOwner> },
    /// Writes.
    Write(WriteRequest),
    /// Space and inodes.
    StatFs,
    /// Closes an open file that nobody has any more. `flock` names the owner of its `flock`, if it had one.
    Release { handle: Handle, flags: u32, flock: Option<LockOwner> },
    /// Makes what was written durable.
    Fsync { handle: Handle, data_only: bool },
    /// Sets an extended attribute; `flags` are those of `setxattr`.
    SetXattr { name: Bytes, value: Bytes, flags: u32, clear_sgid: bool },
    /// Value of an extended attribute, of `size` bytes at most; 0 asks for its size.
    GetXattr { name: Bytes, size: u32 },
    /// Names of extended attributes, each with a NUL, of `size` bytes at most; 0 asks for their size.
    ListXattr { size: u32 },
    /// Removes an extended attribute.
    RemoveXattr { name: Bytes },
    /// A descriptor of an open file is being closed by this owner of locks.
    Flush { handle: Handle, lock_owner: LockOwner },
    /// Says hello.
    Init(InitRequest),
    /// Opens a directory.
    OpenDir { flags: u32 },
    /// Entries of a directory after a cookie, of `size` bytes at most; with attributes where `plus`.
    ReadDir { handle: Handle, after: u64, size: u32, plus: bool },
    /// Closes an open directory.
    ReleaseDir { handle: Handle, flags: u32 },
    /// Makes changes of a directory durable.
    FsyncDir { handle: Handle, data_only: bool },
    /// Who would be in the way of a lock.
    GetLock(LockRequest),
    /// Takes a lock or gives it back; waits for it where `wait`.
    SetLock { lock: LockRequest, wait: bool },
    /// Whether the caller may; `mask` is that of `access`.
    Access { mask: u32 },
    /// Makes a file and opens it.
    Create { name: Bytes, flags: u32, mode: u32, umask: u32, kill_privileges: bool },
    /// Makes a file without a name, and opens it.
    TmpFile { flags: u32, mode: u32, umask: u32 },
    /// A signal has come for who waits for the request of this number.
    Interrupt { unique: u64 },
    /// Block of the device under a block of the file.
    Bmap { block: u64, block_bytes: u32 },
    /// The mount is over.
    Destroy,
    /// `ioctl`.
    Ioctl(IoctlRequest),
    /// `poll`.
    Poll { handle: Handle, kernel_handle: u64, flags: u32, events: u32 },
    /// Sets space aside, punches, zeroes; `mode` is that of `fallocate`.
    Fallocate { handle: Handle, offset: u64, length: u64, mode: u32 },
    /// Finds data or a hole; `whence` is that of `lseek`.
    Lseek { handle: Handle, offset: u64, whence: u32 },
    /// Copies between files. `long_reply` where the answer has 64 bits.
    CopyFileRange { copy: CopyRequest, long_reply: bool },
    /// Makes everything durable.
    SyncFs,
    /// Something that is not served here.
    Unsupported,
}

impl Operation {
    /// Whether it waits for another process and not for a server, so that no deadline fits.
    #[must_use]
    pub fn waits_for_a_lock(&self) -> bool {
        // Giving one back is said to wait, too.
        matches!(self, Self::SetLock { lock: LockRequest { mode: Some(_), .. }, wait: true })
    }

    /// Whether it may have much to move, and takes its time for that.
    #[must_use]
    pub fn moves_data(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Write(_)
            | Self::Flush { .. }
            | Self::Fsync { .. }
            | Self::Release { .. }
            | Self::Fallocate { .. }
            | Self::CopyFileRange { .. }
            | Self::Lseek { .. }
            | Self::SyncFs => true,
            Self::SetAttr(set) => set.size.is_some(),
            Self::Open { flags, .. } | Self::Create { flags, .. } => flags & nix::libc::O_TRUNC as u32 != 0,
            _ => false,
        }
    }
}
