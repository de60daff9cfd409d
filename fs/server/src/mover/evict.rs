//! Evict: hot bytes are made sure to be in a cold tier, then the file's map is exchanged and the drives have room.
//!
//! Bytes that equal the object they came from are not written again: known by the file's version, or by comparing.
//! Others go into objects of their own, whose keys nobody else uses.

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_object::{PutMode, Tier};
use forebay_tier::evict::{Copy, Part, copy, hot_bytes, plan};
use forebay_tier::name::evicted_key;
use forebay_tier::origin::Origin;
use forebay_tier::pieces::pieces;
use forebay_types::{Attr, ByteRange, Cred, Errno, Extent, FileKind, InodeId, Location, ObjectRef, TierId};
use forebay_wire::tier::TierError;
use futures::stream::StreamExt;

use super::error::is_gone;
use super::recall::{Known, recorded};
use super::task::{Counted, Work};
use super::transfer::{LOOKS, Moved, PIECE_BYTES, Subject, each_part, window};
use super::walk::{self, Found, How, holder};

/// Evicts a file, or everything below a directory.
pub(super) async fn run(work: &Work, root: InodeId, range: Option<ByteRange>, tier: TierId) -> Result<(), TierError> {
    let attr = walk::root(work, root).await?;
    if attr.kind == FileKind::Directory {
        nobody_holds_above(work, root).await?;
    }
    let range = range.unwrap_or(ByteRange::between(0, u64::MAX));
    let how = How { cred: Cred::ROOT, respect_holds: true };
    walk::each(work, attr, how, |found| {
        Box::pin(async move {
            if found.attr.kind == FileKind::Regular
                && let Err(error) = file(work, &found, range, tier).await
                && !is_gone(&error)
            {
                work.failed(error);
            }
        })
    })
    .await
}

/// Refuses where a directory, or one that it is in, is held.
async fn nobody_holds_above(work: &Work, dir: InodeId) -> Result<(), TierError> {
    let mut at = dir;
    loop {
        let path = at.to_string();
        if let Some(holder) = holder(work, &path, at).await? {
            return Err(TierError::Held { path, holder });
        }
        let up = work.retry_on_fs(&path, |fs| async move { fs.lookup(&Cred::ROOT, at, b"..").await }).await?;
        if up.ino == at {
            return Ok(());
        }
        at = up.ino;
    }
}

async fn file(work: &Work, found: &Found, range: ByteRange, tier: TierId) -> Result<(), TierError> {
    let wanted = range.intersect(ByteRange::new(0, found.attr.size)).unwrap_or_default();
    let counted = work.found(wanted.len);
    let subject = Subject { work, path: &found.path, ino: found.attr.ino };
    if found.attr.cold_bytes < found.attr.allocated_bytes {
        if let Some(holder) = holder(work, &found.path, found.attr.ino).await? {
            return Err(TierError::Held { path: found.path.clone(), holder });
        }
        work.retry(|| attempt(subject, wanted, tier, &counted)).await?;
    }
    counted.finish();
    Ok(())
}

/// What all parts of a file are evicted with.
struct Eviction<'a> {
    subject: Subject<'a>,
    fs: Filesystem,
    attr: Attr,
    tier_id: TierId,
    tier: Tier,
    /// The object the file came from, where it still is what it was.
    origin: Option<(Origin, Tier, Copy)>,
    known: &'a Known,
    counted: &'a Counted<'a>,
}

/// Evicts what is hot of a file by now.
async fn attempt(
    subject: Subject<'_>,
    range: ByteRange,
    tier_id: TierId,
    counted: &Counted<'_>,
) -> Result<(), TierError> {
    let fs = subject.work.filesystem().await?;
    let tier = subject.work.tier(tier_id).await?;
    let origin = match recorded(&subject).await? {
        Some(origin) => still_there(subject.work, origin).await?,
        None => None,
    };
    let known = Known::from(origin.as_ref().map(|(origin, _)| origin.clone()));
    let mut at = range.offset;
    let mut looks = 0;
    let mut cold = false;
    while at < range.end() {
        let window = window(range, at);
        let (attr, extents) = subject.look(window).await?;
        counted.set(at - range.offset + (window.len - hot_bytes(&extents).min(window.len)));
        let origin = origin.as_ref().map(|(origin, tier)| {
            let copy = if known.is_at(&attr) { Copy::Known } else { copy(&attr, Some(origin)) };
            (origin.clone(), tier.clone(), copy)
        });
        let (fs, tier) = (fs.clone(), tier.clone());
        let eviction = Eviction { subject, fs, attr, tier_id, tier, origin, known: &known, counted };
        if each_part(plan(&extents), |part| Box::pin(eviction.part(part))).await? == Moved::LookAgain {
            looks += 1;
            if looks >= LOOKS {
                return Err(subject.again());
            }
            continue;
        }
        at = window.end();
        cold = at >= attr.size && range.offset == 0;
        if at >= attr.size {
            break;
        }
    }
    // A file that is all cold says itself where it is from.
    if cold { Ok(()) } else { known.record(&subject).await }
}

/// A file's origin, where that object still is what it was.
async fn still_there(work: &Work, origin: Origin) -> Result<Option<(Origin, Tier)>, TierError> {
    let tier = match work.tier(origin.tier).await {
        Err(TierError::NoTier { .. }) => return Ok(None),
        tier => tier?,
    };
    match tier.head(&origin.key).await {
        Ok(meta) if meta.etag == origin.etag && meta.size_bytes == origin.size => Ok(Some((origin, tier))),
        Ok(_) => Ok(None),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(None),
    }
}

impl Eviction<'_> {
    async fn part(&self, part: Part) -> Result<Moved, TierError> {
        let _turn = self.subject.work.stores.up.acquire().await;
        if let Some((origin, tier, copy)) = &self.origin {
            let equal = match copy {
                Copy::Known => true,
                Copy::Likely => self.equals(&part, origin, tier).await?,
                Copy::None => false,
            };
            if equal {
                let location = origin.location(part.range.offset);
                return self.exchange(part, location, 0).await;
            }
        }
        self.upload(part).await
    }

    /// Whether hot bytes are those of the origin.
    async fn equals(&self, part: &Part, origin: &Origin, tier: &Tier) -> Result<bool, TierError> {
        for piece in pieces(&part.expect, part.range, PIECE_BYTES) {
            let range = piece.range;
            let cold = match tier.get_range(&origin.key, &origin.etag, range).await {
                Ok(cold) => cold,
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => return Ok(false),
            };
            let mut hot = self.subject.bytes(vec![piece]);
            if hot.next().await.transpose()?.is_none_or(|hot: Bytes| hot != cold) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn upload(&self, part: Part) -> Result<Moved, TierError> {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(|error| TierError::Filesystem {
            path: format!("{}: random numbers: {error}", self.subject.path),
            errno: Errno::Io,
        })?;
        let (ino, offset) = (self.subject.ino, part.range.offset);
        let key = evicted_key(self.subject.work.fs, ino, self.attr.version, offset, u64::from_le_bytes(unique));
        let data = self.subject.bytes(pieces(&part.expect, part.range, PIECE_BYTES));
        let len = part.range.len;
        let put = self.tier.put(&key, data, Some(len), PutMode::Create, None).await?;
        if put.size_bytes != len {
            let reason = format!("it has {} bytes instead of {len}", put.size_bytes);
            self.drop_object(key.clone()).await;
            return Err(TierError::Verify { url: self.tier.url(&key), reason });
        }
        let object = ObjectRef { tier: self.tier_id, key: key.clone(), etag: put.etag, object_bytes: len, offset: 0 };
        // After an error the map may name the object: it stays then.
        let moved = self.exchange(part, Location::Object(object), len).await?;
        if moved == Moved::LookAgain {
            self.drop_object(key).await;
        }
        Ok(moved)
    }

    /// Exchanges a part for the bytes at `location`, of which `moved` were moved for it.
    async fn exchange(&self, part: Part, location: Location, moved: u64) -> Result<Moved, TierError> {
        let len = part.range.len;
        let replace = vec![Extent { range: part.range, location }];
        let Some(attr) = self.subject.exchange(&self.fs, part.expect, replace, Vec::new()).await? else {
            return Ok(Moved::LookAgain);
        };
        self.known.exchanged(&attr);
        self.counted.add(len, moved);
        Ok(Moved::Done)
    }

    /// Deletes an object that no map names.
    async fn drop_object(&self, key: String) {
        if let Err(error) = self.tier.delete(vec![key]).await {
            tracing::info!(%error, "an object that nothing names stays in the cold tier");
        }
    }
}
