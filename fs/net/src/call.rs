//! Calls by service: encode what is asked, decode what is answered.

use std::time::Duration;

use bytes::Bytes;
use forebay_wire::chunk::{ChunkReply, ChunkRequest};
use forebay_wire::cluster::{ClusterReply, ClusterRequest};
use forebay_wire::frame::Service;
use forebay_wire::lease::{LeaseReply, LeaseRequest};
use forebay_wire::lock::{LockReply, LockRequest};
use forebay_wire::meta::{MetaAnswer, MetaRequest};
use forebay_wire::raft::{RaftReply, RaftRequest};
use forebay_wire::tier::{TierReply, TierRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::NetError;
use crate::peer::Peer;

/// Asks a metadata shard at `peer`; waits at most `deadline`.
pub async fn call_meta(peer: &Peer, request: &MetaRequest, deadline: Duration) -> Result<MetaAnswer, NetError> {
    Ok(call(peer, Service::Meta, request, Bytes::new(), deadline).await?.0)
}

/// Asks a drive at `peer`, with the bytes to store where it is told to store; waits at most `deadline`. Beside the
/// reply are the bytes read.
pub async fn call_chunk(
    peer: &Peer,
    request: &ChunkRequest,
    payload: Bytes,
    deadline: Duration,
) -> Result<(ChunkReply, Bytes), NetError> {
    call(peer, Service::Chunk, request, payload, deadline).await
}

/// Asks the cluster service at `peer`; waits at most `deadline`.
pub async fn call_cluster(peer: &Peer, request: &ClusterRequest, deadline: Duration) -> Result<ClusterReply, NetError> {
    Ok(call(peer, Service::Cluster, request, Bytes::new(), deadline).await?.0)
}

/// Asks the movers at `peer`; waits at most `deadline`.
pub async fn call_tier(peer: &Peer, request: &TierRequest, deadline: Duration) -> Result<TierReply, NetError> {
    Ok(call(peer, Service::Tier, request, Bytes::new(), deadline).await?.0)
}

/// Asks the replicas at `peer`; waits at most `deadline`.
pub async fn call_raft(peer: &Peer, request: &RaftRequest, deadline: Duration) -> Result<RaftReply, NetError> {
    Ok(call(peer, Service::Raft, request, Bytes::new(), deadline).await?.0)
}

/// Asks the leaders at `peer` about leases; waits at most `deadline`.
pub async fn call_lease(peer: &Peer, request: &LeaseRequest, deadline: Duration) -> Result<LeaseReply, NetError> {
    Ok(call(peer, Service::Lease, request, Bytes::new(), deadline).await?.0)
}

/// Asks a shard's leader at `peer` about a lock; waits at most `deadline`.
pub async fn call_lock(peer: &Peer, request: &LockRequest, deadline: Duration) -> Result<LockReply, NetError> {
    Ok(call(peer, Service::Lock, request, Bytes::new(), deadline).await?.0)
}

async fn call<Q: Serialize, R: DeserializeOwned>(
    peer: &Peer,
    service: Service,
    request: &Q,
    payload: Bytes,
    deadline: Duration,
) -> Result<(R, Bytes), NetError> {
    let answer = peer.call(service, forebay_wire::encode(request), payload, deadline).await?;
    // It did answer, but what it did cannot be told.
    let unknown = |e: forebay_wire::DecodeError| NetError::Unknown {
        peer: peer.address().to_owned(),
        reason: format!("{e}: do both sides run the same version?"),
    };
    Ok((forebay_wire::decode(&answer.body).map_err(unknown)?, answer.payload))
}
