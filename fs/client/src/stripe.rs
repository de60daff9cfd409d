//! Stripes on drives: put with parity, read in ranges, rebuilt from any k chunks where a chunk cannot be had.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use forebay_erasure::{Codec, Piece, ReedSolomonCodec, StripeLayout, crc};
use forebay_net::call_chunk;
use forebay_types::{DriveId, StripeId, StripeRef};
use forebay_wire::chunk::{ChunkError, ChunkReply, ChunkRequest, GetChunk, PutChunk, Receipt};
use forebay_wire::map::ClusterMap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::cluster::Attempts;
use crate::{ClientError, Cluster};

/// Reads and writes stripes.
#[derive(Clone)]
pub(crate) struct Stripes {
    cluster: Cluster,
    codec: Arc<ReedSolomonCodec>,
}

/// Why bytes of a stripe could not be read.
pub(crate) enum ReadError {
    /// Its drives do not have it any more: whoever named it has an old extent map.
    Gone,
    /// Anything else.
    Failed(ClientError),
}

/// One chunk that was asked for and not had.
struct ChunkFailure {
    not_found: bool,
    reason: String,
}

/// One chunk that was sent and is not durable.
struct PutFailure {
    full: bool,
    reason: String,
}

impl From<String> for PutFailure {
    fn from(reason: String) -> Self {
        Self { full: false, reason }
    }
}

impl Stripes {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, codec: Arc::new(ReedSolomonCodec::new()) }
    }

    /// Puts a stripe of `layout.data_bytes()` bytes on its drives. Fails, with nothing named by metadata, where fewer
    /// than a write quorum of its chunks became durable.
    pub async fn write(&self, id: StripeId, layout: StripeLayout, data: Bytes) -> Result<Vec<Receipt>, ClientError> {
        let map = self.cluster.map().await?;
        let geometry = layout.geometry;
        let chunks = self.chunks(layout, data)?;
        let Some(group) = map.group(id.pg()) else {
            return Err(ClientError::UnexpectedReply { what: "a stripe's placement group" });
        };
        let puts: FuturesUnordered<_> = chunks
            .into_iter()
            .zip(&group.drives)
            .enumerate()
            .map(|(index, (chunk, &drive))| self.put(&map, id, layout, index as u8, drive, chunk))
            .collect();
        let results: Vec<Result<Receipt, PutFailure>> = puts.collect().await;
        let (receipts, failures): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let receipts: Vec<Receipt> = receipts.into_iter().flatten().collect();
        if receipts.len() >= geometry.write_quorum() {
            return Ok(receipts);
        }
        let failures: Vec<PutFailure> = failures.into_iter().filter_map(Result::err).collect();
        if failures.iter().any(|failure| failure.full) {
            return Err(ClientError::Posix(forebay_types::Errno::NoSpace));
        }
        let reason = failures.into_iter().next_back().map_or_else(String::new, |failure| failure.reason);
        Err(ClientError::TooFewChunks { stripe: id, have: receipts.len(), need: geometry.write_quorum(), reason })
    }

    fn chunks(&self, layout: StripeLayout, data: Bytes) -> Result<Vec<Bytes>, ClientError> {
        let size = layout.chunk_bytes as usize;
        let mut chunks: Vec<Bytes> =
            (0..usize::from(layout.geometry.data)).map(|i| data.slice(i * size..(i + 1) * size)).collect();
        let slices: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk[..]).collect();
        let parity = self.codec.encode(layout.geometry, &slices).map_err(|error| {
            tracing::error!(%error, "parity cannot be computed");
            ClientError::Posix(forebay_types::Errno::Io)
        })?;
        chunks.extend(parity.into_iter().map(Bytes::from));
        Ok(chunks)
    }

    async fn put(
        &self,
        map: &ClusterMap,
        stripe: StripeId,
        layout: StripeLayout,
        index: u8,
        drive: DriveId,
        chunk: Bytes,
    ) -> Result<Receipt, PutFailure> {
        let peer = map.drive(drive).and_then(|d| self.cluster.host(map, d.host));
        let peer = peer.ok_or_else(|| PutFailure::from(format!("{drive} is not in the map")))?;
        let crcs = crc::block_crcs(&chunk);
        let put = PutChunk { drive, stripe, index, geometry: layout.geometry, epoch: map.epoch, crcs };
        match call_chunk(&peer, &ChunkRequest::Put(put), chunk, self.cluster.call_timeout()).await {
            Ok((ChunkReply::Put(receipt), _)) => {
                self.cluster.count_answer();
                Ok(receipt)
            }
            Ok((ChunkReply::Error(error), _)) => {
                Err(PutFailure { full: matches!(error, ChunkError::NoSpace { .. }), reason: error.to_string() })
            }
            Ok(_) => Err(format!("{drive} answered a put with something else").into()),
            Err(error) => Err(error.to_string().into()),
        }
    }

    /// Reads `len` bytes of a stripe's data from `at.offset` on. Tried again until `attempts` are over.
    pub async fn read(&self, at: StripeRef, len: u32, attempts: &mut Attempts) -> Result<Bytes, ReadError> {
        let layout = StripeLayout::new(at.geometry, at.chunk_bytes).map_err(|error| {
            tracing::error!(%error, stripe = %at.stripe, "bad extent");
            ReadError::Failed(ClientError::Posix(forebay_types::Errno::Io))
        })?;
        let pieces = layout.pieces(at.offset, len);
        loop {
            let map = self.cluster.map().await.map_err(ReadError::Failed)?;
            let parts: Vec<_> = pieces.iter().map(|piece| self.piece(&map, at.stripe, layout, piece)).collect();
            let reason = match futures::future::try_join_all(parts).await {
                Ok(parts) if parts.len() == 1 => return Ok(parts.into_iter().next().unwrap_or_default()),
                Ok(parts) => return Ok(join(parts, len)),
                Err(ReadError::Failed(error @ ClientError::TooFewChunks { .. })) => error,
                Err(error) => return Err(error),
            };
            attempts.pause(&reason).await.map_err(|_| ReadError::Failed(reason))?;
            attempts.refresh(&self.cluster).await;
        }
    }

    /// The wanted bytes of one chunk: from its drive, or rebuilt from the others.
    async fn piece(
        &self,
        map: &ClusterMap,
        stripe: StripeId,
        layout: StripeLayout,
        piece: &Piece,
    ) -> Result<Bytes, ReadError> {
        let drives = map.group(stripe.pg()).map(|group| group.drives.as_slice()).unwrap_or_default();
        let direct = match drives.get(usize::from(piece.index)) {
            Some(&drive) if map.drive_is_up(drive) => self.get(map, stripe, drive, piece.index, piece).await,
            _ => Err(ChunkFailure { not_found: false, reason: "its drive is down".into() }),
        };
        let blocks = match direct {
            Ok(blocks) => blocks,
            Err(failure) => {
                tracing::debug!(%stripe, index = piece.index, reason = failure.reason, "rebuilding a chunk");
                self.rebuild(map, stripe, layout, drives, piece, failure).await?
            }
        };
        Ok(blocks.slice(piece.within_blocks()))
    }

    /// The blocks of a chunk that cannot be read, from the same blocks of any k others.
    async fn rebuild(
        &self,
        map: &ClusterMap,
        stripe: StripeId,
        layout: StripeLayout,
        drives: &[DriveId],
        piece: &Piece,
        first: ChunkFailure,
    ) -> Result<Bytes, ReadError> {
        let need = usize::from(layout.geometry.data);
        let wanted = usize::from(piece.index);
        let mut missing = usize::from(first.not_found);
        let mut reason = first.reason;
        let mut chunks: Vec<Option<Bytes>> = vec![None; layout.geometry.width()];
        let mut have = 0;
        // Drives that are up first; the rest only if those do not suffice, as a map can be behind.
        let mut order: Vec<usize> = (0..drives.len()).filter(|&i| i != wanted).collect();
        order.sort_by_key(|&i| !map.drive_is_up(drives[i]));
        let mut waiting = order.into_iter();
        let mut asked: FuturesUnordered<_> = FuturesUnordered::new();
        loop {
            while asked.len() + have < need {
                let Some(index) = waiting.next() else { break };
                asked.push(async move { (index, self.get(map, stripe, drives[index], index as u8, piece).await) });
            }
            match asked.next().await {
                Some((index, Ok(blocks))) => {
                    chunks[index] = Some(blocks);
                    have += 1;
                }
                Some((_, Err(failure))) => {
                    missing += usize::from(failure.not_found);
                    reason = failure.reason;
                }
                None if missing > usize::from(layout.geometry.parity) => return Err(ReadError::Gone),
                None => {
                    return Err(ReadError::Failed(ClientError::TooFewChunks { stripe, have, need, reason }));
                }
            }
            if have >= need {
                break;
            }
        }
        drop(asked);
        self.codec.reconstruct(layout.geometry, &mut chunks, &[wanted]).map_err(|error| {
            tracing::error!(%error, %stripe, "a chunk cannot be rebuilt");
            ReadError::Failed(ClientError::Posix(forebay_types::Errno::Io))
        })?;
        Ok(chunks[wanted].take().unwrap_or_default())
    }

    async fn get(
        &self,
        map: &ClusterMap,
        stripe: StripeId,
        drive: DriveId,
        index: u8,
        piece: &Piece,
    ) -> Result<Bytes, ChunkFailure> {
        let fail = |reason: String| ChunkFailure { not_found: false, reason };
        let peer = map.drive(drive).and_then(|d| self.cluster.host(map, d.host));
        let peer = peer.ok_or_else(|| fail(format!("{drive} is not in the map")))?;
        let blocks = piece.blocks.len() as u32;
        let request = ChunkRequest::Get(GetChunk { drive, stripe, index, first_block: piece.blocks.start, blocks });
        match call_chunk(&peer, &request, Bytes::new(), self.cluster.call_timeout()).await {
            Ok((ChunkReply::Got { crcs }, payload)) => {
                let expected = blocks as usize * forebay_types::limits::BLOCK_BYTES;
                if payload.len() != expected {
                    return Err(fail(format!("{drive} sent {} bytes for {expected}", payload.len())));
                }
                self.cluster.count_answer();
                crc::verify(&payload, &crcs).map_err(|error| {
                    tracing::warn!(%stripe, index, %drive, %error, "bytes were damaged on the way from a drive");
                    fail(error.to_string())
                })?;
                Ok(payload)
            }
            Ok((ChunkReply::Error(error), _)) => {
                if let ChunkError::Corrupt { .. } = error {
                    tracing::warn!(%error, "served from the other chunks of the stripe");
                }
                Err(ChunkFailure { not_found: matches!(error, ChunkError::NotFound { .. }), reason: error.to_string() })
            }
            Ok(_) => Err(fail(format!("{drive} answered a get with something else"))),
            Err(error) => Err(fail(error.to_string())),
        }
    }
}

fn join(parts: Vec<Bytes>, len: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(len as usize);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.freeze()
}

#[cfg(test)]
#[path = "stripe_tests.rs"]
mod tests;
