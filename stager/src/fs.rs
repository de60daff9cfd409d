//! The door to the filesystem: exactly what staging needs from it.
//!
//! Contract: every call may be repeated and may have happened already. Nothing here deletes but a removal task
//! ([`forebay_wire::tier::TaskSpec::Remove`]), which the core asks for only when a job's references have ended.

use async_trait::async_trait;
use forebay_types::{Errno, FsId, InodeId, TaskId, TierId, Uuid};
use forebay_wire::node::FaultClass;
use forebay_wire::stager::Problem;
use forebay_wire::tier::{Progress, TaskSpec, TierError, TierUser};

use crate::core::{NodeMark, ViewSpec};

/// Directory of datasets in the filesystem's namespace: `<DATASETS>/<hex id>`, each 0500 and owned by its user.
pub const DATASETS: &str = "/.forebay/datasets";
/// Directory of jobs' views: `<JOBS>/<job id>`, each 0700 and owned by its user; itself 0755 and root's.
pub const JOBS: &str = "/job";
/// Directory in a view that only root writes, readable by the job's user.
pub const CONTROL: &str = ".forebay";
/// Directory of datasets as a link `in/<name>` of a view sees it.
pub const DATASETS_FROM_INPUT: &str = "../../../.forebay/datasets";

/// Name of the extended attribute of a dataset's directory that keeps it hot for a job.
#[must_use]
pub fn hold_attribute(job: u32) -> String {
    format!("trusted.forebay.hold.{job}")
}

/// File below a view's [`CONTROL`] that a node makes when it has attached or detached an attempt: its name is
/// `nodes/<restart>/<node>.attached` or `nodes/<restart>/<node>.detached`.
#[must_use]
pub fn node_mark(restart: u32, node: &str, detached: bool) -> String {
    format!("nodes/{restart}/{node}.{}", if detached { "detached" } else { "attached" })
}

/// Why the filesystem could not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FsError {
    /// A mover or a tier.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The namespace refused.
    #[error("{path}: {errno}")]
    Namespace {
        /// The path.
        path: String,
        /// The answer.
        errno: Errno,
    },
    /// No storage host answers.
    #[error("the filesystem cannot be reached: {reason}")]
    Unreachable {
        /// What was seen.
        reason: String,
    },
}

/// Where a URI is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The attached tier whose root URL is the longest prefix of the URI.
    pub tier: TierId,
    /// What follows the root: a key prefix.
    pub prefix: String,
}

/// What is below a prefix of a tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Objects.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For a prefix that is one object: the name it is imported as.
    pub file: Option<String>,
    /// Text that differs where the content differs, as far as a look can tell.
    pub pin: String,
}

/// The filesystem.
#[async_trait]
pub trait StagingFs: Send + Sync {
    /// The filesystem's id, for task specifications.
    fn fs_id(&self) -> FsId;
    /// Finds the tier of a URI; `None` where no attached tier has it.
    async fn locate(&self, uri: &str) -> Result<Option<Located>, FsError>;
    /// Looks at a source or (with `write`) a destination as a user. A source that does not exist is
    /// [`TierError::Missing`]; a destination need not exist. Listing a large source takes its time, and has no limit
    /// but that it goes on.
    async fn probe(&self, at: &Located, user: TierUser, write: bool) -> Result<Found, FsError>;
    /// Makes `<DATASETS>/<id>` where it is not there, and returns it.
    async fn ensure_dataset(&self, dataset: Uuid, uid: u32, gid: u32) -> Result<InodeId, FsError>;
    /// Keeps a dataset hot for a job.
    async fn set_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError>;
    /// Ends that; fine where there was no hold or no dataset.
    async fn drop_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError>;
    /// Makes a job's view, or completes one: scratch directories (0700, the user's, lifetime class job), `out` (same),
    /// links `in/<name>`, and [`CONTROL`]. What is there already stays as it is, links excepted.
    async fn create_view(&self, view: &ViewSpec) -> Result<(), FsError>;
    /// Replaces a file of the view's [`CONTROL`] in one step, so that a reader never sees half of it.
    async fn write_control(&self, job: u32, name: &str, content: &[u8]) -> Result<(), FsError>;
    /// Nodes that have attached an attempt.
    async fn nodes(&self, job: u32, restart: u32) -> Result<Vec<NodeMark>, FsError>;
    /// What is at a path below `<JOBS>/<job>`; `None` where nothing is. The path is the user's: no link in it is
    /// followed.
    async fn resolve(&self, job: u32, path: &str) -> Result<Option<InodeId>, FsError>;
    /// The directory [`JOBS`], made where it is not there.
    async fn jobs_directory(&self) -> Result<InodeId, FsError>;
    /// Starts a task on some storage host, or joins it; where that host is lost, on another.
    async fn start_task(&self, task: TaskId, spec: TaskSpec) -> Result<(), FsError>;
    /// How far a task is: answers when `version` has changed or after `wait_ms`. [`TierError::NoTask`] where its host
    /// was lost: start it again.
    async fn poll_task(&self, task: TaskId, version: u64, wait_ms: u32) -> Result<Progress, FsError>;
    /// Stops a task; fine where there is none.
    async fn cancel_task(&self, task: TaskId) -> Result<(), FsError>;
}

/// What was being done when the filesystem could not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Inputs.
    In,
    /// Outputs.
    Out,
}

impl Doing {
    fn code(self, rest: &str) -> String {
        format!("E-{}-{rest}", if self == Self::In { "IN" } else { "OUT" })
    }
}

/// What a failure means to the job's user.
#[must_use]
pub fn problem_of(error: &FsError, doing: Doing) -> Problem {
    let make = |class, code: String, remedy: &str| Problem {
        code,
        class,
        text: error.to_string(),
        remedy: remedy.into(),
        line: 0,
        column: 0,
    };
    let user = |rest: &str, remedy: &str| make(FaultClass::User, doing.code(rest), remedy);
    let infra = |rest: &str| make(FaultClass::Infra, format!("E-INFRA-{rest}"), "wait: it is tried again");
    match error {
        FsError::Unreachable { .. } => infra("FS"),
        FsError::Namespace { errno, .. } => of_errno(*errno, &user, &infra),
        FsError::Tier(tier) if tier.is_transient() => infra("STORE"),
        FsError::Tier(tier) => match tier {
            TierError::Missing { .. } => user("404", "make it, or correct the directive"),
            TierError::Forbidden { .. } => user("403", "get access to it"),
            TierError::Changed { .. } => user("CHANGED", "leave the source alone while it is staged"),
            TierError::Exists { .. } => user("EXISTS", "remove it, or use conflict=overwrite or conflict=version"),
            TierError::BadName { .. } => user("NAME", "rename it, or leave it out with exclude="),
            TierError::NoTier { .. } => user("TIER", "use a source or destination below an attached tier"),
            TierError::Filesystem { errno, .. } => of_errno(*errno, &user, &infra),
            TierError::Invalid { .. } => user("INVALID", "correct the directive"),
            TierError::Held { .. }
            | TierError::Verify { .. }
            | TierError::Unavailable { .. }
            | TierError::NoTask
            | TierError::TooManyTasks { .. } => infra("STORE"),
        },
    }
}

fn of_errno(errno: Errno, user: &dyn Fn(&str, &str) -> Problem, infra: &dyn Fn(&str) -> Problem) -> Problem {
    match errno {
        Errno::Access | Errno::NotPermitted => user("403", "get access to it"),
        Errno::Quota => user("QUOTA", "free space of yours, or ask for more"),
        Errno::NameTooLong | Errno::Loop | Errno::NotDirectory | Errno::TooBig => user("NAME", "correct the path"),
        Errno::NoSpace => infra("SPACE"),
        _ => infra("FS"),
    }
}

#[cfg(test)]
#[path = "fs_tests.rs"]
mod tests;
