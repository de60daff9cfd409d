//! Opening, closing, and the shape of files.

use forebay_client::Allocation;
use forebay_fuse::abi::{Caller, WriteRequest};
use forebay_types::{Attr, ByteRange, Errno, InodeId};
use forebay_wire::meta::SetAttr;

use crate::fuse::convert::OpenMode;
use crate::fuse::{Ops, Outcome};

const KEEP_SIZE: i32 = nix::libc::FALLOC_FL_KEEP_SIZE;
const PUNCH_HOLE: i32 = nix::libc::FALLOC_FL_PUNCH_HOLE;
const ZERO_RANGE: i32 = nix::libc::FALLOC_FL_ZERO_RANGE;

/// Reads a mode of `fallocate`; `None` for what cannot be done: nothing can be taken out of the middle of a file.
fn allocation(mode: i32) -> Option<Allocation> {
    const ZERO_KEEP: i32 = ZERO_RANGE | KEEP_SIZE;
    const PUNCH: i32 = PUNCH_HOLE | KEEP_SIZE;
    let (zero, keep_size) = match mode {
        0 => (false, false),
        KEEP_SIZE => (false, true),
        ZERO_RANGE => (true, false),
        PUNCH | ZERO_KEEP => (true, true),
        _ => return None,
    };
    Some(Allocation { zero, keep_size })
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

    /// `fallocate`. The kernel does not say whether the caller may keep set-id bits: the superuser may.
    pub(super) async fn allocate(
        &self,
        caller: Caller,
        ino: InodeId,
        (offset, len): (u64, u64),
        mode: i32,
    ) -> Outcome<()> {
        let allocation = allocation(mode).ok_or(Errno::NotSupported)?;
        let range = ByteRange { offset, len: len.min(u64::MAX - offset) };
        self.fs.fallocate(ino, range, allocation, caller.uid != 0).await
    }

    /// `write`, at the end of the file where the descriptor appends.
    pub(super) async fn write(&self, ino: InodeId, write: WriteRequest) -> Outcome<()> {
        let WriteRequest { offset, data, flags, from_cache, kill_privileges, .. } = write;
        let appends = flags.cast_signed() & nix::libc::O_APPEND != 0;
        match (from_cache, appends, kill_privileges) {
            (true, ..) => self.fs.write_pages(ino, offset, data),
            (false, true, true) => self.fs.append_unprivileged(ino, data).await.map(drop),
            (false, true, false) => self.fs.append(ino, data).await.map(drop),
            (false, false, true) => self.fs.write_unprivileged(ino, offset, data).await,
            (false, false, false) => self.fs.write(ino, offset, data).await,
        }
    }

    /// `copy_file_range`; where the files' bytes cannot be shared the kernel copies them.
    pub(super) async fn copy(
        &self,
        caller: Caller,
        (from, offset): (InodeId, u64),
        to: (InodeId, u64),
        len: u64,
    ) -> Outcome<u64> {
        self.fs.copy_range(from, ByteRange::new(offset, len), to, caller.uid != 0).await
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
