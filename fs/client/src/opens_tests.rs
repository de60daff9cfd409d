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
