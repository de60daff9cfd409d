use super::*;

#[test]
fn waits_double_up_to_the_longest() {
    let mut backoff = Backoff::default();
    let waits: Vec<u64> = (0..100).map(|_| backoff.failed()).collect();
    assert_eq!(waits[..8], [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000]);
    assert!(waits[8..].iter().all(|wait| *wait == LONGEST_MS));
}
