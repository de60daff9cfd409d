//! Walking a tree: depth first, a page of entries at a time, ahead of whoever works on what is found.

use std::collections::VecDeque;

use forebay_tier::hold;
use forebay_types::{Attr, Cred, FileKind, InodeId};
use forebay_wire::meta::DirEntry;
use forebay_wire::tier::TierError;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::error::is_gone;
use super::task::Work;

/// Entries asked for at once.
const PAGE: u32 = 512;
/// Most things found ahead of the work.
const AHEAD: usize = 4096;
/// Things worked on at a time.
const AT_ONCE: usize = 16;

/// Something found. Directories come after what is in them.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Path below the root; empty for the root itself.
    pub path: String,
    /// Whether the path is what the names are: not so where one is not UTF-8.
    pub exact: bool,
    pub attr: Attr,
    /// Whether it is a directory without entries.
    pub empty: bool,
}

/// How to walk.
#[derive(Clone)]
pub(super) struct How {
    /// As whom directories are read.
    pub cred: Cred,
    /// Whether what somebody holds is left out, and said to be.
    pub respect_holds: bool,
}

/// A directory on the way.
struct Level {
    found: Found,
    after: u64,
    page: VecDeque<DirEntry>,
    last: bool,
}

/// Visits everything below `root` and `root` itself, some at a time. `visit` reports its own failures.
pub(super) async fn each<'a>(
    work: &'a Work,
    root: Attr,
    how: How,
    visit: impl Fn(Found) -> BoxFuture<'a, ()> + Send,
) -> Result<(), TierError> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let found = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let walking = walk(work, root, how, sender).boxed();
    let visiting = found.for_each_concurrent(AT_ONCE, visit).boxed();
    let (walked, ()) = futures::join!(walking, visiting);
    walked
}

async fn walk(work: &Work, root: Attr, how: How, sender: mpsc::Sender<Found>) -> Result<(), TierError> {
    let mut levels = Vec::new();
    let mut next = Some(Found { path: String::new(), exact: true, attr: root, empty: true });
    loop {
        match next.take() {
            Some(found) if found.attr.kind == FileKind::Directory => match held(work, &how, &found).await {
                Ok(()) => levels.push(Level { found, after: 0, page: VecDeque::new(), last: false }),
                Err(error) => work.failed(error),
            },
            Some(found) => drop(sender.send(found).await),
            None => {}
        }
        let Some(level) = levels.last_mut() else { return Ok(()) };
        if level.page.is_empty() && !level.last {
            fill(work, &how, level).await;
        }
        match level.page.pop_front() {
            Some(entry) => next = entry_found(work, level, entry).await?,
            None if level.last => {
                if let Some(level) = levels.pop() {
                    drop(sender.send(level.found).await);
                }
            }
            None => {}
        }
    }
}

async fn held(work: &Work, how: &How, found: &Found) -> Result<(), TierError> {
    if !how.respect_holds {
        return Ok(());
    }
    match holder(work, &found.path, found.attr.ino).await {
        Ok(Some(holder)) => Err(TierError::Held { path: found.path.clone(), holder }),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who holds an inode.
pub(super) async fn holder(work: &Work, path: &str, ino: InodeId) -> Result<Option<String>, TierError> {
    let names = work.retry_on_fs(path, |fs| async move { fs.listxattr(&Cred::ROOT, ino).await }).await?;
    Ok(hold::holder(names.iter().map(|name| &name[..])))
}

/// The next page of a directory. One that cannot be read is a failure of the task, but ends nothing else.
async fn fill(work: &Work, how: &How, level: &mut Level) {
    let (dir, after) = (level.found.attr.ino, level.after);
    let read = |fs: forebay_client::Filesystem| {
        let cred = how.cred.clone();
        async move { fs.readdir(&cred, dir, after, PAGE, true).await }
    };
    match work.retry_on_fs(&level.found.path, read).await {
        Ok((entries, end)) => {
            level.last = end || entries.is_empty();
            level.after = entries.last().map_or(after, |entry| entry.cookie);
            level.page = entries.into_iter().filter(|entry| !matches!(&entry.name[..], b"." | b"..")).collect();
            level.found.empty &= level.page.is_empty();
        }
        Err(error) => {
            level.last = true;
            if !is_gone(&error) {
                work.failed(error);
            }
        }
    }
}

async fn entry_found(work: &Work, level: &Level, entry: DirEntry) -> Result<Option<Found>, TierError> {
    let name = String::from_utf8_lossy(&entry.name);
    let path = forebay_tier::name::join(&level.found.path, &name);
    let exact = level.found.exact && std::str::from_utf8(&entry.name).is_ok();
    let ino = entry.ino;
    let attr = match entry.attr {
        Some(attr) => attr,
        None => match work.retry_on_fs(&path, |fs| async move { fs.getattr(ino).await }).await {
            Ok(attr) => attr,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    Ok(Some(Found { path, exact, attr, empty: true }))
}

/// The attributes of a task's root.
pub(super) async fn root(work: &Work, ino: InodeId) -> Result<Attr, TierError> {
    work.retry_on_fs(&ino.to_string(), |fs| async move { fs.getattr(ino).await }).await
}
