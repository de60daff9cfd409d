//! Nothing on a node waits for ever: with every storage host dead, signals end who waits, the deadline ends who is not
//! sent one, and the mount can be taken down.

use std::time::{Duration, Instant};

use forebay_tests::cluster::{KEY, MOUNT};
use forebay_tests::node::{NodeChild, own_program};
use forebay_tests::{Cluster, ClusterSettings, LabError, Mounted, Node, User, wait};
use nix::sys::signal::Signal;

/// Patience with what a signal ends, and with commands that do not wait for a host.
const FEW_SECONDS: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(90);
/// Deadline of the second client's mount.
const TIMEO: Duration = Duration::from_secs(4);

/// Uses the mount in one way, again and again. The folder is of its own: who waits for another's lock on a folder waits
/// inside the kernel, for as long as the other does.
const USE: &str = "
import os, sys
how, path = sys.argv[1], sys.argv[2]
while True:
    if how == 'stat':
        os.stat(path)
    elif how == 'read':
        with open(path, 'rb', 0) as f:
            while f.read(1 << 20): pass
    elif how == 'write':
        with open(path, 'wb', 0) as f:
            f.write(bytes(1 << 20)); os.fsync(f.fileno())
    elif how == 'make':
        os.mkdir(path + '.d'); os.rmdir(path + '.d')
    elif how == 'list':
        os.listdir(os.path.dirname(path))
";
const WAYS: [&str; 5] = ["stat", "read", "write", "make", "list"];

/// What clients of a dead cluster may say: that the deadline, [`TIMEO`], is over, of whichever request it was, and nothing
/// else.
const PROVOKED: [&str; 2] =
    ["request failed op=* error=no success within 4000 ms: ", "what was done here cannot be sent, will be tried again"];

fn users(node: &Node, name: &str) -> Vec<(String, NodeChild)> {
    let start = |way: &&str| {
        let path = format!("{MOUNT}/{name}-{way}/file");
        let make = format!("mkdir -p {MOUNT}/{name}-{way} && head -c 3000000 /dev/urandom >{path} && sync {path}");
        node.shell(&User::root(), &make).unwrap();
        let command = node.command("python3").args(["-c", USE, way, &path]);
        ((*way).to_owned(), command.spawn(&node.log_path(&format!("{name}-{way}"))).unwrap())
    };
    WAYS.iter().map(start).collect()
}

/// Waits until a process waits for the mount: for an answer, or for pages that are being read.
fn wait_inside(what: &str, child: &NodeChild) {
    let place = || std::fs::read_to_string(format!("/proc/{}/wchan", child.pid())).unwrap_or_default();
    let mut since = Instant::now();
    wait::until(&format!("{what} waits for the mount"), SOON, || {
        let place = place();
        if !["request_wait_answer", "folio_wait", "fuse"].iter().any(|inside| place.contains(inside)) {
            since = Instant::now();
        }
        // Who goes on as before waits too, but never for so long.
        let stays = since.elapsed() > Duration::from_secs(2);
        Ok(if stays { wait::Seen::Yes(()) } else { wait::Seen::NotYet(place) })
    })
    .unwrap();
}

fn kill_all(cluster: &mut Cluster) {
    let names = cluster.names();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.kill(&all).unwrap();
}

fn restart_all(cluster: &mut Cluster) {
    let names = cluster.names();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.restart(&all).unwrap();
    cluster.wait_down(&[], SOON).unwrap();
}

fn remount(at: &Mounted, place: usize, options: &str) {
    at.cluster.unmount(at.client(place)).unwrap();
    at.cluster.mount_command(at.client(place), options).run().unwrap();
}

/// What a script that must fail says, and that it fails in time.
fn fails_in_time(node: &Node, script: &str) -> String {
    let start = Instant::now();
    let output = node.command("/bin/bash").args(["-uc", script]).deadline(SOON).output().unwrap();
    let took = start.elapsed();
    let said = output.stdout + &output.stderr;
    assert!(!output.status.success(), "`{script}` succeeds without a single host: {said}");
    assert!(took < TIMEO * 4, "`{script}` took {took:?}: {said}");
    said
}

fn in_time(what: &str, run: impl FnOnce() -> Result<String, LabError>) {
    let start = Instant::now();
    run().unwrap();
    assert!(start.elapsed() < FEW_SECONDS, "{what} took {:?}", start.elapsed());
}

fn is_mounted(node: &Node) -> bool {
    node.shell(&User::root(), "cat /proc/mounts").unwrap().contains(MOUNT)
}

#[test]
fn every_wait_ends_with_every_host_dead() {
    let mut at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    at.lab.expect_logged(&PROVOKED);
    remount(&at, 0, ",timeo=600");
    remount(&at, 1, &format!(",timeo={}", TIMEO.as_secs()));
    let (patient, hasty) = (at.client(0).clone(), at.client(1).clone());
    hasty.shell(&User::root(), &format!("mkdir {MOUNT}/x; head -c 3000000 /dev/urandom >{MOUNT}/x/f; sync")).unwrap();
    let killed = users(&patient, "killed");
    let interrupted = users(&patient, "interrupted");
    let open = format!(
        "import os, sys, time
f = open('{MOUNT}/x/open', 'wb', 0); print('open', flush=True)
while os.path.exists('/run/lab/shared/wait'): time.sleep(0.05)
f.write(b'late')
os.fsync(f.fileno())"
    );
    std::fs::write(at.lab.shared().join("wait"), "").unwrap();
    let log = hasty.log_path("open");
    let open = hasty.command("python3").args(["-c", &open]).spawn(&log).unwrap();
    wait::until_true("the file is open", SOON, || std::fs::read_to_string(&log).unwrap_or_default().contains("open"))
        .unwrap();

    kill_all(&mut at.cluster);

    // Signals, where the deadline is far away.
    for (signal, users) in [(Signal::SIGKILL, &killed), (Signal::SIGINT, &interrupted)] {
        for (way, child) in users {
            wait_inside(way, child);
            child.signal(signal).unwrap();
            child.wait(FEW_SECONDS).unwrap_or_else(|error| panic!("{signal} does not end who does {way}: {error}"));
        }
    }
    // The deadline, where nobody sends a signal.
    for script in [
        format!("stat {MOUNT}/x/never-seen"),
        format!("ls {MOUNT}/x"),
        format!("mkdir {MOUNT}/new"),
        format!("dd if={MOUNT}/x/f of=/dev/null bs=1M iflag=direct"),
        format!("echo x >{MOUNT}/x/new"),
        format!("df {MOUNT}"),
    ] {
        let said = fails_in_time(&hasty, &script);
        assert!(said.contains("timed out") || said.contains("Input/output error"), "`{script}`: {said}");
    }
    std::fs::remove_file(at.lab.shared().join("wait")).unwrap();
    assert!(!open.wait(TIMEO * 4).unwrap().success());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("Errno 110") || said.contains("Errno 5"), "{said}");

    // Taking the mount down.
    in_time("umount", || hasty.command("umount").arg(MOUNT).deadline(SOON).run());
    assert!(!is_mounted(&hasty));
    let stuck = patient.command("stat").arg(format!("{MOUNT}/x/never-seen")).spawn(&patient.log_path("stuck")).unwrap();
    wait_inside("stat", &stuck);
    in_time("forebay local umount --force", || {
        own_program(&patient, "forebay")?.args(["local", "umount", "--force"]).deadline(SOON).run()
    });
    assert!(!is_mounted(&patient));
    assert!(!stuck.wait(FEW_SECONDS).unwrap().success());

    // What was written and synced is there when the hosts are.
    restart_all(&mut at.cluster);
    at.clients.iter().try_for_each(|client| at.cluster.mount(client)).unwrap();
    patient
        .shell(&User::root(), &format!("cmp -n 3000000 {MOUNT}/x/f {MOUNT}/x/f && test -d {MOUNT}/killed-stat"))
        .unwrap();

    // Lazily, with somebody stuck inside.
    kill_all(&mut at.cluster);
    let stuck = patient.command("stat").arg(format!("{MOUNT}/x/never-seen")).spawn(&patient.log_path("stuck")).unwrap();
    wait_inside("stat", &stuck);
    in_time("umount -l", || patient.command("umount").args(["-l", MOUNT]).deadline(SOON).run());
    assert!(!is_mounted(&patient));
    stuck.signal(Signal::SIGKILL).unwrap();
    stuck.wait(FEW_SECONDS).unwrap();
}

#[test]
fn hosts_that_are_silent_are_no_better_than_dead_ones() {
    let mut at = Mounted::start(1, &ClusterSettings::default()).unwrap();
    at.lab.expect_logged(&PROVOKED);
    remount(&at, 0, &format!(",timeo={}", TIMEO.as_secs()));
    let node = at.client(0).clone();
    node.shell(&User::root(), &format!("head -c 3000000 /dev/urandom >{MOUNT}/f; sync {MOUNT}/f")).unwrap();
    // They take connections and requests, and never answer.
    for host in at.cluster.names() {
        at.cluster.daemon(&host).signal(Signal::SIGSTOP).unwrap();
    }
    for script in [
        format!("stat {MOUNT}/never-seen"),
        // What has been seen is believed until the lease runs out.
        format!("while stat {MOUNT}/f; do sleep 0.1; done; false"),
        format!("dd if={MOUNT}/f of=/dev/null bs=1M iflag=direct"),
        format!("mkdir {MOUNT}/d"),
    ] {
        fails_in_time(&node, &script);
    }
    in_time("umount", || node.command("umount").arg(MOUNT).deadline(SOON).run());
    for host in at.cluster.names() {
        at.cluster.daemon(&host).signal(Signal::SIGCONT).unwrap();
    }
}

#[test]
fn a_mount_whose_client_is_killed_says_so_and_can_be_made_again() {
    let at = Mounted::start(1, &ClusterSettings::default()).unwrap();
    let node = at.client(0).clone();
    node.shell(&User::root(), &format!("echo kept >{MOUNT}/f; sync {MOUNT}/f; pkill -9 -x forebay-client")).unwrap();
    let said =
        fails_in_time(&node, &format!("until stat {MOUNT}/f 2>&1 | grep 'not connected'; do sleep 0.05; done; false"));
    assert!(said.contains("Transport endpoint is not connected"), "{said}");
    let source = format!("{}/{}", at.cluster.addresses().join(","), at.cluster.filesystem());
    let again = node.command("mount").args(["-t", "forebay", &source, MOUNT, "-o", &format!("key={KEY}")]);
    let refused = again.run().unwrap_err().to_string();
    assert!(refused.contains("umount -l"), "{refused}");
    in_time("umount", || node.command("umount").arg(MOUNT).deadline(SOON).run());
    at.cluster.mount(&node).unwrap();
    assert_eq!(node.shell(&User::root(), &format!("cat {MOUNT}/f")).unwrap(), "kept\n");
}
