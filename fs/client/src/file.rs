//! What the client keeps of a file: dirty bytes, known extents, opens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_cache::WriteBuffer;
use forebay_types::{Attr, ByteRange, Extent, InodeId, LifetimeClass, Timestamp};
use tokio::time::Instant;

use crate::ClientError;

/// Extents of a part of a file, as a shard told them.
#[derive(Clone, Debug)]
pub(crate) struct KnownExtents {
    pub range: ByteRange,
    pub attr: Attr,
    pub class: LifetimeClass,
    pub extents: Arc<Vec<Extent>>,
}

impl KnownExtents {
    /// Whether they answer for `range`.
    pub fn cover(&self, range: ByteRange) -> bool {
        let end = range.end().min(self.attr.size);
        self.range.offset <= range.offset && end <= self.range.end()
    }
}

/// Changing part of a file's state.
#[derive(Default)]
pub(crate) struct FileState {
    /// Written, not on its way yet.
    pub dirty: WriteBuffer,
    /// On its way to drives: still read from here.
    pub flushing: Option<Arc<WriteBuffer>>,
    /// When the oldest byte of `dirty` was written.
    pub dirty_since: Option<Instant>,
    /// What the shard is to be told about the bytes of `dirty`.
    pub touch: Touch,
    /// The same for the bytes on their way.
    pub flushing_touch: Touch,
    /// When this node last read the file.
    pub read_at: Option<Timestamp>,
    /// The last of these times that the shard has been told.
    pub read_told: Option<Timestamp>,
    /// A write-back that failed and that nobody has been told of yet.
    pub error: Option<ClientError>,
    /// Extents known.
    pub known: Option<KnownExtents>,
    /// Opens of this process.
    pub opens: u32,
}

/// What writing changes beside content.
#[derive(Clone, Copy, Default)]
pub(crate) struct Touch {
    /// When the last byte was written.
    pub at: Option<Timestamp>,
    /// Whether somebody without privilege wrote: set-id bits go.
    pub drop_privileges: bool,
}

impl Touch {
    /// Both.
    pub fn and(self, other: Self) -> Self {
        let drop_privileges = self.drop_privileges || other.drop_privileges;
        Self { at: self.at.max(other.at), drop_privileges }
    }
}

/// This node's time of day.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// A file that is open here or has dirty bytes.
pub(crate) struct File {
    pub ino: InodeId,
    state: Mutex<FileState>,
    /// Held while dirty bytes go out, or the size is changed: one at a time.
    pub flush_lock: tokio::sync::Mutex<()>,
    lost: AtomicU64,
    locks_lost: AtomicU64,
    /// Held while a cold range is recalled: one at a time.
    pub recall_lock: tokio::sync::Mutex<()>,
}

impl File {
    /// Times that an exclusive lease of it was lost.
    pub fn times_lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Times that a lock of a program was lost on it.
    pub fn times_lock_lost(&self) -> u64 {
        self.locks_lost.load(Ordering::Acquire)
    }

    /// Refuses to write what was begun when locks had been lost so often, where another has been since.
    pub fn check_locks(&self, times_lost: u64) -> Result<(), ClientError> {
        if self.times_lock_lost() == times_lost { Ok(()) } else { Err(ClientError::LeaseLost { ino: self.ino }) }
    }

    pub fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileState {
    /// The file's size as this node sees it.
    pub fn local_size(&self, size: u64) -> u64 {
        let flushing = self.flushing.as_ref().map_or(0, |buffer| buffer.end());
        size.max(self.dirty.end()).max(flushing)
    }

    /// Attributes as this node sees them: with what it has written and read and not told the shard yet.
    pub fn overlay(&self, attr: &mut Attr) {
        attr.size = self.local_size(attr.size);
        let touch = self.touch.and(self.flushing_touch);
        if let Some(at) = touch.at {
            attr.mtime = at.max(attr.ctime);
            attr.ctime = attr.mtime;
        }
        if touch.drop_privileges {
            attr.clear_setid();
        }
        if let Some(at) = self.read_at.filter(|at| attr.access_counts(*at)) {
            attr.atime = at;
        }
    }

    /// One open less.
    pub fn closed(&mut self) {
        self.opens = self.opens.saturating_sub(1);
    }

    /// When the file was read, where its shard is to be told; only once. `known`: its attributes, where they are.
    pub fn access_to_tell(&mut self, known: Option<&Attr>) -> Option<Timestamp> {
        let counts = |at: &Timestamp| known.is_none_or(|attr| attr.access_counts(*at));
        let tell = self.read_at.filter(|at| counts(at) && self.read_told < Some(*at));
        // Kept beside, for attributes that are asked for before the shard has it.
        self.read_told = self.read_told.max(tell);
        tell
    }

    fn drop_dirty(&mut self) {
        self.dirty = WriteBuffer::default();
        self.dirty_since = None;
        self.touch = Touch::default();
    }

    /// Whether there is anything that a shard does not know yet.
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.flushing.is_none()
    }
}

/// Files by inode, and the dirty bytes of all of them.
#[derive(Default)]
pub(crate) struct Files {
    by_ino: Mutex<HashMap<InodeId, Arc<File>>>,
    dirty_bytes: AtomicU64,
}

impl Files {
    /// The file of an inode, remembered from now on.
    pub fn get(&self, ino: InodeId) -> Arc<File> {
        let new = || {
            Arc::new(File {
                ino,
                state: Mutex::default(),
                flush_lock: tokio::sync::Mutex::default(),
                lost: AtomicU64::new(0),
                locks_lost: AtomicU64::new(0),
                recall_lock: tokio::sync::Mutex::default(),
            })
        };
        self.lock().entry(ino).or_insert_with(new).clone()
    }

    /// The file of an inode, where it is remembered.
    pub fn find(&self, ino: InodeId) -> Option<Arc<File>> {
        self.lock().get(&ino).cloned()
    }

    /// Forgets a file that is neither open nor dirty.
    pub fn forget(&self, ino: InodeId) {
        let mut files = self.lock();
        let Some(file) = files.get(&ino) else { return };
        let state = file.lock();
        let idle = state.opens == 0 && state.is_clean() && state.error.is_none();
        drop(state);
        if idle {
            files.remove(&ino);
        }
    }

    /// An exclusive lease is lost: others may have written meanwhile, so what was written behind must not follow.
    pub fn lose(&self, ino: InodeId) {
        let Some(file) = self.find(ino) else { return };
        let mut state = file.lock();
        file.lost.fetch_add(1, Ordering::AcqRel);
        if state.is_clean() {
            return;
        }
        tracing::error!(%ino, bytes = state.dirty.bytes(), "a lease was lost with bytes that were not written back");
        self.sub_dirty(state.dirty.bytes());
        state.drop_dirty();
        state.error = Some(ClientError::LeaseLost { ino });
    }

    /// A program's lock is lost: others may have read and written under theirs meanwhile, so what was written here and not
    /// made durable must not follow.
    pub fn lose_lock(&self, ino: InodeId) {
        if let Some(file) = self.find(ino) {
            file.locks_lost.fetch_add(1, Ordering::AcqRel);
        }
        self.lose(ino);
    }

    /// The file is gone: nobody wants its bytes.
    pub fn drop_dirty(&self, ino: InodeId) {
        if let Some(file) = self.find(ino) {
            let mut state = file.lock();
            self.sub_dirty(state.dirty.bytes());
            state.drop_dirty();
        }
    }

    /// Every file remembered.
    pub fn all(&self) -> Vec<Arc<File>> {
        self.lock().values().cloned().collect()
    }

    /// Dirty bytes of all files, those on their way included.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    /// Dirty bytes have become more.
    pub fn add_dirty(&self, bytes: u64) {
        self.dirty_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Dirty bytes have become fewer.
    pub fn sub_dirty(&self, bytes: u64) {
        self.dirty_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InodeId, Arc<File>>> {
        self.by_ino.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
