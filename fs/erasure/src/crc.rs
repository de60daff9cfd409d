//! CRC32C (CRC-32/ISCSI), one per block of [`BLOCK_BYTES`]: on drives, on the wire and in memory the same values.

use forebay_types::limits::BLOCK_BYTES;

/// CRC32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC32C of each block; the last one may be short.
#[must_use]
pub fn block_crcs(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(BLOCK_BYTES).map(crc32c).collect()
}

/// A block whose bytes do not have the CRC they should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("block {block} does not have the checksum it was written with")]
pub struct Mismatch {
    /// The first such block, counted from the first block handed in.
    pub block: u32,
}

/// Checks that block i of `bytes` has the CRC `crcs[i]`, for every block. A missing CRC is a mismatch, a CRC without a
/// block as well.
///
/// # Errors
/// The first block that differs.
pub fn verify(bytes: &[u8], crcs: &[u32]) -> Result<(), Mismatch> {
    let blocks = bytes.len().div_ceil(BLOCK_BYTES);
    for (i, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if crcs.get(i) != Some(&crc32c(block)) {
            return Err(Mismatch { block: i as u32 });
        }
    }
    if crcs.len() != blocks {
        return Err(Mismatch { block: blocks as u32 });
    }
    Ok(())
}

#[cfg(test)]
#[path = "crc_tests.rs"]
mod tests;
