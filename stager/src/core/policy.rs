//! The numbers a site sets.

use crate::core::ids::Millis;

/// How jobs are staged.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// Slurm's cluster name.
    pub cluster: String,
    /// Where compute nodes mount the filesystem.
    pub mount: String,
    /// Whether `gate=auto` means `lazy`.
    pub lazy_by_default: bool,
    /// Most recalls and exports at once.
    pub max_transfers: usize,
    /// Most scripts fetched at once.
    pub max_script_fetches: usize,
    /// Most tasks of one job array that have a record of their own before they run.
    pub array_window: usize,
    /// First and longest pause before something transient is tried again, outputs excepted.
    pub backoff_ms: (Millis, Millis),
    /// Most tries of one step of a stage-in before the user is asked.
    pub tries: u32,
    /// How long a transient error of a stage-in is retried before the user is asked.
    pub give_up_ms: Millis,
    /// First and longest pause before an output is tried again.
    pub out_backoff_ms: (Millis, Millis),
    /// Most tries of one output before it is parked.
    pub out_tries: u32,
    /// How long a transient error of a stage-out is retried before the output is parked.
    pub park_after_ms: Millis,
    /// How long parked outputs are kept.
    pub keep_parked_ms: Millis,
    /// Longest wait for stage-in where the job does not say.
    pub hold_max_ms: Millis,
    /// How long after a job's end its nodes may take to flush.
    pub flush_budget_ms: Millis,
    /// Pause between two looks at which nodes have detached.
    pub flush_poll_ms: Millis,
    /// How long a pending job may be missing from Slurm's list before its references are released.
    pub gone_after_ms: Millis,
    /// How long a started job may be missing before it counts as ended with outcome unknown.
    pub unknown_after_ms: Millis,
    /// Whether anything is written to admin comments.
    pub comments: bool,
    /// Pause between two progress comments of one job.
    pub comment_interval_ms: Millis,
    /// How long a closed record stays for reports.
    pub closed_keep_ms: Millis,
    /// Local time less UTC, in seconds, for times in comments.
    pub utc_offset_s: i64,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Millis = 60_000;
        const HOUR: Millis = 60 * MINUTE;
        const DAY: Millis = 24 * HOUR;
        Self {
            cluster: "cluster".into(),
            mount: "/mnt/forebay".into(),
            lazy_by_default: false,
            max_transfers: 256,
            max_script_fetches: 8,
            array_window: 64,
            backoff_ms: (1_000, 5 * MINUTE),
            tries: u32::MAX,
            give_up_ms: DAY,
            out_backoff_ms: (5_000, 15 * MINUTE),
            out_tries: u32::MAX,
            park_after_ms: HOUR,
            keep_parked_ms: 30 * DAY,
            hold_max_ms: 2 * DAY,
            flush_budget_ms: MINUTE,
            flush_poll_ms: 500,
            gone_after_ms: MINUTE,
            unknown_after_ms: 30 * MINUTE,
            comments: true,
            comment_interval_ms: 30_000,
            closed_keep_ms: 7 * DAY,
            utc_offset_s: 0,
        }
    }
}
