//! The door to the filesystem against a whole cluster in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_client::{ClientError, Filesystem};
use forebay_stager::core::{InputLink, NodeMark, ScratchDir, ViewSpec};
use forebay_stager::forebay_fs::ForebayFs;
use forebay_stager::fs::{FsError, Located, StagingFs};
use forebay_testbed::{FILESYSTEM, Plan, TIMEOUT, Testbed};
use forebay_types::{Attr, Cred, Errno, TierId, Uuid};
use forebay_wire::cluster::ClusterRequest;
use forebay_wire::meta::NewNode;
use forebay_wire::tier::{TierError, TierUser};
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
const SET: Uuid = Uuid([5; 16]);
const STAGER: &str = "stagerd@hpc1";

struct World {
    bed: Testbed,
    cold: PathBuf,
    fs: Filesystem,
}

impl World {
    async fn new() -> Self {
        let bed = Testbed::start(Plan::THREE).await;
        let (_, cold) = bed.attach_cold().await;
        std::fs::create_dir(cold.join("set")).unwrap();
        let fs = bed.mount("tester").await;
        Self { bed, cold, fs }
    }

    async fn stager(&self) -> Arc<ForebayFs> {
        self.connect(FILESYSTEM, STAGER).await.unwrap()
    }

    async fn connect(&self, name: &str, client: &str) -> Result<Arc<ForebayFs>, ClientError> {
        ForebayFs::connect(self.bed.addresses().to_vec(), self.bed.key().clone(), name, client).await
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
    let root = format!("file://{}", world.cold.display());
    std::fs::write(world.cold.join("set/f"), "12345").unwrap();
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
    assert!(is_ended(&late), "{late}");
    assert_eq!(world.holds().await, [] as [&str; 0]);
}

/// Hosts were told by heartbeats, each of the sessions that it had heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_stager_is_refused_by_shards_too_that_had_never_heard_of_it() {
    let world = World::new().await;
    let killed = world.stager().await;
    let _successor = world.stager().await;
    let late = killed.ensure_dataset(SET, 2001, 2002).await.unwrap_err();
    assert!(is_ended(&late), "{late}");
    assert!(world.fs.resolve(&ROOT, "/.forebay").await.is_err(), "a killed stager's directory is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_cluster_has_ended_is_replaced() {
    let world = World::new().await;
    let stager = world.stager().await;
    stager.ensure_dataset(SET, 2001, 2002).await.unwrap();
    let status = world.fs.status().await.unwrap();
    let (own, ..) = status.sessions.iter().find(|(_, client, _, _)| client == STAGER).unwrap();
    world.fs.cluster().ask(&ClusterRequest::CloseSession { session: *own }).await.unwrap();
    let until = Instant::now() + TIMEOUT;
    // Hosts hear of it with a heartbeat.
    let refused = loop {
        match stager.set_hold(SET, 7).await {
            Ok(()) => assert!(Instant::now() < until, "a session that was ended is still heard"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(is_ended(&refused), "{refused}");
    stager.set_hold(SET, 8).await.unwrap();
    let named = world.connect("none", "other").await;
    assert!(matches!(named, Err(ClientError::Cluster(_))), "a wrong name is refused");
}

/// Whether a call was refused because its session has ended.
fn is_ended(error: &FsError) -> bool {
    matches!(error, FsError::Unreachable { reason } if *reason == ClientError::SessionEnded.to_string())
}
