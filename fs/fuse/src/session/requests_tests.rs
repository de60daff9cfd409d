use std::io;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::abi::{Caller, Encoded, Handle, Header, LockKind, LockMode, LockOwner, LockRange, LockRequest};
use crate::abi::{NodeId, Operation, SetAttr};
use crate::transport::{Port, Ticket};

/// Keeps what the kernel would be told.
#[derive(Default)]
struct Told(Mutex<Vec<(u64, i32)>>);

impl Port for Told {
    fn send(&self, _slot: u64, what: &Encoded) -> io::Result<()> {
        let errno = i32::from_ne_bytes(what.head[4..8].try_into().unwrap());
        let unique = u64::from_ne_bytes(what.head[8..16].try_into().unwrap());
        self.0.lock().unwrap().push((unique, errno));
        Ok(())
    }
}

struct Stage {
    told: Arc<Told>,
    requests: Arc<Requests>,
    progress: Arc<AtomicU64>,
}

impl Stage {
    /// Deadlines of `timeout_ms`; the watch runs.
    fn new(timeout_ms: u64) -> Self {
        let (told, progress) = (Arc::new(Told::default()), Arc::new(AtomicU64::new(0)));
        let requests = Requests::new(Duration::from_millis(timeout_ms));
        let (watched, seen) = (requests.clone(), progress.clone());
        std::thread::spawn(move || watched.watch(|| seen.load(Ordering::Relaxed)));
        Self { told, requests, progress }
    }

    fn pending(&self, unique: u64, opcode: Opcode, operation: &Operation, pid: u32) -> Arc<Pending> {
        let caller = Caller { uid: 0, gid: 0, pid };
        let header = Header { opcode, unique, node: NodeId(7), caller };
        Pending::new(header, operation, Ticket::new(self.told.clone(), 0, Some(unique)))
    }

    fn lookup(&self, unique: u64, pid: u32) -> Arc<Pending> {
        self.pending(unique, Opcode::Lookup, &Operation::Lookup { name: "x".into() }, pid)
    }

    fn lock(&self, unique: u64) -> Arc<Pending> {
        let lock = LockRequest {
            handle: Handle(1),
            owner: LockOwner(1),
            kind: LockKind::Flock,
            range: LockRange { first: 0, last: 1 },
            mode: Some(LockMode::Shared),
            pid: 1,
        };
        self.pending(unique, Opcode::SetLkW, &Operation::SetLock { lock, wait: true }, std::process::id())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.requests.end();
    }
}

/// Waits for what another thread does, a few seconds at most.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_ends_a_wait_for_a_lock_at_once_and_its_deadline_does_not() {
    let stage = Stage::new(50);
    let lock = stage.lock(10);
    stage.requests.add(&lock);
    let other = stage.lookup(11, std::process::id());
    stage.requests.add(&other);
    until("the other's deadline passes", || other.broken().is_some());
    assert!(lock.broken().is_none());
    stage.requests.interrupt(10);
    assert_eq!(lock.broken().unwrap().0, Errno::EINTR);
}

#[test]
fn an_interrupt_that_comes_before_its_request_counts() {
    let stage = Stage::new(60_000);
    stage.requests.interrupt(10);
    let lock = stage.lock(10);
    stage.requests.add(&lock);
    assert_eq!(lock.broken().unwrap().0, Errno::EINTR);
    // And once only.
    stage.requests.remove(&lock);
    let again = stage.lock(10);
    stage.requests.add(&again);
    assert!(again.broken().is_none());
}

#[test]
fn interrupts_of_what_is_never_seen_are_forgotten() {
    let stage = Stage::new(60_000);
    (0..10_000).for_each(|unique| stage.requests.interrupt(unique));
    assert_eq!(stage.requests.lock().early.len(), EARLY_MAX);
}

#[test]
fn a_signal_that_is_not_urgent_leaves_some_time() {
    let stage = Stage::new(60_000);
    let request = stage.lookup(10, std::process::id());
    stage.requests.add(&request);
    stage.requests.interrupt(10);
    assert!(request.broken().is_none());
    until("the grace has passed", || request.broken().is_some());
    let (errno, at) = request.broken().unwrap();
    assert_eq!(errno, Errno::EINTR);
    assert!(at.duration_since(request.since) >= GRACE);
}

#[test]
fn a_caller_that_is_killed_is_let_go_at_once() {
    let stage = Stage::new(60_000);
    // A process that is stopped keeps the signal pending, as one inside the kernel would.
    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    until("it is stopped", || state().contains("State:\tT"));
    let request = stage.lookup(10, child.id());
    stage.requests.add(&request);
    stage.requests.interrupt(10);
    assert!(request.broken().is_none());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    until("it is broken off", || request.broken().is_some());
    assert!(request.since.elapsed() < GRACE);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn deadlines_say_what_posix_lets_them() {
    let stage = Stage::new(50);
    let lookup = stage.lookup(10, 0);
    let flush = Operation::Flush { handle: Handle(1), lock_owner: LockOwner(1) };
    let flush = stage.pending(11, Opcode::Flush, &flush, 0);
    [&lookup, &flush].into_iter().for_each(|request| stage.requests.add(request));
    until("both are late", || lookup.broken().is_some() && flush.broken().is_some());
    assert_eq!((lookup.broken().unwrap().0, flush.broken().unwrap().0), (Errno::ETIMEDOUT, Errno::EIO));
    assert!(stage.requests.told.load(Ordering::Relaxed));
    // In time again: the next to be late is worth a word.
    let fine = stage.lookup(12, 0);
    stage.requests.remove(&fine);
    assert!(!stage.requests.told.load(Ordering::Relaxed));
}

#[test]
fn who_moves_data_has_time_while_there_is_progress() {
    let stage = Stage::new(1500);
    let truncate = Operation::SetAttr(SetAttr { size: Some(0), ..SetAttr::default() });
    let request = stage.pending(10, Opcode::SetAttr, &truncate, 0);
    let other = stage.lookup(11, 0);
    [&request, &other].into_iter().for_each(|request| stage.requests.add(request));
    until("the other is late", || {
        stage.progress.fetch_add(1, Ordering::Relaxed);
        other.broken().is_some()
    });
    assert!(request.broken().is_none());
    until("nothing is heard any more", || request.broken().is_some());
    assert!(request.since.elapsed() > Duration::from_millis(4000));
}

#[test]
fn who_does_not_stop_is_answered_for() {
    let stage = Stage::new(60_000);
    let lock = stage.lock(10);
    stage.requests.add(&lock);
    stage.requests.interrupt(10);
    until("it is answered", || !lock.is_open());
    assert_eq!(stage.told.0.lock().unwrap()[..], [(10, -nix::libc::EINTR)]);
    // Whoever carries it out comes too late.
    lock.answer(Ok(crate::abi::Reply::Done));
    assert_eq!(stage.told.0.lock().unwrap().len(), 1);
}

#[test]
fn a_request_that_is_dropped_is_refused() {
    let stage = Stage::new(60_000);
    drop(stage.lookup(10, 0));
    assert_eq!(stage.told.0.lock().unwrap()[..], [(10, -nix::libc::EIO)]);
    assert_eq!(stage.requests.waiting(), 0);
}

#[tokio::test]
async fn who_is_broken_off_before_listening_hears_it() {
    let stage = Stage::new(60_000);
    let request = stage.lookup(10, 0);
    request.break_off(Errno::EINTR);
    request.break_off(Errno::EIO);
    assert_eq!(request.until_broken().await, Errno::EINTR);
    request.answer(Err(Errno::EINTR));
}
