//! The cluster group, on the host that serves shard 0: the core, its store, and its clock.

use std::sync::{Arc, Mutex, PoisonError};

use forebay_cluster::Cluster;
use forebay_env::{Batch, Durability, Kv, KvError};
use forebay_types::FsId;
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest};

use crate::clock::Clock;
use crate::identity;
use crate::peers::SharedMap;

/// How often silent hosts and sessions are looked for.
const TICK: std::time::Duration = std::time::Duration::from_millis(500);

/// The cluster group's state with what it needs.
pub(crate) struct ClusterGroup {
    core: Mutex<Cluster>,
    kv: Arc<dyn Kv>,
    clock: Arc<Clock>,
    map: SharedMap,
}

impl ClusterGroup {
    /// The state as stored; `None` where this host's store has none.
    pub fn load(kv: Arc<dyn Kv>, clock: Arc<Clock>, map: SharedMap) -> Result<Option<Self>, KvError> {
        let Some(core) = Cluster::load(clock.millis(), &*kv)? else { return Ok(None) };
        map.learn(core.map());
        Ok(Some(Self { core: Mutex::new(core), kv, clock, map }))
    }

    /// Answers, after what must be durable is.
    pub fn handle(&self, request: ClusterRequest, is_host: bool) -> ClusterReply {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = core.handle(self.clock.millis(), request, is_host);
        match self.store(&core, outcome.stores) {
            Ok(()) => outcome.reply,
            Err(error) => ClusterReply::Error(ClusterError::Storage { reason: error.reason }),
        }
    }

    /// Filesystems there are.
    pub fn filesystems(&self) -> Vec<FsId> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.map().filesystems.iter().map(|fs| fs.id).collect()
    }

    fn store(&self, core: &Cluster, mut stores: Batch) -> Result<(), KvError> {
        let newer = core.map().epoch > self.map.epoch();
        if newer {
            stores.writes.extend(identity::map_batch(core.map()).writes);
        }
        if !stores.is_empty() {
            self.kv.write(stores, Durability::Flushed)?;
        }
        if newer {
            log_changes(&self.map.get(), core.map());
            self.map.learn(core.map());
        }
        Ok(())
    }

    /// Looks for silent hosts and sessions, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
            let stores = core.tick(self.clock.millis());
            if let Err(error) = self.store(&core, stores) {
                tracing::error!(%error, "the cluster map cannot be stored");
            }
        }
    }
}

/// Says once, for people, what became of hosts and drives.
fn log_changes(old: &forebay_wire::map::ClusterMap, new: &forebay_wire::map::ClusterMap) {
    for host in &new.hosts {
        if old.host(host.id).is_some_and(|before| before.state != host.state) {
            tracing::info!(host = host.name, state = ?host.state, epoch = %new.epoch, "host changed state");
        }
    }
    for drive in &new.drives {
        if old.drive(drive.id).is_some_and(|before| before.state != drive.state) {
            tracing::info!(drive = %drive.id, state = ?drive.state, epoch = %new.epoch, "drive changed state");
        }
    }
}
