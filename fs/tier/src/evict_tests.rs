use bytes::Bytes;
use forebay_types::{Geometry, ObjectRef, StripeId, StripeRef, TierId};
use proptest::prelude::*;

use super::*;

fn extents(shape: &[(u8, u64)]) -> Vec<Extent> {
    let mut at = 0;
    let mut out = Vec::new();
    for &(kind, len) in shape {
        let location = match kind {
            0 => Location::Hole,
            1 => Location::Inline(Bytes::from(vec![1; len as usize])),
            2 => Location::Object(ObjectRef {
                tier: TierId(1),
                key: "k".into(),
                etag: "e".into(),
                object_bytes: u64::MAX,
                offset: at,
            }),
            _ => Location::Stripe(StripeRef {
                stripe: StripeId(u128::from(at)),
                geometry: Geometry { data: 4, parity: 2 },
                chunk_bytes: 4096,
                offset: 0,
            }),
        };
        out.push(Extent { range: ByteRange::new(at, len), location });
        at += len;
    }
    out
}

#[test]
fn parts_end_where_an_object_would_be_too_large() {
    let parts = plan(&extents(&[(3, OBJECT_MAX_BYTES - 1), (3, 2), (0, 5), (1, 5), (2, 5), (3, 1)]));
    let shape: Vec<_> = parts.iter().map(|part| (part.range.offset, part.range.len)).collect();
    let end = OBJECT_MAX_BYTES + 1;
    assert_eq!(shape, [(0, OBJECT_MAX_BYTES - 1), (OBJECT_MAX_BYTES - 1, 2), (end + 5, 5), (end + 15, 1)]);
    assert_eq!(plan(&extents(&[(3, 2 * OBJECT_MAX_BYTES + 1)])).len(), 3);
    assert!(plan(&extents(&vec![(3, 1); 5000])).len() >= 5);
    assert!(plan(&extents(&vec![(1, 16 << 10); 100])).len() >= 2, "an exchange has to fit a message");
}

proptest! {
    #[test]
    fn parts_cover_exactly_the_hot_bytes(shape in prop::collection::vec((0u8..4, 1u64..40), 0..30)) {
        let extents = extents(&shape);
        let parts = plan(&extents);
        let mut at = 0;
        for part in &parts {
            prop_assert!(part.range.offset >= at && part.range.len <= OBJECT_MAX_BYTES);
            let mut next = part.range.offset;
            for extent in &part.expect {
                prop_assert_eq!(extent.range.offset, next);
                prop_assert!(matches!(extent.location, Location::Inline(_) | Location::Stripe(_)));
                prop_assert!(extents.iter().any(|all| all.clip(extent.range).as_ref() == Some(extent)));
                next = extent.range.end();
            }
            prop_assert_eq!(next, part.range.end());
            at = next;
        }
        prop_assert_eq!(parts.iter().map(|part| part.range.len).sum::<u64>(), hot_bytes(&extents));
    }
}
