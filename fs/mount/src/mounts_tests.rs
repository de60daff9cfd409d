use super::*;

#[test]
fn a_line_of_mountinfo() {
    let line = br"36 35 0:57 / /mnt/for\040ebay rw,noatime shared:1 master:2 - fuse.forebay s1,s2/scratch rw,user_id=0";
    let expected = MountEntry {
        device: "0:57".into(),
        mountpoint: "/mnt/for ebay".into(),
        fstype: "fuse.forebay".into(),
        source: "s1,s2/scratch".into(),
    };
    assert_eq!(parse(line), Some(expected));
    let bare = parse(b"22 1 0:20 / /proc rw - proc proc rw").unwrap();
    assert_eq!((bare.fstype.as_str(), bare.source.as_str()), ("proc", "proc"));
    assert_eq!(parse(b""), None);
    assert_eq!(parse(b"1 2 3"), None);
}

#[test]
fn escapes_are_undone() {
    assert_eq!(unescape(br"a\040b\134c\011"), b"a b\\c\t");
    assert_eq!(unescape(br"a\04"), br"a\04");
    assert_eq!(unescape(br"\9\"), br"\9\");
}

#[test]
fn this_machine_has_a_proc() {
    assert_eq!(at(Path::new("/proc")).unwrap().unwrap().fstype, "proc");
    assert_eq!(at(Path::new("/no/such/directory")).unwrap(), None);
}
