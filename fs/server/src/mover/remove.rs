//! Removing a tree: depth first. Done again, it goes on with what is left.

use forebay_types::{Attr, Cred, FileKind, InodeId};
use forebay_wire::meta::DirEntry;
use forebay_wire::tier::TierError;
use futures::future::FutureExt;
use futures::stream::{self, StreamExt};

use super::error::is_gone;
use super::task::Work;

/// Names removed at a time.
const AT_ONCE: usize = 16;
/// Entries asked for at once.
const PAGE: u32 = 512;
/// How often a directory that got new names meanwhile is emptied again.
const ROUNDS: u32 = 8;

/// A directory on the way.
struct Level {
    parent: InodeId,
    name: Vec<u8>,
    ino: InodeId,
    path: String,
    rounds: u32,
    below: Vec<DirEntry>,
    after: u64,
    last: bool,
}

impl Level {
    fn new(parent: InodeId, name: Vec<u8>, ino: InodeId, above: &str) -> Self {
        let path = forebay_tier::name::join(above, &String::from_utf8_lossy(&name));
        Self { parent, name, ino, path, rounds: 0, below: Vec::new(), after: 0, last: false }
    }
}

/// Removes a name and everything below it.
pub(super) async fn run(work: &Work, parent: InodeId, name: &str) -> Result<(), TierError> {
    let found = work.retry_on_fs(name, |fs| async move { fs.lookup(&Cred::ROOT, parent, name.as_bytes()).await });
    let attr: Attr = match found.await {
        Err(error) if is_gone(&error) => return Ok(()),
        found => found?,
    };
    if attr.kind != FileKind::Directory {
        return unlink(work, parent, name.as_bytes(), name, attr.size).await;
    }
    let mut levels = vec![Level::new(parent, name.as_bytes().to_vec(), attr.ino, "")];
    while let Some(level) = levels.last_mut() {
        if let Some(entry) = level.below.pop() {
            let next = Level::new(level.ino, entry.name.to_vec(), entry.ino, &level.path);
            levels.push(next);
        } else if !level.last {
            empty(work, level).await?;
        } else if remove_directory(work, level).await? {
            levels.pop();
        }
    }
    Ok(())
}

/// Unlinks a page of a directory's files, and notes its directories.
async fn empty(work: &Work, level: &mut Level) -> Result<(), TierError> {
    let (dir, after) = (level.ino, level.after);
    let read = |fs: forebay_client::Filesystem| async move { fs.readdir(&Cred::ROOT, dir, after, PAGE, true).await };
    let (entries, end) = match work.retry_on_fs(&level.path, read).await {
        Err(error) if is_gone(&error) => (Vec::new(), true),
        page => page?,
    };
    level.last = end || entries.is_empty();
    level.after = entries.last().map_or(after, |entry| entry.cookie);
    let entries = entries.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b".."));
    let (below, files): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.kind == FileKind::Directory);
    level.below = below;
    let path = &level.path;
    let unlinking = files.into_iter().map(|entry| {
        let unlinking = async move {
            let path = forebay_tier::name::join(path, &String::from_utf8_lossy(&entry.name));
            unlink(work, dir, &entry.name, &path, entry.attr.map_or(0, |attr| attr.size)).await
        };
        unlinking.boxed()
    });
    let mut unlinked = stream::iter(unlinking).buffer_unordered(AT_ONCE).boxed();
    while let Some(result) = unlinked.next().await {
        result?;
    }
    Ok(())
}

async fn unlink(work: &Work, parent: InodeId, name: &[u8], path: &str, bytes: u64) -> Result<(), TierError> {
    let counted = work.found(bytes);
    match work.retry_on_fs(path, |fs| async move { fs.unlink(&Cred::ROOT, parent, name).await }).await {
        Err(error) if !is_gone(&error) => Err(error),
        _ => {
            counted.finish();
            Ok(())
        }
    }
}

/// Removes an empty directory; not done where it has got new names, which are to be removed first.
async fn remove_directory(work: &Work, level: &mut Level) -> Result<bool, TierError> {
    let (parent, name) = (level.parent, level.name.as_slice());
    match work.retry_on_fs(&level.path, |fs| async move { fs.rmdir(&Cred::ROOT, parent, name).await }).await {
        Err(TierError::Filesystem { errno: forebay_types::Errno::NotEmpty, .. }) if level.rounds < ROUNDS => {
            level.rounds += 1;
            (level.after, level.last) = (0, false);
            Ok(false)
        }
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(true),
    }
}
