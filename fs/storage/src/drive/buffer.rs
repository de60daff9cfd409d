//! Memory that O_DIRECT accepts.

use forebay_types::limits::BLOCK_BYTES;

/// Bytes whose address is a multiple of [`BLOCK_BYTES`], by taking one block more than asked for.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub(super) fn zeroed(len: usize) -> Self {
        let memory = vec![0; len + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "a byte address can always be rounded up to a block");
        Self { memory, start, len }
    }

    /// The parts, one after the other.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut buffer = Self::zeroed(parts.iter().map(|part| part.len()).sum());
        let mut at = 0;
        for part in parts {
            buffer.as_mut()[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        buffer
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
