//! Files without names, files that share bytes, and times of access.

use bytes::Bytes;
use forebay_types::{ByteRange, Cred, Errno, FileKind, InodeId, Location, NewMode, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{MetaReply, MutateOp, ReadOp, RenameHow, SetAttr, SetTime, XattrWhen};

use super::bytes::{allocate, commit, extent, receipts, stripe_at};
use super::world::{World, entry};

const S0: ShardId = ShardId(0);
const ROOT: Cred = Cred::ROOT;

fn tmpfile(world: &mut World, parent: InodeId, linkable: bool) -> InodeId {
    let mode = NewMode { mode: 0o666, umask: 0o022 };
    entry(&world.ok(&ROOT, parent.shard(), MutateOp::Tmpfile { parent, mode, linkable }))
}

fn link(ino: InodeId, parent: InodeId, name: &str) -> MutateOp {
    MutateOp::Link { ino, parent, name: Bytes::copy_from_slice(name.as_bytes()) }
}

#[test]
fn a_file_without_a_name_goes_with_its_last_close() {
    let mut world = World::new(1, 1);
    let ino = tmpfile(&mut world, InodeId::ROOT, false);
    world.settle();
    assert_eq!((world.attr(ino).nlink, world.attr(ino).mode), (0, 0o644));
    assert_eq!(world.errno(&ROOT, S0, link(ino, InodeId::ROOT, "f")), Some(Errno::NoEntry));
    world.ok(&ROOT, S0, commit(ino, vec![extent(0, 3, Location::Inline("abc".into()))], Vec::new()));
    world.check();
    world.read(&ROOT, S0, &ReadOp::Close { ino }).unwrap();
    world.reap(S0);
    world.settle();
    assert_eq!(world.read(&ROOT, S0, &ReadOp::GetAttr { ino }), Err(Errno::NoEntry));
    world.check();
}

#[test]
fn a_file_without_a_name_goes_with_its_session() {
    let mut world = World::new(1, 1);
    let ino = tmpfile(&mut world, InodeId::ROOT, true);
    world.ok(&ROOT, S0, MutateOp::EndSession { session: SessionId(7) });
    world.settle();
    assert!(world.hosts[0].shard.orphans(None, 10).unwrap().is_empty());
    assert_eq!(world.read(&ROOT, S0, &ReadOp::GetAttr { ino }), Err(Errno::NoEntry));
    world.check();
}

#[test]
fn a_file_made_without_a_name_can_be_given_one_once() {
    for shards in [1, 5] {
        let mut world = World::new(shards, 3);
        let elsewhere = world.mkdir(&ROOT, InodeId::ROOT, "d", 0o755);
        let ino = tmpfile(&mut world, InodeId::ROOT, true);
        world.ok(&ROOT, elsewhere.shard(), link(ino, elsewhere, "f"));
        world.settle();
        assert_eq!(world.attr(ino).nlink, 1);
        assert!(world.hosts[usize::from(ino.shard().0)].shard.orphans(None, 10).unwrap().is_empty());
        world.ok(&ROOT, elsewhere.shard(), MutateOp::Unlink { parent: elsewhere, name: "f".into() });
        world.settle();
        assert_eq!(world.errno(&ROOT, elsewhere.shard(), link(ino, elsewhere, "g")), Some(Errno::NoEntry));
        world.check();
    }
}

#[test]
fn bytes_shared_by_two_files_live_until_both_are_gone() {
    let mut world = World::new(1, 1);
    let (a, b) = (world.create(&ROOT, InodeId::ROOT, "a", 0o644), world.create(&ROOT, InodeId::ROOT, "b", 0o4755));
    let stripe = allocate(&mut world, 1)[0];
    world.ok(&ROOT, S0, commit(a, vec![extent(0, 5000, stripe_at(stripe, 0))], receipts(stripe, 3)));
    let copy = |from, to, to_offset| MutateOp::CopyRange {
        from,
        range: ByteRange::new(1000, 9000),
        to,
        to_offset,
        drop_privileges: true,
    };
    let reply = world.ok(&ROOT, S0, copy(a, b, 100));
    let MetaReply::Copied { bytes, attr } = reply else { panic!("{reply:?}") };
    assert_eq!((bytes, attr.size, attr.mode), (4000, 4100, 0o755));
    let later = Timestamp { secs: world.now.secs + 100, nanos: 0 };
    for (name, garbage) in [("a", vec![]), ("b", vec![stripe])] {
        world.ok(&ROOT, S0, MutateOp::Unlink { parent: InodeId::ROOT, name: name.into() });
        world.settle();
        assert_eq!(world.hosts[0].shard.garbage(later, 10).unwrap(), garbage, "after {name}");
        world.check();
    }
}

#[test]
fn bytes_are_shared_by_those_who_may_read_one_and_write_the_other() {
    let mut world = World::new(1, 1);
    let (a, b) = (world.create(&ROOT, InodeId::ROOT, "a", 0o640), world.create(&ROOT, InodeId::ROOT, "b", 0o666));
    world.ok(&ROOT, S0, commit(a, vec![extent(0, 3, Location::Inline("abc".into()))], Vec::new()));
    let copy =
        |from, to| MutateOp::CopyRange { from, range: ByteRange::new(0, 3), to, to_offset: 0, drop_privileges: false };
    let other = Cred { uid: 5, gid: 5, groups: vec![] };
    assert_eq!(world.errno(&other, S0, copy(a, b)), Some(Errno::Access));
    assert_eq!(world.errno(&other, S0, copy(b, a)), Some(Errno::Access));
    let dir = world.mkdir(&ROOT, InodeId::ROOT, "d", 0o755);
    assert_eq!(world.errno(&ROOT, S0, copy(dir, b)), Some(Errno::IsDirectory));
    assert_eq!(world.errno(&ROOT, S0, copy(a, dir)), Some(Errno::IsDirectory));
}

#[test]
fn a_read_sets_the_time_of_access_once_after_each_change() {
    let mut world = World::new(1, 1);
    let ino = world.create(&ROOT, InodeId::ROOT, "f", 0o644);
    let accessed = |at| MutateOp::Accessed { ino, at };
    let at = |secs: i64| Timestamp { secs, nanos: 0 };
    let made = world.attr(ino).ctime;
    world.now.secs += 10;
    world.ok(&ROOT, S0, accessed(at(made.secs + 5)));
    let attr = world.attr(ino);
    assert_eq!((attr.atime, attr.mtime, attr.ctime), (at(made.secs + 5), made, made));
    world.ok(&ROOT, S0, accessed(at(made.secs + 7)));
    assert_eq!(world.attr(ino).atime, at(made.secs + 5), "the last read came after the last change");
    world.now.secs += 2 * 24 * 60 * 60;
    let day_later = world.now;
    world.ok(&ROOT, S0, accessed(at(i64::MAX)));
    assert_eq!(world.attr(ino).atime.secs, day_later.secs + 1, "no access is later than now");
    let set = SetAttr { atime: Some(SetTime::At(at(5))), ..SetAttr::default() };
    world.ok(&ROOT, S0, MutateOp::SetAttr { ino, set });
    world.ok(&ROOT, S0, accessed(at(made.secs + 8)));
    assert_eq!(world.attr(ino).atime, at(5), "what was set after the read stays");
}

#[test]
fn file_capabilities_go_when_content_or_owner_change() {
    let mut world = World::new(1, 1);
    let ino = world.create(&ROOT, InodeId::ROOT, "f", 0o755);
    let name = || Bytes::from_static(b"security.capability");
    let get = ReadOp::GetXattr { ino, name: name() };
    let size = SetAttr { size: Some(1), ..SetAttr::default() };
    let owner = SetAttr { uid: Some(5), ..SetAttr::default() };
    let shape =
        MutateOp::Fallocate { ino, range: ByteRange::new(0, 1), zero: true, keep_size: true, drop_privileges: false };
    for op in [
        commit(ino, vec![extent(0, 1, Location::Inline("x".into()))], Vec::new()),
        MutateOp::SetAttr { ino, set: size },
        MutateOp::SetAttr { ino, set: owner },
        shape,
    ] {
        let set = MutateOp::SetXattr { ino, name: name(), value: "v".into(), when: XattrWhen::Always };
        world.ok(&ROOT, S0, set);
        assert!(world.read(&ROOT, S0, &get).is_ok());
        world.ok(&ROOT, S0, op.clone());
        assert_eq!(world.read(&ROOT, S0, &get), Err(Errno::NoData), "{op:?}");
        world.check();
    }
    let user = Cred { uid: 5, gid: 5, groups: vec![] };
    let set = MutateOp::SetXattr { ino, name: name(), value: "v".into(), when: XattrWhen::Always };
    assert_eq!(world.errno(&user, S0, set), Some(Errno::NotPermitted));
}

#[test]
fn names_that_change_places_keep_their_kinds_and_stickiness() {
    for shards in [1, 6] {
        let mut world = World::new(shards, 9);
        let (a, b) = (Cred { uid: 1, gid: 1, groups: vec![] }, Cred { uid: 2, gid: 2, groups: vec![] });
        let (one, two) =
            (world.mkdir(&ROOT, InodeId::ROOT, "one", 0o777), world.mkdir(&ROOT, InodeId::ROOT, "two", 0o1777));
        let dir = world.mkdir(&a, one, "x", 0o777);
        let file = world.create(&a, two, "y", 0o644);
        let exchange = || MutateOp::Rename {
            parent: one,
            name: "x".into(),
            new_parent: two,
            new_name: "y".into(),
            how: RenameHow::Exchange,
        };
        assert_eq!(world.errno(&b, one.shard(), exchange()), Some(Errno::NotPermitted), "{shards} shards");
        world.ok(&a, one.shard(), exchange());
        world.settle();
        for (parent, name, ino, kind) in [(one, "x", file, FileKind::Regular), (two, "y", dir, FileKind::Directory)] {
            let op = ReadOp::Lookup { parent, name: name.into() };
            let Ok(MetaReply::Entry { ino: got, kind: is, .. }) = world.read(&ROOT, parent.shard(), &op) else {
                panic!("{name}")
            };
            assert_eq!((got, is), (ino, kind));
        }
        assert_eq!((world.attr(one).nlink, world.attr(two).nlink), (2, 3));
        world.check();
        world.check_tree();
    }
}
