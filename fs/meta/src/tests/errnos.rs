//! What is refused, and with which number: one row each.

use bytes::Bytes;
use forebay_types::{Cred, Errno, InodeId};
use forebay_wire::meta::{MutateOp, NewNode, ReadOp, RenameHow, SetAttr, XattrWhen};

use super::world::{World, make};

fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn rename(parent: InodeId, from: &str, new_parent: InodeId, to: &str) -> MutateOp {
    MutateOp::Rename { parent, name: name(from), new_parent, new_name: name(to), how: RenameHow::Replace }
}

fn table(shards: u16) {
    let mut world = World::new(shards, 5);
    let root = Cred::ROOT;
    let top = InodeId::ROOT;
    let full = world.mkdir(&root, top, "full", 0o755);
    let inner = world.mkdir(&root, full, "inner", 0o755);
    let empty = world.mkdir(&root, top, "empty", 0o755);
    let file = world.create(&root, top, "file", 0o644);
    let in_full = world.create(&root, full, "file", 0o644);
    world.ok(&root, top.shard(), make(top, "link", NewNode::Symlink("x".into()), 0));
    let link = world.create(&root, top, "plain", 0o644);
    let long = "x".repeat(256);
    let mkdir = |parent, n: &str| MutateOp::Mkdir { parent, name: name(n), mode: 0o755.into() };
    let unlink = |parent, n: &str| MutateOp::Unlink { parent, name: name(n) };
    let rmdir = |parent, n: &str| MutateOp::Rmdir { parent, name: name(n) };
    let symlink = |target: &str| make(top, "new", NewNode::Symlink(name(target)), 0);
    let size = |size| SetAttr { size: Some(size), ..SetAttr::default() };
    let xattr = |n: &str, when| MutateOp::SetXattr { ino: file, name: name(n), value: name("v"), when };
    let mut no_replace = rename(top, "file", full, "file");
    let mut exchange = rename(top, "file", top, "none");
    if let (MutateOp::Rename { how, .. }, MutateOp::Rename { how: exchange, .. }) = (&mut no_replace, &mut exchange) {
        *how = RenameHow::NoReplace;
        *exchange = RenameHow::Exchange;
    }
    let rows = [
        (mkdir(top, "full"), Errno::Exists),
        (mkdir(top, "file"), Errno::Exists),
        (mkdir(top, "."), Errno::Exists),
        (mkdir(top, ""), Errno::NoEntry),
        (mkdir(top, &long), Errno::NameTooLong),
        (mkdir(top, "a/b"), Errno::Invalid),
        (mkdir(top, "a\0b"), Errno::Invalid),
        (mkdir(file, "new"), Errno::NotDirectory),
        (make(top, "file", NewNode::File, 0o644), Errno::Exists),
        (make(file, "new", NewNode::File, 0o644), Errno::NotDirectory),
        (make(InodeId::new(top.shard(), 999), "new", NewNode::File, 0o644), Errno::NoEntry),
        (symlink(""), Errno::NoEntry),
        (symlink(&"x".repeat(4096)), Errno::NameTooLong),
        (unlink(top, "none"), Errno::NoEntry),
        (unlink(top, "full"), Errno::IsDirectory),
        (unlink(top, "empty"), Errno::IsDirectory),
        (unlink(top, "."), Errno::IsDirectory),
        (unlink(file, "x"), Errno::NotDirectory),
        (unlink(top, &long), Errno::NameTooLong),
        (rmdir(top, "none"), Errno::NoEntry),
        (rmdir(top, "full"), Errno::NotEmpty),
        (rmdir(top, "file"), Errno::NotDirectory),
        (rmdir(top, "link"), Errno::NotDirectory),
        (rmdir(top, "."), Errno::Invalid),
        (rmdir(top, ".."), Errno::NotEmpty),
        (rename(top, "none", top, "x"), Errno::NoEntry),
        (rename(top, "file", top, "empty"), Errno::IsDirectory),
        (rename(top, "empty", top, "file"), Errno::NotDirectory),
        (rename(top, "empty", full, "file"), Errno::NotDirectory),
        (rename(top, "file", full, "inner"), Errno::IsDirectory),
        (rename(top, "empty", top, "full"), Errno::NotEmpty),
        (rename(top, "full", full, "x"), Errno::Invalid),
        (rename(top, "full", inner, "x"), Errno::Invalid),
        (rename(full, "inner", top, "full"), Errno::NotEmpty),
        (rename(top, ".", top, "x"), Errno::Busy),
        (rename(top, "file", top, ".."), Errno::Busy),
        (rename(top, "file", top, &long), Errno::NameTooLong),
        (rename(top, "file", link, "x"), Errno::NotDirectory),
        (no_replace, Errno::Exists),
        (exchange, Errno::NoEntry),
        (MutateOp::Link { ino: empty, parent: top, name: name("new") }, Errno::NotPermitted),
        (MutateOp::Link { ino: in_full, parent: top, name: name("file") }, Errno::Exists),
        (MutateOp::SetAttr { ino: full, set: size(0) }, Errno::IsDirectory),
        (MutateOp::SetAttr { ino: file, set: size(1 << 63) }, Errno::TooBig),
        (xattr("user.none", XattrWhen::Present), Errno::NoData),
        (xattr("other.x", XattrWhen::Always), Errno::NotSupported),
        (xattr("user.", XattrWhen::Always), Errno::Invalid),
        (MutateOp::RemoveXattr { ino: file, name: name("user.none") }, Errno::NoData),
    ];
    for (op, want) in rows {
        let to = shard_of(&op);
        assert_eq!(world.errno(&root, to, op.clone()), Some(want), "{op:?} on {shards} shards");
        world.check();
    }
    world.settle();
    world.check_tree();
    for (op, want) in [
        (ReadOp::Lookup { parent: file, name: name("x") }, Errno::NotDirectory),
        (ReadOp::Lookup { parent: top, name: name("none") }, Errno::NoEntry),
        (ReadOp::Lookup { parent: top, name: name(&long) }, Errno::NameTooLong),
        (ReadOp::ReadDir { dir: file, after: 0, limit: 9, with_attrs: false }, Errno::NotDirectory),
        (ReadOp::ReadLink { ino: file }, Errno::Invalid),
        (ReadOp::GetXattr { ino: file, name: name("user.none") }, Errno::NoData),
    ] {
        assert_eq!(world.read(&root, top.shard(), &op), Err(want), "{op:?}");
    }
    let write = ReadOp::Open { ino: full, read: true, write: true };
    assert_eq!(world.read(&root, full.shard(), &write), Err(Errno::IsDirectory));
}

fn shard_of(op: &MutateOp) -> forebay_types::ShardId {
    match op {
        MutateOp::Create { parent, .. }
        | MutateOp::Mkdir { parent, .. }
        | MutateOp::Unlink { parent, .. }
        | MutateOp::Rmdir { parent, .. }
        | MutateOp::Rename { parent, .. }
        | MutateOp::Link { parent, .. } => parent.shard(),
        MutateOp::SetAttr { ino, .. } | MutateOp::SetXattr { ino, .. } | MutateOp::RemoveXattr { ino, .. } => {
            ino.shard()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_on_one_shard() {
    table(1);
}

#[test]
fn refusals_are_the_same_on_many_shards() {
    table(4);
    table(7);
}

#[test]
fn a_directory_that_is_removed_takes_no_names_and_finds_none() {
    for shards in [1, 5] {
        let mut world = World::new(shards, 3);
        let root = Cred::ROOT;
        let dir = world.mkdir(&root, InodeId::ROOT, "d", 0o755);
        world.read(&root, dir.shard(), &ReadOp::Open { ino: dir, read: true, write: false }).unwrap();
        world.ok(&root, InodeId::ROOT.shard(), MutateOp::Rmdir { parent: InodeId::ROOT, name: name("d") });
        let make = make(dir, "x", NewNode::File, 0o644);
        assert_eq!(world.errno(&root, dir.shard(), make), Some(Errno::NoEntry));
        assert_eq!(world.attr(dir).nlink, 0);
        world.check();
    }
}
