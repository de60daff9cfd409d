#[test]
fn a_hold_is_found_among_other_attributes() {
    let names: [&[u8]; 3] = [b"user.a", b"trusted.forebay.hold.job-7", b"trusted.forebay.hold.job-12"];
    assert_eq!(super::holder(names), Some("job-12".to_owned()));
    assert_eq!(super::holder([&b"trusted.forebay.origin"[..]]), None);
}
