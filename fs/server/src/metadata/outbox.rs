//! Steps that shards ask of each other: sent until they are answered.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_client::Cluster;
use forebay_meta::Input;
use forebay_net::call_meta;
use forebay_types::ShardId;
use forebay_wire::meta::{MetaCall, MetaError, MetaReply, MetaRequest, PeerStep, TxnId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::driver::Work;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a step is sent again: first and longest.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

/// Sends steps and brings their answers back to the driver. The steps themselves are kept by the shards.
pub(super) struct Outbox {
    queue: mpsc::WeakSender<Work>,
    client: Cluster,
    runtime: Handle,
    under_way: Arc<Mutex<BTreeSet<(TxnId, u32)>>>,
}

impl Outbox {
    pub fn new(queue: mpsc::WeakSender<Work>, client: Cluster, runtime: Handle) -> Self {
        Self { queue, client, runtime, under_way: Arc::default() }
    }

    /// Sends a step of `from` to shard `to`, unless it is under way already.
    pub fn send(&self, from: ShardId, to: ShardId, step: PeerStep) {
        let key = (step.txn, step.step);
        if !self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            return;
        }
        let (queue, client, under_way) = (self.queue.clone(), self.client.clone(), self.under_way.clone());
        self.runtime.spawn(async move {
            let reply = ask(&client, &queue, to, &step).await;
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let (Some(reply), Some(queue)) = (reply, queue.upgrade()) {
                let input = Input::Answer { txn: step.txn, step: step.step, reply };
                // The driver ends with the host; then the shard's next leader sends the step again.
                let _ = queue.send(Work::Input { shard: from, input, waiter: None }).await;
            }
        });
    }
}

impl Outbox {
    /// Hands a work back to the driver, later.
    pub fn submit(&self, work: Work) {
        let queue = self.queue.clone();
        self.runtime.spawn(async move {
            if let Some(queue) = queue.upgrade() {
                let _ = queue.send(work).await;
            }
        });
    }
}

/// Asks until there is an answer; `None` when this host stops.
async fn ask(client: &Cluster, queue: &mpsc::WeakSender<Work>, to: ShardId, step: &PeerStep) -> Option<MetaReply> {
    let mut pause = PAUSE_FIRST;
    loop {
        queue.upgrade()?;
        let map = client.map().await.ok()?;
        let request = MetaRequest { shard: to, epoch: map.epoch, number: 0, call: MetaCall::Peer(step.clone()) };
        let host = client.leader(&map, to)?;
        match call_meta(&client.peer(&host.address), &request, TIMEOUT).await.map(|answer| answer.reply) {
            Ok(MetaReply::Error(MetaError::NotServed { leader, .. })) => client.not_leader(&map, to, host.id, leader),
            Ok(MetaReply::Error(error @ (MetaError::Busy | MetaError::Storage { .. }))) => {
                tracing::debug!(txn = ?step.txn, step = step.step, %to, %error, "step not done, trying again");
            }
            Ok(reply) => return Some(reply),
            Err(error) => {
                tracing::debug!(txn = ?step.txn, step = step.step, %to, %error, "step not answered, trying again");
                client.not_leader(&map, to, host.id, None);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}
