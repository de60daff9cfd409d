use std::collections::BTreeMap;

use forebay_env::{Durability, MemoryKv};
use forebay_types::{Epoch, Geometry, Uuid};
use forebay_wire::chunk::DriveStats;
use forebay_wire::cluster::{AdminRequest, ClusterRequest, Formation, Heartbeat};
use proptest::prelude::*;

use super::*;

fn joining(n: u32) -> FormingHost {
    FormingHost {
        name: format!("s{n}"),
        address: format!("10.0.0.{n}:7"),
        drives: vec![(Uuid([n as u8; 16]), 1 << 30)],
    }
}

/// A group as its leader sees it.
#[derive(Clone, Debug)]
struct Members {
    leader: HostId,
    term: u64,
    applied: u64,
    voters: Vec<HostId>,
    learners: Vec<HostId>,
}

/// The cluster core, groups that follow what it says one member at a time, and hosts that say how they stand.
struct World {
    kv: MemoryKv,
    cluster: Cluster,
    now_ms: u64,
    groups: Vec<Members>,
    /// Replicas on hosts, members or not.
    on: BTreeMap<HostId, BTreeSet<ShardId>>,
    dead: BTreeSet<HostId>,
    chunks: BTreeMap<HostId, u64>,
    asked: u64,
    /// A host that has not heard of any change of members since.
    behind: Option<(HostId, Vec<Members>)>,
}

impl World {
    fn new(hosts: u32, shards: u16, geometry: Geometry) -> Self {
        let map = crate::form(&Formation {
            name: "t".into(),
            cluster: Uuid([1; 16]),
            geometry,
            shards,
            hosts: (1..=hosts).map(joining).collect(),
        })
        .unwrap();
        let kv = MemoryKv::new();
        kv.write(Cluster::first_batch(&map), Durability::Flushed).unwrap();
        let cluster = Cluster::load(0, &kv).unwrap().unwrap();
        let group = |voters: &Vec<HostId>| Members {
            leader: voters[0],
            term: 6,
            applied: 6,
            voters: voters.clone(),
            learners: Vec::new(),
        };
        let groups: Vec<Members> = map.shards.iter().map(|shard| group(&shard.replicas)).collect();
        let mut on: BTreeMap<HostId, BTreeSet<ShardId>> = BTreeMap::new();
        for shard in &map.shards {
            for host in &shard.replicas {
                on.entry(*host).or_default().insert(shard.id);
            }
        }
        let (dead, chunks) = (BTreeSet::new(), BTreeMap::new());
        Self { kv, cluster, now_ms: 0, groups, on, dead, chunks, asked: 0, behind: None }
    }

    fn ask(&mut self, request: AdminRequest) -> ClusterReply {
        self.asked += 1;
        let id = Uuid(u128::from(self.asked).to_be_bytes());
        self.send(ClusterRequest::Admin { id, request })
    }

    fn send(&mut self, request: ClusterRequest) -> ClusterReply {
        let outcome = self.cluster.handle(self.now_ms, request, true);
        self.kv.write(outcome.stores, Durability::Flushed).unwrap();
        outcome.reply
    }

    fn drain(&mut self, n: u32, drain: bool) -> ClusterReply {
        self.ask(AdminRequest::DrainHost { name: format!("s{n}"), drain })
    }

    fn remove(&mut self, n: u32, force: bool) -> ClusterReply {
        self.ask(AdminRequest::RemoveHost { name: format!("s{n}"), force })
    }

    fn refused(&mut self, n: u32, force: bool) -> String {
        match self.remove(n, force) {
            ClusterReply::Error(error) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Half a second: every living host sends a sign of life, the core takes a step, every group that has a majority
    /// takes one towards what the map says.
    fn pass(&mut self) {
        self.now_ms += 500;
        let hosts: Vec<HostId> = self.cluster.map.hosts.iter().map(|host| host.id).collect();
        for host in hosts.into_iter().filter(|host| !self.dead.contains(host)).collect::<Vec<_>>() {
            self.beat(host);
        }
        let stores = self.cluster.tick(self.now_ms);
        self.kv.write(stores, Durability::Flushed).unwrap();
        for shard in 0..self.groups.len() {
            self.step(shard);
        }
        self.check();
    }

    fn beat(&mut self, host: HostId) {
        let drive = |entry: &DriveEntry| DriveStats {
            drive: entry.id,
            capacity_bytes: 1,
            live_bytes: 0,
            free_bytes: 1,
            chunks: self.chunks.get(&host).copied().unwrap_or(0),
            corrupt_chunks: 0,
            cleaned_bytes: 0,
            written_bytes: 0,
            flushes: 0,
            failure: String::new(),
        };
        let drives = self.cluster.map.drives.iter().filter(|entry| entry.host == host).map(drive).collect();
        let replicas = self.on.get(&host).into_iter().flatten().map(|shard| {
            let group = match &self.behind {
                Some((behind, before)) if *behind == host => &before[usize::from(shard.0)],
                _ => &self.groups[usize::from(shard.0)],
            };
            let leads = group.leader == host && self.has_majority(group);
            ReplicaStatus {
                shard: *shard,
                leads,
                term: group.term,
                applied: group.applied,
                last: group.applied,
                voters: group.voters.clone(),
                learners: group.learners.clone(),
            }
        });
        let replicas: Vec<ReplicaStatus> = replicas.collect();
        let (sessions, epoch, answers_us) = (Vec::new(), Epoch(1), Vec::new());
        let beat = Heartbeat { host, epoch, drives, sessions, replicas, flush_us: 0, answers_us };
        let ClusterReply::Heartbeat { unwanted, .. } = self.send(ClusterRequest::Heartbeat(beat)) else { panic!() };
        for UnwantedReplica { shard, .. } in unwanted {
            let group = &self.groups[usize::from(shard.0)];
            assert!(
                !group.voters.contains(&host) && !group.learners.contains(&host),
                "{host} is told to erase its replica of {shard}, whose members are {group:?}"
            );
            self.on.get_mut(&host).unwrap().remove(&shard);
        }
    }

    fn has_majority(&self, group: &Members) -> bool {
        group.voters.iter().filter(|host| !self.dead.contains(host)).count() * 2 > group.voters.len()
    }

    /// What consensus does, in the order in which it does.
    fn step(&mut self, shard: usize) {
        let wanted = self.cluster.map.shards[shard].replicas.clone();
        let mut group = self.groups[shard].clone();
        if !self.has_majority(&group) {
            return;
        }
        let dead = self.dead.clone();
        let alive = |host: &HostId| !dead.contains(host);
        group.applied += 1;
        let able = |group: &Members, host: &HostId| alive(host) && group.voters.contains(host);
        if !able(&group, &group.leader) || !wanted.contains(&group.leader) {
            let next = wanted.iter().chain(&group.voters).find(|host| able(&group, host)).copied().unwrap();
            (group.leader, group.term) = (next, group.term + u64::from(next != group.leader));
        }
        if let Some(at) = group.learners.iter().position(|host| !wanted.contains(host)) {
            group.learners.remove(at);
        } else if let Some(host) =
            wanted.iter().find(|host| !group.voters.contains(host) && !group.learners.contains(host))
        {
            group.learners.push(*host);
            if alive(host) {
                self.on.entry(*host).or_default().insert(ShardId(shard as u16));
            }
        } else if !group.learners.is_empty() {
            if let Some(at) = group.learners.iter().position(alive) {
                group.voters.push(group.learners.remove(at));
            }
        } else if let Some(at) = group.voters.iter().position(|host| !wanted.contains(host) && *host != group.leader) {
            group.voters.remove(at);
        }
        self.groups[shard] = group;
    }

    fn moving(&self) -> usize {
        let differs = |(group, shard): &(&Members, &forebay_wire::map::ShardEntry)| {
            let voters: BTreeSet<_> = group.voters.iter().collect();
            !group.learners.is_empty() || voters != shard.replicas.iter().collect()
        };
        self.groups.iter().zip(&self.cluster.map.shards).filter(differs).count()
    }

    /// What holds at every step.
    fn check(&self) {
        let map = &self.cluster.map;
        assert!(self.moving() <= MOVES_AT_ONCE, "{} groups move at once", self.moving());
        for group in map.groups.iter().filter(|group| group.writable) {
            assert!(group.drives.iter().all(|drive| map.drive_takes_new(*drive)), "{group:?}");
        }
        for group in &self.groups {
            for host in &group.voters {
                assert!(map.host(*host).is_some(), "{host} has a vote and is not in the map");
            }
        }
    }

    /// Passes time until nothing changes any more.
    fn settle(&mut self) {
        let mut still = 0;
        for _ in 0..4_000 {
            let before = (self.cluster.map.epoch, self.moving());
            self.pass();
            still = if before == (self.cluster.map.epoch, 0) && self.moving() == 0 { still + 1 } else { 0 };
            if still > 4 {
                return;
            }
        }
        panic!("never comes to rest: {:?} {:?}", self.cluster.map.shards, self.groups);
    }

    fn replicas_on(&self, n: u32) -> usize {
        self.groups.iter().filter(|group| group.voters.contains(&HostId(n))).count()
    }

    fn restart(&mut self) {
        self.kv.crash(0);
        self.cluster = Cluster::load(self.now_ms, &self.kv).unwrap().unwrap();
    }
}

const CODE: Geometry = Geometry { data: 4, parity: 2 };
const MIRROR: Geometry = Geometry { data: 1, parity: 1 };

#[test]
fn a_host_that_joins_gets_its_share_of_everything() {
    let mut world = World::new(6, 14, CODE);
    world.settle();
    let epoch = world.cluster.map.epoch;
    assert_eq!(epoch, Epoch(1), "a new cluster has nothing to do");
    let added = world.ask(AdminRequest::AddHost(joining(7)));
    assert!(matches!(added, ClusterReply::Host { host: HostId(7), .. }), "{added:?}");
    world.dead.insert(HostId(7));
    world.settle();
    assert_eq!(world.replicas_on(7), 0, "it has not been heard of yet");
    let wide = |world: &World| {
        let on = world.cluster.groups_on(HostId(7)).filter(|group| group.writable).count();
        (on, world.cluster.map.groups.iter().filter(|group| group.writable).count())
    };
    assert_eq!(wide(&world).0, 0);
    world.dead.clear();
    world.settle();
    assert_eq!(world.replicas_on(7), 10);
    assert_eq!(wide(&world), (24, 28), "six of every seven groups");
    // Asked again, by another administrator, nothing happens.
    let (again, epoch) = (world.ask(AdminRequest::AddHost(joining(7))), world.cluster.map.epoch);
    assert_eq!(again, ClusterReply::Host { host: HostId(7), epoch });
    world.settle();
    assert_eq!(world.cluster.map.epoch, epoch);
}

#[test]
fn a_drained_host_loses_its_replicas_and_gets_nothing_new_but_is_read() {
    let mut world = World::new(7, 8, CODE);
    assert!(matches!(world.drain(2, true), ClusterReply::Done { .. }));
    assert!(world.refused(2, true).contains("still to be moved"));
    world.settle();
    assert_eq!(world.replicas_on(2), 0);
    assert!(world.on[&HostId(2)].is_empty(), "erased");
    let map = &world.cluster.map;
    assert!(world.cluster.groups_on(HostId(2)).all(|group| !group.writable));
    assert!(map.groups.iter().any(|group| group.writable && group.geometry == CODE));
    assert!(map.drive_is_up(DriveId(2)), "what it has is read");
    // It may change its mind.
    world.drain(2, false);
    world.settle();
    assert!(world.replicas_on(2) >= 5);
}

#[test]
fn a_replica_stays_until_every_member_that_is_up_knows_that_it_has_gone() {
    let mut world = World::new(4, 1, MIRROR);
    world.pass();
    let voters = world.groups[0].voters.clone();
    let (leaves, behind) = (voters[1], voters[2]);
    world.behind = Some((behind, world.groups.clone()));
    world.drain(leaves.0, true);
    for _ in 0..20 {
        world.pass();
    }
    assert!(!world.groups[0].voters.contains(&leaves));
    assert_eq!(world.on[&leaves].len(), 1);
    assert!(world.refused(leaves.0, true).contains("still count it"));
    // One that is down is not waited for.
    world.dead.insert(behind);
    for _ in 0..10 {
        world.pass();
    }
    assert!(world.on[&leaves].is_empty());
}

#[test]
fn a_host_is_removed_only_when_nothing_is_on_it() {
    let mut world = World::new(7, 8, CODE);
    world.pass();
    world.chunks.insert(HostId(3), 12);
    assert!(world.refused(3, false).contains("host drain"));
    world.drain(3, true);
    world.settle();
    let said = world.refused(3, false);
    assert!(said.contains("12 chunks") && said.contains("--force"), "{said}");
    world.chunks.clear();
    world.pass();
    assert!(matches!(world.remove(3, false), ClusterReply::Done { .. }));
    assert!(world.cluster.map.host(HostId(3)).is_none() && world.cluster.map.drive(DriveId(3)).is_none());
    assert!(matches!(world.remove(3, false), ClusterReply::Error(ClusterError::NotFound { .. })));
    let beat = Heartbeat {
        host: HostId(3),
        epoch: Epoch(1),
        drives: vec![],
        sessions: vec![],
        replicas: vec![],
        flush_us: 0,
        answers_us: vec![],
    };
    let answer = world.send(ClusterRequest::Heartbeat(beat));
    assert_eq!(answer, ClusterReply::Error(ClusterError::Removed { host: HostId(3) }));
    // Its ids are gone for good, also for the next leader.
    world.restart();
    let ClusterReply::Host { host, .. } = world.ask(AdminRequest::AddHost(joining(3))) else { panic!() };
    assert_eq!(host, HostId(8));
    assert_eq!(world.cluster.map.drives.last().unwrap().id, DriveId(8));
}

#[test]
fn force_gives_up_a_dead_host_once_while_every_byte_can_be_had_without_it() {
    let mut world = World::new(7, 8, CODE);
    world.pass();
    world.dead.insert(HostId(5));
    world.chunks = (1..=7).map(|n| (HostId(n), 100)).collect();
    for _ in 0..10 {
        world.pass();
    }
    world.drain(5, true);
    world.settle();
    assert!(world.refused(5, false).contains("not known"));
    // Another one is away for a moment: together they may hold too much.
    world.dead.insert(HostId(6));
    for _ in 0..10 {
        world.pass();
    }
    assert!(world.refused(5, true).contains("is missing"));
    world.dead.remove(&HostId(6));
    world.pass();
    assert!(matches!(world.remove(5, true), ClusterReply::Done { .. }));
    world.drain(6, true);
    world.settle();
    let said = world.refused(6, true);
    assert!(said.contains("drive 5") || said.contains("in common"), "{said}");
}

#[test]
fn stripes_without_parity_are_never_given_up() {
    let mut world = World::new(3, 2, Geometry { data: 1, parity: 0 });
    world.pass();
    world.chunks.insert(HostId(1), 1);
    world.drain(1, true);
    world.settle();
    assert!(world.refused(1, true).contains("no parity"));
}

#[test]
fn draining_leaves_enough_hosts_to_write_to() {
    let mut world = World::new(3, 2, MIRROR);
    assert!(matches!(world.drain(1, true), ClusterReply::Done { .. }));
    let ClusterReply::Error(error) = world.drain(2, true) else { panic!("one host cannot hold a mirror") };
    assert!(error.to_string().contains("too few"), "{error}");
}

#[test]
fn hosts_that_cannot_join_are_refused_by_name() {
    let mut world = World::new(3, 2, MIRROR);
    let mut text = |host: FormingHost| match world.ask(AdminRequest::AddHost(host)) {
        ClusterReply::Error(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text(FormingHost { name: "s1".into(), ..joining(9) }).contains("exists already"));
    assert!(text(FormingHost { address: "10.0.0.2:7".into(), ..joining(9) }).contains("host s2"));
    assert!(text(FormingHost { drives: joining(3).drives, ..joining(9) }).contains("already"));
    assert!(text(FormingHost { drives: vec![], ..joining(9) }).contains("--drive"));
    assert!(text(FormingHost { name: "a b".into(), ..joining(9) }).contains("letters"));
}

/// The first answer was lost with the leader that gave it.
#[test]
fn a_request_asked_again_of_the_next_leader_has_the_first_answer() {
    let mut world = World::new(3, 2, MIRROR);
    let id = Uuid([9; 16]);
    let create = |id| ClusterRequest::Admin { id, request: AdminRequest::CreateFs { name: "scratch".into() } };
    let first = world.send(create(id));
    assert!(matches!(first, ClusterReply::Filesystem { .. }), "{first:?}");
    world.restart();
    assert_eq!(world.send(create(id)), first);
    let other = world.send(create(Uuid([8; 16])));
    assert!(matches!(other, ClusterReply::Error(ClusterError::Exists { .. })), "{other:?}");
    // A refusal changed nothing, and is not remembered.
    let open = |id| ClusterRequest::Admin { id, request: AdminRequest::DrainHost { name: "s4".into(), drain: true } };
    assert!(matches!(world.send(open(Uuid([7; 16]))), ClusterReply::Error(_)));
    world.ask(AdminRequest::AddHost(joining(4)));
    assert!(matches!(world.send(open(Uuid([7; 16]))), ClusterReply::Done { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Hosts join, are drained, die, come back and are removed, at any time; the core dies with its leader. Groups keep
    /// their majorities, few move at once, and at the end everything is where it should be.
    #[test]
    fn hosts_come_and_go_in_any_order(
        mirror in any::<bool>(), shards in 1u16..10,
        steps in proptest::collection::vec((0u8..8, 0usize..20, 0u32..12), 1..30)
    ) {
        let mut world = World::new(6, shards, if mirror { MIRROR } else { CODE });
        let mut next = 7;
        for (what, which, passes) in steps {
            let at = which % world.cluster.map.hosts.len();
            let entry = world.cluster.map.hosts[at].clone();
            match what {
                0 if world.cluster.map.hosts.len() < 10 => {
                    world.ask(AdminRequest::AddHost(joining(next)));
                    next += 1;
                }
                1 | 2 => drop(world.ask(AdminRequest::DrainHost { name: entry.name, drain: what == 1 })),
                3 if world.dead.is_empty() => drop(world.dead.insert(entry.id)),
                4 => world.dead.clear(),
                5 => drop(world.ask(AdminRequest::RemoveHost { name: entry.name, force: which % 2 == 0 })),
                6 => world.restart(),
                _ => {}
            }
            (0..passes).for_each(|_| world.pass());
        }
        world.dead.clear();
        world.settle();
        for (group, shard) in world.groups.iter().zip(&world.cluster.map.shards) {
            for host in &group.voters {
                prop_assert!(!world.cluster.map.host(*host).unwrap().draining, "{:?} {:?}", group, shard);
            }
        }
        let ids: BTreeSet<_> = world.cluster.map.drives.iter().map(|drive| drive.id).collect();
        prop_assert_eq!(ids.len(), world.cluster.map.drives.len());
    }
}
