//! The map as this host knows it.

use std::sync::{Arc, PoisonError, RwLock};

use forebay_types::Epoch;
use forebay_wire::map::ClusterMap;

/// The newest map known, shared by everything on the host.
#[derive(Clone)]
pub(crate) struct SharedMap {
    map: Arc<RwLock<Arc<ClusterMap>>>,
}

impl SharedMap {
    pub fn new(map: ClusterMap) -> Self {
        Self { map: Arc::new(RwLock::new(Arc::new(map))) }
    }

    pub fn get(&self) -> Arc<ClusterMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn epoch(&self) -> Epoch {
        self.get().epoch
    }

    /// Takes a map in, if it is newer; whether it was.
    pub fn learn(&self, map: &ClusterMap) -> bool {
        let mut known = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if known.epoch >= map.epoch {
            return false;
        }
        *known = Arc::new(map.clone());
        true
    }
}

/// Says once, for people, what became of hosts and drives.
pub(crate) fn log_changes(old: &ClusterMap, new: &ClusterMap) {
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
