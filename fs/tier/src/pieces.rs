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
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_cover_the_range_once(
            shape in prop::collection::vec((0u64..5, 1u64..20), 0..10),
            range in (0u64..60, 0u64..100),
            piece_bytes in 1u64..12,
        ) {
            let mut at = 0;
            let extents: Vec<Extent> = shape
                .iter()
                .map(|&(gap, len)| {
                    let range = ByteRange::new(at + gap, len);
                    at = range.end();
                    Extent { range, location: Location::Inline(bytes::Bytes::from(vec![1; len as usize])) }
                })
                .collect();
            let range = ByteRange::new(range.0, range.1);
            let mut next = range.offset;
            for piece in pieces(&extents, range, piece_bytes) {
                prop_assert_eq!(piece.range.offset, next);
                prop_assert!(!piece.range.is_empty() && piece.range.len <= piece_bytes);
                let inside = extents.iter().any(|extent| extent.range.intersect(piece.range).is_some());
                prop_assert_eq!(inside, piece.location != Location::Hole);
                next = piece.range.end();
            }
            prop_assert_eq!(next, range.end());
        }
    }
}
