//! Who may do what.

use bytes::Bytes;
use forebay_types::{ByteRange, Cred, Errno, InodeId, LifetimeClass, SessionId, ShardId, Timestamp};
use forebay_wire::meta::{MutateOp, NewNode, ReadOp, RenameHow, SetAttr, SetTime, XattrWhen};

use super::bytes::{commit, extent};
use super::world::{World, make};

fn user(uid: u32, groups: &[u32]) -> Cred {
    Cred { uid, gid: uid, groups: groups.to_vec() }
}

fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn chmod(ino: InodeId, mode: u16) -> MutateOp {
    MutateOp::SetAttr { ino, set: SetAttr { mode: Some(mode), ..SetAttr::default() } }
}

fn chown(ino: InodeId, uid: Option<u32>, gid: Option<u32>) -> MutateOp {
    MutateOp::SetAttr { ino, set: SetAttr { uid, gid, ..SetAttr::default() } }
}

const S0: ShardId = ShardId(0);
const TOP: InodeId = InodeId::ROOT;

#[test]
fn a_directory_must_be_searchable_to_be_looked_into_and_writable_to_be_changed() {
    for shards in [1, 4] {
        let mut world = World::new(shards, 2);
        let (owner, other) = (user(1, &[]), user(2, &[]));
        world.ok(&Cred::ROOT, S0, chmod(TOP, 0o777));
        let dir = world.mkdir(&owner, TOP, "d", 0o755);
        let at = dir.shard();
        world.create(&owner, dir, "f", 0o644);
        let sub = world.mkdir(&owner, dir, "s", 0o755);
        let mine = world.mkdir(&other, TOP, "mine", 0o755);
        let unlink = MutateOp::Unlink { parent: dir, name: name("f") };
        let rename = |from: InodeId, n: &str, to: InodeId| MutateOp::Rename {
            parent: from,
            name: name(n),
            new_parent: to,
            new_name: name("y"),
            how: RenameHow::Replace,
        };
        let refused = [
            unlink.clone(),
            make(dir, "new", NewNode::File, 0o644),
            MutateOp::Mkdir { parent: dir, name: name("new"), mode: 0o755.into() },
            MutateOp::Rmdir { parent: dir, name: name("s") },
            rename(dir, "f", TOP),
        ];
        for op in refused {
            assert_eq!(world.errno(&other, at, op.clone()), Some(Errno::Access), "{op:?}");
        }
        assert_eq!(world.errno(&other, S0, rename(TOP, "mine", dir)), Some(Errno::Access));
        let exists = make(dir, "f", NewNode::File, 0o644);
        assert_eq!(world.errno(&other, at, exists), Some(Errno::Exists), "before permission");
        // A directory that changes its parent must be writable itself.
        world.ok(&owner, at, chmod(dir, 0o777));
        assert_eq!(world.errno(&other, at, rename(dir, "s", mine)), Some(Errno::Access));
        assert_eq!(world.errno(&other, at, rename(dir, "s", dir)), None);
        world.ok(&owner, at, chmod(dir, 0o600));
        let lookup = ReadOp::Lookup { parent: dir, name: name("f") };
        assert_eq!(world.read(&owner, at, &lookup), Err(Errno::Access));
        assert_eq!(world.errno(&owner, at, unlink.clone()), Some(Errno::Access));
        assert!(world.read(&Cred::ROOT, at, &lookup).is_ok());
        let list = ReadOp::ReadDir { dir, after: 0, limit: 9, with_attrs: true };
        assert!(world.read(&owner, at, &list).is_ok());
        assert_eq!(world.read(&other, at, &list), Err(Errno::Access));
        assert_eq!(world.attr(sub).uid, 1);
        world.check();
    }
}

#[test]
fn in_a_sticky_directory_only_owners_take_names_away() {
    for shards in [1, 4] {
        let mut world = World::new(shards, 9);
        let (a, b) = (user(1, &[]), user(2, &[]));
        world.ok(&Cred::ROOT, S0, chmod(TOP, 0o1777));
        for n in 0..4 {
            world.create(&a, TOP, &format!("f{n}"), 0o666);
            world.mkdir(&a, TOP, &format!("d{n}"), 0o777);
        }
        let elsewhere = world.mkdir(&b, TOP, "b", 0o777);
        world.create(&b, elsewhere, "mine", 0o644);
        let rename = |parent, from: &str, new_parent, to: &str| MutateOp::Rename {
            parent,
            name: name(from),
            new_parent,
            new_name: name(to),
            how: RenameHow::Replace,
        };
        for op in [
            MutateOp::Unlink { parent: TOP, name: name("f0") },
            MutateOp::Rmdir { parent: TOP, name: name("d0") },
            rename(TOP, "f0", elsewhere, "x"),
            rename(TOP, "d0", TOP, "x"),
            rename(TOP, "d0", elsewhere, "x"),
            rename(TOP, "b", TOP, "d1"),
        ] {
            assert_eq!(world.errno(&b, S0, op.clone()), Some(Errno::NotPermitted), "{op:?}");
        }
        let onto = rename(elsewhere, "mine", TOP, "f1");
        assert_eq!(world.errno(&b, elsewhere.shard(), onto), Some(Errno::NotPermitted));
        assert_eq!(world.errno(&a, S0, rename(TOP, "d0", TOP, "d1")), None);
        assert_eq!(world.errno(&a, S0, MutateOp::Unlink { parent: TOP, name: name("f0") }), None);
        assert_eq!(world.errno(&Cred::ROOT, S0, MutateOp::Rmdir { parent: TOP, name: name("d1") }), None);
        world.settle();
        world.check();
        world.check_tree();
    }
}

#[test]
fn owners_change_modes_and_groups_the_superuser_owners() {
    let mut world = World::new(1, 2);
    world.ok(&Cred::ROOT, S0, chmod(TOP, 0o777));
    let (owner, other) = (user(1, &[50]), user(2, &[]));
    let ino = world.create(&owner, TOP, "f", 0o644);
    assert_eq!(world.errno(&other, S0, chmod(ino, 0o777)), Some(Errno::NotPermitted));
    assert_eq!(world.errno(&owner, S0, chown(ino, Some(2), None)), Some(Errno::NotPermitted));
    assert_eq!(world.errno(&owner, S0, chown(ino, None, Some(51))), Some(Errno::NotPermitted));
    world.ok(&owner, S0, chmod(ino, 0o6755));
    world.ok(&owner, S0, chown(ino, Some(1), Some(50)));
    let attr = world.attr(ino);
    assert_eq!((attr.gid, attr.mode), (50, 0o755), "a new group takes the set-id bits off");
    world.ok(&Cred::ROOT, S0, chown(ino, None, Some(51)));
    world.ok(&owner, S0, chmod(ino, 0o2755));
    assert_eq!(world.attr(ino).mode, 0o755, "no set-group-id for a group one is not in");
    world.ok(&Cred::ROOT, S0, chown(ino, Some(2), Some(2)));
    assert_eq!(world.attr(ino).uid, 2);
    let class = SetAttr { class: Some(LifetimeClass::Job), ..SetAttr::default() };
    let set = MutateOp::SetAttr { ino, set: class };
    assert_eq!(world.errno(&other, S0, set.clone()), Some(Errno::NotPermitted));
    assert_eq!(world.errno(&Cred::ROOT, S0, set), None);
}

#[test]
fn times_are_set_by_owners_or_to_now_by_writers() {
    let mut world = World::new(1, 2);
    world.ok(&Cred::ROOT, S0, chmod(TOP, 0o777));
    let ino = world.create(&user(1, &[]), TOP, "f", 0o646);
    let set = |time| MutateOp::SetAttr { ino, set: SetAttr { mtime: Some(time), ..SetAttr::default() } };
    let at = SetTime::At(Timestamp { secs: 5, nanos: 6 });
    assert_eq!(world.errno(&user(2, &[]), S0, set(at)), Some(Errno::NotPermitted));
    assert_eq!(world.errno(&user(2, &[]), S0, set(SetTime::Now)), Some(Errno::NotPermitted), "one of the two");
    let now = Some(SetTime::Now);
    let both = MutateOp::SetAttr { ino, set: SetAttr { atime: now, mtime: now, ..SetAttr::default() } };
    assert_eq!(world.errno(&user(2, &[]), S0, both.clone()), None);
    world.ok(&user(1, &[]), S0, set(at));
    assert_eq!(world.attr(ino).mtime, Timestamp { secs: 5, nanos: 6 });
    world.ok(&user(1, &[]), S0, chmod(ino, 0o644));
    assert_eq!(world.errno(&user(2, &[]), S0, both), Some(Errno::Access));
}

#[test]
fn content_is_for_those_the_mode_or_an_open_descriptor_lets() {
    let mut world = World::new(1, 2);
    world.ok(&Cred::ROOT, S0, chmod(TOP, 0o777));
    let (owner, member, other) = (user(1, &[]), user(2, &[1]), user(3, &[]));
    let ino = world.create(&owner, TOP, "f", 0o4640);
    let data = || commit(ino, vec![extent(0, 1, forebay_types::Location::Inline("x".into()))], Vec::new());
    let extents = ReadOp::Extents { ino, range: ByteRange::new(0, 9) };
    let open = |write| ReadOp::Open { ino, read: true, write };
    assert_eq!(world.errno(&member, S0, data()), Some(Errno::Access));
    assert_eq!(world.read(&other, S0, &extents), Err(Errno::Access));
    assert_eq!(world.read(&other, S0, &open(false)), Err(Errno::Access));
    assert_eq!(world.read(&member, S0, &open(true)), Err(Errno::Access));
    assert!(world.read(&member, S0, &extents).is_ok());
    assert_eq!(world.attr(ino).mode, 0o4640);
    world.ok(&owner, S0, data());
    assert_eq!(world.attr(ino).mode, 0o640, "who writes takes the set-user-id bit off");
    let shorter = MutateOp::SetAttr { ino, set: SetAttr { size: Some(0), ..SetAttr::default() } };
    assert_eq!(world.errno(&member, S0, shorter.clone()), Some(Errno::Access));
    // Opened while it was allowed, a file stays writable.
    world.read(&owner, S0, &open(true)).unwrap();
    world.ok(&owner, S0, chmod(ino, 0o000));
    assert_eq!(world.errno(&member, S0, data()), None, "by the session's descriptor");
    assert_eq!(world.errno(&owner, S0, shorter), None);
    let object = forebay_types::ObjectRef {
        tier: forebay_types::TierId(1),
        key: "k".into(),
        etag: "e".into(),
        object_bytes: 10,
        offset: 0,
    };
    let cold = commit(ino, vec![extent(0, 1, forebay_types::Location::Object(object))], Vec::new());
    assert_eq!(world.errno(&owner, S0, cold), Some(Errno::NotPermitted));
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    for shards in [1, 4] {
        let mut world = World::new(shards, 4);
        world.ok(&Cred::ROOT, S0, chmod(TOP, 0o2777));
        world.ok(&Cred::ROOT, S0, chown(TOP, None, Some(70)));
        let (dir, file) = (world.mkdir(&user(1, &[]), TOP, "d", 0o755), world.create(&user(1, &[]), TOP, "f", 0o2755));
        let (dir, file) = (world.attr(dir), world.attr(file));
        assert_eq!((dir.gid, dir.mode, file.gid, file.mode), (70, 0o2755, 70, 0o755));
    }
}

#[test]
fn extended_attributes_follow_their_name_spaces() {
    let mut world = World::new(1, 2);
    world.ok(&Cred::ROOT, S0, chmod(TOP, 0o1777));
    let (owner, other) = (user(1, &[]), user(2, &[]));
    let ino = world.create(&owner, TOP, "f", 0o600);
    let set = |n: &str| MutateOp::SetXattr { ino, name: name(n), value: name("v"), when: XattrWhen::Always };
    assert_eq!(world.errno(&owner, S0, set("user.a")), None);
    assert_eq!(world.errno(&other, S0, set("user.a")), Some(Errno::Access));
    assert_eq!(world.errno(&owner, S0, set("trusted.a")), Some(Errno::NotPermitted));
    assert_eq!(world.errno(&Cred::ROOT, S0, set("trusted.a")), None);
    assert_eq!(world.read(&other, S0, &ReadOp::GetXattr { ino, name: name("user.a") }), Err(Errno::Access));
    assert_eq!(world.read(&owner, S0, &ReadOp::GetXattr { ino, name: name("trusted.a") }), Err(Errno::NoData));
    let names = |cred: &Cred, world: &mut World| world.read(cred, S0, &ReadOp::ListXattr { ino });
    assert_eq!(names(&owner, &mut world), Ok(forebay_wire::meta::MetaReply::Names(vec![name("user.a")])));
    world.ok(&Cred::ROOT, S0, make(TOP, "l", NewNode::Symlink(name("x")), 0));
    let Ok(link) = world.read(&owner, S0, &ReadOp::Lookup { parent: TOP, name: name("l") }) else { panic!() };
    let ino = super::world::entry(&link);
    let on_link = MutateOp::SetXattr { ino, name: name("user.a"), value: name("v"), when: XattrWhen::Always };
    assert_eq!(world.errno(&Cred::ROOT, S0, on_link), Some(Errno::NotPermitted));
    let device = make(TOP, "dev", NewNode::CharDevice(1), 0o600);
    assert_eq!(world.errno(&owner, S0, device), Some(Errno::NotPermitted));
    let end = MutateOp::EndSession { session: SessionId(1) };
    assert_eq!(world.errno(&owner, S0, end), Some(Errno::NotPermitted));
}
