use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_hiccup_is_one_second_s_and_old_ones_count_no_more() {
    let mut recent = Recent::default();
    assert_eq!(recent.median(0), None);
    for second in 0..10 {
        (0..100).for_each(|_| recent.add(second, millis(2)));
    }
    recent.add(9, millis(900));
    assert_eq!(recent.median(9), Some(2_000));
    (10..15).for_each(|second| recent.add(second, millis(3)));
    assert_eq!(recent.median(15), Some(3_000), "four of 2 ms, five of 3, one of 900");
    assert_eq!(recent.median(60), None);
    recent.add(70, Duration::ZERO);
    assert_eq!(recent.median(70), Some(1), "0 would say that there was none");
}

/// Found by the test of a slow host: what is stopped for three quarters of the time answers nearly everything at once.
#[test]
fn one_that_is_held_up_again_and_again_is_slow_although_most_is_quick() {
    let mut recent = Recent::default();
    for second in 0..10 {
        for _ in 0..5 {
            recent.add(second, millis(140));
            (0..40).for_each(|_| recent.add(second, millis(1)));
        }
    }
    assert_eq!(recent.median(9), Some(140_000));
}
