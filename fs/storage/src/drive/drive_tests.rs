use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use forebay_drive::{Record, RecordKind, SUPERBLOCK_OFFSETS};
use forebay_types::{DriveId, Epoch, Geometry, LifetimeClass, PgId, ShardId, StripeId};

use super::*;

const CLUSTER: Uuid = Uuid([0xcc; 16]);
const SIZE: u64 = 17 << 20;

struct Bench {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        create(&path, &new_drive()).unwrap();
        Self { _dir: dir, path }
    }

    fn open(&self, engine: IoEngine) -> (Drive, RecoveryReport) {
        self.try_open(engine).unwrap()
    }

    fn try_open(&self, engine: IoEngine) -> Result<(Drive, RecoveryReport), OpenError> {
        Drive::open(&OpenDrive { path: self.path.clone(), cluster: Some(CLUSTER), engine })
    }

    fn refusal(&self) -> String {
        self.try_open(IoEngine::Threads).err().expect("the drive must not open").to_string()
    }

    fn flip(&self, at: u64) {
        let file = OpenOptions::new().read(true).write(true).open(&self.path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    /// Where the key's newest record is in the file.
    fn record_at(&self, wanted: ChunkKey) -> u64 {
        let bytes = std::fs::read(&self.path).unwrap();
        let blocks = bytes.chunks(4096).enumerate().filter_map(|(n, block)| {
            let record = Record::decode(block).ok()?;
            matches!(record.kind, RecordKind::Chunk(chunk) if chunk.key == wanted).then_some((record.sequence, n))
        });
        blocks.max().unwrap().1 as u64 * 4096
    }
}

fn new_drive() -> NewDrive {
    let (drive, drive_id) = (Uuid([0xdd; 16]), DriveId(4));
    NewDrive { size_bytes: SIZE, segment_bytes: Some(1 << 20), drive, cluster: CLUSTER, drive_id }
}

fn engines() -> Vec<IoEngine> {
    let probe = std::sync::Arc::new(tempfile::tempfile().unwrap());
    match device::start(probe, IoEngine::Uring) {
        Ok(_) => vec![IoEngine::Threads, IoEngine::Uring],
        Err(error) => {
            eprintln!("skipped: io_uring is not to be had here: {error}");
            vec![IoEngine::Threads]
        }
    }
}

fn key(n: u64) -> ChunkKey {
    let class = LifetimeClass::from_u8((n % 3) as u8).unwrap();
    (StripeId::new(PgId(1), ShardId(0), class, 1 + n / 6), (n % 6) as u8)
}

fn chunk(key: ChunkKey, seed: u8, blocks: usize) -> ChunkPut {
    let payload: Bytes = (0..blocks * 4096).map(|i| (i / 7) as u8 ^ seed ^ key.1).collect::<Vec<u8>>().into();
    let crcs = crc::block_crcs(&payload);
    ChunkPut { key, geometry: Geometry { data: 4, parity: 2 }, epoch: Epoch(1), payload, crcs }
}

async fn expect(drive: &Drive, want: &ChunkPut) {
    let blocks = want.crcs.len() as u32;
    let whole = drive.get(want.key, 0..blocks).await.unwrap();
    assert_eq!((whole.payload, whole.crcs), (want.payload.clone(), want.crcs.clone()));
    let last = drive.get(want.key, blocks - 1..blocks).await.unwrap();
    assert_eq!(last.payload, want.payload.slice((blocks as usize - 1) * 4096..));
    assert_eq!(last.info.chunk_bytes as usize, want.payload.len());
}

#[tokio::test]
async fn chunks_come_back_also_after_reopening() {
    for engine in engines() {
        let bench = Bench::new();
        let (drive, _) = bench.open(engine);
        let chunks: Vec<ChunkPut> = (0..12).map(|n| chunk(key(n), 3, 1 + n as usize * 5)).collect();
        for chunk in &chunks {
            drive.put(chunk.clone()).await.unwrap();
            expect(&drive, chunk).await;
        }
        drive.delete(vec![key(2), key(999)]).await.unwrap();
        drive.delete(Vec::new()).await.unwrap();
        drop(drive);
        let (drive, report) = bench.open(engine);
        assert_eq!(report, RecoveryReport { chunks: 11, ..RecoveryReport::default() }, "{engine:?}");
        for chunk in chunks.iter().filter(|chunk| chunk.key != key(2)) {
            expect(&drive, chunk).await;
        }
        let (stripe, index) = key(2);
        assert_eq!(drive.get(key(2), 0..1).await, Err(DriveError::NotFound { stripe, index }));
        assert_eq!(drive.list(None, 100).await.unwrap().0.len(), 11);
        assert!(drive.info(key(3)).await.unwrap().is_some());
        drive.shutdown().await.unwrap();
        assert!(matches!(drive.put(chunk(key(1), 0, 1)).await, Err(DriveError::Closed { .. })));
    }
}

#[tokio::test]
async fn a_copy_taken_without_closing_has_everything_acknowledged() {
    for engine in engines() {
        let bench = Bench::new();
        let (drive, _) = bench.open(engine);
        for n in 0..20 {
            drive.put(chunk(key(n), 1, 3)).await.unwrap();
        }
        drive.delete(vec![key(5)]).await.unwrap();
        let copy = Bench::new();
        std::fs::copy(&bench.path, &copy.path).unwrap();
        let (copied, report) = copy.open(engine);
        assert_eq!((report.chunks, report.torn_records, report.corrupt.len()), (19, 0, 0));
        for n in (0..20).filter(|n| *n != 5) {
            expect(&copied, &chunk(key(n), 1, 3)).await;
        }
    }
}

#[tokio::test]
async fn a_torn_last_write_is_dropped_and_the_rest_stays() {
    let bench = Bench::new();
    let (drive, _) = bench.open(IoEngine::Auto);
    drive.put(chunk(key(0), 1, 3)).await.unwrap();
    drive.put(chunk(key(3), 1, 3)).await.unwrap();
    let copy = Bench::new();
    std::fs::copy(&bench.path, &copy.path).unwrap();
    copy.flip(copy.record_at(key(3)) + 2 * 4096);
    let (copied, report) = copy.open(IoEngine::Auto);
    assert_eq!((report.chunks, report.torn_records), (1, 1));
    expect(&copied, &chunk(key(0), 1, 3)).await;
    copied.put(chunk(key(3), 2, 3)).await.unwrap();
    expect(&copied, &chunk(key(3), 2, 3)).await;
}

#[tokio::test]
async fn a_flipped_bit_is_found_named_and_repaired_by_putting_the_chunk_again() {
    for engine in engines() {
        let bench = Bench::new();
        let (drive, _) = bench.open(engine);
        let good = chunk(key(1), 7, 8);
        drive.put(good.clone()).await.unwrap();
        drive.shutdown().await.unwrap();
        bench.flip(bench.record_at(key(1)) + 4096 + 5 * 4096 + 17);
        let (drive, _) = bench.open(engine);
        let (stripe, index) = key(1);
        let corrupt = Err(DriveError::Corrupt { stripe, index, block: 5 });
        assert_eq!(drive.get(key(1), 0..8).await, corrupt);
        assert_eq!(drive.get(key(1), 5..6).await, corrupt);
        assert!(drive.get(key(1), 6..8).await.is_ok(), "the other blocks are whole");
        assert_eq!(drive.stats().await.unwrap().core.corrupt_chunks, 1);
        drive.put(good.clone()).await.unwrap();
        expect(&drive, &good).await;
    }
}

#[tokio::test]
async fn a_full_drive_says_so_and_keeps_what_it_has() {
    for engine in engines() {
        let bench = Bench::new();
        let (drive, _) = bench.open(engine);
        let mut stored = 0;
        let refused = loop {
            match drive.put(chunk(key(stored), 2, 64)).await {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, DriveError::NoSpace { path: bench.path.clone() });
        for n in 0..stored {
            expect(&drive, &chunk(key(n), 2, 64)).await;
        }
        let before = drive.stats().await.unwrap().core;
        drive.delete((0..stored).filter(|n| n % 3 == 1).map(key).collect()).await.unwrap();
        drive.put(chunk(key(5000), 2, 64)).await.unwrap();
        let after = drive.stats().await.unwrap().core;
        assert!(after.free_bytes > before.free_bytes && after.live_bytes < before.live_bytes);
    }
}

#[tokio::test]
async fn deleting_everything_frees_whole_segments() {
    let bench = Bench::new();
    let (drive, _) = bench.open(IoEngine::Auto);
    let empty = drive.stats().await.unwrap().core.free_segments;
    for n in 0..24 {
        drive.put(chunk(key(n), 2, 64)).await.unwrap();
    }
    drive.delete((0..24).map(key).collect()).await.unwrap();
    drive.shutdown().await.unwrap();
    let (drive, _) = bench.open(IoEngine::Auto);
    let core = drive.stats().await.unwrap().core;
    assert!(core.free_segments >= empty - 4, "at most the open segments are in use: {core:?}");
    assert_eq!((core.live_bytes, core.cleaned_bytes), (0, 0));
}

#[tokio::test]
async fn puts_at_once_share_flushes_and_reads_go_on_meanwhile() {
    for engine in engines() {
        let bench = Bench::new();
        let (drive, _) = bench.open(engine);
        drive.put(chunk(key(500), 1, 4)).await.unwrap();
        let puts = futures_of((0..60).map(|n| drive.put(chunk(key(n), 1, 2))));
        let gets = async {
            for _ in 0..20 {
                expect(&drive, &chunk(key(500), 1, 4)).await;
            }
        };
        let (results, ()) = tokio::join!(puts, gets);
        assert!(results.into_iter().all(|result| result.is_ok()));
        let core = drive.stats().await.unwrap().core;
        assert!(core.flushes < core.puts, "{engine:?}: {core:?}");
    }
}

/// Runs futures at once on this task.
async fn futures_of<F: Future<Output = Result<(), DriveError>>>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut open: Vec<_> = all.map(|future| Some(Box::pin(future))).collect();
    let mut results = Vec::new();
    std::future::poll_fn(|context| {
        for slot in &mut open {
            if let Some(std::task::Poll::Ready(result)) = slot.as_mut().map(|future| future.as_mut().poll(context)) {
                results.push(result);
                *slot = None;
            }
        }
        if open.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    results
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let bench = Bench::new();
    let (drive, _) = bench.open(IoEngine::Auto);
    let good = chunk(key(1), 1, 2);
    let wrong = ChunkPut { crcs: vec![1, 2], ..good.clone() };
    assert!(matches!(drive.put(wrong).await, Err(DriveError::Invalid { .. })));
    drive.put(good.clone()).await.unwrap();
    for blocks in [0..3, 2..2, 5..6] {
        assert!(matches!(drive.get(good.key, blocks).await, Err(DriveError::Invalid { .. })));
    }
    assert!(matches!(drive.delete(vec![key(1); KEYS_MAX + 1]).await, Err(DriveError::Invalid { .. })));
}

#[test]
fn a_drive_in_use_names_the_process() {
    let bench = Bench::new();
    let (_drive, _) = bench.open(IoEngine::Auto);
    let message = bench.refusal();
    assert!(message.contains(&format!("in use by process {}: stop that forebayd", std::process::id())), "{message}");
}

#[test]
fn what_is_wrong_with_a_drive_is_said_with_the_remedy() {
    let bench = Bench::new();
    let other = OpenDrive { path: bench.path.clone(), cluster: Some(Uuid([1; 16])), engine: IoEngine::Auto };
    let message = Drive::open(&other).err().unwrap().to_string();
    assert!(message.contains(&CLUSTER.to_string()) && message.contains("belongs to cluster"), "{message}");

    let file = OpenOptions::new().write(true).open(&bench.path).unwrap();
    file.set_len(SIZE - 4096).unwrap();
    let message = bench.refusal();
    assert!(message.contains("truncated") && message.contains(&bench.path.display().to_string()), "{message}");
    file.set_len(0).unwrap();
    assert!(bench.refusal().contains("not a Forebay drive"));
    std::fs::remove_file(&bench.path).unwrap();
    assert!(bench.refusal().contains("does not exist"));
}

#[test]
fn one_superblock_is_enough_and_none_is_not() {
    let bench = Bench::new();
    bench.flip(SUPERBLOCK_OFFSETS[0] + 20);
    drop(bench.open(IoEngine::Auto));
    bench.flip(SUPERBLOCK_OFFSETS[1] + 20);
    drop(bench.open(IoEngine::Auto));
    // Opening has written both again.
    SUPERBLOCK_OFFSETS.iter().for_each(|at| bench.flip(at + 20));
    let message = bench.refusal();
    assert!(message.contains("damaged") && message.contains("replace the drive"), "{message}");
}

#[test]
fn creating_over_something_is_refused_and_adopting_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drive");
    create(&path, &NewDrive { cluster: Uuid::NIL, drive_id: DriveId(0), ..new_drive() }).unwrap();
    assert!(matches!(create(&path, &new_drive()), Err(OpenError::Exists { .. })));
    let adopted = adopt(&path, CLUSTER, DriveId(9)).unwrap();
    assert_eq!((adopted.cluster, adopted.drive_id), (CLUSTER, DriveId(9)));
    assert_eq!(inspect(&path).unwrap(), adopted);
    assert_eq!(adopt(&path, CLUSTER, DriveId(9)).unwrap(), adopted);
    assert!(matches!(adopt(&path, Uuid([2; 16]), DriveId(9)), Err(OpenError::WrongCluster { .. })));
    let small = create(&dir.path().join("small"), &NewDrive { size_bytes: 1 << 20, ..new_drive() });
    assert!(small.unwrap_err().to_string().contains("too few"));
    assert!(!dir.path().join("small").exists());
}
