//! Reading: dirty bytes first, then where the extents say.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use forebay_types::{Attr, ByteRange, Cred, Errno, Extent, InodeId, Location};
use forebay_wire::meta::{MetaReply, ReadOp};
use forebay_wire::tier::TaskSpec;

use crate::ClientError;
use crate::cluster::Attempts;
use crate::file::{File, KnownExtents};
use crate::filesystem::Filesystem;
use crate::stripe::ReadError;

/// Extents are asked for at least this far ahead of a read.
const LOOK_AHEAD_BYTES: u64 = 64 << 20;
/// A read of a cold range recalls the range rounded out to this, so that a stream of small reads is few tasks.
const RECALL_BYTES: u64 = 16 << 20;
/// Times an extent map that has become old while it was used is asked for again.
const STALE_RETRIES: u32 = 8;

impl Filesystem {
    /// Reads up to `len` bytes from `offset` on; fewer only where the file ends.
    pub async fn read(&self, ino: InodeId, offset: u64, len: u32) -> Result<Bytes, ClientError> {
        let file = self.files.get(ino);
        let mut whole = BytesMut::zeroed(len as usize);
        if file.lock().dirty.read(offset, &mut whole) {
            return Ok(whole.freeze());
        }
        for _ in 0..STALE_RETRIES {
            match self.read_stored(&file, offset, len).await? {
                Some(bytes) => return Ok(bytes),
                None => file.lock().known = None,
            }
        }
        Err(Errno::Again.into())
    }

    /// One attempt; `None` where the extents known have become old.
    async fn read_stored(&self, file: &Arc<File>, offset: u64, len: u32) -> Result<Option<Bytes>, ClientError> {
        let known = self.extents(file, ByteRange::new(offset, len.into())).await?;
        let size = file.lock().local_size(known.attr.size);
        let wanted = ByteRange::between(offset, size.min(offset.saturating_add(len.into())));
        if wanted.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let parts: Vec<Extent> = known.extents.iter().filter_map(|extent| extent.clip(wanted)).collect();
        if let Some(cold) = parts.iter().find(|part| matches!(part.location, Location::Object(_))) {
            self.recall_for_read(file, cold.range, known.attr.size).await?;
            return Ok(None);
        }
        let mut attempts = Attempts::new(self.shards.cluster.options().timeout);
        let mut out: Option<BytesMut> = None;
        for part in &parts {
            let bytes = match self.fetch(part, &mut attempts).await {
                Ok(bytes) => bytes,
                Err(ReadError::Gone) => return Ok(None),
                Err(ReadError::Failed(error)) => return Err(error),
            };
            if part.range == wanted && file.lock().is_clean() {
                return Ok(Some(bytes));
            }
            let out = out.get_or_insert_with(|| BytesMut::zeroed(wanted.len as usize));
            let at = (part.range.offset - offset) as usize;
            out[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let mut out = out.unwrap_or_else(|| BytesMut::zeroed(wanted.len as usize));
        let state = file.lock();
        if let Some(flushing) = &state.flushing {
            flushing.read(offset, &mut out);
        }
        state.dirty.read(offset, &mut out);
        Ok(Some(out.freeze()))
    }

    async fn fetch(&self, part: &Extent, attempts: &mut Attempts) -> Result<Bytes, ReadError> {
        match &part.location {
            Location::Hole => Ok(Bytes::from(vec![0; part.range.len as usize])),
            Location::Inline(bytes) => Ok(bytes.clone()),
            Location::Stripe(at) => self.stripes.read(*at, part.range.len as u32, attempts).await,
            Location::Object(_) => Err(ReadError::Failed(Errno::Io.into())),
        }
    }

    /// Reads the bytes of one extent, whatever the file's map is by now. [`Errno::Again`] where they are gone, because
    /// nothing names them any more; an extent in a cold tier is an error.
    pub async fn read_extent(&self, extent: &Extent) -> Result<Bytes, ClientError> {
        let mut attempts = Attempts::new(self.shards.cluster.options().timeout);
        self.fetch(extent, &mut attempts).await.map_err(|error| match error {
            ReadError::Gone => Errno::Again.into(),
            ReadError::Failed(error) => error,
        })
    }

    /// Extents for a range: those known, or asked for now.
    async fn extents(&self, file: &Arc<File>, range: ByteRange) -> Result<KnownExtents, ClientError> {
        if let Some(known) = self.believed_extents(file, range) {
            return Ok(known);
        }
        let ahead = ByteRange::new(range.offset, range.len.max(LOOK_AHEAD_BYTES));
        let known = self.ask_extents(file.ino, ahead).await?;
        let mut state = file.lock();
        // Extents of a file that is being flushed are old as soon as they arrive: keep them for this read only.
        if state.flushing.is_none() {
            state.known = Some(known.clone());
        }
        Ok(known)
    }

    /// The extents known, if they are those of the file as it is: its attributes are believed, and of the same version.
    fn believed_extents(&self, file: &File, range: ByteRange) -> Option<KnownExtents> {
        let version = self.shards.leases.attr(file.ino)?.version;
        let state = file.lock();
        state.known.as_ref().filter(|known| known.attr.version == version && known.cover(range)).cloned()
    }

    /// Asks the file's shard for extents and attributes.
    pub(crate) async fn ask_extents(&self, ino: InodeId, range: ByteRange) -> Result<KnownExtents, ClientError> {
        let op = ReadOp::Extents { ino, range };
        match self.shards.read(ino.shard(), &Cred::ROOT, op).await? {
            MetaReply::Extents { attr, extents, covered_to, class } => Ok(KnownExtents {
                range: ByteRange::between(range.offset, covered_to),
                attr,
                class,
                extents: Arc::new(extents),
            }),
            _ => Err(ClientError::UnexpectedReply { what: "Extents" }),
        }
    }

    /// Every extent of a range, and the attributes seen with the first of them.
    pub async fn extents_of(&self, ino: InodeId, range: ByteRange) -> Result<(Attr, Vec<Extent>), ClientError> {
        let mut at = range.offset;
        let mut first = None;
        let mut all = Vec::new();
        loop {
            let known = self.ask_extents(ino, ByteRange::between(at, range.end())).await?;
            all.extend(known.extents.iter().cloned());
            let attr = *first.get_or_insert(known.attr);
            let next = known.range.end();
            if next >= range.end().min(known.attr.size) || next <= at {
                return Ok((attr, all));
            }
            at = next;
        }
    }

    /// Brings a cold range of a file to the hot tier, for somebody who wants to read it now.
    async fn recall_for_read(&self, file: &Arc<File>, cold: ByteRange, size: u64) -> Result<(), ClientError> {
        let _one_at_a_time = file.recall_lock.lock().await;
        file.lock().known = None;
        let still = self.extents(file, cold).await?;
        let is_cold = |extent: &Extent| matches!(extent.location, Location::Object(_)) && extent.clip(cold).is_some();
        if !still.extents.iter().any(is_cold) {
            return Ok(());
        }
        let start = cold.offset / RECALL_BYTES * RECALL_BYTES;
        let end = cold.end().next_multiple_of(RECALL_BYTES).min(size);
        let spec = TaskSpec::Recall { fs: self.id(), root: file.ino, range: Some(ByteRange::between(start, end)) };
        tracing::debug!(ino = %file.ino, start, end, "recalling for a read");
        self.run_task(crate::task::random_id()?, spec, |_| {}).await?;
        file.lock().known = None;
        Ok(())
    }
}
