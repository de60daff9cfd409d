//! How dirty bytes go out.
//!
//! Little goes inline into the metadata log: one round trip, no stripe. More is laid end to end, piece after piece,
//! into stripes: the pieces need not be neighbours in the file, so scattered writes share stripes.

use bytes::Bytes;
use forebay_types::limits;

use crate::WriteBuffer;

/// Bytes that are neighbours in the file and in what they are packed into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where in the file.
    pub file_offset: u64,
    /// The bytes, in pieces.
    pub pieces: Vec<Bytes>,
}

impl Run {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.iter().all(Bytes::is_empty)
    }
}

/// Where dirty bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packed {
    /// Into the metadata record, each run an extent of its own.
    Inline(Vec<Run>),
    /// Into a stripe, the runs laid end to end; at most the bytes asked for.
    Stripe(Vec<Run>),
}

/// Packs a buffer: inline when all of it is at most [`limits::INLINE_MAX`], else into stripes of at most
/// `stripe_bytes` bytes of data.
#[must_use]
pub fn pack(buffer: &WriteBuffer, stripe_bytes: usize) -> Vec<Packed> {
    if buffer.is_empty() {
        return Vec::new();
    }
    if buffer.bytes() <= limits::INLINE_MAX as u64 {
        let mut runs = Vec::new();
        buffer.pieces().for_each(|(at, piece)| append(&mut runs, at, piece.clone()));
        return vec![Packed::Inline(runs)];
    }
    let mut out = Vec::new();
    let mut runs = Vec::new();
    let mut room = stripe_bytes;
    for (mut at, piece) in buffer.pieces() {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(room));
            room -= part.len();
            let next = at + part.len() as u64;
            append(&mut runs, at, part);
            at = next;
            if room == 0 {
                out.push(Packed::Stripe(std::mem::take(&mut runs)));
                room = stripe_bytes;
            }
        }
    }
    if !runs.is_empty() {
        out.push(Packed::Stripe(runs));
    }
    out
}

fn append(runs: &mut Vec<Run>, at: u64, piece: Bytes) {
    match runs.last_mut() {
        Some(run) if run.file_offset + run.len() == at => run.pieces.push(piece),
        _ => runs.push(Run { file_offset: at, pieces: vec![piece] }),
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
