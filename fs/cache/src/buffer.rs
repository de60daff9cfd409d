//! Bytes of one file that are not durable yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_types::ByteRange;

/// Dirty bytes of a file, by offset: pieces that do not overlap.
#[derive(Clone, Debug, Default)]
pub struct WriteBuffer {
    pieces: BTreeMap<u64, Bytes>,
    bytes: u64,
}

impl WriteBuffer {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// One past the last byte held; 0 where nothing is.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.pieces.last_key_value().map_or(0, |(at, piece)| at + piece.len() as u64)
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.pieces.iter().map(|(at, piece)| (*at, piece))
    }

    /// Takes `data` in at `offset`, over whatever was there.
    pub fn write(&mut self, offset: u64, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.remove(ByteRange::new(offset, data.len() as u64));
        self.bytes += data.len() as u64;
        self.pieces.insert(offset, data);
    }

    /// Forgets the bytes of a range.
    pub fn remove(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let first = self.pieces.range(..range.offset).next_back().map(|(at, _)| *at).unwrap_or(range.offset);
        let touched: Vec<u64> = self
            .pieces
            .range(first..range.end())
            .filter(|(at, piece)| **at + piece.len() as u64 > range.offset)
            .map(|(at, _)| *at)
            .collect();
        for at in touched {
            let piece = self.pieces.remove(&at).expect("key was just seen");
            let end = at + piece.len() as u64;
            self.bytes -= piece.len() as u64;
            if at < range.offset {
                self.keep(at, piece.slice(..(range.offset - at) as usize));
            }
            if end > range.end() {
                self.keep(range.end(), piece.slice((range.end() - at) as usize..));
            }
        }
    }

    fn keep(&mut self, at: u64, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.pieces.insert(at, piece);
    }

    /// Forgets every byte from `size` on.
    pub fn truncate(&mut self, size: u64) {
        self.remove(ByteRange::between(size, u64::MAX));
    }

    /// Copies the bytes it holds of `offset ..` into `out`, and returns whether it holds all of them.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let wanted = ByteRange::new(offset, out.len() as u64);
        let first = self.pieces.range(..=offset).next_back().map_or(offset, |(at, _)| *at);
        let mut copied = 0;
        for (at, piece) in self.pieces.range(first..wanted.end().max(first)) {
            let held = ByteRange::new(*at, piece.len() as u64);
            let Some(cut) = held.intersect(wanted) else { continue };
            let from = (cut.offset - at) as usize;
            let to = (cut.offset - offset) as usize;
            let len = cut.len as usize;
            out[to..to + len].copy_from_slice(&piece[from..from + len]);
            copied += len;
        }
        copied == out.len()
    }

    /// Takes back bytes whose write-back failed: those that were written again meanwhile stay as they are.
    pub fn give_back(&mut self, mut older: Self) {
        for (at, piece) in &self.pieces {
            older.remove(ByteRange::new(*at, piece.len() as u64));
        }
        self.bytes += older.bytes;
        self.pieces.extend(older.pieces);
    }
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
