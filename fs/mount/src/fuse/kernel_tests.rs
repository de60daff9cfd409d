use super::*;

#[test]
fn what_is_not_being_written_is_what_lies_between() {
    assert_eq!(gaps(&[]), [(0, None)]);
    assert_eq!(gaps(&[(0, 4096)]), [(4096, None)]);
    assert_eq!(gaps(&[(4096, 8192), (4096, 12288), (16384, 20480)]), [(0, Some(4096)), (12288, Some(16384)), (20480, None)]);
}
