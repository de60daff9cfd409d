use super::*;

#[test]
fn modes_of_fallocate() {
    assert_eq!(allocation(0), Some(Allocation { zero: false, grow: true }));
    assert_eq!(allocation(PUNCH_HOLE | KEEP_SIZE), Some(Allocation { zero: true, grow: false }));
    assert_eq!(allocation(ZERO_RANGE), Some(Allocation { zero: true, grow: true }));
    assert_eq!(allocation(ZERO_RANGE | KEEP_SIZE), Some(Allocation { zero: true, grow: false }));
    for mode in [KEEP_SIZE, PUNCH_HOLE, nix::libc::FALLOC_FL_COLLAPSE_RANGE, nix::libc::FALLOC_FL_INSERT_RANGE] {
        assert_eq!(allocation(mode), None);
    }
}
