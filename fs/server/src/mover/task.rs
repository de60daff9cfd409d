//! One task: what it tells of itself, and what its work stands on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_client::{ClientError, Filesystem};
use forebay_object::Tier;
use forebay_tier::backoff::Backoff;
use forebay_tier::progress::{Account, Outcome};
use forebay_types::{FsId, TierId};
use forebay_wire::tier::{Progress, TierError};
use tokio::sync::watch;

use super::stores::Stores;
use super::{error, lock};

/// A task as everyone who asks about it sees it.
pub(super) struct Task {
    account: Mutex<Account>,
    version: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Task {
    /// A task whose earlier run had this version last; 0 for none.
    pub fn new(after: u64) -> Self {
        let account = Account::new(after);
        let version = watch::Sender::new(account.progress().version);
        Self { account: Mutex::new(account), version, stop: watch::Sender::new(false) }
    }

    pub fn progress(&self) -> Progress {
        lock(&self.account).progress().clone()
    }

    /// Changes the account, and tells whoever waits.
    pub fn change(&self, change: impl FnOnce(&mut Account)) {
        let mut account = lock(&self.account);
        change(&mut account);
        let version = account.progress().version;
        drop(account);
        self.version.send_if_modified(|known| {
            let newer = version > *known;
            *known = version.max(*known);
            newer
        });
    }

    /// Waits for a version other than this one.
    pub async fn news_since(&self, version: u64) {
        // The sender is this task: it is there while somebody waits.
        let _ = self.version.subscribe().wait_for(|now| *now != version).await;
    }

    /// Whether a file could not be done.
    pub fn has_failures(&self) -> bool {
        lock(&self.account).first_error().is_some()
    }

    pub fn cancel(&self) {
        self.stop.send_replace(true);
    }

    pub async fn cancelled(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    pub fn end(&self, outcome: Outcome) -> Progress {
        self.change(|account| account.end(outcome));
        self.progress()
    }
}

/// Something of the task is being tried again, until this is dropped.
struct Retrying<'a>(&'a Task);

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.change(Account::end_retry);
    }
}

/// A task's work: the task, and what it stands on.
pub(super) struct Work {
    pub task: Arc<Task>,
    pub stores: Arc<Stores>,
    pub fs: FsId,
}

impl Work {
    pub fn new(task: Arc<Task>, stores: Arc<Stores>, fs: FsId) -> Self {
        Self { task, stores, fs }
    }

    /// The filesystem.
    pub async fn filesystem(&self) -> Result<Filesystem, TierError> {
        self.stores.filesystem(self.fs).await
    }

    /// A tier.
    pub async fn tier(&self, id: TierId) -> Result<Tier, TierError> {
        self.stores.tier(id).await
    }

    /// One operation on the filesystem, about `path`.
    pub async fn on_fs<T, R>(&self, path: &str, operation: impl FnOnce(Filesystem) -> R) -> Result<T, TierError>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        let fs = self.filesystem().await?;
        let result = operation(fs.clone()).await;
        match result {
            Ok(done) => Ok(done),
            Err(error) => Err(self.explain(&fs, path, error).await),
        }
    }

    /// What an error of the filesystem about `path` means; a session that has ended is given up.
    pub async fn explain(&self, fs: &Filesystem, path: &str, error: ClientError) -> TierError {
        if matches!(error, ClientError::SessionEnded) {
            self.stores.forget(self.fs, fs.session()).await;
        }
        error::filesystem(path, error)
    }

    /// Tries until it succeeds or fails for good; the task says meanwhile what is the matter.
    pub async fn retry<T, R>(&self, mut attempt: impl FnMut() -> R) -> Result<T, TierError>
    where
        R: Future<Output = Result<T, TierError>>,
    {
        let mut backoff = Backoff::default();
        let mut _retrying = None;
        loop {
            let error = match attempt().await {
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            tracing::debug!(%error, "will be tried again");
            self.task.change(|account| account.begin_retry(error));
            _retrying = Some(Retrying(&self.task));
            tokio::time::sleep(Duration::from_millis(backoff.failed())).await;
        }
    }

    /// [`Self::retry`] of an operation on the filesystem.
    pub async fn retry_on_fs<T, R>(&self, path: &str, operation: impl Fn(Filesystem) -> R) -> Result<T, TierError>
    where
        R: Future<Output = Result<T, ClientError>>,
    {
        self.retry(|| self.on_fs(path, &operation)).await
    }

    /// A file that was found, as the task's figures have it.
    pub fn found(&self, bytes: u64) -> Counted<'_> {
        self.task.change(|account| account.found(bytes));
        Counted { task: &self.task, bytes, done: AtomicU64::new(0) }
    }

    /// A file that could not be done.
    pub fn failed(&self, error: TierError) {
        tracing::debug!(%error, "a file failed");
        self.task.change(|account| account.file_failed(error));
    }
}

/// A file's share in the figures of its task.
pub(super) struct Counted<'a> {
    task: &'a Task,
    bytes: u64,
    done: AtomicU64,
}

impl Counted<'_> {
    /// So many of the file's bytes are done.
    pub fn set(&self, done: u64) {
        let now = done.min(self.bytes);
        self.task.change(|account| account.file_at(self.done.swap(now, Ordering::Relaxed), now));
    }

    /// So many more are, of which this task moved `moved` itself.
    pub fn add(&self, bytes: u64, moved: u64) {
        self.task.change(|account| {
            account.moved(moved);
            let before = self.done.load(Ordering::Relaxed);
            let now = (before + bytes).min(self.bytes);
            self.done.store(now, Ordering::Relaxed);
            account.file_at(before, now);
        });
    }

    /// The file is done.
    pub fn finish(&self) {
        self.set(self.bytes);
        self.task.change(Account::file_done);
    }
}
