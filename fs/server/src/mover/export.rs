//! Export: files are copied to plain objects, each is verified, then the manifest is written, and last the marker.

use std::sync::Mutex;

use bytes::Bytes;
use forebay_object::{ObjectMeta, PutMode, Tier};
use forebay_tier::export::{Digest, Keys, READ_BACK_MAX_BYTES, may_read};
use forebay_tier::manifest::{DirectoryEntry, FileEntry, Manifest, READ_MAX_BYTES, SymlinkEntry};
use forebay_tier::pieces::pieces;
use forebay_types::{Attr, ByteRange, Cred, Errno, Extent, FileKind, InodeId, TierId};
use forebay_wire::tier::{Conflict, TierError, TierUser};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::lock;
use super::task::{Counted, Work};
use super::transfer::{PIECE_BYTES, Subject, window};
use super::walk::{self, Found, How};

/// Where to, and how.
pub(super) struct To {
    pub tier: TierId,
    pub prefix: String,
    pub as_user: Option<TierUser>,
    pub conflict: Conflict,
    pub manifest: String,
    pub marker: String,
    pub label: String,
}

/// An export under way.
struct Export<'a> {
    work: &'a Work,
    tier: Tier,
    to: &'a To,
    keys: Keys,
    manifest: Mutex<Manifest>,
}

/// Exports a file, or everything below a directory.
pub(super) async fn run(work: &Work, root: InodeId, to: To) -> Result<(), TierError> {
    let attr = walk::root(work, root).await?;
    let keys = Keys::new(attr.kind, &to.prefix);
    if attr.kind != FileKind::Directory && keys.file("").is_empty() {
        return Err(TierError::Invalid { reason: "an export of a file needs a prefix: it is the object's key".into() });
    }
    let tier = work.retry(|| work.tier(to.tier)).await?;
    if let Some(user) = &to.as_user {
        let directory = keys.beside("");
        work.retry(|| tier.check_access(user, &directory, true)).await?;
    }
    let manifest = Mutex::new(Manifest::new(&to.label));
    let export = Export { work, tier, to: &to, keys, manifest };
    let mode = work.retry(|| export.manifest_mode()).await?;
    let cred = to.as_user.as_ref().map_or(Cred::ROOT, |user| Cred {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
    });
    let how = How { cred, respect_holds: false };
    let visited = &export;
    walk::each(work, attr, how, |found| {
        Box::pin(async move {
            if let Err(error) = visited.visit(&found).await {
                work.failed(error);
            }
        })
    })
    .await?;
    if work.task.has_failures() {
        return Ok(());
    }
    export.complete(mode).await
}

impl Export<'_> {
    /// How the manifest may be written: an earlier attempt of this export, which its label tells, may be replaced.
    async fn manifest_mode(&self) -> Result<PutMode, TierError> {
        let key = self.keys.beside(&self.to.manifest);
        if self.to.conflict == Conflict::Overwrite || self.to.manifest.is_empty() {
            return Ok(PutMode::Overwrite);
        }
        let meta = match self.tier.head(&key).await {
            Err(TierError::Missing { .. }) => return Ok(PutMode::Create),
            found => found?,
        };
        let text = match meta.size_bytes <= READ_MAX_BYTES {
            true => self.tier.get_range(&key, &meta.etag, ByteRange::new(0, meta.size_bytes)).await?,
            false => Bytes::new(),
        };
        match Manifest::decode(&text) {
            Some(manifest) if manifest.label == self.to.label => Ok(PutMode::Overwrite),
            _ => Err(TierError::Exists { url: self.tier.url(&key) }),
        }
    }

    async fn visit(&self, found: &Found) -> Result<(), TierError> {
        let shown = self.keys.shown(&found.path).to_owned();
        let key = self.keys.file(&found.path);
        let bad = |reason: &str| TierError::BadName { url: self.tier.url(&key), reason: reason.to_owned() };
        if !found.exact {
            return Err(bad("its name is not UTF-8"));
        }
        match found.attr.kind {
            FileKind::Regular => self.file(found, key, shown).await,
            FileKind::Symlink => {
                let ino = found.attr.ino;
                let read = |fs: forebay_client::Filesystem| async move { fs.readlink(&Cred::ROOT, ino).await };
                let target = self.work.retry_on_fs(&found.path, read).await?;
                let target = String::from_utf8(target.to_vec()).map_err(|_| bad("its target is not UTF-8"))?;
                lock(&self.manifest).symlinks.push(SymlinkEntry { path: shown, target });
                Ok(())
            }
            FileKind::Directory if found.empty && !found.path.is_empty() => {
                let entry = DirectoryEntry { path: shown, mode: found.attr.mode };
                lock(&self.manifest).directories.push(entry);
                Ok(())
            }
            // Pipes, sockets and devices have no bytes; directories that are not empty show in their files' paths.
            _ => Ok(()),
        }
    }

    async fn file(&self, found: &Found, key: String, shown: String) -> Result<(), TierError> {
        let counted = self.work.found(found.attr.size);
        if !may_read(&found.attr, self.to.as_user.as_ref()) {
            return Err(TierError::Filesystem { path: shown, errno: Errno::Access });
        }
        let subject = Subject { work: self.work, path: &found.path, ino: found.attr.ino };
        let (attr, object, digest) = self.work.retry(|| self.copy(subject, &key, &counted)).await?;
        counted.finish();
        lock(&self.manifest).files.push(FileEntry {
            path: shown,
            size: object.size_bytes,
            etag: object.etag,
            blake3: digest,
            mode: attr.mode,
            mtime: attr.mtime,
        });
        Ok(())
    }

    /// Copies a file as it is now, and verifies the copy.
    async fn copy(
        &self,
        subject: Subject<'_>,
        key: &str,
        counted: &Counted<'_>,
    ) -> Result<(Attr, ObjectMeta, String), TierError> {
        let _turn = self.work.stores.up.acquire().await;
        counted.set(0);
        let (attr, _) = subject.look(ByteRange::new(0, 1)).await?;
        let digest = Mutex::new(Digest::default());
        let data = contents(subject, attr)
            .inspect_ok(|bytes| {
                lock(&digest).update(bytes);
                counted.add(bytes.len() as u64, bytes.len() as u64);
            })
            .boxed();
        let mode = match self.to.conflict {
            Conflict::Fail => PutMode::Create,
            Conflict::Overwrite => PutMode::Overwrite,
        };
        let user = self.to.as_user.as_ref();
        let put = match self.tier.put(key, data, Some(attr.size), mode, user).await {
            Err(TierError::Exists { url }) => return self.accept(subject, attr, key, url).await,
            put => put?,
        };
        let digest = lock(&digest).text();
        let there = self.tier.head(key).await?;
        let verify = |reason: String| TierError::Verify { url: self.tier.url(key), reason };
        if there.size_bytes != attr.size {
            return Err(verify(format!("it has {} bytes instead of {}", there.size_bytes, attr.size)));
        }
        if there.etag != put.etag {
            return Err(verify("somebody else has written it since".to_owned()));
        }
        if attr.size <= READ_BACK_MAX_BYTES && self.digest_of(&there).await? != digest {
            return Err(verify("it reads back as something else".to_owned()));
        }
        Ok((attr, there, digest))
    }

    /// A key that exists is this export's own where it has the same contents: an earlier attempt has written it.
    async fn accept(
        &self,
        subject: Subject<'_>,
        attr: Attr,
        key: &str,
        url: String,
    ) -> Result<(Attr, ObjectMeta, String), TierError> {
        let there = self.tier.head(key).await?;
        if there.size_bytes != attr.size {
            return Err(TierError::Exists { url });
        }
        let mut digest = Digest::default();
        let mut data = contents(subject, attr);
        while let Some(bytes) = data.next().await {
            digest.update(&bytes?);
        }
        let digest = digest.text();
        if self.digest_of(&there).await? != digest {
            return Err(TierError::Exists { url });
        }
        Ok((attr, there, digest))
    }

    async fn digest_of(&self, object: &ObjectMeta) -> Result<String, TierError> {
        let mut digest = Digest::default();
        let mut at = 0;
        while at < object.size_bytes {
            let range = ByteRange::new(at, PIECE_BYTES.min(object.size_bytes - at));
            digest.update(&self.tier.get_range(&object.key, &object.etag, range).await?);
            at = range.end();
        }
        Ok(digest.text())
    }

    /// The manifest, then the marker.
    async fn complete(&self, mode: PutMode) -> Result<(), TierError> {
        let (manifest, marker) = {
            let mut manifest = lock(&self.manifest);
            (Bytes::from(manifest.encode()), Bytes::from(manifest.marker().encode()))
        };
        if !self.to.manifest.is_empty() {
            self.work.retry(|| self.put_text(&self.to.manifest, &manifest, mode)).await?;
        }
        if !self.to.marker.is_empty() {
            // Who has the manifest may have the marker too.
            self.work.retry(|| self.put_text(&self.to.marker, &marker, PutMode::Overwrite)).await?;
        }
        Ok(())
    }

    async fn put_text(&self, key: &str, text: &Bytes, mode: PutMode) -> Result<(), TierError> {
        let key = self.keys.beside(key);
        let data = stream::iter([Ok(text.clone())]);
        let put = self.tier.put(&key, data, Some(text.len() as u64), mode, self.to.as_user.as_ref()).await;
        let put = match put {
            // An attempt that was broken off may have written it after all.
            Err(TierError::Exists { url }) => {
                let there = self.tier.head(&key).await?;
                if there.size_bytes != text.len() as u64 {
                    return Err(TierError::Exists { url });
                }
                there
            }
            put => put?,
        };
        let mut wanted = Digest::default();
        wanted.update(text);
        if self.digest_of(&put).await? != wanted.text() {
            let reason = "it reads back as something else".to_owned();
            return Err(TierError::Verify { url: self.tier.url(&key), reason });
        }
        Ok(())
    }
}

/// The bytes of a file as it was at `attr`, looked at a window at a time; an error where it is changed meanwhile.
fn contents<'a>(subject: Subject<'a>, attr: Attr) -> BoxStream<'a, Result<Bytes, TierError>> {
    let whole = ByteRange::new(0, attr.size);
    stream::try_unfold(0, move |at| async move {
        if at >= whole.end() {
            return Ok(None);
        }
        let window = window(whole, at);
        let (now, extents): (Attr, Vec<Extent>) = subject.look(window).await?;
        if now.version != attr.version {
            return Err(subject.again());
        }
        let bytes = subject.bytes(pieces(&extents, window, PIECE_BYTES));
        Ok(Some((bytes, window.end())))
    })
    .try_flatten()
    .boxed()
}
