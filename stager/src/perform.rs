//! Performs effects through the doors. Knows no record: everything needed is in the action.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_directive::Conflict;
use forebay_types::TaskId;
use forebay_wire::node::FaultClass;
use forebay_wire::stager::Problem;
use forebay_wire::tier::{self, Progress, TaskSpec, TaskState, TierError, TierUser};
use tokio::sync::{Semaphore, watch};

use crate::core::{Action, Answer, JobRef, Probed, Work, user_problem};
use crate::fs::{Doing, FsError, StagingFs, problem_of};
use crate::slurm::{Slurm, SlurmError};
use crate::standstill::Standstill;

/// Most Slurm commands at once.
const SLURM_AT_ONCE: usize = 8;
/// Most filesystem calls at once; tasks that are only watched do not count.
const FS_AT_ONCE: usize = 64;
/// Most sources and destinations looked at at once.
const PROBES_AT_ONCE: usize = 64;
/// Longest time one filesystem call may take.
const FS_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time a poll of a task is held open by its host, in milliseconds.
const POLL_MS: u32 = 2_000;

/// The doors, with limits.
pub struct Performer {
    slurm: Arc<dyn Slurm>,
    fs: Arc<dyn StagingFs>,
    slurm_slots: Semaphore,
    fs_slots: Semaphore,
    probe_slots: Semaphore,
}

/// How a task under way is told to stop.
pub type Stop = watch::Receiver<bool>;

fn infra(code: &str, text: String) -> Problem {
    let remedy = "wait: it is tried again".into();
    Problem { code: code.into(), class: FaultClass::Infra, text, remedy, line: 0, column: 0 }
}

fn slurm_problem(error: &SlurmError) -> Problem {
    match error {
        SlurmError::Refused { .. } => user_problem("E-SLURM-REFUSED", error.to_string(), "ask the operator"),
        _ => infra("E-INFRA-SLURM", error.to_string()),
    }
}

/// A job that Slurm does not know, or that is past the command, needs nothing: the next job list says where it is.
fn unless_gone(result: Result<(), SlurmError>) -> Result<Answer, Problem> {
    match result {
        Ok(()) | Err(SlurmError::NotThere { .. }) => Ok(Answer::Done),
        Err(error) => Err(slurm_problem(&error)),
    }
}

/// Who the user is now, by the name service.
pub async fn tier_user(uid: u32, gid: u32) -> Result<TierUser, Problem> {
    let look_up = move || {
        let user = nix::unistd::User::from_uid(uid.into()).map_err(|error| error.to_string())?;
        let Some(user) = user else { return Ok(vec![]) };
        let name = std::ffi::CString::new(user.name).map_err(|error| error.to_string())?;
        let groups = nix::unistd::getgrouplist(&name, gid.into()).map_err(|error| error.to_string())?;
        Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).filter(|group| *group != gid).collect())
    };
    let failed = |reason: String| infra("E-INFRA-NSS", format!("groups of user {uid} cannot be looked up: {reason}"));
    let groups: Result<Vec<u32>, String> =
        tokio::task::spawn_blocking(look_up).await.map_err(|error| failed(error.to_string()))?;
    Ok(TierUser { uid, gid, groups: groups.map_err(failed)? })
}

impl Performer {
    /// A performer.
    #[must_use]
    pub fn new(slurm: Arc<dyn Slurm>, fs: Arc<dyn StagingFs>) -> Self {
        Self {
            slurm,
            fs,
            slurm_slots: Semaphore::new(SLURM_AT_ONCE),
            fs_slots: Semaphore::new(FS_AT_ONCE),
            probe_slots: Semaphore::new(PROBES_AT_ONCE),
        }
    }

    /// Does it.
    pub async fn perform(
        &self,
        action: Action,
        stop: Stop,
        report: impl Fn(Progress) + Send,
    ) -> Result<Answer, Problem> {
        match action {
            Action::FetchScript(_)
            | Action::SplitArray { .. }
            | Action::Release(_)
            | Action::Hold(_)
            | Action::CancelJob(_)
            | Action::Comment { .. } => self.in_slurm(action).await,
            Action::Run { task, job, uid, gid, work } => self.run_task(task, job, (uid, gid), work, stop, report).await,
            Action::Probe { uri, uid, gid, write } => {
                let user = tier_user(uid, gid).await?;
                self.probe(&uri, user, write).await.map(Answer::Probed)
            }
            Action::Dataset { .. }
            | Action::CreateView(_)
            | Action::Control { .. }
            | Action::ReadNodes { .. }
            | Action::DropHold { .. } => self.in_fs(action).await,
        }
    }

    async fn in_slurm(&self, action: Action) -> Result<Answer, Problem> {
        let _slot = self.slurm_slots.acquire().await;
        let slurm = &self.slurm;
        match action {
            Action::FetchScript(job) => {
                slurm.script(job.job).await.map(Answer::Script).map_err(|error| slurm_problem(&error))
            }
            Action::SplitArray { job, tasks, comment } => unless_gone(slurm.split(job, &tasks, &comment).await),
            Action::Release(job) => unless_gone(slurm.release(&job).await),
            Action::Hold(job) => unless_gone(slurm.hold(&job).await),
            Action::CancelJob(job) => unless_gone(slurm.cancel(&job).await),
            Action::Comment { job: JobRef(job), text } => {
                unless_gone(slurm.set_admin_comment(&JobRef(job), &text).await)
            }
            _ => Ok(Answer::Done),
        }
    }

    /// One call of the filesystem, with a deadline.
    async fn call<T>(&self, doing: Doing, call: impl Future<Output = Result<T, FsError>> + Send) -> Result<T, Problem> {
        let _slot = self.fs_slots.acquire().await;
        self.call_free(doing, call).await
    }

    /// The same for calls that mostly wait, and so take no slot.
    async fn call_free<T>(
        &self,
        doing: Doing,
        call: impl Future<Output = Result<T, FsError>> + Send,
    ) -> Result<T, Problem> {
        match tokio::time::timeout(FS_TIMEOUT, call).await {
            Ok(result) => result.map_err(|error| problem_of(&error, doing)),
            Err(_) => Err(infra("E-INFRA-FS", format!("the filesystem took more than {} s", FS_TIMEOUT.as_secs()))),
        }
    }

    async fn in_fs(&self, action: Action) -> Result<Answer, Problem> {
        let fs = &self.fs;
        match action {
            Action::Dataset { dataset, uid, gid, job } => {
                let inode = self.call(Doing::In, fs.ensure_dataset(dataset, uid, gid)).await?;
                self.call(Doing::In, fs.set_hold(dataset, job)).await?;
                Ok(Answer::Dataset(inode))
            }
            Action::CreateView(view) => self.call(Doing::In, fs.create_view(&view)).await.map(|()| Answer::Done),
            Action::Control { job, file, json } => {
                let written = fs.write_control(job, file.name(), json.as_bytes());
                self.call(Doing::In, written).await.map(|()| Answer::Done)
            }
            Action::ReadNodes { job, restart } => {
                self.call(Doing::Out, fs.nodes(job, restart)).await.map(Answer::Nodes)
            }
            Action::DropHold { dataset, job } => {
                self.call(Doing::In, fs.drop_hold(dataset, job)).await.map(|()| Answer::Done)
            }
            _ => Ok(Answer::Done),
        }
    }

    /// Finds a URI's tier and looks at it.
    pub async fn probe(&self, uri: &str, user: TierUser, write: bool) -> Result<Probed, Problem> {
        let doing = if write { Doing::Out } else { Doing::In };
        let Some(at) = self.call(doing, self.fs.locate(uri)).await? else {
            let code = if write { "E-OUT-TIER" } else { "E-IN-TIER" };
            let text = format!("{uri} is not below any tier attached to the filesystem");
            return Err(user_problem(code, text, "use one that `forebay fs tier list` shows"));
        };
        // No deadline: listing millions of objects takes minutes, and the door ends what comes no further.
        let _slot = self.probe_slots.acquire().await;
        let found = self.fs.probe(&at, user, write).await.map_err(|error| problem_of(&error, doing))?;
        let (tier, prefix) = (at.tier, at.prefix);
        Ok(Probed { tier, prefix, file: found.file, files: found.files, bytes: found.bytes, pin: found.pin })
    }

    /// What the movers are told; `None` where there is nothing to do it to.
    async fn spec(&self, job: u32, (uid, gid): (u32, u32), work: Work) -> Result<Option<TaskSpec>, Problem> {
        let fs = self.fs.fs_id();
        Ok(Some(match work {
            Work::Import { into, tier, prefix, include, exclude } => {
                let as_user = Some(tier_user(uid, gid).await?);
                TaskSpec::Import { fs, into, tier, prefix, uid, gid, mode: 0o440, as_user, include, exclude }
            }
            Work::Recall { root } => TaskSpec::Recall { fs, root, range: None },
            Work::Export { path, tier, prefix, conflict, manifest, marker, label } => {
                let Some(root) = self.call(Doing::Out, self.fs.resolve(job, &path)).await? else { return Ok(None) };
                let as_user = Some(tier_user(uid, gid).await?);
                let conflict = match conflict {
                    Conflict::Fail => tier::Conflict::Fail,
                    // Each attempt has a prefix of its own, so what is there is ours.
                    Conflict::Overwrite | Conflict::Version => tier::Conflict::Overwrite,
                };
                TaskSpec::Export { fs, root, tier, prefix, as_user, conflict, manifest, marker, label }
            }
            Work::RemoveView => {
                let parent = self.call(Doing::Out, self.fs.jobs_directory()).await?;
                TaskSpec::Remove { fs, parent, name: job.to_string() }
            }
        }))
    }

    /// Starts or joins a task and watches it to its end.
    async fn run_task(
        &self,
        task: TaskId,
        job: u32,
        owner: (u32, u32),
        work: Work,
        mut stop: Stop,
        report: impl Fn(Progress) + Send,
    ) -> Result<Answer, Problem> {
        let removing = work == Work::RemoveView;
        let doing = if matches!(work, Work::Import { .. } | Work::Recall { .. }) { Doing::In } else { Doing::Out };
        let Some(spec) = self.spec(job, owner, work).await? else { return Ok(Answer::NothingThere) };
        let watched = self.watch_task(task, spec, doing, report);
        let stopped = async {
            // A sender that is gone never stops anything.
            if stop.wait_for(|stopped| *stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = watched => ended,
            () = stopped => {
                self.call(doing, self.fs.cancel_task(task)).await?;
                return Err(infra("E-INFRA-STOPPED", "it was stopped".into()));
            }
        };
        match ended {
            // What is to be removed is not there: done.
            Err(FsError::Namespace { errno: forebay_types::Errno::NoEntry, .. })
            | Err(FsError::Tier(TierError::Filesystem { errno: forebay_types::Errno::NoEntry, .. }))
                if removing =>
            {
                Ok(Answer::Done)
            }
            Err(error) => Err(problem_of(&error, doing)),
            Ok(progress) => Ok(Answer::Finished(progress)),
        }
    }

    async fn watch_task(
        &self,
        task: TaskId,
        spec: TaskSpec,
        doing: Doing,
        report: impl Fn(Progress) + Send,
    ) -> Result<Progress, FsError> {
        let late =
            || FsError::Unreachable { reason: format!("no answer within {} s ({doing:?})", FS_TIMEOUT.as_secs()) };
        let mut started = false;
        let mut version = 0;
        let mut standstill = Standstill::default();
        loop {
            if !started {
                let start = self.fs.start_task(task, spec.clone());
                tokio::time::timeout(FS_TIMEOUT, start).await.map_err(|_| late())??;
                (started, version) = (true, 0);
            }
            let poll = self.fs.poll_task(task, version, POLL_MS);
            let progress = match tokio::time::timeout(FS_TIMEOUT, poll).await.map_err(|_| late())? {
                Err(FsError::Tier(TierError::NoTask)) => {
                    started = false;
                    continue;
                }
                other => other?,
            };
            version = progress.version;
            if let TaskState::Retrying(error) = &progress.state
                && standstill.is_reached(Instant::now(), &progress)
            {
                let stop = self.fs.cancel_task(task);
                tokio::time::timeout(FS_TIMEOUT, stop).await.map_err(|_| late())??;
                return Err(error.clone().into());
            }
            match &progress.state {
                TaskState::Running | TaskState::Retrying(_) => report(progress),
                TaskState::Done => return Ok(progress),
                TaskState::Failed(error) => return Err(error.clone().into()),
                TaskState::Cancelled => return Err(FsError::Unreachable { reason: "the task was cancelled".into() }),
            }
        }
    }
}
