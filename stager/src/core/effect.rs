//! What the core asks the shell to do, and what comes back.

use forebay_directive::Conflict;
use forebay_types::{InodeId, TaskId, TierId, Uuid};
use forebay_wire::stager::Problem;
use forebay_wire::tier::Progress;
use serde::{Deserialize, Serialize};

use crate::core::ids::JobKey;
use crate::core::record::Record;
use crate::core::slurm_job::SlurmJob;

/// Names one effect of one job. A job has at most one effect of a slot under way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EffectId {
    /// The job.
    pub key: JobKey,
    /// The record's generation when it was asked for; the answer to an older one is dropped.
    pub generation: u64,
    /// Which of the job's effects.
    pub slot: Slot,
}

/// The effects a job can have under way, one of each. Numbers are indices of inputs or outputs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum Slot {
    /// Fetch the script.
    Script,
    /// Give array tasks records of their own.
    Split,
    /// Look at a source.
    Probe(u32),
    /// Look at a destination.
    ProbeOut(u32),
    /// Make a dataset's directory and hold it.
    Dataset(u32),
    /// Make the job's view.
    View,
    /// Import names.
    Import(u32),
    /// Recall bytes.
    Recall(u32),
    /// Write a control file.
    Control(ControlFile),
    /// Release the job in Slurm.
    Release,
    /// Hold the job in Slurm.
    Hold,
    /// Cancel the job in Slurm.
    CancelJob,
    /// Set the admin comment.
    Comment,
    /// Look which nodes are attached.
    Nodes,
    /// Export an output.
    Export(u32),
    /// Drop the hold on a dataset.
    DropHold(u32),
    /// Remove view and scratch.
    Remove,
}

impl Slot {
    /// Whether it counts against the most transfers at once.
    #[must_use]
    pub fn is_transfer(self) -> bool {
        matches!(self, Self::Recall(_) | Self::Export(_))
    }

    /// Whether the job waits for it before it may start.
    #[must_use]
    pub fn stages_in(self) -> bool {
        matches!(
            self,
            Self::Probe(_)
                | Self::ProbeOut(_)
                | Self::Dataset(_)
                | Self::View
                | Self::Import(_)
                | Self::Recall(_)
                | Self::Control(ControlFile::Attach)
        )
    }

    /// Whether it is watched on a storage host until it ends.
    #[must_use]
    pub fn is_task(self) -> bool {
        matches!(self, Self::Import(_) | Self::Recall(_) | Self::Export(_) | Self::Remove)
    }
}

/// Files of `/job/<id>/.forebay/` that the stager writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum ControlFile {
    /// `attach.json`: what a node needs to attach the job.
    Attach,
    /// `status.json`: what `forebay job status` shows.
    Status,
    /// `report.json`: the report.
    Report,
}

impl ControlFile {
    /// Its file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach.json",
            Self::Status => "status.json",
            Self::Report => "report.json",
        }
    }
}

/// A scratch directory of a view.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScratchDir {
    /// Its name.
    pub name: String,
    /// Bytes asked for; nothing where absent.
    pub capacity_bytes: Option<u64>,
}

/// A link of a view to a dataset.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InputLink {
    /// Name below `in/`.
    pub name: String,
    /// The dataset, `/.forebay/datasets/<id>`.
    pub dataset: Uuid,
    /// For a source that is one file: its name in the dataset, which the link then points at.
    pub file: Option<String>,
}

/// The directory tree a job sees, `/job/<job>` of the filesystem.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ViewSpec {
    /// Slurm's job id.
    pub job: u32,
    /// Attempt it is made for; an existing view of an earlier attempt is kept with all it holds.
    pub restart: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Scratch directories, lifetime class job.
    pub scratch: Vec<ScratchDir>,
    /// Links below `in/`.
    pub inputs: Vec<InputLink>,
}

/// What a task is to do, as far as the core knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Names of an input into its dataset.
    Import {
        /// The dataset's directory.
        into: InodeId,
        /// The tier.
        tier: TierId,
        /// Key prefix below the tier's root.
        prefix: String,
        /// Only these globs.
        include: Vec<String>,
        /// But not these.
        exclude: Vec<String>,
    },
    /// Bytes of a dataset to the hot tier.
    Recall {
        /// The dataset's directory.
        root: InodeId,
    },
    /// An output to a cold tier.
    Export {
        /// Path below `/job/<job>`.
        path: String,
        /// The tier.
        tier: TierId,
        /// Key prefix below the tier's root.
        prefix: String,
        /// What happens where a key exists.
        conflict: Conflict,
        /// Key of the manifest below the prefix.
        manifest: String,
        /// Key of the marker below the prefix.
        marker: String,
        /// Text the manifest carries.
        label: String,
    },
    /// Everything below `/job/<job>`, and itself.
    RemoveView,
}

/// What the shell is asked to do. Journal effects come first in a step, and are durable before anything else of that
/// step is performed. Everything with an [`EffectId`] may happen more than once, but not after its answer was given.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Keep this record.
    Journal(Box<Record>),
    /// Forget this record.
    Forget(JobKey),
    /// Do something and answer with [`crate::core::Input::Done`] or [`crate::core::Input::Failed`].
    Perform {
        /// Its name.
        id: EffectId,
        /// What to do.
        action: Box<Action>,
    },
    /// Stop the task under way in a slot; its own answer still comes.
    CancelTask(EffectId),
}

/// Things the shell can do for a job.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Fetch the job's script.
    FetchScript(SlurmJob),
    /// Give these array tasks (as in `0-9`) records of their own.
    SplitArray {
        /// The array's job id.
        job: u32,
        /// Task indices.
        tasks: Vec<u32>,
        /// The array's admin comment, which the tasks keep.
        comment: String,
    },
    /// Find the tier of a URI and look at it as the job's user.
    Probe {
        /// The URI, substitutions replaced.
        uri: String,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Whether it is to be written to.
        write: bool,
    },
    /// Make the dataset's directory, owned by the user, and hold it for the job.
    Dataset {
        /// The dataset.
        dataset: Uuid,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// The job it is held for.
        job: u32,
    },
    /// Make the view.
    CreateView(ViewSpec),
    /// Start or join a task and watch it to its end, reporting progress.
    Run {
        /// Its name.
        task: TaskId,
        /// The job.
        job: u32,
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// What to do.
        work: Work,
    },
    /// Write a control file.
    Control {
        /// The job.
        job: u32,
        /// Which.
        file: ControlFile,
        /// Its content.
        json: String,
    },
    /// `scontrol release`.
    Release(JobRef),
    /// `scontrol hold`.
    Hold(JobRef),
    /// `scancel`.
    CancelJob(JobRef),
    /// `scontrol update admincomment=`.
    Comment {
        /// The job.
        job: JobRef,
        /// The whole text.
        text: String,
    },
    /// Which nodes have attached and detached the attempt.
    ReadNodes {
        /// The job.
        job: u32,
        /// The attempt.
        restart: u32,
    },
    /// Drop the job's hold on a dataset.
    DropHold {
        /// The dataset.
        dataset: Uuid,
        /// The job.
        job: u32,
    },
}

/// How Slurm's commands must name a job. The bare id of an array's last task means the whole array there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobRef(pub String);

impl JobRef {
    /// Names a job.
    #[must_use]
    pub fn of(job: &SlurmJob) -> Self {
        match (job.array_job, job.array_task) {
            (Some(array), Some(task)) => Self(format!("{array}_{task}")),
            _ => Self(job.job.to_string()),
        }
    }
}

/// Whether a node has the job attached.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NodeMark {
    /// The node's name.
    pub node: String,
    /// Whether it has ended its attachment of this attempt.
    pub detached: bool,
}

/// What came of an effect.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// Answer to [`Action::FetchScript`]; `None` where the job has none.
    Script(Option<String>),
    /// Answer to [`Action::Probe`].
    Probed(Probed),
    /// Answer to [`Action::Dataset`]: the directory.
    Dataset(InodeId),
    /// Answer to [`Action::Run`]: it finished.
    Finished(Progress),
    /// Answer to [`Action::Run`]: what was to be exported does not exist.
    NothingThere,
    /// Answer to [`Action::ReadNodes`].
    Nodes(Vec<NodeMark>),
}

/// What a source or destination looks like.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Probed {
    /// Its tier.
    pub tier: TierId,
    /// Key prefix below the tier's root.
    pub prefix: String,
    /// For a source that is one object: the name it gets as a file.
    pub file: Option<String>,
    /// Objects.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Text that differs where the content differs, as far as a look can tell.
    pub pin: String,
}

/// Why an effect did not happen; whose fault decides what follows.
pub type Failure = Problem;
