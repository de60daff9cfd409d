//! From a message to the service that answers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_net::{Handler, PeerInfo, Role};
use forebay_types::{Epoch, HostId, Uuid};
use forebay_wire::chunk::{ChunkError, ChunkReply, ChunkRequest};
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest, Identity};
use forebay_wire::frame::Service;
use forebay_wire::lease::{LeaseReply, LeaseRequest};
use forebay_wire::lock::{LockReply, LockRequest};
use forebay_wire::meta::{MetaAnswer, MetaError, MetaReply, MetaRequest};
use forebay_wire::raft::{RaftReply, RaftRequest};
use forebay_wire::tier::{TierError, TierReply, TierRequest};

use crate::host::{Inner, Member};

#[async_trait::async_trait]
impl Handler for Inner {
    async fn handle(
        &self,
        peer: &PeerInfo,
        service: Service,
        body: Bytes,
        payload: Bytes,
        deadline: Duration,
    ) -> (Vec<u8>, Bytes) {
        match service {
            Service::Cluster => (self.cluster(peer, &body).await, Bytes::new()),
            Service::Meta => (self.meta(&body, deadline).await, Bytes::new()),
            Service::Chunk => self.chunk(&body, payload).await,
            Service::Tier => (self.tier(&body).await, Bytes::new()),
            Service::Lease => (self.lease(&body, deadline).await, Bytes::new()),
            Service::Lock => (self.lock(&body, deadline).await, Bytes::new()),
            Service::Raft => (self.raft(peer, &body).await, Bytes::new()),
        }
    }
}

impl Inner {
    async fn cluster(&self, peer: &PeerInfo, body: &[u8]) -> Vec<u8> {
        let reply = match forebay_wire::decode::<ClusterRequest>(body) {
            Ok(request) => self.answer_cluster(peer, request).await,
            Err(error) => ClusterReply::Error(ClusterError::Invalid { reason: error.to_string() }),
        };
        forebay_wire::encode(&reply)
    }

    async fn answer_cluster(&self, peer: &PeerInfo, request: ClusterRequest) -> ClusterReply {
        match request {
            ClusterRequest::Identify => ClusterReply::Identity(self.identity()),
            ClusterRequest::Join { map, you } => match self.join(*map, you, false).await {
                Ok(epoch) => ClusterReply::Done { epoch },
                Err(error) => ClusterReply::Error(error),
            },
            ClusterRequest::Form { map, you } => match self.join(*map, you, true).await {
                Ok(epoch) => ClusterReply::Done { epoch },
                Err(error) => ClusterReply::Error(error),
            },
            request => match self.member() {
                None => match request {
                    ClusterRequest::GetMap { .. } => ClusterReply::Map(None),
                    _ => ClusterReply::Error(ClusterError::NotFormed { name: self.config.name.clone() }),
                },
                Some(member) => member.answer_cluster(peer, request).await,
            },
        }
    }

    fn identity(&self) -> Identity {
        let member = self.member();
        Identity {
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            cluster: member.as_ref().map_or(Uuid::NIL, |member| member.map.get().cluster),
            host: member.as_ref().map_or(HostId(0), |member| member.id),
            drives: self.known_drives.iter().map(|drive| (drive.uuid, drive.size_bytes)).collect(),
        }
    }

    async fn meta(&self, body: &[u8], deadline: Duration) -> Vec<u8> {
        let answer: MetaAnswer = match (forebay_wire::decode::<MetaRequest>(body), self.member()) {
            (Ok(request), Some(member)) => member.metadata.handle(request, deadline).await,
            (Ok(request), None) => {
                let shard = request.shard;
                MetaReply::Error(MetaError::NotServed { shard, epoch: Epoch::default(), leader: None }).into()
            }
            (Err(error), _) => MetaReply::Error(MetaError::Storage { reason: error.to_string() }).into(),
        };
        forebay_wire::encode(&answer)
    }

    async fn lease(&self, body: &[u8], deadline: Duration) -> Vec<u8> {
        let refused = |reason: String| LeaseReply::Refused { reason };
        let reply = match (forebay_wire::decode::<LeaseRequest>(body), self.member()) {
            (Ok(request), Some(member)) => member.metadata.lease(request, deadline).await,
            (Ok(_), None) => refused(format!("host {} is in no cluster yet", self.config.name)),
            (Err(error), _) => refused(error.to_string()),
        };
        forebay_wire::encode(&reply)
    }

    async fn lock(&self, body: &[u8], deadline: Duration) -> Vec<u8> {
        let reply = match (forebay_wire::decode::<LockRequest>(body), self.member()) {
            (Ok(request), Some(member)) => member.metadata.lock(request, deadline).await,
            (Ok(request), None) => {
                let shard = request.shard;
                LockReply::Error(MetaError::NotServed { shard, epoch: Epoch::default(), leader: None })
            }
            (Err(error), _) => LockReply::Error(MetaError::Storage { reason: error.to_string() }),
        };
        forebay_wire::encode(&reply)
    }

    async fn raft(&self, peer: &PeerInfo, body: &[u8]) -> Vec<u8> {
        let refused = |reason: String| RaftReply::Refused { reason };
        let reply = match (forebay_wire::decode::<RaftRequest>(body), self.member()) {
            (Ok(_), _) if peer.role != Role::Host => refused("only storage hosts may ask for this".into()),
            (Ok(request), Some(member)) => member.metadata.raft(&peer.name, request).await,
            (Ok(_), None) => refused(format!("host {} is in no cluster yet", self.config.name)),
            (Err(error), _) => refused(error.to_string()),
        };
        forebay_wire::encode(&reply)
    }

    async fn chunk(&self, body: &[u8], payload: Bytes) -> (Vec<u8>, Bytes) {
        let invalid = |reason: String| (ChunkReply::Error(ChunkError::Invalid { reason }), Bytes::new());
        let (reply, payload) = match (forebay_wire::decode::<ChunkRequest>(body), self.member()) {
            (Ok(request), Some(member)) => member.drives.handle(request, payload).await,
            (Ok(_), None) => invalid(format!("host {} is in no cluster yet", self.config.name)),
            (Err(error), _) => invalid(error.to_string()),
        };
        (forebay_wire::encode(&reply), payload)
    }

    async fn tier(&self, body: &[u8]) -> Vec<u8> {
        let invalid = |reason: String| TierReply::Error(TierError::Invalid { reason });
        let reply = match (forebay_wire::decode::<TierRequest>(body), self.member()) {
            (Ok(request), Some(member)) => member.mover.handle(request).await,
            (Ok(_), None) => invalid(format!("host {} is in no cluster yet", self.config.name)),
            (Err(error), _) => invalid(error.to_string()),
        };
        forebay_wire::encode(&reply)
    }
}

impl Member {
    async fn answer_cluster(self: &Arc<Self>, peer: &PeerInfo, request: ClusterRequest) -> ClusterReply {
        let map = self.map.get();
        if let ClusterRequest::GetMap { newer_than } = request {
            return ClusterReply::Map((map.epoch > newer_than).then(|| Box::new((*map).clone())));
        }
        let reply = self.group.handle(request, peer.role == Role::Host).await;
        if let ClusterReply::Filesystem { fs, .. } = reply {
            // The root must be there before anybody can mount; every new leader makes it again, in case we die here.
            if let Err(error) = self.metadata.make_root(fs).await {
                return ClusterReply::Error(ClusterError::Storage { reason: error.to_string() });
            }
        }
        reply
    }
}
