use std::collections::{BTreeMap, BTreeSet};

use forebay_types::Uuid;
use proptest::prelude::*;

use super::*;

fn formation(hosts: usize, geometry: Geometry, shards: u16) -> Formation {
    let host = |n: usize| FormingHost {
        name: format!("h{n}"),
        address: format!("10.0.0.{n}:7440"),
        drives: vec![(Uuid([n as u8; 16]), 1 << 30)],
    };
    Formation { name: "t".into(), cluster: Uuid([1; 16]), geometry, shards, hosts: (0..hosts).map(host).collect() }
}

/// How often each host is at a place of shards' lists.
fn at_place(map: &ClusterMap, place: usize, of: impl Fn(&ShardEntry) -> bool) -> BTreeMap<HostId, usize> {
    let mut count: BTreeMap<HostId, usize> = map.hosts.iter().map(|host| (host.id, 0)).collect();
    for shard in map.shards.iter().filter(|shard| of(shard)) {
        shard.replicas.get(place).into_iter().for_each(|host| *count.get_mut(host).unwrap() += 1);
    }
    count
}

fn is_even(counts: impl Iterator<Item = usize> + Clone) -> bool {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0) <= 1
}

#[test]
fn five_of_six_hosts_for_four_and_two_and_fewer_where_there_are_fewer() {
    let code = |data, parity| Geometry { data, parity };
    assert_eq!(replica_count(6, code(4, 2)), 5);
    assert_eq!(replica_count(12, code(4, 2)), 5);
    assert_eq!(replica_count(3, code(2, 1)), 3);
    assert_eq!(replica_count(4, code(1, 2)), 3, "an even number would outvote nobody more");
    assert_eq!(replica_count(3, code(1, 2)), 3);
    assert_eq!(replica_count(2, code(1, 1)), 1);
    assert_eq!(replica_count(1, code(1, 0)), 1);
    let map = form(&formation(6, code(4, 2), 3)).unwrap();
    let ids = |all: &[u32]| all.iter().copied().map(HostId).collect::<Vec<_>>();
    assert_eq!(map.shards[0].replicas, ids(&[1, 2, 3, 4, 5]));
    assert_eq!(map.shards[1].replicas, ids(&[2, 3, 4, 5, 6]));
}

#[test]
fn numbers_of_shards_that_make_no_sense_are_refused() {
    let code = Geometry { data: 2, parity: 1 };
    for shards in [0, limits::MAX_SHARDS + 1] {
        let refused = form(&formation(3, code, shards)).unwrap_err().to_string();
        assert!(refused.contains(&format!("{shards} metadata shards")), "{refused}");
    }
    assert_eq!(form(&formation(3, code, limits::MAX_SHARDS)).unwrap().shards.len(), usize::from(limits::MAX_SHARDS));
}

proptest! {
    #[test]
    fn a_shard_s_replicas_outlive_as_many_hosts_as_its_stripes_do(
        hosts in 1_usize..14, data in 1_u8..6, parity in 0_u8..4, shards in 1_u16..200
    ) {
        let geometry = Geometry { data, parity };
        prop_assume!(hosts >= geometry.width());
        let map = form(&formation(hosts, geometry, shards)).unwrap();
        let wanted = 2 * usize::from(parity) + 1;
        for (n, shard) in (0..).zip(&map.shards) {
            prop_assert_eq!(shard.id, ShardId(n));
            let distinct: BTreeSet<HostId> = shard.replicas.iter().copied().collect();
            prop_assert_eq!(distinct.len(), shard.replicas.len(), "two replicas on one host: {:?}", shard);
            prop_assert!(distinct.iter().all(|host| map.host(*host).is_some()), "no such host: {:?}", shard);
            prop_assert!(distinct.len() == wanted || hosts < wanted, "{} for {geometry}", distinct.len());
            // On fewer hosts: all but at most one, and an odd number.
            prop_assert!(distinct.len() + 1 >= hosts.min(wanted) && distinct.len() % 2 == 1, "{:?}", shard);
        }
    }

    #[test]
    fn every_host_leads_about_as_many_shards_and_leaves_them_to_all_others(
        hosts in 1_usize..14, data in 1_u8..4, parity in 1_u8..3, shards in 1_u16..400
    ) {
        let geometry = Geometry { data, parity };
        prop_assume!(hosts >= geometry.width());
        let map = form(&formation(hosts, geometry, shards)).unwrap();
        let leaders = at_place(&map, 0, |_| true);
        prop_assert!(is_even(leaders.values().copied()), "{leaders:?}");
        if replica_count(hosts, geometry) == 1 {
            return Ok(());
        }
        for dead in map.hosts.iter().map(|host| host.id) {
            let next = at_place(&map, 1, |shard| shard.replicas[0] == dead);
            let others = next.iter().filter(|(host, _)| **host != dead).map(|(_, count)| *count);
            prop_assert!(is_even(others), "{dead} leaves its shards to {next:?}");
        }
    }
}
