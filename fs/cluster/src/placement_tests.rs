use forebay_types::Uuid;
use forebay_wire::cluster::{Formation, FormingHost};
use forebay_wire::map::HostState;
use proptest::prelude::*;

use super::*;

fn formed(hosts: usize, drives: usize, geometry: Geometry) -> ClusterMap {
    crate::form(&Formation {
        name: "t".into(),
        cluster: Uuid([1; 16]),
        geometry,
        shards: 8,
        hosts: (0..hosts)
            .map(|h| FormingHost {
                name: format!("h{h}"),
                address: format!("a{h}"),
                drives: (0..drives).map(|d| (Uuid([(h * 9 + d) as u8; 16]), 1 << 30)).collect(),
            })
            .collect(),
    })
    .unwrap()
}

fn check(map: &ClusterMap) {
    for group in &map.groups {
        assert_eq!(group.drives.len(), group.geometry.width());
        let mut hosts: Vec<_> = group.drives.iter().map(|&d| map.drive(d).unwrap().host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), group.drives.len(), "two chunks in one host: {group:?}");
        if group.writable {
            assert!(group.drives.iter().all(|&d| map.drive_is_up(d)), "writable but down: {group:?}");
        }
    }
    let ids: std::collections::BTreeSet<_> = map.groups.iter().map(|g| g.id).collect();
    assert_eq!(ids.len(), map.groups.len());
}

proptest! {
    #[test]
    fn groups_stay_sound_while_hosts_come_and_go(
        hosts in 1usize..12, drives in 1usize..4, k in 1u8..6, m in 0u8..3, flips in proptest::collection::vec(0usize..12, 0..20)
    ) {
        let geometry = Geometry { data: k, parity: m };
        prop_assume!(hosts >= geometry.width());
        let mut map = formed(hosts, drives, geometry);
        check(&map);
        for flip in flips {
            let host = &mut map.hosts[flip % hosts];
            host.state = if host.state == HostState::Up { HostState::Down } else { HostState::Up };
            let before = map.groups.clone();
            regroup(&mut map);
            check(&map);
            for (old, new) in before.iter().zip(&map.groups) {
                prop_assert_eq!((old.id, old.geometry, &old.drives), (new.id, new.geometry, &new.drives));
            }
            let up = map.hosts.iter().filter(|h| h.state == HostState::Up).count();
            prop_assert_eq!(map.groups.iter().any(|g| g.writable), geometry_for(geometry, up).is_some());
        }
    }

    #[test]
    fn load_is_even(hosts in 6usize..16, drives in 1usize..4) {
        let map = formed(hosts, drives, Geometry { data: 4, parity: 2 });
        let mut load: BTreeMap<DriveId, usize> = map.drives.iter().map(|d| (d.id, 0)).collect();
        map.groups.iter().flat_map(|g| &g.drives).for_each(|d| *load.get_mut(d).unwrap() += 1);
        let (least, most) = (load.values().min().unwrap(), load.values().max().unwrap());
        prop_assert!(most - least <= 2, "{load:?}");
    }
}

#[test]
fn two_of_six_hosts_down_still_writes_with_full_parity() {
    let full = Geometry { data: 4, parity: 2 };
    assert_eq!(geometry_for(full, 6), Some(full));
    assert_eq!(geometry_for(full, 5), Some(Geometry { data: 3, parity: 2 }));
    assert_eq!(geometry_for(full, 4), Some(Geometry { data: 2, parity: 2 }));
    assert_eq!(geometry_for(full, 2), Some(Geometry { data: 1, parity: 1 }));
    assert_eq!(geometry_for(full, 1), None);
    assert_eq!(geometry_for(Geometry { data: 1, parity: 0 }, 1), Some(Geometry { data: 1, parity: 0 }));
}

#[test]
fn hosts_that_return_bring_their_groups_back() {
    let mut map = formed(6, 1, Geometry { data: 4, parity: 2 });
    let full = map.groups.len();
    map.hosts[0].state = HostState::Down;
    regroup(&mut map);
    let narrowed = map.groups.len();
    assert!(narrowed > full);
    map.hosts[0].state = HostState::Up;
    regroup(&mut map);
    assert!(map.groups[..full].iter().all(|g| g.writable) && map.groups[full..].iter().all(|g| !g.writable));
    map.hosts[0].state = HostState::Down;
    regroup(&mut map);
    assert_eq!(map.groups.len(), narrowed, "the same groups serve again");
}

#[test]
fn a_host_that_joins_is_written_to_like_the_others_and_the_old_groups_rest() {
    let mut map = formed(6, 2, Geometry { data: 4, parity: 2 });
    let old = map.groups.len();
    let like = map.hosts[0].clone();
    map.hosts.push(forebay_wire::map::HostEntry { id: HostId(7), state: HostState::Down, ..like });
    for drive in [13, 14] {
        let like = map.drives[0].clone();
        map.drives.push(forebay_wire::map::DriveEntry { id: DriveId(drive), host: HostId(7), ..like });
    }
    assert!(!regroup(&mut map), "it has not been heard of");
    map.hosts[6].state = HostState::Up;
    assert!(regroup(&mut map));
    check(&map);
    assert!(map.groups.iter().enumerate().all(|(n, group)| group.writable == (n >= old)));
    let on = |host: u32| {
        let mine = |drive: &DriveId| map.drive(*drive).unwrap().host == HostId(host);
        map.groups.iter().filter(|group| group.writable && group.drives.iter().any(mine)).count()
    };
    assert_eq!((1..=7).map(on).collect::<Vec<_>>(), [24; 7]);
    // While it is away the groups of before serve, all of them; then the new ones again.
    map.hosts[6].state = HostState::Down;
    regroup(&mut map);
    assert!(map.groups.iter().enumerate().all(|(n, group)| group.writable == (n < old)));
    map.hosts[6].state = HostState::Up;
    let count = map.groups.len();
    regroup(&mut map);
    assert_eq!(map.groups.len(), count);
    assert!(map.groups.iter().enumerate().all(|(n, group)| group.writable == (n >= old)));
}

#[test]
fn a_host_that_is_drained_is_written_to_no_more() {
    let mut map = formed(7, 1, Geometry { data: 4, parity: 2 });
    map.hosts[2].draining = true;
    assert!(regroup(&mut map));
    check(&map);
    let writable: Vec<_> = map.groups.iter().filter(|group| group.writable).collect();
    assert!(!writable.is_empty() && writable.iter().all(|group| !group.drives.contains(&DriveId(3))));
    assert!(writable.iter().all(|group| group.geometry == Geometry { data: 4, parity: 2 }));
}

#[test]
fn every_drive_is_in_a_group_also_of_hosts_with_many() {
    let map = formed(6, 9, Geometry { data: 4, parity: 2 });
    let named: BTreeSet<_> = map.groups.iter().flat_map(|group| &group.drives).collect();
    assert_eq!(named.len(), map.drives.len());
    let wide = formed(3, 27, Geometry { data: 1, parity: 1 });
    let mut load: BTreeMap<DriveId, usize> = wide.drives.iter().map(|d| (d.id, 0)).collect();
    wide.groups.iter().flat_map(|g| &g.drives).for_each(|d| *load.get_mut(d).unwrap() += 1);
    assert!(load.values().all(|groups| *groups >= GROUPS_PER_DRIVE), "{load:?}");
}
