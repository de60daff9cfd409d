//! The cold-tier door: directories and S3 buckets as sets of objects.
//!
//! Job: list, look at, read, write and delete the objects of a cold tier, whichever kind it is, with the errors that
//! movers report ([`TierError`]). A tier is a URL: `file:///absolute/directory` ([`file`]) or `s3://bucket/prefix`
//! ([`s3`]). An object's key is its name below the tier's root, `/` between its parts, UTF-8, nothing encoded.
//!
//! Invariants: a read returns bytes of exactly the object whose entity tag was asked for, or says that it has changed;
//! a write is there whole or not at all, and durable once acknowledged; every request has a deadline, and a failure
//! that may pass is [`TierError::Unavailable`]; no message holds a credential. Knows no filesystem of ours, no task
//! and no retry beyond a few in a row.
#![forbid(unsafe_code)]

pub mod file;
mod name;
pub mod s3;

use std::sync::Arc;

use bytes::Bytes;
use forebay_types::{ByteRange, Timestamp};
use forebay_wire::cluster::TierCredentials;
use forebay_wire::tier::{TierError, TierUser};
use futures::Stream;
use futures::stream::{BoxStream, StreamExt};

use crate::file::FileTier;
use crate::s3::S3Tier;

/// What is known of an object without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// Its key below the tier's root.
    pub key: String,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// Its entity tag: changes with its contents. Opaque.
    pub etag: String,
    /// When it was last written.
    pub mtime: Timestamp,
}

/// What a write does where the key exists already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// Fails with [`TierError::Exists`].
    Create,
    /// Replaces the object.
    Overwrite,
}

/// An attached cold tier. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tier {
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    File(Arc<FileTier>),
    S3(Arc<S3Tier>),
}

impl Tier {
    /// The tier at `url`. For `s3`, `endpoint` is the store's URL (empty for Amazon's; `http://` is taken at its
    /// word), `region` may be empty, and so may `credentials` for a public bucket. Asks the store nothing yet.
    pub fn open(url: &str, endpoint: &str, region: &str, credentials: &TierCredentials) -> Result<Self, TierError> {
        let invalid = |reason: String| TierError::Invalid { reason };
        let url = url.trim_end_matches('/');
        let store = if let Some(path) = url.strip_prefix("file://") {
            Store::File(Arc::new(FileTier::open(path)?))
        } else if let Some(rest) = url.strip_prefix("s3://") {
            Store::S3(Arc::new(S3Tier::open(rest, endpoint, region, credentials)?))
        } else {
            return Err(invalid(format!("tier URL '{url}' is neither file:///directory nor s3://bucket/prefix")));
        };
        Ok(Self { store })
    }

    /// The full URL of `key`, for messages.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        match &self.store {
            Store::File(tier) => tier.url(key),
            Store::S3(tier) => tier.url(key),
        }
    }

    /// Every object below `prefix` taken as a directory (`""` for the whole tier), in no particular order, fetched as
    /// the stream is read. `as_user` is the user on whose behalf: where the tier has owners, what that user may not
    /// read is an error in its place. An object whose key cannot be used is an error in its place too; after any
    /// other error the stream ends. A prefix that is not there at all is [`TierError::Missing`] for `file`, and empty
    /// for `s3`, which has no directories.
    #[must_use]
    pub fn list(&self, prefix: &str, as_user: Option<&TierUser>) -> BoxStream<'static, Result<ObjectMeta, TierError>> {
        match &self.store {
            Store::File(tier) => tier.clone().list(prefix, as_user.cloned()).boxed(),
            Store::S3(tier) => tier.clone().list(prefix).boxed(),
        }
    }

    /// What is known of the object `key`.
    pub async fn head(&self, key: &str) -> Result<ObjectMeta, TierError> {
        match &self.store {
            Store::File(tier) => tier.clone().head(key).await,
            Store::S3(tier) => tier.head(key).await,
        }
    }

    /// Bytes of the object `key`, which must still be the one with this `etag`. A range that passes the object's end
    /// is an error.
    pub async fn get_range(&self, key: &str, etag: &str, range: ByteRange) -> Result<Bytes, TierError> {
        match &self.store {
            Store::File(tier) => tier.clone().get_range(key, etag, range).await,
            Store::S3(tier) => tier.get_range(key, etag, range).await,
        }
    }

    /// Writes the object `key` from `data`, of about `size_hint` bytes, and returns what is known of it then. An error
    /// in `data` ends the write, and leaves nothing. `owner` is on whose behalf: where the tier has owners, that user
    /// must be allowed to, and becomes the owner of the file and of the directories made for it.
    ///
    /// For `s3`, [`PutMode::Create`] is certain up to [`s3::SINGLE_PUT_BYTES`]; above, the key is looked for right
    /// before the upload begins and right before it is completed.
    pub async fn put<S>(
        &self,
        key: &str,
        data: S,
        size_hint: Option<u64>,
        mode: PutMode,
        owner: Option<&TierUser>,
    ) -> Result<ObjectMeta, TierError>
    where
        S: Stream<Item = Result<Bytes, TierError>> + Send + Unpin,
    {
        match &self.store {
            Store::File(tier) => tier.clone().put(key, data, mode, owner.cloned()).await,
            Store::S3(tier) => tier.put(key, data, size_hint, mode).await,
        }
    }

    /// Deletes objects; those that are not there are as good as deleted.
    pub async fn delete(&self, keys: Vec<String>) -> Result<(), TierError> {
        match &self.store {
            Store::File(tier) => tier.clone().delete(keys).await,
            Store::S3(tier) => tier.delete(keys).await,
        }
    }

    /// Whether `user` may read what is at `prefix` (an object, or a directory to list), or with `write` may make
    /// objects below it. Where the tier has no owners, everybody may.
    pub async fn check_access(&self, user: &TierUser, prefix: &str, write: bool) -> Result<(), TierError> {
        match &self.store {
            Store::File(tier) => tier.clone().check_access(user.clone(), prefix, write).await,
            Store::S3(_) => Ok(()),
        }
    }
}
