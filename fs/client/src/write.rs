//! Writing: into the file's buffer, from there to drives, from there into metadata.

mod stripes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_cache::{WriteBuffer, pack};
use forebay_types::{Attr, ByteRange, Cred, Errno, Extent, InodeId, LeaseMode, LifetimeClass, limits};
use forebay_wire::chunk::Receipt;
use forebay_wire::meta::{MutateOp, ReadOp};
use futures::StreamExt;
use stripes::Durable;
use tokio::time::Instant;

use crate::cluster::Attempts;
use crate::file::{File, FileState, Touch, wall_clock};
use crate::filesystem::Filesystem;
use crate::shard::Fence;
use crate::{ClientError, namespace};

/// A file with this many dirty bytes starts to write them back.
const FLUSH_AT_BYTES: u64 = 8 << 20;
/// A writer waits while its file has this many dirty bytes and is being written back.
const WAIT_AT_BYTES: u64 = 32 << 20;
/// Stripes of one file under way at once.
const STRIPES_AT_ONCE: usize = 4;
/// Dirty bytes older than this are written back without being asked for.
const DIRTY_AGE: Duration = Duration::from_secs(5);

impl Filesystem {
    /// Takes bytes in. They are durable after [`Self::fsync`] or the close that follows. Waits when too much is dirty
    /// already, and where other nodes are at the file too: then until every node sees them.
    pub async fn write(&self, ino: InodeId, offset: u64, data: Bytes) -> Result<(), ClientError> {
        let file = self.files.get(ino);
        let locks_lost = file.times_lock_lost();
        check_end(offset, data.len())?;
        for wish in [None, Some(false)] {
            if let Some(must) = wish {
                self.want_exclusive(ino, must).await?;
            }
            if let Some(dirty) = self.take_in_behind((&file, locks_lost), |_| Some(offset), &data)? {
                return self.flush_where_much(&file, dirty).await;
            }
        }
        self.write_through((&file, locks_lost), offset, data).await
    }

    /// Takes bytes in at the end of the file, wherever other nodes have moved that; where they begin.
    pub async fn append(&self, ino: InodeId, data: Bytes) -> Result<u64, ClientError> {
        let file = self.files.get(ino);
        let locks_lost = file.times_lock_lost();
        let mut attempts = Attempts::new(self.shards.cluster.options().timeout);
        loop {
            let mut at = 0;
            let end = |state: &FileState| {
                // Under the exclusive lease nobody else has moved it.
                at = state.local_size(self.shards.leases.attr(ino)?.size);
                Some(at)
            };
            if let Some(dirty) = self.take_in_behind((&file, locks_lost), end, &data)? {
                self.flush_where_much(&file, dirty).await?;
                return Ok(at);
            }
            self.want_exclusive(ino, true).await?;
            if self.shards.leases.mode(ino) != Some(LeaseMode::Exclusive) {
                attempts.pause("another node appends to the file").await?;
            }
        }
    }

    /// Takes in what a page cache writes back, which waits for it with its pages locked: whoever wants the file next may
    /// wait for those pages. So this waits for nobody, and where others are at the file too, the bytes follow soon.
    pub fn write_pages(&self, ino: InodeId, offset: u64, data: Bytes) -> Result<(), ClientError> {
        check_end(offset, data.len())?;
        let file = self.files.get(ino);
        self.take_in(&mut file.lock(), offset, data);
        if self.shards.leases.mode(ino) != Some(LeaseMode::Exclusive) {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.flush_file(&file).await {
                    file.lock().error = Some(error);
                }
            });
        }
        Ok(())
    }

    /// [`Self::append`] by somebody without the privilege to keep set-id bits: they go.
    pub async fn append_unprivileged(&self, ino: InodeId, data: Bytes) -> Result<u64, ClientError> {
        self.files.get(ino).lock().touch.drop_privileges = true;
        self.append(ino, data).await
    }

    /// Asks for the right to write behind; it is granted or not.
    async fn want_exclusive(&self, ino: InodeId, must: bool) -> Result<(), ClientError> {
        self.shards.read(ino.shard(), &Cred::ROOT, ReadOp::Exclusive { ino, must }).await.map(drop)
    }

    /// Takes bytes in under an exclusive lease, to be written back later; how many the file has then, or `None` where
    /// there is no such lease. Whoever takes the lease back writes back what was taken in before. `locks_lost`: how often
    /// a program's lock had been lost when the write was begun.
    fn take_in_behind(
        &self,
        (file, locks_lost): (&File, u64),
        offset: impl FnOnce(&FileState) -> Option<u64>,
        data: &Bytes,
    ) -> Result<Option<u64>, ClientError> {
        let mut state = file.lock();
        if self.shards.leases.mode(file.ino) != Some(LeaseMode::Exclusive) {
            return Ok(None);
        }
        file.check_locks(locks_lost)?;
        if let Some(ClientError::Posix(Errno::Quota)) = state.error {
            state.error = None;
            return Err(Errno::Quota.into());
        }
        let Some(offset) = offset(&state) else { return Ok(None) };
        check_end(offset, data.len())?;
        Ok(Some(self.take_in(&mut state, offset, data.clone())))
    }

    fn take_in(&self, state: &mut FileState, offset: u64, data: Bytes) -> u64 {
        let before = state.dirty.bytes();
        state.dirty.write(offset, data);
        state.touch.at = Some(wall_clock());
        let after = state.dirty.bytes();
        state.dirty_since.get_or_insert_with(Instant::now);
        self.files.add_dirty(after);
        self.files.sub_dirty(before);
        after
    }

    /// Writes bytes that every node sees when this ends.
    async fn write_through(
        &self,
        (file, locks_lost): (&Arc<File>, u64),
        offset: u64,
        data: Bytes,
    ) -> Result<(), ClientError> {
        let _one_at_a_time = file.flush_lock.lock().await;
        {
            let mut state = file.lock();
            file.check_locks(locks_lost)?;
            self.take_in(&mut state, offset, data);
        }
        self.flush_locked(file).await
    }

    async fn flush_where_much(&self, file: &Arc<File>, dirty: u64) -> Result<(), ClientError> {
        if dirty >= WAIT_AT_BYTES || self.files.dirty_bytes() > self.shards.cluster.options().dirty_limit_bytes {
            // Writers of a file that cannot be written back must be told, not kept taking memory.
            return self.flush_file(file).await;
        }
        if dirty >= FLUSH_AT_BYTES && file.flush_lock.try_lock().is_ok() {
            let (this, file) = (self.clone(), file.clone());
            tokio::spawn(async move {
                if let Err(error) = this.flush_file(&file).await {
                    file.lock().error = Some(error);
                }
            });
        }
        Ok(())
    }

    /// [`Self::write`] by somebody without the privilege to keep set-id bits: they go.
    pub async fn write_unprivileged(&self, ino: InodeId, offset: u64, data: Bytes) -> Result<(), ClientError> {
        self.files.get(ino).lock().touch.drop_privileges = true;
        self.write(ino, offset, data).await
    }

    /// Makes everything written to a file so far known to its shard. An earlier failure is left for [`Self::fsync`].
    pub(crate) async fn settle(&self, ino: InodeId) -> Result<(), ClientError> {
        match self.files.find(ino) {
            Some(file) => self.flush_file(&file).await,
            None => Ok(()),
        }
    }

    /// Makes everything written to a file so far durable, and that it has its name; reports an earlier failure to do so,
    /// once.
    pub async fn fsync(&self, ino: InodeId) -> Result<(), ClientError> {
        let flushed = self.flush(ino).await;
        self.sync_names().await?;
        flushed
    }

    /// Writes everything written to a file so far back, as far as others are concerned: what is small, in a directory that
    /// is delegated, is only put into the log. Reports an earlier failure to do so, once.
    pub async fn flush(&self, ino: InodeId) -> Result<(), ClientError> {
        let Some(file) = self.files.find(ino) else { return Ok(()) };
        let result = self.flush_file(&file).await;
        let earlier = file.lock().error.take();
        result?;
        earlier.map_or(Ok(()), Err)
    }

    /// Writes back every file's dirty bytes, and sends what was done in delegated directories.
    pub async fn sync_all(&self) -> Result<(), ClientError> {
        let mut first = Ok(());
        for file in self.files.all() {
            let result = self.flush(file.ino).await;
            first = first.and(result);
        }
        first.and(self.sync_names().await)
    }

    /// Dirty bytes of all files.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.files.dirty_bytes()
    }

    /// Writes back, for ever, what has been dirty for too long.
    pub(crate) async fn write_back_old(self) {
        let mut timer = tokio::time::interval(DIRTY_AGE / 5);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            for file in self.files.all() {
                if file.lock().dirty_since.is_none_or(|since| since.elapsed() < DIRTY_AGE) {
                    continue;
                }
                if let Err(error) = self.flush_file(&file).await {
                    tracing::warn!(%error, ino = %file.ino, "write-back failed, will be tried again");
                    file.lock().error = Some(error);
                }
                self.files.forget(file.ino);
            }
        }
    }

    async fn flush_file(&self, file: &Arc<File>) -> Result<(), ClientError> {
        let _one_at_a_time = file.flush_lock.lock().await;
        self.flush_locked(file).await
    }

    /// Writes back a file's dirty bytes; the caller holds its flush lock.
    pub(crate) async fn flush_locked(&self, file: &Arc<File>) -> Result<(), ClientError> {
        let (buffer, touch, lost) = {
            let mut state = file.lock();
            if state.dirty.is_empty() {
                return Ok(());
            }
            state.dirty_since = None;
            let buffer = Arc::new(std::mem::take(&mut state.dirty));
            state.flushing = Some(buffer.clone());
            state.flushing_touch = std::mem::take(&mut state.touch);
            (buffer, state.flushing_touch, file.times_lost())
        };
        let guard = GiveBack { fs: self, file, buffer: Some(buffer.clone()), lost };
        let result = self.write_back(Fence { file, lost }, file, &buffer, touch).await;
        match &result {
            Ok(()) => guard.done(),
            // Whoever wrote is told, now or with the next call; trying again for ever would help nobody.
            Err(ClientError::Posix(Errno::Quota)) => {
                tracing::info!(ino = %file.ino, bytes = buffer.bytes(), "not kept: the quota is used up");
                guard.done();
            }
            Err(_) => {}
        }
        result
    }

    async fn write_back(
        &self,
        fence: Fence<'_>,
        file: &Arc<File>,
        buffer: &WriteBuffer,
        touch: Touch,
    ) -> Result<(), ClientError> {
        let class = self.class_of(file).await?;
        let map = self.shards.cluster.map().await?;
        let full = usize::from(map.geometry.data) * limits::CHUNK_MAX_BYTES;
        let parts = pack(buffer, full);
        let mut writes =
            futures::stream::iter(parts).map(|part| self.write_part(file.ino, class, part)).buffered(STRIPES_AT_ONCE);
        let mut ready = Durable::default();
        while let Some(part) = writes.next().await {
            let part = part?;
            if ready.extents.len() + part.extents.len() > limits::EXTENTS_PER_MESSAGE / 4 {
                self.commit(fence, std::mem::take(&mut ready), touch).await?;
            }
            ready.extents.extend(part.extents);
            ready.receipts.extend(part.receipts);
        }
        self.commit(fence, ready, touch).await
    }

    async fn commit(&self, fence: Fence<'_>, ready: Durable, touch: Touch) -> Result<(), ClientError> {
        let ino = fence.file.ino;
        if ready.extents.is_empty() {
            return Ok(());
        }
        let size_at_least = ready.extents.iter().map(|extent| extent.range.end()).max().unwrap_or(0);
        let Durable { mut extents, receipts } = ready;
        extents.sort_by_key(|extent| extent.range.offset);
        let Touch { at, drop_privileges } = touch;
        let op = MutateOp::Commit { ino, extents, receipts, size_at_least, touch: at, drop_privileges };
        let reply = self.shards.mutate_within(ino.shard(), &Cred::ROOT, op, Some(fence)).await?;
        namespace::expect_attr(reply).map(drop)
    }

    async fn class_of(&self, file: &Arc<File>) -> Result<LifetimeClass, ClientError> {
        if let Some(known) = &file.lock().known {
            return Ok(known.class);
        }
        Ok(self.ask_extents(file.ino, ByteRange::new(0, 1)).await?.class)
    }

    /// Maps bytes to other extents that hold the same bytes, where the map still is `expect`: [`Errno::Again`] where it
    /// is not. Returns the attributes after it.
    pub async fn exchange(
        &self,
        ino: InodeId,
        expect: Vec<Extent>,
        replace: Vec<Extent>,
        receipts: Vec<Receipt>,
    ) -> Result<Attr, ClientError> {
        let op = MutateOp::Exchange { ino, expect, replace, receipts };
        let attr = namespace::expect_attr(self.shards.mutate(ino.shard(), &Cred::ROOT, op).await?)?;
        if let Some(file) = self.files.find(ino) {
            file.lock().known = None;
        }
        Ok(attr)
    }
}

/// Puts a buffer back among the dirty bytes unless its write-back succeeded, also when it was abandoned midway.
struct GiveBack<'a> {
    fs: &'a Filesystem,
    file: &'a Arc<File>,
    buffer: Option<Arc<WriteBuffer>>,
    /// Times the file's lease had been lost when the buffer was taken.
    lost: u64,
}

impl GiveBack<'_> {
    fn done(mut self) {
        let mut state = self.file.lock();
        state.known = None;
        state.flushing = None;
        state.flushing_touch = Touch::default();
        if let Some(buffer) = self.buffer.take() {
            self.fs.files.sub_dirty(buffer.bytes());
        }
    }
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let mut state = self.file.lock();
        state.flushing = None;
        let touch = std::mem::take(&mut state.flushing_touch);
        if self.file.times_lost() != self.lost {
            // Others may have written since.
            self.fs.files.sub_dirty(buffer.bytes());
            return;
        }
        state.touch = state.touch.and(touch);
        let (before, older) = (state.dirty.bytes(), buffer.bytes());
        state.dirty.give_back((*buffer).clone());
        self.fs.files.sub_dirty(before + older - state.dirty.bytes());
        state.dirty_since.get_or_insert_with(Instant::now);
    }
}

/// Refuses what would go beyond the largest file.
fn check_end(offset: u64, len: usize) -> Result<(), ClientError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= limits::FILE_SIZE_MAX => Ok(()),
        _ => Err(Errno::TooBig.into()),
    }
}
