//! Service *stager*: `forebay job …` and automation to `forebay-stagerd`.
//!
//! Protocol: as the node service, one JSON object a line over a unix stream socket (default [`DEFAULT_SOCKET`], open
//! to every user); the daemon takes the caller's identity from the socket's peer credentials and answers only for the
//! caller's own jobs (root: every job).

use serde::{Deserialize, Serialize};

use crate::node::FaultClass;

/// Version of this protocol.
pub const VERSION: u32 = 1;
/// Where `forebay-stagerd` listens unless `site.toml` says otherwise (`[socket] stagerd`).
pub const DEFAULT_SOCKET: &str = "/run/forebay/stagerd.sock";

/// What a caller sends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct StagerCall {
    /// [`VERSION`] of the caller.
    pub version: u32,
    /// What is asked.
    pub request: StagerRequest,
}

/// What can be asked of the stager.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum StagerRequest {
    /// Parse a job script and look at its sources as the caller, without submitting anything.
    Check {
        /// The whole script.
        script: String,
    },
    /// One job, or all of the caller's.
    Status {
        /// Slurm's job id; all of the caller's jobs where absent.
        job: Option<u32>,
    },
    /// Answer when the job has reached `until`, or failed, or the time is over.
    Wait {
        /// Slurm's job id.
        job: u32,
        /// What to wait for.
        until: WaitFor,
        /// Longest wait, in milliseconds.
        timeout_ms: u64,
    },
    /// Try again what waits for the user (`WAIT_USER`) or is parked.
    Retry {
        /// Slurm's job id.
        job: u32,
    },
    /// Stop staging for the job and release its references; deletes nothing that the job wrote.
    Cancel {
        /// Slurm's job id.
        job: u32,
    },
    /// The job's I/O report.
    Report {
        /// Slurm's job id.
        job: u32,
    },
    /// Liveness and version.
    Ping,
}

/// What `forebay job wait` waits for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The job's inputs are ready.
    Ready,
    /// The job's outputs are committed (or parked).
    Out,
}

/// What the stager answers.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum StagerReply {
    /// Answer to [`StagerRequest::Check`].
    Checked(CheckReport),
    /// Answer to [`StagerRequest::Status`].
    Jobs(Vec<JobStatus>),
    /// Answer to [`StagerRequest::Wait`], [`StagerRequest::Retry`] and [`StagerRequest::Cancel`]: the job as it is now.
    Job(JobStatus),
    /// Answer to [`StagerRequest::Report`].
    Report(JobReport),
    /// Answer to [`StagerRequest::Ping`].
    Pong {
        /// Version of the daemon.
        version: String,
    },
    /// The request was refused.
    Refused(Refusal),
}

/// Why a request was refused; decides the exit code of `forebay job`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Refusal {
    /// Documented exit code: 2 usage, 3 source, 4 quota or size, 5 staging failed, 6 out failed, 7 waiting, 9 version.
    pub exit_code: u8,
    /// Stable code, as in `E-JOB-UNKNOWN`.
    pub code: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// Result of looking at a script.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct CheckReport {
    /// Inputs found.
    pub inputs: Vec<InputStatus>,
    /// Outputs asked for.
    pub outputs: Vec<OutputStatus>,
    /// Scratch asked for, in bytes.
    pub scratch_bytes: u64,
    /// What is wrong; empty means the job could be submitted.
    pub problems: Vec<Problem>,
}

/// One thing wrong with a script or a job.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Problem {
    /// Stable code, as in `E-IN-404`.
    pub code: String,
    /// Whose fault.
    pub class: FaultClass,
    /// What is wrong, naming the thing.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
    /// Line of the script, from 1; 0 where it is not about a line.
    pub line: u32,
    /// Column, from 1; 0 where it is not about a column.
    pub column: u32,
}

/// States of a job's staging record, in the words of the admin comment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobPhase {
    /// Seen, nothing done yet.
    New,
    /// Sources are being listed.
    Resolving,
    /// Waiting for room.
    Admitted,
    /// Inputs are being recalled.
    Staging,
    /// Inputs are there; the job may start.
    Ready,
    /// Slurm has given the job nodes.
    Bound,
    /// The job runs.
    Running,
    /// The job has left its nodes; waiting for their data.
    Flushing,
    /// What is to go out is frozen.
    Sealed,
    /// Outputs are being copied.
    Outgoing,
    /// Everything asked for is done.
    Done,
    /// References are released; the record stays for reports.
    Closed,
    /// Something only the user can mend.
    WaitUser,
    /// Something that is tried again.
    WaitInfra,
    /// Outputs could not be delivered; bytes are kept.
    Parked,
    /// References are being dropped.
    Cancelling,
}

/// A job as the stager sees it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct JobStatus {
    /// Slurm's job id.
    pub job: u32,
    /// The job's name.
    pub name: String,
    /// The job's user id.
    pub uid: u32,
    /// Attempt, from 0.
    pub restart: u32,
    /// Where its staging stands.
    pub phase: JobPhase,
    /// Slurm's own state, as in `PENDING`.
    pub slurm_state: String,
    /// One line for people: progress, or why it waits and what to do.
    pub comment: String,
    /// What is wrong, if anything.
    pub problem: Option<Problem>,
    /// Inputs.
    pub inputs: Vec<InputStatus>,
    /// Outputs.
    pub outputs: Vec<OutputStatus>,
    /// Path of the job's view; empty before there is one.
    pub view: String,
    /// Estimated seconds until inputs are ready, where known.
    pub eta_s: Option<u64>,
}

/// One input.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InputStatus {
    /// Its name in the view.
    pub name: String,
    /// Where it comes from.
    pub uri: String,
    /// Files in its manifest.
    pub files: u64,
    /// Bytes in its manifest.
    pub bytes: u64,
    /// Files entirely hot.
    pub ready_files: u64,
    /// Bytes hot.
    pub ready_bytes: u64,
}

/// One output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct OutputStatus {
    /// Path in the job's scratch.
    pub path: String,
    /// Where it goes.
    pub uri: String,
    /// Files found when it was sealed.
    pub files: u64,
    /// Bytes found when it was sealed.
    pub bytes: u64,
    /// Files copied and verified.
    pub done_files: u64,
    /// Bytes copied and verified.
    pub done_bytes: u64,
    /// Whether manifest and marker are written.
    pub committed: bool,
    /// Why it is parked, if it is.
    pub problem: Option<Problem>,
}

/// The job's I/O report.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
pub struct JobReport {
    /// The job as it is now.
    pub status: JobStatus,
    /// Nodes it ran on.
    pub nodes: Vec<String>,
    /// Seconds from when the stager saw the job to when its inputs were ready.
    pub stage_in_s: f64,
    /// Seconds from ready to running.
    pub queue_s: f64,
    /// Seconds running.
    pub run_s: f64,
    /// Seconds from the end of the job to every node flushed.
    pub flush_s: f64,
    /// Seconds of stage-out.
    pub stage_out_s: f64,
    /// Bytes recalled for this job from a cold tier (the rest was already hot).
    pub recalled_bytes: u64,
    /// The report as text.
    pub text: String,
}
