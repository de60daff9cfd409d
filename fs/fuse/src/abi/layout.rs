//! Reading and writing the kernel's structures: little steps over bytes, each of them checked.
//!
//! Numbers are in the machine's byte order, as kernel and daemon share a machine.

use bytes::Bytes;

/// What the bytes of a request lack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Short {
    /// What was to be read.
    pub field: &'static str,
}

/// A place in the bytes of a request. What is read out of it shares their memory.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<Bytes, Short> {
        if self.rest.len() < len {
            return Err(Short { field });
        }
        Ok(self.rest.split_to(len))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Short> {
        let array = self.rest.first_chunk::<N>().copied().ok_or(Short { field })?;
        self.rest = self.rest.split_off(N);
        Ok(array)
    }

    pub fn u16(&mut self, field: &'static str) -> Result<u16, Short> {
        self.array(field).map(u16::from_ne_bytes)
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, Short> {
        self.array(field).map(u32::from_ne_bytes)
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, Short> {
        self.array(field).map(u64::from_ne_bytes)
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, Short> {
        self.array(field).map(i64::from_ne_bytes)
    }

    /// Passes over bytes that mean nothing.
    pub fn skip(&mut self, len: usize, field: &'static str) -> Result<(), Short> {
        self.take(len, field).map(drop)
    }

    /// A text that ends with a NUL, which is not part of it.
    pub fn text(&mut self, field: &'static str) -> Result<Bytes, Short> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Short { field })?;
        let text = self.rest.split_to(end);
        self.rest = self.rest.split_off(1);
        Ok(text)
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// Puts numbers one after the other.
pub(super) trait Put {
    fn u16(&mut self, value: u16) -> &mut Self;
    fn u32(&mut self, value: u32) -> &mut Self;
    fn u64(&mut self, value: u64) -> &mut Self;
    fn zeros(&mut self, count: usize) -> &mut Self;
}

impl Put for Vec<u8> {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.resize(self.len() + count, 0);
        self
    }
}
