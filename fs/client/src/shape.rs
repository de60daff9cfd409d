//! The shape of files: their size, their holes, and bytes they share.
//!
//! Each is one mutation, after what is dirty has been written back: so nothing written before it comes after it.

use forebay_types::{Attr, ByteRange, Cred, Errno, InodeId, Location, limits};
use forebay_wire::meta::{MetaReply, MutateOp, SetAttr};

use crate::ClientError;
use crate::filesystem::Filesystem;
use crate::namespace::expect_attr;

/// What `fallocate` is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// The range becomes zeros.
    pub zero: bool,
    /// The file's size stays; else it becomes at least the range's end.
    pub keep_size: bool,
}

impl Filesystem {
    /// Sets a file's size, after writing back what is dirty (what the new size cuts off is not written).
    pub async fn truncate(&self, cred: &Cred, ino: InodeId, set: SetAttr) -> Result<Attr, ClientError> {
        let Some(size) = set.size else { return self.setattr(cred, ino, set).await };
        let file = self.files.get(ino);
        let _one_at_a_time = file.flush_lock.lock().await;
        {
            let mut state = file.lock();
            let before = state.dirty.bytes();
            state.dirty.truncate(size);
            self.files.sub_dirty(before - state.dirty.bytes());
            state.known = None;
        }
        self.flush_locked(&file).await?;
        let op = MutateOp::SetAttr { ino, set };
        let result = expect_attr(self.shards.mutate(ino.shard(), cred, op).await?);
        file.lock().known = None;
        self.files.forget(ino);
        result
    }

    /// Makes a range of an open file zeros, or only the file longer (`fallocate`). Space is not set aside, because bytes
    /// are never written in place; but where there is not enough for the range, it is refused.
    pub async fn fallocate(
        &self,
        ino: InodeId,
        range: ByteRange,
        what: Allocation,
        drop_privileges: bool,
    ) -> Result<(), ClientError> {
        if range.offset.checked_add(range.len).is_none_or(|end| end > limits::FILE_SIZE_MAX) {
            return Err(Errno::TooBig.into());
        }
        if !what.zero && range.len > self.space().await?.free_bytes {
            return Err(Errno::NoSpace.into());
        }
        let file = self.files.get(ino);
        let _one_at_a_time = file.flush_lock.lock().await;
        self.flush_locked(&file).await?;
        let Allocation { zero, keep_size } = what;
        let op = MutateOp::Fallocate { ino, range, zero, keep_size, drop_privileges };
        let result = self.shards.mutate(ino.shard(), &Cred::ROOT, op).await.and_then(expect_attr);
        file.lock().known = None;
        result.map(drop)
    }

    /// Makes a range read as zeros (`FALLOC_FL_PUNCH_HOLE`); the size stays.
    pub async fn punch(&self, ino: InodeId, range: ByteRange) -> Result<(), ClientError> {
        self.fallocate(ino, range, Allocation { zero: true, keep_size: true }, false).await
    }

    /// Lets bytes of one open file be those of another, or of itself elsewhere, without copying them; how many that
    /// were, fewer than `range` has where `from` ends before it or there are very many extents. [`Errno::CrossDevice`]
    /// where the files are of different shards: then the bytes have to be copied.
    pub async fn copy_range(
        &self,
        from: InodeId,
        range: ByteRange,
        to: (InodeId, u64),
        drop_privileges: bool,
    ) -> Result<u64, ClientError> {
        let (to, to_offset) = to;
        if from.shard() != to.shard() {
            return Err(Errno::CrossDevice.into());
        }
        // In the order of their numbers, so that two copies in opposite directions do not wait for each other.
        let (first, second) = (self.files.get(from.min(to)), self.files.get(from.max(to)));
        let _first = first.flush_lock.lock().await;
        self.flush_locked(&first).await?;
        let _second = if from == to { None } else { Some(second.flush_lock.lock().await) };
        if from != to {
            self.flush_locked(&second).await?;
        }
        let op = MutateOp::CopyRange { from, range, to, to_offset, drop_privileges };
        let reply = self.shards.mutate(to.shard(), &Cred::ROOT, op).await;
        self.files.get(to).lock().known = None;
        self.files.forget(from);
        self.files.forget(to);
        match reply? {
            MetaReply::Copied { bytes, .. } => Ok(bytes),
            _ => Err(ClientError::UnexpectedReply { what: "CopyRange" }),
        }
    }

    /// The first byte at or after `offset` that is data (or, with `hole`, that is a hole; the end of the file counts
    /// as one). `ENXIO` where there is none.
    pub async fn seek(&self, ino: InodeId, offset: u64, hole: bool) -> Result<u64, ClientError> {
        self.settle(ino).await?;
        let mut at = offset;
        loop {
            let known = self.ask_extents(ino, ByteRange::between(at, u64::MAX)).await?;
            let size = known.attr.size;
            if offset >= size {
                return Err(Errno::NoDevice.into());
            }
            for extent in known.extents.iter().filter(|extent| extent.location != Location::Hole) {
                let gap = extent.range.offset > at;
                match (hole, gap) {
                    (true, true) => return Ok(at),
                    (false, _) => return Ok(extent.range.offset.max(at)),
                    (true, false) => at = at.max(extent.range.end()),
                }
            }
            let told = known.range.end();
            if told >= size || told <= at && known.extents.is_empty() {
                return if hole { Ok(at.min(size)) } else { Err(Errno::NoDevice.into()) };
            }
            if hole && told > at {
                return Ok(at);
            }
            at = at.max(told);
        }
    }
}
