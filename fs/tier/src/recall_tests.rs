use bytes::Bytes;
use forebay_types::TierId;
use proptest::prelude::*;

use super::*;

/// Extents end to end: (kind, length, gap in the object before it).
fn extents(shape: &[(u8, u64, u64)]) -> Vec<Extent> {
    let (mut at, mut object_at) = (0, 0);
    let mut out = Vec::new();
    for &(kind, len, gap) in shape {
        object_at += gap;
        let location = match kind {
            0 => Location::Hole,
            1 => Location::Inline(Bytes::from(vec![1; len as usize])),
            key => Location::Object(ObjectRef {
                tier: TierId(1),
                key: format!("k{}", key % 2),
                etag: "e".into(),
                object_bytes: u64::MAX,
                offset: object_at,
            }),
        };
        out.push(Extent { range: ByteRange::new(at, len), location });
        (at, object_at) = (at + len, object_at + len);
    }
    out
}

#[test]
fn parts_are_whole_stripes() {
    let mib = 1 << 20;
    assert_eq!(part_bytes(Geometry { data: 4, parity: 2 }), 4 * mib);
    assert_eq!(part_bytes(Geometry { data: 3, parity: 2 }), 5 * 3 * mib / 4);
    assert_eq!(part_bytes(Geometry { data: 32, parity: 2 }), 8 * mib);
    let parts = plan(&extents(&[(2, 10, 0)]), 4);
    assert_eq!(parts.iter().map(|p| (p.range.offset, p.range.len)).collect::<Vec<_>>(), [(0, 4), (4, 4), (8, 2)]);
    assert_eq!(parts[2].object_range(), ByteRange::new(8, 2));
}

#[test]
fn neighbours_of_one_object_are_one_part_and_others_are_not() {
    let parts = plan(&extents(&[(2, 5, 0), (2, 5, 0), (2, 5, 1), (3, 5, 0), (0, 5, 0), (3, 5, 0), (1, 5, 0)]), 100);
    let ranges: Vec<_> = parts.iter().map(|p| (p.range.offset, p.range.len, p.expect.len())).collect();
    assert_eq!(ranges, [(0, 10, 2), (10, 5, 1), (15, 5, 1), (25, 5, 1)]);
}

proptest! {
    #[test]
    fn parts_cover_exactly_the_cold_bytes(
        shape in prop::collection::vec((0u8..4, 1u64..40, 0u64..2), 0..20),
        part_bytes in 1u64..50,
    ) {
        let extents = extents(&shape);
        let parts = plan(&extents, part_bytes);
        let mut at = 0;
        for part in &parts {
            prop_assert!(part.range.offset >= at && part.range.len <= part_bytes && !part.range.is_empty());
            at = part.range.end();
            // The extents expected cover the part without gap and are what the map says.
            let mut next = part.range.offset;
            for extent in &part.expect {
                prop_assert_eq!(extent.range.offset, next);
                prop_assert!(extents.iter().any(|all| all.clip(extent.range).as_ref() == Some(extent)));
                let Location::Object(object) = &extent.location else { panic!("hot bytes recalled") };
                prop_assert_eq!(object.offset - part.object.offset, next - part.range.offset);
                prop_assert_eq!(&object.key, &part.object.key);
                next = extent.range.end();
            }
            prop_assert_eq!(next, part.range.end());
        }
        prop_assert_eq!(parts.iter().map(|part| part.range.len).sum::<u64>(), cold_bytes(&extents));
    }
}
