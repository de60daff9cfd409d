use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn chunks_are_the_smallest_that_hold_the_data(k in 1u8..=32, n in 1usize..=32 * limits::CHUNK_MAX_BYTES) {
        let geometry = Geometry { data: k, parity: 2 };
        match StripeLayout::for_data(geometry, n) {
            Ok(layout) => {
                prop_assert!(layout.data_bytes() as usize >= n);
                prop_assert!(usize::from(k) * (layout.chunk_bytes as usize - limits::BLOCK_BYTES) < n);
                prop_assert_eq!(StripeLayout::new(geometry, layout.chunk_bytes), Ok(layout));
            }
            Err(_) => prop_assert!(n > usize::from(k) * limits::CHUNK_MAX_BYTES),
        }
    }

    #[test]
    fn pieces_cover_the_range_exactly_once(k in 1u8..=16, blocks in 1u32..=64, offset in 0u32..5_000_000, len in 0u32..5_000_000) {
        let layout = StripeLayout::new(Geometry { data: k, parity: 1 }, blocks * limits::BLOCK_BYTES as u32).unwrap();
        let end = (offset + len).min(layout.data_bytes());
        let mut at = offset;
        for piece in layout.pieces(offset, len) {
            prop_assert_eq!(piece.stripe_offset, at);
            prop_assert_eq!(u32::from(piece.index) * layout.chunk_bytes + piece.bytes.start, at);
            prop_assert!(piece.bytes.start < piece.bytes.end && piece.bytes.end <= layout.chunk_bytes);
            let block = limits::BLOCK_BYTES as u32;
            prop_assert!(piece.blocks.start * block <= piece.bytes.start && piece.bytes.start < (piece.blocks.start + 1) * block);
            prop_assert!(piece.bytes.end <= piece.blocks.end * block && (piece.blocks.end - 1) * block < piece.bytes.end);
            prop_assert_eq!(piece.within_blocks().len(), piece.bytes.len());
            at += piece.bytes.len() as u32;
        }
        prop_assert_eq!(at, end.max(offset));
    }
}

#[test]
fn sizes_no_stripe_has_are_refused() {
    let geometry = Geometry { data: 4, parity: 2 };
    assert!(StripeLayout::for_data(geometry, 0).is_err());
    assert!(StripeLayout::for_data(geometry, 4 * limits::CHUNK_MAX_BYTES + 1).unwrap_err().to_string().contains("4+2"));
    for bad in [0, 4095, 4097, limits::CHUNK_MAX_BYTES as u32 + 4096] {
        assert!(StripeLayout::new(geometry, bad).is_err(), "{bad}");
    }
}
