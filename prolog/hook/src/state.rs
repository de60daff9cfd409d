//! Job state files: what Prolog leaves for the SPANK plugin, one file a job, readable by root only.
//!
//! Invariants: a file is there whole or not at all (written beside, then renamed); directory 0700, files 0600; links
//! are not followed; a file of another user is not believed.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use forebay_wire::node::JobState;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// Longest state file that is written or read, in bytes.
pub const MAX_STATE_BYTES: u64 = 1 << 20;

/// A state file that cannot be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The kernel said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// File or directory belongs to somebody else.
    #[error("{} belongs to user {uid}, not to root: it is not used; remove it", path.display())]
    Stranger {
        /// File or directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Too long, or not a state.
    #[error("{} is no job state ({reason}); Prolog and SPANK plugin must be of one version", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The directory of job state files.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// A directory, which [`StateDir::write`] makes when it is not there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file of a job.
    #[must_use]
    pub fn file(&self, job: u32) -> PathBuf {
        self.path.join(format!("{job}.json"))
    }

    /// Writes a job's state, replacing an older one.
    pub fn write(&self, job: u32, state: &JobState) -> Result<(), StateError> {
        self.prepare()?;
        let target = self.file(job);
        let garbled = |reason| StateError::Garbled { path: target.clone(), reason };
        let bytes = serde_json::to_vec(state).map_err(|e| garbled(e.to_string()))?;
        if bytes.len() as u64 > MAX_STATE_BYTES {
            return Err(garbled(format!("{} bytes, more than {MAX_STATE_BYTES}", bytes.len())));
        }
        let beside = self.path.join(format!(".{job}.{}", std::process::id()));
        let written = write_new(&beside, &bytes).and_then(|()| fs::rename(&beside, &target));
        written.map_err(|source| {
            // Best effort: the error that matters is the one that stopped us.
            fs::remove_file(&beside).ok();
            StateError::Io { path: target.clone(), source }
        })
    }

    /// A job's state; `None` where there is none.
    pub fn read(&self, job: u32) -> Result<Option<JobState>, StateError> {
        let path = self.file(job);
        let fail = |source| StateError::Io { path: path.clone(), source };
        let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let owner = file.metadata().map_err(fail)?.uid();
        if owner != geteuid().as_raw() {
            return Err(StateError::Stranger { path, uid: owner });
        }
        let mut bytes = Vec::new();
        file.take(MAX_STATE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MAX_STATE_BYTES {
            return Err(StateError::Garbled { path, reason: format!("more than {MAX_STATE_BYTES} bytes") });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| StateError::Garbled { path, reason: e.to_string() })
    }

    /// Removes a job's state, if there is one.
    pub fn remove(&self, job: u32) -> Result<(), StateError> {
        let path = self.file(job);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, source: e }),
            _ => Ok(()),
        }
    }

    /// Removes a job's state unless it is of a later attempt: a late Epilog must not take it from a running job.
    /// A state that cannot be read is of no use to anybody and is removed.
    pub fn remove_unless_newer(&self, job: u32, restart: u32) -> Result<(), StateError> {
        match self.read(job) {
            Ok(Some(state)) if state.restart > restart => Ok(()),
            _ => self.remove(job),
        }
    }

    /// Makes the directory, and mends its mode.
    fn prepare(&self) -> Result<(), StateError> {
        let fail = |source| StateError::Io { path: self.path.clone(), source };
        if let Some(parent) = self.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(fail)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fail(e)),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.path).map_err(fail)?;
        if !metadata.is_dir() {
            return Err(fail(io::ErrorKind::NotADirectory.into()));
        }
        if metadata.uid() != geteuid().as_raw() {
            return Err(StateError::Stranger { path: self.path.clone(), uid: metadata.uid() });
        }
        if metadata.mode() & 0o777 != 0o700 {
            fs::set_permissions(&self.path, Permissions::from_mode(0o700)).map_err(fail)?;
        }
        Ok(())
    }
}

/// Writes a file that must not be there yet; one left by a killed run of our own process id is removed first.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = || -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
    };
    let mut file = match open() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    file.write_all(bytes)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
