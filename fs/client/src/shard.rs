//! Calls to metadata shards: found by the map, tried again until they are answered or the deadline passes.

use std::sync::Arc;

use forebay_net::call_meta;
use forebay_types::{Cred, FsId, ShardId};
use forebay_wire::meta::{MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, ReadOp};

use crate::cluster::Attempts;
use crate::session::Session;
use crate::{ClientError, Cluster};

/// A filesystem's shards, for one session.
#[derive(Clone)]
pub(crate) struct Shards {
    pub cluster: Cluster,
    pub session: Arc<Session>,
    pub fs: FsId,
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
        let mut request = MetaRequest { shard, epoch: forebay_types::Epoch(0), call };
        loop {
            let map = self.cluster.map().await?;
            request.epoch = map.epoch;
            let Some(host) = map.shard_host(shard) else {
                return Err(ClientError::Posix(forebay_types::Errno::Stale));
            };
            let reply = call_meta(&self.cluster.peer(&host.address), &request, attempts.call_timeout()).await;
            let (reason, stale) = match reply {
                Ok(MetaReply::Error(MetaError::Posix(errno))) => return Err(errno.into()),
                Ok(MetaReply::Error(MetaError::SessionEnded(_))) => {
                    self.session.mark_ended();
                    return Err(ClientError::SessionEnded);
                }
                Ok(MetaReply::Error(MetaError::Storage { reason })) => {
                    return Err(ClientError::MetadataStore { reason });
                }
                Ok(MetaReply::Error(error @ MetaError::Busy)) => (error.to_string(), false),
                Ok(MetaReply::Error(error @ MetaError::NotDurable { .. })) => {
                    tracing::error!(%error, "commit refused");
                    return Err(ClientError::Posix(forebay_types::Errno::Io));
                }
                Ok(MetaReply::Error(error)) => (error.to_string(), true),
                Ok(reply) => return Ok(reply),
                Err(error) if error.is_transient() => (error.to_string(), true),
                Err(error) => return Err(error.into()),
            };
            attempts.pause(&reason).await?;
            if stale {
                // The map may name another host by now; that nobody answers this question shows soon enough.
                let _ = self.cluster.refresh().await;
            }
        }
    }
}
