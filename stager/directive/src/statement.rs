//! What directives say, typed.

use serde::{Deserialize, Serialize};

use crate::choice::{Commit, Conflict, Gate, Notify, OnError, Ready, Version, When};
use crate::pattern;
use crate::target::{ScratchPath, Uri};

/// Everything a job asks Forebay for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Directives {
    /// `scratch` statements, in the order written; names are unique.
    pub scratch: Vec<Scratch>,
    /// `in` statements, in the order written; names are unique, also as variables.
    pub inputs: Vec<Input>,
    /// `out` statements, in the order written; destinations are unique and every path names a declared scratch.
    pub outputs: Vec<Output>,
    /// All `opt` statements together.
    pub options: Options,
}

/// A directory of the job's own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scratch {
    /// Its name in the job's view and in [`crate::env_name`] form in `FOREBAY_SCRATCH_<NAME>`.
    pub name: String,
    /// Bytes to reserve; nothing is reserved where absent.
    pub capacity_bytes: Option<u64>,
    /// Seconds it is kept after the job's end; where absent [`Self::DEFAULT_KEEP_S`], and only until every output is
    /// delivered.
    pub keep_s: Option<u64>,
}

impl Scratch {
    /// The name where none is given; its path is also `FOREBAY_WORK`.
    pub const DEFAULT_NAME: &'static str = "work";
    /// `keep=` where none is given: 24 hours, in seconds.
    pub const DEFAULT_KEEP_S: u64 = 24 * 3_600;
}

/// A dataset the job reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Where it comes from.
    pub source: Uri,
    /// Its name in the job's view (`in/<name>`).
    pub name: String,
    /// Which version the job sees.
    pub version: Version,
    /// How much must be hot before the job starts.
    pub ready: Ready,
    /// Patterns a file must match one of; everything where empty.
    pub include: Vec<String>,
    /// Patterns a file must match none of.
    pub exclude: Vec<String>,
}

impl Input {
    /// Whether the file at `path` (relative to the source) belongs to the input.
    #[must_use]
    pub fn selects(&self, path: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| pattern::matches(pattern, path));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

/// Results the job leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Output {
    /// What is copied.
    pub path: ScratchPath,
    /// Where to.
    pub destination: Uri,
    /// After which end of the job.
    pub when: When,
    /// What happens where the destination is taken.
    pub conflict: Conflict,
    /// Whether it must arrive.
    pub required: Commit,
    /// Name of the object that is written last.
    pub marker: String,
}

impl Output {
    /// `marker=` where none is given.
    pub const DEFAULT_MARKER: &'static str = "_FOREBAY_SUCCESS";
}

/// How the job is treated.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Options {
    /// How it is kept from starting early.
    pub gate: Gate,
    /// What happens when its inputs cannot be staged.
    pub on_error: OnError,
    /// Longest wait for staging, in seconds; the site's `[gate] hold_max` where absent.
    pub wait_s: Option<u64>,
    /// Where the user is told.
    pub notify: Notify,
}

impl Directives {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
