use std::sync::atomic::AtomicUsize;

use super::*;

fn error() -> TierError {
    TierError::Unavailable { url: "u".into(), reason: "r".into() }
}

#[tokio::test]
async fn after_a_failure_no_more_parts_are_begun() {
    let begun = AtomicUsize::new(0);
    let ended = each_part((0..100).collect(), |n: usize| {
        begun.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { if n == 2 { Err(error()) } else { Ok(Moved::Done) } })
    })
    .await;
    assert_eq!(ended, Err(error()));
    assert!(begun.into_inner() <= 2 + PARTS_AT_ONCE);
}

#[tokio::test]
async fn one_part_that_found_another_map_is_enough_to_look_again() {
    let part =
        |n: u32| Box::pin(async move { Ok(if n == 1 { Moved::LookAgain } else { Moved::Done }) }) as BoxFuture<'_, _>;
    assert_eq!(each_part(vec![0, 1, 2], part).await, Ok(Moved::LookAgain));
    assert_eq!(each_part(vec![0, 2], part).await, Ok(Moved::Done));
    assert_eq!(each_part(vec![], part).await, Ok(Moved::Done));
}

#[test]
fn windows_end_with_the_range_and_never_beyond() {
    let range = ByteRange::new(10, WINDOW_BYTES + 5);
    assert_eq!(window(range, 10), ByteRange::new(10, WINDOW_BYTES));
    assert_eq!(window(range, 10 + WINDOW_BYTES), ByteRange::new(10 + WINDOW_BYTES, 5));
    assert_eq!(window(ByteRange::between(0, u64::MAX), u64::MAX - 1), ByteRange::new(u64::MAX - 1, 1));
}
