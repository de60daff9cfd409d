//! A host's signs of life to the cluster group, and what comes back: newer maps, ended sessions.

use std::sync::Arc;
use std::time::Duration;

use forebay_cluster::HOST_TIMEOUT_MS;
use forebay_env::Durability;
use forebay_net::call_cluster;
use forebay_types::ShardId;
use forebay_wire::cluster::{ClusterReply, ClusterRequest, Heartbeat};

use crate::host::Member;
use crate::identity;

/// Time between heartbeats.
const INTERVAL: Duration = Duration::from_millis(HOST_TIMEOUT_MS / 6);

impl Member {
    /// Sends heartbeats for ever.
    pub(crate) async fn beat(self: Arc<Self>) {
        let mut timer = tokio::time::interval(INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reachable = true;
        loop {
            timer.tick().await;
            let result = self.beat_once().await;
            match (&result, reachable) {
                (Err(reason), true) => tracing::info!(reason, "the cluster group cannot be reached, trying again"),
                (Ok(()), false) => tracing::info!("the cluster group can be reached again"),
                _ => {}
            }
            reachable = result.is_ok();
        }
    }

    async fn beat_once(&self) -> Result<(), String> {
        let map = self.map.get();
        let group = map.shard_host(ShardId(0)).ok_or("the map has no shard 0")?;
        let beat = Heartbeat {
            host: self.id,
            epoch: map.epoch,
            drives: self.drives.stats().await,
            sessions: self.metadata.sessions(),
        };
        let reply = self.ask_group(&group.address, ClusterRequest::Heartbeat(beat)).await?;
        let ClusterReply::Heartbeat { epoch, ended } = reply else {
            return Err(format!("a heartbeat was answered by {reply:?}"));
        };
        for session in ended {
            self.metadata.end_session(session);
        }
        if epoch > map.epoch {
            let request = ClusterRequest::GetMap { newer_than: map.epoch };
            if let ClusterReply::Map(Some(newer)) = self.ask_group(&group.address, request).await? {
                self.kv.write(identity::map_batch(&newer), Durability::Flushed).map_err(|error| error.to_string())?;
                self.map.learn(&newer);
                self.client.learn(*newer);
            }
        }
        Ok(())
    }

    /// Asks the cluster group, which may be here.
    async fn ask_group(&self, address: &str, request: ClusterRequest) -> Result<ClusterReply, String> {
        if let Some(group) = &self.group {
            return Ok(group.handle(request, true));
        }
        let peer = self.client.peer(address);
        call_cluster(&peer, &request, INTERVAL * 2).await.map_err(|error| error.to_string())
    }
}
