//! Bytes to drives: what is small goes inline, the rest into stripes.

use bytes::{Bytes, BytesMut};
use forebay_cache::{Packed, Run, WriteBuffer, pack};
use forebay_erasure::StripeLayout;
use forebay_types::{ByteRange, Errno, Extent, Geometry, InodeId, LifetimeClass, Location, StripeRef, limits};
use forebay_wire::chunk::Receipt;
use futures::StreamExt;

use super::STRIPES_AT_ONCE;
use crate::ClientError;
use crate::cluster::Attempts;
use crate::filesystem::Filesystem;

/// After so many stripes that found full drives the filesystem counts as full.
const FULL_STRIPES: u32 = 3;

/// Extents ready to be committed, with the proof that their bytes are durable.
#[derive(Default)]
pub(super) struct Durable {
    pub extents: Vec<Extent>,
    pub receipts: Vec<Receipt>,
}

impl Filesystem {
    pub(super) async fn write_part(
        &self,
        ino: InodeId,
        class: LifetimeClass,
        part: Packed,
    ) -> Result<Durable, ClientError> {
        match part {
            Packed::Inline(runs) => {
                let extents = runs.into_iter().flat_map(inline_extents).collect();
                Ok(Durable { extents, receipts: Vec::new() })
            }
            Packed::Stripe(runs) => self.write_runs(ino, class, runs).await,
        }
    }

    /// Writes runs into one stripe, or into several where the group of the day has narrower ones. Stripes that too few
    /// drives took are given up, and others allocated, until the deadline, or until the drives of several are full.
    async fn write_runs(&self, ino: InodeId, class: LifetimeClass, runs: Vec<Run>) -> Result<Durable, ClientError> {
        let mut attempts = Attempts::new(self.shards.cluster.options().timeout);
        let mut full = 0;
        let mut rest = runs;
        let mut done = Durable::default();
        while !rest.is_empty() {
            let (id, geometry) = self.pool.take(&self.shards, ino.shard(), class).await?;
            let (now, later) = split(rest, usize::from(geometry.data) * limits::CHUNK_MAX_BYTES);
            let (layout, data) = lay_out(geometry, &now)?;
            match self.stripes.write(id, layout, data).await {
                Ok(receipts) => {
                    let at = StripeRef { stripe: id, geometry, chunk_bytes: layout.chunk_bytes, offset: 0 };
                    done.extents.extend(stripe_extents(&now, at));
                    done.receipts.extend(receipts);
                    rest = later;
                }
                Err(error) => {
                    full += u32::from(matches!(error, ClientError::Posix(Errno::NoSpace)));
                    if full >= FULL_STRIPES {
                        return Err(error);
                    }
                    attempts.pause(&error).await.map_err(|_| error)?;
                    attempts.refresh(&self.shards.cluster).await;
                    rest = now.into_iter().chain(later).collect();
                }
            }
        }
        Ok(done)
    }

    /// Puts bytes of a file on drives without naming them in its map yet: little goes inline, more into stripes of
    /// `class`. What comes back is for [`Self::exchange`].
    pub async fn write_stripes(
        &self,
        ino: InodeId,
        class: LifetimeClass,
        file_offset: u64,
        data: Bytes,
    ) -> Result<(Vec<Extent>, Vec<Receipt>), ClientError> {
        let mut buffer = WriteBuffer::default();
        buffer.write(file_offset, data);
        let map = self.shards.cluster.map().await?;
        let full = usize::from(map.geometry.data) * limits::CHUNK_MAX_BYTES;
        let mut writes = futures::stream::iter(pack(&buffer, full))
            .map(|part| self.write_part(ino, class, part))
            .buffered(STRIPES_AT_ONCE);
        let mut ready = Durable::default();
        while let Some(part) = writes.next().await {
            let part = part?;
            ready.extents.extend(part.extents);
            ready.receipts.extend(part.receipts);
        }
        Ok((ready.extents, ready.receipts))
    }
}

/// Cuts runs so that the first part has at most `bytes` bytes.
fn split(runs: Vec<Run>, bytes: usize) -> (Vec<Run>, Vec<Run>) {
    let mut room = bytes as u64;
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for run in runs {
        let len = run.len();
        if len <= room {
            room -= len;
            now.push(run);
            continue;
        }
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        let mut left = room as usize;
        for mut piece in run.pieces {
            let part = piece.split_to(piece.len().min(left));
            left -= part.len();
            head.extend((!part.is_empty()).then_some(part));
            tail.extend((!piece.is_empty()).then_some(piece));
        }
        if !head.is_empty() {
            now.push(Run { file_offset: run.file_offset, pieces: head });
        }
        later.push(Run { file_offset: run.file_offset + room, pieces: tail });
        room = 0;
    }
    (now, later)
}

/// The stripe's data: the runs end to end, zeros after them.
fn lay_out(geometry: Geometry, runs: &[Run]) -> Result<(StripeLayout, Bytes), ClientError> {
    let bytes: u64 = runs.iter().map(Run::len).sum();
    let layout = StripeLayout::for_data(geometry, bytes as usize).map_err(|error| {
        tracing::error!(%error, "a stripe cannot be laid out");
        ClientError::Posix(Errno::Io)
    })?;
    let mut data = BytesMut::with_capacity(layout.data_bytes() as usize);
    runs.iter().flat_map(|run| &run.pieces).for_each(|piece| data.extend_from_slice(piece));
    data.resize(layout.data_bytes() as usize, 0);
    Ok((layout, data.freeze()))
}

fn stripe_extents(runs: &[Run], at: StripeRef) -> Vec<Extent> {
    let mut offset = 0;
    runs.iter()
        .map(|run| {
            let range = ByteRange::new(run.file_offset, run.len());
            let location = Location::Stripe(StripeRef { offset, ..at });
            offset += run.len() as u32;
            Extent { range, location }
        })
        .collect()
}

fn inline_extents(run: Run) -> Vec<Extent> {
    let data: Bytes = match <[Bytes; 1]>::try_from(run.pieces) {
        Ok([one]) => one,
        Err(pieces) => pieces.concat().into(),
    };
    vec![Extent { range: ByteRange::new(run.file_offset, data.len() as u64), location: Location::Inline(data) }]
}

#[cfg(test)]
#[path = "stripes_tests.rs"]
mod tests;
