//! Service *tier*: clients, the command line and the stager to a host's movers.
//!
//! A task is named by whoever starts it; starting it again joins it, and starting it after the host has died (on any
//! host) goes on where it was, since every task looks at what is already done. A host remembers ended tasks for a
//! while, so that their result can be asked for.

use forebay_types::{ByteRange, FsId, InodeId, TaskId, TierId, Uuid};
use serde::{Deserialize, Serialize};

/// What movers can be asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum TierRequest {
    /// Start a task, or join it.
    Start {
        /// Its name.
        task: TaskId,
        /// What to do.
        spec: Box<TaskSpec>,
    },
    /// How far is it?
    Poll {
        /// Its name.
        task: TaskId,
        /// Answer when `version` has changed or after this many milliseconds, whichever is first.
        wait_ms: u32,
        /// Version of the progress the caller has; 0 for none.
        version: u64,
    },
    /// Stop it; what is done stays done.
    Cancel {
        /// Its name.
        task: TaskId,
    },
    /// Look at a source as a user, without importing: files, bytes, or why not.
    Probe {
        /// The tier.
        tier: TierId,
        /// Key prefix below the tier's root.
        prefix: String,
        /// As whom; checked where the tier has owners (`file`), absent for the operator.
        as_user: Option<TierUser>,
        /// Whether it is to be written to rather than read.
        write: bool,
    },
}

/// On whose behalf a mover reads or writes a cold tier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct TierUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// What a task does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum TaskSpec {
    /// Make files below a directory for every object below a prefix; metadata only.
    Import {
        /// The filesystem.
        fs: FsId,
        /// The directory.
        into: InodeId,
        /// The tier.
        tier: TierId,
        /// Key prefix below the tier's root; a key that is not below it as a directory is a single file.
        prefix: String,
        /// Owner of what is made.
        uid: u32,
        /// Group of what is made.
        gid: u32,
        /// Permission bits of files; directories get execute where files have read.
        mode: u16,
        /// As whom the source is read; absent for the operator.
        as_user: Option<TierUser>,
        /// Only names matching one of these globs (all where empty).
        include: Vec<String>,
        /// But none matching one of these.
        exclude: Vec<String>,
    },
    /// Bring cold bytes to the hot tier.
    Recall {
        /// The filesystem.
        fs: FsId,
        /// A file or a directory (everything below it).
        root: InodeId,
        /// Which bytes of a file; the whole where absent.
        range: Option<ByteRange>,
    },
    /// Make sure bytes are in a cold tier, then free the hot copy.
    Evict {
        /// The filesystem.
        fs: FsId,
        /// A file or a directory.
        root: InodeId,
        /// Which bytes of a file; the whole where absent.
        range: Option<ByteRange>,
        /// The tier that bytes that have no cold copy go to.
        tier: TierId,
    },
    /// Copy files to a cold tier as plain objects, verify them, then write the manifest and last the marker.
    Export {
        /// The filesystem.
        fs: FsId,
        /// A file or a directory.
        root: InodeId,
        /// The tier.
        tier: TierId,
        /// Key prefix below the tier's root.
        prefix: String,
        /// As whom; absent for the operator.
        as_user: Option<TierUser>,
        /// What to do where a key exists already.
        conflict: Conflict,
        /// Key of the manifest below the prefix, empty for none. Written after every object is verified.
        manifest: String,
        /// Key of the marker below the prefix, empty for none. Written last.
        marker: String,
        /// Text that the manifest carries along, as in the job and attempt.
        label: String,
    },
    /// Remove everything below a directory, and the directory.
    Remove {
        /// The filesystem.
        fs: FsId,
        /// Its parent.
        parent: InodeId,
        /// Its name.
        name: String,
    },
}

/// What an export does where a key exists already.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Conflict {
    /// Stop with an error naming the key, unless the object is the one this export wrote.
    Fail,
    /// Replace it.
    Overwrite,
}

/// What movers answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum TierReply {
    /// How far a task is.
    Progress(Progress),
    /// Answer to [`TierRequest::Probe`].
    Probed {
        /// Objects below the prefix.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// For a prefix that is one object: its last component, which an import gives the file as its name.
        file: Option<String>,
        /// Digest of keys, sizes and entity tags: another where the content is another.
        pin: Uuid,
    },
    /// Refused.
    Error(TierError),
}

/// How far a task is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Progress {
    /// Grows with every change.
    pub version: u64,
    /// Where it stands.
    pub state: TaskState,
    /// Files found so far.
    pub files: u64,
    /// Of those, done.
    pub done_files: u64,
    /// Bytes found so far.
    pub bytes: u64,
    /// Of those, done (hot already counts as done).
    pub done_bytes: u64,
    /// Bytes this task moved itself.
    pub moved_bytes: u64,
}

/// Where a task stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum TaskState {
    /// Under way; figures are still growing.
    Running,
    /// Under way, but an error is being retried.
    Retrying(TierError),
    /// Finished, everything done.
    Done,
    /// Ended without finishing.
    Failed(TierError),
    /// Stopped on request.
    Cancelled,
}

/// Why a mover could not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum TierError {
    /// The source does not exist.
    #[error("{url} does not exist")]
    Missing {
        /// Its URL.
        url: String,
    },
    /// The store or the file's mode forbids it.
    #[error("{url} may not be accessed: {reason}")]
    Forbidden {
        /// Its URL.
        url: String,
        /// What the store said.
        reason: String,
    },
    /// The object is another than the one that was imported.
    #[error("{url} has changed since it was imported (was {expected}, is {found})")]
    Changed {
        /// Its URL.
        url: String,
        /// Entity tag at import.
        expected: String,
        /// Entity tag now.
        found: String,
    },
    /// A key exists that may not be replaced.
    #[error("{url} exists already")]
    Exists {
        /// Its URL.
        url: String,
    },
    /// The store cannot be reached or is failing; worth trying again.
    #[error("{url} cannot be reached: {reason}")]
    Unavailable {
        /// Its URL.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// What was written does not read back as it should.
    #[error("{url} does not verify: {reason}")]
    Verify {
        /// Its URL.
        url: String,
        /// What differs.
        reason: String,
    },
    /// A name that cannot be a file name, as `..` or one over the limit.
    #[error("{url} cannot be a file here: {reason}")]
    BadName {
        /// Its URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The filesystem refused.
    #[error("{path}: {errno}")]
    Filesystem {
        /// What it was about.
        path: String,
        /// The answer.
        errno: forebay_types::Errno,
    },
    /// Somebody holds the data hot.
    #[error("{path} is held by {holder}")]
    Held {
        /// The path.
        path: String,
        /// Who.
        holder: String,
    },
    /// The tier is not attached.
    #[error("{tier} is not attached to the filesystem")]
    NoTier {
        /// The tier.
        tier: TierId,
    },
    /// Nothing of that name runs or ran here.
    #[error("no such task here")]
    NoTask,
    /// The host has as many tasks as it may.
    #[error("the host is at its limit of {limit} tasks")]
    TooManyTasks {
        /// The limit.
        limit: u32,
    },
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

impl TierError {
    /// Whether trying again later may help without anybody mending anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TooManyTasks { .. } | Self::NoTask => true,
            Self::Filesystem { errno, .. } => {
                matches!(errno, forebay_types::Errno::Again | forebay_types::Errno::TimedOut | forebay_types::Errno::Io)
            }
            _ => false,
        }
    }
}
