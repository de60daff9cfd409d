//! Running a tier task on a mover: started on a host that is up, watched, and taken to another host if that one dies.

use std::time::{Duration, Instant};

use forebay_net::call_tier;
use forebay_types::{TaskId, Uuid};
use forebay_wire::map::{ClusterMap, HostState};
use forebay_wire::tier::{Progress, TaskSpec, TaskState, TierError, TierReply, TierRequest};

use crate::cluster::{Attempts, CALL_TIMEOUT};
use crate::filesystem::Filesystem;
use crate::{ClientError, Cluster};

/// How long one poll waits for news, in milliseconds.
const POLL_MS: u32 = 1000;
/// How long the listing of a source may come no further.
const LISTING_STANDSTILL: Duration = Duration::from_secs(60);

/// A task as its mover sees it.
#[derive(Clone, Debug)]
pub struct TaskRun {
    /// Its name.
    pub task: TaskId,
    /// How far it is.
    pub progress: Progress,
}

/// A name for a task nobody else will ask about.
pub(crate) fn random_id() -> Result<TaskId, ClientError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| ClientError::NoRandom { reason: error.to_string() })?;
    Ok(Uuid(id))
}

impl Cluster {
    /// A name for a task nobody else will ask about.
    pub fn new_task_id() -> Result<TaskId, ClientError> {
        random_id()
    }

    /// Asks the mover responsible for `task`: each task has an order of hosts of its own, and the first that is up and
    /// answers is it.
    pub async fn ask_mover(&self, task: TaskId, request: &TierRequest) -> Result<TierReply, ClientError> {
        let mut attempts = Attempts::new(self.options().timeout);
        loop {
            let map = self.map().await?;
            let mut reason = ClientError::UnexpectedReply { what: "a map without hosts" };
            for address in order(&map, task) {
                match call_tier(&self.peer(&address), request, CALL_TIMEOUT).await {
                    Ok(TierReply::Error(error @ TierError::TooManyTasks { .. })) => reason = error.into(),
                    Ok(reply) => {
                        self.count_answer();
                        return Ok(reply);
                    }
                    Err(error) if error.is_transient() => reason = error.into(),
                    Err(error) => return Err(error.into()),
                }
            }
            attempts.pause(&reason).await.map_err(|_| reason)?;
            attempts.refresh(self).await;
        }
    }

    /// Starts a task, or joins it, and says how far it is.
    pub async fn start_task(&self, task: TaskId, spec: TaskSpec) -> Result<Progress, ClientError> {
        progress(self.ask_mover(task, &TierRequest::Start { task, spec: Box::new(spec) }).await?)
    }

    /// How far a task is: answers when `version` has changed, or after about a second. [`TierError::NoTask`] where the
    /// mover has died meanwhile: start it again.
    pub async fn poll_task(&self, task: TaskId, version: u64) -> Result<Progress, ClientError> {
        progress(self.ask_mover(task, &TierRequest::Poll { task, wait_ms: POLL_MS, version }).await?)
    }

    /// Has a mover look at a source or destination ([`TierRequest::Probe`]), however long its listing takes; given up
    /// where the listing comes no further.
    pub async fn probe(&self, request: &TierRequest) -> Result<TierReply, ClientError> {
        // Only the host that lists can say how far it is.
        let host = random_id()?;
        let (mut found, mut since) = (0, Instant::now());
        loop {
            match self.ask_mover(host, request).await? {
                TierReply::Progress(listing) if listing.files != found || since.elapsed() < LISTING_STANDSTILL => {
                    if listing.files != found {
                        (found, since) = (listing.files, Instant::now());
                    }
                }
                TierReply::Progress(_) => {
                    let timeout_ms = LISTING_STANDSTILL.as_millis() as u64;
                    let reason = format!("after {found} objects the listing comes no further");
                    return Err(ClientError::TimedOut { timeout_ms, reason });
                }
                TierReply::Error(error) => return Err(error.into()),
                probed @ TierReply::Probed { .. } => return Ok(probed),
            }
        }
    }

    /// Stops a task.
    pub async fn cancel_task(&self, task: TaskId) -> Result<Progress, ClientError> {
        progress(self.ask_mover(task, &TierRequest::Cancel { task }).await?)
    }

    /// Runs a task to its end, starting it again on another host if its mover dies. Dropping the future leaves it
    /// running.
    pub async fn run_task(
        &self,
        task: TaskId,
        spec: TaskSpec,
        mut watch: impl FnMut(&Progress),
    ) -> Result<Progress, ClientError> {
        let mut now = self.start_task(task, spec.clone()).await?;
        loop {
            watch(&now);
            match &now.state {
                TaskState::Done => return Ok(now),
                TaskState::Failed(error) => return Err(error.clone().into()),
                TaskState::Cancelled => return Err(ClientError::Posix(forebay_types::Errno::Interrupted)),
                TaskState::Running | TaskState::Retrying(_) => {}
            }
            now = match self.poll_task(task, now.version).await {
                Ok(progress) => progress,
                Err(ClientError::Tier(TierError::NoTask)) => self.start_task(task, spec.clone()).await?,
                Err(error) => return Err(error),
            };
        }
    }
}

impl Filesystem {
    /// [`Cluster::run_task`], given up after the operation timeout where the task makes no progress for as long.
    pub(crate) async fn run_task(
        &self,
        task: TaskId,
        spec: TaskSpec,
        watch: impl FnMut(&Progress),
    ) -> Result<Progress, ClientError> {
        let timeout = self.cluster().options().timeout.max(Duration::from_secs(1)) * 10;
        match tokio::time::timeout(timeout, self.cluster().run_task(task, spec, watch)).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut {
                timeout_ms: timeout.as_millis() as u64,
                reason: "the cold tier has not delivered".into(),
            }),
        }
    }
}

fn progress(reply: TierReply) -> Result<Progress, ClientError> {
    match reply {
        TierReply::Progress(progress) => Ok(progress),
        TierReply::Error(error) => Err(error.into()),
        TierReply::Probed { .. } => Err(ClientError::UnexpectedReply { what: "a task" }),
    }
}

/// Hosts in the order a task prefers them (highest random weight), those that are up.
fn order(map: &ClusterMap, task: TaskId) -> Vec<String> {
    let weight = |host: u32| {
        let seed =
            task.0.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        let mixed = (seed ^ u64::from(host)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    let mut hosts: Vec<_> = map.hosts.iter().filter(|host| host.state == HostState::Up).collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(weight(host.id.0)));
    hosts.into_iter().map(|host| host.address.clone()).collect()
}
