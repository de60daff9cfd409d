use super::*;

#[test]
fn mountinfo_lines_are_read_with_optional_fields_and_spaces() {
    let line = "36 35 98:0 /mnt1 /mnt/my\\040disk rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
    let (point, kind, source) = mount_fields(line).expect("a valid line");
    assert_eq!((point.as_path(), kind.as_str(), source.as_str()), (Path::new("/mnt/my disk"), "ext3", "/dev/root"));
    assert!(mount_fields("garbage").is_none());
}
