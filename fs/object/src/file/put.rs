//! Writing a file: beside its target, flushed, then put in place in one step.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use forebay_wire::tier::{TierError, TierUser};
use futures::stream::{Stream, StreamExt};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::libc::{ENOENT, ESTALE};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};

use super::access::{SEARCH, WRITE, may, may_replace};
use super::path::step;
use super::{FileTier, TEMP_PREFIX, object};
use crate::{ObjectMeta, PutMode, name};

/// How often a write begins anew because the directory it has made is gone again.
const REPLACED_MOST: u32 = 16;

/// A write under way; its file is removed where it does not come to its end.
struct Part {
    dir: OwnedFd,
    name: String,
    temp: String,
    file: File,
    placed: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done about it; the name says what it is, and it is never listed.
            let _ = unlinkat(&self.dir, self.temp.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl FileTier {
    pub(crate) async fn put<S>(
        self: Arc<Self>,
        key: &str,
        mut data: S,
        mode: PutMode,
        owner: Option<TierUser>,
    ) -> Result<ObjectMeta, TierError>
    where
        S: Stream<Item = Result<Bytes, TierError>> + Send + Unpin,
    {
        let (owned, user) = (key.to_owned(), owner.clone());
        let begin = move |tier: &Self| tier.begin(&owned, user.as_ref()).map_err(|e| tier.explain(&owned, &e));
        let mut part = self.clone().block(key, begin).await?;
        while let Some(bytes) = data.next().await {
            let (bytes, owned) = (bytes?, key.to_owned());
            let write = move |tier: &Self| {
                part.file.write_all(&bytes).map_err(|e| tier.explain(&owned, &e))?;
                Ok(part)
            };
            part = self.clone().block(key, write).await?;
        }
        let owned = key.to_owned();
        let end = move |tier: &Self| end(part, &owned, mode, owner.as_ref()).map_err(|e| tier.explain(&owned, &e));
        self.block(key, end).await
    }

    fn begin(&self, key: &str, user: Option<&TierUser>) -> io::Result<Part> {
        let (_, name) = name::split(key);
        if name.is_empty() || name.starts_with(TEMP_PREFIX) {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, "this name is not for objects"));
        }
        let gone = |error: &io::Error| [Some(ENOENT), Some(ESTALE)].contains(&error.raw_os_error());
        let mut tries = 0;
        loop {
            match self.begin_once(key, user) {
                // Another write has put its directory in the place of ours, which was still empty: see `make_dir`.
                Err(error) if gone(&error) && tries < REPLACED_MOST => tries += 1,
                begun => return begun,
            }
        }
    }

    fn begin_once(&self, key: &str, user: Option<&TierUser>) -> io::Result<Part> {
        let (dir, name) = name::split(key);
        let dir = self.make_dirs(dir, user)?;
        may_replace(&dir, name, user)?;
        let temp = temp_name()?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&dir, temp.as_str(), flags, Mode::from_bits_truncate(0o644))?);
        Ok(Part { dir, name: name.to_owned(), temp, file, placed: false })
    }

    /// Opens the directory `dir`, making what is missing of it, durably.
    fn make_dirs(&self, dir: &str, user: Option<&TierUser>) -> io::Result<OwnedFd> {
        let mut fd = self.open_root()?;
        may(&fd, user, SEARCH)?;
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            fd = match step(&fd, part) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => make_dir(&fd, part, user)?,
                other => other?,
            };
            may(&fd, user, SEARCH)?;
        }
        Ok(fd)
    }
}

/// A name that no object has, and no other write under way.
fn temp_name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(format!("{TEMP_PREFIX}{:016x}", u64::from_le_bytes(random)))
}

fn make_dir(parent: &OwnedFd, name: &str, user: Option<&TierUser>) -> io::Result<OwnedFd> {
    may(parent, user, WRITE | SEARCH)?;
    // Made aside and given away there: another write below the same directory must not find it before it is the user's.
    let temp = temp_name()?;
    mkdirat(parent, temp.as_str(), Mode::from_bits_truncate(0o755))?;
    let placed = step(parent, &temp).and_then(|dir| {
        give(&dir, user)?;
        match renameat2(parent, temp.as_str(), parent, name, RenameFlags::RENAME_NOREPLACE) {
            // Network filesystems know no such flag; without it only an empty directory could be replaced.
            Err(Errno::EINVAL | Errno::ENOSYS) => renameat(parent, temp.as_str(), parent, name)?,
            other => other?,
        }
        Ok(dir)
    });
    let dir = match placed {
        Ok(dir) => dir,
        Err(error) => {
            unlinkat(parent, temp.as_str(), UnlinkatFlags::RemoveDir)?;
            let other_was_first =
                [io::ErrorKind::AlreadyExists, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind());
            return if other_was_first { step(parent, name) } else { Err(error) };
        }
    };
    sync(parent)?;
    Ok(dir)
}

fn give(file: &impl std::os::fd::AsFd, user: Option<&TierUser>) -> io::Result<()> {
    let Some(user) = user else { return Ok(()) };
    Ok(fchown(file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?)
}

fn sync(dir: &OwnedFd) -> io::Result<()> {
    File::from(dir.try_clone()?).sync_all()
}

fn end(mut part: Part, key: &str, mode: PutMode, owner: Option<&TierUser>) -> io::Result<ObjectMeta> {
    give(&part.file, owner)?;
    part.file.sync_all()?;
    match mode {
        PutMode::Overwrite => {
            renameat(&part.dir, part.temp.as_str(), &part.dir, part.name.as_str())?;
            part.placed = true;
        }
        // The hidden name goes away with the part.
        PutMode::Create => {
            linkat(&part.dir, part.temp.as_str(), &part.dir, part.name.as_str(), AtFlags::empty())?;
            unlinkat(&part.dir, part.temp.as_str(), UnlinkatFlags::NoRemoveDir)?;
            part.placed = true;
        }
    }
    sync(&part.dir)?;
    Ok(object(key.to_owned(), &part.file.metadata()?))
}
