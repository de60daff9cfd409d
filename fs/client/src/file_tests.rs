use forebay_types::FileKind;

use super::*;

fn at(secs: i64) -> Option<Timestamp> {
    Some(Timestamp { secs, nanos: 0 })
}

#[test]
fn a_read_is_told_once_and_where_it_counts() {
    let mut state = FileState { read_at: at(5), ..FileState::default() };
    assert_eq!(state.access_to_tell(None), at(5));
    assert_eq!(state.access_to_tell(None), None, "once");
    state.read_at = at(6);
    let time = |secs| Timestamp { secs, nanos: 0 };
    let mut known = Attr {
        ino: InodeId(1),
        kind: FileKind::Regular,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        size: 0,
        allocated_bytes: 0,
        cold_bytes: 0,
        atime: time(5),
        mtime: time(1),
        ctime: time(1),
        btime: time(1),
        rdev: 0,
        generation: 0,
        version: 1,
        acl: false,
        capability: false,
    };
    assert_eq!(state.access_to_tell(Some(&known)), None, "it was read since it was changed");
    known.mtime = time(6);
    assert_eq!(state.access_to_tell(Some(&known)), at(6));
}
