//! Messages between replicas: for each host a queue and a task that sends what has gathered, one frame after another.
//!
//! What does not find room, or no answer, is dropped: Raft sends again what matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forebay_client::Cluster;
use forebay_net::call_raft;
use forebay_types::{HostId, ShardId};
use forebay_wire::raft::{RaftBody, RaftMessage, RaftReply, RaftRequest};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::driver::Work;
use super::pulse::Pulse;
use crate::peers::SharedMap;

/// Messages that wait for a host.
const QUEUE: usize = 1024;
/// Most messages, and bytes of entries, of one frame.
const FRAME_MESSAGES: usize = 256;
const FRAME_BYTES: usize = 2 << 20;
/// How long a host may take to take messages in.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is needed to send.
#[derive(Clone)]
pub(super) struct Sender {
    pub map: SharedMap,
    pub client: Cluster,
    pub back: mpsc::WeakSender<Work>,
    pub pulse: Arc<Pulse>,
    pub runtime: Handle,
}

/// Sends messages to other replicas' hosts.
pub(super) struct Transport {
    sender: Sender,
    queues: BTreeMap<HostId, mpsc::Sender<RaftMessage>>,
}

impl Transport {
    pub fn new(sender: Sender) -> Self {
        Self { sender, queues: BTreeMap::new() }
    }

    /// Sends, or drops; whether there was room.
    pub fn send(&mut self, message: RaftMessage) -> bool {
        let to = message.to;
        let queue = self.queues.entry(to).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            self.sender.runtime.spawn(self.sender.clone().send_all(to, waiting));
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

impl Sender {
    /// Ends when the sending side of the queue is dropped.
    async fn send_all(self, to: HostId, mut waiting: mpsc::Receiver<RaftMessage>) {
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
            if !self.deliver(to, messages).await {
                let Some(back) = self.back.upgrade() else { return };
                // The driver ends with the host, and then nobody has to know.
                let _ = back.send(Work::Unreachable { host: to, shards }).await;
            }
        }
    }

    async fn deliver(&self, to: HostId, messages: Vec<RaftMessage>) -> bool {
        let Some(address) = self.map.get().host(to).map(|host| host.address.clone()) else { return false };
        let since = Instant::now();
        let answer = call_raft(&self.client.peer(&address), &RaftRequest::Messages(messages), TIMEOUT).await;
        let took = since.elapsed();
        if answer.is_ok() || took >= TIMEOUT {
            self.pulse.answered(to, took);
        }
        match answer {
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
}
