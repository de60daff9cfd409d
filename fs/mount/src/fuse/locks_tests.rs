use std::sync::Arc;

use super::*;

const FILE: InodeId = InodeId(1025);

fn request(owner: u64, mode: Option<abi::LockMode>, kind: abi::LockKind) -> LockRequest {
    LockRequest {
        handle: Handle(owner * 2),
        owner: LockOwner(owner),
        kind,
        range: LockRange { first: 0, last: i64::MAX as u64 },
        mode,
        pid: owner as u32,
    }
}

fn alone(owner: u64) -> LockRequest {
    request(owner, Some(abi::LockMode::Exclusive), abi::LockKind::Posix)
}

/// Starts to wait for a lock, and waits until it does.
async fn waits(locks: &Arc<Locks>, lock: LockRequest) -> tokio::task::JoinHandle<Result<(), Errno>> {
    let before = locks.lock().waiting.len();
    let (theirs, lock) = (locks.clone(), lock);
    let task = tokio::spawn(async move { theirs.set(FILE, &lock, true).await });
    while locks.lock().waiting.len() == before {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn a_lock_is_waited_for_and_passed_on() {
    let locks = Arc::new(Locks::default());
    locks.set(FILE, &alone(1), true).await.unwrap();
    assert_eq!(locks.set(FILE, &alone(2), false).await, Err(Errno::EAGAIN));
    assert_eq!(locks.in_the_way(FILE, &alone(2)).unwrap().pid, 1);
    let second = waits(&locks, alone(2)).await;
    locks.flushed(FILE, LockOwner(1));
    second.await.unwrap().unwrap();
    assert_eq!(locks.in_the_way(FILE, &alone(1)).unwrap().pid, 2);
    locks.set(FILE, &request(2, None, abi::LockKind::Posix), false).await.unwrap();
    assert!(locks.lock().table.is_empty());
}

#[tokio::test]
async fn who_stops_waiting_leaves_no_trace() {
    let locks = Arc::new(Locks::default());
    locks.set(FILE, &alone(1), true).await.unwrap();
    let second = waits(&locks, alone(2)).await;
    let third = waits(&locks, alone(3)).await;
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    locks.flushed(FILE, LockOwner(1));
    third.await.unwrap().unwrap();
    locks.closed(FILE, Handle(6), None);
    let state = locks.lock();
    assert!(state.table.is_empty() && state.waiting.is_empty());
}

#[tokio::test]
async fn a_lock_given_to_who_has_just_stopped_waiting_goes_on_to_the_next() {
    let locks = Arc::new(Locks::default());
    locks.set(FILE, &alone(1), true).await.unwrap();
    let (second, third) = (alone(2), alone(3));
    {
        let mut wait = Box::pin(locks.set(FILE, &second, true));
        assert!(futures_pending(wait.as_mut()));
        locks.flushed(FILE, LockOwner(1));
        // Let go on, and dropped before it could see that.
    }
    locks.set(FILE, &third, false).await.unwrap();
}

/// Polls once; whether it waits.
fn futures_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
}

#[tokio::test]
async fn flock_and_fcntl_are_told_apart() {
    let locks = Locks::default();
    let flock = |owner| request(owner, Some(abi::LockMode::Exclusive), abi::LockKind::Flock);
    locks.set(FILE, &alone(1), false).await.unwrap();
    locks.set(FILE, &flock(2), false).await.unwrap();
    assert_eq!(locks.set(FILE, &flock(3), false).await, Err(Errno::EAGAIN));
    // Closing a descriptor does nothing to it, closing the last one does.
    locks.flushed(FILE, LockOwner(2));
    assert_eq!(locks.set(FILE, &flock(3), false).await, Err(Errno::EAGAIN));
    locks.closed(FILE, Handle(4), Some(LockOwner(2)));
    locks.set(FILE, &flock(3), false).await.unwrap();
}
