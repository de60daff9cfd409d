//! A bucket, or what is below a prefix of one, as a cold tier.
//!
//! Requests name the bucket in their path, which every S3 there is understands. Objects above [`SINGLE_PUT_BYTES`] go
//! up in parts, several at a time, and an upload that does not come to its end is aborted. Keys that end in `/`, which
//! some tools make to stand for directories, are not objects here. Keys with empty parts, `.`, `..` or control
//! characters cannot be files and end a listing with an error that names them.

mod upload;

use std::time::Duration;

use bytes::Bytes;
use forebay_types::{ByteRange, Timestamp};
use forebay_wire::cluster::TierCredentials;
use forebay_wire::tier::TierError;
use futures::future;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};

use crate::{ObjectMeta, name};

/// Up to this size, in bytes, an object is written with one request.
pub const SINGLE_PUT_BYTES: usize = 8 * 1024 * 1024;
/// Longest a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest one request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// A failing request is tried again this often, and not later than this after it was first sent.
const RETRIES: usize = 3;
const RETRY_DEADLINE: Duration = Duration::from_secs(15);
/// Longest an operation of a few requests may take, whatever the store does.
const OPERATION_DEADLINE: Duration = Duration::from_secs(120);
/// Region that stores without regions are content with.
const DEFAULT_REGION: &str = "us-east-1";
/// Empty objects of a listing that are looked at at a time, to tell them from directory markers.
const MARKER_LOOKUPS: usize = 16;
/// Most bytes of a store's error that are passed on.
const REASON_MAX_BYTES: usize = 400;

/// A bucket, or what is below a prefix of one.
#[derive(Debug)]
pub struct S3Tier {
    store: AmazonS3,
    bucket: String,
    prefix: String,
}

impl S3Tier {
    /// The tier at `bucket/prefix` (the prefix may be absent).
    pub(crate) fn open(
        location: &str,
        endpoint: &str,
        region: &str,
        credentials: &TierCredentials,
    ) -> Result<Self, TierError> {
        let invalid = |reason: String| TierError::Invalid { reason };
        let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
        if bucket.is_empty() {
            return Err(invalid(format!("tier URL 's3://{location}' names no bucket: write s3://bucket/prefix")));
        }
        name::check(prefix).map_err(|reason| invalid(format!("tier URL 's3://{location}': {reason}")))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(if region.is_empty() { DEFAULT_REGION } else { region })
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(endpoint.starts_with("http://"))
                    .with_connect_timeout(CONNECT_DEADLINE)
                    .with_timeout(REQUEST_DEADLINE),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(2),
                    base: 2.0,
                },
                max_retries: RETRIES,
                retry_timeout: RETRY_DEADLINE,
            });
        if !endpoint.is_empty() {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        builder = if credentials.access_key.is_empty() {
            builder.with_skip_signature(true)
        } else {
            builder.with_access_key_id(&credentials.access_key).with_secret_access_key(&credentials.secret_key)
        };
        let store = builder.build().map_err(|e| invalid(format!("tier 's3://{location}': {}", reason(&e))))?;
        Ok(Self { store, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    pub(crate) fn url(&self, key: &str) -> String {
        name::join(&format!("s3://{}", self.bucket), &name::join(&self.prefix, key))
    }

    /// The object's whole key in the bucket.
    fn path(&self, key: &str) -> Result<Path, TierError> {
        let bad = |reason: String| TierError::BadName { url: self.url(key), reason };
        name::check(key).map_err(|reason| bad(reason.to_owned()))?;
        Path::parse(name::join(&self.prefix, key)).map_err(|e| bad(e.to_string()))
    }

    /// What a store's error about `key` means to a mover.
    fn explain(&self, key: &str, error: &Error) -> TierError {
        let (url, reason) = (self.url(key), reason(error));
        match error {
            Error::NotFound { .. } => TierError::Missing { url },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => TierError::Forbidden { url, reason },
            Error::AlreadyExists { .. } => TierError::Exists { url },
            Error::InvalidPath { .. } => TierError::BadName { url, reason },
            Error::NotSupported { .. } | Error::NotImplemented { .. } | Error::UnknownConfigurationKey { .. } => {
                TierError::Invalid { reason: format!("{url}: {reason}") }
            }
            _ => match status(&reason) {
                Some("404") => TierError::Missing { url },
                Some("401" | "403") => TierError::Forbidden { url, reason },
                _ => TierError::Unavailable { url, reason },
            },
        }
    }

    /// Waits for something about `key`, no longer than an operation may take.
    async fn within<T>(&self, key: &str, work: impl Future<Output = Result<T, TierError>>) -> Result<T, TierError> {
        let late = || TierError::Unavailable {
            url: self.url(key),
            reason: format!("no answer within {} s", OPERATION_DEADLINE.as_secs()),
        };
        tokio::time::timeout(OPERATION_DEADLINE, work).await.unwrap_or_else(|_| Err(late()))
    }

    fn object(&self, key: String, meta: &object_store::ObjectMeta) -> ObjectMeta {
        let mtime = Timestamp {
            secs: meta.last_modified.timestamp(),
            nanos: meta.last_modified.timestamp_subsec_nanos().min(999_999_999),
        };
        ObjectMeta { key, size_bytes: meta.size, etag: meta.e_tag.clone().unwrap_or_default(), mtime }
    }

    pub(crate) async fn head(&self, key: &str) -> Result<ObjectMeta, TierError> {
        let path = self.path(key)?;
        self.within(key, async {
            let meta = self.store.head(&path).await.map_err(|e| self.explain(key, &e))?;
            Ok(self.object(key.to_owned(), &meta))
        })
        .await
    }

    pub(crate) async fn get_range(&self, key: &str, etag: &str, range: ByteRange) -> Result<Bytes, TierError> {
        let path = self.path(key)?;
        let options = GetOptions {
            if_match: Some(etag.to_owned()),
            // A range of no bytes cannot be asked for: ask for no bytes of the object instead.
            range: (range.len > 0).then(|| GetRange::Bounded(range.offset..range.end())),
            head: range.len == 0,
            ..GetOptions::default()
        };
        self.within(key, async {
            let got = match self.store.get_opts(&path, options).await {
                Err(Error::Precondition { .. }) => return Err(self.changed(key, etag).await),
                other => other.map_err(|e| self.explain(key, &e))?,
            };
            // Some stores take no notice of the condition.
            match &got.meta.e_tag {
                Some(found) if found != etag => return Err(self.changed(key, etag).await),
                _ if range.len == 0 => return Ok(Bytes::new()),
                _ => {}
            }
            let data = got.bytes().await.map_err(|e| self.explain(key, &e))?;
            if data.len() as u64 != range.len {
                let reason = format!("{} has no bytes {}..{}", self.url(key), range.offset, range.end());
                return Err(TierError::Invalid { reason });
            }
            Ok(data)
        })
        .await
    }

    async fn changed(&self, key: &str, expected: &str) -> TierError {
        match self.head(key).await {
            Ok(now) => TierError::Changed { url: self.url(key), expected: expected.to_owned(), found: now.etag },
            Err(error) => error,
        }
    }

    pub(crate) fn list(
        self: std::sync::Arc<Self>,
        prefix: &str,
    ) -> impl Stream<Item = Result<ObjectMeta, TierError>> + Send + 'static {
        let below = match self.path(prefix) {
            Ok(path) => path,
            Err(error) => return stream::once(future::ready(Err(error))).left_stream(),
        };
        let found = self.store.list(Some(&below));
        let root = self.prefix.len() + usize::from(!self.prefix.is_empty());
        let prefix = prefix.to_owned();
        found
            .map(move |found| {
                let (tier, prefix) = (self.clone(), prefix.clone());
                async move {
                    let meta = found.map_err(|e| tier.explain(&prefix, &e))?;
                    let key = meta.location.as_ref().get(root..).unwrap_or_default().to_owned();
                    // Some stores list no tags; an object without one could not be told from a later one of its key.
                    if meta.size > 0 && meta.e_tag.is_some() {
                        return Ok(Some(tier.object(key, &meta)));
                    }
                    // The listing has lost the slash that tells a marker: an object of that name would be found.
                    if key == prefix {
                        return Ok(None);
                    }
                    match tier.head(&key).await {
                        Err(TierError::Missing { .. }) => Ok(None),
                        other => other.map(Some),
                    }
                }
            })
            .buffered(MARKER_LOOKUPS)
            .try_filter_map(future::ok)
            .right_stream()
    }

    pub(crate) async fn delete(&self, keys: Vec<String>) -> Result<(), TierError> {
        let paths: Vec<Path> = keys.iter().map(|key| self.path(key)).collect::<Result<_, _>>()?;
        let Some(first) = keys.first() else { return Ok(()) };
        let mut deleted = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        self.within(first, async {
            while let Some(one) = deleted.next().await {
                match one {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(e) => return Err(self.explain(first, &e)),
                }
            }
            Ok(())
        })
        .await
    }
}

/// The HTTP status that a generic error speaks of. Listings and the first and last request of an upload fail with
/// nothing else to tell it by.
fn status(reason: &str) -> Option<&str> {
    reason.split_once("status code: ")?.1.get(..3)
}

/// What the store said, without the page it may have said it on.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut end = text.len().min(REASON_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
