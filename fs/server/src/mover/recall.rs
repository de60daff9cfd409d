//! Recall: cold bytes are read from their object and put on drives, then the file's map is exchanged.

use std::sync::Mutex;

use forebay_client::Filesystem;
use forebay_tier::origin::{self, Origin, Tracked};
use forebay_tier::recall::{Part, cold_bytes, part_bytes, plan};
use forebay_types::{Attr, ByteRange, Cred, Errno, Extent, FileKind, InodeId, LifetimeClass};
use forebay_wire::meta::XattrWhen;
use forebay_wire::tier::TierError;

use super::error::is_gone;
use super::lock;
use super::task::{Counted, Work};
use super::transfer::{LOOKS, Moved, Subject, each_part, window};
use super::walk::{self, Found, How};

/// Recalls a file, or everything below a directory.
pub(super) async fn run(work: &Work, root: InodeId, range: Option<ByteRange>) -> Result<(), TierError> {
    let attr = walk::root(work, root).await?;
    let range = range.unwrap_or(ByteRange::between(0, u64::MAX));
    let how = How { cred: Cred::ROOT, respect_holds: false };
    walk::each(work, attr, how, |found| {
        Box::pin(async move {
            if found.attr.kind == FileKind::Regular
                && let Err(error) = file(work, &found, range).await
                && !is_gone(&error)
            {
                work.failed(error);
            }
        })
    })
    .await
}

async fn file(work: &Work, found: &Found, range: ByteRange) -> Result<(), TierError> {
    let wanted = range.intersect(ByteRange::new(0, found.attr.size)).unwrap_or_default();
    let counted = work.found(wanted.len);
    let subject = Subject { work, path: &found.path, ino: found.attr.ino };
    if found.attr.cold_bytes > 0 {
        work.retry(|| attempt(subject, wanted, &counted)).await?;
    }
    counted.finish();
    Ok(())
}

/// Recalls what is cold of a file by now.
async fn attempt(subject: Subject<'_>, range: ByteRange, counted: &Counted<'_>) -> Result<(), TierError> {
    let fs = subject.work.filesystem().await?;
    let part_bytes = part_bytes(subject.work.stores.geometry().await?);
    let mut at = range.offset;
    let mut looks = 0;
    let mut known: Option<Known> = None;
    while at < range.end() {
        let window = window(range, at);
        let (attr, extents) = subject.look(window).await?;
        let parts = plan(&extents, part_bytes);
        counted.set(at - range.offset + (window.len - cold_bytes(&extents).min(window.len)));
        if !parts.is_empty() {
            if known.is_none() {
                known = Some(Known::of(&subject, &attr, &extents).await?);
            }
            let known = known.as_ref();
            if each_part(parts, |part| Box::pin(fetch(subject, &fs, part, known, counted))).await? == Moved::LookAgain {
                looks += 1;
                if looks >= LOOKS {
                    return Err(subject.again());
                }
                continue;
            }
        }
        if window.end() >= attr.size {
            break;
        }
        at = window.end();
    }
    match known {
        Some(known) => known.record(&subject).await,
        None => Ok(()),
    }
}

async fn fetch(
    subject: Subject<'_>,
    fs: &Filesystem,
    part: Part,
    known: Option<&Known>,
    counted: &Counted<'_>,
) -> Result<Moved, TierError> {
    let _turn = subject.work.stores.down.acquire().await;
    let tier = subject.work.tier(part.object.tier).await?;
    let data = tier.get_range(&part.object.key, &part.object.etag, part.object_range()).await?;
    if data.len() as u64 != part.range.len {
        let reason = format!("{} bytes came instead of {}", data.len(), part.range.len);
        return Err(TierError::Unavailable { url: tier.url(&part.object.key), reason });
    }
    let written = fs.write_stripes(subject.ino, LifetimeClass::Dataset, part.range.offset, data).await;
    let (replace, receipts) = match written {
        Ok(written) => written,
        Err(error) => return Err(subject.work.explain(fs, subject.path, error).await),
    };
    let Some(attr) = subject.exchange(fs, part.expect, replace, receipts).await? else {
        return Ok(Moved::LookAgain);
    };
    if let Some(known) = known {
        known.exchanged(&attr);
    }
    counted.add(part.range.len, part.range.len);
    Ok(Moved::Done)
}

/// What is known of the object a file equals, while its map is being exchanged.
pub(super) struct Known(Mutex<Option<Tracked>>);

impl Known {
    /// What the file itself, or the record of an earlier transfer, says.
    async fn of(subject: &Subject<'_>, attr: &Attr, extents: &[Extent]) -> Result<Self, TierError> {
        let mut origin = None;
        if attr.cold_bytes == attr.size {
            origin = Origin::of_cold(attr, extents);
            if origin.is_none() {
                let (attr, extents) = subject.look(ByteRange::new(0, attr.size)).await?;
                origin = Origin::of_cold(&attr, &extents);
            }
        } else if let Some(recorded) = recorded(subject).await? {
            origin = Some(recorded).filter(|origin| origin.holds_for(attr));
        }
        Ok(Self::from(origin))
    }

    pub fn from(origin: Option<Origin>) -> Self {
        Self(Mutex::new(origin.map(Tracked::new)))
    }

    pub fn exchanged(&self, attr: &Attr) {
        if let Some(tracked) = lock(&self.0).as_mut() {
            tracked.exchanged(attr.version);
        }
    }

    /// Whether the file still equals the object.
    pub fn is_at(&self, attr: &Attr) -> bool {
        lock(&self.0).as_ref().is_some_and(|tracked| tracked.is_at(attr.version))
    }

    /// Leaves the record with the file.
    pub async fn record(&self, subject: &Subject<'_>) -> Result<(), TierError> {
        let Some(origin) = lock(&self.0).as_ref().and_then(Tracked::record) else { return Ok(()) };
        let (ino, value) = (subject.ino, origin.encode());
        let set = |fs: Filesystem| async move {
            fs.setxattr(&Cred::ROOT, ino, origin::XATTR.as_bytes(), &value, XattrWhen::Always).await
        };
        match subject.work.on_fs(subject.path, set).await {
            // There is no room for it: the file is evicted by way of its bytes then.
            Err(TierError::Filesystem { errno: Errno::NoSpace | Errno::Range, .. }) => Ok(()),
            done => done,
        }
    }
}

/// The record that an earlier transfer has left with a file.
pub(super) async fn recorded(subject: &Subject<'_>) -> Result<Option<Origin>, TierError> {
    let ino = subject.ino;
    let get = |fs: Filesystem| async move { fs.getxattr(&Cred::ROOT, ino, origin::XATTR.as_bytes()).await };
    match subject.work.on_fs(subject.path, get).await {
        Ok(value) => Ok(Origin::decode(&value)),
        Err(TierError::Filesystem { errno: Errno::NoData, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
