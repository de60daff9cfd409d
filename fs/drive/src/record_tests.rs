use forebay_types::{PgId, ShardId};
use proptest::prelude::*;

use super::*;

fn key(n: u64) -> ChunkKey {
    (StripeId::new(PgId(3), ShardId(5), LifetimeClass::Dataset, n), 2)
}

fn record(kind: RecordKind) -> Record {
    Record { segment: 9, offset: 8192, generation: 11, sequence: 13, durable: 12, kind }
}

fn chunk(blocks: usize) -> RecordKind {
    let crcs = (0..blocks as u32).map(|n| 0x0101_0101 * (n + 1)).collect();
    RecordKind::Chunk(Chunk { key: key(1), geometry: Geometry { data: 4, parity: 2 }, epoch: Epoch(6), crcs })
}

#[test]
fn a_chunk_header_has_the_bytes_of_version_one() {
    let block = record(chunk(2)).encode();
    let mut want = b"FBRC\x01\0\x01\0".to_vec();
    want.extend([9, 0, 0, 0, 0, 0x20, 0, 0]);
    want.extend([11, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0]);
    want.extend([0, 0, 0, 3, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 0]);
    want.extend([0, 0x20, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    want.extend([1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(&block[..want.len()], want);
    assert!(block[want.len()..CRC_AT].iter().all(|byte| *byte == 0));
    assert_eq!(block[CRC_AT..], crc32c(&block[..CRC_AT]).to_le_bytes());
}

#[test]
fn tombstones_and_marks_have_the_bytes_of_version_one() {
    let block = record(RecordKind::Tombstones(vec![Tombstone { key: key(1), bound: 14 }])).encode();
    assert_eq!(block[6], 2);
    assert_eq!(block[40..76], [[0; 32].as_slice(), &[1, 0, 0, 0]].concat());
    assert_eq!(block[76..101], [0, 0, 0, 3, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 14, 0, 0, 0, 0, 0, 0, 0]);
    let block = record(RecordKind::Mark { skip_bytes: 4096 }).encode();
    assert_eq!((block[6], &block[60..64]), (3, [0, 0x10, 0, 0].as_slice()));
}

#[test]
fn a_segment_header_has_the_bytes_of_version_one_twice() {
    let used = SegmentUse::Used(Stream::Tombstones);
    let header = SegmentHeader { segment: 2, used, generation: 5, durable: 4, drive: Uuid([0xdd; 16]) };
    let bytes = header.encode();
    let mut want = b"FBSG\x01\0\x01\x03\x02\0\0\0\0\0\0\0".to_vec();
    want.extend([5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    want.extend([0xdd; 16]);
    assert_eq!(&bytes[..want.len()], want);
    assert_eq!(bytes[..BLOCK], bytes[BLOCK..]);
    assert_eq!(SegmentHeader::decode(&bytes[..BLOCK]), Ok(header));
}

#[test]
fn the_fullest_records_fit_their_block() {
    let entries = (0..TOMBSTONES_MAX as u64).map(|n| Tombstone { key: key(n), bound: n }).collect();
    for kind in [RecordKind::Tombstones(entries), chunk(BLOCKS_MAX), RecordKind::Mark { skip_bytes: 0 }] {
        let record = record(kind);
        let block = record.encode();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(Record::decode(&block), Ok(record));
    }
}

#[test]
fn another_version_is_refused_by_number() {
    let mut block = record(chunk(1)).encode();
    block[4] = 2;
    let crc = crc32c(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Record::decode(&block), Err(FormatError::Version { found: 2 }));
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic_and_no_flip_goes_unseen(blocks in 1usize..=BLOCKS_MAX, at in 0..BLOCK, bit in 0u8..8) {
        let mut block = record(chunk(blocks)).encode();
        block[at] ^= 1 << bit;
        prop_assert!(Record::decode(&block).is_err());
    }

    #[test]
    fn fields_out_of_range_are_errors(fill in proptest::collection::vec(any::<u8>(), 90)) {
        let mut block = vec![0; CRC_AT];
        block[..4].copy_from_slice(&RECORD_MAGIC);
        block[4] = 1;
        block[6..96].copy_from_slice(&fill);
        block.extend(crc32c(&block).to_le_bytes());
        let _ = Record::decode(&block);
    }
}
