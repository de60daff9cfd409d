//! Which chunk of a stripe holds which bytes.
//!
//! A stripe's data is its data chunks laid end to end: byte b is in chunk b / chunk_bytes. What is read is whole
//! blocks, because a checksum covers a block.

use std::ops::Range;

use forebay_types::{Geometry, limits};

/// Why bytes do not fit a stripe.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// More bytes than a stripe of this geometry can have, or none.
    #[error("{data_bytes} bytes do not fit a {geometry} stripe, which has 1 to {most_bytes}")]
    Size {
        /// The geometry.
        geometry: Geometry,
        /// Bytes to lay out.
        data_bytes: usize,
        /// Most bytes such a stripe has.
        most_bytes: usize,
    },
    /// A chunk size that is no whole number of blocks, or is none, or passes the limit.
    #[error("chunks of {chunk_bytes} bytes: a chunk is 1 to 64 blocks of 4096 bytes")]
    Chunk {
        /// The chunk size in bytes.
        chunk_bytes: u32,
    },
}

/// How a stripe is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StripeLayout {
    /// Data and parity chunks.
    pub geometry: Geometry,
    /// Bytes in each chunk: a multiple of [`limits::BLOCK_BYTES`], at most [`limits::CHUNK_MAX_BYTES`].
    pub chunk_bytes: u32,
}

/// Bytes wanted of one chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The data chunk, 0 to k-1.
    pub index: u8,
    /// The wanted bytes within the chunk.
    pub bytes: Range<u32>,
    /// Blocks of the chunk that cover them.
    pub blocks: Range<u32>,
    /// Where in the stripe's data the first wanted byte is.
    pub stripe_offset: u32,
}

impl Piece {
    /// The wanted bytes within the blocks read.
    #[must_use]
    pub fn within_blocks(&self) -> Range<usize> {
        let base = self.blocks.start * limits::BLOCK_BYTES as u32;
        (self.bytes.start - base) as usize..(self.bytes.end - base) as usize
    }
}

impl StripeLayout {
    /// The layout with the smallest chunks that holds `data_bytes` bytes.
    ///
    /// # Errors
    /// No bytes, or more than a stripe can have.
    pub fn for_data(geometry: Geometry, data_bytes: usize) -> Result<Self, LayoutError> {
        let k = usize::from(geometry.data);
        let most_bytes = k * limits::CHUNK_MAX_BYTES;
        if data_bytes == 0 || data_bytes > most_bytes {
            return Err(LayoutError::Size { geometry, data_bytes, most_bytes });
        }
        let chunk_bytes = data_bytes.div_ceil(k).next_multiple_of(limits::BLOCK_BYTES) as u32;
        Ok(Self { geometry, chunk_bytes })
    }

    /// The layout of a stripe that exists.
    ///
    /// # Errors
    /// A chunk size no stripe has.
    pub fn new(geometry: Geometry, chunk_bytes: u32) -> Result<Self, LayoutError> {
        let bytes = chunk_bytes as usize;
        if bytes == 0 || !bytes.is_multiple_of(limits::BLOCK_BYTES) || bytes > limits::CHUNK_MAX_BYTES {
            return Err(LayoutError::Chunk { chunk_bytes });
        }
        Ok(Self { geometry, chunk_bytes })
    }

    /// Bytes of data a stripe has room for.
    #[must_use]
    pub fn data_bytes(self) -> u32 {
        u32::from(self.geometry.data) * self.chunk_bytes
    }

    /// Bytes the stripe takes on drives, parity included, headers not.
    #[must_use]
    pub fn stored_bytes(self) -> u64 {
        self.geometry.width() as u64 * u64::from(self.chunk_bytes)
    }

    /// The pieces that hold `len` bytes from `offset` of the stripe's data, in order; what lies beyond the stripe's
    /// data is left out.
    #[must_use]
    pub fn pieces(self, offset: u32, len: u32) -> Vec<Piece> {
        let block = limits::BLOCK_BYTES as u32;
        let end = offset.saturating_add(len).min(self.data_bytes());
        let mut at = offset;
        let mut pieces = Vec::new();
        while at < end {
            let index = at / self.chunk_bytes;
            let base = index * self.chunk_bytes;
            let bytes = at - base..end.min(base + self.chunk_bytes) - base;
            let blocks = bytes.start / block..bytes.end.div_ceil(block);
            let next = base + bytes.end;
            pieces.push(Piece { index: index as u8, bytes, blocks, stripe_offset: at });
            at = next;
        }
        pieces
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
