//! Ending a mount whose daemon does not answer, or must not be waited for.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mounts::{self, MountEntry};

/// Why a mount could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    /// There is no such mount.
    #[error("no Forebay filesystem is mounted{}", at.as_ref().map(|p| format!(" at {}", p.display())).unwrap_or_default())]
    None {
        /// Where one was looked for; anywhere where absent.
        at: Option<PathBuf>,
    },
    /// There are several, and none was named.
    #[error("several Forebay filesystems are mounted ({mountpoints}): name one")]
    Several {
        /// Where.
        mountpoints: String,
    },
    /// The kernel refused.
    #[error("{what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Ends a mount at once: kills its daemon, makes every request that waits fail, and takes it out of the tree. What has
/// not been flushed is lost. Returns where it was. `mountpoint` may be absent where there is only one.
pub fn force_unmount(mountpoint: Option<&Path>) -> Result<PathBuf, ForceError> {
    let entry = find(mountpoint)?;
    for daemon in daemons(&entry) {
        // One that is gone already is what is wanted.
        let _ = kill(Pid::from_raw(daemon), Signal::SIGKILL);
    }
    if let Err(error) = entry.abort() {
        // Not where the control filesystem is not mounted; the daemon's death has done the same.
        tracing::info!(%error, "connection not aborted");
    }
    let what = format!("umount -l {}", entry.mountpoint.display());
    entry.unmount(true).map_err(|source| ForceError::Refused { what, source })?;
    Ok(entry.mountpoint)
}

fn find(mountpoint: Option<&Path>) -> Result<MountEntry, ForceError> {
    let what = "/proc/self/mountinfo".to_owned();
    let mut ours = mounts::ours().map_err(|source| ForceError::Refused { what, source })?;
    if let Some(at) = mountpoint {
        ours.retain(|entry| entry.mountpoint == at);
    } else if ours.len() > 1 {
        let mountpoints: Vec<String> = ours.iter().map(|entry| entry.mountpoint.display().to_string()).collect();
        return Err(ForceError::Several { mountpoints: mountpoints.join(", ") });
    }
    ours.pop().ok_or_else(|| ForceError::None { at: mountpoint.map(Into::into) })
}

/// Processes of ours that serve a mount: they have its source and its directory among their arguments.
fn daemons(entry: &MountEntry) -> Vec<i32> {
    let mountpoint = entry.mountpoint.as_os_str().as_encoded_bytes();
    let serves = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |wanted: &[u8]| line.split(|byte| *byte == 0).any(|argument| argument == wanted);
        name.trim() == "forebay-client" && has(mountpoint) && has(entry.source.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str().and_then(|pid| pid.parse().ok()));
    pids.filter(serves).collect()
}
