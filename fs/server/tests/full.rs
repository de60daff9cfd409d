//! A filesystem whose drives are full: writers hear so soon, and nothing that was acknowledged is lost.

use std::time::Instant;

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem};
use forebay_testbed::{FILESYSTEM, Plan, TIMEOUT, Testbed};
use forebay_types::{Cred, Errno, InodeId};
use forebay_wire::meta::NewNode;

const ROOT: Cred = Cred::ROOT;
const DRIVE_BYTES: u64 = 64 << 20;
const PIECE: usize = 1 << 20;

fn piece(seed: usize) -> Bytes {
    (0..PIECE).map(|at| ((at * 31) ^ (at >> 7) ^ seed) as u8).collect::<Vec<u8>>().into()
}

async fn create(fs: &Filesystem, name: &str) -> InodeId {
    let ino = fs.create(&ROOT, fs.root(), name.as_bytes(), NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    ino
}

/// Writes a piece and makes it durable.
async fn append(fs: &Filesystem, ino: InodeId, number: usize) -> Result<(), ClientError> {
    fs.write(ino, (number * PIECE) as u64, piece(number)).await?;
    fs.fsync(ino).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_filesystem_says_enospc_soon_and_keeps_what_it_acknowledged() {
    let world = Testbed::start(Plan { drive_bytes: DRIVE_BYTES, ..Plan::THREE }).await;
    let fs = world.mount("writer").await;
    let ino = create(&fs, "fill").await;
    let mut durable = 0;
    let (error, took) = loop {
        assert!((durable * PIECE) as u64 <= 3 * DRIVE_BYTES, "the drives take more than they hold");
        let begun = Instant::now();
        match append(&fs, ino, durable).await {
            Ok(()) => durable += 1,
            Err(error) => break (error, begun.elapsed()),
        }
    };
    assert_eq!(error.errno(), Errno::NoSpace, "{error}");
    assert!(took < TIMEOUT, "said after {took:?}, when it could have been known at once");
    assert!(durable > 8, "{durable} MiB of {} were taken", 2 * (DRIVE_BYTES >> 20));
    let other = Filesystem::mount(fs.cluster(), FILESYSTEM, "reader").await.unwrap();
    let seen = other.lookup(&ROOT, other.root(), b"fill").await.unwrap().ino;
    other.open(&ROOT, seen, true, false).await.unwrap();
    let all = other.read_all(seen, 256 << 20).await.unwrap();
    for number in 0..durable {
        assert!(all[number * PIECE..(number + 1) * PIECE] == piece(number), "MiB {number} is not what was written");
    }
    other.release(seen).await.unwrap();
    // What is small goes into the metadata, so a user can still rename and remove.
    fs.mkdir(&ROOT, fs.root(), b"room", 0o755).await.unwrap();
    fs.unlink(&ROOT, fs.root(), b"fill").await.unwrap();
    other.unmount().await.unwrap();
    fs.abandon().await;
}
