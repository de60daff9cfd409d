//! The drives of a host: the chunk service.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use forebay_drive::{ChunkKey, ChunkPut};
use forebay_erasure::crc;
use forebay_meta::ReceiptKey;
use forebay_storage::drive::{Drive, DriveError, IoEngine, OpenDrive, OpenError};
use forebay_types::{DriveId, Uuid, limits};
use forebay_wire::chunk::{ChunkError, ChunkReply, ChunkRequest, DriveStats, GetChunk, PutChunk};

/// Most chunks of one listing.
const LIST_MAX: u32 = 4096;

/// A drive that works, or why it does not.
enum Slot {
    Working(Drive),
    Broken { capacity_bytes: u64, reason: String },
}

/// The drives, by id.
pub(crate) struct Drives {
    slots: BTreeMap<DriveId, Slot>,
    receipt_key: ReceiptKey,
}

impl Drives {
    pub fn new(receipt_key: ReceiptKey) -> Self {
        Self { slots: BTreeMap::new(), receipt_key }
    }

    /// Opens a drive of the cluster. One that cannot be opened is kept as broken, so that the rest of the host works
    /// and the cluster hears of it; a drive in use by another process is an error.
    pub fn open(&mut self, id: DriveId, path: &Path, cluster: Uuid, capacity_bytes: u64) -> Result<(), OpenError> {
        let which = OpenDrive { path: path.to_owned(), cluster: Some(cluster), engine: IoEngine::Auto };
        let slot = match Drive::open(&which) {
            Ok((drive, report)) => {
                tracing::info!(drive = %id, ?report, "drive opened");
                Slot::Working(drive)
            }
            Err(error @ OpenError::InUse { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(drive = %id, %error, "drive cannot be used; its chunks are served from parity");
                Slot::Broken { capacity_bytes, reason: error.to_string() }
            }
        };
        self.slots.insert(id, slot);
        Ok(())
    }

    fn working(&self, drive: DriveId) -> Result<&Drive, ChunkError> {
        match self.slots.get(&drive) {
            Some(Slot::Working(working)) => Ok(working),
            Some(Slot::Broken { reason, .. }) => Err(ChunkError::Failed { drive, reason: reason.clone() }),
            None => Err(ChunkError::NoDrive { drive }),
        }
    }

    /// Answers a request, with bulk bytes both ways.
    pub async fn handle(&self, request: ChunkRequest, payload: Bytes) -> (ChunkReply, Bytes) {
        let reply = match request {
            ChunkRequest::Put(put) => self.put(put, payload).await,
            ChunkRequest::Get(get) => match self.get(get).await {
                Ok((crcs, payload)) => return (ChunkReply::Got { crcs }, payload),
                Err(error) => Err(error),
            },
            ChunkRequest::Delete { drive, chunks } => self.delete(drive, chunks).await,
            ChunkRequest::List { drive, after, limit } => self.list(drive, after, limit).await,
            ChunkRequest::Stats => Ok(ChunkReply::Stats(self.stats().await)),
        };
        (reply.unwrap_or_else(ChunkReply::Error), Bytes::new())
    }

    async fn put(&self, put: PutChunk, payload: Bytes) -> Result<ChunkReply, ChunkError> {
        let PutChunk { drive, stripe, index, geometry, epoch, crcs } = put;
        let bytes = payload.len();
        if bytes == 0 || !bytes.is_multiple_of(limits::BLOCK_BYTES) || bytes > limits::CHUNK_MAX_BYTES {
            return Err(ChunkError::Invalid { reason: format!("a chunk of {bytes} bytes") });
        }
        if usize::from(index) >= geometry.width() {
            return Err(ChunkError::Invalid { reason: format!("chunk {index} of a {geometry} stripe") });
        }
        crc::verify(&payload, &crcs).map_err(|error| ChunkError::Invalid { reason: error.to_string() })?;
        let key: ChunkKey = (stripe, index);
        let chunk = ChunkPut { key, geometry, epoch, payload, crcs };
        self.working(drive)?.put(chunk).await.map_err(|error| chunk_error(drive, error))?;
        Ok(ChunkReply::Put(self.receipt_key.seal_receipt(drive, stripe, index, bytes as u32)))
    }

    async fn get(&self, get: GetChunk) -> Result<(Vec<u32>, Bytes), ChunkError> {
        let GetChunk { drive, stripe, index, first_block, blocks } = get;
        let end = first_block.checked_add(blocks).filter(|_| blocks > 0);
        let Some(end) = end else {
            return Err(ChunkError::Invalid { reason: format!("{blocks} blocks from {first_block} on") });
        };
        let key: ChunkKey = (stripe, index);
        let read = self.working(drive)?.get(key, first_block..end).await;
        match read {
            Ok(read) => Ok((read.crcs, read.payload)),
            Err(error) => {
                if let DriveError::Corrupt { .. } = error {
                    tracing::error!(%drive, %error, "chunk is corrupt; readers rebuild it from the others");
                }
                Err(chunk_error(drive, error))
            }
        }
    }

    async fn delete(
        &self,
        drive: DriveId,
        chunks: Vec<(forebay_types::StripeId, u8)>,
    ) -> Result<ChunkReply, ChunkError> {
        let keys = chunks;
        self.working(drive)?.delete(keys).await.map_err(|error| chunk_error(drive, error))?;
        Ok(ChunkReply::Deleted)
    }

    async fn list(
        &self,
        drive: DriveId,
        after: Option<(forebay_types::StripeId, u8)>,
        limit: u32,
    ) -> Result<ChunkReply, ChunkError> {
        let limit = limit.clamp(1, LIST_MAX) as usize;
        let listed = self.working(drive)?.list(after, limit).await;
        let (chunks, end) = listed.map_err(|error| chunk_error(drive, error))?;
        Ok(ChunkReply::Listed { chunks, end })
    }

    /// Space and health of every drive.
    pub async fn stats(&self) -> Vec<DriveStats> {
        futures::future::join_all(self.slots.iter().map(|(&id, slot)| stats(id, slot))).await
    }

    /// Closes every drive cleanly.
    pub async fn shutdown(&self) {
        for (id, slot) in &self.slots {
            if let Slot::Working(drive) = slot
                && let Err(error) = drive.shutdown().await
            {
                tracing::warn!(drive = %id, %error, "drive not closed cleanly; it is scanned at the next start");
            }
        }
    }
}

async fn stats(drive: DriveId, slot: &Slot) -> DriveStats {
    let mut out = DriveStats {
        drive,
        capacity_bytes: 0,
        live_bytes: 0,
        free_bytes: 0,
        chunks: 0,
        corrupt_chunks: 0,
        cleaned_bytes: 0,
        written_bytes: 0,
        flushes: 0,
        failure: String::new(),
    };
    let figures = match slot {
        Slot::Working(working) => working.stats().await.map_err(|error| error.to_string()),
        Slot::Broken { capacity_bytes, reason } => {
            out.capacity_bytes = *capacity_bytes;
            Err(reason.clone())
        }
    };
    match figures {
        Ok(figures) => {
            let core = figures.core;
            out.capacity_bytes = core.capacity_bytes;
            out.live_bytes = core.live_bytes;
            out.free_bytes = core.free_bytes;
            out.chunks = core.chunks;
            out.corrupt_chunks = core.corrupt_chunks;
            out.cleaned_bytes = core.cleaned_bytes;
            out.written_bytes = core.written_bytes;
            out.flushes = core.flushes;
            out.failure = figures.failure;
        }
        Err(reason) => out.failure = reason,
    }
    out
}

fn chunk_error(drive: DriveId, error: DriveError) -> ChunkError {
    match error {
        DriveError::NotFound { stripe, index } => ChunkError::NotFound { drive, stripe, index },
        DriveError::Corrupt { stripe, index, block } => ChunkError::Corrupt { drive, stripe, index, block },
        DriveError::NoSpace { .. } => ChunkError::NoSpace { drive },
        DriveError::StaleEpoch { .. } | DriveError::Invalid { .. } => ChunkError::Invalid { reason: error.to_string() },
        DriveError::Failed { .. } | DriveError::Closed { .. } => {
            ChunkError::Failed { drive, reason: error.to_string() }
        }
    }
}
