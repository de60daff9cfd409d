//! The movers of a host: tasks that bring bytes from cold tiers and back.
//!
//! Job: start, join, watch and stop tasks by name, and answer probes. What is to be moved is decided by the tier core
//! from what is there; this module does it, with the host's own session on the filesystem and the tier's credentials,
//! which only hosts can have.
//!
//! Protocol: a file is looked at, its parts are moved, and each part is exchanged in the file's map only if the map
//! still is what was looked at; if not, the file is looked at again. What may pass is tried again until the task is
//! stopped; what may not ends a file, and the task once the other files are done.
//!
//! Invariants: bytes are read and written by what the map named, never by the file's present contents, so an exchange
//! never changes what a file reads as; an object is never replaced by another that the map might be pinned to; what a
//! host has under way is bounded. A task that is stopped stops where it waits.

mod error;
mod evict;
mod export;
mod import;
mod probe;
mod recall;
mod remove;
mod stores;
mod task;
mod transfer;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_client::Cluster;
use forebay_tier::progress::Outcome;
use forebay_tier::table::{Started, TableLimits, TaskTable};
use forebay_types::TaskId;
use forebay_wire::tier::{Progress, TaskSpec, TaskState, TierError, TierReply, TierRequest};
use tokio::task::JoinSet;

use self::probe::{Probes, Source};
use self::stores::Stores;
use self::task::{Task, Work};

/// Most tasks that run on a host, and that it remembers after they ended.
const LIMITS: TableLimits = TableLimits { running: 1024, ended: 4096 };
/// Longest a poll waits for news.
const POLL_MAX: Duration = Duration::from_secs(20);

type Table = Arc<Mutex<TaskTable<Arc<Task>>>>;

/// The movers of a host. Dropping it breaks its tasks off.
pub struct Mover {
    stores: Arc<Stores>,
    table: Table,
    running: Mutex<JoinSet<()>>,
    probes: Probes,
}

/// Says how a task ended, also when it broke off.
struct Ending {
    id: TaskId,
    task: Arc<Task>,
    table: Table,
    outcome: Option<Outcome>,
}

impl Ending {
    fn with(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let broke_off = || Outcome::Failed(TierError::Invalid { reason: "the mover broke the task off".to_owned() });
        let progress = self.task.end(self.outcome.take().unwrap_or_else(broke_off));
        if let TaskState::Failed(error) = &progress.state {
            tracing::info!(task = %self.id, %error, "task failed");
        }
        lock(&self.table).end(self.id, progress.state == TaskState::Done);
    }
}

impl Mover {
    /// The movers of the host `host_name`, which knows the cluster. Nothing is mounted or opened before it is needed.
    #[must_use]
    pub fn new(cluster: Cluster, host_name: String) -> Arc<Self> {
        Arc::new(Self {
            stores: Arc::new(Stores::new(cluster, format!("mover@{host_name}"))),
            table: Arc::new(Mutex::new(TaskTable::new(LIMITS))),
            running: Mutex::default(),
            probes: Probes::default(),
        })
    }

    /// Answers a request.
    pub async fn handle(&self, request: TierRequest) -> TierReply {
        let progress = match request {
            TierRequest::Start { task, spec } => self.start(task, *spec),
            TierRequest::Poll { task, wait_ms, version } => self.poll(task, wait_ms, version).await,
            TierRequest::Cancel { task } => self.task(task).map(|task| {
                task.cancel();
                task.progress()
            }),
            TierRequest::Probe { tier, prefix, as_user, write } => {
                let source = Source { tier, prefix, user: as_user, write };
                return self.probes.probe(&self.stores, source).await.unwrap_or_else(TierReply::Error);
            }
        };
        progress.map_or_else(TierReply::Error, TierReply::Progress)
    }

    fn start(&self, id: TaskId, spec: TaskSpec) -> Result<Progress, TierError> {
        let make = |before: Option<&Arc<Task>>| Arc::new(Task::new(before.map_or(0, |task| task.progress().version)));
        let task = match lock(&self.table).start(id, &spec, make)? {
            Started::Joined(task) => return Ok(task.progress()),
            Started::New(task) => task,
        };
        tracing::debug!(task = %id, ?spec, "task starts");
        let ending = Ending { id, task: task.clone(), table: self.table.clone(), outcome: None };
        let work = Work::new(task.clone(), self.stores.clone(), fs_of(&spec));
        let mut running = lock(&self.running);
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = work.task.cancelled() => Outcome::Cancelled,
                result = run(&work, spec) => result.map_or_else(Outcome::Failed, |()| Outcome::Finished),
            };
            ending.with(outcome);
        });
        Ok(task.progress())
    }

    fn task(&self, id: TaskId) -> Result<Arc<Task>, TierError> {
        lock(&self.table).get(id).cloned()
    }

    async fn poll(&self, id: TaskId, wait_ms: u32, version: u64) -> Result<Progress, TierError> {
        let task = self.task(id)?;
        let wait = Duration::from_millis(wait_ms.into()).min(POLL_MAX);
        // That the wait ends without news is an answer too.
        let _ = tokio::time::timeout(wait, task.news_since(version)).await;
        Ok(task.progress())
    }

    /// Breaks off every task and ends the sessions. The tasks can be started again, here or elsewhere.
    pub async fn shutdown(&self) {
        let mut running = std::mem::take(&mut *lock(&self.running));
        running.shutdown().await;
        self.probes.shutdown().await;
        self.stores.close().await;
    }
}

fn fs_of(spec: &TaskSpec) -> forebay_types::FsId {
    match spec {
        TaskSpec::Import { fs, .. }
        | TaskSpec::Recall { fs, .. }
        | TaskSpec::Evict { fs, .. }
        | TaskSpec::Export { fs, .. }
        | TaskSpec::Remove { fs, .. } => *fs,
    }
}

async fn run(work: &Work, spec: TaskSpec) -> Result<(), TierError> {
    match spec {
        TaskSpec::Import { into, tier, prefix, uid, gid, mode, as_user, include, exclude, .. } => {
            let owner = import::Ownership { uid, gid, mode };
            import::run(work, into, (tier, &prefix), owner, as_user.as_ref(), (&include, &exclude)).await
        }
        TaskSpec::Recall { root, range, .. } => recall::run(work, root, range).await,
        TaskSpec::Evict { root, range, tier, .. } => evict::run(work, root, range, tier).await,
        TaskSpec::Export { root, tier, prefix, as_user, conflict, manifest, marker, label, .. } => {
            let to = export::To { tier, prefix, as_user, conflict, manifest, marker, label };
            export::run(work, root, to).await
        }
        TaskSpec::Remove { parent, name, .. } => remove::run(work, parent, &name).await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
