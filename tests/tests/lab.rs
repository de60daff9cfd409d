//! The lab itself, on real namespaces: what a node sees, what is left after every way a lab can end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forebay_tests::{Daemon, Footprint, Lab, LabError, Leftovers, Node, User, footprint, lab, logs, paths, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GONE: Duration = Duration::from_secs(60);

fn assert_gone(print: &Footprint) {
    assert_eq!(print.leftovers(), Leftovers::default());
    assert_eq!(footprint::leftovers(&print.lab_id).count(), 0);
}

#[test]
fn nodes_have_their_own_names_mounts_processes_and_addresses_and_leave_nothing() {
    let lab = Lab::builder().node("a").node("b").start().expect("the lab starts");
    let print = lab.footprint();
    let (a, b) = (lab.node("a"), lab.node("b"));
    assert_eq!(
        a.shell(&User::root(), "hostname; getent hosts b | awk '{print $1}'").unwrap(),
        format!("a\n{}\n", b.address())
    );
    a.shell(&User::root(), "mkdir /mnt/x && mount -t tmpfs x /mnt/x && touch /run/only-here /tmp/only-here").unwrap();
    assert_eq!(
        b.shell(&User::root(), "ls /mnt /run/only-here /tmp 2>/dev/null || true").unwrap().trim(),
        "/mnt:\n\n/tmp:"
    );
    assert!(!PathBuf::from("/run/only-here").exists());
    let seen = a.shell(&User::root(), "ls -d /proc/[0-9]* | wc -l").unwrap();
    assert!(seen.trim().parse::<u32>().unwrap() < 8, "a node sees only its own processes, not {seen}");
    let address = b.address();
    b.shell(&User::root(), "setsid python3 -m http.server --directory /run/lab/shared 80 >/dev/null 2>&1 &").unwrap();
    std::fs::write(lab.shared().join("greeting"), "hello").unwrap();
    let fetch = format!(
        "timeout 20 bash -c 'until exec 3<>/dev/tcp/{address}/80; do read -t 0.1 < <(:) || :; done 2>/dev/null; \
         printf \"GET /greeting HTTP/1.0\\r\\n\\r\\n\" >&3; tail -1 <&3'"
    );
    assert!(a.shell(&User::alice(), &fetch).unwrap().ends_with("hello"));
    assert!(print.leftovers().count() > 20, "a running lab has processes, mounts, namespaces and files");
    lab.end().expect("the lab ends");
    assert_gone(&print);
}

#[test]
fn users_exist_only_inside_and_see_the_build_outputs() {
    let lab = Lab::builder().node("a").start().expect("the lab starts");
    let a = lab.node("a");
    assert_eq!(a.shell(&User::alice(), "id -un; id -u; pwd; umask").unwrap(), "alice\n2001\n/home/alice\n0022\n");
    assert_eq!(a.shell(&User::bob(), "id -Gn").unwrap(), "bob\n");
    assert!(nix::unistd::User::from_name("alice").unwrap().is_none(), "alice is a user of this machine");
    let program = paths::inside(lab::PROGRAM).unwrap();
    let said = a.command(&program).arg("--help").user(&User::alice()).run().unwrap();
    assert!(said.starts_with("usage: forebay-lab"), "{said}");
    assert!(a.shell(&User::root(), "touch /run/lab/bin/x").is_err(), "build outputs are read-only");
    a.shell(&User::alice(), "test -c /dev/fuse && test -r /etc/fuse.conf && touch /run/lab/cold/by-alice").unwrap();
    assert!(lab.cold().join("by-alice").exists());
}

#[test]
fn a_power_failure_ends_a_node_and_spares_its_disk_and_the_others() {
    let lab = Lab::builder().node("a").node("b").start().expect("the lab starts");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let daemon = a.command("sleep").arg("600").spawn(&a.log_path("sleep")).unwrap();
    a.shell(&User::root(), "echo kept >/run/lab/disk/file; echo lost >/run/file").unwrap();
    lab.power_fail("a").unwrap();
    assert!(!daemon.wait(GONE).unwrap().success());
    assert!(matches!(a.shell(&User::root(), "true"), Err(LabError::NodeDown(_))));
    b.shell(&User::root(), "true").unwrap();
    lab.boot("a").unwrap();
    assert_eq!(a.shell(&User::root(), "cat /run/lab/disk/file; cat /run/file || echo gone").unwrap(), "kept\ngone\n");
    b.shell(&User::root(), &format!("ping -c1 -W5 {} 2>/dev/null || getent hosts a", a.address())).unwrap();
}

#[test]
fn a_command_that_fails_or_hangs_is_reported_with_what_it_said() {
    let lab = Lab::builder().node("a").start().expect("the lab starts");
    let a = lab.node("a");
    let error = a.shell(&User::root(), "echo out; echo err >&2; exit 3").unwrap_err().to_string();
    for part in ["on a:", "exit status: 3", "out", "err"] {
        assert!(error.contains(part), "{error}");
    }
    let hang = a.command("/bin/bash").args(["-c", "echo begun; sleep 600"]).deadline(Duration::from_millis(300));
    let error = hang.run().unwrap_err().to_string();
    assert!(error.contains("has ended: not so after") && error.contains("begun"), "{error}");
    assert!(matches!(a.command("no-such-program").run(), Err(LabError::Io { .. })));
}

#[test]
fn a_daemon_is_killed_and_started_again_with_one_log_and_its_early_end_is_reported() {
    let lab = Lab::builder().node("a").start().expect("the lab starts");
    let script = "echo 'begun by' $$; touch /run/begun; exec sleep 600";
    let recipe = move |node: &Node| Ok(node.command("/bin/bash").args(["-c", script]));
    let mut daemon = Daemon::start(&lab.node("a"), "sleeper", recipe).unwrap();
    daemon.wait_log("begun by", GONE).unwrap();
    let first = daemon.pid();
    daemon.kill().unwrap();
    assert!(!daemon.runs().unwrap());
    daemon.restart().unwrap();
    daemon.wait_ready(GONE, || daemon.log_text().matches("begun by").count() == 2).unwrap();
    assert_ne!(daemon.pid(), first);
    daemon.stop(GONE).unwrap();
    let early = |node: &Node| Ok(node.command("/bin/bash").args(["-c", "echo 'drive d1 is in use' >&2; exit 7"]));
    let daemon = Daemon::start(&lab.node("a"), "early", early).unwrap();
    let error = daemon.wait_ready(GONE, || false).unwrap_err().to_string();
    assert!(error.contains("exit status: 7") && error.contains("drive d1 is in use"), "{error}");
    std::fs::write(daemon.log(), "2026-01-01T00:00:00Z ERROR forebayd: drive lost\n").unwrap();
    assert_eq!(logs::unexpected(&lab.logs(), &["early", "sleeper"], &[]).unwrap().len(), 1);
    assert_eq!(logs::unexpected(&lab.logs(), &["early"], &["drive lost"]).unwrap(), []);
}

/// A lab owned by another process, with a plain Slurm in it.
fn held() -> (Child, Footprint) {
    let mut owner = Command::new(paths::built(lab::PROGRAM).expect("built with the tests"))
        .args(["hold", "1", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("forebay-lab starts");
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (owner, serde_json::from_str(&line).expect("the footprint, when all is up"))
}

#[test]
fn a_lab_taken_down_from_outside_ends_its_owner_too() {
    let (mut owner, print) = held();
    let program = paths::built(lab::PROGRAM).unwrap();
    assert!(Command::new(program).args(["down", &print.lab_id]).status().unwrap().success());
    assert!(owner.wait().unwrap().success());
    assert_gone(&print);
}

fn ends_with(signal: Signal) {
    let (mut owner, print) = held();
    assert!(print.leftovers().processes.len() > 6, "{:?}", print.leftovers());
    kill(Pid::from_raw(owner.id().cast_signed()), signal).unwrap();
    owner.wait().unwrap();
    wait::until("the lab is gone", GONE, || {
        let left = print.leftovers();
        Ok(if left.is_empty() { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{left:?}")) })
    })
    .unwrap();
    assert_gone(&print);
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    ends_with(Signal::SIGINT);
}

#[test]
fn nothing_is_left_after_sigkill_of_the_owner() {
    ends_with(Signal::SIGKILL);
}

#[test]
fn the_next_lab_sweeps_up_after_a_killed_keeper() {
    let (mut owner, print) = held();
    let state = PathBuf::from(format!("/var/tmp/forebay-lab-{}", print.lab_id));
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(state.join("lab.json")).unwrap()).unwrap();
    let keeper = i32::try_from(record["keeper_pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait::until_true("all processes are gone", GONE, || print.leftovers().processes.is_empty()).unwrap();
    Lab::builder().start().expect("the lab starts").end().unwrap();
    assert_gone(&print);
}

#[test]
fn a_detached_lab_outlives_its_owner_until_it_is_taken_down() {
    let program = paths::built(lab::PROGRAM).unwrap();
    let lab = |args: &[&str]| Command::new(&program).args(args).output().unwrap();
    let up = String::from_utf8(lab(&["up", "1", "0"]).stdout).unwrap();
    let print: Footprint = serde_json::from_str(up.lines().next().unwrap()).unwrap();
    let id = print.lab_id.as_str();
    assert!(String::from_utf8(lab(&["list"]).stdout).unwrap().contains(&format!("{id} ctl n1\n")));
    let shell = lab(&["shell", id, "n1", "--user", "alice", "srun", "id", "-un"]);
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "alice\n");
    assert!(String::from_utf8_lossy(&lab(&["shell", id, "z"]).stderr).contains("has no running node z"));
    assert!(lab(&["down", id]).status.success());
    assert_gone(&print);
}
