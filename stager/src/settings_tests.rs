use super::read_offset;

#[test]
fn offsets_are_read() {
    assert_eq!(read_offset("+0000\n"), Some(0));
    assert_eq!(read_offset("+0530"), Some(19_800));
    assert_eq!(read_offset("-0800"), Some(-28_800));
    assert_eq!(read_offset("UTC"), None);
}
