use forebay_types::{ByteRange, FileKind, InodeId};

use super::*;

fn attr(size: u64, version: u64) -> Attr {
    let time = forebay_types::Timestamp::default();
    Attr {
        ino: InodeId(1024),
        kind: FileKind::Regular,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        size,
        allocated_bytes: size,
        cold_bytes: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        rdev: 0,
        generation: 0,
        version,
        acl: false,
        capability: false,
    }
}

fn cold(offset: u64, len: u64, object_offset: u64, etag: &str, object_bytes: u64) -> Extent {
    let object = ObjectRef { tier: TierId(1), key: "k".into(), etag: etag.into(), object_bytes, offset: object_offset };
    Extent { range: ByteRange::new(offset, len), location: Location::Object(object) }
}

#[test]
fn only_a_file_that_is_one_whole_object_has_a_cold_origin() {
    let origin = Origin::of_cold(&attr(10, 7), &[cold(0, 4, 0, "e", 10), cold(4, 6, 4, "e", 10)]).unwrap();
    assert_eq!((origin.size, origin.version, origin.etag.as_str()), (10, 7, "e"));
    assert_eq!(origin.location(4), cold(4, 6, 4, "e", 10).location);
    for not in [
        vec![],
        vec![cold(0, 4, 0, "e", 10)],
        vec![cold(0, 4, 0, "e", 10), cold(4, 6, 4, "f", 10)],
        vec![cold(0, 10, 1, "e", 11)],
        vec![cold(0, 10, 0, "e", 11)],
        vec![cold(1, 9, 1, "e", 10)],
    ] {
        assert_eq!(Origin::of_cold(&attr(10, 7), &not), None, "{not:?}");
    }
}

#[test]
fn a_record_is_left_only_where_nobody_else_changed_the_file() {
    let origin = Origin::of_cold(&attr(10, 7), &[cold(0, 10, 0, "e", 10)]).unwrap();
    let mut tracked = Tracked::new(origin);
    assert_eq!(tracked.record(), None, "nothing to record");
    [9, 8, 10].into_iter().for_each(|version| tracked.exchanged(version));
    assert!(tracked.is_at(10) && !tracked.is_at(11));
    let left = tracked.record().unwrap();
    assert!(left.holds_for(&attr(10, 11)) && !left.holds_for(&attr(10, 12)) && !left.holds_for(&attr(9, 11)));
    tracked.exchanged(12);
    assert_eq!(tracked.record(), None, "somebody else made version 11");
    assert_eq!(Origin::decode(&left.encode()), Some(left));
    assert_eq!(Origin::decode(b"{}"), None);
}

#[test]
fn golden_origin() {
    let origin = Origin { tier: TierId(2), key: "a/b".into(), etag: "\"x\"".into(), size: 5, version: 9 };
    let text = r#"{"tier":2,"key":"a/b","etag":"\"x\"","size":5,"version":9}"#;
    assert_eq!(String::from_utf8(origin.encode()).unwrap(), text);
}
