//! What the kernel is let believe, and how it is made to forget.
//!
//! The kernel may believe attributes for a second, names for less ([`NAME_LIFE`]), and bytes for as long as nobody tells it otherwise,
//! while this client believes them itself. When the client stops to, [`Kernel::forget`] first lets answers out that are
//! on their way to the kernel, then has it forget.
//!
//! The kernel cannot be made to forget while it uses something: names while an operation in their directory is under
//! way, pages while they are read or written. Such an operation may itself wait for another node to forget, and a thread
//! that waits in the kernel for its end can wait for ever when the client is killed. So names are believed for so short a
//! time that forgetting them is to wait for that; and pages in use are forgotten when their request has been answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::{Beholder, Filesystem};
use forebay_fuse::session::Notifier;
use forebay_fuse::{Context, Errno};
use forebay_types::{Attr, FileKind, InodeId};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock};
use tokio::time::{Instant, sleep_until};

use crate::fuse::convert;

/// How long the kernel may believe attributes without asking.
const LIFE: Duration = Duration::from_secs(1);
/// How long it may believe a name, and so how long another node may have to wait that changes the directory.
const NAME_LIFE: Duration = Duration::from_millis(100);
/// Longest wait for the kernel to forget.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long pages are waited for that began to be used meanwhile: most are let go at once.
const MOMENT: Duration = Duration::from_millis(20);
/// Pages are locked in units of up to this many bytes, at multiples of their size: a request of a few bytes may hold so
/// many. No less than the largest request, which bounds the unit.
const FOLIO: u64 = 2 << 20;
/// Ends of names remembered before those that have passed are dropped.
const MOST_DIRECTORIES: usize = 4096;

/// What a name stands for.
type Target = Option<(InodeId, FileKind)>;

/// Until when the kernel believes names that it has been told.
#[derive(Default)]
struct Told {
    /// The last of those in a directory.
    in_directory: HashMap<InodeId, Instant>,
    /// A directory's own.
    of_directory: HashMap<InodeId, Instant>,
}

impl Told {
    fn tell(&mut self, dir: InodeId, target: Target, now: Instant, life: Duration) {
        if self.in_directory.len() + self.of_directory.len() >= MOST_DIRECTORIES {
            self.in_directory.retain(|_, until| *until > now);
            self.of_directory.retain(|_, until| *until > now);
        }
        let until = now + life;
        let later = |known: &mut Instant| *known = until.max(*known);
        self.in_directory.entry(dir).and_modify(later).or_insert(until);
        if let Some((ino, _)) = target {
            self.of_directory.entry(ino).and_modify(later).or_insert(until);
        }
    }

    /// When the last of a directory's names ends, its own among them.
    fn take(&mut self, dir: InodeId) -> Option<Instant> {
        self.in_directory.remove(&dir).max(self.of_directory.remove(&dir))
    }
}

/// See the module.
pub(super) struct Kernel {
    fs: Filesystem,
    notifier: OnceLock<Notifier>,
    runtime: Handle,
    told: Mutex<Told>,
    /// Ranges being read or written, whose pages are locked.
    in_use: Mutex<HashMap<InodeId, Vec<Arc<Range>>>>,
    more_in_use: Notify,
    /// Read by answers on their way, written by who wants them to have arrived.
    on_their_way: Arc<RwLock<()>>,
}

/// Bytes of a file, in whole units of what is locked together.
#[derive(Debug)]
struct Range {
    from: u64,
    to: u64,
    /// The kernel must not keep them.
    stale: AtomicBool,
}

/// A range in use, to be held until its request is answered.
pub(super) struct InUse {
    kernel: Arc<Kernel>,
    ino: InodeId,
    range: Arc<Range>,
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
            told: Mutex::default(),
            in_use: Mutex::default(),
            more_in_use: Notify::new(),
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

    /// How long the kernel may believe what a name stands for, which it is being told. A file's name it looks up each
    /// time: with old attributes, which it would not ask for anew, it refuses a change that the owner may make.
    pub fn life_of_name(&self, at: &Context, dir: InodeId, name: &Bytes, target: Target) -> Duration {
        if target.is_some_and(|(_, kind)| kind != FileKind::Directory) {
            return Duration::ZERO;
        }
        let Some(guard) = self.on_its_way() else { return Duration::ZERO };
        let life = self.fs.believes_name(dir, name, target).min(NAME_LIFE);
        if !life.is_zero() {
            lock(&self.told).tell(dir, target, Instant::now(), life);
        }
        at.hold(guard);
        life
    }

    /// A range is being read or written: for the request to hold until it is answered.
    pub fn uses(self: &Arc<Self>, ino: InodeId, offset: u64, len: u64) -> InUse {
        let (from, to) = (offset / FOLIO * FOLIO, (offset.saturating_add(len).div_ceil(FOLIO)).saturating_mul(FOLIO));
        let range = Arc::new(Range { from, to, stale: AtomicBool::new(false) });
        lock(&self.in_use).entry(ino).or_default().push(range.clone());
        self.more_in_use.notify_waiters();
        InUse { kernel: self.clone(), ino, range }
    }

    /// The names in a directory, and its own: they end by themselves.
    async fn forget_names(&self, dir: InodeId) {
        let end = lock(&self.told).take(dir);
        if let Some(end) = end {
            sleep_until(end).await;
        }
    }

    /// Ends when ranges of a file have been in use for a moment that were not before.
    async fn more_used(&self, ino: InodeId, before: &[Arc<Range>]) {
        loop {
            let more = self.more_in_use.notified();
            let new = |range: &Arc<Range>| !before.iter().any(|known| Arc::ptr_eq(known, range));
            if lock(&self.in_use).get(&ino).is_some_and(|ranges| ranges.iter().any(new)) {
                return tokio::time::sleep(MOMENT).await;
            }
            more.await;
        }
    }

    async fn forget_inode(&self, ino: InodeId) {
        let Some(notifier) = self.notifier.get() else { return };
        let in_use = lock(&self.in_use).get(&ino).cloned().unwrap_or_default();
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(in_use.len());
        for range in &in_use {
            range.stale.store(true, Ordering::Release);
            ranges.push((range.from, range.to));
        }
        ranges.sort_unstable();
        let free = async {
            for (from, to) in gaps(&ranges) {
                heard(
                    notifier.inval_inode(convert::node(ino), from as i64, to.map_or(0, |to| (to - from) as i64)).await,
                );
            }
        };
        // It is being told in any case; what ends is only the wait for it.
        let enough = tokio::select! {
            () = free => false,
            () = self.more_used(ino, &in_use) => true,
            () = tokio::time::sleep(PATIENCE) => true,
        };
        if enough {
            tracing::debug!(%ino, "pages of the file are in use: the kernel forgets them when they are not");
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

impl InUse {
    /// The kernel must not keep the bytes: it forgets them as soon as it has been given them.
    pub fn must_not_be_kept(&self) {
        self.range.stale.store(true, Ordering::Release);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut in_use = lock(&self.kernel.in_use);
        if let Some(ranges) = in_use.get_mut(&self.ino) {
            ranges.retain(|range| !Arc::ptr_eq(range, &self.range));
            if ranges.is_empty() {
                in_use.remove(&self.ino);
            }
        }
        drop(in_use);
        let Range { from, to, ref stale } = *self.range;
        if let (true, Some(notifier)) = (stale.load(Ordering::Acquire), self.kernel.notifier.get().cloned()) {
            let node = convert::node(self.ino);
            let forget = async move { heard(notifier.inval_inode(node, from as i64, (to - from) as i64).await) };
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
