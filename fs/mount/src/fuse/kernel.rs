//! What the kernel is let believe, and how it is made to forget.
//!
//! The kernel may believe a name or attributes for a moment ([`LIFE`]), and bytes for as long as nobody tells it otherwise,
//! while this client believes them itself. When the client stops to, [`Kernel::forget`] first lets answers out that are
//! on their way to the kernel, then has it forget.
//!
//! The kernel does not forget a name while an operation in its directory is under way, nor a page that is being written;
//! and such an operation may itself wait for another node to forget. So names are waited for only until they would not
//! be believed any more anyhow, pages that are being written are not waited for, and nothing is for longer than
//! [`PATIENCE`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::{Beholder, Filesystem};
use forebay_fuse::session::Notifier;
use forebay_fuse::{Context, Errno};
use forebay_types::{Attr, FileKind, InodeId};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::{Instant, timeout, timeout_at};

use crate::fuse::convert;

/// How long the kernel may believe a name or attributes without asking. It is also the longest that a node which is
/// changing a directory itself keeps another waiting for it to forget.
const LIFE: Duration = Duration::from_secs(1);
/// Longest wait for the kernel to forget.
const PATIENCE: Duration = Duration::from_secs(2);
/// Unit of the page cache, in bytes.
const PAGE: u64 = 4096;
/// Directories whose names' ends are remembered before those that have passed are dropped.
const MOST_DIRECTORIES: usize = 4096;

/// Names of a directory that the kernel has been told, and until when it believes them.
type Told = HashMap<Bytes, Instant>;

/// See the module.
pub(super) struct Kernel {
    fs: Filesystem,
    notifier: OnceLock<Notifier>,
    runtime: Handle,
    names: Mutex<HashMap<InodeId, Told>>,
    /// Ranges being written, whose pages are locked.
    writing: Mutex<HashMap<InodeId, Vec<(u64, u64)>>>,
    /// Read by answers on their way, written by who wants them to have arrived.
    on_their_way: Arc<RwLock<()>>,
}

/// A range being written.
pub(super) struct Writing<'a> {
    kernel: &'a Kernel,
    ino: InodeId,
    range: (u64, u64),
}

/// Bytes that the kernel must not keep: forgotten as soon as it has been given them.
struct Unkept {
    kernel: Arc<Kernel>,
    ino: InodeId,
    range: (u64, u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    pub fn new(fs: Filesystem, runtime: Handle) -> Arc<Self> {
        let this = Arc::new(Self {
            fs: fs.clone(),
            notifier: OnceLock::new(),
            runtime,
            names: Mutex::default(),
            writing: Mutex::default(),
            on_their_way: Arc::default(),
        });
        fs.set_beholder(this.clone());
        this
    }

    /// From now on the kernel can be told; before, it is let believe nothing.
    pub fn reach_by(&self, notifier: Notifier) {
        // Once, when the mount begins.
        let _ = self.notifier.set(notifier);
    }

    /// An answer that the kernel may believe is on its way until the guard is dropped; `None` while somebody waits for such
    /// answers to have arrived.
    fn on_its_way(&self) -> Option<OwnedRwLockReadGuard<()>> {
        self.notifier.get()?;
        self.on_their_way.clone().try_read_owned().ok()
    }

    /// How long the kernel may believe attributes that it is being told.
    pub fn life_of(&self, at: &Context, attr: &Attr) -> Duration {
        let Some(guard) = self.on_its_way() else { return Duration::ZERO };
        let life = self.fs.believes(attr).min(LIFE);
        at.hold(guard);
        life
    }

    /// How long the kernel may believe what a name stands for, which it is being told.
    pub fn life_of_name(&self, at: &Context, dir: InodeId, name: &Bytes, target: Option<(InodeId, FileKind)>) -> Duration {
        let Some(guard) = self.on_its_way() else { return Duration::ZERO };
        let life = self.fs.believes_name(dir, name, target).min(LIFE);
        if !life.is_zero() {
            let now = Instant::now();
            let mut names = lock(&self.names);
            if names.len() >= MOST_DIRECTORIES {
                names.retain(|_, told| told.values().any(|until| *until > now));
            }
            names.entry(dir).or_default().insert(name.clone(), now + life);
        }
        at.hold(guard);
        life
    }

    /// Bytes of a file are about to be told that were read while its attributes had a version, if they were believed.
    pub fn tells_bytes(self: &Arc<Self>, at: &Context, ino: InodeId, before: Option<u64>, range: (u64, u64)) {
        let guard = self.on_its_way();
        if before.is_some() && before == self.fs.believed_version(ino) && guard.is_some() {
            return at.hold(guard);
        }
        at.hold(Unkept { kernel: self.clone(), ino, range });
    }

    /// A range is being written.
    pub fn writes(&self, ino: InodeId, offset: u64, len: u64) -> Writing<'_> {
        let range = (offset / PAGE * PAGE, (offset + len).next_multiple_of(PAGE));
        lock(&self.writing).entry(ino).or_default().push(range);
        Writing { kernel: self, ino, range }
    }

    async fn forget_names(&self, dir: InodeId) {
        let Some(notifier) = self.notifier.get() else { return };
        let Some(told) = lock(&self.names).remove(&dir) else { return };
        let now = Instant::now();
        let mut told: Vec<(Bytes, Instant)> = told.into_iter().filter(|(_, until)| *until > now).collect();
        told.sort_unstable_by_key(|(_, until)| *until);
        let Some(&(_, end)) = told.last() else { return };
        let forgotten = async {
            for (name, until) in told {
                // What it does not believe any more need not be taken from it.
                if until > Instant::now() {
                    heard(notifier.inval_entry(convert::node(dir), name).await);
                }
            }
        };
        if timeout_at(end, forgotten).await.is_err() {
            tracing::debug!(%dir, "the kernel uses the directory: its names were left to end");
        }
    }

    async fn forget_inode(&self, ino: InodeId) {
        let Some(notifier) = self.notifier.get() else { return };
        let mut writing = lock(&self.writing).get(&ino).cloned().unwrap_or_default();
        writing.sort_unstable();
        let node = convert::node(ino);
        let free = async {
            for (from, to) in gaps(&writing) {
                heard(notifier.inval_inode(node, from as i64, to.map_or(0, |to| (to - from) as i64)).await);
            }
        };
        if timeout(PATIENCE, free).await.is_err() {
            tracing::warn!(%ino, "the kernel does not give up pages of the file; another node has waited for long enough");
        }
        for (from, to) in writing {
            let notifier = notifier.clone();
            self.runtime.spawn(async move { heard(notifier.inval_inode(node, from as i64, (to - from) as i64).await) });
        }
    }
}

impl Beholder for Kernel {
    fn forget(&self, ino: InodeId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Answers that are on their way have been computed from what was believed; they take no time to arrive.
            drop(self.on_their_way.write().await);
            self.forget_names(ino).await;
            self.forget_inode(ino).await;
        })
    }

    fn checks_permissions(&self) -> bool {
        true
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut writing = lock(&self.kernel.writing);
        if let Some(ranges) = writing.get_mut(&self.ino) {
            if let Some(at) = ranges.iter().position(|range| *range == self.range) {
                ranges.swap_remove(at);
            }
            if ranges.is_empty() {
                writing.remove(&self.ino);
            }
        }
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        let (ino, (from, to)) = (self.ino, self.range);
        if let Some(notifier) = self.kernel.notifier.get().cloned() {
            let forget = async move {
                heard(notifier.inval_inode(convert::node(ino), from as i64, (to - from) as i64).await);
            };
            self.kernel.runtime.spawn(forget);
        }
    }
}

/// A mount that is over believes nothing.
fn heard(result: Result<(), Errno>) {
    if let Err(error) = result
        && error != Errno::ENODEV
    {
        tracing::debug!(%error, "the kernel was not told to forget");
    }
}

/// The ranges between sorted ones; the last goes to the end.
fn gaps(taken: &[(u64, u64)]) -> Vec<(u64, Option<u64>)> {
    let mut at = 0;
    let mut gaps = Vec::new();
    for &(from, to) in taken {
        if from > at {
            gaps.push((at, Some(from)));
        }
        at = at.max(to);
    }
    gaps.push((at, None));
    gaps
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
