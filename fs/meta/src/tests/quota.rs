//! Owners, what is counted for them, and what they are refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_env::Kv;
use forebay_types::{
    ByteRange, Cred, Errno, Extent, InodeId, Limits, Location, Owner, Quota, SessionId, ShardId, Space,
};
use forebay_wire::meta::{LoggedOp, MetaError, MetaReply, MutateOp, NewNode, QuotaChange, ReadOp, RenameHow, SetAttr};
use proptest::prelude::*;

use super::bytes::{allocate, commit, receipts, stripe_at};
use super::world::{FS, World, entry, make};
use crate::key::{Keys, Slot};
use crate::quota;
use crate::record::{Inode, decode};
use crate::{Mirror, Run};

const ALICE: u32 = 10;
const BOB: u32 = 11;

fn user(uid: u32) -> Cred {
    Cred { uid, gid: 100 + uid, groups: vec![50] }
}

/// What every owner has, by looking at every inode.
fn counted(world: &World) -> BTreeMap<Owner, Space> {
    let mut all: BTreeMap<Owner, Space> = BTreeMap::new();
    for host in &world.hosts {
        let (start, end) = Keys(Slot::FIRST, host.shard.id()).all(b'I');
        for (_, bytes) in host.kv.scan(&start, &end, usize::MAX).unwrap() {
            let inode: Inode = decode("inode", &bytes).unwrap();
            let space = Space { bytes: inode.attr.allocated_bytes - inode.attr.cold_bytes, inodes: 1 };
            for owner in quota::owners(&inode) {
                let sum = all.entry(owner).or_default();
                *sum = sum.plus(space);
            }
        }
    }
    all
}

/// What every owner has, as shards say.
fn said(world: &mut World) -> BTreeMap<Owner, Space> {
    let mut all: BTreeMap<Owner, Space> = BTreeMap::new();
    for n in 0..world.hosts.len() as u16 {
        let mut after = None;
        loop {
            let op = ReadOp::Owners { after, limit: 2 };
            let Ok(MetaReply::Owners(page)) = world.read(&Cred::ROOT, ShardId(n), &op) else { panic!("owners") };
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (owner, space) in page {
                let sum = all.entry(owner).or_default();
                *sum = sum.plus(space);
            }
        }
    }
    all
}

fn used(world: &mut World, owner: Owner) -> Space {
    said(world).get(&owner).copied().unwrap_or_default()
}

fn limit(world: &mut World, owner: Owner, bytes: Option<u64>, inodes: Option<u64>) {
    world.limits.insert(owner, Limits { bytes, inodes });
    world.share_one(owner, &[]);
}

fn inline(ino: InodeId, len: usize) -> MutateOp {
    let range = ByteRange::new(0, len as u64);
    commit(ino, vec![Extent { range, location: Location::Inline(vec![7; len].into()) }], Vec::new())
}

fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn rename(from: InodeId, old: &str, to: InodeId, new: &str) -> MutateOp {
    MutateOp::Rename { parent: from, name: name(old), new_parent: to, new_name: name(new), how: RenameHow::Replace }
}

fn assign(world: &mut World, ino: InodeId, from: Option<InodeId>, to: Option<InodeId>) -> Option<Errno> {
    let change = QuotaChange::Assign { ino, from, to };
    world.errno(&Cred::ROOT, ino.shard(), MutateOp::Quota(change))
}

/// A directory that has a quota of its own, writable for all.
fn limited_dir(world: &mut World, text: &str) -> InodeId {
    let dir = world.mkdir(&Cred::ROOT, InodeId::ROOT, text, 0o777);
    assert_eq!(assign(world, dir, None, Some(dir)), None);
    dir
}

#[test]
fn nobody_makes_more_inodes_than_the_limit_and_can_again_when_some_are_gone() {
    let mut world = World::new(4, 1);
    let dir = world.mkdir(&Cred::ROOT, InodeId::ROOT, "d", 0o777);
    limit(&mut world, Owner::User(ALICE), None, Some(20));
    let alice = user(ALICE);
    for n in 0..20 {
        let made = if n % 2 == 0 {
            make(dir, &format!("f{n}"), NewNode::File, 0o644)
        } else {
            MutateOp::Mkdir { parent: dir, name: name(&format!("d{n}")), mode: 0o755.into() }
        };
        assert_eq!(world.errno(&alice, dir.shard(), made), None, "{n}");
    }
    for op in [
        make(dir, "more", NewNode::File, 0o644),
        MutateOp::Mkdir { parent: dir, name: name("more"), mode: 0o755.into() },
        MutateOp::Tmpfile { parent: dir, mode: 0o644.into(), linkable: false },
    ] {
        assert_eq!(world.errno(&alice, dir.shard(), op), Some(Errno::Quota));
    }
    assert_eq!(used(&mut world, Owner::User(ALICE)).inodes, 20);
    // Others can go on, and so can she after removing something.
    world.create(&user(BOB), dir, "bobs", 0o644);
    world.ok(&alice, dir.shard(), MutateOp::Unlink { parent: dir, name: name("f0") });
    world.settle();
    world.create(&alice, dir, "again", 0o644);
    world.settle();
    world.check();
    assert_eq!(said(&mut world), counted(&world));
}

#[test]
fn bytes_are_refused_by_user_by_group_and_by_directory() {
    for owner in [0, 1, 2] {
        let mut world = World::new(3, 2);
        let dir = limited_dir(&mut world, "d");
        let alice = user(ALICE);
        let owner = [Owner::User(ALICE), Owner::Group(100 + ALICE), Owner::Directory(dir)][owner];
        limit(&mut world, owner, Some(10_000), None);
        let (first, second) = (world.create(&alice, dir, "a", 0o644), world.create(&alice, dir, "b", 0o644));
        assert_eq!(world.errno(&alice, first.shard(), inline(first, 6_000)), None);
        assert_eq!(world.errno(&alice, second.shard(), inline(second, 6_000)), Some(Errno::Quota), "{owner}");
        // Bytes in place of bytes are no more than before.
        assert_eq!(world.errno(&alice, first.shard(), inline(first, 6_000)), None);
        assert_eq!(world.errno(&alice, second.shard(), inline(second, 4_000)), None);
        assert_eq!(used(&mut world, owner).bytes, 10_000);
    }
}

#[test]
fn stripes_of_a_refused_commit_are_garbage() {
    let mut world = World::new(1, 11);
    let dir = world.mkdir(&Cred::ROOT, InodeId::ROOT, "d", 0o777);
    let file = world.create(&user(ALICE), dir, "f", 0o644);
    limit(&mut world, Owner::User(ALICE), Some(1000), None);
    let stripes = allocate(&mut world, 2);
    let write = |stripe, len| {
        let extent = Extent { range: ByteRange::new(0, len), location: stripe_at(stripe, 0) };
        commit(file, vec![extent], receipts(stripe, 3))
    };
    assert_eq!(world.errno(&user(ALICE), ShardId(0), write(stripes[0], 2000)), Some(Errno::Quota));
    assert_eq!(world.errno(&user(ALICE), ShardId(0), write(stripes[1], 1000)), None);
    let later = world.now.plus(std::time::Duration::from_secs(3600));
    assert_eq!(world.hosts[0].shard.garbage(later, 10).unwrap(), [stripes[0]]);
    world.check();
}

#[test]
fn a_refused_mkdir_over_shards_leaves_nothing_behind() {
    let mut world = World::new(8, 3);
    let dir = limited_dir(&mut world, "d");
    limit(&mut world, Owner::Directory(dir), None, Some(5));
    let mut refused = 0;
    for n in 0..30 {
        let op = MutateOp::Mkdir { parent: dir, name: name(&format!("n{n}")), mode: 0o755.into() };
        refused += u32::from(world.errno(&user(ALICE), dir.shard(), op) == Some(Errno::Quota));
    }
    // The directory itself is one of the five.
    assert_eq!(refused, 26);
    world.settle();
    world.check();
    world.check_tree();
}

#[test]
fn who_is_given_a_file_needs_room_for_it() {
    let mut world = World::new(1, 4);
    let dir = world.mkdir(&Cred::ROOT, InodeId::ROOT, "d", 0o777);
    let file = world.create(&user(ALICE), dir, "f", 0o644);
    world.ok(&user(ALICE), file.shard(), inline(file, 5_000));
    limit(&mut world, Owner::User(BOB), Some(4_999), None);
    let chown = |uid| MutateOp::SetAttr { ino: file, set: SetAttr { uid: Some(uid), ..SetAttr::default() } };
    assert_eq!(world.errno(&Cred::ROOT, file.shard(), chown(BOB)), Some(Errno::Quota));
    limit(&mut world, Owner::User(BOB), Some(5_000), None);
    assert_eq!(world.errno(&Cred::ROOT, file.shard(), chown(BOB)), None);
    assert_eq!(used(&mut world, Owner::User(ALICE)), Space::default());
    assert_eq!(used(&mut world, Owner::User(BOB)), Space { bytes: 5_000, inodes: 1 });
}

#[test]
fn a_file_counts_where_it_is_moved_to_and_what_has_more_cannot_be_moved() {
    let mut world = World::new(1, 5);
    let (from, to) = (limited_dir(&mut world, "from"), limited_dir(&mut world, "to"));
    let file = world.create(&Cred::ROOT, from, "f", 0o644);
    world.ok(&Cred::ROOT, file.shard(), inline(file, 300));
    world.ok(&Cred::ROOT, from.shard(), rename(from, "f", to, "f"));
    assert_eq!(used(&mut world, Owner::Directory(from)), Space { bytes: 0, inodes: 1 });
    assert_eq!(used(&mut world, Owner::Directory(to)), Space { bytes: 300, inodes: 2 });
    // A file with another name, a directory, a second name, an exchange.
    world.create(&Cred::ROOT, to, "g", 0o644);
    world.ok(&Cred::ROOT, to.shard(), MutateOp::Link { ino: file, parent: to, name: name("f2") });
    world.mkdir(&Cred::ROOT, to, "sub", 0o755);
    world.create(&Cred::ROOT, from, "h", 0o644);
    let exchange = |parent, old: &str, new_parent, new: &str| MutateOp::Rename {
        parent,
        name: name(old),
        new_parent,
        new_name: name(new),
        how: RenameHow::Exchange,
    };
    for op in [
        rename(to, "f2", from, "f"),
        rename(to, "sub", from, "sub"),
        MutateOp::Link { ino: file, parent: from, name: name("l") },
        exchange(to, "g", from, "h"),
    ] {
        assert_eq!(world.errno(&Cred::ROOT, ShardId(0), op.clone()), Some(Errno::CrossDevice), "{op:?}");
    }
    // The limited directory itself may be renamed where it is.
    world.ok(&Cred::ROOT, ShardId(0), rename(InodeId::ROOT, "to", InodeId::ROOT, "other"));
    world.check();
    assert_eq!(said(&mut world), counted(&world));
}

#[test]
fn over_shards_nothing_moves_between_quotas() {
    let mut world = World::new(8, 6);
    let (from, to) = (limited_dir(&mut world, "from"), limited_dir(&mut world, "to"));
    assert_ne!(from.shard(), to.shard(), "the case is about two shards");
    world.create(&Cred::ROOT, from, "f", 0o644);
    let file = world.create(&Cred::ROOT, from, "g", 0o644);
    let link = MutateOp::Link { ino: file, parent: to, name: name("l") };
    assert_eq!(world.errno(&Cred::ROOT, from.shard(), rename(from, "f", to, "f")), Some(Errno::CrossDevice));
    assert_eq!(world.errno(&Cred::ROOT, to.shard(), link), Some(Errno::CrossDevice));
    world.settle();
    world.check();
    world.check_tree();
}

#[test]
fn inodes_count_for_another_quota_when_told() {
    let mut world = World::new(1, 7);
    let outer = limited_dir(&mut world, "outer");
    let inner = world.mkdir(&Cred::ROOT, outer, "inner", 0o777);
    let file = world.create(&Cred::ROOT, inner, "f", 0o644);
    assert_eq!(assign(&mut world, inner, None, Some(inner)), Some(Errno::Exists));
    assert_eq!(assign(&mut world, inner, Some(outer), Some(inner)), None);
    assert_eq!(assign(&mut world, file, Some(outer), Some(inner)), None);
    assert_eq!(assign(&mut world, file, Some(outer), Some(inner)), None, "told twice");
    assert_eq!(assign(&mut world, file, Some(inner), Some(file)), Some(Errno::NotDirectory));
    world.create(&Cred::ROOT, inner, "made later", 0o644);
    assert_eq!(used(&mut world, Owner::Directory(inner)).inodes, 3);
    assert_eq!(used(&mut world, Owner::Directory(outer)).inodes, 1);
    let by_user = QuotaChange::Assign { ino: file, from: Some(inner), to: None };
    assert_eq!(world.errno(&user(ALICE), ShardId(0), MutateOp::Quota(by_user)), Some(Errno::NotPermitted));
}

#[test]
fn a_definition_is_kept_until_no_shard_has_a_budget() {
    let mut world = World::new(2, 8);
    let owner = Owner::User(ALICE);
    let change = |world: &mut World, change| world.errno(&Cred::ROOT, ShardId(0), MutateOp::Quota(change));
    let quotas =
        |world: &mut World| match world.read(&Cred::ROOT, ShardId(0), &ReadOp::Quotas { after: None, limit: 10 }) {
            Ok(MetaReply::Quotas(quotas)) => quotas,
            other => panic!("{other:?}"),
        };
    assert_eq!(change(&mut world, QuotaChange::Unset { owner }), Some(Errno::NoEntry));
    let quota = Quota { hard: Limits { bytes: Some(1), inodes: None }, ..Quota::default() };
    assert_eq!(change(&mut world, QuotaChange::Set { owner, quota }), None);
    assert_eq!(quotas(&mut world)[0].quota, Some(quota));
    // Not while it holds.
    assert_eq!(change(&mut world, QuotaChange::Forget { owner }), None);
    assert_eq!(quotas(&mut world).len(), 1);
    assert_eq!(change(&mut world, QuotaChange::Unset { owner }), None);
    assert_eq!(quotas(&mut world)[0].quota, None);
    assert_eq!(change(&mut world, QuotaChange::Forget { owner }), None);
    assert_eq!(quotas(&mut world), []);
}

#[test]
fn of_two_that_decide_at_a_time_one_is_refused() {
    let mut world = World::new(1, 9);
    let owner = Owner::User(ALICE);
    let budget = Some(forebay_wire::meta::Budget::default());
    let share = |world: &mut World, after| {
        let change = QuotaChange::Share { owner, after, budget };
        world.errno(&Cred::ROOT, ShardId(0), MutateOp::Quota(change))
    };
    assert_eq!(share(&mut world, 0), None);
    assert_eq!(share(&mut world, 0), Some(Errno::Again));
    assert_eq!(share(&mut world, 1), None);
}

#[test]
fn a_log_is_not_refused_and_its_author_hears_who_is_over() {
    let mut world = World::new(1, 10);
    let dir = world.mkdir(&Cred::ROOT, InodeId::ROOT, "d", 0o777);
    let alice = user(ALICE);
    limit(&mut world, Owner::User(ALICE), None, Some(2));
    let mut mirror = Mirror::new(FS, SessionId(7), ShardId(0), 1);
    let Ok(MetaReply::Delegated(delegated)) = world.read(&alice, ShardId(0), &ReadOp::Delegate { dir }) else {
        panic!("not delegated")
    };
    assert_eq!(delegated.over, []);
    mirror.add_directory(&delegated).unwrap();
    let reserve = MutateOp::ReserveInodes { count: 8 };
    let MetaReply::Inodes { first, .. } = world.ok(&Cred::ROOT, ShardId(0), reserve) else { panic!("no numbers") };
    let run = |mirror: &mut Mirror, cred: &Cred, n: u64, now| {
        let op = make(dir, &format!("f{n}-{}", cred.uid), NewNode::File, 0o644);
        mirror.run(now, Some(InodeId::new(ShardId(0), first.counter() + n)), cred, &op)
    };
    let mut log: Vec<LoggedOp> = Vec::new();
    for n in 0..3 {
        let Run::Done(_, Some(logged)) = run(&mut mirror, &alice, n, world.now) else { panic!("not done here") };
        log.push(*logged);
    }
    let done = world.ok(&Cred::ROOT, ShardId(0), MutateOp::Logged { ops: log });
    let over = vec![Owner::User(ALICE)];
    assert_eq!(done, MetaReply::Logged { failed: Vec::new(), over: over.clone() });
    assert_eq!(used(&mut world, Owner::User(ALICE)).inodes, 3, "more than the limit by what was in the log");
    mirror.note_over(over);
    assert_eq!(run(&mut mirror, &alice, 3, world.now), Run::Elsewhere);
    assert_eq!(world.errno(&alice, ShardId(0), make(dir, "g", NewNode::File, 0o644)), Some(Errno::Quota));
    assert!(matches!(run(&mut mirror, &user(BOB), 4, world.now), Run::Done(_, Some(_))), "others go on");
    mirror.forget_over();
    assert!(matches!(run(&mut mirror, &alice, 5, world.now), Run::Done(_, Some(_))));
    // Who asks for the directory now hears it at once.
    match world.read(&alice, ShardId(0), &ReadOp::Delegate { dir }) {
        Ok(MetaReply::Delegated(delegated)) => assert_eq!(delegated.over, [Owner::User(ALICE)]),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, u8),
    Mkdir(usize, u8),
    Write(usize, u16),
    Truncate(usize, u16),
    Unlink(usize, u8),
    Rename(usize, u8, usize, u8),
    Link(usize, usize, u8),
    Chown(usize, u32),
    Assign(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (dir, file, name) = (0..4_usize, 0..64_usize, 0..6_u8);
    prop_oneof![
        (dir.clone(), name.clone()).prop_map(|(d, n)| Step::Create(d, n)),
        (dir.clone(), name.clone()).prop_map(|(d, n)| Step::Mkdir(d, n)),
        (file.clone(), any::<u16>()).prop_map(|(f, n)| Step::Write(f, n % 9000)),
        (file.clone(), any::<u16>()).prop_map(|(f, n)| Step::Truncate(f, n % 9000)),
        (dir.clone(), name.clone()).prop_map(|(d, n)| Step::Unlink(d, n)),
        (dir.clone(), name.clone(), dir.clone(), name.clone()).prop_map(|(a, b, c, d)| Step::Rename(a, b, c, d)),
        (file.clone(), dir.clone(), name).prop_map(|(f, d, n)| Step::Link(f, d, n)),
        (file.clone(), 10..13_u32).prop_map(|(f, u)| Step::Chown(f, u)),
        (file, dir).prop_map(|(f, d)| Step::Assign(f, d)),
    ]
}

proptest! {
    /// Whatever is done, in a world that loses messages: what is counted is what is there, and no limit is passed.
    #[test]
    fn what_is_counted_is_what_is_there(
        steps in proptest::collection::vec((step(), 10..13_u32), 1..120),
        seed: u64,
        limits in proptest::collection::vec(proptest::option::of(1_u64..40), 3),
        troubled: bool,
    ) {
        let mut world = World::new(3, seed);
        let mut dirs = vec![world.mkdir(&Cred::ROOT, InodeId::ROOT, "plain", 0o777)];
        for n in 0..3 {
            dirs.push(limited_dir(&mut world, &format!("limited{n}")));
        }
        let owners = [Owner::User(10), Owner::Group(111), Owner::Directory(dirs[1])];
        let set: Vec<(Owner, u64)> = owners.into_iter().zip(limits).filter_map(|(o, l)| Some((o, l?))).collect();
        for (owner, most) in &set {
            limit(&mut world, *owner, Some(most * 1000), Some(*most));
        }
        if troubled {
            (world.trouble, world.crashes) = (10, 40);
        }
        let mut files: Vec<InodeId> = Vec::new();
        for (step, uid) in steps {
            let cred = user(uid);
            let text = |n: u8| name(&format!("n{n}"));
            let pick = |files: &[InodeId], n: usize| files.get(n % files.len().max(1)).copied();
            let (to, op) = match step {
                Step::Create(d, n) => (dirs[d], make(dirs[d], &format!("n{n}"), NewNode::File, 0o666)),
                Step::Mkdir(d, n) => (dirs[d], MutateOp::Mkdir { parent: dirs[d], name: text(n), mode: 0o777.into() }),
                Step::Unlink(d, n) => (dirs[d], MutateOp::Unlink { parent: dirs[d], name: text(n) }),
                Step::Rename(a, b, c, d) => {
                    (dirs[a], rename(dirs[a], &format!("n{b}"), dirs[c], &format!("n{d}")))
                }
                Step::Write(f, len) => match pick(&files, f) {
                    Some(file) => (file, inline(file, usize::from(len) + 1)),
                    None => continue,
                },
                Step::Truncate(f, len) => match pick(&files, f) {
                    Some(ino) => {
                        let set = SetAttr { size: Some(len.into()), ..SetAttr::default() };
                        (ino, MutateOp::SetAttr { ino, set })
                    }
                    None => continue,
                },
                Step::Link(f, d, n) => match pick(&files, f) {
                    Some(ino) => (dirs[d], MutateOp::Link { ino, parent: dirs[d], name: text(n) }),
                    None => continue,
                },
                Step::Chown(f, uid) => match pick(&files, f) {
                    Some(ino) => {
                        let set = SetAttr { uid: Some(uid), gid: Some(100 + uid), ..SetAttr::default() };
                        (ino, MutateOp::SetAttr { ino, set })
                    }
                    None => continue,
                },
                Step::Assign(f, d) => match pick(&files, f) {
                    // Not a directory whose quota is limited: what is assigned is never refused.
                    Some(ino) => {
                        let (from, to) = (Some(dirs[2 + d % 2]), Some(dirs[3 - d % 2]));
                        (ino, MutateOp::Quota(QuotaChange::Assign { ino, from, to }))
                    }
                    None => continue,
                },
            };
            let by = if matches!(op, MutateOp::SetAttr { .. } | MutateOp::Quota(_)) { Cred::ROOT } else { cred };
            match world.call(&by, to.shard(), op.clone()) {
                Ok(reply @ MetaReply::Entry { kind: forebay_types::FileKind::Regular, .. }) => files.push(entry(&reply)),
                Ok(_) | Err(MetaError::Posix(_)) => {}
                Err(other) => panic!("{op:?}: {other}"),
            }
            for (owner, most) in &set {
                let used = used(&mut world, *owner);
                prop_assert!(used.inodes <= *most && used.bytes <= most * 1000, "{owner}: {used:?} of {most}");
            }
        }
        (world.trouble, world.crashes) = (0, 0);
        world.settle();
        world.check();
        prop_assert_eq!(said(&mut world), counted(&world));
    }
}
