use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn clip_keeps_every_byte_where_it_was(data in proptest::collection::vec(any::<u8>(), 1..200), at in 0u64..1000, from in 0u64..1300, len in 0u64..300) {
        let whole = Extent { range: ByteRange::new(at, data.len() as u64), location: Location::Inline(data.clone().into()) };
        let wanted = ByteRange::new(from, len);
        match whole.clip(wanted) {
            None => prop_assert!(whole.range.intersect(wanted).is_none()),
            Some(Extent { range, location: Location::Inline(bytes) }) => {
                prop_assert_eq!(Some(range), whole.range.intersect(wanted));
                prop_assert_eq!(&bytes[..], &data[(range.offset - at) as usize..(range.end() - at) as usize]);
            }
            Some(other) => prop_assert!(false, "changed kind: {other:?}"),
        }
    }

    #[test]
    fn ranges_never_wrap(offset: u64, len: u64) {
        let range = ByteRange::new(offset, len);
        prop_assert!(range.end() >= range.offset);
    }
}
