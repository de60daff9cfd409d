//! Listings: entries one after the other, as many as fit.

use bytes::Bytes;

use super::layout::Put;
use super::reply::put_entry;
use super::{Entry, Reply};

/// Bytes of an entry before its name.
const FIXED_BYTES: usize = 24;
/// Bytes of the attributes before an entry of READDIRPLUS.
const ENTRY_BYTES: usize = 128;
/// Most bytes set aside before anything is put in.
const FIRST_BYTES: usize = 64 << 10;

/// A listing under way.
#[derive(Clone, Debug)]
pub struct Listing {
    out: Vec<u8>,
    room: usize,
}

impl Listing {
    /// One that takes `size` bytes at most, as READDIR says.
    #[must_use]
    pub fn new(size: u32) -> Self {
        let room = size as usize;
        Self { out: Vec::with_capacity(room.min(FIRST_BYTES)), room }
    }

    /// Adds an entry; false where it does not fit, which ends the listing. `kind` is `st_mode`'s kind (`S_IFDIR`, …).
    /// Reading goes on after `cookie`.
    #[must_use]
    pub fn add(&mut self, ino: u64, cookie: u64, kind: u32, name: &[u8]) -> bool {
        if !self.fits(0, name) {
            return false;
        }
        self.put(ino, cookie, kind, name);
        true
    }

    /// Adds an entry with its attributes, for READDIRPLUS. One that is added counts as a lookup of its node, unless
    /// the node is 0: then the kernel takes only the name.
    #[must_use]
    pub fn add_plus(&mut self, entry: &Entry, cookie: u64, name: &[u8]) -> bool {
        if !self.fits(ENTRY_BYTES, name) {
            return false;
        }
        put_entry(&mut self.out, entry);
        self.put(entry.attr.ino, cookie, entry.attr.mode, name);
        true
    }

    /// The answer.
    #[must_use]
    pub fn done(self) -> Reply {
        Reply::Data(Bytes::from(self.out))
    }

    fn fits(&self, before: usize, name: &[u8]) -> bool {
        self.out.len() + before + (FIXED_BYTES + name.len()).next_multiple_of(8) <= self.room
    }

    fn put(&mut self, ino: u64, cookie: u64, kind: u32, name: &[u8]) {
        self.out.u64(ino).u64(cookie).u32(name.len() as u32).u32((kind & nix::libc::S_IFMT) >> 12);
        self.out.extend_from_slice(name);
        let end = self.out.len().next_multiple_of(8);
        self.out.resize(end, 0);
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
