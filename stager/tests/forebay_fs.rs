//! The door to the filesystem against a whole cluster in one process.

use std::sync::Arc;
use std::time::Duration;

use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role, call_cluster};
use forebay_server::{DriveSpec, Host, HostConfig};
use forebay_stager::core::{InputLink, NodeMark, ScratchDir, ViewSpec};
use forebay_stager::forebay_fs::ForebayFs;
use forebay_stager::fs::{FsError, Located, StagingFs};
use forebay_types::{Attr, Cred, Errno, Geometry, TierId, Uuid};
use forebay_wire::cluster::{AttachTier, ClusterReply, ClusterRequest, Formation, FormingHost, TierCredentials};
use forebay_wire::meta::NewNode;
use forebay_wire::tier::{TierError, TierUser};

const TIMEOUT: Duration = Duration::from_secs(20);
const ROOT: Cred = Cred::ROOT;
const SET: Uuid = Uuid([5; 16]);
const STAGER: &str = "stagerd@hpc1";

struct World {
    dir: tempfile::TempDir,
    _hosts: Vec<Host>,
    addresses: Vec<String>,
    key: ClusterKey,
    fs: Filesystem,
}

async fn ask(key: &ClusterKey, address: &str, request: ClusterRequest) -> ClusterReply {
    let cluster = Cluster::new(vec![address.into()], key.clone(), Role::Client, "former", ClientOptions::default());
    call_cluster(&cluster.peer(address), &request, TIMEOUT).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = ClusterKey::generate().unwrap();
        let (mut hosts, mut forming) = (Vec::new(), Vec::new());
        for n in 0..3 {
            let drive = DriveSpec { path: dir.path().join(format!("h{n}/drive")), size_bytes: 256 << 20 };
            let (name, listen) = (format!("h{n}"), "127.0.0.1:0".parse().unwrap());
            let config =
                HostConfig { dir: dir.path().join(&name), name, listen, key: key.clone(), drives: vec![drive] };
            let host = Host::start(config).await.unwrap();
            let address = host.address().to_string();
            let ClusterReply::Identity(identity) = ask(&key, &address, ClusterRequest::Identify).await else {
                panic!("no identity")
            };
            forming.push(FormingHost { name: identity.name, address, drives: identity.drives });
            hosts.push(host);
        }
        let addresses: Vec<String> = forming.iter().map(|host| host.address.clone()).collect();
        let (name, cluster, geometry) = ("test".into(), Uuid([7; 16]), Geometry { data: 2, parity: 1 });
        let formation = Formation { name, cluster, geometry, shards: 4, hosts: forming };
        let map = forebay_cluster::form(&formation).unwrap();
        for host in &map.hosts {
            ask(&key, &host.address, ClusterRequest::Form { map: Box::new(map.clone()), you: host.id }).await;
        }
        let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
        let cluster = Cluster::new(addresses.clone(), key.clone(), Role::Client, "tester", options);
        cluster.ask(&ClusterRequest::CreateFs { name: "scratch".into() }).await.unwrap();
        std::fs::create_dir_all(dir.path().join("cold/set")).unwrap();
        let attach = AttachTier {
            fs: "scratch".into(),
            name: "cold".into(),
            url: format!("file://{}/cold", dir.path().display()),
            endpoint: String::new(),
            region: String::new(),
            credentials: TierCredentials::default(),
        };
        cluster.ask(&ClusterRequest::AttachTier(attach)).await.unwrap();
        let fs = Filesystem::mount(&cluster, "scratch", "tester").await.unwrap();
        Self { dir, _hosts: hosts, addresses, key, fs }
    }

    async fn stager(&self) -> Arc<ForebayFs> {
        ForebayFs::connect(self.addresses.clone(), self.key.clone(), "scratch", STAGER).await.unwrap()
    }

    async fn attr(&self, path: &str) -> Attr {
        self.fs.resolve(&ROOT, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn content(&self, path: &str) -> String {
        let ino = self.attr(path).await.ino;
        self.fs.open(&ROOT, ino, true, false).await.unwrap();
        let content = self.fs.read_all(ino, 1 << 20).await.unwrap();
        self.fs.release(ino).await.unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    }

    async fn holds(&self) -> Vec<String> {
        let set = self.attr(&format!("/.forebay/datasets/{SET}")).await.ino;
        let names = self.fs.listxattr(&ROOT, set).await.unwrap();
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

fn view(file: Option<&str>) -> ViewSpec {
    ViewSpec {
        job: 7,
        restart: 0,
        uid: 2001,
        gid: 2002,
        scratch: vec![ScratchDir { name: "work".into(), capacity_bytes: Some(1 << 30) }],
        inputs: vec![InputLink { name: "set".into(), dataset: SET, file: file.map(str::to_owned) }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_made_and_completed_and_what_is_in_it_stays() {
    let world = World::new().await;
    let stager = world.stager().await;
    let inode = stager.ensure_dataset(SET, 2001, 2002).await.unwrap();
    assert_eq!(stager.ensure_dataset(SET, 2001, 2002).await.unwrap(), inode, "made once");
    stager.create_view(&view(None)).await.unwrap();
    let work = world.attr("/job/7/work").await;
    assert_eq!((work.uid, work.gid, work.mode), (2001, 2002, 0o700));
    let control = world.attr("/job/7/.forebay").await;
    assert_eq!((control.uid, control.mode), (0, 0o755));
    let set = world.attr(&format!("/.forebay/datasets/{SET}")).await;
    assert_eq!((set.ino, set.uid, set.mode), (inode, 2001, 0o500));
    world.fs.create(&ROOT, work.ino, b"kept", NewNode::File, 0o600, true).await.unwrap();
    // Another attempt, whose input is one object.
    stager.create_view(&view(Some("data.tar"))).await.unwrap();
    world.attr("/job/7/work/kept").await;
    let link = world.attr("/job/7/in/set").await.ino;
    let target = format!("../../../.forebay/datasets/{SET}/data.tar");
    assert_eq!(world.fs.readlink(&ROOT, link).await.unwrap(), target.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_marks_and_control_files_may_be_asked_for_twice() {
    let world = World::new().await;
    let stager = world.stager().await;
    stager.drop_hold(SET, 7).await.unwrap();
    let missing = stager.set_hold(SET, 7).await.unwrap_err();
    assert!(matches!(missing, FsError::Namespace { errno: Errno::NoEntry, .. }), "{missing}");
    stager.ensure_dataset(SET, 2001, 2002).await.unwrap();
    for _ in 0..2 {
        stager.set_hold(SET, 7).await.unwrap();
    }
    assert_eq!(world.holds().await, ["trusted.forebay.hold.7"]);
    for _ in 0..2 {
        stager.drop_hold(SET, 7).await.unwrap();
    }
    assert_eq!(world.holds().await, [] as [&str; 0]);
    stager.create_view(&view(None)).await.unwrap();
    for text in ["first", "second"] {
        stager.write_control(7, "attach.json", text.as_bytes()).await.unwrap();
        assert_eq!(world.content("/job/7/.forebay/attach.json").await, text);
    }
    assert_eq!(stager.nodes(7, 1).await.unwrap(), []);
    let marks = world.fs.make_dirs(&ROOT, "/job/7/.forebay/nodes/1", 0o755).await.unwrap().ino;
    for mark in ["n1.attached", "n2.attached", "n2.detached", "noise"] {
        world.fs.create(&ROOT, marks, mark.as_bytes(), NewNode::File, 0o644, true).await.unwrap();
    }
    let mark = |node: &str, detached| NodeMark { node: node.into(), detached };
    assert_eq!(stager.nodes(7, 1).await.unwrap(), [mark("n1", false), mark("n2", true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_resolved_without_following_what_its_user_linked() {
    let world = World::new().await;
    let stager = world.stager().await;
    stager.create_view(&view(None)).await.unwrap();
    let work = world.attr("/job/7/work").await.ino;
    let results = world.fs.mkdir(&ROOT, work, b"results", 0o700).await.unwrap().ino;
    let away = NewNode::Symlink(bytes::Bytes::from_static(b"/job"));
    world.fs.create(&ROOT, work, b"away", away, 0o777, true).await.unwrap();
    assert_eq!(stager.resolve(7, "work/results").await.unwrap(), Some(results));
    assert_eq!(stager.resolve(7, "work/none").await.unwrap(), None);
    assert_eq!(stager.resolve(7, "work/away/7").await.unwrap(), None, "a link of the user's leads nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_are_found_below_tiers_and_looked_at() {
    let world = World::new().await;
    let stager = world.stager().await;
    let root = format!("file://{}/cold", world.dir.path().display());
    std::fs::write(world.dir.path().join("cold/set/f"), "12345").unwrap();
    let at = stager.locate(&format!("{root}/set/")).await.unwrap().unwrap();
    assert_eq!((at.tier, at.prefix.as_str()), (TierId(1), "set/"));
    assert_eq!(stager.locate(&format!("{root}der/set/")).await.unwrap(), None, "a longer name is another folder");
    let user = || TierUser { uid: 0, gid: 0, groups: Vec::new() };
    let found = stager.probe(&at, user(), false).await.unwrap();
    assert_eq!((found.files, found.bytes, found.file), (1, 5, None));
    let nowhere = Located { prefix: "none/".into(), ..at };
    let missing = stager.probe(&nowhere, user(), false).await.unwrap_err();
    assert!(matches!(missing, FsError::Tier(TierError::Missing { .. })), "{missing}");
    stager.probe(&nowhere, user(), true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_killed_stager_had_on_its_way_does_not_come_after_its_successor_s() {
    let world = World::new().await;
    let killed = world.stager().await;
    killed.ensure_dataset(SET, 2001, 2002).await.unwrap();
    killed.set_hold(SET, 7).await.unwrap();
    let successor = world.stager().await;
    successor.drop_hold(SET, 7).await.unwrap();
    let late = killed.set_hold(SET, 7).await.unwrap_err();
    assert!(matches!(late, FsError::Unreachable { .. }), "{late}");
    assert_eq!(world.holds().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_cluster_has_ended_is_replaced() {
    let world = World::new().await;
    let stager = world.stager().await;
    stager.ensure_dataset(SET, 2001, 2002).await.unwrap();
    let status = world.fs.status().await.unwrap();
    let (own, ..) = status.sessions.iter().find(|(_, client, _, _)| client == STAGER).unwrap();
    world.fs.cluster().ask(&ClusterRequest::CloseSession { session: *own }).await.unwrap();
    let refused = async {
        // Hosts hear of it with a heartbeat.
        while stager.set_hold(SET, 7).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, refused).await.expect("the ended session is refused");
    stager.set_hold(SET, 8).await.unwrap();
    let named = ForebayFs::connect(world.addresses.clone(), world.key.clone(), "none", "other").await;
    assert!(matches!(named, Err(ClientError::Cluster(_))), "a wrong name is refused");
}
