//! Bytes by the extents that name them, and parts of a file moved several at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_types::{Attr, ByteRange, Extent, InodeId, Location};
use forebay_wire::chunk::Receipt;
use forebay_wire::tier::TierError;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};

use super::stores::is_again;
use super::task::Work;

/// Most bytes of one read.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// Pieces of a file read at a time.
const READ_AHEAD: usize = 4;
/// Parts of a file moved at a time.
const PARTS_AT_ONCE: usize = 4;
/// The map of a file is looked at for so many bytes at once, so that the map of a huge file is not all in memory.
const WINDOW_BYTES: u64 = 1 << 30;
/// How often a file that is being changed is looked at again without waiting.
pub(super) const LOOKS: u32 = 4;

/// The file a transfer is about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub work: &'a Work,
    pub path: &'a str,
    pub ino: InodeId,
}

/// How moving a part ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    Done,
    /// The file's map is another by now.
    LookAgain,
}

impl<'a> Subject<'a> {
    /// The answer to a file that changes all the time: worth trying again later.
    pub fn again(&self) -> TierError {
        TierError::Filesystem { path: self.path.to_owned(), errno: forebay_types::Errno::Again }
    }

    /// The file's map of a range, and its attributes at that moment.
    pub async fn look(&self, range: ByteRange) -> Result<(Attr, Vec<Extent>), TierError> {
        let ino = self.ino;
        self.work.on_fs(self.path, |fs| async move { fs.extents_of(ino, range).await }).await
    }

    /// The bytes of one extent.
    async fn fetch(self, piece: Extent) -> Result<Bytes, TierError> {
        match &piece.location {
            Location::Object(object) => {
                let tier = self.work.tier(object.tier).await?;
                tier.get_range(&object.key, &object.etag, ByteRange::new(object.offset, piece.range.len)).await
            }
            _ => self.work.on_fs(self.path, |fs| async move { fs.read_extent(&piece).await }).await,
        }
    }

    /// The bytes of extents, in order.
    pub fn bytes(self, pieces: Vec<Extent>) -> BoxStream<'a, Result<Bytes, TierError>> {
        stream::iter(pieces).map(move |piece| self.fetch(piece).boxed()).buffered(READ_AHEAD).boxed()
    }

    /// Exchanges extents; `None` where the map is another by now.
    pub async fn exchange(
        &self,
        fs: &Filesystem,
        expect: Vec<Extent>,
        replace: Vec<Extent>,
        receipts: Vec<Receipt>,
    ) -> Result<Option<Attr>, TierError> {
        match fs.exchange(self.ino, expect, replace, receipts).await {
            Ok(attr) => Ok(Some(attr)),
            Err(error) if is_again(&error) => Ok(None),
            Err(error) => Err(self.work.explain(fs, self.path, error).await),
        }
    }
}

/// The part of a range that is looked at from `at` on.
pub(super) fn window(range: ByteRange, at: u64) -> ByteRange {
    ByteRange::between(at, range.end().min(at.saturating_add(WINDOW_BYTES)))
}

/// Moves parts, some at a time. After a failure no more are begun; what is under way comes to its end, since what it
/// has written would be lost.
pub(super) async fn each_part<'a, P: Send>(
    parts: Vec<P>,
    move_part: impl Fn(P) -> BoxFuture<'a, Result<Moved, TierError>> + Sync,
) -> Result<Moved, TierError> {
    let stop = AtomicBool::new(false);
    let (stop, move_part) = (&stop, &move_part);
    let mut ends = stream::iter(parts)
        .map(|part| {
            let moving = async move {
                if stop.load(Ordering::Relaxed) {
                    return Ok(Moved::LookAgain);
                }
                move_part(part).await.inspect_err(|_| stop.store(true, Ordering::Relaxed))
            };
            moving.boxed()
        })
        .buffer_unordered(PARTS_AT_ONCE)
        .boxed();
    let mut all = Ok(Moved::Done);
    while let Some(end) = ends.next().await {
        match (&all, end) {
            (Ok(_), Err(error)) => all = Err(error),
            (Ok(_), Ok(Moved::LookAgain)) => all = Ok(Moved::LookAgain),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
