use forebay_types::{InodeId, Timestamp};

use super::*;

#[test]
fn a_file_is_the_prefix_and_a_directory_is_below_it() {
    let dir = Keys::new(FileKind::Directory, "out/7/");
    assert_eq!((dir.file("a/b"), dir.beside("_manifest")), ("out/7/a/b".into(), "out/7/_manifest".into()));
    assert_eq!(dir.shown("a/b"), "a/b");
    let file = Keys::new(FileKind::Regular, "out/7/m.json");
    assert_eq!((file.file(""), file.beside("_manifest")), ("out/7/m.json".into(), "out/7/_manifest".into()));
    assert_eq!(file.shown(""), "m.json");
    assert_eq!(Keys::new(FileKind::Directory, "").file("a"), "a");
}

#[test]
fn reading_goes_by_the_first_class_that_fits() {
    let time = Timestamp::default();
    let attr = |mode| Attr {
        ino: InodeId(1024),
        kind: FileKind::Regular,
        mode,
        nlink: 1,
        uid: 10,
        gid: 20,
        size: 0,
        allocated_bytes: 0,
        cold_bytes: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        rdev: 0,
        generation: 0,
        version: 1,
        acl: false,
        capability: false,
    };
    let user = |uid, gid, groups: &[u32]| TierUser { uid, gid, groups: groups.to_vec() };
    assert!(may_read(&attr(0), None) && may_read(&attr(0), Some(&user(0, 0, &[]))));
    assert!(may_read(&attr(0o400), Some(&user(10, 1, &[]))) && !may_read(&attr(0o044), Some(&user(10, 1, &[]))));
    assert!(may_read(&attr(0o040), Some(&user(1, 1, &[20]))) && !may_read(&attr(0o404), Some(&user(1, 20, &[]))));
    assert!(may_read(&attr(0o004), Some(&user(1, 1, &[]))) && !may_read(&attr(0o440), Some(&user(1, 1, &[]))));
}

#[test]
fn a_digest_does_not_depend_on_how_the_bytes_came() {
    let (mut one, mut two) = (Digest::default(), Digest::default());
    one.update(b"abc");
    two.update(b"a");
    two.update(b"bc");
    assert_eq!(one.text(), two.text());
    assert_eq!(Digest::default().text(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}
