//! Movers in a whole cluster in one process: what import, recall, evict, export and remove promise, with a directory as
//! the cold tier.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use forebay_client::{ClientError, Cluster, Filesystem};
use forebay_testbed::{Disk, Plan, Spoil, Testbed};
use forebay_types::{Attr, Cred, Errno, InodeId, TierId};
use forebay_wire::meta::{NewNode, XattrWhen};
use forebay_wire::tier::{Conflict, Progress, TaskSpec, TaskState, TierError, TierReply, TierRequest, TierUser};

const ROOT: Cred = Cred::ROOT;

struct World {
    _bed: Testbed,
    cold: PathBuf,
    fs: Filesystem,
    tier: TierId,
}

impl World {
    async fn new() -> Self {
        let bed = Testbed::start(Plan::THREE).await;
        let (tier, cold) = bed.attach_cold().await;
        let fs = bed.mount("tester").await;
        Self { _bed: bed, cold, fs, tier }
    }

    fn cold(&self, key: &str) -> PathBuf {
        self.cold.join(key)
    }

    fn put(&self, key: &str, data: &[u8]) {
        std::fs::create_dir_all(self.cold(key).parent().unwrap()).unwrap();
        std::fs::write(self.cold(key), data).unwrap();
    }

    async fn run(&self, spec: TaskSpec) -> Result<Progress, TierError> {
        let id = Cluster::new_task_id().unwrap();
        match self.fs.cluster().run_task(id, spec, |_| {}).await {
            Ok(progress) => Ok(progress),
            Err(ClientError::Tier(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    async fn directory(&self, name: &str) -> InodeId {
        self.fs.mkdir(&ROOT, self.fs.root(), name.as_bytes(), 0o755).await.unwrap().ino
    }

    fn import(&self, into: InodeId, prefix: &str) -> TaskSpec {
        TaskSpec::Import {
            fs: self.fs.id(),
            into,
            tier: self.tier,
            prefix: prefix.into(),
            uid: 1000,
            gid: 100,
            mode: 0o440,
            as_user: None,
            include: Vec::new(),
            exclude: vec!["*.tmp".into()],
        }
    }

    fn recall(&self, root: InodeId) -> TaskSpec {
        TaskSpec::Recall { fs: self.fs.id(), root, range: None }
    }

    fn evict(&self, root: InodeId) -> TaskSpec {
        TaskSpec::Evict { fs: self.fs.id(), root, range: None, tier: self.tier }
    }

    fn export(&self, root: InodeId, prefix: &str, label: &str) -> TaskSpec {
        TaskSpec::Export {
            fs: self.fs.id(),
            root,
            tier: self.tier,
            prefix: prefix.into(),
            as_user: None,
            conflict: Conflict::Fail,
            manifest: "_manifest.json".into(),
            marker: "_done".into(),
            label: label.into(),
        }
    }

    async fn write(&self, dir: InodeId, name: &str, data: &Bytes) -> InodeId {
        let made = self.fs.create(&ROOT, dir, name.as_bytes(), NewNode::File, 0o644, false).await.unwrap();
        self.fs.open(&ROOT, made.attr.ino, true, true).await.unwrap();
        self.fs.write(made.attr.ino, 0, data.clone()).await.unwrap();
        self.fs.fsync(made.attr.ino).await.unwrap();
        self.fs.release(made.attr.ino).await.unwrap();
        made.attr.ino
    }

    async fn attr(&self, path: &str) -> Attr {
        self.fs.resolve(&ROOT, path).await.unwrap()
    }

    async fn read(&self, path: &str) -> Bytes {
        let ino = self.attr(path).await.ino;
        self.fs.open(&ROOT, ino, true, false).await.unwrap();
        let data = self.fs.read_all(ino, 64 << 20).await.unwrap();
        self.fs.release(ino).await.unwrap();
        data
    }
}

fn pattern(len: usize, seed: usize) -> Bytes {
    (0..len).map(|i| ((i + seed) as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<u8>>().into()
}

/// Two hundred files of all sizes, in directories.
fn dataset(world: &World) -> Vec<(String, Bytes)> {
    let sizes = [0, 1, 5000, 16 << 10, (16 << 10) + 1, 100_000];
    let mut files: Vec<_> =
        (0..199).map(|n| (format!("d{}/e{}/f{n}", n % 3, n % 7), pattern(sizes[n % sizes.len()], n))).collect();
    files.push(("large".into(), pattern(9_000_001, 3)));
    files.iter().for_each(|(path, data)| world.put(&format!("set/{path}"), data));
    world.put("set/d0/left-out.tmp", b"x");
    files
}

fn total(files: &[(String, Bytes)]) -> u64 {
    files.iter().map(|(_, data)| data.len() as u64).sum()
}

fn is_empty(dir: &Path) -> bool {
    !dir.exists() || std::fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_is_imported_recalled_evicted_and_read_again() {
    let world = World::new().await;
    let files = dataset(&world);
    let into = world.directory("data").await;
    for _ in 0..2 {
        let done = world.run(world.import(into, "set/")).await.unwrap();
        assert_eq!((done.files, done.done_files, done.bytes), (200, 200, total(&files)));
        assert_eq!((done.moved_bytes, done.done_bytes), (0, total(&files)));
    }
    let large = world.attr("data/large").await;
    assert_eq!((large.uid, large.gid, large.mode, large.cold_bytes), (1000, 100, 0o440, large.size));
    let dir = world.attr("data/d1/e1").await;
    assert_eq!((dir.uid, dir.gid, dir.mode), (1000, 100, 0o550));
    assert!(matches!(world.fs.resolve(&ROOT, "data/d0/left-out.tmp").await, Err(ClientError::Posix(Errno::NoEntry))));

    let done = world.run(world.recall(into)).await.unwrap();
    assert_eq!((done.files, done.moved_bytes, done.done_bytes), (200, total(&files), total(&files)));
    assert_eq!(world.run(world.recall(into)).await.unwrap().moved_bytes, 0, "nothing is left to recall");
    for (path, data) in &files {
        let path = format!("data/{path}");
        assert_eq!(world.attr(&path).await.cold_bytes, 0, "{path}");
        assert!(world.read(&path).await == *data, "{path}");
    }
    let again = world.run(world.import(into, "set/")).await.unwrap();
    assert_eq!(again.done_files, 200, "a recalled file is still the object's");

    let done = world.run(world.evict(into)).await.unwrap();
    assert_eq!((done.files, done.done_bytes, done.moved_bytes), (200, total(&files), 0));
    assert!(is_empty(&world.cold(".forebay-evicted")), "what came from the tier is not written to it again");
    for (path, data) in files.iter().rev().step_by(29) {
        let path = format!("data/{path}");
        assert_eq!(world.attr(&path).await.cold_bytes, data.len() as u64, "{path}");
        assert!(world.read(&path).await == *data, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_without_a_cold_copy_are_written_before_they_are_given_up() {
    let world = World::new().await;
    world.put("set/changed", &pattern(300_000, 1));
    let dir = world.directory("data").await;
    world.run(world.import(dir, "set")).await.unwrap();
    world.run(world.recall(dir)).await.unwrap();
    let ino = world.attr("data/changed").await.ino;
    world.fs.open(&ROOT, ino, true, true).await.unwrap();
    world.fs.write(ino, 100_000, Bytes::from_static(b"changed")).await.unwrap();
    world.fs.release(ino).await.unwrap();
    let mut changed = pattern(300_000, 1).to_vec();
    changed[100_000..100_007].copy_from_slice(b"changed");
    let (own, tiny) = (pattern(3_000_000, 9), pattern(100, 2));
    world.write(dir, "own", &own).await;
    world.write(dir, "tiny", &tiny).await;

    let done = world.run(world.evict(dir)).await.unwrap();
    assert_eq!(done.moved_bytes, 3_300_100);
    for (path, data) in [("data/changed", Bytes::from(changed)), ("data/own", own), ("data/tiny", tiny)] {
        assert_eq!(world.attr(path).await.cold_bytes, data.len() as u64, "{path}");
        assert!(world.read(path).await == data, "{path}");
    }
    assert_eq!(world.run(world.import(world.directory("all").await, "")).await.unwrap().files, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_hot() {
    let world = World::new().await;
    let above = world.directory("data").await;
    let dir = world.fs.mkdir(&ROOT, above, b"set", 0o755).await.unwrap().ino;
    world.write(dir, "f", &pattern(50_000, 1)).await;
    let hold = b"trusted.forebay.hold.job-7";
    world.fs.setxattr(&ROOT, above, hold, b"1", XattrWhen::Always).await.unwrap();
    for root in [above, dir] {
        let error = world.run(world.evict(root)).await.unwrap_err();
        assert!(matches!(&error, TierError::Held { holder, .. } if holder == "job-7"), "{error}");
    }
    assert_eq!(world.attr("data/set/f").await.cold_bytes, 0);
    world.fs.removexattr(&ROOT, above, hold).await.unwrap();
    world.run(world.evict(dir)).await.unwrap();
    assert_eq!(world.attr("data/set/f").await.cold_bytes, 50_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_verified_and_ends_with_manifest_and_marker() {
    let world = World::new().await;
    let dir = world.directory("out").await;
    let sub = world.fs.mkdir(&ROOT, dir, b"sub", 0o755).await.unwrap().ino;
    world.fs.mkdir(&ROOT, dir, b"empty", 0o700).await.unwrap();
    world.fs.create(&ROOT, dir, b"link", NewNode::Symlink(Bytes::from_static(b"sub/b")), 0o777, true).await.unwrap();
    let (a, b) = (pattern(10, 1), pattern(9_500_000, 2));
    world.write(dir, "a", &a).await;
    let file = world.write(sub, "b", &b).await;
    world.run(world.evict(file)).await.unwrap();

    let first = world.run(world.export(dir, "res/7", "job 7")).await.unwrap();
    assert_eq!((first.files, first.done_files, first.done_bytes), (2, 2, 9_500_010));
    assert!(
        std::fs::read(world.cold("res/7/a")).unwrap() == a && std::fs::read(world.cold("res/7/sub/b")).unwrap() == b
    );
    let manifest = std::fs::read(world.cold("res/7/_manifest.json")).unwrap();
    let manifest = forebay_tier::manifest::Manifest::decode(&manifest).unwrap();
    let paths: Vec<_> = manifest.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!((manifest.label.as_str(), paths), ("job 7", vec![("a", 10), ("sub/b", 9_500_000)]));
    assert_eq!((manifest.directories[0].path.as_str(), manifest.directories[0].mode), ("empty", 0o700));
    assert_eq!(manifest.symlinks[0].target, "sub/b");
    assert!(world.cold("res/7/_done").exists());

    world.run(world.export(dir, "res/7", "job 7")).await.expect("the same export again finds its own objects");
    let other = world.run(world.export(dir, "res/7", "job 8")).await.unwrap_err();
    assert!(matches!(&other, TierError::Exists { url } if url.ends_with("_manifest.json")), "{other}");
    world.put("res/9/a", b"not theirs");
    let exists = world.run(world.export(dir, "res/9", "job 9")).await.unwrap_err();
    assert!(matches!(&exists, TierError::Exists { url } if url.ends_with("res/9/a")), "{exists}");
    assert!(world.cold("res/9/sub/b").exists(), "the other files are copied all the same");
    assert!(!world.cold("res/9/_done").exists() && !world.cold("res/9/_manifest.json").exists());

    world.run(world.export(file, "one/b.bin", "one")).await.unwrap();
    assert!(std::fs::read(world.cold("one/b.bin")).unwrap() == b && world.cold("one/_done").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_keeps_something_else_is_found_out_and_nothing_says_that_all_is_there() {
    let (disk, bed) = (Disk::mount(), Testbed::start(Plan::THREE).await);
    let tier = bed.attach_cold_at(disk.path()).await;
    let fs = bed.mount("tester").await;
    let world = World { _bed: bed, cold: disk.path().to_owned(), fs, tier };
    let dir = world.directory("out").await;
    world.write(dir, "good", &pattern(5_000, 1)).await;
    let begins = |begin: &[u8], size| Bytes::from([begin, &pattern(size, 2)].concat());
    world.write(dir, "bad", &begins(b"rots", 5_000)).await;
    // Too large to be read back.
    world.write(dir, "large", &begins(b"large", 9_000_000)).await;
    let spoilt = [
        ("rots", Spoil::Flip, "bad"),
        ("rots", Spoil::Cut, "bad"),
        ("large", Spoil::Cut, "large"),
        ("large", Spoil::Replace, "large"),
        // How the manifest begins.
        ("{", Spoil::Flip, "_manifest.json"),
        ("{", Spoil::Cut, "_manifest.json"),
    ];
    for (begins, how, name) in spoilt {
        disk.spoil(begins.as_bytes(), how);
        let prefix = format!("{name}-{how:?}");
        let error = world.run(world.export(dir, &prefix, "job 7")).await.unwrap_err();
        let named = matches!(&error, TierError::Verify { url, .. } if url.ends_with(&format!("{prefix}/{name}")));
        assert!(named, "{name}, {how:?}: {error}");
        assert!(world.cold(&format!("{prefix}/good")).exists(), "the other files are copied all the same");
        assert!(!world.cold(&format!("{prefix}/_done")).exists(), "{name}, {how:?}: marked as complete");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_changed_are_missing_or_forbidden_are_told_apart() {
    let world = World::new().await;
    world.put("set/f", &pattern(50_000, 1));
    world.put("set/g", &pattern(50_000, 2));
    let dir = world.directory("data").await;
    world.run(world.import(dir, "set")).await.unwrap();
    world.put("set/f", &pattern(50_001, 3));
    let changed = world.run(world.recall(dir)).await.unwrap_err();
    assert!(matches!(&changed, TierError::Changed { url, .. } if url.ends_with("set/f")), "{changed}");
    assert_eq!(world.attr("data/g").await.cold_bytes, 0, "the other file is recalled all the same");
    let again = world.run(world.import(dir, "set")).await.unwrap_err();
    assert!(matches!(&again, TierError::Changed { .. }), "{again}");

    let missing = world.run(world.import(dir, "no-such-set")).await.unwrap_err();
    assert!(matches!(missing, TierError::Missing { .. }), "{missing}");
    world.put("private/f", b"secret");
    std::fs::set_permissions(world.cold("private"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let user = Some(TierUser { uid: 12_345, gid: 12_345, groups: Vec::new() });
    let mut spec = world.import(dir, "private");
    if let TaskSpec::Import { as_user, .. } = &mut spec {
        *as_user = user.clone();
    }
    let forbidden = world.run(spec).await.unwrap_err();
    assert!(matches!(forbidden, TierError::Forbidden { .. }), "{forbidden}");
    let probe = |prefix: &str, as_user: Option<TierUser>| TierRequest::Probe {
        tier: world.tier,
        prefix: prefix.into(),
        as_user,
        write: false,
    };
    let id = Cluster::new_task_id().unwrap();
    let cluster = world.fs.cluster();
    let reply = cluster.ask_mover(id, &probe("private", user)).await.unwrap();
    assert!(matches!(reply, TierReply::Error(TierError::Forbidden { .. })), "{reply:?}");
    let reply = cluster.ask_mover(id, &probe("set", None)).await.unwrap();
    assert!(matches!(reply, TierReply::Probed { files: 2, bytes: 100_001, file: None, .. }), "{reply:?}");
    let reply = cluster.ask_mover(id, &probe("set/f", None)).await.unwrap();
    assert!(matches!(&reply, TierReply::Probed { files: 1, file: Some(name), .. } if name == "f"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_was_stopped_goes_on_where_it_was() {
    let world = World::new().await;
    let data = pattern(40_000_000, 5);
    world.put("set/large", &data);
    let dir = world.directory("data").await;
    world.run(world.import(dir, "set/large")).await.unwrap();
    let (id, cluster) = (Cluster::new_task_id().unwrap(), world.fs.cluster());
    let mut progress = cluster.start_task(id, world.recall(dir)).await.unwrap();
    while progress.moved_bytes == 0 && progress.state == TaskState::Running {
        progress = cluster.poll_task(id, progress.version).await.unwrap();
    }
    let mut stopped = cluster.cancel_task(id).await.unwrap();
    while matches!(stopped.state, TaskState::Running | TaskState::Retrying(_)) {
        stopped = cluster.poll_task(id, stopped.version).await.unwrap();
    }
    let cold = world.attr("data/large").await.cold_bytes;
    let done = cluster.run_task(id, world.recall(dir), |_| {}).await.unwrap();
    assert!(done.version > stopped.version || stopped.state == TaskState::Done);
    if stopped.state == TaskState::Cancelled {
        assert!(cold < 40_000_000 && done.moved_bytes <= cold, "{} moved again, {cold} were cold", done.moved_bytes);
    }
    assert!(world.read("data/large").await == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_removed_and_removing_it_again_is_nothing() {
    let world = World::new().await;
    dataset(&world);
    let dir = world.directory("data").await;
    world.run(world.import(dir, "set")).await.unwrap();
    let spec = TaskSpec::Remove { fs: world.fs.id(), parent: world.fs.root(), name: "data".into() };
    assert_eq!(world.run(spec.clone()).await.unwrap().done_files, 200);
    assert!(matches!(world.fs.resolve(&ROOT, "data").await, Err(ClientError::Posix(Errno::NoEntry))));
    assert_eq!(world.run(spec).await.unwrap().files, 0);
}
