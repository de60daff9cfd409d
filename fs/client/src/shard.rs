//! Calls to metadata shards: sent to the leader, tried again until they are answered or the deadline passes.

use std::sync::Arc;
use std::time::Duration;

use forebay_net::call_meta;
use forebay_types::{Cred, Epoch, Errno, FsId, ShardId};
use forebay_wire::meta::{MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, ReadOp};

use crate::cluster::{Attempts, SHARD_TIMEOUT};
use crate::opens::Opens;
use crate::session::Session;
use crate::{ClientError, Cluster};

/// A filesystem's shards, for one session.
#[derive(Clone)]
pub(crate) struct Shards {
    pub cluster: Cluster,
    pub session: Arc<Session>,
    pub fs: FsId,
    pub opens: Arc<Opens>,
}

impl Shards {
    /// Reads. `Busy` names are waited for.
    pub async fn read(&self, shard: ShardId, cred: &Cred, op: ReadOp) -> Result<MetaReply, ClientError> {
        let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: cred.clone(), op };
        self.call(shard, call).await
    }

    /// Mutates, once: every attempt carries the same number, and the shard answers a repeated one as it did before.
    pub async fn mutate(&self, shard: ShardId, cred: &Cred, op: MutateOp) -> Result<MetaReply, ClientError> {
        let number = self.session.number()?;
        let mutation = Mutation {
            fs: self.fs,
            id: number.id,
            acknowledged_below: self.session.answered_below(),
            cred: cred.clone(),
            op,
        };
        self.call(shard, MetaCall::Mutate(Box::new(mutation))).await
    }

    async fn call(&self, shard: ShardId, call: MetaCall) -> Result<MetaReply, ClientError> {
        let mut attempts = Attempts::new(self.cluster.options().timeout);
        let mut request = MetaRequest { shard, epoch: Epoch(0), call };
        loop {
            let map = self.cluster.map().await?;
            request.epoch = map.epoch;
            let Some(host) = self.cluster.leader(&map, shard) else {
                return Err(ClientError::Posix(Errno::Stale));
            };
            let timeout = attempts.call_timeout().min(SHARD_TIMEOUT);
            let reply = call_meta(&self.cluster.peer(&host.address), &request, timeout).await;
            let error = match reply {
                Ok(MetaReply::Error(error)) => error,
                Ok(reply) => {
                    self.cluster.count_answer();
                    return Ok(reply);
                }
                Err(error) if error.is_transient() => {
                    self.cluster.not_leader(&map, shard, host.id, None);
                    attempts.pause(&error).await?;
                    // The map may say more by now; that nobody answers this question shows soon enough.
                    attempts.refresh(&self.cluster).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match error {
                MetaError::Posix(errno) => return Err(errno.into()),
                MetaError::SessionEnded(_) => {
                    self.session.mark_ended();
                    return Err(ClientError::SessionEnded);
                }
                MetaError::Storage { reason } => return Err(ClientError::MetadataStore { reason }),
                MetaError::NotDurable { .. } => {
                    tracing::error!(%error, "commit refused");
                    return Err(ClientError::Posix(Errno::Io));
                }
                MetaError::NotIntroduced { .. } => {
                    self.introduce(shard, &host.address, timeout).await;
                    // A leader that never takes it is not asked for ever.
                    attempts.pause(&error).await?;
                }
                MetaError::NotServed { leader, .. } => {
                    self.cluster.not_leader(&map, shard, host.id, leader);
                    attempts.pause(&error).await?;
                    if leader.is_none() {
                        attempts.refresh(&self.cluster).await;
                    }
                }
                MetaError::NoPlacement => {
                    attempts.pause(&error).await?;
                    attempts.refresh(&self.cluster).await;
                }
                MetaError::Busy => attempts.pause(&error).await?,
            }
        }
    }

    /// Tells a new leader what the session has open. Where that fails, the call that needs it is refused again.
    async fn introduce(&self, shard: ShardId, address: &str, timeout: Duration) {
        let op = ReadOp::Introduce { inodes: self.opens.introduce(shard) };
        let call = MetaCall::Read { fs: self.fs, session: self.session.id, cred: Cred::ROOT, op };
        let request = MetaRequest { shard, epoch: Epoch(0), call };
        let reply = call_meta(&self.cluster.peer(address), &request, timeout).await;
        tracing::debug!(%shard, ?reply, "introduced to the shard's leader");
    }

    /// Introduces the session to new leaders of the shards it has something open in, although it asks them nothing.
    pub async fn keep_opens(&self) {
        for ino in self.opens.one_of_each_shard() {
            // Whatever the answer is: the leader knows us then, or is asked again the next time.
            let _ = self.read(ino.shard(), &Cred::ROOT, ReadOp::GetAttr { ino }).await;
        }
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
