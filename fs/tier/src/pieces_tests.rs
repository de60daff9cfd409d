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
