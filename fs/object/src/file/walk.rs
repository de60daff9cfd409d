//! Listing a directory tree: depth first, one page of objects ahead of the reader.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use forebay_wire::tier::{TierError, TierUser};
use futures::stream::{self, Stream};
use nix::dir::{Dir, OwningIter, Type};
use tokio::sync::mpsc;

use super::access::{READ, SEARCH, may};
use super::path::{is_link, open_file_in, step};
use super::{FileTier, TEMP_PREFIX, object};
use crate::{ObjectMeta, name};

/// Most objects found ahead of the reader.
const AHEAD: usize = 1024;
/// Deepest nesting of directories: each level holds two descriptors while it is walked.
const DEPTH_MAX: usize = 128;

type Found = Result<ObjectMeta, TierError>;

struct Level {
    key: String,
    dir: OwnedFd,
    entries: OwningIter,
}

impl Level {
    fn open(key: String, dir: OwnedFd) -> io::Result<Self> {
        // A descriptor of its own: reading entries moves the one it is done with.
        let entries = Dir::from_fd(step(&dir, ".")?)?.into_iter();
        Ok(Self { key, dir, entries })
    }
}

impl FileTier {
    pub(crate) fn list(
        self: Arc<Self>,
        prefix: &str,
        user: Option<TierUser>,
    ) -> impl Stream<Item = Found> + Send + 'static {
        let (sender, found) = mpsc::channel(AHEAD);
        let prefix = prefix.to_owned();
        // Ends with the stream: when nobody reads any more, sending fails.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.walk(prefix, user.as_ref(), &sender) {
                // Nobody is there any more to whom it would matter.
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(found, |mut found| async move { Some((found.recv().await?, found)) })
    }

    /// Sends every object below `prefix`; an error is one that ends the walk.
    fn walk(&self, prefix: String, user: Option<&TierUser>, found: &mpsc::Sender<Found>) -> Result<(), TierError> {
        self.checked(&prefix)?;
        let begin = || {
            let dir = self.open_dir(&prefix, user)?;
            may(&dir, user, READ | SEARCH)?;
            Level::open(prefix.clone(), dir)
        };
        let mut levels = vec![begin().map_err(|e| self.explain(&prefix, &e))?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.next() else {
                levels.pop();
                continue;
            };
            let entry = entry.map_err(|e| self.explain(&level.key, &e.into()))?;
            let raw = entry.file_name().to_bytes();
            if raw == b"." || raw == b".." || raw.starts_with(TEMP_PREFIX.as_bytes()) {
                continue;
            }
            let key = name::join(&level.key, &String::from_utf8_lossy(raw));
            let outcome = match std::str::from_utf8(raw) {
                Err(_) => Err(self.bad(&key, "its name is not UTF-8")),
                Ok(name) => self.visit(&level.dir, name, &key, entry.file_type(), user),
            };
            let send = match outcome {
                Ok(Visit::Nothing) => continue,
                Ok(Visit::Dir(_)) if levels.len() >= DEPTH_MAX => Err(self.bad(&key, "it is too deep")),
                Ok(Visit::Dir(level)) => {
                    levels.push(level);
                    continue;
                }
                Ok(Visit::Object(meta)) => Ok(meta),
                Err(error @ TierError::Unavailable { .. }) => return Err(error),
                Err(error) => Err(error),
            };
            if found.blocking_send(send).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn bad(&self, key: &str, reason: &str) -> TierError {
        TierError::BadName { url: self.url(key), reason: reason.to_owned() }
    }

    fn visit(
        &self,
        dir: &OwnedFd,
        name: &str,
        key: &str,
        kind: Option<Type>,
        user: Option<&TierUser>,
    ) -> Result<Visit, TierError> {
        self.checked(key)?;
        let look = || match kind {
            Some(Type::File) => look_at_file(dir, name, key, user),
            Some(Type::Directory) => look_at_dir(dir, name, key, user),
            // The filesystem does not say what it is.
            None => match look_at_dir(dir, name, key, user) {
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => look_at_file(dir, name, key, user),
                other => other,
            },
            Some(_) => Ok(Visit::Nothing),
        };
        match look() {
            // Gone, or become something else, since the directory was read; or a link, which is not there for us.
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_link(&e) => Ok(Visit::Nothing),
            other => other.map_err(|e| self.explain(key, &e)),
        }
    }
}

enum Visit {
    Nothing,
    Dir(Level),
    Object(ObjectMeta),
}

fn look_at_dir(dir: &OwnedFd, name: &str, key: &str, user: Option<&TierUser>) -> io::Result<Visit> {
    let dir = step(dir, name)?;
    may(&dir, user, READ | SEARCH)?;
    Ok(Visit::Dir(Level::open(key.to_owned(), dir)?))
}

fn look_at_file(dir: &OwnedFd, name: &str, key: &str, user: Option<&TierUser>) -> io::Result<Visit> {
    let file = open_file_in(dir, name)?;
    may(&file, user, READ)?;
    Ok(Visit::Object(object(key.to_owned(), &file.metadata()?)))
}
