use forebay_types::{LifetimeClass, PgId};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_are_what_they_always_were() {
    let keys = Keys(Slot::M, ShardId(0x0102));
    let (fs, ino) = (FsId(3), InodeId(0x0405));
    let stripe = StripeId::new(PgId(6), ShardId(0x0102), LifetimeClass::Job, 7);
    let at = Timestamp { secs: 8, nanos: 9 };
    let id = OpId { session: SessionId(10), sequence: 11 };
    let txn = TxnId { source: ShardId(12), number: 13 };
    let golden = [
        (keys.applied(), "6d010241"),
        (keys.members(), "6d010242"),
        (keys.counters(), "6d010243"),
        (keys.dentry(fs, ino, b"a"), "6d0102440000000300000000000004056 1"),
        (keys.extent(fs, ino, 2), "6d010245000000030000000000000405 0000000000000002"),
        (keys.usage(fs), "6d01024600000003"),
        (keys.garbage(at, stripe), "6d010247 8000000000000008 00000009 00000006010200000000000000000007"),
        (keys.inode(fs, ino), "6d010249000000030000000000000405"),
        (keys.cookie(fs, ino, 3), "6d01024b000000030000000000000405 0000000000000003"),
        (keys.moving(fs), "6d01024d00000003"),
        (keys.intent(fs, ino, b"a"), "6d01024e00000003000000000000040561"),
        (keys.orphan(fs, ino), "6d01024f000000030000000000000405"),
        (keys.reply(id), "6d010250 000000000000000a 000000000000000b"),
        (keys.answer(txn, 14), "6d010251 000c 000000000000000d 0000000e"),
        (keys.forgotten(ShardId(12)), "6d010252000c"),
        (keys.stripe(stripe), "6d010253 00000006010200000000000000000007"),
        (keys.txn(13), "6d010254 000000000000000d"),
        (keys.uncommitted(SessionId(10), stripe), "6d010255 000000000000000a 00000006010200000000000000000007"),
        (keys.owner(fs, Owner::User(15)), "6d010256 00000003 75 000000000000000f"),
        (keys.owner(fs, Owner::Group(15)), "6d010256 00000003 67 000000000000000f"),
        (keys.budget(fs, Owner::Directory(ino)), "6d010257 00000003 64 0000000000000405"),
        (keys.quota(fs, Owner::Directory(ino)), "6d010259 00000003 64 0000000000000405"),
        (keys.xattr(fs, ino, b"a"), "6d01025800000003000000000000040561"),
        (keys.session(SessionId(10)), "6d01025a000000000000000a"),
        (keys.cluster(b"a"), "6d01026361"),
        (Keys(Slot::N, ShardId(0x0102)).applied(), "6e010241"),
        (slot_in_use(ShardId(0x0102)), "6c0102"),
    ];
    for (key, want) in golden {
        assert_eq!(hex(&key), want.replace(' ', ""));
    }
}

#[test]
fn an_owner_is_found_in_its_key() {
    let keys = Keys(Slot::M, ShardId(1));
    for owner in [Owner::User(0), Owner::Group(u32::MAX), Owner::Directory(InodeId(u64::MAX))] {
        assert_eq!(owner_of(&keys.owner(FsId(9), owner)), Some(owner));
        assert_eq!(fs_of(&keys.owner(FsId(9), owner)), FsId(9));
    }
    assert_eq!(owner_of(&keys.usage(FsId(9))), None);
}

#[test]
fn times_before_1970_sort_before_those_after() {
    let time = |secs, nanos| order(Timestamp { secs, nanos });
    let sorted = [time(i64::MIN, 0), time(-1, 0), time(-1, 999), time(0, 0), time(1, 5), time(i64::MAX, 0)];
    assert!(sorted.is_sorted());
}

#[test]
fn after_is_the_end_of_all_that_begin_so() {
    assert_eq!(after(&[1, 2]), [1, 3]);
    assert_eq!(after(&[1, 0xff]), [2]);
    assert!(after(&[1, 0xff]).as_slice() > &[1, 0xff, 0xff, 0xff][..]);
}
