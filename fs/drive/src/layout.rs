//! Where segments lie on a device.

use forebay_types::limits;

use crate::record::{BLOCK, SEGMENT_HEAD_BYTES};

const MIB: u64 = 1024 * 1024;

/// Bytes before the first segment.
pub(crate) const HEAD_BYTES: u64 = MIB;

/// Where the copies of the superblock are, in bytes from the start of the device.
pub const SUPERBLOCK_OFFSETS: [u64; 2] = [0, MIB / 2];

/// Largest record: a chunk's header block and the largest payload, in bytes.
pub(crate) const RECORD_MAX_BYTES: u32 = (BLOCK + limits::CHUNK_MAX_BYTES) as u32;

const SEGMENT_MIN_BYTES: u64 = MIB;
const SEGMENT_DEFAULT_BYTES: u64 = 256 * MIB;
const SEGMENT_MAX_BYTES: u64 = 1024 * MIB;
const SEGMENTS_MIN: u64 = 12;
const SEGMENTS_WANTED: u64 = 64;

/// Why a device cannot be cut into segments.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// The device is too small.
    #[error("{size_bytes} bytes are too few for a drive: it needs at least {least_bytes}")]
    TooSmall {
        /// Size of the device in bytes.
        size_bytes: u64,
        /// Least size in bytes.
        least_bytes: u64,
    },
    /// The segment size is not a power of two from 1 MiB to 1 GiB.
    #[error("segments of {segment_bytes} bytes: the size is a power of two from 1 MiB to 1 GiB")]
    Segment {
        /// The segment size in bytes.
        segment_bytes: u64,
    },
}

/// How a device is cut. Segment n is the `segment_bytes` bytes from [`Layout::segment_offset`] on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Bytes of each segment.
    pub segment_bytes: u32,
    /// Number of segments.
    pub segments: u32,
}

impl Layout {
    /// Segments of 256 MiB, or of the largest power of two that makes at least 64 of them, and never less than 1 MiB.
    ///
    /// # Errors
    /// The device is too small.
    pub fn choose(size_bytes: u64) -> Result<Self, LayoutError> {
        let mut segment_bytes = SEGMENT_DEFAULT_BYTES;
        while segment_bytes > SEGMENT_MIN_BYTES
            && size_bytes.saturating_sub(HEAD_BYTES) / segment_bytes < SEGMENTS_WANTED
        {
            segment_bytes /= 2;
        }
        Self::new(size_bytes, segment_bytes)
    }

    /// Segments of the given size.
    ///
    /// # Errors
    /// The device is too small, or the segment size is none that segments can have.
    pub fn new(size_bytes: u64, segment_bytes: u64) -> Result<Self, LayoutError> {
        if !segment_bytes.is_power_of_two() || !(SEGMENT_MIN_BYTES..=SEGMENT_MAX_BYTES).contains(&segment_bytes) {
            return Err(LayoutError::Segment { segment_bytes });
        }
        let segments = size_bytes.saturating_sub(HEAD_BYTES) / segment_bytes;
        if segments < SEGMENTS_MIN {
            return Err(LayoutError::TooSmall { size_bytes, least_bytes: HEAD_BYTES + SEGMENTS_MIN * segment_bytes });
        }
        let segments = u32::try_from(segments).unwrap_or(u32::MAX);
        Ok(Self { segment_bytes: segment_bytes as u32, segments })
    }

    /// Where a segment starts, in bytes from the start of the device.
    #[must_use]
    pub fn segment_offset(self, segment: u32) -> u64 {
        HEAD_BYTES + u64::from(segment) * u64::from(self.segment_bytes)
    }

    /// Bytes of the device that are used: from its start to the end of the last segment.
    #[must_use]
    pub fn device_bytes(self) -> u64 {
        self.segment_offset(self.segments)
    }

    /// Bytes of a segment that records can have.
    pub(crate) fn record_bytes(self) -> u64 {
        u64::from(self.segment_bytes) - SEGMENT_HEAD_BYTES as u64
    }
}
