//! Access control lists through the operations: who may set them, what they do to modes, who inherits them.

use bytes::Bytes;
use forebay_types::{Acl, Cred, Errno, InodeId, NewMode, ShardId};
use forebay_wire::meta::{MetaReply, MutateOp, NewNode, ReadOp, SetAttr, XattrWhen};

use super::world::{World, entry, make};
use crate::acl::{ACCESS, DEFAULT, encode};

const S0: ShardId = ShardId(0);
const TOP: InodeId = InodeId::ROOT;

fn user(uid: u32) -> Cred {
    Cred { uid, gid: uid, groups: vec![] }
}

fn set(ino: InodeId, name: &'static [u8], acl: &Acl) -> MutateOp {
    MutateOp::SetXattr { ino, name: Bytes::from_static(name), value: encode(acl), when: XattrWhen::Always }
}

fn get(world: &mut World, ino: InodeId, name: &'static [u8]) -> Result<Acl, Errno> {
    match world.read(&Cred::ROOT, ino.shard(), &ReadOp::GetXattr { ino, name: Bytes::from_static(name) })? {
        MetaReply::Bytes(bytes) => Ok(crate::acl::decode(&bytes).unwrap().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn named() -> Acl {
    Acl { owner: 6, users: vec![(7, 6)], group: 0, groups: vec![(70, 4)], mask: Some(6), other: 0 }
}

#[test]
fn a_named_user_may_what_the_list_and_its_mask_say() {
    let mut world = World::new(1, 1);
    world.ok(&Cred::ROOT, S0, MutateOp::SetAttr { ino: TOP, set: SetAttr { mode: Some(0o777), ..SetAttr::default() } });
    let ino = world.create(&user(1), TOP, "f", 0o600);
    let open = |write| ReadOp::Open { ino, read: true, write };
    assert_eq!(world.read(&user(7), S0, &open(true)), Err(Errno::Access));
    assert_eq!(world.errno(&user(7), S0, set(ino, ACCESS, &named())), Some(Errno::NotPermitted));
    world.ok(&user(1), S0, set(ino, ACCESS, &named()));
    assert_eq!(world.attr(ino).mode, 0o660);
    assert!(world.read(&user(7), S0, &open(true)).is_ok());
    let member = Cred { uid: 8, gid: 8, groups: vec![9, 70] };
    assert!(world.read(&member, S0, &open(false)).is_ok());
    assert_eq!(world.read(&member, S0, &open(true)), Err(Errno::Access));
    assert_eq!(world.read(&user(9), S0, &open(false)), Err(Errno::Access));
    let chmod = |mode| MutateOp::SetAttr { ino, set: SetAttr { mode: Some(mode), ..SetAttr::default() } };
    world.ok(&user(1), S0, chmod(0o640));
    assert_eq!(world.read(&user(7), S0, &open(true)), Err(Errno::Access), "the mask has no write any more");
    assert_eq!(get(&mut world, ino, ACCESS).unwrap().mask, Some(4));
    assert!(world.attr(ino).acl);
    let names = world.read(&user(1), S0, &ReadOp::ListXattr { ino });
    assert_eq!(names, Ok(MetaReply::Names(vec![Bytes::from_static(ACCESS)])));
    let remove = MutateOp::RemoveXattr { ino, name: Bytes::from_static(ACCESS) };
    world.ok(&user(1), S0, remove.clone());
    world.ok(&user(1), S0, remove);
    assert_eq!((get(&mut world, ino, ACCESS), world.attr(ino).mode), (Err(Errno::NoData), 0o640));
    assert!(!world.attr(ino).acl);
}

#[test]
fn a_list_that_the_mode_says_all_of_is_not_kept() {
    let mut world = World::new(1, 1);
    let ino = world.create(&Cred::ROOT, TOP, "f", 0o4600);
    let plain = Acl { owner: 7, group: 5, other: 1, ..Acl::default() };
    world.ok(&Cred::ROOT, S0, set(ino, ACCESS, &plain));
    assert_eq!((get(&mut world, ino, ACCESS), world.attr(ino).mode), (Err(Errno::NoData), 0o4751));
}

#[test]
fn set_group_id_does_not_survive_a_list_of_one_who_is_not_in_the_group() {
    let mut world = World::new(1, 1);
    let ino = world.create(&Cred::ROOT, TOP, "f", 0o2755);
    let owner = SetAttr { uid: Some(1), gid: Some(50), ..SetAttr::default() };
    world.ok(&Cred::ROOT, S0, MutateOp::SetAttr { ino, set: owner });
    let mode = SetAttr { mode: Some(0o2755), ..SetAttr::default() };
    world.ok(&Cred::ROOT, S0, MutateOp::SetAttr { ino, set: mode });
    world.ok(&user(1), S0, set(ino, ACCESS, &named()));
    assert_eq!(world.attr(ino).mode, 0o660);
}

#[test]
fn default_lists_are_for_directories_and_go_down() {
    for shards in [1, 5] {
        let mut world = World::new(shards, 2);
        let file = world.create(&Cred::ROOT, TOP, "f", 0o644);
        assert_eq!(world.errno(&Cred::ROOT, S0, set(file, DEFAULT, &named())), Some(Errno::Access));
        world.ok(&Cred::ROOT, S0, set(TOP, DEFAULT, &named()));
        let mode = |mode| NewMode { mode, umask: 0o077 };
        for n in 0..8 {
            let op = MutateOp::Mkdir { parent: TOP, name: format!("d{n}").into(), mode: mode(0o777) };
            let dir = entry(&world.ok(&Cred::ROOT, S0, op));
            assert_eq!(world.attr(dir).mode, 0o660);
            assert_eq!(get(&mut world, dir, DEFAULT), Ok(named()));
            assert_eq!(get(&mut world, dir, ACCESS), Ok(named()));
            let op = MutateOp::Create {
                parent: dir,
                name: "f".into(),
                node: NewNode::File,
                mode: mode(0o640),
                exclusive: true,
                open: false,
                content: None,
            };
            let made = entry(&world.ok(&Cred::ROOT, dir.shard(), op));
            assert_eq!((world.attr(made).mode, get(&mut world, made, DEFAULT)), (0o640, Err(Errno::NoData)));
            assert_eq!(get(&mut world, made, ACCESS), Ok(Acl { mask: Some(4), ..named() }));
        }
        world.ok(&Cred::ROOT, S0, make(TOP, "l", NewNode::Symlink("x".into()), 0o777));
        let lookup = ReadOp::Lookup { parent: TOP, name: "l".into() };
        let link = entry(&world.read(&Cred::ROOT, S0, &lookup).unwrap());
        assert_eq!(world.attr(link).mode, 0o777);
        assert_eq!(world.errno(&Cred::ROOT, S0, set(link, ACCESS, &named())), Some(Errno::NotSupported));
        world.check();
    }
}

#[test]
fn a_moved_directory_is_checked_by_its_list() {
    for shards in [1, 6] {
        let mut world = World::new(shards, 4);
        let mode = SetAttr { mode: Some(0o777), ..SetAttr::default() };
        world.ok(&Cred::ROOT, S0, MutateOp::SetAttr { ino: TOP, set: mode });
        let into = world.mkdir(&Cred::ROOT, TOP, "into", 0o777);
        let moved = world.mkdir(&user(1), TOP, "moved", 0o755);
        let op = MutateOp::Rename {
            parent: TOP,
            name: "moved".into(),
            new_parent: into,
            new_name: "x".into(),
            how: forebay_wire::meta::RenameHow::Replace,
        };
        assert_eq!(world.errno(&user(7), S0, op.clone()), Some(Errno::Access), "{shards} shards");
        world.ok(&user(1), moved.shard(), set(moved, ACCESS, &Acl { owner: 7, ..named() }));
        world.ok(&user(7), S0, op);
        world.settle();
        world.check_tree();
    }
}
