//! Erasing stripes that nothing names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_net::call_chunk;
use forebay_types::{DriveId, StripeId};
use forebay_wire::chunk::{ChunkReply, ChunkRequest};

use crate::host::Member;

/// Time between looks at the shards' garbage.
const INTERVAL: Duration = Duration::from_secs(1);
/// Stripes of one shard looked at in one go.
const AT_ONCE: usize = 8192;
/// Chunks of one delete request.
const CHUNKS_PER_REQUEST: usize = 1024;
/// Longest wait for a drive to erase.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Chunks erased already, of stripes that have some that could not be.
type Erased = BTreeMap<StripeId, BTreeSet<u8>>;

impl Member {
    /// Erases for ever.
    pub(crate) async fn collect_garbage(self: Arc<Self>) {
        let mut timer = tokio::time::interval(INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut partly = Erased::new();
        loop {
            timer.tick().await;
            for (shard, stripes) in self.metadata.garbage(AT_ONCE) {
                let done = self.erase(&stripes, &mut partly).await;
                if !done.is_empty() {
                    self.metadata.erased(shard, done).await;
                }
            }
        }
    }

    /// Erases what can be reached; returns the stripes of which nothing is left.
    async fn erase(&self, stripes: &[StripeId], partly: &mut Erased) -> Vec<StripeId> {
        let map = self.map.get();
        let mut by_drive: BTreeMap<DriveId, Vec<(StripeId, u8)>> = BTreeMap::new();
        for stripe in stripes {
            let Some(group) = map.group(stripe.pg()) else { continue };
            for (index, drive) in group.drives.iter().enumerate() {
                let done = partly.get(stripe).is_some_and(|done| done.contains(&(index as u8)));
                if map.drive(*drive).is_none() {
                    // Its host has been removed.
                    partly.entry(*stripe).or_default().insert(index as u8);
                } else if !done && map.drive_is_up(*drive) {
                    by_drive.entry(*drive).or_default().push((*stripe, index as u8));
                }
            }
        }
        for (drive, chunks) in by_drive {
            for chunks in chunks.chunks(CHUNKS_PER_REQUEST) {
                if self.erase_chunks(drive, chunks).await {
                    chunks.iter().for_each(|(stripe, index)| {
                        partly.entry(*stripe).or_default().insert(*index);
                    });
                }
            }
        }
        let whole = |stripe: &&StripeId| {
            let width = map.group(stripe.pg()).map_or(0, |group| group.drives.len());
            partly.get(stripe).is_some_and(|done| done.len() == width)
        };
        let done: Vec<StripeId> = stripes.iter().filter(whole).copied().collect();
        done.iter().for_each(|stripe| {
            partly.remove(stripe);
        });
        done
    }

    async fn erase_chunks(&self, drive: DriveId, chunks: &[(StripeId, u8)]) -> bool {
        let map = self.map.get();
        let Some(host) = map.drive(drive).and_then(|entry| map.host(entry.host)) else { return false };
        let request = ChunkRequest::Delete { drive, chunks: chunks.to_vec() };
        match call_chunk(&self.client.peer(&host.address), &request, Bytes::new(), TIMEOUT).await {
            Ok((ChunkReply::Deleted, _)) => true,
            Ok((other, _)) => {
                tracing::warn!(%drive, ?other, "chunks not erased, will be tried again");
                false
            }
            Err(error) => {
                tracing::debug!(%drive, %error, "chunks not erased, will be tried again");
                false
            }
        }
    }
}
