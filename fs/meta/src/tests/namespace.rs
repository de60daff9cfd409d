//! Random operations on a few shards against a plain tree in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_types::{Cred, Errno, FileKind, InodeId};
use forebay_wire::meta::{MetaReply, MutateOp, NewNode, ReadOp, RenameHow};
use proptest::prelude::*;

use super::world::{World, entry, make};

#[derive(Default)]
struct Node {
    dir: bool,
    names: BTreeMap<String, usize>,
    parent: usize,
    ino: InodeId,
}

/// What POSIX says, for the superuser.
struct Model {
    nodes: Vec<Node>,
}

impl Model {
    fn new() -> Self {
        Self { nodes: vec![Node { dir: true, ino: InodeId::ROOT, ..Node::default() }] }
    }

    fn get(&self, dir: usize, name: &str) -> Option<usize> {
        self.nodes[dir].names.get(name).copied()
    }

    fn dirs(&self) -> Vec<usize> {
        let mut dirs = vec![0];
        let mut at = 0;
        while at < dirs.len() {
            dirs.extend(self.nodes[dirs[at]].names.values().filter(|n| self.nodes[**n].dir));
            at += 1;
        }
        dirs
    }

    fn files(&self) -> Vec<usize> {
        let dirs = self.dirs();
        dirs.iter().flat_map(|d| self.nodes[*d].names.values().copied()).filter(|n| !self.nodes[*n].dir).collect()
    }

    fn add(&mut self, parent: usize, name: &str, dir: bool, ino: InodeId) {
        let id = self.nodes.len();
        self.nodes.push(Node { dir, parent, ino, ..Node::default() });
        self.nodes[parent].names.insert(name.into(), id);
    }

    fn below(&self, mut at: usize, top: usize) -> bool {
        while at != top && at != 0 {
            at = self.nodes[at].parent;
        }
        at == top
    }

    fn rename(&mut self, from: usize, name: &str, to: usize, new: &str) -> Option<Errno> {
        let Some(moved) = self.get(from, name) else { return Some(Errno::NoEntry) };
        let target = self.get(to, new);
        if target == Some(moved) {
            return None;
        }
        let dir = self.nodes[moved].dir;
        if to == moved {
            return Some(Errno::Invalid);
        }
        match target.map(|t| self.nodes[t].dir) {
            Some(true) if !dir => return Some(Errno::IsDirectory),
            Some(false) if dir => return Some(Errno::NotDirectory),
            _ => {}
        }
        if dir && from != to && self.below(to, moved) {
            return Some(Errno::Invalid);
        }
        if target.is_some_and(|t| !self.nodes[t].names.is_empty()) {
            return Some(Errno::NotEmpty);
        }
        self.nodes[from].names.remove(name);
        self.nodes[to].names.insert(new.into(), moved);
        self.nodes[moved].parent = to;
        None
    }
}

impl Model {
    fn exchange(&mut self, from: usize, name: &str, to: usize, new: &str) -> Option<Errno> {
        let Some(moved) = self.get(from, name) else { return Some(Errno::NoEntry) };
        if to == moved {
            return Some(Errno::Invalid);
        }
        let Some(target) = self.get(to, new) else { return Some(Errno::NoEntry) };
        if target == moved {
            return None;
        }
        for (node, into) in [(moved, to), (target, from)] {
            if from != to && self.nodes[node].dir && self.below(into, node) {
                return Some(Errno::Invalid);
            }
        }
        self.nodes[from].names.insert(name.into(), target);
        self.nodes[to].names.insert(new.into(), moved);
        self.nodes[moved].parent = to;
        self.nodes[target].parent = from;
        None
    }
}

fn one_of(world: &mut World, from: &[usize]) -> usize {
    from[world.dice.roll(from.len() as u64) as usize]
}

fn name(world: &mut World) -> String {
    format!("n{}", world.dice.roll(4))
}

fn step(world: &mut World, model: &mut Model) {
    let root = Cred::ROOT;
    let dirs = model.dirs();
    let (dir, name) = (one_of(world, &dirs), name(world));
    let parent = model.nodes[dir].ino;
    let (shard, bytes) = (parent.shard(), Bytes::from(name.clone()));
    let there = model.get(dir, &name);
    let there_dir = there.map(|n| model.nodes[n].dir);
    match world.dice.roll(14) {
        0..=2 => {
            let op = MutateOp::Mkdir { parent, name: bytes, mode: 0o755.into() };
            made(world.call(&root, shard, op), there, |ino| model.add(dir, &name, true, ino));
        }
        3..=4 => {
            let op = make(parent, &name, NewNode::File, 0o644);
            made(world.call(&root, shard, op), there, |ino| model.add(dir, &name, false, ino));
        }
        5 => {
            let want = match there_dir {
                None => Some(Errno::NoEntry),
                Some(true) => Some(Errno::IsDirectory),
                Some(false) => None,
            };
            assert_eq!(world.errno(&root, shard, MutateOp::Unlink { parent, name: bytes }), want);
            if want.is_none() {
                model.nodes[dir].names.remove(&name);
            }
        }
        6 => {
            let empty = there.is_some_and(|n| model.nodes[n].names.is_empty());
            let want = match there_dir {
                None => Some(Errno::NoEntry),
                Some(false) => Some(Errno::NotDirectory),
                Some(true) => (!empty).then_some(Errno::NotEmpty),
            };
            assert_eq!(world.errno(&root, shard, MutateOp::Rmdir { parent, name: bytes }), want);
            if want.is_none() {
                model.nodes[dir].names.remove(&name);
            }
        }
        7 => {
            let files = model.files();
            if files.is_empty() {
                return;
            }
            let file = one_of(world, &files);
            let op = MutateOp::Link { ino: model.nodes[file].ino, parent, name: bytes };
            let want = there.map(|_| Errno::Exists);
            assert_eq!(world.errno(&root, shard, op), want);
            if want.is_none() {
                model.nodes[dir].names.insert(name, file);
            }
        }
        _ => {
            let (to, new) = (one_of(world, &dirs), self::name(world));
            let (new_parent, new_name) = (model.nodes[to].ino, Bytes::from(new.clone()));
            let how = [RenameHow::Replace, RenameHow::Replace, RenameHow::Exchange][world.dice.roll(3) as usize];
            let op = MutateOp::Rename { parent, name: bytes, new_parent, new_name, how };
            let got = world.errno(&root, shard, op);
            let want = match how {
                RenameHow::Exchange => model.exchange(dir, &name, to, &new),
                _ => model.rename(dir, &name, to, &new),
            };
            assert_eq!(got, want, "{how:?} {dir}/{name} to {to}/{new}");
        }
    }
}

fn made(reply: Result<MetaReply, forebay_wire::meta::MetaError>, there: Option<usize>, add: impl FnOnce(InodeId)) {
    match there {
        Some(_) => assert_eq!(reply, Err(Errno::Exists.into())),
        None => add(entry(&reply.unwrap())),
    }
}

fn compare(world: &mut World, model: &Model) {
    for dir in model.dirs() {
        let node = &model.nodes[dir];
        let op = ReadOp::ReadDir { dir: node.ino, after: 0, limit: 100, with_attrs: true };
        let Ok(MetaReply::Entries { entries, .. }) = world.read(&Cred::ROOT, node.ino.shard(), &op) else {
            panic!("readdir")
        };
        let got: BTreeMap<String, InodeId> =
            entries[2..].iter().map(|e| (String::from_utf8(e.name.to_vec()).unwrap(), e.ino)).collect();
        let want: BTreeMap<String, InodeId> =
            node.names.iter().map(|(name, id)| (name.clone(), model.nodes[*id].ino)).collect();
        assert_eq!(got, want, "names of {}", node.ino);
        let subdirs = node.names.values().filter(|n| model.nodes[**n].dir).count() as u32;
        let attr = world.attr(node.ino);
        assert_eq!((attr.kind, attr.nlink), (FileKind::Directory, 2 + subdirs));
    }
}

fn run(shards: u16, seed: u64, steps: usize, trouble: u64, crashes: u64) {
    let mut world = World::new(shards, seed);
    let mut model = Model::new();
    world.trouble = trouble;
    world.crashes = crashes;
    for n in 0..steps {
        step(&mut world, &mut model);
        world.check();
        if n % 10 == 9 {
            world.settle();
            compare(&mut world, &model);
        }
    }
    world.crashes = 0;
    world.trouble = 0;
    world.settle();
    for _ in 0..200 {
        world.happen();
    }
    compare(&mut world, &model);
    world.check();
    world.check_tree();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn one_shard_is_a_tree(seed: u64) {
        run(1, seed, 80, 0, 0);
    }

    #[test]
    fn many_shards_are_one_tree(seed: u64) {
        run(4, seed, 80, 0, 0);
    }

    #[test]
    fn many_shards_are_one_tree_with_lost_and_doubled_messages_and_crashes(seed: u64) {
        run(4, seed, 80, 6, 12);
    }
}

/// Several clients at a time: what they do is not known in order, but nothing may be lost or doubled.
#[test]
fn names_moved_by_many_at_once_are_neither_lost_nor_doubled() {
    for seed in 0..12 {
        let mut world = World::new(4, seed);
        let root = Cred::ROOT;
        let dirs: Vec<InodeId> = (0..5).map(|n| world.mkdir(&root, InodeId::ROOT, &format!("d{n}"), 0o755)).collect();
        for n in 0..6 {
            world.create(&root, dirs[n % 5], &format!("f{n}"), 0o644);
            world.mkdir(&root, dirs[n % 5], &format!("s{n}"), 0o755);
        }
        world.trouble = 5;
        world.crashes = 15;
        let mut waiting = Vec::new();
        for _ in 0..150 {
            let (a, b) = (dirs[world.dice.roll(5) as usize], dirs[world.dice.roll(5) as usize]);
            let kind = if world.dice.roll(2) == 0 { "f" } else { "s" };
            let name = Bytes::from(format!("{kind}{}", world.dice.roll(6)));
            let (how, other) = match world.dice.roll(2) {
                0 => (RenameHow::NoReplace, name.clone()),
                _ => (RenameHow::Exchange, Bytes::from(format!("{kind}{}", world.dice.roll(6)))),
            };
            let op = MutateOp::Rename { parent: a, name, new_parent: b, new_name: other, how };
            let mutation = world.mutation(forebay_types::SessionId(9), &root, op);
            let input = crate::Input::Mutate(Box::new(mutation.clone()));
            world.submit(a.shard(), input);
            waiting.push((a.shard(), mutation));
            world.happen();
            world.check();
        }
        world.settle();
        world.trouble = 0;
        world.crashes = 0;
        world.settle();
        for _ in 0..200 {
            world.happen();
        }
        world.check();
        world.check_tree();
        let mut names = Vec::new();
        for dir in &dirs {
            let op = ReadOp::ReadDir { dir: *dir, after: 2, limit: 100, with_attrs: false };
            let Ok(MetaReply::Entries { entries, .. }) = world.read(&root, dir.shard(), &op) else { panic!("readdir") };
            names.extend(entries.into_iter().map(|e| String::from_utf8(e.name.to_vec()).unwrap()));
        }
        names.sort();
        let want: Vec<String> = ["f", "s"].iter().flat_map(|k| (0..6).map(move |n| format!("{k}{n}"))).collect();
        assert_eq!(names, want, "seed {seed}");
    }
}
