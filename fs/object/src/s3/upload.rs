//! Writing an object: one request while it is small, in parts from there on.

use bytes::Bytes;
use forebay_wire::tier::TierError;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode as StoreMode, PutPayload, UploadPart};

use super::{S3Tier, SINGLE_PUT_BYTES};
use crate::{ObjectMeta, PutMode};

const MIB: u64 = 1024 * 1024;
/// Size of parts where the object's is not known beforehand: enough for 160 GB in S3's 10,000 parts.
const PART_BYTES: u64 = 16 * MIB;
const PART_MIN_BYTES: u64 = 8 * MIB;
/// Parts that an object may have, with some to spare for hints that are too low.
const PARTS: u64 = 9000;
/// Parts under way at a time, so at most this many and one more are in memory.
const PARTS_AT_A_TIME: usize = 4;

/// An upload in parts; aborted where it does not come to its end, so that the store keeps no parts.
struct Upload {
    parts: Option<Box<dyn MultipartUpload>>,
    under_way: FuturesUnordered<UploadPart>,
}

impl Upload {
    async fn add(&mut self, part: PutPayload) -> Result<(), Error> {
        while self.under_way.len() >= PARTS_AT_A_TIME {
            self.under_way.next().await.transpose()?;
        }
        let upload = self.parts.as_mut().expect("there until it ends");
        self.under_way.push(upload.put_part(part));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        while self.under_way.next().await.transpose()?.is_some() {}
        Ok(())
    }

    async fn complete(mut self) -> Result<(), Error> {
        self.parts.as_mut().expect("there until it ends").complete().await?;
        self.parts = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.parts.take() else { return };
        tokio::spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an upload could not be aborted: its parts stay until the bucket's rules remove them");
            }
        });
    }
}

/// Bytes that have come and are not yet sent.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Bytes>,
    len: u64,
}

impl Gathered {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len() as u64;
        self.chunks.push(bytes);
    }

    /// The first `len` bytes; fewer where there are no more.
    fn take(&mut self, len: u64) -> PutPayload {
        let mut taken = Vec::new();
        let mut left = len.min(self.len);
        self.len -= left;
        let mut chunks = std::mem::take(&mut self.chunks).into_iter();
        for mut chunk in chunks.by_ref() {
            if chunk.len() as u64 > left {
                self.chunks.push(chunk.split_off(left as usize));
                taken.push(chunk);
                break;
            }
            left -= chunk.len() as u64;
            taken.push(chunk);
        }
        self.chunks.extend(chunks);
        taken.into_iter().collect()
    }
}

/// All parts but the last must be of one size: the one that fits an object of `size_hint` bytes into [`PARTS`].
fn part_bytes(size_hint: Option<u64>) -> u64 {
    match size_hint {
        Some(size) => (size.div_ceil(PARTS).div_ceil(MIB) * MIB).max(PART_MIN_BYTES),
        None => PART_BYTES,
    }
}

impl S3Tier {
    pub(crate) async fn put<S>(
        &self,
        key: &str,
        mut data: S,
        size_hint: Option<u64>,
        mode: PutMode,
    ) -> Result<ObjectMeta, TierError>
    where
        S: Stream<Item = Result<Bytes, TierError>> + Send + Unpin,
    {
        let path = self.path(key)?;
        let mut gathered = Gathered::default();
        while let Some(bytes) = data.next().await {
            gathered.push(bytes?);
            if gathered.len > SINGLE_PUT_BYTES as u64 {
                return self.put_parts(key, &path, gathered, data, part_bytes(size_hint), mode).await;
            }
        }
        let store_mode = match mode {
            PutMode::Create => StoreMode::Create,
            PutMode::Overwrite => StoreMode::Overwrite,
        };
        let payload = gathered.take(u64::MAX);
        self.within(key, async {
            match self.store.put_opts(&path, payload, store_mode.into()).await {
                Err(Error::Precondition { .. }) => Err(TierError::Exists { url: self.url(key) }),
                other => other.map_err(|e| self.explain(key, &e)),
            }
        })
        .await?;
        self.head(key).await
    }

    async fn put_parts<S>(
        &self,
        key: &str,
        path: &object_store::path::Path,
        mut gathered: Gathered,
        mut data: S,
        part_bytes: u64,
        mode: PutMode,
    ) -> Result<ObjectMeta, TierError>
    where
        S: Stream<Item = Result<Bytes, TierError>> + Send + Unpin,
    {
        self.absent(key, mode).await?;
        let explain = |e: Error| self.explain(key, &e);
        let begin = async { self.store.put_multipart(path).await.map_err(explain) };
        let parts = self.within(key, begin).await?;
        let mut upload = Upload { parts: Some(parts), under_way: FuturesUnordered::new() };
        loop {
            while gathered.len >= part_bytes {
                let part = gathered.take(part_bytes);
                self.within(key, async { upload.add(part).await.map_err(explain) }).await?;
            }
            match data.next().await {
                Some(bytes) => gathered.push(bytes?),
                None => break,
            }
        }
        let end = async {
            if gathered.len > 0 {
                upload.add(gathered.take(u64::MAX)).await.map_err(explain)?;
            }
            upload.wait().await.map_err(explain)?;
            self.absent(key, mode).await?;
            upload.complete().await.map_err(explain)
        };
        self.within(key, end).await?;
        self.head(key).await
    }

    /// Refuses to create what is there already.
    async fn absent(&self, key: &str, mode: PutMode) -> Result<(), TierError> {
        if mode == PutMode::Overwrite {
            return Ok(());
        }
        match self.head(key).await {
            Ok(_) => Err(TierError::Exists { url: self.url(key) }),
            Err(TierError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
