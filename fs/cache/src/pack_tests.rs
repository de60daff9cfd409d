use proptest::prelude::*;

use super::*;

fn runs(packed: &[Packed]) -> Vec<&Run> {
    packed
        .iter()
        .flat_map(|part| match part {
            Packed::Inline(runs) | Packed::Stripe(runs) => runs,
        })
        .collect()
}

proptest! {
    #[test]
    fn every_byte_goes_out_once(
        writes in proptest::collection::vec((0u64..100_000, 1usize..9_000, any::<u8>()), 1..20),
        stripe in 1usize..40_000
    ) {
        let mut buffer = WriteBuffer::default();
        for (at, len, fill) in writes {
            buffer.write(at, vec![fill; len].into());
        }
        let packed = pack(&buffer, stripe);
        let mut copy = WriteBuffer::default();
        for run in runs(&packed) {
            copy.write(run.file_offset, run.pieces.concat().into());
        }
        prop_assert_eq!(copy.bytes(), buffer.bytes());
        prop_assert_eq!(runs(&packed).iter().map(|run| run.len()).sum::<u64>(), buffer.bytes());
        let mut whole = vec![0; buffer.end() as usize];
        let mut again = whole.clone();
        buffer.read(0, &mut whole);
        copy.read(0, &mut again);
        prop_assert!(whole == again);
        let inline = buffer.bytes() <= limits::INLINE_MAX as u64;
        for part in &packed {
            match part {
                Packed::Inline(_) => prop_assert!(inline && packed.len() == 1),
                Packed::Stripe(runs) => {
                    prop_assert!(!inline);
                    prop_assert!(runs.iter().map(Run::len).sum::<u64>() <= stripe as u64);
                }
            }
        }
    }
}

#[test]
fn neighbours_are_one_run() {
    let mut buffer = WriteBuffer::default();
    buffer.write(10, Bytes::from_static(b"ab"));
    buffer.write(12, Bytes::from_static(b"cd"));
    let Packed::Inline(runs) = &pack(&buffer, 4096)[0] else { panic!() };
    assert_eq!((runs.len(), runs[0].file_offset, runs[0].len()), (1, 10, 4));
}
