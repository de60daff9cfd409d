use super::*;

#[test]
fn all_groups_have_to_be_clean() {
    assert!(all_clean("56 pgs: 56 active+clean; 2.1 KiB data, 154 MiB used, 48 GiB / 48 GiB avail\n"));
    assert!(!all_clean("56 pgs: 8 creating+peering, 48 active+clean; 0 B data"));
    assert!(!all_clean("0 pgs: ; 0 B data"));
    assert!(!all_clean(""));
}
