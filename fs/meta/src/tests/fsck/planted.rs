//! Damage to names, inodes and transactions, one rule after the other.

use bytes::Bytes;
use forebay_types::{FileKind, InodeId, NewMode, Owner, ShardId, Space};
use forebay_wire::meta::{CounterOf, Finding, Held, MutateOp, Quantity, ReadOp, TxnId};

use super::{ROOT, Tree, assert_clean, assert_repaired, listing, tree};
use crate::record::{CookieRecord, Counters, Dentry, Inode, Usage};
use crate::tests::world::{FS, entry};

const S0: ShardId = ShardId(0);

fn dentry(tree: &mut Tree, dir: InodeId, name: &str) -> (Vec<u8>, Dentry) {
    let rows = tree.world.rows(dir.shard());
    let key = rows.keys.dentry(FS, dir, name.as_bytes());
    let dentry = crate::record::decode("dentry", &rows.get(&key).unwrap()).unwrap();
    (key, dentry)
}

/// Takes a name out of both tables.
fn forget(tree: &mut Tree, dir: InodeId, name: &str) {
    let (key, found) = dentry(tree, dir, name);
    let mut rows = tree.world.rows(dir.shard());
    rows.delete(key);
    rows.delete(rows.keys.cookie(FS, dir, found.cookie));
}

/// Puts a name into both tables.
fn add(tree: &mut Tree, dir: InodeId, name: &str, ino: InodeId, kind: FileKind) {
    let mut rows = tree.world.rows(dir.shard());
    let cookie = 900;
    rows.put(rows.keys.dentry(FS, dir, name.as_bytes()), &Dentry { ino, kind, cookie });
    let name = Bytes::copy_from_slice(name.as_bytes());
    rows.put(rows.keys.cookie(FS, dir, cookie), &CookieRecord { name, ino, kind });
}

fn change_inode(tree: &mut Tree, ino: InodeId, change: impl FnOnce(&mut Inode)) {
    let mut rows = tree.world.rows(ino.shard());
    rows.change(rows.keys.inode(FS, ino), change);
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let mut tree = tree();
    let summary = tree.world.fsck(true);
    assert_eq!(summary.findings, []);
    assert!(summary.inodes > 20 && summary.names > 20 && summary.shards == 4, "{summary:?}");
}

#[test]
fn a_name_that_one_of_two_tables_has_lost_is_found_in_the_other() {
    for (dir_is_root, by_cookie) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut tree = tree();
        let before = listing(&mut tree.world);
        let (dir, name) = if dir_is_root { (InodeId::ROOT, "file") } else { (tree.a, "one") };
        let (key, found) = dentry(&mut tree, dir, name);
        let mut rows = tree.world.rows(dir.shard());
        let key = if by_cookie { rows.keys.cookie(FS, dir, found.cookie) } else { key };
        rows.delete(key);
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::CookieMismatch { .. }));
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn a_name_that_says_something_else_in_either_table_is_what_a_lookup_finds() {
    let mut tree = tree();
    let before = listing(&mut tree.world);
    let (other, dir) = (tree.sub, tree.a);
    let (_, found) = dentry(&mut tree, dir, "one");
    let mut rows = tree.world.rows(dir.shard());
    rows.change(rows.keys.cookie(FS, dir, found.cookie), |record: &mut CookieRecord| record.ino = other);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::CookieMismatch { .. }));
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn a_file_and_a_directory_without_names_go_to_lost_and_found_with_all_that_is_in_them() {
    let mut tree = tree();
    let before = listing(&mut tree.world);
    forget(&mut tree, InodeId::ROOT, "file");
    let (a, sub, file) = (tree.a, tree.sub, tree.file);
    forget(&mut tree, a, "sub");
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Unreachable { .. }));
    let after = listing(&mut tree.world);
    assert_eq!(after[&format!("/lost+found/{}", file.0)], before["/file"]);
    let leaf = before.keys().find(|path| path.ends_with("/sub/leaf")).unwrap();
    assert_eq!(after[&format!("/lost+found/{}/leaf", sub.0)], before[leaf]);
    assert_eq!(after.len(), before.len() + 1);
    let op = ReadOp::Lookup { parent: sub, name: "..".into() };
    let found = entry(&tree.world.read(&ROOT, sub.shard(), &op).unwrap());
    let op = ReadOp::Lookup { parent: InodeId::ROOT, name: "lost+found".into() };
    let reply = tree.world.read(&ROOT, S0, &op).unwrap();
    assert_eq!(found, entry(&reply));
    assert_eq!(tree.world.attr(found).mode, 0o700);
}

#[test]
fn names_of_an_inode_that_is_gone_are_removed() {
    let mut tree = tree();
    let ino = tree.linked;
    let mut rows = tree.world.rows(ino.shard());
    rows.delete(rows.keys.inode(FS, ino));
    let found = assert_repaired(&mut tree.world, |f| matches!(f, Finding::DanglingName { .. }));
    let dangling = found.iter().filter(|f| matches!(f, Finding::DanglingName { .. }));
    assert_eq!(dangling.count(), 2, "one in each shard: {found:?}");
}

#[test]
fn a_file_whose_record_is_gone_keeps_its_bytes() {
    let mut tree = tree();
    let before = listing(&mut tree.world);
    let ino = tree.file;
    let mut rows = tree.world.rows(S0);
    rows.delete(rows.keys.inode(FS, ino));
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::BadExtent { .. }));
    assert_eq!(listing(&mut tree.world), before);
    let attr = tree.world.attr(ino);
    assert_eq!((attr.mode, attr.uid, attr.size, attr.allocated_bytes), (0o600, 0, 110, 103));
}

#[test]
fn a_directory_whose_record_is_gone_keeps_its_names_even_the_root() {
    for root in [false, true] {
        let mut tree = tree();
        let before = listing(&mut tree.world);
        let dir = if root { InodeId::ROOT } else { tree.a };
        let mut rows = tree.world.rows(dir.shard());
        rows.delete(rows.keys.inode(FS, dir));
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::NamesOfNothing { .. }));
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn links_are_the_names_of_all_shards() {
    for said in [1, 3, 60_000] {
        let mut tree = tree();
        let (before, ino) = (listing(&mut tree.world), tree.linked);
        change_inode(&mut tree, ino, |inode| inode.attr.nlink = said);
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::Links { found: 2, .. }));
        assert_eq!(tree.world.attr(ino).nlink, 2);
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn a_file_that_is_wrongly_listed_as_an_orphan_is_not_removed() {
    let mut tree = tree();
    let (before, ino) = (listing(&mut tree.world), tree.linked);
    let mut rows = tree.world.rows(ino.shard());
    rows.put_raw(rows.keys.orphan(FS, ino), b"");
    tree.world.submit(ino.shard(), crate::Input::Reap { fs: FS, ino });
    assert_eq!(listing(&mut tree.world), before);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Orphan { listed: true, .. }));
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn a_file_with_names_that_says_it_has_none_lives() {
    let mut tree = tree();
    let (before, ino) = (listing(&mut tree.world), tree.linked);
    change_inode(&mut tree, ino, |inode| inode.attr.nlink = 0);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Orphan { listed: false, .. }));
    assert_eq!(listing(&mut tree.world), before);
    assert_eq!(tree.world.attr(ino).nlink, 2);
}

#[test]
fn a_file_without_a_name_that_is_not_listed_is_listed() {
    let mut tree = tree();
    let mode = NewMode { mode: 0o600, umask: 0 };
    let made = tree.world.ok(&ROOT, S0, MutateOp::Tmpfile { parent: InodeId::ROOT, mode, linkable: true });
    let ino = entry(&made);
    tree.world.settle();
    let mut rows = tree.world.rows(S0);
    rows.delete(rows.keys.orphan(FS, ino));
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Orphan { listed: false, .. }));
    assert_eq!(tree.world.attr(ino).nlink, 0, "its session has it open");
    tree.world.read(&ROOT, S0, &ReadOp::Close { ino }).unwrap();
    tree.world.reap(S0);
    tree.world.settle();
    assert_eq!(tree.world.read(&ROOT, S0, &ReadOp::GetAttr { ino }), Err(forebay_types::Errno::NoEntry));
}

#[test]
fn a_directory_is_where_its_name_is() {
    let mut tree = tree();
    let (before, sub, b) = (listing(&mut tree.world), tree.sub, tree.b);
    change_inode(&mut tree, sub, |inode| inode.parent = b);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::WrongParent { .. }));
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn a_directory_keeps_one_of_two_names() {
    let mut tree = tree();
    let (before, sub, b) = (listing(&mut tree.world), tree.sub, tree.b);
    add(&mut tree, b, "again", sub, FileKind::Directory);
    let found = assert_repaired(&mut tree.world, |f| matches!(f, Finding::ExtraName { .. }));
    assert!(found.iter().any(|f| matches!(f, Finding::Count { what: Quantity::Names, .. })), "{found:?}");
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn directories_that_are_in_each_other_are_reached_again() {
    let mut tree = tree();
    let (a, sub) = (tree.a, tree.sub);
    // `a` is moved into its own subdirectory.
    let name = (0..20).map(|n| format!("d{n}"));
    let name = name.into_iter().find(|name| dentry(&mut tree, InodeId::ROOT, name).1.ino == a).unwrap();
    forget(&mut tree, InodeId::ROOT, &name);
    add(&mut tree, sub, "loop", a, FileKind::Directory);
    change_inode(&mut tree, a, |inode| inode.parent = sub);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Cycle { .. }));
    let after = listing(&mut tree.world);
    let reached = |ino: InodeId| after.values().filter(|what| what.starts_with(&format!("Directory {ino} "))).count();
    assert_eq!((reached(a), reached(sub)), (1, 1), "{after:?}");
    assert!(after.keys().any(|path| path.ends_with("/leaf")));
}

#[test]
fn a_name_says_what_its_inode_is() {
    let mut tree = tree();
    let (before, a) = (listing(&mut tree.world), tree.a);
    let (key, found) = dentry(&mut tree, a, "one");
    let mut rows = tree.world.rows(a.shard());
    let (name, kind) = (Bytes::from("one"), FileKind::Fifo);
    rows.put(key, &Dentry { kind, ..found });
    rows.put(rows.keys.cookie(FS, a, found.cookie), &CookieRecord { name, ino: found.ino, kind });
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::WrongKind { .. }));
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn numbers_of_a_directory_are_counted() {
    type Damage = fn(&mut Inode);
    let damages: [(Quantity, Damage); 4] = [
        (Quantity::Names, |inode| inode.attr.size = 77),
        (Quantity::Links, |inode| inode.attr.nlink = 9),
        (Quantity::NextCookie, |inode| inode.next_cookie = 3),
        (Quantity::Number, |inode| inode.attr.ino = InodeId(12345)),
    ];
    for (expected, damage) in damages {
        let mut tree = tree();
        let (before, a) = (listing(&mut tree.world), tree.a);
        change_inode(&mut tree, a, damage);
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::Count { what, .. } if *what == expected));
        assert_eq!(listing(&mut tree.world), before);
        tree.world.create(&ROOT, a, "new", 0o644);
        assert_clean(&mut tree.world);
    }
}

#[test]
fn what_a_transaction_holds_that_is_over_is_let_go() {
    for source in [0, 1, 2, 3] {
        let mut tree = tree();
        let (before, a, sub) = (listing(&mut tree.world), tree.a, tree.sub);
        let txn = TxnId { source: ShardId(source), number: 1_000_000 };
        let mut rows = tree.world.rows(a.shard());
        rows.put(rows.keys.intent(FS, a, b"one"), &txn);
        change_inode(&mut tree, sub, |inode| inode.dying = Some(txn));
        let mut rows = tree.world.rows(S0);
        rows.put(rows.keys.moving(FS), &txn);
        let found = assert_repaired(&mut tree.world, |f| matches!(f, Finding::LostHold(_)));
        let held = |what: fn(&Held) -> bool| found.iter().any(|f| matches!(f, Finding::LostHold(h) if what(&h.what)));
        assert!(held(|what| matches!(what, Held::Name { .. })), "{found:?}");
        assert!(held(|what| matches!(what, Held::Directory { .. })), "{found:?}");
        assert!(held(|what| matches!(what, Held::Moves)), "{found:?}");
        assert_eq!(listing(&mut tree.world), before);
    }
}

#[test]
fn counters_are_above_what_is_in_use() {
    type Damage = fn(&mut Counters);
    let damages: [(CounterOf, Damage); 4] = [
        (CounterOf::Inodes, |counters| counters.inode = 2),
        (CounterOf::Stripes, |counters| counters.stripe = 1),
        (CounterOf::Active, |counters| counters.active_txns = 5),
        (CounterOf::Inodes, |counters| *counters = Counters::default()),
    ];
    for (expected, damage) in damages {
        let mut tree = tree();
        let mut rows = tree.world.rows(S0);
        rows.change(rows.keys.counters(), damage);
        assert_repaired(&mut tree.world, |f| matches!(f, Finding::Counter { what, .. } if *what == expected));
        tree.world.create(&ROOT, InodeId::ROOT, "new", 0o644);
        assert_clean(&mut tree.world);
    }
}

#[test]
fn usage_is_counted() {
    let mut tree = tree();
    let mut rows = tree.world.rows(S0);
    rows.put(rows.keys.usage(FS), &Usage { inodes: 1, bytes: 1 << 40 });
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::Usage { .. }));
}

#[test]
fn a_root_that_says_that_it_is_a_file_is_a_directory_again() {
    let mut tree = tree();
    let before = listing(&mut tree.world);
    let mut rows = tree.world.rows(S0);
    let key = rows.keys.inode(FS, InodeId::ROOT);
    rows.change(key, |inode: &mut Inode| inode.attr.kind = FileKind::Regular);
    assert_repaired(&mut tree.world, |f| matches!(f, Finding::NamesOfNothing { dir, .. } if *dir == InodeId::ROOT));
    assert_eq!(listing(&mut tree.world), before);
}

#[test]
fn what_owners_have_is_counted() {
    for said in [None, Some(Space { bytes: 1 << 40, inodes: 7 })] {
        for owner in [Owner::User(0), Owner::Group(4711)] {
            let mut tree = tree();
            let mut rows = tree.world.rows(S0);
            let key = rows.keys.owner(FS, owner);
            match said {
                Some(said) => rows.put(key, &said),
                // Nothing is said of somebody who has nothing.
                None if owner == Owner::User(0) => rows.delete(key),
                None => continue,
            }
            assert_repaired(&mut tree.world, |f| matches!(f, Finding::Owner { owner: of, .. } if *of == owner));
            tree.world.create(&ROOT, InodeId::ROOT, "new", 0o644);
            assert_clean(&mut tree.world);
        }
    }
}

#[test]
fn rows_that_cannot_be_read_are_made_up_for() {
    for table in *b"CDEFIKSV" {
        for shard in 0..4 {
            let mut tree = tree();
            let before = listing(&mut tree.world);
            let count = tree.world.rows(ShardId(shard)).all(table).len();
            for place in 0..count {
                let mut rows = tree.world.rows(ShardId(shard));
                let Some((key, _)) = rows.all(table).into_iter().nth(place) else { continue };
                rows.put_raw(key, &[4, 0xff, 0xff]);
                assert_repaired(&mut tree.world, |f| matches!(f, Finding::Unreadable { .. }));
            }
            let after = listing(&mut tree.world);
            let lost = before.iter().filter(|(path, _)| !after.contains_key(*path)).count();
            // What nothing else tells of is lost: inodes without bytes and names, and the bytes of extents.
            assert!(lost == 0 || table == b'I', "{}: {before:?} {after:?}", char::from(table));
        }
    }
}
