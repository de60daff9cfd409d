use proptest::prelude::*;

use super::*;
use crate::crc;

const GEOMETRIES: [(u8, u8); 8] = [(1, 0), (1, 1), (2, 1), (2, 2), (4, 2), (5, 2), (8, 2), (16, 4)];

fn geometry((data, parity): (u8, u8)) -> Geometry {
    Geometry { data, parity }
}

/// Bytes that depend on `seed` and position, without a period that blocks share.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn stripe(codec: &dyn Codec, geometry: Geometry, seed: u64, bytes: usize) -> Vec<Bytes> {
    let data: Vec<Vec<u8>> = (0..geometry.data).map(|i| noise(seed ^ (u64::from(i) << 32), bytes)).collect();
    let parity = codec.encode(geometry, &data.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    data.into_iter().chain(parity).map(Bytes::from).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_m_erasures_rebuild_byte_exactly(which in 0..GEOMETRIES.len(), blocks in 1usize..4, seed: u64, picks in proptest::collection::vec(any::<u32>(), 4)) {
        let codec = ReedSolomonCodec::new();
        let geometry = geometry(GEOMETRIES[which]);
        let whole = stripe(&codec, geometry, seed, blocks * limits::BLOCK_BYTES);
        let mut lost: Vec<usize> = picks.iter().take(usize::from(geometry.parity)).map(|p| *p as usize % geometry.width()).collect();
        lost.sort_unstable();
        lost.dedup();
        let mut chunks: Vec<Option<Bytes>> = whole.iter().cloned().map(Some).collect();
        for &index in &lost {
            chunks[index] = None;
        }
        codec.reconstruct(geometry, &mut chunks, &lost).unwrap();
        for (index, chunk) in chunks.iter().enumerate() {
            prop_assert_eq!(chunk.as_ref(), Some(&whole[index]), "chunk {} of {}", index, geometry);
        }
    }
}

#[test]
fn every_pair_lost_of_four_and_two_rebuilds() {
    let codec = ReedSolomonCodec::new();
    let geometry = geometry((4, 2));
    let whole = stripe(&codec, geometry, 7, limits::BLOCK_BYTES);
    for a in 0..6 {
        for b in a + 1..6 {
            let mut chunks: Vec<Option<Bytes>> = whole.iter().cloned().map(Some).collect();
            (chunks[a], chunks[b]) = (None, None);
            codec.reconstruct(geometry, &mut chunks, &[b]).unwrap();
            assert_eq!(chunks[b].as_ref(), Some(&whole[b]));
            assert!(chunks[a].is_none(), "only what is wanted is filled in");
        }
    }
}

#[test]
fn parity_bytes_are_part_of_the_format() {
    let codec = ReedSolomonCodec::new();
    let whole = stripe(&codec, geometry((4, 2)), 42, limits::BLOCK_BYTES);
    let got: Vec<u32> = whole[4..].iter().map(|chunk| crc::block_crcs(chunk)[0]).collect();
    assert_eq!(
        got,
        [700_089_248, 3_614_220_565],
        "the matrix changed: stripes written before can no longer be rebuilt"
    );
}

#[test]
fn wrong_input_is_named() {
    let codec = ReedSolomonCodec::new();
    let block = vec![0u8; limits::BLOCK_BYTES];
    let two = vec![0u8; 2 * limits::BLOCK_BYTES];
    let g = geometry((2, 1));
    assert_eq!(codec.encode(g, &[&block]), Err(CodecError::Count { geometry: g, given: 1, wanted: 2 }));
    assert!(matches!(codec.encode(g, &[&block, &two]), Err(CodecError::Length { index: 1, .. })));
    assert_eq!(codec.encode(g, &[&block[1..], &block[1..]]), Err(CodecError::Block { bytes: 4095 }));
    assert!(matches!(codec.encode(geometry((33, 1)), &[]), Err(CodecError::Geometry { .. })));
    let mut chunks = [Some(Bytes::from(block)), None, None];
    assert_eq!(codec.reconstruct(g, &mut chunks, &[1]), Err(CodecError::TooFew { geometry: g, present: 1 }));
    assert_eq!(codec.reconstruct(g, &mut chunks, &[3]), Err(CodecError::Index { geometry: g, index: 3 }));
    assert_eq!(codec.reconstruct(g, &mut chunks, &[0]), Ok(()), "what is present needs no rebuilding");
}
