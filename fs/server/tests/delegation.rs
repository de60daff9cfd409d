//! Clients that have directories delegated to them: they go on by themselves, and nobody sees a difference.

use std::time::Duration;

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_testbed::{Plan, Testbed};
use forebay_types::{Attr, Cred, Errno, InodeId, ShardId};
use forebay_wire::map::HostEntry;
use forebay_wire::meta::{RenameHow, SetAttr, SetTime};
use tokio::time::Instant;

const ROOT: Cred = Cred::ROOT;
const FILES: usize = 300;

async fn directory(fs: &Filesystem, name: &[u8]) -> InodeId {
    fs.mkdir(&ROOT, fs.root(), name, 0o777).await.unwrap().ino
}

/// Makes a file with content, as a program would: open, write, close.
async fn make(fs: &Filesystem, dir: InodeId, name: &str, content: Bytes) -> InodeId {
    let made = fs.create_open(&ROOT, dir, name.as_bytes(), 0o644.into(), true).await.unwrap().attr;
    fs.write(made.ino, 0, content).await.unwrap();
    fs.release(made.ino).await.unwrap();
    made.ino
}

async fn read(fs: &Filesystem, dir: InodeId, name: &str) -> Bytes {
    let ino = fs.lookup(&ROOT, dir, name.as_bytes()).await.unwrap().ino;
    fs.open(&ROOT, ino, true, false).await.unwrap();
    let bytes = fs.read(ino, 0, 1 << 20).await.unwrap();
    fs.release(ino).await.unwrap();
    bytes
}

/// The place of the host that leads a shard among the cluster's.
async fn leader(fs: &Filesystem, shard: ShardId) -> usize {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let status = fs.status().await.unwrap();
        let leads = |host: &HostEntry| {
            let mut all = status.replicas.iter().filter(|(of, _)| *of == host.id).flat_map(|(_, replicas)| replicas);
            all.any(|replica| replica.shard == shard && replica.leads)
        };
        if let Some(leader) = status.map.hosts.iter().position(leads) {
            return leader;
        }
        assert!(Instant::now() < until, "nobody says to lead {shard}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn content(n: usize) -> Bytes {
    Bytes::from(vec![n as u8; 1 + n * 7])
}

async fn names(fs: &Filesystem, dir: InodeId) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let (entries, end) = fs.readdir(&ROOT, dir, after, 100, true).await.unwrap();
        after = entries.last().map_or(after, |entry| entry.cookie);
        all.extend(entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()));
        if end {
            all.retain(|name| name != "." && name != "..");
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_here_is_what_others_find() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    for n in 0..FILES {
        make(&one, dir, &format!("f{n}"), content(n)).await;
    }
    assert!(one.operations_not_sent() > 0, "nothing was done here");
    // Some are removed, some moved, some changed, none of which any shard has heard of.
    for n in (0..FILES).step_by(3) {
        one.unlink(&ROOT, dir, format!("f{n}").as_bytes()).await.unwrap();
    }
    for n in (1..FILES).step_by(3) {
        let (from, to) = (format!("f{n}"), format!("g{n}"));
        one.rename(&ROOT, (dir, from.as_bytes()), (dir, to.as_bytes()), RenameHow::NoReplace).await.unwrap();
    }
    let mut seen: Vec<Attr> = Vec::new();
    for n in (2..FILES).step_by(3) {
        let ino = one.lookup(&ROOT, dir, format!("f{n}").as_bytes()).await.unwrap().ino;
        let set = SetAttr { mode: Some(0o600), mtime: Some(SetTime::Now), uid: Some(n as u32), ..SetAttr::default() };
        one.set(&ROOT, ino, set).await.unwrap();
        seen.push(one.getattr(ino).await.unwrap());
    }
    let listed = names(&one, dir).await;
    assert_eq!(names(&other, dir).await, listed, "the same names in the same order");
    assert_eq!(one.operations_not_sent(), 0, "they were asked for");
    for attr in seen {
        assert_eq!(other.getattr(attr.ino).await.unwrap(), attr);
    }
    for n in 0..FILES {
        match n % 3 {
            0 => {
                let found = other.lookup(&ROOT, dir, format!("f{n}").as_bytes()).await;
                assert_eq!(found.err().map(|error| error.errno()), Some(Errno::NoEntry));
            }
            1 => assert_eq!(read(&other, dir, &format!("g{n}")).await, content(n)),
            _ => assert_eq!(read(&other, dir, &format!("f{n}")).await, content(n)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_take_turns_in_a_directory_agree_all_the_time() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    let mut expected = Vec::new();
    for round in 0..30 {
        let (here, there) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        for n in 0..=round % 4 {
            let name = format!("f{round}-{n}");
            make(here, dir, &name, content(n + 1)).await;
            expected.push(name);
        }
        if round % 5 == 4 {
            let place = expected.iter().position(|name| name.starts_with('f')).unwrap();
            let name = expected.remove(place);
            there.unlink(&ROOT, dir, name.as_bytes()).await.unwrap();
        }
        let sub = format!("d{round}");
        here.mkdir(&ROOT, dir, sub.as_bytes(), 0o755).await.unwrap();
        expected.push(sub);
        assert_eq!(names(there, dir).await, expected, "round {round}");
        assert_eq!(names(here, dir).await, expected, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_stays_when_another_removes_it() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    let made = one.create_open(&ROOT, dir, b"f", 0o600.into(), true).await.unwrap().attr.ino;
    one.write(made, 0, "kept".into()).await.unwrap();
    other.unlink(&ROOT, dir, b"f").await.unwrap();
    assert_eq!(one.read(made, 0, 100).await.unwrap(), "kept");
    assert_eq!(one.getattr(made).await.unwrap().nlink, 0);
    one.write(made, 4, " on".into()).await.unwrap();
    one.fsync(made).await.unwrap();
    assert_eq!(one.read(made, 0, 100).await.unwrap(), "kept on");
    one.release(made).await.unwrap();
    // And its own, which it has open here only.
    let made = one.create_open(&ROOT, dir, b"g", 0o600.into(), true).await.unwrap().attr.ino;
    one.unlink(&ROOT, dir, b"g").await.unwrap();
    one.write(made, 0, "kept".into()).await.unwrap();
    one.fsync(made).await.unwrap();
    assert_eq!(one.read(made, 0, 100).await.unwrap(), "kept");
    one.release(made).await.unwrap();
    assert!(names(&other, dir).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_with_something_in_it_is_not_removed_whoever_has_not_heard_of_it() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    make(&one, dir, "f", content(1)).await;
    for fs in [&one, &other] {
        let removed = fs.rmdir(&ROOT, fs.root(), b"d").await;
        assert_eq!(removed.err().map(|error| error.errno()), Some(Errno::NotEmpty));
    }
    assert_eq!(names(&other, dir).await, ["f"]);
    // Moved with what is in it, and emptied, it goes.
    other.rename(&ROOT, (one.root(), b"d"), (one.root(), b"e"), RenameHow::Replace).await.unwrap();
    make(&one, dir, "g", content(2)).await;
    for name in [b"f", b"g"] {
        one.unlink(&ROOT, dir, name).await.unwrap();
    }
    other.rmdir(&ROOT, one.root(), b"e").await.unwrap();
}

/// The same where the shard could do it all by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_the_shard_of_what_it_is_in_is_asked_for_before_it_is_moved_or_removed() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    make(&one, dir, "first", content(1)).await;
    let below = one.mkdir(&ROOT, dir, b"sub", 0o755).await.unwrap().ino;
    assert_eq!(below.shard(), dir.shard(), "it was made here");
    // That one is asked for, what is in it is not.
    assert_eq!(names(&other, dir).await, ["first", "sub"]);
    assert_eq!(one.operations_not_sent(), 0);
    make(&one, below, "f", content(2)).await;
    assert!(one.operations_not_sent() > 0, "it is delegated still");
    let removed = other.rmdir(&ROOT, dir, b"sub").await;
    assert_eq!(removed.err().map(|error| error.errno()), Some(Errno::NotEmpty));
    make(&one, below, "g", content(3)).await;
    other.rename(&ROOT, (dir, b"sub"), (dir, b"moved"), RenameHow::Replace).await.unwrap();
    make(&one, below, "h", content(4)).await;
    assert_eq!(one.getattr(below).await.unwrap(), other.getattr(below).await.unwrap());
    assert_eq!(names(&other, below).await, ["f", "g", "h"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_synced_is_there_when_its_node_is_not_and_the_rest_is_not_out_of_order() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount_delegating("one").await, world.mount_delegating("other").await);
    let dir = directory(&one, b"d").await;
    for n in 0..50 {
        make(&one, dir, &format!("f{n}"), content(n)).await;
    }
    let last = one.lookup(&ROOT, dir, b"f49").await.unwrap().ino;
    one.fsync(last).await.unwrap();
    for n in 50..100 {
        make(&one, dir, &format!("f{n}"), content(n)).await;
    }
    one.abandon().await;
    drop(one);
    let found = names(&other, dir).await;
    assert!(found.len() >= 50, "{found:?}");
    let expected: Vec<String> = (0..found.len()).map(|n| format!("f{n}")).collect();
    assert_eq!(found, expected, "without gaps");
    for (n, name) in found.iter().enumerate() {
        assert_eq!(read(&other, dir, name).await, content(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_takes_nothing_along() {
    let mut world = Testbed::start(Plan::SIX).await;
    let one = world.mount_delegating("one").await;
    let dir = directory(&one, b"d").await;
    for round in 0..3 {
        for n in 0..100 {
            make(&one, dir, &format!("f{round}-{n}"), content(n)).await;
        }
        let leader = leader(&one, dir.shard()).await;
        let sync = one.clone();
        let syncing = tokio::spawn(async move { sync.sync_names().await });
        world.kill(leader);
        for n in 100..200 {
            make(&one, dir, &format!("f{round}-{n}"), content(n)).await;
        }
        syncing.await.unwrap().unwrap();
        one.sync_names().await.unwrap();
        world.restart(leader).await;
    }
    let other = world.mount("other").await;
    assert_eq!(names(&other, dir).await.len(), 600);
    for (round, n) in [(0, 0), (1, 150), (2, 199)] {
        assert_eq!(read(&other, dir, &format!("f{round}-{n}")).await, content(n));
    }
    tokio::time::timeout(Duration::from_secs(60), one.unmount()).await.unwrap().unwrap();
}
