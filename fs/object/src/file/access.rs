//! What a user may do with a file, from its owner, group and mode, as the operating system would decide for a process
//! of that user. Access control lists count as far as the mode shows them: not for a named user or group.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use forebay_wire::tier::{TierError, TierUser};

use super::FileTier;
use super::path::open_file_in;
use crate::name;

/// Permission to read a file or list a directory.
pub(super) const READ: u32 = 4;
/// Permission to change a file, or the entries of a directory.
pub(super) const WRITE: u32 = 2;
/// Permission to pass through a directory.
pub(super) const SEARCH: u32 = 1;
const STICKY: u32 = 0o1000;

/// Whether the owner, group and mode in `meta` give `user` all of `wanted`.
fn allowed(meta: &Metadata, user: &TierUser, wanted: u32) -> bool {
    let shift = if user.uid == meta.uid() {
        6
    } else if user.gid == meta.gid() || user.groups.contains(&meta.gid()) {
        3
    } else {
        0
    };
    user.uid == 0 || meta.mode() >> shift & wanted == wanted
}

fn metadata(file: &impl AsFd) -> io::Result<Metadata> {
    File::from(file.as_fd().try_clone_to_owned()?).metadata()
}

/// Refuses unless `user` has all of `wanted` on an open file; the operator, who is no user, has.
pub(super) fn may(file: &impl AsFd, user: Option<&TierUser>, wanted: u32) -> io::Result<()> {
    let Some(user) = user else { return Ok(()) };
    let meta = metadata(file)?;
    if allowed(&meta, user, wanted) {
        return Ok(());
    }
    let what = match wanted {
        READ => "reading",
        SEARCH => "passing through",
        _ if wanted & WRITE != 0 => "writing",
        _ => "listing",
    };
    let (mode, owner, group) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    let reason = format!("mode {mode:04o} of owner {owner}, group {group} forbids {what} to user {}", user.uid);
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Refuses unless `user` may put a file called `name` in the open directory `dir`, in place of one that is there.
pub(super) fn may_replace(dir: &OwnedFd, name: &str, user: Option<&TierUser>) -> io::Result<()> {
    may(dir, user, WRITE | SEARCH)?;
    let (Some(user), Ok(there)) = (user, open_file_in(dir, name)) else { return Ok(()) };
    let (dir, there) = (metadata(dir)?, there.metadata()?);
    if dir.mode() & STICKY != 0 && ![0, dir.uid(), there.uid()].contains(&user.uid) {
        let reason = format!("it is user {}'s, in a directory where only owners replace files", there.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

impl FileTier {
    /// Whether `user` may read the object, or list the directory, at `prefix`.
    pub(super) fn may_read(&self, prefix: &str, user: &TierUser) -> Result<(), TierError> {
        let explain = |e: io::Error| self.explain(prefix, &e);
        let (dir, name) = name::split(prefix);
        let parent = self.open_dir(dir, Some(user)).map_err(explain)?;
        if let Ok(file) = open_file_in(&parent, name) {
            return may(&file, Some(user), READ).map_err(explain);
        }
        let dir = self.open_dir(prefix, Some(user)).map_err(explain)?;
        may(&dir, Some(user), READ | SEARCH).map_err(explain)
    }

    /// Whether `user` may make objects below `prefix`; directories that are not there yet would be made.
    pub(super) fn may_write(&self, prefix: &str, user: &TierUser) -> Result<(), TierError> {
        let mut dir = prefix;
        loop {
            match self.open_dir(dir, Some(user)) {
                Ok(fd) => return may(&fd, Some(user), WRITE | SEARCH).map_err(|e| self.explain(dir, &e)),
                Err(e) if e.kind() == io::ErrorKind::NotFound && !dir.is_empty() => dir = name::split(dir).0,
                Err(e) => return Err(self.explain(dir, &e)),
            }
        }
    }
}
