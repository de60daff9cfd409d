//! Stripe ids allocated ahead, so that a write does not wait for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use forebay_types::{Cred, Geometry, LifetimeClass, ShardId, StripeId};
use forebay_wire::map::ClusterMap;
use forebay_wire::meta::{MetaReply, MutateOp};

use crate::ClientError;
use crate::shard::Shards;

/// Ids asked for at once.
const BATCH: u32 = 16;

type Allocated = VecDeque<(StripeId, Geometry)>;

/// Ids not used yet, by shard and lifetime class.
#[derive(Default)]
pub(crate) struct StripePool {
    free: Mutex<HashMap<(ShardId, LifetimeClass), Allocated>>,
}

impl StripePool {
    /// A stripe of a group that can be written by what the map says.
    pub async fn take(
        &self,
        shards: &Shards,
        shard: ShardId,
        class: LifetimeClass,
    ) -> Result<(StripeId, Geometry), ClientError> {
        let map = shards.cluster.map().await?;
        if let Some(found) = self.take_free(shard, class, &map) {
            return Ok(found);
        }
        let op = MutateOp::AllocateStripes { count: BATCH, class };
        let MetaReply::Stripes { stripes, geometries } = shards.mutate(shard, &Cred::ROOT, op).await? else {
            return Err(ClientError::UnexpectedReply { what: "AllocateStripes" });
        };
        let mut fresh: Allocated = stripes.into_iter().zip(geometries).collect();
        let first = fresh.pop_front().ok_or(ClientError::UnexpectedReply { what: "AllocateStripes" })?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry((shard, class)).or_default().extend(fresh);
        Ok(first)
    }

    /// Ids in groups that cannot be written any more are dropped: the shard takes them back when the session ends.
    fn take_free(&self, shard: ShardId, class: LifetimeClass, map: &ClusterMap) -> Option<(StripeId, Geometry)> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = free.get_mut(&(shard, class))?;
        queue.retain(|(stripe, _)| map.group(stripe.pg()).is_some_and(|group| group.writable));
        queue.pop_front()
    }
}
