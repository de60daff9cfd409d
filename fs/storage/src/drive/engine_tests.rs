//! What the engine says, and when, over a device whose flushes end when the test lets them.

use std::sync::{Arc, Mutex};

use forebay_types::{DriveId, Epoch, Geometry, LifetimeClass, PgId, ShardId, StripeId, Uuid};

use super::*;
use crate::drive::device::{self, Waker};
use crate::drive::{Drive, IoEngine, NewDrive, OpenDrive, create};

/// Patience with what should be there at once.
const SOON: Duration = Duration::from_secs(30);

/// Keeps flushes back while it is shut.
#[derive(Default)]
struct Gate {
    shut: bool,
    waiting: Vec<u64>,
    ended: Vec<Completion>,
}

type SharedGate = Arc<Mutex<Gate>>;

struct Gated {
    inner: Box<dyn Device>,
    gate: SharedGate,
}

impl Gated {
    fn take_ended(&self, ended: &mut Vec<Completion>) {
        ended.append(&mut self.gate.lock().unwrap().ended);
    }
}

impl Device for Gated {
    fn begin(&mut self, id: u64, io: Io) {
        let mut gate = self.gate.lock().unwrap();
        if matches!(io, Io::Flush) && gate.shut {
            return gate.waiting.push(id);
        }
        drop(gate);
        self.inner.begin(id, io);
    }

    fn wait(&mut self, most: Duration, ended: &mut Vec<Completion>) -> io::Result<()> {
        self.take_ended(ended);
        if ended.is_empty() {
            self.inner.wait(most, ended)?;
            self.take_ended(ended);
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }
}

/// An open drive, and the gate of its flushes.
struct Bench {
    drive: Drive,
    gate: SharedGate,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        let (cluster, drive) = (Uuid([0xcc; 16]), Uuid([0xdd; 16]));
        let new = NewDrive { size_bytes: 17 << 20, segment_bytes: Some(1 << 20), drive, cluster, drive_id: DriveId(4) };
        create(&path, &new).unwrap();
        let which = OpenDrive { path, cluster: Some(cluster), engine: IoEngine::Threads };
        let gate = SharedGate::default();
        let shared = gate.clone();
        let start = move |file| {
            let inner = device::start(file, IoEngine::Threads)?;
            Ok(Box::new(Gated { inner, gate: shared }) as Box<dyn Device>)
        };
        let (drive, _) = Drive::open_by(&which, start).unwrap();
        Self { drive, gate, _dir: dir }
    }

    fn shut(&self) {
        self.gate.lock().unwrap().shut = true;
    }

    /// Waits until a flush is kept back, and the engine has gone through everything that came before.
    async fn flush_waits(&self) {
        let until = Instant::now() + SOON;
        while self.gate.lock().unwrap().waiting.is_empty() {
            assert!(Instant::now() < until, "nothing is flushed");
            self.drive.stats().await.unwrap();
        }
        self.drive.stats().await.unwrap();
        // Whoever has been answered by now goes on first.
        tokio::task::yield_now().await;
    }

    /// Lets the flushes end that are kept back, with this outcome, and later ones through.
    async fn open(&self, outcome: fn() -> io::Result<Option<AlignedBuffer>>) {
        {
            let mut gate = self.gate.lock().unwrap();
            gate.shut = false;
            let ended: Vec<Completion> =
                gate.waiting.drain(..).map(|id| Completion { id, result: outcome() }).collect();
            gate.ended.extend(ended);
        }
        // Wakes the engine.
        self.drive.stats().await.unwrap();
    }
}

fn chunk(n: u64) -> ChunkPut {
    let key: ChunkKey = (StripeId::new(PgId(1), ShardId(0), LifetimeClass::Job, n), 0);
    let payload = Bytes::from(vec![n as u8; BLOCK]);
    let crcs = crc::block_crcs(&payload);
    ChunkPut { key, geometry: Geometry { data: 4, parity: 2 }, epoch: Epoch(1), payload, crcs }
}

#[tokio::test]
async fn nobody_is_told_of_what_is_not_flushed_yet() {
    let bench = Bench::new();
    bench.drive.put(chunk(1)).await.unwrap();
    bench.shut();
    let drive = bench.drive.clone();
    let put = tokio::spawn(async move { drive.put(chunk(2)).await });
    bench.flush_waits().await;
    assert!(!put.is_finished(), "a put is answered before its flush");
    bench.open(|| Ok(None)).await;
    assert_eq!(put.await.unwrap(), Ok(()));
    bench.shut();
    let drive = bench.drive.clone();
    let delete = tokio::spawn(async move { drive.delete(vec![chunk(1).key]).await });
    bench.flush_waits().await;
    assert!(!delete.is_finished(), "a deletion is answered before its flush");
    bench.open(|| Ok(None)).await;
    assert_eq!(delete.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn who_waits_for_a_flush_that_fails_is_told_so() {
    let bench = Bench::new();
    bench.shut();
    let drive = bench.drive.clone();
    let put = tokio::spawn(async move { drive.put(chunk(1)).await });
    bench.flush_waits().await;
    bench.open(|| Err(io::Error::from_raw_os_error(libc::EIO))).await;
    let told = put.await.unwrap().unwrap_err().to_string();
    assert!(told.contains("cannot flush"), "{told}");
    assert!(bench.drive.put(chunk(2)).await.is_err(), "a drive that has lost a flush takes another chunk");
}
