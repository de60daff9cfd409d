//! The block that says whose drive this is.

use forebay_types::{DriveId, Uuid};

use crate::layout::Layout;
use crate::record::{BLOCK, Reader, Writer, block_is_intact, seal};

const MAGIC: [u8; 8] = *b"FOREBAYD";

/// The version of the device format that this release writes and reads.
pub const SUPERBLOCK_VERSION: u16 = 1;

/// Identity and cut of a drive. 4096 bytes: magic 0..8, version 8..10, zero 10..12, cluster 12..28, drive 28..44,
/// drive id 44..48, segment bytes 48..52, segments 52..56, starts 56..60, zeros, CRC32C 4092..4096.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// The cluster the drive belongs to; [`Uuid::NIL`] while it belongs to none.
    pub cluster: Uuid,
    /// The drive's own identity, for ever.
    pub drive: Uuid,
    /// The drive's number in its cluster; 0 while it belongs to none.
    pub drive_id: DriveId,
    /// How the device is cut.
    pub layout: Layout,
    /// How often the drive was opened for writing. Raised, durably, before each start, so that no start hands out a
    /// sequence of an earlier one.
    pub starts: u32,
}

/// Why a block is not a superblock this release can use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SuperblockError {
    /// The block starts with something else.
    #[error("this is not a Forebay drive")]
    NotADrive,
    /// The format is another release's.
    #[error("the drive has format version {found}, this release knows version {SUPERBLOCK_VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// The checksum does not hold.
    #[error("the superblock is damaged")]
    Damaged,
}

impl Superblock {
    /// The block as it is on the device.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&MAGIC).u16(SUPERBLOCK_VERSION).u16(0).bytes(&self.cluster.0).bytes(&self.drive.0);
        w.u32(self.drive_id.0).u32(self.layout.segment_bytes).u32(self.layout.segments).u32(self.starts);
        seal(w)
    }

    /// Reads a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(block: &[u8]) -> Result<Self, SuperblockError> {
        if block.len() != BLOCK || block[..8] != MAGIC {
            return Err(SuperblockError::NotADrive);
        }
        let mut r = Reader::at(block, 8);
        let found = r.u16();
        if !block_is_intact(block) {
            return Err(SuperblockError::Damaged);
        }
        if found != SUPERBLOCK_VERSION {
            return Err(SuperblockError::Version { found });
        }
        r.u16();
        let (cluster, drive, drive_id) = (Uuid(r.array()), Uuid(r.array()), DriveId(r.u32()));
        let layout = Layout { segment_bytes: r.u32(), segments: r.u32() };
        let checked = Layout::new(layout.device_bytes(), u64::from(layout.segment_bytes));
        if checked != Ok(layout) {
            return Err(SuperblockError::Damaged);
        }
        Ok(Self { cluster, drive, drive_id, layout, starts: r.u32() })
    }
}

#[cfg(test)]
#[path = "superblock_tests.rs"]
mod tests;
