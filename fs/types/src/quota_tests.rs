use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp { secs, nanos: 0 }
}

fn quota(hard: u64, soft: u64) -> Quota {
    let limits = |bytes| Limits { bytes: Some(bytes), inodes: None };
    Quota { hard: limits(hard), soft: limits(soft), grace_secs: 100 }
}

#[test]
fn a_soft_limit_is_a_hard_one_when_its_grace_is_over() {
    let quota = quota(1000, 500);
    let over = quota.over(Space { bytes: 501, inodes: 9 }, &OverSince::default(), at(7));
    assert_eq!(over, OverSince { bytes: Some(at(7)), inodes: None });
    assert_eq!(quota.in_force(&over, at(106)).bytes, Some(1000));
    assert_eq!(quota.in_force(&over, at(107)).bytes, Some(500));
    assert_eq!(quota.in_force(&over, at(107)).inodes, None);
}

#[test]
fn the_grace_begins_when_the_limit_is_passed_and_ends_when_it_is_not() {
    let quota = quota(1000, 500);
    let over = quota.over(Space { bytes: 501, inodes: 0 }, &OverSince::default(), at(7));
    let still = quota.over(Space { bytes: 600, inodes: 0 }, &over, at(50));
    assert_eq!(still, over);
    assert_eq!(quota.over(Space { bytes: 500, inodes: 0 }, &over, at(50)), OverSince::default());
}

#[test]
fn a_soft_limit_alone_holds_after_its_grace() {
    let quota = Quota { hard: Limits::default(), soft: Limits { bytes: None, inodes: Some(3) }, grace_secs: 0 };
    let over = quota.over(Space { bytes: 1 << 40, inodes: 4 }, &OverSince::default(), at(7));
    assert_eq!(quota.in_force(&over, at(7)), Limits { bytes: None, inodes: Some(3) });
}
