//! From keys to open files, one part at a time, never through a link.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use forebay_wire::tier::TierUser;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::access::{SEARCH, may};
use super::{FileTier, TEMP_PREFIX};
use crate::name;

const DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
// Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it.
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

impl FileTier {
    /// Opens the tier's root.
    pub(super) fn open_root(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.root, DIR, Mode::empty())?)
    }

    /// Opens the directory `dir`; on behalf of `user`, who must be allowed to pass through every directory on the way
    /// and through it.
    pub(super) fn open_dir(&self, dir: &str, user: Option<&TierUser>) -> io::Result<OwnedFd> {
        let mut fd = self.open_root()?;
        may(&fd, user, SEARCH)?;
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            fd = step(&fd, part)?;
            may(&fd, user, SEARCH)?;
        }
        Ok(fd)
    }

    /// Opens the regular file `key`.
    pub(super) fn open_file(&self, key: &str) -> io::Result<File> {
        let (dir, name) = name::split(key);
        open_file_in(&self.open_dir(dir, None)?, name)
    }
}

/// Opens the directory `name` of a directory.
pub(super) fn step(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, DIR | OFlag::O_NOFOLLOW, Mode::empty())?)
}

/// Opens the regular file `name` of a directory. What is not a regular file is not there.
pub(super) fn open_file_in(dir: &OwnedFd, name: &str) -> io::Result<File> {
    if name.is_empty() || name.starts_with(TEMP_PREFIX) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::from(openat(dir, name, FILE | OFlag::O_NOFOLLOW, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Whether opening failed because a symbolic link stands there.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32)
}
