use super::*;

fn ino(counter: u64, shard: u16) -> InodeId {
    InodeId::new(ShardId(shard), counter)
}

#[test]
fn an_inode_is_open_until_it_was_closed_as_often() {
    let opens = Opens::default();
    opens.add(ino(1, 0), false);
    opens.add(ino(1, 0), true);
    assert!(!opens.remove(ino(1, 0)));
    assert_eq!(opens.of(ShardId(0)), [OpenInode { ino: ino(1, 0), write: true }]);
    assert!(opens.remove(ino(1, 0)));
    assert_eq!(opens.of(ShardId(0)), []);
    assert!(!opens.remove(ino(1, 0)), "it was not open");
}

#[test]
fn every_shard_with_something_open_is_visited() {
    let opens = Opens::default();
    for inode in [ino(1, 0), ino(2, 0), ino(3, 5)] {
        opens.add(inode, false);
    }
    let shards: Vec<ShardId> = opens.one_of_each_shard().into_iter().map(InodeId::shard).collect();
    assert_eq!(shards, [ShardId(0), ShardId(5)]);
    assert_eq!(opens.of(ShardId(5)).len(), 1);
}
