use std::collections::BTreeSet;

use forebay_types::{Geometry, Uuid};
use forebay_wire::cluster::{Formation, FormingHost};
use proptest::prelude::*;

use super::*;

fn formed(hosts: u32, shards: u16, parity: u8) -> ClusterMap {
    crate::form(&Formation {
        name: "t".into(),
        cluster: Uuid([1; 16]),
        geometry: Geometry { data: 1, parity },
        shards,
        hosts: (1..=hosts)
            .map(|n| FormingHost {
                name: format!("h{n}"),
                address: format!("a{n}"),
                drives: vec![(Uuid([n as u8; 16]), 1 << 30)],
            })
            .collect(),
    })
    .unwrap()
}

fn settled(_: ShardId) -> Standing {
    Standing::Settled
}

/// Moves until there is nothing to do; every move changes one shard, and by one host unless the number of replicas
/// changes.
fn settle(map: &mut ClusterMap) -> Result<usize, TestCaseError> {
    for moves in 0..10_000 {
        let Some(next) = next_move(map, &settled) else { return Ok(moves) };
        let before = &map.shards[usize::from(next.shard.0)].replicas;
        let fresh = next.replicas.iter().filter(|host| !before.contains(host)).count();
        let grown = next.replicas.len().saturating_sub(before.len());
        prop_assert!(fresh <= grown.max(1), "{before:?} to {:?}", next.replicas);
        prop_assert_ne!(before, &next.replicas);
        next.apply(map);
        check(map)?;
    }
    Err(TestCaseError::fail("moves for ever"))
}

fn check(map: &ClusterMap) -> Result<(), TestCaseError> {
    for shard in &map.shards {
        let distinct: BTreeSet<_> = shard.replicas.iter().collect();
        prop_assert!(!shard.replicas.is_empty() && distinct.len() == shard.replicas.len(), "{shard:?}");
        prop_assert!(shard.replicas.iter().all(|host| map.host(*host).is_some()), "{shard:?}");
    }
    Ok(())
}

fn check_even(map: &ClusterMap) -> Result<(), TestCaseError> {
    let loads = Loads::of(map);
    let count = replica_count(loads.replicas.len(), map.geometry);
    for shard in &map.shards {
        prop_assert_eq!(shard.replicas.len(), count);
        prop_assert!(shard.replicas.iter().all(|host| !map.host(*host).unwrap().draining), "{:?}", shard);
    }
    let (least, most) = (loads.replicas.values().min().unwrap(), loads.replicas.values().max().unwrap());
    prop_assert!(most - least <= 1, "{:?}", loads.replicas);
    for shard in &map.shards {
        let leads = shard.replicas.iter().map(|host| loads.leads[host]);
        prop_assert!(loads.leads[&shard.replicas[0]] <= leads.min().unwrap() + 1, "{:?}", loads.leads);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_formed_cluster_is_even_and_nothing_moves(hosts in 3u32..12, shards in 1u16..70, parity in 0u8..3) {
        let map = formed(hosts, shards, parity);
        prop_assert_eq!(next_move(&map, &settled), None);
        check_even(&map)?;
    }

    #[test]
    fn hosts_that_join_and_are_drained_end_in_an_even_spread(
        hosts in 4u32..9, shards in 1u16..40, parity in 0u8..3,
        steps in proptest::collection::vec((0u8..3, 0usize..16), 1..8)
    ) {
        let mut map = formed(hosts, shards, parity);
        for (what, which) in steps {
            let at = which % map.hosts.len();
            match what {
                0 => {
                    let id = HostId(map.hosts.len() as u32 + 1);
                    let like = map.hosts[0].clone();
                    map.hosts.push(HostEntry { id, name: format!("h{id}"), draining: false, state: HostState::Up, ..like });
                }
                1 if map.hosts.iter().filter(|host| !host.draining).count() > 1 => map.hosts[at].draining = true,
                _ => map.hosts[at].draining = false,
            }
            settle(&mut map)?;
            check_even(&map)?;
        }
    }

    #[test]
    fn a_host_that_joins_gets_its_share_and_no_more_moves_than_that(hosts in 3u32..12, shards in 1u16..70) {
        let mut map = formed(hosts, shards, 1);
        let like = map.hosts[0].clone();
        map.hosts.push(HostEntry { id: HostId(hosts + 1), name: "new".into(), ..like });
        let before = map.clone();
        settle(&mut map)?;
        let moved: usize = before.shards.iter().zip(&map.shards)
            .map(|(old, new)| new.replicas.iter().filter(|host| !old.replicas.contains(host)).count()).sum();
        let share = usize::from(shards) * 3 / (hosts as usize + 1);
        prop_assert!((share..=share + 1).contains(&moved), "{moved} replicas moved for a share of {share}");
    }
}

#[test]
fn nothing_moves_to_hosts_that_are_down_and_a_shard_never_gets_fewer_replicas_for_it() {
    let mut map = formed(5, 4, 2);
    map.hosts[1].state = HostState::Down;
    assert_eq!(next_move(&map, &settled), None, "it may come back");
    map.hosts[0].draining = true;
    // Four serve, one of them down: three replicas each are what four hosts carry.
    while let Some(next) = next_move(&map, &settled) {
        let before = map.shards[usize::from(next.shard.0)].replicas.clone();
        assert!(next.replicas.iter().all(|host| before.contains(host)), "{next:?}");
        next.apply(&mut map);
    }
    for shard in &map.shards {
        assert!(shard.replicas.len() == 3 && !shard.replicas.contains(&HostId(1)), "{shard:?}");
    }
}

#[test]
fn groups_that_are_on_their_way_are_let_be() {
    let mut map = formed(4, 2, 1);
    map.hosts[0].draining = true;
    let moving = |shard: ShardId| Standing::Moving { members: map.shards[usize::from(shard.0)].replicas.clone() };
    assert_eq!(next_move(&map, &moving), None);
    let unknown = |_: ShardId| Standing::Moving { members: Vec::new() };
    assert_eq!(next_move(&map, &unknown), None);
}

#[test]
fn a_host_that_dies_before_it_has_the_state_is_replaced() {
    let mut map = formed(5, 1, 1);
    let replicas = map.shards[0].replicas.clone();
    let outside: Vec<HostId> = map.hosts.iter().map(|h| h.id).filter(|host| !replicas.contains(host)).collect();
    // Half way from replicas[0] to outside[0], which then dies.
    map.shards[0].replicas[0] = outside[0];
    map.hosts.iter_mut().find(|host| host.id == outside[0]).unwrap().state = HostState::Down;
    let members = replicas.clone();
    let next = next_move(&map, &|_| Standing::Moving { members: members.clone() }).unwrap();
    assert!(!next.replicas.contains(&outside[0]) && next.replicas.len() == 3, "{next:?}");
    // A member that dies is waited for.
    map.shards[0].replicas = replicas.clone();
    map.hosts.iter_mut().find(|host| host.id == replicas[1]).unwrap().state = HostState::Down;
    assert_eq!(next_move(&map, &|_| Standing::Moving { members: members.clone() }), None);
}
