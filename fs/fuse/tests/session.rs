//! A session under a real kernel: signals, deadlines, locks, notices, and what a kernel's requests look like.

mod memory;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay_fuse::abi::{Dialect, NodeId, decode};
use forebay_fuse::transport::{Classic, Lane, Port, Received, Transport};
use forebay_fuse::{Errno, Session, Settings};
use memory::{HANGS, NEVER_CLOSED, Ours, unmount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Patience with what should be over at once.
const SOON: Duration = Duration::from_secs(4);
const LATE: Duration = Duration::from_secs(30);
/// Pause between two looks at what tells nobody when it changes.
const POLL: Duration = Duration::from_millis(5);

struct Stage {
    dir: tempfile::TempDir,
    session: Session,
    /// Ends with it.
    _mount: Mount,
}

/// A mount that is taken down with all who wait for it, also when a test fails: who waits for the test's own process
/// would keep that from ending.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        use nix::mount::{MntFlags, umount2};
        // Gone already where the test has gone well.
        let _ = umount2(&self.0, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    }
}

impl Stage {
    fn new(timeout_s: u64, readers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { timeout: Duration::from_secs(timeout_s), readers, ..Settings::default() };
        let session = Ours::mount(Ours::new(), dir.path(), settings);
        let _mount = Mount(dir.path().to_owned());
        Self { dir, session, _mount }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn end(self) {
        unmount(self.dir.path());
        served_to_the_end(self.session).await;
    }
}

/// Waits until a session has ended, as it does when its mount has gone.
async fn served_to_the_end(session: Session) {
    tokio::time::timeout(LATE, session.ended).await.expect("it ends with its mount").unwrap().unwrap();
}

fn sh(script: &str, at: &Path) -> Child {
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script]).arg("bash").arg(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Looks again and again until something is seen; `None` where that takes too long.
fn poll<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let seen = look();
        if seen.is_some() || start.elapsed() >= patience {
            return seen;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits for the end of a process; how long that took, or `None` where it took too long.
fn ended(child: &mut Child, patience: Duration) -> Option<Duration> {
    let start = Instant::now();
    poll(patience, || child.try_wait().unwrap().map(|_| start.elapsed()))
}

/// Waits until a process is inside a request.
fn inside(child: &Child) {
    let wchan = || fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
    let waits = poll(LATE, || wchan().contains("request_wait_answer").then_some(()));
    assert!(waits.is_some(), "it waits in {:?}", wchan());
}

#[tokio::test(flavor = "multi_thread")]
async fn deadly_signals_end_who_waits_for_an_answer() {
    let stage = Stage::new(600, 2);
    for deadly in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1] {
        let mut child = sh("exec cat \"$1\"", &stage.path(HANGS));
        inside(&child);
        signal(&child, deadly);
        assert!(ended(&mut child, SOON).is_some(), "{deadly} does not end it");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_runs_after_a_moment_and_at_once_where_it_is_for_the_end() {
    let stage = Stage::new(600, 2);
    // Waiting inside the shell itself: its handler can run only when the request has been broken off.
    let script = "trap 'exit 7' INT ALRM; [ -e \"$1\" ]; exit 8";
    let mut child = sh(script, &stage.path(HANGS));
    inside(&child);
    signal(&child, Signal::SIGALRM);
    let took = ended(&mut child, LATE).expect("it ends");
    assert!(took > Duration::from_secs(3), "{took:?} is too hasty for any signal");
    let mut child = sh(script, &stage.path(HANGS));
    inside(&child);
    signal(&child, Signal::SIGINT);
    assert!(ended(&mut child, SOON).is_some());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    stage.end().await;
}

/// The signal's message overtakes its request where both come by different descriptors. Each looks for a name of its
/// own: the kernel lets one look at a time, and the others wait for that without hearing signals.
#[tokio::test(flavor = "multi_thread")]
async fn no_signal_is_lost_between_many_descriptors() {
    let stage = Stage::new(600, 8);
    for round in 0..60 {
        let mut children: Vec<Child> =
            (0..4).map(|number| sh("exec cat \"$1\"", &stage.path(&format!("{HANGS}{number}")))).collect();
        children.iter().for_each(inside);
        children.iter().for_each(|child| signal(child, Signal::SIGKILL));
        for child in &mut children {
            assert!(ended(child, SOON).is_some(), "round {round}");
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_wait() {
    let stage = Stage::new(1, 2);
    let path = stage.path(HANGS);
    let (error, took) = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        (fs::metadata(path).unwrap_err(), start.elapsed())
    })
    .await
    .unwrap();
    assert_eq!(error.raw_os_error(), Some(nix::libc::ETIMEDOUT));
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&took), "{took:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_ending_does_not_wait_for_its_files_for_long() {
    let stage = Stage::new(600, 2);
    // Not a shell: it closes what it has opened when it gives it a number, and waits there.
    let hold = "import os, sys, time
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
held = [file, os.dup(file), os.dup(file)]
time.sleep(100)";
    let path = stage.path(NEVER_CLOSED);
    let mut child = Command::new("/usr/bin/python3").args(["-c", hold]).arg(&path).spawn().unwrap();
    let held = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().flatten();
        descriptors.filter(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|to| to == path)).count()
    };
    poll(LATE, || (held() == 3).then_some(())).expect("it opens the file");
    // One that waits for a close already.
    let mut closing = sh("exec 3>\"$1\"", &stage.path(NEVER_CLOSED));
    inside(&closing);
    for child in [&mut child, &mut closing] {
        signal(child, Signal::SIGKILL);
        let took = ended(child, LATE).expect("it ends");
        // However many descriptors, one patience; kernels from 6.3 on have none.
        assert!(took < Duration::from_secs(12), "{took:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_both_kinds_are_told_apart_and_waits_for_them_interrupted() {
    let stage = Stage::new(1, 2);
    let path = stage.path("locked");
    let at = path.clone();
    tokio::task::spawn_blocking(move || {
        use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
        let file = File::create(&at).unwrap();
        let whole = nix::libc::flock { l_type: nix::libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        assert_eq!(fcntl(&file, FcntlArg::F_SETLK(&whole)), Err(Errno::EAGAIN));
        let flock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        assert!(flock.is_ok());
    })
    .await
    .unwrap();
    let mut child = sh("exec flock \"$1\" true", &path);
    inside(&child);
    // A lock is waited for as long as it takes: what was asked for later is over by its deadline.
    let hangs = stage.path(HANGS);
    let later = tokio::task::spawn_blocking(move || fs::metadata(hangs).unwrap_err()).await.unwrap();
    assert_eq!(later.raw_os_error(), Some(nix::libc::ETIMEDOUT));
    inside(&child);
    signal(&child, Signal::SIGTERM);
    assert!(ended(&mut child, SOON).is_some());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_reach_the_kernel() {
    let stage = Stage::new(60, 2);
    let path = stage.path("file");
    let ino = tokio::task::spawn_blocking(move || {
        fs::write(&path, "content").unwrap();
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap())
    })
    .await
    .unwrap();
    let notifier = &stage.session.notifier;
    notifier.store(NodeId(ino), 0, "another".into()).await.unwrap();
    notifier.inval_inode(NodeId(ino), 0, 0).await.unwrap();
    notifier.inval_entry(NodeId::ROOT, "file".into()).await.unwrap();
    notifier.delete(NodeId::ROOT, NodeId(ino), "file".into()).await.unwrap();
    notifier.inval_inode(NodeId(987_654), 0, 0).await.expect("what the kernel does not know it cannot believe");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_go_through_whole() {
    let stage = Stage::new(60, 2);
    let path = stage.path("large");
    tokio::task::spawn_blocking(move || {
        let content: Vec<u8> = (0..5_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        File::create(&path).unwrap().write_all(&content).unwrap();
        assert!(fs::read(&path).unwrap() == content);
    })
    .await
    .unwrap();
    assert_eq!(stage.session.agreed.write_bytes, 1 << 20);
    stage.end().await;
}

/// Writes down every request that comes by.
struct Recording {
    inner: Classic,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct RecordingLane {
    inner: Box<dyn Lane>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Transport for Recording {
    fn first(&mut self, buffer_bytes: usize) -> io::Result<Box<dyn Lane>> {
        Ok(Box::new(RecordingLane { inner: self.inner.first(buffer_bytes)?, seen: self.seen.clone() }))
    }

    fn more(&mut self, lanes: usize, buffer_bytes: usize) -> io::Result<Vec<Box<dyn Lane>>> {
        let record = |inner| Box::new(RecordingLane { inner, seen: self.seen.clone() }) as Box<dyn Lane>;
        Ok(self.inner.more(lanes, buffer_bytes)?.into_iter().map(record).collect())
    }

    fn notices(&self) -> Arc<dyn Port> {
        self.inner.notices()
    }
}

impl Lane for RecordingLane {
    fn receive(&mut self) -> io::Result<Received> {
        let received = self.inner.receive()?;
        if let Received::Request(bytes, _) = &received {
            self.seen.lock().unwrap().push(bytes.to_vec());
        }
        Ok(received)
    }
}

/// Every request of a session with this kernel is understood. With `FOREBAY_RECORD=FILE` they are written down as the
/// decoder's golden requests are, two of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn everything_this_kernel_says_is_understood() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let settings = Settings { readers: 1, ..Settings::default() };
    let recorded = seen.clone();
    let session =
        Ours::mount_by(Ours::new(), dir.path(), settings, |device| Recording { inner: Classic::new(device), seen });
    let script = "cd \"$1\" && mkdir d && exec 3>d/f && flock -n 3 && printf hello >&3 && exec 3>&- && ls -l d && \
        ln d/f d/g && ln -s f d/s && readlink d/s && mv d/g d/h && cat d/h && chmod 600 d/f && truncate -s 3 d/f && \
        touch -d @5 d/f && sync d/f && mkfifo d/p && fallocate -l 9 d/f && stat -f . && rm d/h && rm -r d";
    let mut child = sh(script, dir.path());
    ended(&mut child, LATE).expect("it ends");
    assert!(child.wait().unwrap().success());
    unmount(dir.path());
    served_to_the_end(session).await;
    let requests = recorded.lock().unwrap();
    let mut kinds = std::collections::HashMap::new();
    let mut text = "# operation: bytes of the request\n".to_owned();
    for bytes in requests.iter() {
        let request = decode(bytes.clone().into(), Dialect { setxattr_ext: true }).expect("understood");
        let known: &mut u32 = kinds.entry(request.header.opcode).or_default();
        *known += 1;
        if *known > 2 {
            continue;
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{:?}: {hex}\n", request.operation));
    }
    for expected in ["Init(", "MkDir {", "Create {", "kind: Flock", "Flush {", "Rename {", "SetAttr(", "Fallocate {"] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    if let Some(file) = std::env::var_os("FOREBAY_RECORD") {
        fs::write(file, text).unwrap();
    }
}
