use std::sync::Arc;

use forebay_env::MemoryKv;
use forebay_types::{Cred, FsId, InodeId, SessionId};
use forebay_wire::meta::{MetaReply, NewNode, ReadOp};

use super::*;
use crate::tests::world::{World, make, receipt_key};
use crate::{OpenTable, Shard, ShardConfig};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(shard: &Shard<Arc<MemoryKv>>) -> Rows {
    let mut rows = Rows::new();
    shard
        .export()
        .visit(&mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    rows
}

fn open(kv: &Arc<MemoryKv>) -> Shard<Arc<MemoryKv>> {
    let config = ShardConfig { shard: ShardId(0), shard_count: 1, receipt_key: receipt_key() };
    Shard::open(kv.clone(), config).unwrap()
}

fn names(shard: &Shard<Arc<MemoryKv>>) -> Vec<String> {
    let op = ReadOp::ReadDir { dir: InodeId::ROOT, after: 0, limit: 100, with_attrs: false };
    match shard.read(FsId(1), SessionId(1), &Cred::ROOT, &op, &mut OpenTable::new()) {
        MetaReply::Entries { entries, .. } => {
            entries.iter().skip(2).map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_received_takes_the_place_of_the_old_one_at_once_or_not_at_all() {
    let mut source = World::new(1, 1);
    for name in ["a", "b", "c"] {
        source.ok(&Cred::ROOT, ShardId(0), make(InodeId::ROOT, name, NewNode::File, 0o644));
    }
    let shard = &mut source.hosts[0].shard;
    let next = LogPosition { index: shard.applied().index + 1, term: 9 };
    shard.set_members(next, Some(b"members".to_vec())).unwrap();
    let all = rows(shard);
    let mut target = World::new(1, 2);
    target.ok(&Cred::ROOT, ShardId(0), make(InodeId::ROOT, "old", NewNode::File, 0o644));
    let kv = target.hosts[0].kv.clone();

    let staging = Staging::begin(&*kv, ShardId(0)).unwrap();
    staging.receive(&*kv, all[..all.len() / 2].to_vec()).unwrap();
    assert_eq!(names(&open(&kv)), ["old"], "half a state is no state");
    // The transfer broke off, and begins again.
    let staging = Staging::begin(&*kv, ShardId(0)).unwrap();
    staging.receive(&*kv, all.clone()).unwrap();
    assert_eq!(staging.received(&*kv).unwrap(), (next, b"members".to_vec()));
    assert_eq!(names(&open(&kv)), ["old"]);
    let mut batch = Batch::default();
    staging.install(&mut batch);
    kv.write(batch, Durability::Flushed).unwrap();
    let fresh = open(&kv);
    assert_eq!((names(&fresh), fresh.applied()), (vec!["a".into(), "b".into(), "c".into()], next));
    assert_eq!(rows(&fresh), all);
    assert_eq!(fresh.fsck().unwrap(), []);

    // And again, into the place that is free now.
    let staging = Staging::begin(&*kv, ShardId(0)).unwrap();
    assert_eq!(names(&open(&kv)), ["a", "b", "c"], "the state in use is not touched");
    assert!(staging.received(&*kv).is_err(), "nothing is left of the old one");
}

#[test]
fn a_state_forgotten_is_gone_and_its_rows_are_erased() {
    let mut world = World::new(1, 1);
    world.ok(&Cred::ROOT, ShardId(0), make(InodeId::ROOT, "a", NewNode::File, 0o644));
    let kv = world.hosts[0].kv.clone();
    let beside = Keys(Slot::M, ShardId(1)).applied();
    let mut batch = Batch::default();
    batch.put(beside.clone(), vec![0; 16]);
    kv.write(batch, Durability::Flushed).unwrap();
    // A transfer that broke off has left rows in the other slot.
    let staging = Staging::begin(&*kv, ShardId(0)).unwrap();
    staging.receive(&*kv, rows(&open(&kv))).unwrap();
    let mut batch = Batch::default();
    forget(ShardId(0), &mut batch);
    kv.write(batch, Durability::Flushed).unwrap();
    let fresh = open(&kv);
    assert_eq!((fresh.applied(), fresh.members().unwrap()), (LogPosition::default(), None));
    erase(&*kv, ShardId(0)).unwrap();
    // `log` is the test world's own.
    let left: Vec<Vec<u8>> = kv.scan(b"m", &[0xff], usize::MAX).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [beside], "another shard's");
    assert_eq!(kv.get(&key::slot_in_use(ShardId(0))).unwrap(), None);
}
