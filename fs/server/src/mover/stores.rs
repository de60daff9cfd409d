//! What tasks stand on: sessions on filesystems, and cold tiers, opened when first needed.

use std::collections::HashMap;

use forebay_client::{ClientError, Cluster, Filesystem};
use forebay_object::Tier;
use forebay_types::{Epoch, Errno, FsId, SessionId, TierId};
use forebay_wire::cluster::{ClusterReply, ClusterRequest};
use forebay_wire::tier::TierError;
use tokio::sync::{Mutex, Semaphore};

use super::error;

/// Transfers in one direction that a host has under way at a time: each has a few MiB in memory.
const TRANSFERS: usize = 8;

/// Sessions, tiers, and how much may be moved at a time.
pub(super) struct Stores {
    cluster: Cluster,
    client: String,
    mounts: Mutex<HashMap<FsId, Filesystem>>,
    tiers: Mutex<HashMap<TierId, (Epoch, Tier)>>,
    /// From cold to hot.
    pub down: Semaphore,
    /// From hot to cold. Apart from the other way, because one can have to wait for the other.
    pub up: Semaphore,
}

impl Stores {
    pub fn new(cluster: Cluster, client: String) -> Self {
        Self {
            cluster,
            client,
            mounts: Mutex::default(),
            tiers: Mutex::default(),
            down: Semaphore::new(TRANSFERS),
            up: Semaphore::new(TRANSFERS),
        }
    }

    /// A filesystem, mounted by a session of this host's.
    pub async fn filesystem(&self, id: FsId) -> Result<Filesystem, TierError> {
        let mut mounts = self.mounts.lock().await;
        if let Some(mounted) = mounts.get(&id) {
            return Ok(mounted.clone());
        }
        let explain = |error: ClientError| error::filesystem(&id.to_string(), error);
        let named = |map: &forebay_wire::map::ClusterMap| map.filesystems.iter().find(|fs| fs.id == id).cloned();
        let entry = match named(&*self.cluster.map().await.map_err(explain)?) {
            Some(entry) => entry,
            None => named(&*self.cluster.current_map().await.map_err(explain)?)
                .ok_or_else(|| TierError::Invalid { reason: format!("there is no filesystem {id}") })?,
        };
        let mounted = Filesystem::mount(&self.cluster, &entry.name, &self.client).await.map_err(explain)?;
        mounts.insert(id, mounted.clone());
        Ok(mounted)
    }

    /// A session has ended: the next who asks gets another.
    pub async fn forget(&self, id: FsId, session: SessionId) {
        let mut mounts = self.mounts.lock().await;
        if mounts.get(&id).is_some_and(|mounted| mounted.session() == session)
            && let Some(mounted) = mounts.remove(&id)
        {
            tracing::warn!(%id, %session, "the mover's session has ended, another is opened");
            tokio::spawn(async move { mounted.abandon().await });
        }
    }

    /// A tier. Opened again whenever the map has changed, as its address or its credentials may have.
    pub async fn tier(&self, id: TierId) -> Result<Tier, TierError> {
        let explain = |error: ClientError| error::filesystem(&id.to_string(), error);
        let mut tiers = self.tiers.lock().await;
        let mut map = self.cluster.map().await.map_err(explain)?;
        if !map.tiers.iter().any(|tier| tier.id == id) {
            map = self.cluster.current_map().await.map_err(explain)?;
        }
        let entry = map.tiers.iter().find(|tier| tier.id == id).ok_or(TierError::NoTier { tier: id })?;
        if let Some((epoch, tier)) = tiers.get(&id)
            && *epoch == map.epoch
        {
            return Ok(tier.clone());
        }
        let ClusterReply::Credentials(credentials) =
            self.cluster.ask(&ClusterRequest::TierCredentials { tier: id }).await.map_err(explain)?
        else {
            return Err(explain(ClientError::UnexpectedReply { what: "TierCredentials" }));
        };
        let tier = Tier::open(&entry.url, &entry.endpoint, &entry.region, &credentials)?;
        tiers.insert(id, (map.epoch, tier.clone()));
        Ok(tier)
    }

    /// The erasure code that new stripes have.
    pub async fn geometry(&self) -> Result<forebay_types::Geometry, TierError> {
        let map = self.cluster.map().await.map_err(|error| error::filesystem("", error))?;
        Ok(map.geometry)
    }

    /// Ends the sessions.
    pub async fn close(&self) {
        for (_, mounted) in self.mounts.lock().await.drain() {
            mounted.abandon().await;
        }
    }
}

/// Whether a filesystem's answer means: look again.
pub(super) fn is_again(error: &ClientError) -> bool {
    matches!(error, ClientError::Posix(Errno::Again))
}
