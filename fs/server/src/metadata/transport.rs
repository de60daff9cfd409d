//! Messages between replicas: for each host a queue and a task that sends what has gathered, one frame after another.
//!
//! What does not find room, or no answer, is dropped: Raft sends again what matters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forebay_client::Cluster;
use forebay_net::call_raft;
use forebay_types::{HostId, ShardId};
use forebay_wire::raft::{RaftBody, RaftMessage, RaftReply, RaftRequest};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::driver::Work;
use crate::peers::SharedMap;

/// Messages that wait for a host.
const QUEUE: usize = 1024;
/// Most messages, and bytes of entries, of one frame.
const FRAME_MESSAGES: usize = 256;
const FRAME_BYTES: usize = 2 << 20;
/// How long a host may take to take messages in.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sends messages to other replicas' hosts.
pub(super) struct Transport {
    map: SharedMap,
    client: Cluster,
    back: mpsc::WeakSender<Work>,
    runtime: Handle,
    queues: BTreeMap<HostId, mpsc::Sender<RaftMessage>>,
}

impl Transport {
    pub fn new(map: SharedMap, client: Cluster, back: mpsc::WeakSender<Work>, runtime: Handle) -> Self {
        Self { map, client, back, runtime, queues: BTreeMap::new() }
    }

    /// Sends, or drops; whether there was room.
    pub fn send(&mut self, message: RaftMessage) -> bool {
        let to = message.to;
        let queue = self.queues.entry(to).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let (map, client, back) = (self.map.clone(), self.client.clone(), self.back.clone());
            self.runtime.spawn(send_all(to, waiting, map, client, back));
            queue
        });
        queue.try_send(message).is_ok()
    }
}

fn size(message: &RaftMessage) -> usize {
    let RaftBody::Append { entries, .. } = &message.body else { return 64 };
    let data = entries.iter().map(|entry| match &entry.data {
        forebay_wire::raft::RaftData::Shard(data) => data.len() + 32,
        _ => 32,
    });
    64 + data.sum::<usize>()
}

/// Ends when the sender of the queue is dropped.
async fn send_all(
    to: HostId,
    mut waiting: mpsc::Receiver<RaftMessage>,
    map: SharedMap,
    client: Cluster,
    back: mpsc::WeakSender<Work>,
) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(message) => message,
            None => match waiting.recv().await {
                Some(message) => message,
                None => return,
            },
        };
        let mut bytes = size(&first);
        let mut messages = vec![first];
        while messages.len() < FRAME_MESSAGES {
            let Ok(message) = waiting.try_recv() else { break };
            bytes += size(&message);
            if bytes > FRAME_BYTES {
                left_over = Some(message);
                break;
            }
            messages.push(message);
        }
        let shards: BTreeSet<ShardId> = messages.iter().map(|message| message.shard).collect();
        if !deliver(to, messages, &map, &client).await {
            let Some(back) = back.upgrade() else { return };
            // The driver ends with the host, and then nobody has to know.
            let _ = back.send(Work::Unreachable { host: to, shards }).await;
        }
    }
}

async fn deliver(to: HostId, messages: Vec<RaftMessage>, map: &SharedMap, client: &Cluster) -> bool {
    let Some(address) = map.get().host(to).map(|host| host.address.clone()) else { return false };
    match call_raft(&client.peer(&address), &RaftRequest::Messages(messages), TIMEOUT).await {
        Ok(RaftReply::Taken) => true,
        Ok(other) => {
            tracing::debug!(host = %to, ?other, "raft messages not taken");
            false
        }
        Err(error) => {
            tracing::debug!(host = %to, %error, "raft messages not delivered");
            false
        }
    }
}
