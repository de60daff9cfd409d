//! Opening, closing, and the shape of files.

use forebay_fuse::abi::Caller;
use forebay_types::{Attr, ByteRange, Cred, Errno, InodeId, limits};
use forebay_wire::meta::SetAttr;

use crate::fuse::convert::OpenMode;
use crate::fuse::{Ops, Outcome};

const KEEP_SIZE: i32 = nix::libc::FALLOC_FL_KEEP_SIZE;
const PUNCH_HOLE: i32 = nix::libc::FALLOC_FL_PUNCH_HOLE;
const ZERO_RANGE: i32 = nix::libc::FALLOC_FL_ZERO_RANGE;

/// What a mode of `fallocate` comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Allocation {
    /// The range becomes zeros.
    zero: bool,
    /// The file becomes at least as long as the range reaches.
    grow: bool,
}

/// Reads a mode of `fallocate`; `None` for what cannot be done. Space cannot be set aside, so asking for nothing but
/// that is refused, while growing a file does more than nothing and is not.
fn allocation(mode: i32) -> Option<Allocation> {
    match mode {
        0 => Some(Allocation { zero: false, grow: true }),
        ZERO_RANGE => Some(Allocation { zero: true, grow: true }),
        _ if mode == PUNCH_HOLE | KEEP_SIZE || mode == ZERO_RANGE | KEEP_SIZE => {
            Some(Allocation { zero: true, grow: false })
        }
        _ => None,
    }
}

impl Ops {
    /// `open` of a file that is there; its new attributes, where this has changed them.
    pub(super) async fn open(&self, caller: Caller, ino: InodeId, mode: OpenMode) -> Outcome<Option<Attr>> {
        let cred = self.cred(caller);
        self.fs.open(&cred, ino, mode.read, mode.write).await?;
        if !mode.truncate {
            return Ok(None);
        }
        let truncated = self.fs.set(&cred, ino, SetAttr { size: Some(0), ..SetAttr::default() }).await;
        if truncated.is_err() {
            // The kernel closes only what it was told is open. The first failure is the one that counts.
            let _ = self.fs.release(ino).await;
        }
        truncated.map(Some)
    }

    /// `fallocate`.
    pub(super) async fn allocate(&self, ino: InodeId, offset: u64, len: u64, mode: i32) -> Outcome<()> {
        let Some(allocation) = allocation(mode) else { return Err(Errno::NotSupported.into()) };
        let end = offset.checked_add(len).filter(|end| *end <= limits::FILE_SIZE_MAX).ok_or(Errno::TooBig)?;
        if allocation.zero {
            self.fs.punch(ino, ByteRange::between(offset, end)).await?;
        }
        if allocation.grow && self.fs.getattr(ino).await?.size < end {
            self.fs.set(&Cred::ROOT, ino, SetAttr { size: Some(end), ..SetAttr::default() }).await?;
        }
        Ok(())
    }

    /// `lseek` to data or to a hole; the kernel does the rest itself.
    pub(super) async fn seek(&self, ino: InodeId, offset: i64, whence: i32) -> Outcome<u64> {
        let hole = match whence {
            nix::libc::SEEK_DATA => false,
            nix::libc::SEEK_HOLE => true,
            _ => return Err(Errno::Invalid.into()),
        };
        let offset = u64::try_from(offset).map_err(|_| Errno::NoDevice)?;
        self.fs.seek(ino, offset, hole).await
    }
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
