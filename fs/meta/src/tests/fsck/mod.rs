//! The check finds planted damage, repairs it without losing data, and finds nothing where there is nothing.

mod histories;
mod planted;
mod planted_space;
mod random_rows;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use forebay_env::{Batch, Durability, Kv};
use forebay_types::{Cred, FileKind, InodeId, Location, ShardId};
use forebay_wire::meta::{Finding, FsckPage, FsckRead, FsckReply, MetaReply, MutateOp, NewNode, ReadOp};

use super::bytes::{commit, extent, receipts, stripe_at};
use super::world::{FS, World, entry, make};
use crate::fsck::{Answer, Ask, Examination, PART_INODES, Scope, Summary};
use crate::key::{Keys, Slot};
use crate::record::{decode, encode};

const ROOT: Cred = Cred::ROOT;

/// Pages of examinations on their way.
type Pages = BTreeMap<(ShardId, u64), Vec<FsckPage>>;

impl World {
    /// `forebay fsck`, with `meanwhile` taking place between any two questions.
    pub fn fsck_while(&mut self, repair: bool, meanwhile: &mut dyn FnMut(&mut Self)) -> Summary {
        let shards = (0..self.hosts.len() as u16).map(ShardId).collect();
        let inodes = self.dice.roll(3) * PART_INODES;
        let mut check = Examination::new(FS, shards, inodes, repair, self.dice.roll(1 << 30));
        let mut pages = Pages::new();
        loop {
            while let Some(ask) = check.ask() {
                let answer = self.put(&ask, &mut pages);
                meanwhile(self);
                check.answer(ask, answer);
            }
            if !check.advance() {
                return check.into_summary();
            }
        }
    }

    pub fn fsck(&mut self, repair: bool) -> Summary {
        self.fsck_while(repair, &mut |_| {})
    }

    fn put(&mut self, ask: &Ask, pages: &mut Pages) -> Answer {
        match ask {
            Ask::Pause => {
                self.happen();
                Answer::Done
            }
            Ask::LostAndFound => Answer::Directory(self.lost_and_found()),
            Ask::Repair(shard, repair) => {
                // Nothing that is asked for may be refused, but it may be of no effect.
                self.ok(&ROOT, *shard, MutateOp::Repair(repair.clone()));
                Answer::Done
            }
            Ask::Read(shard, question) => {
                let host = &mut self.hosts[usize::from(shard.0)];
                let reply = match question {
                    FsckRead::Examine { check, page, part, only } => {
                        let scope = Scope { fs: Some(FS), part: *part, only: only.iter().copied().collect() };
                        let all = pages.entry((*shard, *check)).or_insert_with(|| {
                            let mut all = Vec::new();
                            let take = &mut |page| {
                                all.push(page);
                                true
                            };
                            host.shard.export().examine(&scope, take).unwrap();
                            all
                        });
                        FsckReply::Page(all[*page as usize].clone())
                    }
                    FsckRead::Watch { watch, inodes } => {
                        host.shard.watch(*watch, FS, inodes.iter().copied());
                        FsckReply::Watching
                    }
                    FsckRead::Look { watch, inodes, moving, txns, holds } => {
                        FsckReply::Seen(host.shard.look(*watch, FS, inodes, moving, (txns, holds)).unwrap())
                    }
                };
                Answer::Reply(Box::new(reply))
            }
        }
    }

    fn lost_and_found(&mut self) -> InodeId {
        let (parent, name) = (InodeId::ROOT, Bytes::from("lost+found"));
        match self.read(&ROOT, ShardId(0), &ReadOp::Lookup { parent, name }) {
            Ok(reply) => entry(&reply),
            Err(_) => self.mkdir(&ROOT, parent, "lost+found", 0o700),
        }
    }
}

/// Rows of one shard, to be damaged.
pub struct Rows<'a> {
    world: &'a mut World,
    shard: ShardId,
    pub keys: Keys,
}

impl World {
    pub fn rows(&mut self, shard: ShardId) -> Rows<'_> {
        Rows { world: self, shard, keys: Keys(Slot::FIRST, shard) }
    }
}

impl Rows<'_> {
    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let batch = Batch { writes: vec![(key, value)] };
        self.world.hosts[usize::from(self.shard.0)].kv.write(batch, Durability::Flushed).unwrap();
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        assert!(self.get(&key).is_some(), "there is something to damage");
        self.write(key, None);
    }

    pub fn put<T: serde::Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.write(key, Some(encode(value)));
    }

    pub fn put_raw(&mut self, key: Vec<u8>, value: &[u8]) {
        self.write(key, Some(value.to_vec()));
    }

    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.world.hosts[usize::from(self.shard.0)].kv.get(key).unwrap()
    }

    pub fn change<T: serde::Serialize + serde::de::DeserializeOwned>(
        &mut self,
        key: Vec<u8>,
        change: impl FnOnce(&mut T),
    ) {
        let mut value: T = decode("row", &self.get(&key).expect("a row to change")).unwrap();
        change(&mut value);
        self.put(key, &value);
    }

    /// All rows of a table, keys from the shard's prefix on.
    pub fn all(&self, table: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (start, end) = self.keys.all(table);
        self.world.hosts[usize::from(self.shard.0)].kv.scan(&start, &end, usize::MAX).unwrap()
    }
}

/// A small filesystem with everything in it that can be damaged.
pub struct Tree {
    pub world: World,
    pub a: InodeId,
    pub b: InodeId,
    pub sub: InodeId,
    /// In the root; inline bytes and a stripe.
    pub file: InodeId,
    /// In `a`, and by another name in `b`.
    pub linked: InodeId,
}

pub fn tree() -> Tree {
    let mut world = World::new(4, 5);
    // In other shards than the root, and than each other.
    let mut dirs = Vec::new();
    for n in 0..20 {
        let dir = world.mkdir(&ROOT, InodeId::ROOT, &format!("d{n}"), 0o755);
        if dir.shard() != ShardId(0) && dirs.iter().all(|other: &InodeId| other.shard() != dir.shard()) {
            dirs.push(dir);
        }
    }
    let (a, b) = (dirs[0], dirs[1]);
    let sub = world.mkdir(&ROOT, a, "sub", 0o755);
    world.create(&ROOT, sub, "leaf", 0o644);
    let linked = world.create(&ROOT, a, "one", 0o640);
    world.ok(&ROOT, b.shard(), MutateOp::Link { ino: linked, parent: b, name: "two".into() });
    let link = make(b, "symlink", NewNode::Symlink("/elsewhere".into()), 0o777);
    world.ok(&ROOT, b.shard(), link);
    let file = world.create(&ROOT, InodeId::ROOT, "file", 0o644);
    let stripe = super::bytes::allocate(&mut world, 1)[0];
    let extents = vec![extent(0, 3, Location::Inline("abc".into())), extent(10, 100, stripe_at(stripe, 7))];
    world.ok(&ROOT, ShardId(0), commit(file, extents, receipts(stripe, 3)));
    world.settle();
    assert_clean(&mut world);
    Tree { world, a, b, sub, file, linked }
}

/// Everything that is there: by path what it is, its number and where its bytes are.
pub fn listing(world: &mut World) -> BTreeMap<String, String> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![(String::new(), InodeId::ROOT)]);
    while let Some((path, dir)) = todo.pop() {
        let op = ReadOp::ReadDir { dir, after: 2, limit: 4096, with_attrs: false };
        let Ok(MetaReply::Entries { entries, end: true }) = world.read(&ROOT, dir.shard(), &op) else {
            panic!("{path} cannot be read")
        };
        for found in entries {
            let path = format!("{path}/{}", String::from_utf8_lossy(&found.name));
            let op = ReadOp::Lookup { parent: dir, name: found.name };
            assert_eq!(entry(&world.read(&ROOT, dir.shard(), &op).unwrap()), found.ino, "{path}");
            let range = forebay_types::ByteRange::new(0, u64::MAX);
            let bytes = match found.kind {
                FileKind::Regular => {
                    let op = ReadOp::Extents { ino: found.ino, range };
                    match world.read(&ROOT, found.ino.shard(), &op) {
                        Ok(MetaReply::Extents { extents, .. }) => format!("{extents:?}"),
                        other => panic!("{path}: {other:?}"),
                    }
                }
                FileKind::Directory => {
                    todo.push((path.clone(), found.ino));
                    String::new()
                }
                _ => String::new(),
            };
            all.insert(path, format!("{:?} {} {bytes}", found.kind, found.ino));
        }
    }
    all
}

/// Neither all shards together nor any by itself have anything wrong.
pub fn assert_clean(world: &mut World) {
    let found = world.fsck(false);
    assert_eq!(found.findings, []);
    assert_eq!((found.unsettled, found.complete), (0, true));
    world.check();
}

/// Damage is found, not touched by looking, repaired, and nothing is found from then on. What was found.
pub fn assert_repaired(world: &mut World, expected: impl Fn(&Finding) -> bool) -> BTreeSet<Finding> {
    let found: BTreeSet<Finding> = world.fsck(false).findings.into_iter().map(|(finding, _)| finding).collect();
    assert!(found.iter().any(expected), "not found: {found:?}");
    let again: BTreeSet<Finding> = world.fsck(false).findings.into_iter().map(|(finding, _)| finding).collect();
    assert_eq!(found, again, "looking has changed something");
    let repaired = world.fsck(true);
    assert!(repaired.findings.iter().all(|(_, repaired)| *repaired), "left: {:?}", repaired.findings);
    assert!(repaired.findings.iter().any(|(finding, _)| found.contains(finding)));
    assert_clean(world);
    world.settle();
    assert_clean(world);
    found
}
