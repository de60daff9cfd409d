//! Two nodes use one filesystem: what one has done the other sees, in its programs, through its kernel.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forebay_tests::node::NodeChild;
use forebay_tests::{ClusterSettings, Mounted, User, wait};

const SOON: Duration = Duration::from_secs(30);
/// What a lease can hold others up for, and a little.
const LEASE: Duration = Duration::from_secs(13);

fn start() -> Mounted {
    Mounted::start(2, &ClusterSettings::default()).expect("a cluster, mounted on two nodes")
}

/// A program that does what it is told on its input, a line at a time, and says how it went.
const HAND: &str = r#"
import errno, fcntl, mmap, os, signal, struct, sys
fds, maps = {}, {}
def stop(*_): raise OSError(errno.EINTR, "")
signal.signal(signal.SIGUSR1, stop)
def lock(kind, name, how):
    how = eval(how.replace("LOCK_", "fcntl.LOCK_"))
    if kind == "posix": return fcntl.lockf(fds[name], how)
    if kind == "flock": return fcntl.flock(fds[name], how)
    types = {fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}
    asked = struct.pack("hhqqi4x", types[how & ~fcntl.LOCK_NB], 0, 0, 0, 0)
    fcntl.fcntl(fds[name], fcntl.F_OFD_SETLK if how & fcntl.LOCK_NB else fcntl.F_OFD_SETLKW, asked)
def do(words):
    what, *rest = words
    if what == "open":
        name, path, flags = rest
        fds[name] = os.open(path, eval(flags.replace("O_", "os.O_")), 0o644)
    elif what == "pwrite": os.pwrite(fds[rest[0]], rest[2].encode(), int(rest[1]))
    elif what == "write": os.write(fds[rest[0]], rest[1].encode())
    elif what == "pread": return os.pread(fds[rest[0]], int(rest[2]), int(rest[1])).decode()
    elif what == "fsync": os.fsync(fds[rest[0]])
    elif what == "ftruncate": os.ftruncate(fds[rest[0]], int(rest[1]))
    elif what == "map": maps[rest[0]] = mmap.mmap(fds[rest[0]], int(rest[1]), access=mmap.ACCESS_WRITE)
    elif what == "peek": return maps[rest[0]][int(rest[1]):int(rest[1]) + int(rest[2])].decode()
    elif what == "poke": maps[rest[0]][int(rest[1]):int(rest[1]) + len(rest[2])] = rest[2].encode()
    elif what == "msync": maps[rest[0]].flush()
    elif what == "size": return str(os.stat(rest[0]).st_size)
    elif what == "lock": lock(*rest)
    elif what == "pid": return str(os.getpid())
    elif what == "close": os.close(fds.pop(rest[0]))
for line in sys.stdin:
    try: said = do(line.split())
    except OSError as e: said = errno.errorcode[e.errno]
    print(said if said is not None else "ok", flush=True)
"#;

/// A hand on each node, by two pipes in the folder that they share with us.
struct Hand {
    orders: std::fs::File,
    answers: std::io::BufReader<std::fs::File>,
    _child: NodeChild,
}

impl Hand {
    fn on(at: &Mounted, place: usize) -> Self {
        static HANDS: AtomicU32 = AtomicU32::new(0);
        let (shared, number) = (at.lab.shared(), HANDS.fetch_add(1, Ordering::Relaxed));
        let paths = ["orders", "answers"].map(|what| shared.join(format!("{what}-{number}")));
        for path in &paths {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        }
        let inside = |what: &str| format!("/run/lab/shared/{what}-{number}");
        let script = format!("cd /mnt/forebay; exec python3 -c '{HAND}' <{} >{}", inside("orders"), inside("answers"));
        let node = at.client(place);
        let child =
            node.command("/bin/bash").args(["-c", &script]).spawn(&node.log_path(&format!("hand-{number}"))).unwrap();
        // Each end waits for the other to be opened: in the order the shell opens them.
        let orders = std::fs::OpenOptions::new().write(true).open(&paths[0]).unwrap();
        let answers = std::io::BufReader::new(std::fs::File::open(&paths[1]).unwrap());
        Self { orders, answers, _child: child }
    }

    fn tell(&mut self, order: &str) {
        use std::io::Write;
        writeln!(self.orders, "{order}").unwrap();
    }

    fn answer(&mut self) -> String {
        use std::io::BufRead;
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn asks(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer()
    }

    fn does(&mut self, order: &str) {
        assert_eq!(self.asks(order), "ok", "{order}");
    }
}

#[test]
fn bytes_written_mapped_appended_and_cut_off_on_one_node_are_so_on_the_other() {
    let at = start();
    let (mut one, mut other) = (Hand::on(&at, 0), Hand::on(&at, 1));
    one.does("open f f O_CREAT|O_RDWR");
    other.does("open f f O_RDWR");
    one.does("pwrite f 0 aaaaaaaa");
    assert_eq!(other.asks("pread f 0 100"), "aaaaaaaa", "neither closed nor synced");
    other.does("pwrite f 4 bbbb");
    assert_eq!(one.asks("pread f 0 100"), "aaaabbbb");
    // Pages that a program has mapped.
    one.does("map f 8");
    other.does("map f 8");
    assert_eq!(one.asks("peek f 0 8"), "aaaabbbb");
    assert_eq!(other.asks("peek f 0 8"), "aaaabbbb");
    one.does("pwrite f 0 cc");
    assert_eq!(other.asks("peek f 0 8"), "ccaabbbb");
    other.does("poke f 6 dd");
    other.does("msync f");
    assert_eq!(one.asks("peek f 0 8"), "ccaabbdd");
    assert_eq!(one.asks("pread f 0 100"), "ccaabbdd");
    // The end of the file is where it is, not where this node last saw it.
    one.does("open a f O_WRONLY|O_APPEND");
    other.does("open a f O_WRONLY|O_APPEND");
    for round in 0..10 {
        one.does(&format!("write a <{round}>"));
        other.does(&format!("write a [{round}]"));
    }
    let whole: String = (0..10).map(|round| format!("<{round}>[{round}]")).collect();
    assert_eq!(one.asks("pread f 8 1000"), whole);
    assert_eq!(other.asks("size f"), (8 + whole.len()).to_string());
    other.does("ftruncate f 4");
    assert_eq!(one.asks("size f"), "4");
    assert_eq!(one.asks("pread f 0 100"), "ccaa");
    // A name: who makes it first has it, whoever has looked for it before.
    assert_eq!(one.asks("open x new O_RDONLY"), "ENOENT");
    other.does("open x new O_CREAT|O_EXCL|O_RDWR");
    assert_eq!(one.asks("open x new O_CREAT|O_EXCL|O_RDWR"), "EEXIST");
    one.does("open x new O_RDONLY");
}

#[test]
fn exactly_one_of_many_makers_on_two_nodes_gets_each_name() {
    let at = start();
    at.run(0, "mkdir race").unwrap();
    let make = "cd race; for i in $(seq 200); do mkdir d$i 2>/dev/null && echo d$i; done; true";
    let made: Vec<String> = std::thread::scope(|scope| {
        let makers: Vec<_> = [0, 0, 1, 1]
            .map(|place| {
                scope.spawn({
                    let at = &at;
                    move || at.run(place, make).unwrap()
                })
            })
            .into();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    let mut names: Vec<&str> = made.iter().flat_map(|text| text.lines()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!((all, names.len()), (200, 200));
    for place in 0..2 {
        assert_eq!(at.run(place, "ls race | wc -l; stat -c %h race").unwrap(), "200\n202\n");
    }
}

/// A client daemon that stands still keeps others waiting for the time of its lease. What it had taken in and not made
/// durable does not overwrite what others have written since, and whoever wrote it is told.
#[test]
fn a_client_that_stands_still_is_passed_by_and_what_it_held_back_does_not_follow() {
    let at = start();
    let (mut still, mut other) = (Hand::on(&at, 0), Hand::on(&at, 1));
    still.does("open f f O_CREAT|O_RDWR");
    still.does("pwrite f 0 kept");
    still.does("fsync f");
    other.does("open f f O_RDWR");
    assert_eq!(other.asks("pread f 0 100"), "kept");
    still.does("pwrite f 0 late");
    at.lab.expect_logged(&[
        "a lease was lost with bytes that were not written back",
        "write-back failed*made durable while this client could not be reached",
        "request failed op=\"Fsync\"*made durable while this client could not be reached",
    ]);
    at.client(0).shell(&User::root(), "pkill -STOP -x forebay-client").unwrap();
    let since = Instant::now();
    other.does("pwrite f 0 else");
    other.does("fsync f");
    assert!(since.elapsed() < LEASE, "{:?}", since.elapsed());
    at.client(0).shell(&User::root(), "pkill -CONT -x forebay-client").unwrap();
    assert_eq!(still.asks("fsync f"), "EIO");
    wait::until("both see the same", SOON, || {
        let seen = still.asks("pread f 0 100");
        Ok(if seen == "else" { wait::Seen::Yes(()) } else { wait::Seen::NotYet(seen) })
    })
    .unwrap();
    assert_eq!(other.asks("pread f 0 100"), "else");
    // And it is a client like any other again.
    still.does("pwrite f 0 more");
    assert_eq!(other.asks("pread f 0 100"), "more");
}

/// The same of a directory: what was done there and not made durable is lost, in order, and whoever syncs is told.
#[test]
fn a_client_that_stands_still_loses_what_it_did_in_a_directory_of_its_own() {
    let at = start();
    let (mut still, mut other) = (Hand::on(&at, 0), Hand::on(&at, 1));
    let shell = |place, script: &str| at.client(place).shell(&User::root(), &format!("cd /mnt/forebay; {script}"));
    shell(0, "mkdir d").unwrap();
    still.does("open kept d/kept O_CREAT|O_RDWR");
    still.does("pwrite kept 0 kept");
    still.does("fsync kept");
    at.lab.expect_logged(&[
        "a delegation was lost with operations that were not sent",
        "a lease was lost with bytes that were not written back",
        "request failed op=*made durable while this client could not be reached",
    ]);
    still.does("open late d/late O_CREAT|O_RDWR");
    at.client(0).shell(&User::root(), "pkill -STOP -x forebay-client").unwrap();
    let since = Instant::now();
    other.does("open other d/other O_CREAT|O_RDWR");
    assert!(since.elapsed() < LEASE, "{:?}", since.elapsed());
    at.client(0).shell(&User::root(), "pkill -CONT -x forebay-client").unwrap();
    assert_eq!(still.asks("fsync late"), "EIO");
    wait::until("both see the same", SOON, || {
        let seen = shell(0, "ls d")?;
        Ok(if seen == "kept\nother\n" { wait::Seen::Yes(()) } else { wait::Seen::NotYet(seen) })
    })
    .unwrap();
    assert_eq!(shell(1, "ls d").unwrap(), "kept\nother\n");
    assert_eq!(other.asks("open again d/kept O_RDONLY"), "ok");
    assert_eq!(other.asks("pread again 0 100"), "kept");
    // And it is a client like any other again.
    still.does("open late d/late O_CREAT|O_EXCL|O_RDWR");
    still.does("pwrite late 0 now");
    assert_eq!(other.asks("open late d/late O_RDWR"), "ok");
    assert_eq!(other.asks("pread late 0 100"), "now");
}

/// Waits until a program is in the kernel waiting for a lock.
fn until_it_waits(at: &Mounted, place: usize, pid: &str) {
    wait::until("it waits for a lock", SOON, || {
        let call = at.client(place).shell(&User::root(), &format!("cat /proc/{pid}/syscall"))?;
        // `fcntl` and `flock`.
        let waits = ["72 ", "73 "].iter().any(|number| call.starts_with(number));
        Ok(if waits { wait::Seen::Yes(()) } else { wait::Seen::NotYet(call) })
    })
    .unwrap();
}

#[test]
fn locks_of_one_node_hold_on_the_other() {
    let at = start();
    let (mut one, mut other) = (Hand::on(&at, 0), Hand::on(&at, 1));
    one.does("open f f O_CREAT|O_RDWR");
    other.does("open f f O_RDWR");
    let kinds = [("posix", "posix"), ("posix", "ofd"), ("ofd", "posix"), ("ofd", "ofd"), ("flock", "flock")];
    for (here, there) in kinds {
        one.does(&format!("lock {here} f LOCK_EX|LOCK_NB"));
        assert_eq!(other.asks(&format!("lock {there} f LOCK_EX|LOCK_NB")), "EAGAIN", "{here}, {there}");
        assert_eq!(other.asks(&format!("lock {there} f LOCK_SH|LOCK_NB")), "EAGAIN", "{here}, {there}");
        one.does(&format!("lock {here} f LOCK_SH"));
        other.does(&format!("lock {there} f LOCK_SH"));
        assert_eq!(one.asks(&format!("lock {here} f LOCK_EX|LOCK_NB")), "EAGAIN", "{here}, {there}");
        one.does(&format!("lock {here} f LOCK_UN"));
        other.does(&format!("lock {there} f LOCK_EX"));
        // It goes with the descriptor too.
        one.tell(&format!("lock {here} f LOCK_EX"));
        other.does("close f");
        assert_eq!(one.answer(), "ok", "{here}, {there}");
        other.does("open f f O_RDWR");
        one.does(&format!("lock {here} f LOCK_UN"));
    }
    one.does("lock flock f LOCK_EX");
    other.does("lock posix f LOCK_EX");
}

#[test]
fn a_wait_for_a_lock_of_the_other_node_is_interrupted_and_ends_with_its_holder() {
    let at = start();
    let (mut one, mut other, mut third) = (Hand::on(&at, 0), Hand::on(&at, 1), Hand::on(&at, 1));
    [&mut one, &mut other, &mut third].into_iter().for_each(|hand| hand.does("open f f O_CREAT|O_RDWR"));
    let (holder, waiter) = (one.asks("pid"), other.asks("pid"));
    for kind in ["posix", "flock"] {
        one.does(&format!("lock {kind} f LOCK_EX"));
        other.tell(&format!("lock {kind} f LOCK_EX"));
        until_it_waits(&at, 1, &waiter);
        at.client(1).shell(&User::root(), &format!("kill -USR1 {waiter}")).unwrap();
        assert_eq!(other.answer(), "EINTR");
        // Whoever was interrupted is in nobody's way.
        one.does(&format!("lock {kind} f LOCK_UN"));
        third.does(&format!("lock {kind} f LOCK_EX"));
        third.does(&format!("lock {kind} f LOCK_UN"));
        one.does(&format!("lock {kind} f LOCK_EX"));
    }
    other.tell("lock posix f LOCK_EX");
    third.tell("lock flock f LOCK_EX");
    until_it_waits(&at, 1, &waiter);
    at.client(0).shell(&User::root(), &format!("kill -KILL {holder}")).unwrap();
    assert_eq!(other.answer(), "ok");
    assert_eq!(third.answer(), "ok");
}

/// A client daemon that stands still loses the locks that others want. Whoever had them cannot go on as if it had.
#[test]
fn a_lock_that_was_lost_is_no_lock_and_its_holder_is_told() {
    let at = start();
    let (mut still, mut other) = (Hand::on(&at, 0), Hand::on(&at, 1));
    still.does("open f f O_CREAT|O_RDWR");
    still.does("pwrite f 0 mine");
    still.does("lock posix f LOCK_EX");
    other.does("open f f O_RDWR");
    at.lab.expect_logged(&[
        "a program's lock is lost*others took it while this client could not be reached",
        "request failed op=\"Write\"*made durable while this client could not be reached",
        "a lease was lost with bytes that were not written back",
    ]);
    at.client(0).shell(&User::root(), "pkill -STOP -x forebay-client").unwrap();
    other.does("lock posix f LOCK_EX");
    other.does("pwrite f 0 else");
    at.client(0).shell(&User::root(), "pkill -CONT -x forebay-client").unwrap();
    assert_eq!(still.asks("pwrite f 0 mine"), "EIO");
    assert_eq!(still.asks("lock posix f LOCK_EX|LOCK_NB"), "EIO");
    assert_eq!(other.asks("pread f 0 100"), "else");
    other.does("lock posix f LOCK_UN");
    // Until it closes the file and begins anew.
    still.does("close f");
    still.does("open f f O_RDWR");
    still.does("lock posix f LOCK_EX");
    assert_eq!(still.asks("pread f 0 100"), "else");
    still.does("pwrite f 0 mine");
    assert_eq!(other.asks("pread f 0 100"), "mine");
}
