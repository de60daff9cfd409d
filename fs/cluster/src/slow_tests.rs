use forebay_types::{Geometry, Uuid};
use forebay_wire::cluster::{Formation, FormingHost};
use proptest::prelude::*;

use super::*;

fn formed(hosts: u32) -> ClusterMap {
    crate::form(&Formation {
        name: "t".into(),
        cluster: Uuid([1; 16]),
        geometry: Geometry { data: 1, parity: 1 },
        shards: 2,
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

struct World {
    map: ClusterMap,
    detector: Detector,
    now_ms: u64,
}

impl World {
    fn new(hosts: u32) -> Self {
        let map = formed(hosts);
        Self { detector: Detector::new(&map), map, now_ms: 0 }
    }

    /// Half a second in which everybody says what was measured: by host, its flushes and how long it takes to answer.
    fn pass(&mut self, times: &[(u32, u32)]) -> bool {
        self.now_ms += 500;
        for (n, (flush, _)) in times.iter().enumerate() {
            let host = HostId(n as u32 + 1);
            let about = times.iter().zip(1..).map(|((_, answer), other)| (HostId(other), *answer));
            let answers = about.filter(|(other, _)| *other != host).collect();
            self.detector.note(host, *flush, answers);
        }
        self.detector.judge(self.now_ms, &mut self.map)
    }

    fn slow(&self) -> Vec<u32> {
        self.map.hosts.iter().filter(|host| host.slow).map(|host| host.id.0).collect()
    }
}

const USUAL: (u32, u32) = (4_000, 1_000);

#[test]
fn a_host_that_stays_slow_is_called_so_once_and_well_again_once() {
    for slow in [(400_000, 1_000), (4_000, 90_000), (0, 90_000)] {
        let mut world = World::new(4);
        let sick = [USUAL, USUAL, slow, USUAL];
        assert_eq!((0..9).filter(|_| world.pass(&sick)).count(), 0, "a hiccup is no illness");
        assert_eq!((0..100).filter(|_| world.pass(&sick)).count(), 1);
        assert_eq!(world.slow(), [3]);
        assert_eq!((0..55).filter(|_| world.pass(&[USUAL; 4])).count(), 0);
        assert_eq!((0..100).filter(|_| world.pass(&[USUAL; 4])).count(), 1);
        assert!(world.slow().is_empty());
    }
}

#[test]
fn what_is_neither_slow_nor_well_changes_nothing() {
    let mut world = World::new(4);
    for _ in 0..20 {
        world.pass(&[USUAL, (400_000, 1_000), USUAL, USUAL]);
    }
    assert_eq!(world.slow(), [2]);
    // Three times the others' time, or no time at all: still thought slow.
    for (others, mine) in [(20_000, 60_000), (4_000, 0)] {
        let times = [(others, 1_000), (mine, 1_000), (others, 1_000), (others, 1_000)];
        assert_eq!((0..200).filter(|_| world.pass(&times)).count(), 0);
    }
    // The next leader of the cluster group thinks so too.
    world.detector = Detector::new(&world.map);
    assert!(!world.pass(&[USUAL, (0, 0), USUAL, USUAL]));
    assert_eq!(world.slow(), [2]);
}

#[test]
fn a_host_that_sees_everybody_slow_is_the_slow_one() {
    let mut world = World::new(4);
    for _ in 0..100 {
        world.now_ms += 500;
        for host in 1..=4 {
            // Host 1 is slow: the others wait for it, and it, stopped half of the time, for everybody.
            let about = |other| if host == 1 || other == 1 { 100_000 } else { 1_000 };
            let answers = (1..=4).filter(|other| *other != host).map(|other| (HostId(other), about(other))).collect();
            world.detector.note(HostId(host), 0, answers);
        }
        world.detector.judge(world.now_ms, &mut world.map);
    }
    assert_eq!(world.slow(), [1]);
}

proptest! {
    #[test]
    fn steady_times_change_an_opinion_once_and_most_hosts_are_never_slow(
        times in proptest::collection::vec((0u32..2_000_000, 1u32..2_000_000), 2..9)
    ) {
        let mut world = World::new(times.len() as u32);
        let changes = (0..300).filter(|_| world.pass(&times)).count();
        prop_assert!(changes <= 1, "{changes}");
        prop_assert!(world.slow().len() * 2 <= times.len());
    }

    #[test]
    fn times_that_differ_by_less_than_the_factor_make_nobody_slow(
        base in 1u32..400_000, rounds in proptest::collection::vec(proptest::collection::vec(100u32..499, 5), 60)
    ) {
        let mut world = World::new(5);
        for round in rounds {
            let times: Vec<_> = round.into_iter().map(|part| (base / 100 * part + 1, base / 100 * part + 1)).collect();
            prop_assert!(!world.pass(&times));
        }
    }

    #[test]
    fn an_opinion_changes_no_more_often_than_it_may(
        rounds in proptest::collection::vec(proptest::collection::vec((0u32..2_000_000, 1u32..2_000_000), 4), 400)
    ) {
        let mut world = World::new(4);
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for times in rounds {
            let before = world.slow();
            world.pass(&times);
            let after = world.slow();
            for host in 1..=4 {
                if before.contains(&host) != after.contains(&host) {
                    let wait = if after.contains(&host) { SLOW_AFTER_MS } else { WELL_AFTER_MS };
                    prop_assert!(last.get(&host).is_none_or(|at| world.now_ms - at >= wait));
                    last.insert(host, world.now_ms);
                }
            }
            prop_assert!(after.len() <= 2);
        }
    }
}
