//! A job as Slurm shows it, reduced to what staging decides by.

use serde::{Deserialize, Serialize};

/// One entry of Slurm's job list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct SlurmJob {
    /// Slurm's job id.
    pub job: u32,
    /// Submit time, in seconds since 1970-01-01 UTC; a requeue changes it.
    pub submit_s: u64,
    /// How often it was requeued: the number of the attempt, from 0.
    pub restart: u32,
    /// The array it is a task of.
    pub array_job: Option<u32>,
    /// Its index in the array.
    pub array_task: Option<u32>,
    /// Tasks that have no record of their own yet, as in `0-9%2`; empty for everything but such a group.
    pub array_pending: String,
    /// For a component of a heterogeneous job other than the first: the leader's id.
    pub het_leader: Option<u32>,
    /// State.
    pub state: SlurmState,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The user's name; empty where Slurm does not say.
    pub user: String,
    /// Job name.
    pub name: String,
    /// Working directory.
    pub work_dir: String,
    /// Admin comment.
    pub admin_comment: String,
    /// Whether it has a script.
    pub batch: bool,
    /// Whether its priority is zero.
    pub held: bool,
    /// Nodes it has or had, as a host list; empty before it was given any.
    pub nodes: String,
    /// Why it waits, in Slurm's word.
    pub reason: String,
}

/// States of a job, as far as staging tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub enum SlurmState {
    /// Waits.
    #[default]
    Pending,
    /// Has nodes that are being prepared.
    Configuring,
    /// Runs.
    Running,
    /// Suspended or stopped: has its nodes.
    Suspended,
    /// Has ended, but not on all nodes yet; how it ended is not known.
    Completing,
    /// Ended with exit code 0.
    Completed,
    /// Ended with another exit code, or was killed for memory.
    Failed,
    /// A node failed.
    NodeFail,
    /// The time limit or deadline was over.
    Timeout,
    /// Cancelled.
    Cancelled,
    /// Preempted, and not requeued.
    Preempted,
}

impl SlurmState {
    /// The state of a word of Slurm's, `None` for one that is not known.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "PENDING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => Self::Pending,
            "CONFIGURING" | "POWER_UP_NODE" => Self::Configuring,
            "RUNNING" | "RESIZING" | "SIGNALING" => Self::Running,
            "SUSPENDED" | "STOPPED" => Self::Suspended,
            "COMPLETING" | "STAGE_OUT" => Self::Completing,
            "COMPLETED" => Self::Completed,
            "FAILED" | "OUT_OF_MEMORY" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => Self::Failed,
            "NODE_FAIL" | "BOOT_FAIL" => Self::NodeFail,
            "TIMEOUT" | "DEADLINE" => Self::Timeout,
            "CANCELLED" | "REVOKED" => Self::Cancelled,
            "PREEMPTED" => Self::Preempted,
            _ => return None,
        })
    }

    /// Slurm's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Configuring => "CONFIGURING",
            Self::Running => "RUNNING",
            Self::Suspended => "SUSPENDED",
            Self::Completing => "COMPLETING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::NodeFail => "NODE_FAIL",
            Self::Timeout => "TIMEOUT",
            Self::Cancelled => "CANCELLED",
            Self::Preempted => "PREEMPTED",
        }
    }

    /// How the job ended, `None` while it has not.
    #[must_use]
    pub fn ending(self) -> Option<Ending> {
        match self {
            Self::Completed => Some(Ending::Success),
            Self::Failed | Self::NodeFail | Self::Preempted => Some(Ending::Fail),
            Self::Timeout => Some(Ending::Timeout),
            Self::Cancelled => Some(Ending::Cancelled),
            _ => None,
        }
    }

    /// Whether it holds nodes now.
    #[must_use]
    pub fn on_nodes(self) -> bool {
        matches!(self, Self::Configuring | Self::Running | Self::Suspended | Self::Completing)
    }
}

/// How an attempt of a job ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Ending {
    /// Exit code 0.
    Success,
    /// Another exit code, or a node failed.
    Fail,
    /// The time limit was over.
    Timeout,
    /// Cancelled after it had nodes.
    Cancelled,
    /// Requeued or preempted: another attempt follows.
    Requeue,
    /// Slurm no longer knows; never taken for success.
    Unknown,
}
