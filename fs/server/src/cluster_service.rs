//! The cluster group: its core, on the host that leads shard 0, whose log keeps what the core decides.
//!
//! One request at a time: the core decides, the decision goes through the log, and only then the answer leaves. Where
//! the log refuses, the core is thrown away, and the next leader's begins with what the log has.

use std::sync::Arc;

use bytes::Bytes;
use forebay_cluster::Cluster;
use forebay_env::Batch;
use forebay_meta::Input;
use forebay_types::{FsId, ShardId};
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest};
use forebay_wire::meta::MetaReply;

use crate::clock::Clock;
use crate::metadata::Metadata;

/// How often silent hosts and sessions are looked for.
const TICK: std::time::Duration = std::time::Duration::from_millis(500);
/// The shard whose group the cluster group is.
const SHARD: ShardId = ShardId(0);

/// The core, in the term in which this host leads.
struct Led {
    term: u64,
    core: Cluster,
}

/// See the module.
pub(crate) struct ClusterGroup {
    led: tokio::sync::Mutex<Option<Led>>,
    metadata: Arc<Metadata>,
    clock: Arc<Clock>,
}

impl ClusterGroup {
    pub fn new(metadata: Arc<Metadata>, clock: Arc<Clock>) -> Self {
        Self { led: tokio::sync::Mutex::default(), metadata, clock }
    }

    /// Answers, after what must be kept is.
    pub async fn handle(&self, request: ClusterRequest, is_host: bool) -> ClusterReply {
        let mut led = self.led.lock().await;
        if let Err(error) = self.lead(&mut led).await {
            return ClusterReply::Error(error);
        }
        let Some(Led { core, .. }) = led.as_mut() else { return ClusterReply::Error(self.not_here()) };
        let outcome = core.handle(self.clock.millis(), request, is_host);
        match self.keep(&mut led, outcome.stores).await {
            Ok(()) => outcome.reply,
            Err(error) => ClusterReply::Error(error),
        }
    }

    /// Filesystems there are; none where this host does not lead.
    pub async fn filesystems(&self) -> Vec<FsId> {
        let mut led = self.led.lock().await;
        let _ = self.lead(&mut led).await;
        led.as_ref().map_or(Vec::new(), |led| led.core.map().filesystems.iter().map(|fs| fs.id).collect())
    }

    fn not_here(&self) -> ClusterError {
        ClusterError::NotHere { leader: self.metadata.leader(SHARD) }
    }

    /// Makes sure that the core is there and is this term's.
    async fn lead(&self, led: &mut Option<Led>) -> Result<(), ClusterError> {
        let Some(term) = self.metadata.leads(SHARD) else {
            *led = None;
            return Err(self.not_here());
        };
        if led.as_ref().is_some_and(|led| led.term == term) {
            return Ok(());
        }
        *led = None;
        let now = self.clock.millis();
        let load = self.metadata.read_led(SHARD, |shard| Cluster::load(now, &shard.cluster_state())).await;
        let storage = |reason: String| ClusterError::Storage { reason };
        let core = load.ok_or_else(|| self.not_here())?.map_err(|error| storage(error.reason))?;
        let core = core.ok_or_else(|| storage("shard 0 has no cluster map".into()))?;
        tracing::info!(term, epoch = %core.map().epoch, "leading the cluster group");
        *led = Some(Led { term, core });
        Ok(())
    }

    /// Puts what the core has decided into the log, and makes sure that this host still leads.
    async fn keep(&self, led: &mut Option<Led>, stores: Batch) -> Result<(), ClusterError> {
        let kept = if stores.is_empty() {
            // What a leader of the past would say of sessions and hosts must not be believed.
            self.metadata.read_led(SHARD, |_| ()).await.is_some()
        } else {
            let writes = stores.writes.into_iter().map(|(key, value)| (Bytes::from(key), value.map(Bytes::from)));
            let input = Input::Cluster { writes: writes.collect() };
            self.metadata.submit(SHARD, input).await == MetaReply::Done
        };
        if kept && led.as_ref().map(|led| led.term) == self.metadata.leads(SHARD) {
            return Ok(());
        }
        *led = None;
        Err(self.not_here())
    }

    /// Looks for silent hosts and sessions, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let mut led = self.led.lock().await;
            if self.lead(&mut led).await.is_err() {
                continue;
            }
            let Some(Led { core, .. }) = led.as_mut() else { continue };
            let stores = core.tick(self.clock.millis());
            if !stores.is_empty() {
                // What is not kept now is decided again, here or by the next leader.
                let _ = self.keep(&mut led, stores).await;
            }
        }
    }
}
