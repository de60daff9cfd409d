//! A drive on a file or a raw block device.
//!
//! Job: the I/O around [`forebay_drive::DriveCore`]. One thread per drive owns the core and, through io_uring or a few
//! blocking threads, the device; callers on any runtime or none talk to it through [`Drive`].
//!
//! Protocol: [`create`] makes a drive, [`adopt`] gives it to a cluster, [`Drive::open`] scans it and starts its thread. A put or a delete is
//! answered when it is durable; those that arrive during a flush share the next one. Reads go on meanwhile.
//!
//! Invariants: at most [`REQUESTS_MAX`] requests are under way, the others wait for a turn; every request is answered: when the
//! device gives no answer within [`IO_DEADLINE`] the drive counts as failed and says so. The file is locked while it is
//! open. Bytes are checked against their CRCs before they are stored and before they are handed out. Does not know
//! clusters, networks or what chunks mean.

mod buffer;
mod device;
mod engine;
mod error;
mod file;
mod threads;
mod uring;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use forebay_erasure::crc;
use forebay_types::Uuid;
use tokio::sync::{Semaphore, oneshot};

pub use device::IoEngine;
pub use error::{DriveError, OpenError};
pub use file::{NewDrive, adopt, create, inspect};
pub use forebay_drive::{ChunkInfo, ChunkKey, ChunkPut, CoreStats, RecoveryReport, Superblock};

use device::Device;
use engine::{Engine, Reply, Request};

/// Most requests of one drive under way; a caller beyond them waits for its turn.
pub const REQUESTS_MAX: usize = 256;
/// Longest time a device may take to answer before its drive counts as failed.
pub const IO_DEADLINE: Duration = Duration::from_secs(30);
/// Most keys one deletion or one page of a listing may have.
pub const KEYS_MAX: usize = 4096;

/// Which drive to open, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenDrive {
    /// The file or block device.
    pub path: PathBuf,
    /// The cluster it must belong to; any where absent.
    pub cluster: Option<Uuid>,
    /// What moves the bytes.
    pub engine: IoEngine,
}

/// Blocks of a chunk as they were written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkRead {
    /// The bytes, checked.
    pub payload: Bytes,
    /// CRC32C of each block of `payload`.
    pub crcs: Vec<u32>,
    /// What is known of the whole chunk.
    pub info: ChunkInfo,
}

/// Space and health of a drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriveFigures {
    /// Counts and bytes.
    pub core: CoreStats,
    /// What is wrong with the device; empty where nothing is.
    pub failure: String,
}

/// An open drive. Clones are the same drive; when the last one is dropped it is closed as by [`Drive::shutdown`].
#[derive(Clone)]
pub struct Drive {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    superblock: Superblock,
    /// As many permits as the channel has room, so that sending never waits.
    turns: Arc<Semaphore>,
    requests: Mutex<Option<SyncSender<Request>>>,
    waker: device::Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drive {
    /// Opens a drive: locks, checks, scans it (blocking; a second or so per hundred thousand chunks) and starts its thread.
    ///
    /// # Errors
    /// The drive is in use, not a drive, another cluster's, truncated, or cannot be read.
    pub fn open(which: &OpenDrive) -> Result<(Self, RecoveryReport), OpenError> {
        let engine = which.engine;
        Self::open_by(which, move |file| device::start(file, engine))
    }

    /// [`Self::open`] with a device of one's own.
    fn open_by(
        which: &OpenDrive,
        start: impl FnOnce(Arc<File>) -> io::Result<Box<dyn Device>> + Send + 'static,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let path = which.path.clone();
        let (file, superblock) = file::open(&path, which.cluster)?;
        let failed = |action| {
            let path = path.clone();
            move |source| OpenError::Io { path, action, source }
        };
        let recovered = engine::scan(&file, &superblock);
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let kind = path.clone();
        // The device is made on the thread that uses it: an io_uring belongs to one thread.
        let (started, ready) = sync_channel(1);
        let run = move || match start(Arc::new(file)) {
            Err(error) => drop(started.send(Err(error))),
            Ok(device) => {
                let waker = device.waker();
                let (mut engine, report) = Engine::new(kind, device, inbox, recovered, superblock.starts);
                if started.send(Ok((waker, report))).is_ok() {
                    engine.run();
                }
            }
        };
        let name = format!("drive-{}", superblock.drive_id.0);
        let thread = thread::Builder::new().name(name).spawn(run).map_err(failed("start its thread"))?;
        let (waker, report) = match ready.recv() {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(failed("set up its I/O")(error)),
            Err(_) => return Err(failed("start its thread")(io::Error::other("the thread ended at once"))),
        };
        let shared = Shared {
            path,
            superblock,
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            requests: Mutex::new(Some(requests)),
            waker,
            thread: Mutex::new(Some(thread)),
        };
        Ok((Self { shared: Arc::new(shared) }, report))
    }

    /// The drive's identity.
    #[must_use]
    pub fn superblock(&self) -> Superblock {
        self.shared.superblock
    }

    /// Where the drive is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Stores a chunk; returns when it is durable. The same chunk again is as good as once.
    ///
    /// # Errors
    /// See [`DriveError`]; nothing is promised about the chunk then.
    pub async fn put(&self, chunk: ChunkPut) -> Result<(), DriveError> {
        crc::verify(&chunk.payload, &chunk.crcs)
            .map_err(|_| DriveError::Invalid { reason: "the payload does not have the checksums sent with it" })?;
        self.ask(|reply| Request::Put(chunk, reply)).await?
    }

    /// Blocks `blocks` of a chunk, checked against the CRCs they were written with.
    ///
    /// # Errors
    /// See [`DriveError`]; `Corrupt` names the first bad block.
    pub async fn get(&self, key: ChunkKey, blocks: Range<u32>) -> Result<ChunkRead, DriveError> {
        self.ask(|reply| Request::Get(key, blocks, reply)).await?
    }

    /// Erases chunks, at most [`KEYS_MAX`]; returns when that is durable. Chunks that are not there are as good as erased.
    ///
    /// # Errors
    /// See [`DriveError`]; some of the chunks may be erased then.
    pub async fn delete(&self, keys: Vec<ChunkKey>) -> Result<(), DriveError> {
        if keys.len() > KEYS_MAX {
            return Err(DriveError::Invalid { reason: "more than 4096 chunks in one deletion" });
        }
        self.ask(|reply| Request::Delete(keys, reply)).await?
    }

    /// Chunks after `after` in order, at most `limit`, and whether there are no more.
    ///
    /// # Errors
    /// The drive is closed.
    pub async fn list(&self, after: Option<ChunkKey>, limit: usize) -> Result<(Vec<ChunkKey>, bool), DriveError> {
        self.ask(|reply| Request::List(after, limit.min(KEYS_MAX), reply)).await
    }

    /// What the drive knows of a chunk, `None` where it has none.
    ///
    /// # Errors
    /// The drive is closed.
    pub async fn info(&self, key: ChunkKey) -> Result<Option<ChunkInfo>, DriveError> {
        self.ask(|reply| Request::Info(key, reply)).await
    }

    /// Space and health.
    ///
    /// # Errors
    /// The drive is closed.
    pub async fn stats(&self) -> Result<DriveFigures, DriveError> {
        self.ask(Request::Stats).await
    }

    /// Finishes what is under way, writes down that everything is durable, and closes the drive. Later requests are
    /// refused. Returns when the file is unlocked.
    ///
    /// # Errors
    /// The drive is already closed.
    pub async fn shutdown(&self) -> Result<(), DriveError> {
        let ended = self.ask(Request::Shutdown).await;
        // The thread has nothing left to do but to let go of the file.
        self.shared.close();
        ended
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, DriveError> {
        let closed = || DriveError::Closed { path: self.shared.path.clone() };
        let turn = Arc::clone(&self.shared.turns).acquire_owned().await.map_err(|_| closed())?;
        let (to, answer) = oneshot::channel();
        self.shared.send(request(Reply::new(to, turn))).map_err(|()| closed())?;
        answer.await.map_err(|_| closed())
    }
}

impl Shared {
    fn send(&self, request: Request) -> Result<(), ()> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = requests.as_ref() else {
            return Err(());
        };
        // There are as many turns as places, so this fails only where the thread has ended.
        sender.try_send(request).map_err(drop)?;
        (self.waker)();
        Ok(())
    }

    fn close(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        (self.waker)();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(drive = %self.path.display(), "the drive's thread panicked");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
