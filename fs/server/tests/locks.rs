//! Locks of programs on several clients of one cluster.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use forebay_client::{ClientError, Filesystem};
use forebay_testbed::{Plan, Testbed};
use forebay_types::{Cred, Errno, FileLock, InodeId, LockKind, LockMode, SessionId, limits};
use forebay_wire::meta::NewNode;
use tokio::task::JoinHandle;

const ROOT: Cred = Cred::ROOT;
/// More than a lease holds others up.
const SOON: Duration = Duration::from_millis(2 * limits::LEASE_MS);

async fn file(fs: &Filesystem, name: &[u8]) -> InodeId {
    let ino = fs.create(&ROOT, fs.root(), name, NewNode::File, 0o644, true).await.unwrap().attr.ino;
    fs.open(&ROOT, ino, true, true).await.unwrap();
    ino
}

/// A lock of a whole file. Owners of all clients have the same names.
fn whole(kind: LockKind, owner: u64, mode: LockMode) -> FileLock {
    let (session, handle, pid) = (SessionId(0), owner * 10, owner as u32);
    FileLock { session, kind, owner, handle, first: 0, last: i64::MAX as u64, mode, pid }
}

fn alone(owner: u64) -> FileLock {
    whole(LockKind::Posix, owner, LockMode::Exclusive)
}

fn errno(result: Result<(), ClientError>) -> Option<Errno> {
    result.err().map(|error| error.errno())
}

/// Waits for a lock beside.
fn waits(fs: &Arc<Filesystem>, ino: InodeId, lock: FileLock) -> JoinHandle<Result<(), ClientError>> {
    let fs = fs.clone();
    tokio::spawn(async move { fs.lock(ino, lock, true).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_one_client_keeps_others_out_and_is_passed_on() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (Arc::new(world.mount("one").await), Arc::new(world.mount("other").await));
    let ino = file(&one, b"f").await;
    one.lock(ino, alone(1), true).await.unwrap();
    // The owners are not the same, though they are called so.
    assert_eq!(errno(other.lock(ino, alone(1), false).await), Some(Errno::Again));
    assert_eq!(other.lock_in_the_way(ino, alone(1)).await.unwrap().unwrap().pid, 0, "a process of another node");
    assert_eq!(one.lock_in_the_way(ino, alone(2)).await.unwrap().unwrap().pid, 1);
    assert_eq!(one.lock_in_the_way(ino, alone(1)).await.unwrap(), None);
    let second = waits(&other, ino, alone(2));
    let third = waits(&one, ino, alone(3));
    one.unlock(ino, alone(1).span()).await.unwrap();
    let mut left = vec![(second, &other, 2), (third, &one, 3)];
    while !left.is_empty() {
        let (had, place, _) = futures::future::select_all(left.iter_mut().map(|(task, ..)| task)).await;
        had.unwrap().unwrap();
        let (_, fs, owner) = left.remove(place);
        assert_eq!(errno(one.lock(ino, alone(1), false).await), Some(Errno::Again));
        match owner {
            2 => fs.unlock_all(ino, LockKind::Posix, 2).await.unwrap(),
            _ => fs.close_locks(ino, 30, None).await.unwrap(),
        }
    }
    assert_eq!(other.lock_in_the_way(ino, alone(1)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flock_and_fcntl_are_told_apart() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (world.mount("one").await, world.mount("other").await);
    let flock = |owner, mode| whole(LockKind::Flock, owner, mode);
    let ino = file(&one, b"f").await;
    one.lock(ino, alone(1), false).await.unwrap();
    other.lock(ino, flock(2, LockMode::Exclusive), false).await.unwrap();
    assert_eq!(errno(one.lock(ino, flock(3, LockMode::Shared), false).await), Some(Errno::Again));
    // Closing a descriptor does nothing to it, closing the last one does.
    other.unlock_all(ino, LockKind::Posix, 2).await.unwrap();
    assert_eq!(errno(one.lock(ino, flock(3, LockMode::Shared), false).await), Some(Errno::Again));
    other.close_locks(ino, 20, Some(2)).await.unwrap();
    one.lock(ino, flock(3, LockMode::Shared), false).await.unwrap();
    other.lock(ino, flock(2, LockMode::Shared), true).await.unwrap();
    assert_eq!(errno(other.lock(ino, alone(2), false).await), Some(Errno::Again));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_each_other_on_two_clients_is_refused() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (Arc::new(world.mount("one").await), Arc::new(world.mount("other").await));
    let ino = file(&one, b"f").await;
    let byte = |owner, byte| FileLock { first: byte, last: byte, ..alone(owner) };
    one.lock(ino, byte(1, 1), true).await.unwrap();
    other.lock(ino, byte(2, 2), true).await.unwrap();
    let (first, second) = (waits(&one, ino, byte(1, 2)), waits(&other, ino, byte(2, 1)));
    let (refused, _, rest) = futures::future::select_all([first, second]).await;
    assert_eq!(errno(refused.unwrap()), Some(Errno::Deadlock));
    for (fs, owner) in [(&one, 1), (&other, 2)] {
        fs.unlock_all(ino, LockKind::Posix, owner).await.unwrap();
    }
    for waiting in rest {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_leaves_no_trace() {
    let world = Testbed::start(Plan::SIX).await;
    let (one, other) = (Arc::new(world.mount("one").await), Arc::new(world.mount("other").await));
    let ino = file(&one, b"f").await;
    one.lock(ino, alone(1), true).await.unwrap();
    let second = waits(&other, ino, alone(2));
    let third = waits(&one, ino, alone(3));
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    one.unlock(ino, alone(1).span()).await.unwrap();
    tokio::time::timeout(SOON, third).await.expect("nobody is before it").unwrap().unwrap();
    one.unlock(ino, alone(3).span()).await.unwrap();
    // Asked for, and dropped before anybody could answer: sent or not, had or not.
    for _ in 0..20 {
        let mut asks = Box::pin(other.lock(ino, alone(2), true));
        let asked = asks.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(asks);
        if let Poll::Ready(had) = asked {
            // This thread was not let run for so long that the answer was there already.
            had.unwrap();
            other.unlock(ino, alone(2).span()).await.unwrap();
        }
        let third = tokio::time::timeout(SOON, one.lock(ino, alone(3), true));
        third.await.expect("the lock is given back").unwrap();
        one.unlock(ino, alone(3).span()).await.unwrap();
    }
}

/// A client that dies: its locks go when its lease has run out.
#[test]
fn locks_of_a_client_that_dies_go_within_the_time_of_a_lease() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (own, dying) = (runtime(), runtime());
    let world = own.block_on(Testbed::start(Plan::SIX));
    let ino = dying.block_on(async {
        let fs = world.mount("dying").await;
        let ino = file(&fs, b"f").await;
        fs.lock(ino, alone(1), true).await.unwrap();
        ino
    });
    dying.shutdown_background();
    own.block_on(async {
        let other = world.mount("other").await;
        let had = tokio::time::timeout(SOON, other.lock(ino, alone(1), true)).await;
        had.expect("its locks go").unwrap();
    });
}

/// A client that stands still for longer than its lease is told of the locks that others have taken meanwhile, and keeps
/// those that nobody wanted.
#[test]
fn a_client_that_stood_still_is_told_which_locks_it_has_lost() {
    let own = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Nothing of it moves but while it is waited for.
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = own.block_on(Testbed::start(Plan::SIX));
    let (fs, wanted, kept) = still.block_on(async {
        let fs = world.mount("still").await;
        let (wanted, kept) = (file(&fs, b"wanted").await, file(&fs, b"kept").await);
        fs.lock(wanted, alone(1), true).await.unwrap();
        fs.lock(wanted, FileLock { handle: 11, ..whole(LockKind::Flock, 1, LockMode::Exclusive) }, true).await.unwrap();
        fs.lock(kept, alone(1), true).await.unwrap();
        (fs, wanted, kept)
    });
    let other = own.block_on(async {
        let other = world.mount("other").await;
        tokio::time::timeout(SOON, other.lock(wanted, alone(1), true)).await.expect("its lock goes").unwrap();
        // That nobody has it now does not bring it back.
        other.unlock(wanted, alone(1).span()).await.unwrap();
        other
    });
    still.block_on(async {
        fs.lock_in_the_way(wanted, alone(1)).await.unwrap();
        assert!(fs.has_lost_lock(wanted, 10) && !fs.has_lost_lock(wanted, 11));
        assert_eq!(errno(fs.lock(wanted, alone(1), false).await), Some(Errno::Io));
        fs.close_locks(wanted, 10, None).await.unwrap();
        fs.lock(wanted, alone(1), false).await.unwrap();
        fs.lock_in_the_way(kept, alone(1)).await.unwrap();
        assert!(!fs.has_lost_lock(kept, 10));
    });
    own.block_on(async {
        assert_eq!(errno(other.lock(wanted, alone(1), false).await), Some(Errno::Again));
    });
}

/// Leaders die while locks are held and waited for: they stay held, and are passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_outlive_leaders() {
    let mut world = Testbed::start(Plan::SIX).await;
    let clients = [Arc::new(world.mount("one").await), Arc::new(world.mount("other").await)];
    let mut files = Vec::new();
    for n in 0..8_u8 {
        let ino = file(&clients[0], &[b'f', b'0' + n]).await;
        clients[0].lock(ino, alone(1), true).await.unwrap();
        let waiting = waits(&clients[1], ino, alone(1));
        files.push((ino, waiting));
    }
    for host in 0..2 {
        world.kill(host);
        for (ino, waiting) in &files {
            assert_eq!(errno(clients[1].lock(*ino, alone(2), false).await), Some(Errno::Again));
            assert!(!waiting.is_finished());
        }
    }
    for (ino, waiting) in files {
        clients[0].unlock(ino, alone(1).span()).await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(errno(clients[0].lock(ino, alone(1), false).await), Some(Errno::Again));
    }
}

/// Many owners on three clients take one lock in turn: never two at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_under_a_lock_loses_no_count() {
    const EACH: u32 = 20;
    let world = Testbed::start(Plan::SIX).await;
    let fs = world.mount("maker").await;
    let ino = file(&fs, b"counter").await;
    fs.write(ino, 0, "000000".into()).await.unwrap();
    let mut counters = tokio::task::JoinSet::new();
    for n in 0..3 {
        let fs = Arc::new(world.mount(&format!("c{n}")).await);
        fs.open(&ROOT, ino, true, true).await.unwrap();
        for owner in 1..3 {
            let fs = fs.clone();
            counters.spawn(async move {
                for _ in 0..EACH {
                    fs.lock(ino, alone(owner), true).await.unwrap();
                    let now = fs.read(ino, 0, 6).await.unwrap();
                    let count: u32 = std::str::from_utf8(&now).unwrap().parse().unwrap();
                    fs.write(ino, 0, format!("{:06}", count + 1).into()).await.unwrap();
                    fs.unlock(ino, alone(owner).span()).await.unwrap();
                }
            });
        }
    }
    while let Some(done) = counters.join_next().await {
        done.unwrap();
    }
    assert_eq!(&fs.read(ino, 0, 6).await.unwrap()[..], format!("{:06}", 6 * EACH).as_bytes());
}
