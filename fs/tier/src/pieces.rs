//! A file's bytes in reads of bounded size.

use forebay_types::{ByteRange, Extent, Location};

/// The bytes of `range`, in order and without gap, in pieces of at most `piece_bytes` bytes; what no extent covers is a
/// hole.
#[must_use]
pub fn pieces(extents: &[Extent], range: ByteRange, piece_bytes: u64) -> Vec<Extent> {
    let mut out = Vec::new();
    let mut at = range.offset;
    for extent in extents.iter().filter_map(|extent| extent.clip(range)) {
        hole(&mut out, at, extent.range.offset, piece_bytes);
        at = extent.range.end();
        cut(&mut out, &extent, piece_bytes);
    }
    hole(&mut out, at, range.end(), piece_bytes);
    out
}

fn hole(out: &mut Vec<Extent>, from: u64, to: u64, piece_bytes: u64) {
    cut(out, &Extent { range: ByteRange::between(from, to), location: Location::Hole }, piece_bytes);
}

fn cut(out: &mut Vec<Extent>, extent: &Extent, piece_bytes: u64) {
    let piece_bytes = piece_bytes.max(1);
    let parts = extent.range.len.div_ceil(piece_bytes);
    out.extend(
        (0..parts).filter_map(|n| extent.clip(ByteRange::new(extent.range.offset + n * piece_bytes, piece_bytes))),
    );
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
