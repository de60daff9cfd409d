use std::sync::atomic::{AtomicU64, Ordering};

use forebay_env::{Durability, MemoryKv};
use forebay_types::{Epoch, Geometry, SessionId, Uuid};
use forebay_wire::cluster::{Formation, FormingHost, TierCredentials};

use super::*;

fn formation(hosts: usize) -> Formation {
    Formation {
        name: "demo".into(),
        cluster: Uuid([1; 16]),
        geometry: Geometry { data: 4, parity: 2 },
        shards: 8,
        hosts: (0..hosts)
            .map(|n| FormingHost {
                name: format!("s{n}"),
                address: format!("10.0.0.{n}:7"),
                drives: vec![(Uuid([n as u8; 16]), 1 << 30)],
            })
            .collect(),
    }
}

struct World {
    kv: MemoryKv,
    cluster: Cluster,
}

impl World {
    fn new() -> Self {
        let kv = MemoryKv::new();
        kv.write(Cluster::first_batch(&crate::form(&formation(6)).unwrap()), Durability::Flushed).unwrap();
        let cluster = Cluster::load(0, &kv).unwrap().unwrap();
        Self { kv, cluster }
    }

    fn ask(&mut self, now_ms: u64, request: ClusterRequest) -> ClusterReply {
        let outcome = self.cluster.handle(now_ms, request, true);
        self.kv.write(outcome.stores, Durability::Flushed).unwrap();
        outcome.reply
    }

    fn beat(&mut self, now_ms: u64, hosts: std::ops::RangeInclusive<u32>) {
        for host in hosts {
            let drive = forebay_types::DriveId(host);
            let stats = DriveStats {
                drive,
                capacity_bytes: 1,
                live_bytes: 0,
                free_bytes: 1,
                chunks: 0,
                corrupt_chunks: 0,
                cleaned_bytes: 0,
                written_bytes: 0,
                flushes: 0,
                failure: String::new(),
            };
            let beat = Heartbeat {
                host: HostId(host),
                epoch: Epoch(1),
                drives: vec![stats],
                sessions: vec![],
                replicas: vec![],
                flush_us: 0,
                answers_us: vec![],
            };
            assert!(matches!(self.ask(now_ms, ClusterRequest::Heartbeat(beat)), ClusterReply::Heartbeat { .. }));
        }
    }

    fn restart(&mut self, now_ms: u64) {
        self.kv.crash(0);
        self.cluster = Cluster::load(now_ms, &self.kv).unwrap().unwrap();
    }
}

/// A request that was never made before.
fn admin(request: AdminRequest) -> ClusterRequest {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    ClusterRequest::Admin { id: Uuid(u128::from(number).to_be_bytes()), request }
}

fn fs(name: &str) -> ClusterRequest {
    admin(AdminRequest::CreateFs { name: name.into() })
}

#[test]
fn silent_hosts_go_down_and_come_back_with_a_new_epoch_each_time() {
    let mut world = World::new();
    let first = world.cluster.map().epoch;
    world.beat(2_000, 1..=4);
    assert!(world.cluster.tick(2_500).is_empty());
    let deadline = world.cluster.next_deadline().unwrap();
    assert_eq!(deadline, HOST_TIMEOUT_MS + 1);
    assert!(!world.cluster.tick(deadline).is_empty());
    assert_eq!(world.cluster.map().epoch, first.next());
    let writable: Vec<_> = world.cluster.map().groups.iter().filter(|g| g.writable).map(|g| g.geometry).collect();
    assert!(!writable.is_empty() && writable.iter().all(|g| *g == Geometry { data: 2, parity: 2 }));
    world.beat(deadline, 1..=6);
    assert!(world.cluster.map().hosts.iter().all(|host| host.state == HostState::Up));
}

#[test]
fn what_was_answered_survives_a_crash() {
    let mut world = World::new();
    assert!(matches!(world.ask(0, fs("scratch")), ClusterReply::Filesystem { .. }));
    let open = ClusterRequest::OpenSession { client: "n1".into(), fs: "scratch".into() };
    let ClusterReply::Session { session, .. } = world.ask(0, open.clone()) else { panic!() };
    let credentials = TierCredentials { access_key: "a".into(), secret_key: "s".into() };
    let tier = AttachTier {
        fs: "scratch".into(),
        name: "cold".into(),
        url: "s3://bucket/data/".into(),
        endpoint: String::new(),
        region: String::new(),
        credentials: credentials.clone(),
    };
    let ClusterReply::Tier { tier: id, .. } = world.ask(0, admin(AdminRequest::AttachTier(tier))) else { panic!() };
    let map = world.cluster.map().clone();
    world.restart(1_000_000);
    assert_eq!(world.cluster.map(), &map);
    assert_eq!(world.ask(1, ClusterRequest::TierCredentials { tier: id }), ClusterReply::Credentials(credentials));
    assert!(matches!(world.ask(1_000_000, ClusterRequest::RenewSession { session }), ClusterReply::Session { .. }));
    let ClusterReply::Session { session: second, .. } = world.ask(1_000_000, open) else { panic!() };
    assert!(second > session, "a session id is never given twice");
}

#[test]
fn a_silent_session_ends_and_its_shards_are_told() {
    let mut world = World::new();
    world.ask(0, fs("scratch"));
    let open = ClusterRequest::OpenSession { client: "n1".into(), fs: "scratch".into() };
    let ClusterReply::Session { session, .. } = world.ask(0, open) else { panic!() };
    world.cluster.tick(SESSION_TIMEOUT_MS + 1);
    let renewed = world.ask(SESSION_TIMEOUT_MS + 1, ClusterRequest::RenewSession { session });
    assert_eq!(renewed, ClusterReply::Error(ClusterError::SessionEnded { session }));
    let beat = Heartbeat {
        host: HostId(1),
        epoch: Epoch(1),
        drives: vec![],
        sessions: vec![session, SessionId(77)],
        replicas: vec![],
        flush_us: 0,
        answers_us: vec![],
    };
    let ClusterReply::Heartbeat { ended, .. } = world.ask(0, ClusterRequest::Heartbeat(beat)) else { panic!() };
    assert_eq!(ended, [session, SessionId(77)]);
}

#[test]
fn clients_get_no_credentials() {
    let mut world = World::new();
    let outcome = world.cluster.handle(0, ClusterRequest::TierCredentials { tier: TierId(1) }, false);
    assert_eq!(outcome.reply, ClusterReply::Error(ClusterError::HostsOnly));
    assert!(!format!("{:?}", TierCredentials { access_key: "AKIA".into(), secret_key: "x".into() }).contains("AKIA"));
}

#[test]
fn refusals_name_the_thing_and_the_remedy() {
    let mut world = World::new();
    let open = ClusterRequest::OpenSession { client: "n1".into(), fs: "scratsh".into() };
    let text = |reply| match reply {
        ClusterReply::Error(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text(world.ask(0, open.clone())).contains("forebay fs create"));
    world.ask(0, fs("scratch"));
    let refused = text(world.ask(0, open));
    assert!(refused.contains("'scratsh'") && refused.contains("scratch"), "{refused}");
    assert!(text(world.ask(0, fs("scratch"))).contains("exists already"));
    assert!(text(world.ask(0, fs("a/b"))).contains("letters, digits"));
    let few = crate::form(&formation(5)).unwrap_err().to_string();
    assert!(few.contains("needs 6 hosts") && few.contains("--ec"), "{few}");
}
