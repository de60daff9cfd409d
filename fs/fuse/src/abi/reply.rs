//! Answers, typed, and as bytes: a header with the small parts, and data that is passed on where it lies.

use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;

use super::layout::Put;
use super::{Handle, LockMode, LockRange, NodeId, Time};

/// Bytes of an answer's header.
pub const REPLY_HEADER_BYTES: usize = 16;

/// Attributes as the kernel takes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attr {
    /// Number that programs see.
    pub ino: u64,
    /// Kind and permission bits, as `st_mode`.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, as the kernel packs it into 32 bits.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Space in units of 512 bytes.
    pub blocks: u64,
    /// Best size of a request, in bytes; a power of two.
    pub block_bytes: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Creation; only STATX shows it.
    pub btime: Time,
}

/// A name that was found or made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The inode; `NodeId(0)` says that there is none, for as long as `name_life`.
    pub node: NodeId,
    /// Tells apart two inodes that had one number.
    pub generation: u64,
    /// How long the name may be believed.
    pub name_life: Duration,
    /// How long the attributes may be believed.
    pub attr_life: Duration,
    /// The attributes.
    pub attr: Attr,
}

impl Entry {
    /// There is no such name, which may be believed for so long.
    #[must_use]
    pub fn missing(life: Duration) -> Self {
        Self { node: NodeId(0), generation: 0, name_life: life, attr_life: Duration::ZERO, attr: Attr::default() }
    }
}

/// An open file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What later requests name it by.
    pub handle: Handle,
    /// How the kernel is to treat it, of [`opened`](super::codes::opened).
    pub flags: u32,
}

/// Space and inodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatFs {
    /// Blocks in all.
    pub blocks: u64,
    /// Of those, free.
    pub blocks_free: u64,
    /// Of those, free for anybody.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Of those, free.
    pub files_free: u64,
    /// Size of a block, in bytes.
    pub block_bytes: u32,
    /// Longest name, in bytes.
    pub name_max: u32,
}

/// A lock that is in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldLock {
    /// Which bytes.
    pub range: LockRange,
    /// What it allows.
    pub mode: LockMode,
    /// Whose process; 0 where that is unknown.
    pub pid: u32,
}

/// A value to a caller who may only want to know its size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SizedValue {
    /// Its size, in bytes.
    Size(u32),
    /// It.
    Data(Bytes),
}

impl SizedValue {
    /// What fits into `room` bytes, as `getxattr` and `listxattr` have it: 0 asks for the size.
    pub fn fit(data: Bytes, room: u32) -> Result<Self, Errno> {
        match u32::try_from(data.len()) {
            Ok(len) if room == 0 => Ok(Self::Size(len)),
            Ok(len) if len <= room => Ok(Self::Data(data)),
            _ => Err(Errno::ERANGE),
        }
    }
}

/// What the daemon says to the kernel's hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitReply {
    /// Minor version that is spoken from now on.
    pub minor: u32,
    /// How far to read ahead, in bytes.
    pub max_readahead: u32,
    /// What is taken of what was offered.
    pub flags: u64,
    /// Most requests under way that nobody waits for.
    pub max_background: u16,
    /// From so many on, the kernel holds back.
    pub congestion_threshold: u16,
    /// Most bytes of a write.
    pub max_write: u32,
    /// Most pages of a request.
    pub max_pages: u16,
}

/// A successful answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// Bytes.
    Data(Bytes),
    /// A name.
    Entry(Entry),
    /// Attributes, and how long they may be believed.
    Attr(Attr, Duration),
    /// Attributes for STATX.
    Statx(Attr, Duration),
    /// Opened.
    Opened(Opened),
    /// Made and opened.
    Created(Entry, Opened),
    /// So many bytes were written or copied.
    Written(u32),
    /// So many bytes were copied, in 64 bits.
    Copied(u64),
    /// Space and inodes.
    StatFs(StatFs),
    /// A value, or its size.
    Sized(SizedValue),
    /// What is in the way of a lock; nothing where `None`.
    Lock(Option<HeldLock>),
    /// An offset.
    Offset(u64),
    /// A block.
    Block(u64),
    /// What `ioctl` returned, and its output.
    Ioctl(i32, Bytes),
    /// Events of `poll`.
    Events(u32),
    /// Hello.
    Init(InitReply),
}

/// An answer as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Header and small parts.
    pub head: Vec<u8>,
    /// What comes after them.
    pub data: Bytes,
}

impl Encoded {
    /// Length in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Never: there is a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An answer to request `unique`.
#[must_use]
pub fn encode(unique: u64, answer: Result<Reply, Errno>) -> Encoded {
    let mut head = Vec::with_capacity(REPLY_HEADER_BYTES + 144);
    // The length comes when it is known.
    head.u32(0);
    let data = match answer {
        Ok(reply) => {
            head.u32(0).u64(unique);
            put_reply(&mut head, reply)
        }
        Err(errno) => {
            // Zero would be success.
            let errno = if errno == Errno::UnknownErrno { Errno::EIO } else { errno };
            head.u32((errno as i32).wrapping_neg().cast_unsigned()).u64(unique);
            Bytes::new()
        }
    };
    let length = (head.len() + data.len()) as u32;
    head[..4].copy_from_slice(&length.to_ne_bytes());
    Encoded { head, data }
}

fn put_reply(head: &mut Vec<u8>, reply: Reply) -> Bytes {
    match reply {
        Reply::Done => {}
        Reply::Data(data) | Reply::Sized(SizedValue::Data(data)) => return data,
        Reply::Entry(entry) => put_entry(head, &entry),
        Reply::Attr(attr, life) => {
            head.u64(life.as_secs()).u32(life.subsec_nanos()).zeros(4);
            put_attr(head, &attr);
        }
        Reply::Statx(attr, life) => put_statx(head, &attr, life),
        Reply::Opened(opened) => put_opened(head, opened),
        Reply::Created(entry, opened) => {
            put_entry(head, &entry);
            put_opened(head, opened);
        }
        Reply::Written(bytes) | Reply::Sized(SizedValue::Size(bytes)) => {
            head.u32(bytes).zeros(4);
        }
        Reply::Copied(value) | Reply::Offset(value) | Reply::Block(value) => {
            head.u64(value);
        }
        Reply::StatFs(space) => put_statfs(head, &space),
        Reply::Lock(held) => put_lock(head, held),
        Reply::Ioctl(result, output) => {
            head.u32(result.cast_unsigned()).zeros(12);
            return output;
        }
        Reply::Events(events) => {
            head.u32(events).zeros(4);
        }
        Reply::Init(init) => put_init(head, &init),
    }
    Bytes::new()
}

/// `fuse_attr`, 88 bytes.
fn put_attr(out: &mut Vec<u8>, attr: &Attr) {
    out.u64(attr.ino).u64(attr.size).u64(attr.blocks);
    for time in [attr.atime, attr.mtime, attr.ctime] {
        out.u64(time.secs.cast_unsigned());
    }
    for time in [attr.atime, attr.mtime, attr.ctime] {
        out.u32(time.nanos);
    }
    out.u32(attr.mode).u32(attr.nlink).u32(attr.uid).u32(attr.gid).u32(attr.rdev).u32(attr.block_bytes).u32(0);
}

/// `fuse_entry_out`, 128 bytes.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.u64(entry.node.0).u64(entry.generation);
    out.u64(entry.name_life.as_secs()).u64(entry.attr_life.as_secs());
    out.u32(entry.name_life.subsec_nanos()).u32(entry.attr_life.subsec_nanos());
    put_attr(out, &entry.attr);
}

/// `fuse_open_out`, 16 bytes.
fn put_opened(out: &mut Vec<u8>, opened: Opened) {
    out.u64(opened.handle.0).u32(opened.flags).zeros(4);
}

/// `fuse_statx_out`, 288 bytes.
fn put_statx(out: &mut Vec<u8>, attr: &Attr, life: Duration) {
    /// `STATX_BASIC_STATS | STATX_BTIME`
    const MASK: u32 = 0x7ff | 0x800;
    out.u64(life.as_secs()).u32(life.subsec_nanos()).zeros(4 + 16);
    out.u32(MASK).u32(attr.block_bytes).u64(0);
    out.u32(attr.nlink).u32(attr.uid).u32(attr.gid).u16(attr.mode as u16).zeros(2);
    out.u64(attr.ino).u64(attr.size).u64(attr.blocks).u64(0);
    for time in [attr.atime, attr.btime, attr.ctime, attr.mtime] {
        out.u64(time.secs.cast_unsigned()).u32(time.nanos).zeros(4);
    }
    let (major, minor) = device(attr.rdev);
    out.u32(major).u32(minor).zeros(8 + 14 * 8);
}

/// Major and minor number of a device, as the kernel packs them (`new_encode_dev`).
fn device(rdev: u32) -> (u32, u32) {
    ((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xf_ff00))
}

/// `fuse_kstatfs`, 80 bytes.
fn put_statfs(out: &mut Vec<u8>, space: &StatFs) {
    out.u64(space.blocks).u64(space.blocks_free).u64(space.blocks_available).u64(space.files).u64(space.files_free);
    out.u32(space.block_bytes).u32(space.name_max).u32(space.block_bytes).zeros(4 + 6 * 4);
}

/// `fuse_file_lock`, 24 bytes.
fn put_lock(out: &mut Vec<u8>, held: Option<HeldLock>) {
    let (range, kind, pid) = match held {
        None => (LockRange { first: 0, last: 0 }, nix::libc::F_UNLCK, 0),
        Some(HeldLock { range, mode: LockMode::Shared, pid }) => (range, nix::libc::F_RDLCK, pid),
        Some(HeldLock { range, mode: LockMode::Exclusive, pid }) => (range, nix::libc::F_WRLCK, pid),
    };
    out.u64(range.first).u64(range.last).u32(kind.cast_unsigned()).u32(pid);
}

/// `fuse_init_out`, 64 bytes.
fn put_init(out: &mut Vec<u8>, init: &InitReply) {
    /// Times are exact to the nanosecond.
    const TIME_UNIT: u32 = 1;
    out.u32(super::codes::MAJOR).u32(init.minor).u32(init.max_readahead).u32(init.flags as u32);
    out.u16(init.max_background).u16(init.congestion_threshold).u32(init.max_write).u32(TIME_UNIT);
    out.u16(init.max_pages).u16(0).u32((init.flags >> 32) as u32).zeros(4 + 24);
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
