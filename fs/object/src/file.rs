//! A directory as a cold tier.
//!
//! Objects are regular files; symbolic links and everything else are not there, and no link below the root is ever
//! followed, so nothing outside it can be reached however a user rearranges what is inside. The directories *above*
//! the root are the operator's: who attached the tier vouches for them.
//!
//! A write goes to a hidden file beside its target ([`TEMP_PREFIX`], never listed), is flushed, and is then renamed
//! or linked into place, and the directory flushed. The entity tag is modification time, size and inode number:
//! whatever a program writes changes it.

mod access;
mod path;
mod put;
mod walk;

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_types::{ByteRange, Timestamp};
use forebay_wire::tier::{TierError, TierUser};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::{ObjectMeta, name};

/// Names that begin so are writes under way.
pub const TEMP_PREFIX: &str = ".forebay-part.";
/// Longest an operation on the directory may take: a network filesystem can hang for good.
const DEADLINE: Duration = Duration::from_secs(60);

/// A directory as a cold tier.
#[derive(Debug)]
pub struct FileTier {
    root: PathBuf,
}

impl FileTier {
    /// The tier whose root is the directory `path`.
    pub(crate) fn open(path: &str) -> Result<Self, TierError> {
        if !path.starts_with('/') && !path.is_empty() {
            let reason = format!("tier URL 'file://{path}' has no absolute directory: write file:///directory");
            return Err(TierError::Invalid { reason });
        }
        Ok(Self { root: Path::new("/").join(path) })
    }

    pub(crate) fn url(&self, key: &str) -> String {
        format!("file://{}", name::join(&self.root.to_string_lossy(), key))
    }

    /// What an operating system's error about `key` means to a mover.
    fn explain(&self, key: &str, error: &io::Error) -> TierError {
        let (url, reason) = (self.url(key), error.to_string());
        match error.kind() {
            _ if path::is_link(error) => TierError::Forbidden { url, reason: "it is a symbolic link".to_owned() },
            io::ErrorKind::NotFound => TierError::Missing { url },
            // Something that is no directory stands where one would have to be, or the other way round.
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => TierError::BadName { url, reason },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => TierError::Forbidden { url, reason },
            io::ErrorKind::AlreadyExists => TierError::Exists { url },
            io::ErrorKind::InvalidFilename => TierError::BadName { url, reason },
            _ => TierError::Unavailable { url, reason },
        }
    }

    fn checked(&self, key: &str) -> Result<(), TierError> {
        name::check(key).map_err(|reason| TierError::BadName { url: self.url(key), reason: reason.to_owned() })
    }

    /// Does something that may block, about `key`.
    async fn block<T: Send + 'static>(
        self: Arc<Self>,
        key: &str,
        work: impl FnOnce(&Self) -> Result<T, TierError> + Send + 'static,
    ) -> Result<T, TierError> {
        self.checked(key)?;
        let unavailable = |reason: String| TierError::Unavailable { url: self.url(key), reason };
        let tier = self.clone();
        match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(move || work(&tier))).await {
            Ok(Ok(result)) => result,
            Ok(Err(e)) => Err(unavailable(e.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    pub(crate) async fn head(self: Arc<Self>, key: &str) -> Result<ObjectMeta, TierError> {
        let owned = key.to_owned();
        self.block(key, move |tier| {
            let file = tier.open_file(&owned).map_err(|e| tier.explain(&owned, &e))?;
            let meta = file.metadata().map_err(|e| tier.explain(&owned, &e))?;
            Ok(object(owned, &meta))
        })
        .await
    }

    pub(crate) async fn get_range(
        self: Arc<Self>,
        key: &str,
        etag: &str,
        range: ByteRange,
    ) -> Result<Bytes, TierError> {
        let (owned, etag) = (key.to_owned(), etag.to_owned());
        self.block(key, move |tier| tier.read(&owned, &etag, range)).await
    }

    fn read(&self, key: &str, etag: &str, range: ByteRange) -> Result<Bytes, TierError> {
        let explain = |e: io::Error| self.explain(key, &e);
        let unchanged = |found: String| match found == etag {
            true => Ok(()),
            false => Err(TierError::Changed { url: self.url(key), expected: etag.to_owned(), found }),
        };
        let file = self.open_file(key).map_err(explain)?;
        let meta = file.metadata().map_err(explain)?;
        unchanged(etag_of(&meta))?;
        if range.end() > meta.len() {
            let reason = format!("{} has {} bytes, asked for up to {}", self.url(key), meta.len(), range.end());
            return Err(TierError::Invalid { reason });
        }
        let mut data = vec![0; range.len as usize];
        let read = file.read_exact_at(&mut data, range.offset);
        // Looked at again: somebody may have written, or cut the file short, while we were reading.
        unchanged(etag_of(&file.metadata().map_err(explain)?))?;
        read.map_err(explain)?;
        Ok(data.into())
    }

    pub(crate) async fn delete(self: Arc<Self>, keys: Vec<String>) -> Result<(), TierError> {
        for key in keys {
            let owned = key.clone();
            self.clone().block(&key, move |tier| tier.unlink(&owned)).await?;
        }
        Ok(())
    }

    fn unlink(&self, key: &str) -> Result<(), TierError> {
        let (dir, name) = name::split(key);
        let unlinked = self.open_dir(dir, None).and_then(|fd| Ok(unlinkat(&fd, name, UnlinkatFlags::NoRemoveDir)?));
        match unlinked {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| self.explain(key, &e)),
        }
    }

    pub(crate) async fn check_access(
        self: Arc<Self>,
        user: TierUser,
        prefix: &str,
        write: bool,
    ) -> Result<(), TierError> {
        let owned = prefix.to_owned();
        self.block(prefix, move |tier| match write {
            true => tier.may_write(&owned, &user),
            false => tier.may_read(&owned, &user),
        })
        .await
    }
}

/// What is known of a file.
fn object(key: String, meta: &std::fs::Metadata) -> ObjectMeta {
    let mtime = Timestamp { secs: meta.mtime(), nanos: meta.mtime_nsec() as u32 };
    ObjectMeta { key, size_bytes: meta.len(), etag: etag_of(meta), mtime }
}

fn etag_of(meta: &std::fs::Metadata) -> String {
    let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    format!("{mtime:x}-{:x}-{:x}", meta.len(), meta.ino())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
