use forebay_types::{InodeId, Timestamp};

use super::*;

fn attr(kind: FileKind, size: u64) -> Attr {
    let time = Timestamp::default();
    Attr {
        ino: InodeId(1024),
        kind,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        size,
        allocated_bytes: size,
        cold_bytes: size,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        rdev: 0,
        generation: 0,
        version: 1,
        acl: false,
        capability: false,
    }
}

#[test]
fn directories_get_execute_where_files_have_read() {
    for (file, directory) in [(0o640, 0o750), (0o444, 0o555), (0o600, 0o700), (0o4755, 0o755), (0o200, 0o200)] {
        assert_eq!(directory_mode(file), directory, "{file:o}");
    }
}

#[test]
fn selection_takes_what_is_included_and_not_excluded() {
    let selection = |include: &[&str], exclude: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Selection::parse(&own(include), &own(exclude))
    };
    let all = selection(&[], &["*.tmp"]).unwrap();
    assert!(all.takes("a/b") && !all.takes("a/b.tmp"));
    let some = selection(&["a/**", "*.txt"], &["a/secret/"]).unwrap();
    assert!(some.takes("a/b") && some.takes("x/y.txt") && !some.takes("x/y") && !some.takes("a/secret/b"));
    assert!(matches!(selection(&["["], &[]), Err(TierError::Invalid { .. })));
    assert!(matches!(selection(&["x"; 65], &[]), Err(TierError::Invalid { .. })));
}

#[test]
fn existing_tells_the_same_object_from_others() {
    let tier = TierId(3);
    let wanted = (tier, "k", "e", 10);
    let file = attr(FileKind::Regular, 10);
    let cold = |key: &str, etag: &str| extents(tier, key, etag, 10);
    let origin = |etag: &str| Origin { tier, key: "k".into(), etag: etag.into(), size: 10, version: 4 };
    assert_eq!(existing(&file, &cold("k", "e"), None, wanted), Existing::Same);
    assert_eq!(existing(&file, &cold("k", "f"), None, wanted), Existing::Changed("f".into()));
    assert_eq!(existing(&file, &cold("other", "e"), None, wanted), Existing::Foreign);
    assert_eq!(existing(&file, &[], Some(&origin("e")), wanted), Existing::Same);
    assert_eq!(existing(&file, &[], Some(&origin("f")), wanted), Existing::Changed("f".into()));
    assert_eq!(existing(&file, &[], None, wanted), Existing::Foreign);
    assert_eq!(existing(&attr(FileKind::Directory, 0), &[], None, wanted), Existing::Directory);
    assert_eq!(existing(&attr(FileKind::Symlink, 3), &[], None, wanted), Existing::Foreign);
    assert_eq!(existing(&attr(FileKind::Regular, 0), &[], None, (tier, "k", "e", 0)), Existing::Same);
    assert!(extents(tier, "k", "e", 0).is_empty());
}
