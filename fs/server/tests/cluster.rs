//! A whole cluster in one process, over loopback TCP: what clients rely on, end to end.

use std::time::Duration;

use bytes::Bytes;
use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role};
use forebay_testbed::{Plan, TIMEOUT, Testbed};
use forebay_types::{Cred, Errno};
use forebay_wire::meta::{NewNode, RenameHow, SetAttr};

fn pattern(len: usize, seed: u8) -> Bytes {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect::<Vec<u8>>().into()
}

async fn write_file(fs: &Filesystem, name: &str, data: &Bytes) -> forebay_types::InodeId {
    let entry = fs.create(&Cred::ROOT, fs.root(), name.as_bytes(), NewNode::File, 0o644, true).await.unwrap();
    let ino = entry.attr.ino;
    fs.open(&Cred::ROOT, ino, true, true).await.unwrap();
    for at in (0..data.len()).step_by(1 << 17) {
        fs.write(ino, at as u64, data.slice(at..data.len().min(at + (1 << 17)))).await.unwrap();
    }
    fs.fsync(ino).await.unwrap();
    fs.release(ino).await.unwrap();
    ino
}

async fn read_file(fs: &Filesystem, name: &str) -> Bytes {
    let attr = fs.lookup(&Cred::ROOT, fs.root(), name.as_bytes()).await.unwrap();
    fs.open(&Cred::ROOT, attr.ino, true, false).await.unwrap();
    let data = fs.read_all(attr.ino, 64 << 20).await.unwrap();
    fs.release(attr.ino).await.unwrap();
    assert_eq!(data.len() as u64, attr.size);
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_come_back_on_another_client_whatever_their_size() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount("one").await, world.mount("other").await);
    for len in [0, 1, 4095, 16 * 1024, 16 * 1024 + 1, 100_000, 1 << 20, (1 << 20) + 1, 9_000_000] {
        let name = format!("f{len}");
        let data = pattern(len, len as u8);
        write_file(&one, &name, &data).await;
        assert!(read_file(&other, &name).await == data, "{len} bytes");
    }
    let (entries, end) = other.readdir(&Cred::ROOT, other.root(), 0, 100, true).await.unwrap();
    assert!(end);
    assert_eq!(entries.len(), 9 + 2);
    one.unmount().await.unwrap();
    other.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_across_shards() {
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("one").await;
    let mut dirs = Vec::new();
    for n in 0..20 {
        dirs.push(fs.mkdir(&Cred::ROOT, fs.root(), format!("d{n}").as_bytes(), 0o755).await.unwrap().ino);
    }
    let shards: std::collections::BTreeSet<_> = dirs.iter().map(|dir| dir.shard()).collect();
    assert!(shards.len() > 3, "directories spread over shards: {shards:?}");
    assert_eq!(fs.getattr(fs.root()).await.unwrap().nlink, 22);
    let root = Cred::ROOT;
    let file = fs.create(&root, dirs[0], b"f", NewNode::File, 0o644, true).await.unwrap().attr.ino;
    for pair in dirs.windows(2) {
        fs.rename(&root, (pair[0], b"f"), (pair[1], b"f"), RenameHow::Replace).await.unwrap();
        assert_eq!(fs.lookup(&root, pair[1], b"f").await.unwrap().ino, file);
        let gone = fs.lookup(&root, pair[0], b"f").await.unwrap_err();
        assert_eq!(gone.errno(), Errno::NoEntry);
    }
    fs.link(&root, file, dirs[3], b"second").await.unwrap();
    assert_eq!(fs.getattr(file).await.unwrap().nlink, 2);
    fs.unlink(&root, dirs[19], b"f").await.unwrap();
    assert_eq!(fs.getattr(file).await.unwrap().nlink, 1);
    let full = fs.rmdir(&root, fs.root(), b"d3").await.unwrap_err();
    assert_eq!(full.errno(), Errno::NotEmpty);
    fs.rename(&root, (fs.root(), b"d3"), (dirs[5], b"moved"), RenameHow::Replace).await.unwrap();
    let cycle = fs.rename(&root, (fs.root(), b"d5"), (dirs[3], b"x"), RenameHow::Replace).await.unwrap_err();
    assert_eq!(cycle.errno(), Errno::Invalid);
    fs.unlink(&root, dirs[3], b"second").await.unwrap();
    fs.rmdir(&root, dirs[5], b"moved").await.unwrap();
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_data_hosts_may_die_while_writing_and_reading() {
    let mut world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("one").await;
    let before = pattern(5_000_000, 1);
    write_file(&fs, "before", &before).await;
    world.kill(4);
    assert!(read_file(&fs, "before").await == before);
    let during = pattern(3_000_000, 2);
    write_file(&fs, "during", &during).await;
    world.kill(5);
    assert!(read_file(&fs, "before").await == before);
    assert!(read_file(&fs, "during").await == during);
    let after = pattern(3_000_000, 3);
    write_file(&fs, "after", &after).await;
    assert!(read_file(&fs, "after").await == after);
    world.restart(4).await;
    world.restart(5).await;
    for (name, data) in [("before", &before), ("during", &during), ("after", &after)] {
        assert!(read_file(&fs, name).await == *data, "{name}");
    }
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_host_may_restart_and_nothing_acknowledged_is_lost() {
    let mut world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("one").await;
    let mut files = Vec::new();
    for round in 0..3u8 {
        for n in 0..6 {
            let data = pattern(40_000 * (n + 1), round * 16 + n as u8);
            let name = format!("r{round}n{n}");
            write_file(&fs, &name, &data).await;
            files.push((name, data));
        }
        for n in 0..6 {
            world.kill(n);
        }
        for n in 0..6 {
            world.restart(n).await;
        }
        for (name, data) in &files {
            assert!(read_file(&fs, name).await == *data, "{name} after round {round}");
        }
    }
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_punch_and_overwrite() {
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("one").await;
    let mut model = pattern(200_000, 9).to_vec();
    let ino = write_file(&fs, "f", &model.clone().into()).await;
    fs.open(&Cred::ROOT, ino, true, true).await.unwrap();
    fs.write(ino, 50_000, pattern(70_000, 4)).await.unwrap();
    model[50_000..120_000].copy_from_slice(&pattern(70_000, 4));
    fs.punch(ino, forebay_types::ByteRange::new(10_000, 20_000)).await.unwrap();
    model[10_000..30_000].fill(0);
    let size = |size| SetAttr { size: Some(size), ..SetAttr::default() };
    fs.set(&Cred::ROOT, ino, size(150_000)).await.unwrap();
    fs.set(&Cred::ROOT, ino, size(180_000)).await.unwrap();
    model.truncate(150_000);
    model.resize(180_000, 0);
    assert!(fs.read_all(ino, 1 << 20).await.unwrap() == model);
    fs.release(ino).await.unwrap();
    assert!(read_file(&fs, "f").await == model);
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlinked_file_lives_until_it_is_closed_and_then_its_stripes_go() {
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("one").await;
    let data = pattern(2_000_000, 5);
    let ino = write_file(&fs, "f", &data).await;
    fs.open(&Cred::ROOT, ino, true, false).await.unwrap();
    fs.unlink(&Cred::ROOT, fs.root(), b"f").await.unwrap();
    assert!(fs.read_all(ino, 4 << 20).await.unwrap() == data);
    fs.release(ino).await.unwrap();
    let until = tokio::time::Instant::now() + TIMEOUT;
    loop {
        match fs.getattr(ino).await {
            Err(ClientError::Posix(Errno::NoEntry | Errno::Stale)) => break,
            other => assert!(tokio::time::Instant::now() < until, "still there: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_name_or_key_is_refused_in_plain_words() {
    let world = Testbed::start(Plan::SIX).await;
    let refused = Filesystem::mount(&world.cluster("x"), "scratsh", "x").await.err().expect("no such filesystem");
    assert!(refused.to_string().contains("'scratsh'") && refused.to_string().contains("scratch"), "{refused}");
    let stranger = ClusterKey::generate().unwrap();
    let options = ClientOptions { timeout: Duration::from_secs(2), ..ClientOptions::default() };
    let cluster = Cluster::new(world.addresses().to_vec(), stranger, Role::Client, "x", options);
    let refused = Filesystem::mount(&cluster, "scratch", "x").await.err().expect("wrong key");
    assert!(refused.to_string().contains("key"), "{refused}");
}
