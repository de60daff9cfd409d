//! The thread that writes: prepare, one flush for all, apply, answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use forebay_env::{Batch, Durability, Kv};
use forebay_meta::{Applied, Effect, Entry, Input, OpenTable};
use forebay_types::{OpId, ShardId};
use forebay_wire::meta::{MetaError, MetaReply};
use tokio::sync::{mpsc, oneshot};

use super::outbox::Outbox;
use super::{Served, read_lock};
use crate::clock::Clock;
use crate::placement::MapPlacement;

/// Most entries of one flush.
const BATCH: usize = 256;
/// Applied entries kept in a shard's log before they are removed.
const LOG_KEPT: u64 = 1024;

/// An input for a shard, and who waits for the answer.
pub(crate) struct Work {
    pub shard: ShardId,
    pub input: Input,
    pub reply: Option<oneshot::Sender<MetaReply>>,
}

/// The writing side of all shards.
pub(super) struct Writer {
    pub shards: BTreeMap<ShardId, Arc<Served>>,
    pub kv: Arc<dyn Kv>,
    pub clock: Arc<Clock>,
    pub placement: MapPlacement,
    /// Who waits for mutations that need another shard's answer first.
    pub waiting: BTreeMap<(ShardId, OpId), Vec<oneshot::Sender<MetaReply>>>,
    pub outbox: Outbox,
    /// Set when the host stops.
    pub stop: Arc<AtomicBool>,
}

/// An entry on its way, with its waiter.
struct Pending {
    entry: Entry,
    reply: Option<oneshot::Sender<MetaReply>>,
}

impl Writer {
    /// Writes until it is told to stop, or the store has failed: then nothing more can be promised.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Work>) {
        for (&shard, served) in &self.shards {
            match read_lock(&served.shard).outbox(usize::MAX) {
                Ok(steps) => steps.into_iter().for_each(|(to, step)| self.outbox.send(shard, to, step)),
                Err(error) => {
                    tracing::error!(%shard, %error, "shard cannot be served");
                    return;
                }
            }
        }
        while let Some(first) = inbox.blocking_recv() {
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let mut works = vec![first];
            while works.len() < BATCH {
                let Ok(work) = inbox.try_recv() else { break };
                works.push(work);
            }
            if let Err(reason) = self.write(works) {
                tracing::error!(
                    reason,
                    "the metadata store failed: this host serves no metadata until it is restarted"
                );
                return;
            }
        }
    }

    fn write(&mut self, works: Vec<Work>) -> Result<(), String> {
        let mut by_shard: BTreeMap<ShardId, Vec<Work>> = BTreeMap::new();
        works.into_iter().for_each(|work| by_shard.entry(work.shard).or_default().push(work));
        let mut batch = Batch::default();
        let mut prepared = Vec::new();
        for (id, works) in by_shard {
            let Some(served) = self.shards.get(&id).cloned() else { continue };
            let opens = served.opens.clone().blocking_lock_owned();
            let pending = self.prepare(&served, &opens, works, &mut batch);
            // Locked until the entries are applied: see `Served`.
            prepared.push((id, served, opens, pending));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.kv.write(batch, Durability::Flushed).map_err(|error| error.to_string())?;
        for (id, served, mut opens, pending) in prepared {
            self.apply(id, &served, &mut opens, pending)?;
        }
        Ok(())
    }

    /// Prepares entries and adds them to the batch; answers at once what is refused.
    fn prepare(&self, served: &Served, opens: &OpenTable, works: Vec<Work>, batch: &mut Batch) -> Vec<Pending> {
        let shard = read_lock(&served.shard);
        let mut pending = Vec::new();
        for Work { input, reply, .. } in works {
            match shard.prepare(self.clock.wall(), &self.placement, opens, input) {
                Ok(entry) => pending.push(Pending { entry, reply }),
                Err(error) => answer(reply, MetaReply::Error(error)),
            }
        }
        let entries: Vec<Entry> = pending.iter().map(|pending| pending.entry.clone()).collect();
        shard.append(batch, shard.applied() + 1, &entries);
        pending
    }

    fn apply(
        &mut self,
        id: ShardId,
        served: &Served,
        opens: &mut OpenTable,
        pending: Vec<Pending>,
    ) -> Result<(), String> {
        let mut shard = served.shard.write().unwrap_or_else(PoisonError::into_inner);
        for Pending { entry, reply } in pending {
            let index = shard.applied() + 1;
            let Applied { reply: result, effects } = shard.apply(index, &entry).map_err(|error| error.to_string())?;
            match (result, &entry.input) {
                (Some(result), _) => answer(reply, result),
                (None, Input::Mutate(mutation)) => {
                    self.waiting.entry((id, mutation.id)).or_default().extend(reply);
                }
                (None, _) => answer(reply, MetaReply::Error(MetaError::Busy)),
            }
            effects.into_iter().for_each(|effect| self.perform(id, opens, effect));
        }
        let upto = shard.applied().saturating_sub(LOG_KEPT);
        let mut batch = Batch::default();
        shard.truncate_log(&mut batch, upto);
        drop(shard);
        if batch.is_empty() { Ok(()) } else { self.kv.write(batch, Durability::Buffered).map_err(|e| e.to_string()) }
    }
}

impl Writer {
    fn perform(&mut self, id: ShardId, opens: &mut OpenTable, effect: Effect) {
        match effect {
            Effect::Send { to, step } => self.outbox.send(id, to, step),
            Effect::Reply { id: op, reply } => {
                let waiting = self.waiting.remove(&(id, op)).unwrap_or_default();
                waiting.into_iter().for_each(|waiter| answer(Some(waiter), reply.clone()));
            }
            Effect::Opened { fs, session, ino } => opens.opened(fs, session, ino),
            // Otherwise it goes when its last open ends.
            Effect::Orphaned { fs, ino } if !opens.is_open(fs, ino) => {
                self.outbox.submit(Work { shard: id, input: Input::Reap { fs, ino }, reply: None });
            }
            Effect::Orphaned { .. } => {}
            Effect::SessionEnded { session } => tracing::debug!(%session, shard = %id, "session ended"),
        }
    }
}

fn answer(waiter: Option<oneshot::Sender<MetaReply>>, reply: MetaReply) {
    if let Some(waiter) = waiter {
        // Whoever asked may have stopped waiting; a retry finds the answer in the shard's state.
        let _ = waiter.send(reply);
    }
}
