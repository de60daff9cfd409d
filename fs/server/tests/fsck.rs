//! `forebay fsck` on a whole cluster in one process: nothing is found in what is in use, and planted damage is found on all
//! replicas and repaired.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_env::{Batch, Durability, Kv};
use forebay_storage::kv::RocksKv;
use forebay_testbed::{Plan, TIMEOUT, Testbed};
use forebay_types::{Cred, InodeId, ShardId};
use forebay_wire::meta::{Finding, NewNode, RenameHow};
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
const FS: u32 = 1;

async fn file(fs: &Filesystem, dir: InodeId, name: &str, content: &Bytes) -> InodeId {
    let ino = fs.create(&ROOT, dir, name.as_bytes(), NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    fs.write(ino, 0, content.clone()).await.unwrap();
    fs.fsync(ino).await.unwrap();
    fs.release(ino).await.unwrap();
    ino
}

async fn read(fs: &Filesystem, path: &str) -> Bytes {
    let attr = fs.resolve(&ROOT, path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    fs.open(&ROOT, attr.ino, true, false).await.unwrap();
    let content = fs.read_all(attr.ino, 8 << 20).await.unwrap();
    fs.release(attr.ino).await.unwrap();
    content
}

/// Names come, go and move over shards until it is told to stop; how many did.
async fn churn(fs: Filesystem, me: usize, dirs: Vec<InodeId>, stop: Arc<AtomicBool>) -> u64 {
    let mut dice = me as u64 + 1;
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let (a, b) = (dirs[roll(dirs.len())], dirs[roll(dirs.len())]);
        let (from, to) = (format!("n{}", roll(12)), format!("n{}", roll(12)));
        let (from, to) = (from.as_bytes(), to.as_bytes());
        // Most of them find nothing, or something in their way.
        let worked = match roll(8) {
            0 | 1 => fs.create(&ROOT, a, from, NewNode::File, 0o644, true).await.is_ok(),
            2 => fs.mkdir(&ROOT, a, to, 0o755).await.is_ok(),
            3 => fs.unlink(&ROOT, a, from).await.is_ok(),
            4 => fs.rmdir(&ROOT, a, from).await.is_ok(),
            5 => match fs.lookup(&ROOT, a, from).await {
                Ok(attr) => fs.link(&ROOT, attr.ino, b, to).await.is_ok(),
                Err(_) => false,
            },
            6 => fs.rename(&ROOT, (a, from), (b, to), RenameHow::Exchange).await.is_ok(),
            _ => fs.rename(&ROOT, (a, from), (b, to), RenameHow::Replace).await.is_ok(),
        };
        done += u64::from(worked);
    }
    done
}

async fn assert_clean(fs: &Filesystem) {
    let summary = fs.fsck(false, |_| {}).await.unwrap();
    assert_eq!(summary.findings, []);
    assert!(summary.complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_found_while_names_come_and_go() {
    let world = Testbed::start(Plan::THREE).await;
    let fs = world.mount("checker").await;
    let mut dirs = Vec::new();
    for n in 0..8 {
        dirs.push(fs.mkdir(&ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap().ino);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    let mut mounts = Vec::new();
    for me in 0..4 {
        // Three that send everything, and one that has directories delegated to it now and then.
        let mount = if me < 3 { world.mount("worker").await } else { world.mount_delegating("worker").await };
        mounts.push(mount.clone());
        workers.push(tokio::spawn(churn(mount, me, dirs.clone(), stop.clone())));
    }
    for round in 0..6 {
        let summary = fs.fsck(round == 5, |_| {}).await.unwrap();
        assert_eq!(summary.findings, [], "round {round}");
        assert!(summary.complete && summary.shards == 4 && summary.inodes >= 9, "{summary:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for worker in workers {
        done.push(worker.await.unwrap());
    }
    assert!(done.iter().sum::<u64>() > 30, "there was churn: {done:?}");
    for mount in mounts {
        mount.unmount().await.unwrap();
    }
    assert_clean(&fs).await;
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_goes_on_while_leaders_die() {
    let mut world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("checker").await;
    for n in 0..30 {
        let dir = fs.mkdir(&ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap().ino;
        file(&fs, dir, "f", &Bytes::from_static(b"content")).await;
    }
    let (checker, (done, mut checks)) = (fs.clone(), tokio::sync::watch::channel(0));
    let checking = tokio::spawn(async move {
        while !done.is_closed() {
            assert_clean(&checker).await;
            done.send_modify(|checks| *checks += 1);
        }
    });
    for n in 0..2 {
        world.kill(n);
        // One that was under way when the host died, and one that began after it.
        let wanted = *checks.borrow() + 2;
        let reached = checks.wait_for(|checks| *checks >= wanted);
        tokio::time::timeout(TIMEOUT, reached).await.expect("checks go on").unwrap();
        world.restart(n).await;
    }
    drop(checks);
    checking.await.unwrap();
    fs.unmount().await.unwrap();
}

/// The store of a host that does not run.
async fn store(dir: &Path) -> RocksKv {
    let until = Instant::now() + TIMEOUT;
    loop {
        match RocksKv::open(dir) {
            Ok(store) => return store,
            // Threads of the host may still be letting go of it.
            Err(error) => assert!(Instant::now() < until, "{}: {error}", dir.display()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Keys of a shard's table that belong to an inode.
fn prefix(store: &RocksKv, table: u8, ino: InodeId) -> Vec<u8> {
    let shard = ino.shard().0.to_be_bytes();
    let slot = store.get(&[&b"l"[..], &shard].concat()).unwrap().unwrap_or_else(|| b"m".to_vec());
    [&slot[..], &shard, &[table], &FS.to_be_bytes(), &ino.0.to_be_bytes()].concat()
}

/// Deletes all rows that begin so; how many there were.
fn delete(store: &RocksKv, prefix: &[u8]) -> usize {
    let mut end = prefix.to_vec();
    end.extend_from_slice(&[0xff; 300]);
    let mut batch = Batch::default();
    let found = store.scan(prefix, &end, usize::MAX).unwrap();
    found.iter().for_each(|(key, _)| batch.delete(key.clone()));
    store.write(batch, Durability::Flushed).unwrap();
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn planted_damage_is_found_and_repaired_on_all_replicas() {
    let mut world = Testbed::start(Plan::THREE).await;
    let fs = world.mount("before").await;
    let small = Bytes::from_static(b"a few bytes");
    let large: Bytes = (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let mut dirs = Vec::new();
    for n in 0..12 {
        dirs.push(fs.mkdir(&ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap().ino);
    }
    let away = *dirs.iter().find(|dir| dir.shard() != ShardId(0)).unwrap();
    let place = dirs.iter().position(|dir| *dir == away).unwrap();
    let lost = file(&fs, away, "lost", &large).await;
    file(&fs, away, "kept", &small).await;
    let second = *dirs.iter().find(|dir| dir.shard() != away.shard() && dir.shard() != ShardId(0)).unwrap();
    file(&fs, second, "other", &small).await;
    let gone = file(&fs, second, "gone", &Bytes::new()).await;
    fs.link(&ROOT, gone, away, b"gone-too").await.unwrap();
    fs.unmount().await.unwrap();
    let stores: Vec<PathBuf> = (0..3).map(|n| world.store(n)).collect();
    (0..3).for_each(|n| world.kill(n));
    for dir in &stores {
        let store = store(dir).await;
        // Not even by its place is there a name of `lost`.
        assert_eq!(delete(&store, &[prefix(&store, b'D', away), b"lost".to_vec()].concat()), 1);
        assert_eq!(delete(&store, &[prefix(&store, b'K', away), 3_u64.to_be_bytes().to_vec()].concat()), 1);
        // The directory itself, with what is in it; a file with names in two shards.
        assert_eq!(delete(&store, &prefix(&store, b'I', second)), 1);
        assert_eq!(delete(&store, &prefix(&store, b'I', gone)), 1);
        // A name by its place.
        assert_eq!(delete(&store, &[prefix(&store, b'K', InodeId::ROOT), 5_u64.to_be_bytes().to_vec()].concat()), 1);
    }
    for n in 0..3 {
        world.restart(n).await;
    }
    let fs = world.mount("after").await;
    let found = fs.fsck(false, |_| {}).await.unwrap().findings;
    assert!(found.iter().all(|(_, repaired)| !repaired), "{found:?}");
    let has = |wanted: fn(&Finding) -> bool| found.iter().any(|(finding, _)| wanted(finding));
    assert!(has(|f| matches!(f, Finding::Unreachable { .. })), "{found:?}");
    assert!(has(|f| matches!(f, Finding::NamesOfNothing { .. })), "{found:?}");
    assert!(has(|f| matches!(f, Finding::DanglingName { .. })), "{found:?}");
    assert!(has(|f| matches!(f, Finding::CookieMismatch { dir: InodeId::ROOT, .. })), "{found:?}");
    let mut paths = Vec::new();
    for (finding, _) in &found {
        paths.extend(fs.path_of_finding(finding).await);
    }
    assert!(paths.contains(&format!("/d{place}/gone-too")), "{paths:?}");
    let repaired = fs.fsck(true, |_| {}).await.unwrap();
    assert!(repaired.findings.iter().all(|(_, repaired)| *repaired), "{repaired:?}");
    assert_clean(&fs).await;
    assert!(read(&fs, &format!("/lost+found/{}", lost.0)).await == large);
    assert!(read(&fs, &format!("/d{place}/kept")).await == small);
    let place = dirs.iter().position(|dir| *dir == second).unwrap();
    assert!(read(&fs, &format!("/d{place}/other")).await == small);
    fs.unmount().await.unwrap();
    // Whoever leads next has the same.
    world.kill(0);
    let fs = world.mount("later").await;
    assert_clean(&fs).await;
    fs.unmount().await.unwrap();
}
