//! Byte ranges of files and where their bytes are.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Geometry, StripeId, TierId};

/// `offset .. offset + len` of a file, in bytes. Never wraps: `offset + len` is at most 2^64 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Number of bytes; a range of no bytes is legal and touches nothing.
    pub len: u64,
}

impl ByteRange {
    /// The range of `len` bytes at `offset`, cut short where it would pass 2^64 - 1.
    #[must_use]
    pub fn new(offset: u64, len: u64) -> Self {
        Self { offset, len: len.min(u64::MAX - offset) }
    }

    /// The range from `start` up to, not including, `end`; empty where `end` is not after `start`.
    #[must_use]
    pub fn between(start: u64, end: u64) -> Self {
        Self { offset: start, len: end.saturating_sub(start) }
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset + self.len
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes in both; `None` where there are none.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let range = Self::between(self.offset.max(other.offset), self.end().min(other.end()));
        (!range.is_empty()).then_some(range)
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.offset, self.end())
    }
}

/// A byte range of a file mapped to bytes that never change once written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Extent {
    /// The file's bytes; never empty.
    pub range: ByteRange,
    /// Where they are.
    pub location: Location,
}

/// Where an extent's bytes are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Location {
    /// Nowhere: they read as zeros.
    Hole,
    /// In the metadata record itself; exactly as many as the range has, at most [`crate::limits::INLINE_MAX`].
    Inline(Bytes),
    /// In a stripe of the hot tier.
    Stripe(StripeRef),
    /// In an object of a cold tier.
    Object(ObjectRef),
}

/// Bytes of a stripe: the stripe's data chunks laid end to end, from `offset` on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct StripeRef {
    /// The stripe.
    pub stripe: StripeId,
    /// How the stripe is cut.
    pub geometry: Geometry,
    /// Bytes in each of its chunks, a multiple of [`crate::limits::BLOCK_BYTES`].
    pub chunk_bytes: u32,
    /// Where in the stripe's data the first byte is.
    pub offset: u32,
}

/// Bytes of an object of a cold tier, pinned to the version that was seen.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ObjectRef {
    /// The tier.
    pub tier: TierId,
    /// The object's key below the tier's root.
    pub key: String,
    /// The entity tag the object had; a read that finds another refuses to mix versions.
    pub etag: String,
    /// The object's whole size, in bytes.
    pub object_bytes: u64,
    /// Where in the object the first byte is.
    pub offset: u64,
}

impl Location {
    /// Where the bytes from `skip` on are, for an extent cut at its front by `skip` bytes and left `len` long.
    #[must_use]
    pub fn slice(&self, skip: u64, len: u64) -> Self {
        match self {
            Self::Hole => Self::Hole,
            Self::Inline(bytes) => Self::Inline(bytes.slice(skip as usize..(skip + len) as usize)),
            Self::Stripe(r) => Self::Stripe(StripeRef { offset: r.offset + skip as u32, ..*r }),
            Self::Object(r) => Self::Object(ObjectRef { offset: r.offset + skip, ..r.clone() }),
        }
    }
}

impl Extent {
    /// The part of this extent within `range`; `None` where they do not meet.
    #[must_use]
    pub fn clip(&self, range: ByteRange) -> Option<Self> {
        let cut = self.range.intersect(range)?;
        Some(Self { range: cut, location: self.location.slice(cut.offset - self.range.offset, cut.len) })
    }
}

#[cfg(test)]
#[path = "extent_tests.rs"]
mod tests;
