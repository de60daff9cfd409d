//! A host's signs of life to the cluster group, and what comes back: newer maps, ended sessions.

use std::sync::Arc;
use std::time::Duration;

use forebay_cluster::HOST_TIMEOUT_MS;
use forebay_env::Durability;
use forebay_net::call_cluster;
use forebay_types::ShardId;
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest, Heartbeat};

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
        let (flush_us, answers_us) = self.metadata.pulse();
        let beat = Heartbeat {
            host: self.id,
            epoch: map.epoch,
            drives: self.drives.stats().await,
            sessions: self.metadata.sessions(),
            replicas: self.metadata.replicas(),
            flush_us,
            answers_us,
        };
        let (epoch, ended, unwanted) = match self.ask_group(ClusterRequest::Heartbeat(beat)).await? {
            ClusterReply::Heartbeat { epoch, ended, unwanted } => (epoch, ended, unwanted),
            ClusterReply::Error(error) => return Err(error.to_string()),
            other => return Err(format!("a heartbeat was answered by {other:?}")),
        };
        for replica in unwanted {
            self.metadata.unwanted(replica).await;
        }
        for session in ended {
            self.metadata.end_session(session);
        }
        if epoch > map.epoch {
            let request = ClusterRequest::GetMap { newer_than: map.epoch };
            if let ClusterReply::Map(Some(newer)) = self.ask_group(request).await? {
                self.kv.write(identity::map_batch(&newer), Durability::Flushed).map_err(|error| error.to_string())?;
                self.map.learn(&newer);
                self.client.learn(*newer);
            }
        }
        Ok(())
    }

    /// Asks the cluster group, which may be led from here.
    async fn ask_group(&self, request: ClusterRequest) -> Result<ClusterReply, String> {
        if self.metadata.leads(ShardId(0)).is_some() {
            return Ok(self.group.handle(request, true).await);
        }
        let map = self.map.get();
        let mut reason = String::from("the map has no shard 0");
        // One that has just lost the lead names the next one.
        for _ in 0..2 {
            let Some(host) = self.client.leader(&map, ShardId(0)) else { break };
            match call_cluster(&self.client.peer(&host.address), &request, INTERVAL * 2).await {
                Ok(ClusterReply::Error(error @ ClusterError::NotHere { leader })) => {
                    self.client.not_leader(&map, ShardId(0), host.id, leader);
                    reason = error.to_string();
                }
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.client.not_leader(&map, ShardId(0), host.id, None);
                    return Err(error.to_string());
                }
            }
        }
        Err(reason)
    }
}
