use forebay_types::{FsId, InodeId};
use proptest::prelude::*;

use super::*;

const NODE: SessionId = SessionId(1);
const FILE: Inode = (FsId(1), InodeId(1025));
const OTHER: Inode = (FsId(1), InodeId(2049));
const ALL: (u64, u64) = (0, i64::MAX as u64);

fn lock(owner: u64, range: (u64, u64), mode: LockMode) -> FileLock {
    let pid = owner as u32;
    FileLock { session: NODE, kind: LockKind::Posix, owner, handle: owner, first: range.0, last: range.1, mode, pid }
}

fn shared(owner: u64) -> FileLock {
    lock(owner, ALL, LockMode::Shared)
}

fn exclusive(owner: u64) -> FileLock {
    lock(owner, ALL, LockMode::Exclusive)
}

fn flock(owner: u64, mode: LockMode) -> FileLock {
    FileLock { kind: LockKind::Flock, ..lock(owner, ALL, mode) }
}

/// A name that nobody waits by.
fn new_name(table: &LockTable) -> WaitId {
    let names = table.files.values().flat_map(|file| &file.waiting).map(|waiter| waiter.id.1);
    (NODE, names.max().unwrap_or(0) + 1)
}

fn ask(table: &mut LockTable, inode: Inode, lock: FileLock) -> (WaitId, Result<Asked, LockRefusal>) {
    let id = new_name(table);
    let asked = table.lock(inode, id, lock, false);
    table.check_invariants();
    (id, asked)
}

fn wait(table: &mut LockTable, inode: Inode, lock: FileLock) -> WaitId {
    match ask(table, inode, lock) {
        (id, Ok(Asked::Waits(_))) => id,
        other => panic!("{lock:?} does not wait: {other:?}"),
    }
}

fn held(table: &mut LockTable, inode: Inode, lock: FileLock) {
    let (_, asked) = ask(table, inode, lock);
    assert!(matches!(asked, Ok(Asked::Held(_))), "{lock:?}: {asked:?}");
}

fn span(kind: LockKind, owner: u64, (first, last): (u64, u64)) -> LockSpan {
    LockSpan { session: NODE, kind, owner, first, last }
}

fn in_the_way(table: &LockTable, inode: Inode, lock: &FileLock) -> Option<FileLock> {
    table.in_the_way(inode, *lock).next().copied()
}

fn unlock(table: &mut LockTable, owner: u64) -> Vec<WaitId> {
    let gone_on = table.unlock(FILE, &span(LockKind::Posix, owner, ALL));
    table.check_invariants();
    gone_on
}

#[test]
fn sharers_share_and_one_alone_is_alone() {
    let mut table = LockTable::default();
    table.try_lock(FILE, shared(1)).unwrap();
    table.try_lock(FILE, shared(2)).unwrap();
    assert_eq!(table.try_lock(FILE, exclusive(3)), Err(LockRefusal::Conflict));
    table.try_lock(OTHER, exclusive(3)).unwrap();
    unlock(&mut table, 1);
    // Who shares alone can have it alone, and share again.
    table.try_lock(FILE, exclusive(2)).unwrap();
    assert_eq!(in_the_way(&table, FILE, &shared(1)), Some(exclusive(2)));
    table.try_lock(FILE, shared(2)).unwrap();
    table.try_lock(FILE, shared(1)).unwrap();
}

#[test]
fn ranges_are_split_and_joined() {
    let mut table = LockTable::default();
    held(&mut table, FILE, lock(1, (0, 9), LockMode::Exclusive));
    held(&mut table, FILE, lock(1, (10, 19), LockMode::Exclusive));
    assert_eq!(table.count, 1);
    table.unlock(FILE, &span(LockKind::Posix, 1, (5, 5)));
    table.check_invariants();
    assert_eq!(table.count, 2);
    assert!(in_the_way(&table, FILE, &lock(2, (5, 5), LockMode::Exclusive)).is_none());
    assert!(in_the_way(&table, FILE, &lock(2, (4, 5), LockMode::Exclusive)).is_some());
    held(&mut table, FILE, lock(1, (3, 12), LockMode::Shared));
    assert!(in_the_way(&table, FILE, &lock(2, (3, 12), LockMode::Shared)).is_none());
    assert!(in_the_way(&table, FILE, &lock(2, (2, 3), LockMode::Shared)).is_some());
    unlock(&mut table, 1);
    assert!(table.is_empty());
}

#[test]
fn the_two_kinds_do_not_know_each_other() {
    let mut table = LockTable::default();
    table.try_lock(FILE, exclusive(1)).unwrap();
    table.try_lock(FILE, flock(2, LockMode::Exclusive)).unwrap();
    assert!(table.try_lock(FILE, flock(3, LockMode::Shared)).is_err());
    unlock(&mut table, 2);
    assert!(table.try_lock(FILE, flock(3, LockMode::Shared)).is_err());
}

#[test]
fn who_waits_first_is_served_first_and_is_not_starved() {
    let mut table = LockTable::default();
    held(&mut table, FILE, shared(1));
    let alone = wait(&mut table, FILE, exclusive(2));
    // Sharing would be possible at once, but for ever.
    let sharer = wait(&mut table, FILE, shared(3));
    assert_eq!(unlock(&mut table, 1), [alone]);
    assert_eq!(unlock(&mut table, 2), [sharer]);
}

#[test]
fn who_holds_something_overtakes_so_that_order_brings_nothing_to_a_standstill() {
    let mut table = LockTable::default();
    held(&mut table, OTHER, exclusive(1));
    held(&mut table, FILE, shared(2));
    wait(&mut table, FILE, exclusive(3));
    wait(&mut table, OTHER, exclusive(2));
    // 3 waits for 2, who waits for 1: waiting for 3 would be waiting for itself.
    held(&mut table, FILE, shared(1));
}

#[test]
fn a_process_is_one_whatever_it_opened() {
    let mut table = LockTable::default();
    held(&mut table, OTHER, FileLock { pid: 7, ..flock(1, LockMode::Exclusive) });
    held(&mut table, FILE, flock(2, LockMode::Shared));
    wait(&mut table, FILE, flock(3, LockMode::Exclusive));
    held(&mut table, FILE, FileLock { pid: 7, ..flock(4, LockMode::Shared) });
}

#[test]
fn waiting_in_a_circle_is_refused() {
    let mut table = LockTable::default();
    held(&mut table, FILE, lock(1, (0, 0), LockMode::Exclusive));
    held(&mut table, FILE, lock(2, (1, 1), LockMode::Exclusive));
    held(&mut table, OTHER, exclusive(3));
    let waits = wait(&mut table, FILE, lock(1, (1, 1), LockMode::Exclusive));
    wait(&mut table, OTHER, exclusive(2));
    assert_eq!(ask(&mut table, FILE, lock(3, (0, 0), LockMode::Shared)).1, Err(LockRefusal::Deadlock));
    assert_eq!(table.withdraw(FILE, waits), []);
    wait(&mut table, FILE, lock(3, (0, 0), LockMode::Shared));
}

#[test]
fn a_flock_that_is_to_change_is_given_up_first() {
    let mut table = LockTable::default();
    held(&mut table, FILE, flock(1, LockMode::Shared));
    held(&mut table, FILE, flock(2, LockMode::Shared));
    let first = wait(&mut table, FILE, flock(1, LockMode::Exclusive));
    // 1 has given up what would be in the way of 2.
    held(&mut table, FILE, flock(2, LockMode::Exclusive));
    assert_eq!(table.unlock(FILE, &span(LockKind::Flock, 2, ALL)), [first]);
    table.check_invariants();
}

#[test]
fn who_gives_up_waiting_lets_those_behind_go_on() {
    let mut table = LockTable::default();
    held(&mut table, FILE, shared(1));
    let alone = wait(&mut table, FILE, exclusive(2));
    let sharer = wait(&mut table, FILE, shared(3));
    assert_eq!(table.withdraw(FILE, alone), [sharer]);
    assert_eq!(table.withdraw(FILE, alone), []);
    table.check_invariants();
}

#[test]
fn closing_gives_back_what_was_taken_on_it() {
    let mut table = LockTable::default();
    held(&mut table, FILE, FileLock { handle: 70, ..lock(1, (0, 4), LockMode::Exclusive) });
    held(&mut table, FILE, FileLock { handle: 71, ..lock(1, (5, 9), LockMode::Exclusive) });
    let waits = wait(&mut table, FILE, lock(2, (0, 4), LockMode::Exclusive));
    assert_eq!(table.close(FILE, NODE, 71), []);
    assert_eq!(table.close(FILE, NODE, 70), [waits]);
    table.check_invariants();
}

#[derive(Clone, Debug)]
enum Step {
    Try(u64, FileLock),
    Lock(u64, FileLock),
    Unlock(u64, FileLock),
    Withdraw(usize),
    Overtake(usize),
    Close(u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let file = 1..3u64;
    let any = (1..5u64, 0..2u64, 0..8u64, 0..8u64, any::<bool>(), any::<bool>()).prop_map(
        |(owner, handle, a, b, alone, whole)| FileLock {
            session: NODE,
            kind: if whole { LockKind::Flock } else { LockKind::Posix },
            owner,
            handle: owner * 10 + handle,
            first: if whole { 0 } else { a.min(b) },
            last: if whole { ALL.1 } else { a.max(b) },
            mode: if alone { LockMode::Exclusive } else { LockMode::Shared },
            pid: (owner % 3) as u32,
        },
    );
    let step = prop_oneof![
        2 => (file.clone(), any.clone()).prop_map(|(file, lock)| Step::Try(file, lock)),
        4 => (file.clone(), any.clone()).prop_map(|(file, lock)| Step::Lock(file, lock)),
        3 => (file.clone(), any).prop_map(|(file, lock)| Step::Unlock(file, lock)),
        2 => (0..8usize).prop_map(Step::Withdraw),
        1 => (0..8usize).prop_map(Step::Overtake),
        1 => (file, 10..42u64).prop_map(|(file, handle)| Step::Close(file, handle)),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever is done: the invariants hold, and everyone who waits goes on once, at the latest when all is given back.
    #[test]
    fn nobody_is_forgotten(steps in steps()) {
        let mut table = LockTable::default();
        let mut names = 0;
        let mut waiting: Vec<(u64, WaitId)> = Vec::new();
        for step in steps {
            let inode = |file| (FsId(1), InodeId(file));
            let gone_on = match step {
                Step::Try(file, lock) => table.try_lock(inode(file), lock).unwrap_or_default(),
                Step::Lock(file, lock) => {
                    names += 1;
                    match table.lock(inode(file), (NODE, names), lock, names % 5 == 0) {
                        Ok(Asked::Held(gone_on)) => gone_on,
                        Ok(Asked::Waits(gone_on)) => {
                            waiting.push((file, (NODE, names)));
                            gone_on
                        }
                        Err(_) => Vec::new(),
                    }
                }
                Step::Unlock(file, lock) => table.unlock(inode(file), &lock.span()),
                Step::Withdraw(place) if place < waiting.len() => {
                    let (file, id) = waiting.remove(place);
                    table.withdraw(inode(file), id)
                }
                Step::Withdraw(_) => Vec::new(),
                Step::Overtake(place) => match waiting.get(place) {
                    Some((file, id)) => table.overtake(inode(*file), *id),
                    None => Vec::new(),
                },
                Step::Close(file, handle) => table.close(inode(file), NODE, handle),
            };
            table.check_invariants();
            for id in gone_on {
                let place = waiting.iter().position(|(_, waiter)| *waiter == id);
                waiting.remove(place.expect("only who waits goes on, once"));
            }
        }
        // Each round everyone gives back all; who waited has it then, for the next.
        for round in 0.. {
            for file in 1..3 {
                for owner in 1..5 {
                    for kind in [LockKind::Posix, LockKind::Flock] {
                        for id in table.unlock((FsId(1), InodeId(file)), &span(kind, owner, (0, u64::MAX))) {
                            waiting.retain(|(_, waiter)| *waiter != id);
                        }
                    }
                }
            }
            if table.is_empty() {
                break;
            }
            prop_assert!(round < 60, "{waiting:?} wait for nobody");
        }
        prop_assert!(waiting.is_empty());
    }
}
