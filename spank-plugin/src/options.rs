//! What the user chose, and what the administrator gave the plugin in `plugstack.conf`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use forebay_wire::node::{DEFAULT_JOB_DIR, DEFAULT_SOCKET};

/// Number of `--forebay=` among the plugin's options.
pub const SPEC: i32 = 1;
/// Number of `--forebay-strict`.
pub const STRICT: i32 = 2;

/// Options the user gave.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Chosen {
    /// Text of `--forebay=`, the last one given.
    pub spec: Option<String>,
    /// Whether `--forebay-strict` was given.
    pub strict: bool,
}

/// Slurm hands options to a callback that has no handle, so they must be kept here until the next hook.
static CHOSEN: Mutex<Chosen> = Mutex::new(Chosen { spec: None, strict: false });

/// Keeps one option; `false` when there is no such option or its value is missing.
pub fn keep(number: i32, value: Option<&str>) -> bool {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    match (number, value) {
        (SPEC, Some(spec)) => chosen.spec = Some(spec.to_owned()),
        (STRICT, _) => chosen.strict = true,
        _ => return false,
    }
    true
}

/// The options kept so far.
pub fn kept() -> Chosen {
    CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Arguments of the plugin's line in `plugstack.conf`.
#[derive(PartialEq, Eq, Debug)]
pub struct PluginArgs {
    /// `job_dir=`: where Prolog leaves job state.
    pub job_dir: PathBuf,
    /// `socket=`: where the node's client daemon listens.
    pub socket: PathBuf,
    /// What is not understood.
    pub unknown: Vec<String>,
}

impl PluginArgs {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Self {
        let mut parsed = Self { job_dir: DEFAULT_JOB_DIR.into(), socket: DEFAULT_SOCKET.into(), unknown: Vec::new() };
        for arg in args {
            match arg.split_once('=') {
                Some(("job_dir", path)) if path.starts_with('/') => parsed.job_dir = path.into(),
                Some(("socket", path)) if path.starts_with('/') => parsed.socket = path.into(),
                _ => parsed.unknown.push(arg.clone()),
            }
        }
        parsed
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
