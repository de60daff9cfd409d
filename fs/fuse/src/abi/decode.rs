//! From bytes to a [`Request`].

use bytes::Bytes;

use super::layout::{Reader, Short};
use super::{
    Caller, CopyRequest, Handle, Header, InitRequest, IoctlRequest, LockKind, LockMode, LockOwner, LockRange,
    LockRequest, NodeId, Opcode, Operation, Request, SetAttr, SetTime, Time, WriteRequest,
};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 40;

/// What is said about a request that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Too short for a header.
    #[error("a request of {bytes} bytes has no header")]
    NoHeader {
        /// Its length.
        bytes: usize,
    },
    /// Its length is not what its header says.
    #[error("request {unique} ({opcode:?}) says it has {said} bytes and has {bytes}")]
    Length {
        /// Its number.
        unique: u64,
        /// What it asks for.
        opcode: Opcode,
        /// Length in its header.
        said: u32,
        /// Its length.
        bytes: usize,
    },
    /// It ends before a field does.
    #[error("request {unique} ({opcode:?}) ends before its {field} does")]
    Short {
        /// Its number.
        unique: u64,
        /// What it asks for.
        opcode: Opcode,
        /// The field.
        field: &'static str,
    },
    /// A field has a value that means nothing.
    #[error("request {unique} ({opcode:?}) has a {field} of {value}")]
    Value {
        /// Its number.
        unique: u64,
        /// What it asks for.
        opcode: Opcode,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

impl DecodeError {
    /// Number of the request, where it could be read: it can be refused.
    #[must_use]
    pub fn unique(&self) -> Option<u64> {
        match self {
            Self::NoHeader { .. } => None,
            Self::Length { unique, .. } | Self::Short { unique, .. } | Self::Value { unique, .. } => Some(*unique),
        }
    }
}

/// What was agreed on that changes how requests look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dialect {
    /// SETXATTR has flags of its own.
    pub setxattr_ext: bool,
}

/// What a field can be wrong with.
enum Wrong {
    Short(Short),
    Value { field: &'static str, value: u64 },
}

impl From<Short> for Wrong {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

/// Reads a request: the bytes of one read of `/dev/fuse`.
pub fn decode(bytes: Bytes, dialect: Dialect) -> Result<Request, DecodeError> {
    let total = bytes.len();
    let mut reader = Reader::new(bytes);
    let (said, extension_bytes, header) = header(&mut reader).map_err(|_| DecodeError::NoHeader { bytes: total })?;
    let Header { opcode, unique, .. } = header;
    if said as usize != total {
        return Err(DecodeError::Length { unique, opcode, said, bytes: total });
    }
    let fail = |wrong| match wrong {
        Wrong::Short(Short { field }) => DecodeError::Short { unique, opcode, field },
        Wrong::Value { field, value } => DecodeError::Value { unique, opcode, field, value },
    };
    // Extensions stand at the end; those that were not asked for mean nothing here.
    let body = reader.remaining().checked_sub(extension_bytes).ok_or(fail(Short { field: "extensions" }.into()))?;
    let body = reader.take(body, "body").map_err(|short| fail(short.into()))?;
    let operation = operation(opcode, &mut Reader::new(body), dialect).map_err(fail)?;
    Ok(Request { header, operation })
}

/// `fuse_in_header`: the length it says, the bytes of its extensions, and the rest.
fn header(r: &mut Reader) -> Result<(u32, usize, Header), Short> {
    let said = r.u32("length")?;
    let opcode = Opcode::from_raw(r.u32("opcode")?);
    let unique = r.u64("number")?;
    let node = NodeId(r.u64("node")?);
    let caller = Caller { uid: r.u32("uid")?, gid: r.u32("gid")?, pid: r.u32("pid")? };
    // In units of eight bytes.
    let extension_bytes = usize::from(r.u16("length of extensions")?) * 8;
    r.skip(2, "padding")?;
    Ok((said, extension_bytes, Header { opcode, unique, node, caller }))
}

fn operation(opcode: Opcode, r: &mut Reader, dialect: Dialect) -> Result<Operation, Wrong> {
    use Opcode as O;
    Ok(match opcode {
        O::Lookup => Operation::Lookup { name: r.text("name")? },
        O::Forget => Operation::Forget { lookups: r.u64("count")? },
        O::BatchForget => batch_forget(r)?,
        O::ReadLink => Operation::ReadLink,
        O::Unlink => Operation::Unlink { name: r.text("name")? },
        O::RmDir => Operation::RmDir { name: r.text("name")? },
        O::StatFs => Operation::StatFs,
        O::RemoveXattr => Operation::RemoveXattr { name: r.text("name")? },
        O::Destroy => Operation::Destroy,
        O::SyncFs => Operation::SyncFs,
        O::Interrupt => Operation::Interrupt { unique: r.u64("number of a request")? },
        O::Access => Operation::Access { mask: r.u32("mask")? },
        O::Init => init(r)?,
        O::Symlink | O::MkNod | O::MkDir | O::Rename | O::Rename2 | O::Link | O::Create | O::TmpFile => {
            naming(opcode, r)?
        }
        O::GetAttr | O::SetAttr | O::Statx | O::SetXattr | O::GetXattr | O::ListXattr => {
            attributes(opcode, r, dialect)?
        }
        O::GetLk | O::SetLk | O::SetLkW => locking(opcode, r)?,
        O::Open | O::OpenDir | O::Read | O::Write | O::ReadDir | O::ReadDirPlus | O::Release | O::ReleaseDir => {
            reading(opcode, r)?
        }
        O::Fsync | O::FsyncDir | O::Flush | O::Fallocate | O::Lseek | O::CopyFileRange | O::CopyFileRange64 => {
            shaping(opcode, r)?
        }
        O::Bmap => Operation::Bmap { block: r.u64("block")?, block_bytes: r.u32("block size")? },
        O::Ioctl => ioctl(r)?,
        O::Poll => Operation::Poll {
            handle: handle(r)?,
            kernel_handle: r.u64("kernel's handle")?,
            flags: r.u32("flags")?,
            events: r.u32("events")?,
        },
        O::NotifyReply | O::SetupMapping | O::RemoveMapping | O::Unknown(_) => Operation::Unsupported,
    })
}

fn handle(r: &mut Reader) -> Result<Handle, Short> {
    r.u64("handle").map(Handle)
}

fn batch_forget(r: &mut Reader) -> Result<Operation, Wrong> {
    let count = r.u32("count")?;
    r.skip(4, "padding")?;
    // Checked before anything is made that large.
    if r.remaining() / 16 < count as usize {
        return Err(Wrong::Value { field: "count", value: count.into() });
    }
    let nodes = (0..count).map(|_| Ok((NodeId(r.u64("node")?), r.u64("count")?))).collect::<Result<_, Short>>()?;
    Ok(Operation::BatchForget { nodes })
}

fn init(r: &mut Reader) -> Result<Operation, Wrong> {
    let (major, minor) = (r.u32("version")?, r.u32("version")?);
    let max_readahead = r.u32("read-ahead")?;
    let low = r.u32("flags")?;
    // Kernels before 5.17 end here.
    let high = if u64::from(low) & super::codes::init::INIT_EXT != 0 { r.u32("flags")? } else { 0 };
    let flags = u64::from(low) | u64::from(high) << 32;
    Ok(Operation::Init(InitRequest { major, minor, max_readahead, flags }))
}

/// `FUSE_OPEN_KILL_SUIDGID`
const OPEN_KILL: u32 = 1;

fn naming(opcode: Opcode, r: &mut Reader) -> Result<Operation, Wrong> {
    Ok(match opcode {
        Opcode::Symlink => Operation::Symlink { name: r.text("name")?, target: r.text("target")? },
        Opcode::MkNod => {
            let (mode, rdev, umask) = (r.u32("mode")?, r.u32("device")?, r.u32("umask")?);
            r.skip(4, "padding")?;
            Operation::MkNod { name: r.text("name")?, mode, rdev, umask }
        }
        Opcode::MkDir => {
            let (mode, umask) = (r.u32("mode")?, r.u32("umask")?);
            Operation::MkDir { name: r.text("name")?, mode, umask }
        }
        Opcode::Rename | Opcode::Rename2 => {
            let new_parent = NodeId(r.u64("new directory")?);
            let mut flags = 0;
            if opcode == Opcode::Rename2 {
                flags = r.u32("flags")?;
                r.skip(4, "padding")?;
            }
            Operation::Rename { name: r.text("name")?, new_parent, new_name: r.text("new name")?, flags }
        }
        Opcode::Link => Operation::Link { node: NodeId(r.u64("node")?), name: r.text("name")? },
        _ => {
            let (flags, mode, umask) = (r.u32("flags")?, r.u32("mode")?, r.u32("umask")?);
            let kill_privileges = r.u32("open flags")? & OPEN_KILL != 0;
            // What stands for the name of a file that has none is not one.
            let name = r.text("name")?;
            if opcode == Opcode::TmpFile {
                Operation::TmpFile { flags, mode, umask }
            } else {
                Operation::Create { name, flags, mode, umask, kill_privileges }
            }
        }
    })
}

fn attributes(opcode: Opcode, r: &mut Reader, dialect: Dialect) -> Result<Operation, Wrong> {
    /// `FUSE_GETATTR_FH`
    const HAS_HANDLE: u32 = 1;
    /// `FUSE_SETXATTR_ACL_KILL_SGID`
    const CLEAR_SGID: u32 = 1;
    Ok(match opcode {
        Opcode::GetAttr | Opcode::Statx => {
            let has_handle = r.u32("flags")? & HAS_HANDLE != 0;
            r.skip(4, "padding")?;
            let handle = Some(handle(r)?).filter(|_| has_handle);
            if opcode == Opcode::GetAttr {
                return Ok(Operation::GetAttr { handle });
            }
            Operation::Statx { handle, flags: r.u32("flags of statx")?, mask: r.u32("mask")? }
        }
        Opcode::SetAttr => Operation::SetAttr(set_attr(r)?),
        Opcode::SetXattr => {
            let (size, flags) = (r.u32("size")?, r.u32("flags")?);
            let mut clear_sgid = false;
            if dialect.setxattr_ext {
                clear_sgid = r.u32("more flags")? & CLEAR_SGID != 0;
                r.skip(4, "padding")?;
            }
            let name = r.text("name")?;
            Operation::SetXattr { name, value: r.take(size as usize, "value")?, flags, clear_sgid }
        }
        _ => {
            let size = r.u32("size")?;
            r.skip(4, "padding")?;
            if opcode == Opcode::ListXattr {
                return Ok(Operation::ListXattr { size });
            }
            Operation::GetXattr { name: r.text("name")?, size }
        }
    })
}

/// `fuse_setattr_in`
fn set_attr(r: &mut Reader) -> Result<SetAttr, Short> {
    let valid = r.u32("fields")?;
    r.skip(4, "padding")?;
    let has = |bit: u32| valid & (1 << bit) != 0;
    let (handle, size, owner) = (r.u64("handle")?, r.u64("size")?, r.u64("lock owner")?);
    let seconds = [r.i64("atime")?, r.i64("mtime")?, r.i64("ctime")?];
    let nanos = [r.u32("atime")?, r.u32("mtime")?, r.u32("ctime")?];
    let mode = r.u32("mode")?;
    r.skip(4, "padding")?;
    let (uid, gid) = (r.u32("uid")?, r.u32("gid")?);
    r.skip(4, "padding")?;
    let [atime, mtime, ctime] = [0, 1, 2].map(|i: usize| Time { secs: seconds[i], nanos: nanos[i] });
    let time = |bit, now, at| has(bit).then_some(if has(now) { SetTime::Now } else { SetTime::At(at) });
    Ok(SetAttr {
        mode: has(0).then_some(mode),
        uid: has(1).then_some(uid),
        gid: has(2).then_some(gid),
        size: has(3).then_some(size),
        atime: time(4, 7, atime),
        mtime: time(5, 8, mtime),
        handle: has(6).then_some(Handle(handle)),
        lock_owner: has(9).then_some(LockOwner(owner)),
        ctime: has(10).then_some(ctime),
        kill_privileges: has(11),
    })
}

/// `fuse_lk_in`
fn locking(opcode: Opcode, r: &mut Reader) -> Result<Operation, Wrong> {
    /// `FUSE_LK_FLOCK`
    const FLOCK: u32 = 1;
    let (handle, owner) = (handle(r)?, LockOwner(r.u64("owner")?));
    let range = LockRange { first: r.u64("start")?, last: r.u64("end")? };
    let wanted = r.u32("kind of lock")?;
    let pid = r.u32("pid")?;
    let flags = r.u32("flags")?;
    r.skip(4, "padding")?;
    let mode = match wanted as i32 {
        nix::libc::F_RDLCK => Some(LockMode::Shared),
        nix::libc::F_WRLCK => Some(LockMode::Exclusive),
        nix::libc::F_UNLCK => None,
        _ => return Err(Wrong::Value { field: "kind of lock", value: wanted.into() }),
    };
    if range.first > range.last {
        return Err(Wrong::Value { field: "end", value: range.last });
    }
    let kind = if flags & FLOCK != 0 { LockKind::Flock } else { LockKind::Posix };
    let lock = LockRequest { handle, owner, kind, range, mode, pid };
    Ok(match opcode {
        Opcode::GetLk => Operation::GetLock(lock),
        _ => Operation::SetLock { lock, wait: opcode == Opcode::SetLkW },
    })
}

/// `FUSE_READ_LOCKOWNER`, `FUSE_WRITE_LOCKOWNER`
const HAS_LOCK_OWNER: u32 = 1 << 1;

fn reading(opcode: Opcode, r: &mut Reader) -> Result<Operation, Wrong> {
    match opcode {
        Opcode::Open | Opcode::OpenDir => {
            let (flags, open_flags) = (r.u32("flags")?, r.u32("open flags")?);
            return Ok(match opcode {
                Opcode::Open => Operation::Open { flags, kill_privileges: open_flags & OPEN_KILL != 0 },
                _ => Operation::OpenDir { flags },
            });
        }
        Opcode::Release | Opcode::ReleaseDir => {
            /// `FUSE_RELEASE_FLOCK_UNLOCK`
            const FLOCK_UNLOCK: u32 = 1 << 1;
            let handle = handle(r)?;
            let (flags, release_flags) = (r.u32("flags")?, r.u32("flags of release")?);
            let owner = LockOwner(r.u64("lock owner")?);
            let flock = Some(owner).filter(|_| release_flags & FLOCK_UNLOCK != 0);
            return Ok(match opcode {
                Opcode::Release => Operation::Release { handle, flags, flock },
                _ => Operation::ReleaseDir { handle, flags },
            });
        }
        _ => {}
    }
    let (handle, offset, size) = (handle(r)?, r.u64("offset")?, r.u32("size")?);
    let own_flags = r.u32("flags of its own")?;
    let owner = LockOwner(r.u64("lock owner")?);
    let flags = r.u32("flags")?;
    r.skip(4, "padding")?;
    Ok(match opcode {
        Opcode::Read => {
            let lock_owner = Some(owner).filter(|_| own_flags & HAS_LOCK_OWNER != 0);
            Operation::Read { handle, offset, size, flags, lock_owner }
        }
        Opcode::Write => {
            /// `FUSE_WRITE_CACHE`
            const FROM_CACHE: u32 = 1;
            /// `FUSE_WRITE_KILL_SUIDGID`
            const KILL: u32 = 1 << 2;
            let data = r.take(size as usize, "data")?;
            let (from_cache, kill_privileges) = (own_flags & FROM_CACHE != 0, own_flags & KILL != 0);
            Operation::Write(WriteRequest { handle, offset, data, flags, from_cache, kill_privileges })
        }
        _ => Operation::ReadDir { handle, after: offset, size, plus: opcode == Opcode::ReadDirPlus },
    })
}

fn shaping(opcode: Opcode, r: &mut Reader) -> Result<Operation, Wrong> {
    let handle = handle(r)?;
    Ok(match opcode {
        Opcode::Flush => {
            r.skip(8, "padding")?;
            Operation::Flush { handle, lock_owner: LockOwner(r.u64("lock owner")?) }
        }
        Opcode::Fsync | Opcode::FsyncDir => {
            /// `FUSE_FSYNC_FDATASYNC`
            const DATA_ONLY: u32 = 1;
            let data_only = r.u32("flags")? & DATA_ONLY != 0;
            match opcode {
                Opcode::Fsync => Operation::Fsync { handle, data_only },
                _ => Operation::FsyncDir { handle, data_only },
            }
        }
        Opcode::Fallocate => {
            let (offset, length) = (r.u64("offset")?, r.u64("length")?);
            Operation::Fallocate { handle, offset, length, mode: r.u32("mode")? }
        }
        Opcode::Lseek => Operation::Lseek { handle, offset: r.u64("offset")?, whence: r.u32("whence")? },
        _ => {
            let copy = CopyRequest {
                handle,
                offset: r.u64("offset")?,
                target: NodeId(r.u64("target")?),
                target_handle: Handle(r.u64("handle of the target")?),
                target_offset: r.u64("offset of the target")?,
                length: r.u64("length")?,
                flags: r.u64("flags")?,
            };
            Operation::CopyFileRange { copy, long_reply: opcode == Opcode::CopyFileRange64 }
        }
    })
}

fn ioctl(r: &mut Reader) -> Result<Operation, Wrong> {
    let (handle, flags, command, argument) = (handle(r)?, r.u32("flags")?, r.u32("command")?, r.u64("argument")?);
    let (input_bytes, output_bytes) = (r.u32("size")?, r.u32("size of the answer")?);
    let input = r.take(input_bytes as usize, "input")?;
    Ok(Operation::Ioctl(IoctlRequest { handle, flags, command, argument, input, output_bytes }))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
