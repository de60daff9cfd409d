//! Names that are derived, never drawn: the same job asks for the same task and the same dataset after any restart.

use std::fmt;

use forebay_types::{TaskId, Uuid};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, as the shell's clock has them; never goes backwards within a run.
pub type Millis = u64;

/// What a staging record is about. Slurm reuses job ids and changes the submit time at a requeue, so the key carries
/// the submit time at which the job was first seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct JobKey {
    /// Slurm's cluster name.
    pub cluster: String,
    /// Slurm's job id.
    pub job: u32,
    /// Submit time when first seen, in seconds since 1970-01-01 UTC.
    pub submit_s: u64,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.cluster, self.job, self.submit_s)
    }
}

/// Kinds of task a job starts on the storage hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskKind {
    /// Names of an input into its dataset's directory.
    Import,
    /// Bytes of an input to the hot tier.
    Recall,
    /// An output to a cold tier.
    Export,
    /// The job's view and scratch.
    Remove,
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}

/// Name of the `index`-th task of a kind in one attempt of a job. `round` grows when a user asks to try again, since
/// hosts remember how a task of the same name ended.
#[must_use]
pub fn task_id(key: &JobKey, attempt: u32, kind: TaskKind, index: u32, round: u32) -> TaskId {
    let kind: &[u8] = match kind {
        TaskKind::Import => b"import",
        TaskKind::Recall => b"recall",
        TaskKind::Export => b"export",
        TaskKind::Remove => b"remove",
    };
    Uuid(digest(&[
        b"forebay task 1",
        key.cluster.as_bytes(),
        &key.job.to_le_bytes(),
        &key.submit_s.to_le_bytes(),
        &attempt.to_le_bytes(),
        kind,
        &index.to_le_bytes(),
        &round.to_le_bytes(),
    ]))
}

/// Name of a dataset: one version of one selection of one source, private to one user.
#[must_use]
pub fn dataset_id(uid: u32, uri: &str, include: &[String], exclude: &[String], pin: &str) -> Uuid {
    let join = |list: &[String]| list.iter().flat_map(|text| [text.as_bytes(), b"\0"]).flatten().copied().collect();
    let (include, exclude): (Vec<u8>, Vec<u8>) = (join(include), join(exclude));
    Uuid(digest(&[b"forebay dataset 1", &uid.to_le_bytes(), uri.as_bytes(), &include, &exclude, pin.as_bytes()]))
}
