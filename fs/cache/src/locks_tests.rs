use forebay_types::{LockMode, SessionId};

use super::*;

const FILE: InodeId = InodeId(1025);

fn lock(owner: u64, handle: u64, first: u64, last: u64) -> FileLock {
    let (session, kind, mode) = (SessionId(1), LockKind::Posix, LockMode::Exclusive);
    FileLock { session, kind, owner, handle, first, last, mode, pid: owner as u32 }
}

#[test]
fn what_is_given_back_is_not_named_to_a_new_leader() {
    let mut locks = HeldLocks::default();
    locks.hold(FILE, lock(1, 10, 0, 9));
    assert!(locks.clear(FILE, &lock(1, 10, 3, 4).span()) && !locks.clear(FILE, &lock(2, 10, 3, 4).span()));
    let mut named = locks.of_shard(FILE.shard());
    named.sort_by_key(|(_, lock)| lock.first);
    assert_eq!(named, [(FILE, lock(1, 10, 0, 2)), (FILE, lock(1, 10, 5, 9))]);
    assert_eq!(locks.of_shard(ShardId(FILE.shard().0 + 1)), []);
    assert!(locks.holds_any(1) && !locks.holds_any(2));
}

#[test]
fn only_who_was_given_a_lock_has_any_to_give_back() {
    let mut locks = HeldLocks::default();
    assert!(!locks.clear_owner(FILE, LockKind::Posix, 1));
    locks.hold(FILE, lock(1, 10, 0, 9));
    // Given back byte by byte: still, the shard may know better.
    locks.clear(FILE, &lock(1, 10, 0, 9).span());
    assert!(!locks.clear_owner(FILE, LockKind::Flock, 1) && !locks.clear_owner(FILE, LockKind::Posix, 2));
    assert!(locks.clear_owner(FILE, LockKind::Posix, 1) && !locks.clear_owner(FILE, LockKind::Posix, 1));
    assert!(!locks.close(FILE, 10, None));
    let flock = FileLock { kind: LockKind::Flock, ..lock(2, 20, 0, u64::MAX) };
    locks.hold(FILE, flock);
    assert!(!locks.close(FILE, 21, None) && locks.close(FILE, 21, Some(2)));
    assert!(locks.files.is_empty());
}

#[test]
fn an_open_file_whose_lock_was_lost_is_so_until_it_is_closed() {
    let mut locks = HeldLocks::default();
    locks.hold(FILE, lock(1, 10, 0, 9));
    assert!(locks.lose(FILE, &lock(1, 10, 5, 20)) && !locks.lose(FILE, &lock(1, 11, 5, 20)));
    assert!(locks.is_lost(FILE, 10) && !locks.is_lost(FILE, 11));
    assert_eq!(locks.of_shard(FILE.shard()), [(FILE, lock(1, 10, 0, 4))]);
    assert!(locks.close(FILE, 10, None) && !locks.is_lost(FILE, 10));
}
