//! The staging record of a job: all that survives a restart.
//!
//! Invariant: what has to be done for a job follows from its record alone. Whatever was under way at a crash is asked
//! for again, so nothing about running effects is kept.

use forebay_directive::{Conflict, Gate, OnError, When};
use forebay_types::{InodeId, Uuid};
use forebay_wire::stager::{JobPhase, Problem};
use serde::{Deserialize, Serialize};

use crate::core::effect::{InputLink, Probed, ScratchDir, Slot, ViewSpec};
use crate::core::ids::{JobKey, Millis};
use crate::core::slurm_job::{Ending, SlurmJob};

/// Version of the record's format in the journal.
pub const RECORD_VERSION: u8 = 1;
/// Most transitions a record remembers.
pub const HISTORY_MAX: usize = 128;

/// Where a job's staging stands. What holds it up ([`Record::blocked`], [`Record::retries`]) is kept beside it, so that
/// trying again goes on where it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Stage {
    /// Directives could not be read; only the user can mend it.
    New,
    /// Sources and destinations are looked at.
    Resolving,
    /// Dataset directories, holds and the view are made.
    Admitted,
    /// Names are imported and bytes recalled.
    Staging,
    /// Inputs are there.
    Ready,
    /// Slurm has given the job nodes.
    Bound,
    /// The job runs.
    Running,
    /// The job has left its nodes, or was requeued; waiting for their data.
    Flushing,
    /// Outputs are selected by how the job ended.
    Sealed,
    /// Outputs are copied.
    Outgoing,
    /// References are dropped, scratch is kept until it expires.
    Done,
    /// Nothing is left but the record.
    Closed,
    /// References are dropped because the job will not run.
    Cancelling,
}

/// An input.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InputRecord {
    /// Name in the view.
    pub name: String,
    /// Source, substitutions replaced.
    pub uri: String,
    /// Only these globs.
    pub include: Vec<String>,
    /// But not these.
    pub exclude: Vec<String>,
    /// Whether the job waits until it is hot.
    pub wait_hot: bool,
    /// What a look at the source found.
    pub probed: Option<Probed>,
    /// Its dataset, once the source is known.
    pub dataset: Option<Uuid>,
    /// The dataset's directory, once it is there and held.
    pub inode: Option<InodeId>,
    /// Files and bytes imported, once they are.
    pub imported: Option<(u64, u64)>,
    /// Whether everything is hot.
    pub hot: bool,
    /// Bytes that were recalled for this job.
    pub recalled_bytes: u64,
    /// Whether the hold on the dataset has been dropped.
    pub dropped: bool,
    /// Why the job starts without it.
    pub skipped: Option<Problem>,
}

/// State of an output.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum OutputState {
    /// The attempt has not ended.
    Waiting,
    /// To be copied.
    Selected,
    /// Copied, verified, manifest and marker written.
    Committed,
    /// Not asked for after this kind of end.
    Skipped,
    /// The job left nothing at its path.
    Nothing,
    /// Could not be delivered and need not be.
    Dropped,
    /// Could not be delivered; kept.
    Parked,
}

/// An output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct OutputRecord {
    /// Scratch it is in.
    pub scratch: String,
    /// Path in the scratch, substitutions replaced.
    pub path: String,
    /// Destination, substitutions replaced.
    pub uri: String,
    /// After which end.
    pub when: When,
    /// Where the destination is taken.
    pub conflict: Conflict,
    /// Whether it must arrive.
    pub required: bool,
    /// Name of the marker.
    pub marker: String,
    /// What a look at the destination found.
    pub probed: Option<Probed>,
    /// State.
    pub state: OutputState,
    /// Files and bytes copied, once committed.
    pub committed: Option<(u64, u64)>,
    /// What is wrong, if anything.
    pub problem: Option<Problem>,
}

/// What is tried again by itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Retry {
    /// Which effect.
    pub slot: Slot,
    /// Failures so far.
    pub tries: u32,
    /// When the first was.
    pub since_ms: Millis,
    /// When it is tried again.
    pub at_ms: Millis,
    /// What was seen.
    pub problem: Problem,
}

/// A record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Record {
    /// Which job.
    pub key: JobKey,
    /// Grows when what is under way no longer counts.
    pub generation: u64,
    /// Grows when the user asks to try again.
    pub round: u32,
    /// Attempt, from 0.
    pub attempt: u32,
    /// The attempt that follows this one, once Slurm has shown it.
    pub next_attempt: Option<u32>,
    /// Where it stands.
    pub stage: Stage,
    /// Since when, in milliseconds.
    pub since_ms: Millis,
    /// Transitions, oldest first.
    pub history: Vec<(Millis, JobPhase)>,
    /// The job as Slurm last showed it.
    pub seen: SlurmJob,
    /// Since when it is missing from Slurm's list.
    pub missing_since_ms: Option<Millis>,
    /// Gate, never `auto`.
    pub gate: Gate,
    /// What happens when inputs cannot be staged.
    pub on_error: OnError,
    /// Longest wait for staging, in milliseconds.
    pub wait_ms: Millis,
    /// When waiting began: at first sight, at a retry.
    pub wait_since_ms: Millis,
    /// Whether progress is told in the admin comment.
    pub comments: bool,
    /// Scratch directories.
    pub scratch: Vec<ScratchDir>,
    /// Seconds the scratch is kept after the end.
    pub keep_s: u64,
    /// Whether the scratch is kept that long even though every output is committed.
    pub keep_claimed: bool,
    /// Inputs.
    pub inputs: Vec<InputRecord>,
    /// Outputs.
    pub outputs: Vec<OutputRecord>,
    /// Whether the view is there, with the links it should have.
    pub view: bool,
    /// Whether anything of a view may be there.
    pub view_begun: bool,
    /// Whether holds are dropped before inputs are looked at again.
    pub restage: bool,
    /// Whether the job is held on our behalf.
    pub held: bool,
    /// Whether the job must be held before Slurm starts it again.
    pub hold_wanted: bool,
    /// Whether the user has stopped staging; references are dropped until a retry.
    pub withdrawn: bool,
    /// Whether Slurm has given this attempt nodes.
    pub started: bool,
    /// Whether an earlier attempt has used the scratch.
    pub resumed: bool,
    /// Nodes that attached this attempt.
    pub nodes: Vec<NodeRecord>,
    /// When the nodes were last looked at since the attempt ended.
    pub nodes_read_ms: Option<Millis>,
    /// When Slurm said how the attempt ended.
    pub ended_ms: Option<Millis>,
    /// How the attempt ended.
    pub ending: Option<Ending>,
    /// When view and scratch may be removed.
    pub remove_at_ms: Option<Millis>,
    /// Since when outputs are parked.
    pub parked_ms: Option<Millis>,
    /// What only the user can mend.
    pub blocked: Option<Problem>,
    /// What is tried again by itself.
    pub retries: Vec<Retry>,
    /// Admin comment last set, and when.
    pub comment: (String, Millis),
    /// `attach.json` as last written.
    pub attach: String,
}

/// A node of an attempt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NodeRecord {
    /// Its name.
    pub node: String,
    /// Whether its data is flushed.
    pub detached: bool,
}

impl Record {
    /// The phase as users and the protocol name it.
    #[must_use]
    pub fn phase(&self) -> JobPhase {
        if self.stage <= Stage::Staging {
            if self.blocked.is_some() {
                return JobPhase::WaitUser;
            }
            if self.retries.iter().any(|retry| retry.slot.stages_in()) {
                return JobPhase::WaitInfra;
            }
        }
        if self.stage == Stage::Outgoing && self.parked_ms.is_some() {
            return JobPhase::Parked;
        }
        match self.stage {
            Stage::New => JobPhase::New,
            Stage::Resolving => JobPhase::Resolving,
            Stage::Admitted => JobPhase::Admitted,
            Stage::Staging => JobPhase::Staging,
            Stage::Ready => JobPhase::Ready,
            Stage::Bound => JobPhase::Bound,
            Stage::Running => JobPhase::Running,
            Stage::Flushing => JobPhase::Flushing,
            Stage::Sealed => JobPhase::Sealed,
            Stage::Outgoing => JobPhase::Outgoing,
            Stage::Done => JobPhase::Done,
            Stage::Closed => JobPhase::Closed,
            Stage::Cancelling => JobPhase::Cancelling,
        }
    }

    /// Whether nodes may attach this attempt.
    #[must_use]
    pub fn attachable(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Bound | Stage::Running) && self.next_attempt.is_none()
    }

    /// Whether the job may still be waiting for its inputs.
    #[must_use]
    pub fn before_ready(&self) -> bool {
        self.stage <= Stage::Staging
    }

    /// Whether references are still held for the job.
    #[must_use]
    pub fn active(&self) -> bool {
        self.stage != Stage::Closed
    }

    /// The view's specification.
    #[must_use]
    pub fn view_spec(&self) -> ViewSpec {
        let link = |input: &InputRecord| {
            let file = input.probed.as_ref().and_then(|probed| probed.file.clone());
            input.dataset.map(|dataset| InputLink { name: input.name.clone(), dataset, file })
        };
        ViewSpec {
            job: self.key.job,
            restart: self.attempt,
            uid: self.seen.uid,
            gid: self.seen.gid,
            scratch: self.scratch.clone(),
            inputs: self.inputs.iter().filter(|input| input.skipped.is_none()).filter_map(link).collect(),
        }
    }

    /// Path of the view below the mount.
    #[must_use]
    pub fn view_path(&self, mount: &str) -> String {
        format!("{}/job/{}", mount.trim_end_matches('/'), self.key.job)
    }

    /// When a phase was last entered.
    #[must_use]
    pub fn entered(&self, phase: JobPhase) -> Option<Millis> {
        self.history.iter().rev().find(|(_, entered)| *entered == phase).map(|(at, _)| *at)
    }
}
