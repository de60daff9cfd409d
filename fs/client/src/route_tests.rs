use forebay_net::{ClusterKey, Role};
use forebay_types::{Epoch, Geometry, Uuid};
use forebay_wire::map::ShardEntry;

use super::*;
use crate::ClientOptions;

const SHARD: ShardId = ShardId(0);

fn world(down: &[u32]) -> (Cluster, ClusterMap) {
    let host = |id: u32| HostEntry {
        id: HostId(id),
        name: format!("s{id}"),
        address: format!("10.0.0.{id}:7"),
        state: if down.contains(&id) { HostState::Down } else { HostState::Up },
        draining: false,
        slow: false,
    };
    let map = ClusterMap {
        cluster: Uuid([1; 16]),
        name: "demo".into(),
        epoch: Epoch(1),
        geometry: Geometry { data: 2, parity: 1 },
        hosts: (1..=4).map(host).collect(),
        drives: Vec::new(),
        groups: Vec::new(),
        shards: vec![ShardEntry { id: SHARD, replicas: [2, 3, 4].map(HostId).into() }],
        filesystems: Vec::new(),
        tiers: Vec::new(),
    };
    let key = ClusterKey::from_bytes([7; 32]);
    (Cluster::new(Vec::new(), key, Role::Client, "test", ClientOptions::default()), map)
}

fn leader(cluster: &Cluster, map: &ClusterMap) -> u32 {
    cluster.leader(map, SHARD).expect("there is such a shard").id.0
}

#[test]
fn the_first_replica_that_is_up_is_asked_first() {
    let (cluster, map) = world(&[]);
    assert_eq!(leader(&cluster, &map), 2);
    let (cluster, map) = world(&[2]);
    assert_eq!(leader(&cluster, &map), 3);
    assert!(cluster.leader(&map, ShardId(9)).is_none());
}

#[test]
fn a_hint_is_followed_unless_it_names_who_gave_it_or_a_stranger() {
    let (cluster, map) = world(&[]);
    cluster.not_leader(&map, SHARD, HostId(2), Some(HostId(4)));
    assert_eq!(leader(&cluster, &map), 4);
    cluster.not_leader(&map, SHARD, HostId(4), Some(HostId(9)));
    assert_eq!(leader(&cluster, &map), 2, "the one after, round the replicas");
    cluster.not_leader(&map, SHARD, HostId(2), Some(HostId(2)));
    assert_eq!(leader(&cluster, &map), 3);
}

/// Host 1 leads a shard that is moving away from it; the map names those that it moves to.
#[test]
fn a_leader_that_should_not_have_the_shard_any_more_is_found() {
    let (cluster, map) = world(&[]);
    cluster.not_leader(&map, SHARD, HostId(2), Some(HostId(1)));
    assert_eq!(leader(&cluster, &map), 1);
    cluster.not_leader(&map, SHARD, HostId(1), None);
    assert_eq!(leader(&cluster, &map), 2, "then round the replicas again");
}

#[test]
fn hosts_that_are_down_are_asked_last() {
    let (cluster, map) = world(&[3]);
    cluster.not_leader(&map, SHARD, HostId(2), None);
    assert_eq!(leader(&cluster, &map), 4);
    let (cluster, map) = world(&[3, 4]);
    cluster.not_leader(&map, SHARD, HostId(2), None);
    assert_eq!(leader(&cluster, &map), 3, "the map may be wrong");
}

#[test]
fn what_is_known_of_a_host_not_asked_any_more_changes_nothing() {
    let (cluster, map) = world(&[]);
    cluster.not_leader(&map, SHARD, HostId(2), Some(HostId(4)));
    cluster.not_leader(&map, SHARD, HostId(2), Some(HostId(3)));
    assert_eq!(leader(&cluster, &map), 4);
}
