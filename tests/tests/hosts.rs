//! Hosts come and go under load: added, drained, removed, away for long, slow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_tests::churn::Churn;
use forebay_tests::node::own_program;
use forebay_tests::{ClusterSettings, Mounted, User, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(120);

fn mirror(hosts: u32, spare: usize, shards: u16) -> ClusterSettings {
    ClusterSettings { code: "1+1".into(), hosts, spare, shards, drive_mib: 1024, ..ClusterSettings::default() }
}

fn ids(value: &Value) -> Vec<u64> {
    let mut ids: Vec<u64> = value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    ids.sort_unstable();
    ids
}

/// Whether every shard is led and its members are those that it should have.
fn settled(status: &Value) -> bool {
    let all = status["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let at_rest = |shard: &Value| {
        shard["leader"].is_u64()
            && ids(&shard["voters"]) == ids(&shard["replicas"])
            && ids(&shard["learners"]).is_empty()
    };
    !all.is_empty() && all.iter().all(at_rest)
}

fn host<'a>(status: &'a Value, name: &str) -> &'a Value {
    let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    hosts.iter().find(|host| host["name"] == name).unwrap_or(&Value::Null)
}

/// What `forebay cluster host …` says, and how it ends.
fn manage(at: &Mounted, args: &[&str]) -> (Option<i32>, String) {
    let forebay = at.cluster.forebay(&at.cluster.hosts()[0]).unwrap().args(["cluster", "host"]).args(args);
    let output = forebay.output().unwrap();
    (output.status.code(), output.stdout + &output.stderr)
}

fn done(at: &Mounted, args: &[&str]) -> String {
    let (code, said) = manage(at, args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

fn refused(at: &Mounted, args: &[&str]) -> String {
    let (code, said) = manage(at, args);
    assert_eq!(code, Some(2), "{args:?}: {said}");
    said
}

#[test]
fn a_host_added_under_load_carries_the_cluster_when_others_die() {
    let mut at = Mounted::start(2, &mirror(4, 1, 4)).unwrap();
    let big = "head -c 6000000 /dev/urandom >big; sync big; sha256sum <big >/run/lab/shared/sum";
    at.run(0, big).unwrap();
    let work = Churn::start(&at).unwrap();
    work.wait_progress().unwrap();
    let s4 = at.cluster.address_of("s4");
    assert!(done(&at, &["add", &s4]).contains("s4"));
    let joined =
        |status: &Value| settled(status) && host(status, "s4")["replicas"] == 3 && host(status, "s4")["up"] == true;
    at.wait_status("the new host has its share of replicas", joined).unwrap();
    // Asked again nothing happens.
    done(&at, &["add", &s4]);
    at.run(1, "head -c 6000000 /dev/urandom >more; sync more").unwrap();
    at.wait_status("the new host has new data", |status| host(status, "s4")["chunks"].as_u64() > Some(0)).unwrap();
    work.wait_progress().unwrap();
    done(&at, &["drain", "s1"]);
    at.wait_status("s1 is drained", |status| settled(status) && host(status, "s1")["drained"] == true).unwrap();
    work.wait_progress().unwrap();
    // Of the three hosts that have each shard, the new one and one other are left, in turn: nothing is acknowledged
    // that it has not made durable.
    for dead in ["s2", "s3"] {
        at.cluster.kill(&[dead]).unwrap();
        at.cluster.wait_down(&[dead], SOON).unwrap();
        work.wait_progress().unwrap();
        at.run(1, "sha256sum <big | diff - /run/lab/shared/sum").unwrap();
        at.cluster.restart(&[dead]).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
        work.wait_progress().unwrap();
    }
    // The drained host is not needed for metadata.
    at.cluster.kill(&["s1"]).unwrap();
    work.wait_progress().unwrap();
    work.end().unwrap();
}

#[test]
fn a_host_is_drained_and_removed_while_files_are_used() {
    let mut at = Mounted::start(2, &mirror(4, 0, 4)).unwrap();
    at.run(0, "head -c 9000000 /dev/urandom >big; sync big; sha256sum <big >/run/lab/shared/sum").unwrap();
    let with_chunks = at.wait_status("chunks are counted", |status| host(status, "s2")["chunks"].as_u64() > Some(0));
    with_chunks.unwrap();
    let work = Churn::start(&at).unwrap();
    assert!(refused(&at, &["remove", "s2"]).contains("host drain"));
    assert!(refused(&at, &["drain", "nobody"]).contains("nobody"));
    let said = done(&at, &["drain", "s2"]);
    assert!(said.contains("is read") && said.contains("1+1"), "{said}");
    at.wait_status("s2 is drained", |status| settled(status) && host(status, "s2")["drained"] == true).unwrap();
    at.cluster.daemon("s2").wait_log("has moved to another host and is erased", SOON).unwrap();
    work.wait_progress().unwrap();
    // What is on its drives is read from there, by a client that has nothing cached.
    let again = at.cluster.mount_again(at.client(1)).unwrap();
    let read = format!("sha256sum <{again}/alice/big | diff - /run/lab/shared/sum; umount {again}");
    at.client(1).shell(&User::root(), &read).unwrap();
    let said = refused(&at, &["remove", "s2"]);
    assert!(said.contains("chunks are on its drives") && said.contains("--force"), "{said}");
    // Files go, their chunks are erased, and then nothing is in the way.
    at.run(0, "rm big").unwrap();
    work.wait_progress().unwrap();
    work.end().unwrap();
    at.run(0, "rm -r w0 w1").unwrap();
    at.wait_status("nothing is left on s2", |status| host(status, "s2")["chunks"] == 0).unwrap();
    done(&at, &["remove", "s2"]);
    let status = at.cluster.ask(&["status"]).unwrap();
    assert!(host(&status, "s2").is_null() && status["hosts"].as_array().map(Vec::len) == Some(3), "{status}");
    at.cluster.daemon("s2").wait_log("it has been removed", SOON).unwrap();
    // It cannot come back as it is, but with an empty directory it can.
    let s2 = at.cluster.address_of("s2");
    assert!(refused(&at, &["add", &s2]).contains("already belongs to cluster"));
    at.cluster.daemon("s2").kill().unwrap();
    let disk = at.cluster.hosts()[1].disk();
    std::fs::remove_dir_all(disk.join("forebay")).unwrap();
    std::fs::remove_file(disk.join("drive0")).unwrap();
    at.cluster.restart(&["s2"]).unwrap();
    done(&at, &["add", &s2]);
    let back = |status: &Value| settled(status) && host(status, "s2")["replicas"] == 3 && host(status, "s2")["id"] == 5;
    at.wait_status("it has joined as a new host", back).unwrap();
    at.run(1, "head -c 5000000 /dev/urandom >more; sync more; rm more").unwrap();
}

/// Makes and removes folders with so many threads until it is told to stop.
const FLOOD: &str = r#"
import os, threading
os.chdir("/mnt/forebay/alice")
def work(n):
    k = 0
    while not os.path.exists("/run/lab/shared/enough"):
        os.mkdir(f"t{n}.{k}"); os.rmdir(f"t{n}.{k}"); k += 1
threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
for t in threads: t.start()
for t in threads: t.join()
print("all well")
"#;

#[test]
fn a_host_that_was_away_for_longer_than_the_log_is_kept_catches_up_under_load() {
    let mut at = Mounted::start(1, &mirror(3, 0, 1)).unwrap();
    let work = Churn::start(&at).unwrap();
    work.wait_progress().unwrap();
    let applied = |at: &Mounted| at.cluster.ask(&["status"]).unwrap()["shards"][0]["applied"].as_u64().unwrap();
    at.cluster.kill(&["s3"]).unwrap();
    let before = applied(&at);
    let flood =
        |node: &forebay_tests::Node| Ok(node.command("/usr/bin/python3").args(["-c", FLOOD]).user(&User::alice()));
    let flood = forebay_tests::Daemon::start(at.client(0), "flood", flood).unwrap();
    // The log keeps 8,192 entries and is cut when there are 1,024 more.
    wait::until("the log was cut where s3 is", SOON * 2, || {
        assert!(flood.runs()?, "{}", flood.log_text());
        let now = applied(&at);
        Ok(if now > before + 10_000 { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{before}, {now}")) })
    })
    .unwrap();
    at.cluster.restart(&["s3"]).unwrap();
    at.cluster.daemon("s3").wait_log("state received from the leader", SOON).unwrap();
    work.wait_progress().unwrap();
    std::fs::write(at.lab.shared().join("enough"), "").unwrap();
    let ended = wait::until("the flood ends", SOON, || {
        Ok(if flood.runs()? { wait::Seen::NotYet(flood.log_end()) } else { wait::Seen::Yes(()) })
    });
    ended.unwrap();
    assert!(flood.log_text().ends_with("all well\n"), "{}", flood.log_text());
    at.cluster.wait_down(&[], SOON).unwrap();
    // Now it is needed: for every majority, with each of the others in turn.
    for dead in ["s1", "s2"] {
        at.cluster.kill(&[dead]).unwrap();
        work.wait_progress().unwrap();
        at.cluster.restart(&[dead]).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
        work.wait_progress().unwrap();
    }
    work.end().unwrap();
}

#[test]
fn a_slow_host_gives_its_leads_away_and_gets_them_back_once() {
    let mut at = Mounted::start(1, &mirror(4, 0, 8)).unwrap();
    let work = Churn::start(&at).unwrap();
    at.wait_status("every host leads its share", |status| {
        settled(status) && (1..=4).all(|n| host(status, &format!("s{n}"))["leads"] == 2)
    })
    .unwrap();
    let sick = at.cluster.daemon("s4").pid();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Stopped for three quarters of the time: it answers, but late. Never for as long as an election takes.
        scope.spawn(|| {
            let pid = nix::unistd::Pid::from_raw(sick.cast_signed());
            while !stop.load(Ordering::Relaxed) {
                for (signal, millis) in [(Signal::SIGSTOP, 150), (Signal::SIGCONT, 50)] {
                    nix::sys::signal::kill(pid, signal).unwrap();
                    std::thread::sleep(Duration::from_millis(millis));
                }
            }
        });
        let gone = at.wait_status("it leads nothing", |status| {
            host(status, "s4")["slow"] == true && host(status, "s4")["leads"] == 0 && host(status, "s4")["up"] == true
        });
        let further = work.wait_progress();
        stop.store(true, Ordering::Relaxed);
        gone.unwrap();
        further.unwrap();
    });
    let text = at.cluster.forebay(&at.cluster.hosts()[0]).unwrap().args(["status", "-v"]).run().unwrap();
    assert!(text.contains("SLOW    s4") && text.contains("Up, slow"), "{text}");
    let well = |status: &Value| host(status, "s4")["slow"] == false && host(status, "s4")["leads"] == 2;
    wait::until("it leads again", SOON, || {
        let status = at.cluster.ask(&["status"])?;
        Ok(if well(&status) { wait::Seen::Yes(()) } else { wait::Seen::NotYet(host(&status, "s4").to_string()) })
    })
    .unwrap();
    work.end().unwrap();
}

#[test]
fn an_administrator_s_request_whose_leader_dies_is_done_once() {
    let mut at = Mounted::start(1, &ClusterSettings { drive_mib: 600, ..ClusterSettings::default() }).unwrap();
    for round in 0..4 {
        let status = at.wait_status("shard 0 is led", |status| status["shards"][0]["leader"].is_u64()).unwrap();
        let leader = format!("s{}", status["shards"][0]["leader"]);
        let asker = at.cluster.hosts().iter().find(|node| node.name() != leader).unwrap().clone();
        let name = format!("fs{round}");
        let hosts = at.cluster.addresses().join(",");
        std::thread::scope(|scope| {
            let create = scope.spawn(|| {
                let forebay = own_program(&asker, "forebay").unwrap();
                let forebay = forebay.args(["--hosts", &hosts, "--key", forebay_tests::cluster::KEY]);
                forebay.args(["fs", "create", &name]).deadline(SOON).output().unwrap()
            });
            at.cluster.kill(&[&leader]).unwrap();
            let output = create.join().unwrap();
            assert_eq!(output.status.code(), Some(0), "{name}: {}", output.stderr);
        });
        // What is made is there, whichever host is asked and however soon.
        let list = own_program(&asker, "forebay").unwrap();
        let list = list.args(["--hosts", &hosts, "--key", forebay_tests::cluster::KEY, "fs", "list"]);
        let output = list.deadline(SOON).output().unwrap();
        assert!(output.stdout.contains(&name), "{name} is not listed: {}{}", output.stdout, output.stderr);
        at.cluster.restart(&[&leader]).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
    }
    let list = at.cluster.ask(&["fs", "list"]).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(5), "{list}");
}
