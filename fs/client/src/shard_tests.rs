//! Mutations that are tried again, at a host that answers what it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use forebay_net::{ClusterKey, Handler, PeerInfo, Role, Server};
use forebay_types::{Geometry, InodeId, OpId, SessionId, Uuid};
use forebay_wire::cluster::{ClusterReply, ClusterRequest, Formation, FormingHost};
use forebay_wire::frame::Service;

use super::*;
use crate::ClientOptions;

const SESSION: SessionId = SessionId(7);

/// Answers mutations with what is next in the list, then with `Done`; remembers their names.
#[derive(Default)]
struct Host {
    answers: Mutex<VecDeque<MetaReply>>,
    asked: Mutex<Vec<(OpId, u64)>>,
}

#[async_trait::async_trait]
impl Handler for Host {
    async fn handle(&self, _: &PeerInfo, to: Service, body: Bytes, _: Bytes, _: Duration) -> (Vec<u8>, Bytes) {
        if to == Service::Cluster {
            let reply = match forebay_wire::decode::<ClusterRequest>(&body) {
                Ok(ClusterRequest::GetMap { .. }) => ClusterReply::Map(None),
                _ => ClusterReply::Session { session: SESSION, timeout_ms: 600_000 },
            };
            return (forebay_wire::encode(&reply), Bytes::new());
        }
        let request: MetaRequest = forebay_wire::decode(&body).unwrap();
        let reply = match request.call {
            MetaCall::Mutate(mutation) => {
                self.asked.lock().unwrap().push((mutation.id, mutation.acknowledged_below));
                self.answers.lock().unwrap().pop_front().unwrap_or(MetaReply::Done)
            }
            _ => MetaReply::Introduced { number: 1, exclusive: Vec::new(), lost: Vec::new() },
        };
        (forebay_wire::encode(&MetaAnswer::from(reply)), Bytes::new())
    }
}

async fn shards(host: &Arc<Host>) -> (Shards, Server) {
    let key = ClusterKey::from_bytes([1; 32]);
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), key.clone(), "h", host.clone()).await.unwrap();
    let address = server.local_addr().to_string();
    let hosts = vec![FormingHost { name: "h".into(), address, drives: vec![(Uuid([1; 16]), 1 << 30)] }];
    let (name, cluster, geometry) = ("t".into(), Uuid([7; 16]), Geometry { data: 1, parity: 0 });
    let map = forebay_cluster::form(&Formation { name, cluster, geometry, shards: 1, hosts }).unwrap();
    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    let cluster = Cluster::new(Vec::new(), key, Role::Client, "c", options);
    cluster.learn(map);
    let session = Arc::new(Session::open(&cluster, "c", "scratch").await.unwrap());
    let (opens, leases, files, locks) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
    (Shards { cluster, session, fs: FsId(1), opens, leases, files, locks }, server)
}

fn unlink() -> MutateOp {
    MutateOp::Unlink { parent: InodeId::ROOT, name: "f".into() }
}

#[tokio::test]
async fn every_attempt_at_a_mutation_has_the_same_name_and_the_next_mutation_another() {
    let host = Arc::new(Host::default());
    let (shards, _server) = shards(&host).await;
    let shard = ShardId(0);
    let not_served = MetaError::NotServed { shard, epoch: Epoch(1), leader: None };
    let again = [MetaError::Busy, not_served, MetaError::NotIntroduced { shard }, MetaError::NoPlacement];
    let attempts = again.len() + 1;
    host.answers.lock().unwrap().extend(again.map(MetaReply::Error));
    assert_eq!(shards.mutate(shard, &Cred::ROOT, unlink()).await.unwrap(), MetaReply::Done);
    let first = OpId { session: SESSION, sequence: 1 };
    assert_eq!(std::mem::take(&mut *host.asked.lock().unwrap()), vec![(first, 1); attempts]);
    // Its answer is there, so it may be forgotten; one that was refused for good has been answered too.
    host.answers.lock().unwrap().push_back(MetaReply::Error(MetaError::Posix(Errno::NoEntry)));
    assert!(shards.mutate(shard, &Cred::ROOT, unlink()).await.is_err());
    assert_eq!(shards.mutate(shard, &Cred::ROOT, unlink()).await.unwrap(), MetaReply::Done);
    let name = |sequence| (OpId { sequence, ..first }, sequence);
    assert_eq!(*host.asked.lock().unwrap(), [name(2), name(3)]);
}

#[tokio::test]
async fn what_is_not_answered_yet_is_not_acknowledged() {
    let host = Arc::new(Host::default());
    let (shards, _server) = shards(&host).await;
    let outstanding = shards.session.number().unwrap();
    shards.mutate(ShardId(0), &Cred::ROOT, unlink()).await.unwrap();
    drop(outstanding);
    shards.mutate(ShardId(0), &Cred::ROOT, unlink()).await.unwrap();
    let name = |sequence| OpId { session: SESSION, sequence };
    assert_eq!(*host.asked.lock().unwrap(), [(name(2), 1), (name(3), 3)]);
}
