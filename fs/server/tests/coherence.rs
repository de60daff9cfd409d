//! Several clients of one cluster: each sees what any of them has done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_testbed::{Plan, Testbed};
use forebay_types::{Cred, Errno, InodeId, limits};
use forebay_wire::meta::{NewNode, RenameHow, SetAttr};
use tokio::task::JoinSet;

const ROOT: Cred = Cred::ROOT;

async fn file(fs: &Filesystem, name: &[u8]) -> InodeId {
    let ino = fs.create(&ROOT, fs.root(), name, NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    ino
}

fn errno<T>(result: Result<T, forebay_client::ClientError>) -> Option<Errno> {
    result.err().map(|error| error.errno())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_has_written_the_other_reads_at_once() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount("one").await, world.mount("other").await);
    let ino = file(&one, b"f").await;
    other.open(&ROOT, ino, true, true).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..40_u8 {
        // Neither is flushed, closed or synced by whoever wrote it.
        let (writer, reader) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let piece = vec![round; 1000];
        writer.write(ino, expected.len() as u64, piece.clone().into()).await.unwrap();
        expected.extend_from_slice(&piece);
        assert_eq!(reader.getattr(ino).await.unwrap().size, expected.len() as u64, "round {round}");
        assert!(reader.read(ino, 0, 1 << 20).await.unwrap() == expected, "round {round}");
        assert!(writer.read(ino, 0, 1 << 20).await.unwrap() == expected, "round {round}");
    }
    other.set(&ROOT, ino, SetAttr { size: Some(10), ..SetAttr::default() }).await.unwrap();
    assert_eq!(one.read(ino, 0, 1 << 20).await.unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_made_moved_and_removed_by_one_are_so_for_the_other() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount("one").await, world.mount("other").await);
    let dir = one.mkdir(&ROOT, one.root(), b"d", 0o755).await.unwrap().ino;
    for round in 0..20 {
        let (here, there) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        assert_eq!(errno(there.lookup(&ROOT, dir, first.as_bytes()).await), Some(Errno::NoEntry));
        let made = here.create(&ROOT, dir, first.as_bytes(), NewNode::File, 0o644, true).await.unwrap().attr;
        assert_eq!(there.lookup(&ROOT, dir, first.as_bytes()).await.unwrap().ino, made.ino);
        let again = there.create(&ROOT, dir, first.as_bytes(), NewNode::File, 0o644, true).await;
        assert_eq!(errno(again), Some(Errno::Exists));
        there
            .rename(&ROOT, (dir, first.as_bytes()), (one.root(), second.as_bytes()), RenameHow::Replace)
            .await
            .unwrap();
        assert_eq!(errno(here.lookup(&ROOT, dir, first.as_bytes()).await), Some(Errno::NoEntry));
        assert_eq!(here.lookup(&ROOT, one.root(), second.as_bytes()).await.unwrap().ino, made.ino);
        here.set(&ROOT, made.ino, SetAttr { mode: Some(0o600), ..SetAttr::default() }).await.unwrap();
        assert_eq!(there.getattr(made.ino).await.unwrap().mode, 0o600);
        here.unlink(&ROOT, one.root(), second.as_bytes()).await.unwrap();
        assert_eq!(errno(there.lookup(&ROOT, one.root(), second.as_bytes()).await), Some(Errno::NoEntry));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_three_clients_neither_overlap_nor_get_lost() {
    const EACH: usize = 40;
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("maker").await;
    let ino = file(&fs, b"log").await;
    let mut writers = JoinSet::new();
    for n in 0..3_u8 {
        let writer = world.mount(&format!("w{n}")).await;
        writers.spawn(async move {
            writer.open(&ROOT, ino, true, true).await.unwrap();
            for line in 0..EACH {
                writer.append(ino, Bytes::from(format!("{n}:{line:04}\n"))).await.unwrap();
            }
            writer.release(ino).await.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let text = fs.read(ino, 0, 1 << 20).await.unwrap();
    let mut lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
    for n in 0..3 {
        let own: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with(&format!("{n}:"))).collect();
        assert!(own.is_sorted(), "the lines of one writer are in its order");
    }
    lines.sort_unstable();
    let expected: Vec<String> = (0..3).flat_map(|n| (0..EACH).map(move |line| format!("{n}:{line:04}"))).collect();
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_file_on_three_clients_write_what_they_were_given() {
    const PART: usize = 3000;
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("maker").await;
    let ino = file(&fs, b"shared").await;
    let mut writers = JoinSet::new();
    for n in 0..3_usize {
        let writer = world.mount(&format!("w{n}")).await;
        writers.spawn(async move {
            writer.open(&ROOT, ino, true, true).await.unwrap();
            for round in 0..20 {
                let at = (round * 3 + n) * PART;
                writer.write(ino, at as u64, vec![n as u8 + 1; PART].into()).await.unwrap();
                let back = writer.read(ino, at as u64, PART as u32).await.unwrap();
                assert!(back.iter().all(|byte| usize::from(*byte) == n + 1));
            }
            writer.release(ino).await.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let bytes = fs.read(ino, 0, 1 << 20).await.unwrap();
    assert_eq!(bytes.len(), 60 * PART);
    for (part, bytes) in bytes.chunks(PART).enumerate() {
        assert!(bytes.iter().all(|byte| usize::from(*byte) == part % 3 + 1), "part {part}");
    }
}

/// A client that dies: others wait for its lease to run out and no longer, and see what it had made durable.
#[test]
fn a_client_that_dies_holds_others_up_for_the_time_of_a_lease() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (own, dying) = (runtime(), runtime());
    let world = own.block_on(Testbed::start(Plan::SIX));
    let ino = dying.block_on(async {
        let fs = world.mount("dying").await;
        let ino = file(&fs, b"f").await;
        fs.write(ino, 0, Bytes::from_static(b"kept")).await.unwrap();
        fs.fsync(ino).await.unwrap();
        fs.write(ino, 0, Bytes::from_static(b"lost")).await.unwrap();
        ino
    });
    dying.shutdown_background();
    own.block_on(async {
        let other = world.mount("other").await;
        let soon = Duration::from_millis(2 * limits::LEASE_MS);
        let read = tokio::time::timeout(soon, other.read(ino, 0, 100)).await.expect("no hang").unwrap();
        assert_eq!(&read[..], b"kept");
        other.write(ino, 0, Bytes::from_static(b"else")).await.unwrap();
        assert_eq!(&other.read(ino, 0, 100).await.unwrap()[..], b"else");
    });
}

/// Leaders die while two clients change one counter in turn: no change is lost, whoever wrote it behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coherence_outlives_leaders() {
    let mut world = Testbed::start(Plan::SIX).await;
    let clients = [Arc::new(world.mount("one").await), Arc::new(world.mount("other").await)];
    let ino = file(&clients[0], b"counter").await;
    clients[1].open(&ROOT, ino, true, true).await.unwrap();
    clients[0].write(ino, 0, Bytes::from_static(b"000000")).await.unwrap();
    let mut count = 0_u32;
    for host in 0..2 {
        for _ in 0..10 {
            let fs = &clients[count as usize % 2];
            let now = fs.read(ino, 0, 6).await.unwrap();
            assert_eq!(std::str::from_utf8(&now).unwrap(), format!("{count:06}"));
            count += 1;
            fs.write(ino, 0, Bytes::from(format!("{count:06}"))).await.unwrap();
        }
        world.kill(host);
    }
    assert_eq!(&clients[0].read(ino, 0, 6).await.unwrap()[..], format!("{count:06}").as_bytes());
}
