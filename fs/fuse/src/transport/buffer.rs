//! Buffers that requests are read into.
//!
//! A request that fills much of its buffer keeps it: its data is used where it lies, and the buffer comes back when
//! nobody does any more. A small one is copied out, so that little data does not hold a large buffer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Spare buffers kept.
const SPARE: usize = 16;

/// Buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    bytes: usize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, spare: Mutex::default() })
    }

    pub fn take(self: &Arc<Self>) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { memory: spare.unwrap_or_else(|| vec![0; self.bytes]), home: self.clone() }
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffer {
    pub fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// The first `len` bytes; what they need not be kept in is for the next request.
    pub fn fill(&mut self, len: usize) -> Bytes {
        if len < self.memory.len() / 2 {
            return Bytes::copy_from_slice(&self.memory[..len]);
        }
        let full = std::mem::replace(self, self.home.take());
        Bytes::from_owner(full).slice(..len)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
