//! What the shards have not heard of yet, and what of it to send next.

use std::sync::Arc;

use forebay_types::{ShardId, limits};
use forebay_wire::meta::{LoggedOp, MutateOp};
use tokio::time::Instant;

use super::{Delegations, OfShard, SEND_AT_OPS, State};
use crate::ClientError;
use crate::session::Numbered;

/// Bytes of files in one message of the log, at most: well below what a message may have.
const BYTES_PER_MESSAGE: usize = 256 << 10;

/// What is on its way to a shard: sent again as it is until it was answered.
#[derive(Clone)]
pub(crate) struct Batch {
    pub number: Arc<Numbered>,
    pub ops: Vec<LoggedOp>,
    /// The place of the last of them in the log.
    pub last: u64,
}

impl State {
    pub(super) fn settle_sent(&mut self) {
        let first = |shard: &OfShard| {
            shard.on_its_way.as_ref().map_or_else(|| shard.log.first().map(|(at, _)| *at), |_| Some(0))
        };
        if self.shards.values().all(|shard| first(shard).is_none()) {
            self.sent = self.logged;
            self.oldest = None;
        }
    }
}

impl Delegations {
    /// When the oldest operation that was not sent was logged.
    pub fn oldest(&self) -> Option<Instant> {
        self.lock().oldest
    }

    /// Whether a log is long.
    pub fn is_long(&self) -> bool {
        self.lock().shards.values().any(|shard| shard.log.len() >= SEND_AT_OPS)
    }

    /// The place of the last operation logged.
    pub fn logged(&self) -> u64 {
        self.lock().logged
    }

    /// Everything up to this place has been sent.
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }

    /// What to send next: of each shard what is on its way already, or the next part of its log, but nothing that was done
    /// after something that has to wait for the next time.
    pub fn next_batches(
        &self,
        number: impl Fn() -> Result<Numbered, ClientError>,
    ) -> Result<Vec<(ShardId, Batch)>, ClientError> {
        let mut state = self.lock();
        let mut until = u64::MAX;
        for shard in state.shards.values().filter(|shard| shard.on_its_way.is_none()) {
            let ops = shard.log.iter().take(part_of(&shard.log)).count();
            if let Some((next, _)) = shard.log.get(ops) {
                until = until.min(*next);
            }
        }
        let mut batches = Vec::new();
        for (id, shard) in &mut state.shards {
            if shard.on_its_way.is_none() {
                let count = shard.log.partition_point(|(at, _)| *at < until).min(part_of(&shard.log));
                if count == 0 {
                    continue;
                }
                let last = shard.log[count - 1].0;
                let ops = shard.log.drain(..count).map(|(_, op)| op).collect();
                shard.on_its_way = Some(Batch { number: Arc::new(number()?), ops, last });
            }
            batches.extend(shard.on_its_way.clone().map(|batch| (*id, batch)));
        }
        Ok(batches)
    }

    /// A shard has done what was on its way to it.
    pub fn arrived(&self, shard: ShardId) {
        let mut state = self.lock();
        if let Some(shard) = state.shards.get_mut(&shard) {
            shard.on_its_way = None;
        }
        state.settle_sent();
    }
}

/// How much of a log goes into one message.
fn part_of(log: &[(u64, LoggedOp)]) -> usize {
    let mut bytes = 0;
    let room = log.iter().take(limits::OPS_PER_LOG_MESSAGE).take_while(|(_, logged)| {
        let fits = bytes < BYTES_PER_MESSAGE;
        bytes += size_of(&logged.op);
        fits
    });
    room.count()
}

/// About how many bytes an operation takes in a message.
fn size_of(op: &MutateOp) -> usize {
    let content = match op {
        MutateOp::Commit { extents, .. } => extents.iter().map(|extent| extent.range.len as usize).sum(),
        MutateOp::SetXattr { value, .. } => value.len(),
        _ => 0,
    };
    128 + content
}
