use super::*;

fn run(at: u64, pieces: &[usize]) -> Run {
    Run { file_offset: at, pieces: pieces.iter().map(|len| Bytes::from(vec![at as u8; *len])).collect() }
}

#[test]
fn split_cuts_within_a_piece_and_keeps_file_offsets() {
    let (now, later) = split(vec![run(0, &[10]), run(100, &[5, 5]), run(200, &[3])], 17);
    let shape = |runs: &[Run]| runs.iter().map(|r| (r.file_offset, r.len())).collect::<Vec<_>>();
    assert_eq!(shape(&now), [(0, 10), (100, 7)]);
    assert_eq!(shape(&later), [(107, 3), (200, 3)]);
    let (now, later) = split(vec![run(0, &[4])], 4);
    assert_eq!((shape(&now), shape(&later)), (vec![(0, 4)], vec![]));
}

#[test]
fn a_stripe_is_its_runs_end_to_end_and_zeros() {
    let geometry = Geometry { data: 2, parity: 1 };
    let runs = [run(7, &[3000, 2000]), run(9000, &[1])];
    let (layout, data) = lay_out(geometry, &runs).unwrap();
    assert_eq!((layout.chunk_bytes, data.len()), (4096, 8192));
    assert!(data[..5000].iter().all(|b| *b == 7) && data[5001..].iter().all(|b| *b == 0));
    let at = StripeRef { stripe: forebay_types::StripeId(1), geometry, chunk_bytes: 4096, offset: 0 };
    let extents = stripe_extents(&runs, at);
    assert_eq!(extents[1].range, ByteRange::new(9000, 1));
    assert_eq!(extents[1].location, Location::Stripe(StripeRef { offset: 5000, ..at }));
}
