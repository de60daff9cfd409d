use proptest::prelude::*;

use super::*;

#[test]
fn is_the_castagnoli_crc() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_flipped_bit_is_found_in_its_block(blocks in 1usize..8, fill: u8, at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = vec![fill; blocks * BLOCK_BYTES];
        let crcs = block_crcs(&bytes);
        prop_assert_eq!(verify(&bytes, &crcs), Ok(()));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(verify(&bytes, &crcs), Err(Mismatch { block: (at / BLOCK_BYTES) as u32 }));
    }
}

#[test]
fn a_missing_or_left_over_crc_is_a_mismatch() {
    let bytes = vec![1u8; 2 * BLOCK_BYTES];
    let crcs = block_crcs(&bytes);
    assert_eq!(verify(&bytes, &crcs[..1]), Err(Mismatch { block: 1 }));
    assert_eq!(verify(&bytes[..BLOCK_BYTES], &crcs), Err(Mismatch { block: 1 }));
}
