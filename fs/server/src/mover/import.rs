//! Import: objects become files whose bytes are in the cold tier; metadata only.
//!
//! Done again, it finds what it has made: a name that is of the same object is done, one of another version of it is
//! an error, since a dataset must not be of two versions.

use std::collections::HashMap;

use forebay_object::{ObjectMeta, Tier};
use forebay_tier::import::{Existing, Selection, directory_mode, existing, extents};
use forebay_tier::name;
use forebay_types::{Attr, ByteRange, Cred, Errno, FileKind, InodeId, TierId};
use forebay_wire::meta::{NewContent, SetAttr};
use forebay_wire::tier::{TierError, TierUser};
use futures::future::FutureExt;
use futures::stream::StreamExt;

use super::recall::recorded;
use super::task::Work;
use super::transfer::Subject;

/// Files made at a time.
const AT_ONCE: usize = 16;
/// Directories remembered; more are looked up again.
const DIRECTORIES_KEPT: usize = 16_384;

/// Who owns what is made, and the permission bits of files.
#[derive(Clone, Copy)]
pub(super) struct Ownership {
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
}

/// What an import is of.
struct Import<'a> {
    work: &'a Work,
    tier_id: TierId,
    tier: Tier,
    into: InodeId,
    owner: Ownership,
    selection: Selection,
    directories: tokio::sync::Mutex<HashMap<String, InodeId>>,
}

/// Imports the objects below a prefix, or the one object it names.
pub(super) async fn run(
    work: &Work,
    into: InodeId,
    (tier_id, prefix): (TierId, &str),
    owner: Ownership,
    user: Option<&TierUser>,
    (include, exclude): (&[String], &[String]),
) -> Result<(), TierError> {
    let selection = Selection::parse(include, exclude)?;
    let tier = work.retry(|| work.tier(tier_id)).await?;
    if let Some(user) = user {
        work.retry(|| tier.check_access(user, name::trim(prefix), false)).await?;
    }
    let import = Import { work, tier_id, tier, into, owner, selection, directories: tokio::sync::Mutex::default() };
    match work.retry(|| single(&import.tier, prefix)).await? {
        Some(object) => {
            let name = name::split(&object.key).1.to_owned();
            import.object(object, &name).await;
            Ok(())
        }
        None => work.retry(|| import.listing(prefix, user)).await,
    }
}

/// The object that a prefix names, unless it can only name a directory.
pub(super) async fn single(tier: &Tier, prefix: &str) -> Result<Option<ObjectMeta>, TierError> {
    if prefix.is_empty() || prefix.ends_with('/') {
        return Ok(None);
    }
    match tier.head(prefix).await {
        Ok(object) => Ok(Some(object)),
        // A directory is no object, and says so in its own way.
        Err(TierError::Missing { .. } | TierError::BadName { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Import<'_> {
    /// Everything below the prefix. After a failure that may pass, from the start.
    async fn listing(&self, prefix: &str, user: Option<&TierUser>) -> Result<(), TierError> {
        self.work.task.change(forebay_tier::progress::Account::start_over);
        let mut listed = false;
        let mut broken_off = None;
        let found = self.tier.list(name::trim(prefix), user).filter_map(|found| {
            listed = true;
            futures::future::ready(match found {
                Ok(object) => Some(object),
                Err(error) => {
                    if error.is_transient() || matches!(error, TierError::Missing { .. }) {
                        broken_off = Some(error);
                    } else {
                        self.work.failed(error);
                    }
                    None
                }
            })
        });
        let selected = found.filter_map(|object| {
            let relative = name::below(prefix, &object.key).filter(|relative| self.selection.takes(relative));
            let relative = relative.map(str::to_owned);
            futures::future::ready(relative.map(|relative| (object, relative)))
        });
        let imported = selected.for_each_concurrent(AT_ONCE, |(object, relative)| {
            async move { self.object(object, &relative).await }.boxed()
        });
        imported.boxed().await;
        match broken_off {
            Some(error) => Err(error),
            // A bucket has no directories, so this is a name that nothing is below of.
            None if !listed && self.tier.url("").starts_with("s3:") => {
                Err(TierError::Missing { url: self.tier.url(prefix) })
            }
            None => Ok(()),
        }
    }

    async fn object(&self, object: ObjectMeta, relative: &str) {
        let counted = self.work.found(object.size_bytes);
        match self.work.retry(|| self.file(&object, relative)).await {
            Ok(()) => counted.finish(),
            Err(error) => self.work.failed(error),
        }
    }

    async fn file(&self, object: &ObjectMeta, relative: &str) -> Result<(), TierError> {
        let url = self.tier.url(&object.key);
        let parts = name::components(relative, &url)?;
        let Some((file, directories)) = parts.split_last() else { return Ok(()) };
        let parent = self.directory(directories, &url).await?;
        let content = NewContent {
            uid: self.owner.uid,
            gid: self.owner.gid,
            mtime: object.mtime,
            size: object.size_bytes,
            extents: extents(self.tier_id, &object.key, &object.etag, object.size_bytes),
        };
        let mode = self.owner.mode;
        let made = self
            .work
            .on_fs(relative, |fs| async move { fs.import(parent, file.as_bytes(), mode, content).await })
            .await;
        let made = match made {
            Err(TierError::Filesystem { errno: Errno::NoEntry | Errno::Stale, .. }) => {
                // A directory remembered is gone: look for it again.
                self.directories.lock().await.clear();
                return Err(TierError::Filesystem { path: relative.to_owned(), errno: Errno::Again });
            }
            made => made?,
        };
        if made.created { Ok(()) } else { self.compare(object, relative, &made.attr, url).await }
    }

    /// A name that exists: is it this object's?
    async fn compare(&self, object: &ObjectMeta, relative: &str, attr: &Attr, url: String) -> Result<(), TierError> {
        let subject = Subject { work: self.work, path: relative, ino: attr.ino };
        let (mut found, mut record) = (Vec::new(), None);
        if attr.kind == FileKind::Regular && attr.size > 0 {
            // Any byte tells, and the first is looked at soonest.
            found = subject.look(ByteRange::new(0, 1)).await?.1;
            record = recorded(&subject).await?;
        }
        let wanted = (self.tier_id, object.key.as_str(), object.etag.as_str(), object.size_bytes);
        match existing(attr, &found, record.as_ref(), wanted) {
            Existing::Same => Ok(()),
            Existing::Changed(expected) => Err(TierError::Changed { url, expected, found: object.etag.clone() }),
            Existing::Directory => Err(both(url)),
            Existing::Foreign => Err(TierError::Filesystem { path: relative.to_owned(), errno: Errno::Exists }),
        }
    }

    /// The directory of these names below the import's, made where it is missing.
    async fn directory(&self, names: &[&str], url: &str) -> Result<InodeId, TierError> {
        // One at a time: files of a listing are mostly neighbours, and the first makes the directory for the others.
        let mut known = self.directories.lock().await;
        let mut at = self.into;
        let mut path = String::new();
        for name in names {
            path = name::join(&path, name);
            if let Some(ino) = known.get(&path) {
                at = *ino;
                continue;
            }
            at = self.make_directory(at, name, &path, url).await?;
            if known.len() >= DIRECTORIES_KEPT {
                known.clear();
            }
            known.insert(path.clone(), at);
        }
        Ok(at)
    }

    async fn make_directory(&self, parent: InodeId, name: &str, path: &str, url: &str) -> Result<InodeId, TierError> {
        let Ownership { uid, gid, mode } = self.owner;
        let mode = directory_mode(mode);
        let made = self
            .work
            .on_fs(path, |fs| async move {
                let attr = fs.make_dir(&Cred::ROOT, parent, name.as_bytes(), mode).await?;
                // One that is still the superuser's was made by an import that got no further than this.
                if attr.uid == 0 && (attr.uid, attr.gid) != (uid, gid) {
                    let set = SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
                    return fs.set(&Cred::ROOT, attr.ino, set).await;
                }
                Ok(attr)
            })
            .await;
        match made {
            Ok(attr) => Ok(attr.ino),
            Err(TierError::Filesystem { errno: Errno::NotDirectory, .. }) => Err(both(url.to_owned())),
            Err(error) => Err(error),
        }
    }
}

fn both(url: String) -> TierError {
    TierError::BadName { url, reason: "part of its key is a file and a directory at once".to_owned() }
}
