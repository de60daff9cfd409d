use super::*;

#[test]
fn modes_of_fallocate() {
    let allocate = |zero, keep_size| Some(Allocation { zero, keep_size });
    assert_eq!(allocation(0), allocate(false, false));
    assert_eq!(allocation(KEEP_SIZE), allocate(false, true));
    assert_eq!(allocation(PUNCH_HOLE | KEEP_SIZE), allocate(true, true));
    assert_eq!(allocation(ZERO_RANGE), allocate(true, false));
    assert_eq!(allocation(ZERO_RANGE | KEEP_SIZE), allocate(true, true));
    for mode in [PUNCH_HOLE, nix::libc::FALLOC_FL_COLLAPSE_RANGE, nix::libc::FALLOC_FL_INSERT_RANGE] {
        assert_eq!(allocation(mode), None);
    }
}
