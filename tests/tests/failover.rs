//! Metadata outlives the hosts that lead it.

use std::time::Duration;

use forebay_tests::{ClusterSettings, Daemon, Mounted, Node, User, wait};

const SOON: Duration = Duration::from_secs(120);

/// Makes, renames, links and removes names, each exactly once, until it is told to stop; any error ends it.
const WORKER: &str = r#"
import os, sys
os.chdir("/mnt/forebay/alice")
me, done = sys.argv[1], 0
os.mkdir(me)
while not os.path.exists("/run/lab/shared/stop"):
    d = f"{me}/d{done}"
    os.mkdir(d)                                             # EEXIST if it happened twice
    fd = os.open(f"{d}/a", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b"x" * (done % 5000 + 1))
    os.close(fd)
    os.link(f"{d}/a", f"{d}/b")                             # EEXIST
    os.rename(f"{d}/a", f"{me}/f{done}")                    # ENOENT; over two shards
    os.mkdir(f"{d}/gone")
    os.rmdir(f"{d}/gone")                                   # ENOENT
    if os.stat(f"{d}/b").st_nlink != 2:
        sys.exit(f"{d}/b has {os.stat(f'{d}/b').st_nlink} links")
    done += 1
    with open(f"/run/lab/shared/{me}.done", "w") as f:
        f.write(str(done))
for n in range(done):
    size = n % 5000 + 1
    for name in (f"{me}/f{n}", f"{me}/d{n}/b"):
        with open(name, "rb") as f:
            if f.read() != b"x" * size:
                sys.exit(f"{name} is not what was written")
    if os.listdir(f"{me}/d{n}") != ["b"]:
        sys.exit(f"{me}/d{n} has {os.listdir(f'{me}/d{n}')}")
print("all well")
"#;

fn worker(at: &Mounted, place: usize) -> Daemon {
    at.run(place, "true").unwrap();
    let name = format!("w{place}");
    let argument = name.clone();
    let recipe =
        move |node: &Node| Ok(node.command("/usr/bin/python3").args(["-c", WORKER, &argument]).user(&User::alice()));
    Daemon::start(at.client(place), &name, recipe).unwrap()
}

fn done(at: &Mounted, place: usize) -> u64 {
    let text = std::fs::read_to_string(at.lab.shared().join(format!("w{place}.done"))).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Waits until every worker has got further.
fn wait_progress(at: &Mounted, workers: &[Daemon]) {
    let before: Vec<u64> = (0..workers.len()).map(|place| done(at, place)).collect();
    let further = || {
        for worker in workers {
            if !worker.runs()? {
                panic!("a worker has ended: {}", worker.log_text());
            }
        }
        let now: Vec<u64> = (0..workers.len()).map(|place| done(at, place)).collect();
        let all = now.iter().zip(&before).all(|(now, before)| now > before);
        Ok(if all { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{before:?}, then {now:?}")) })
    };
    wait::until("every worker gets further", SOON, further).unwrap();
}

/// The host that leads most shards, and another one.
fn leaders(at: &Mounted) -> [String; 2] {
    let led = at.wait_status("every shard is led", |status| {
        status["shards"].as_array().is_some_and(|all| all.iter().all(|shard| shard["leader"].is_u64()))
    });
    let mut hosts: Vec<(u64, String)> = led.unwrap()["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|host| host["up"] == true)
        .map(|host| (host["leads"].as_u64().unwrap(), host["name"].as_str().unwrap().to_owned()))
        .collect();
    hosts.sort();
    [hosts.pop().unwrap().1, hosts.pop().unwrap().1]
}

#[test]
fn the_hosts_that_lead_are_killed_and_no_operation_fails_or_happens_twice() {
    let mut at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    let workers = [worker(&at, 0), worker(&at, 1)];
    for round in 0..3 {
        wait_progress(&at, &workers);
        let two = leaders(&at);
        // One, then one more: the second while the first one's shards have just found a new leader.
        let down: Vec<&str> = two.iter().map(String::as_str).collect();
        at.cluster.kill(&down[..1]).unwrap();
        if round > 0 {
            at.cluster.kill(&down[1..]).unwrap();
        }
        wait_progress(&at, &workers);
        at.cluster.restart(&down).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
    }
    wait_progress(&at, &workers);
    std::fs::write(at.lab.shared().join("stop"), "").unwrap();
    for worker in &workers {
        let ended = wait::until("it has ended", SOON, || {
            Ok(if worker.runs()? { wait::Seen::NotYet(worker.log_end()) } else { wait::Seen::Yes(()) })
        });
        ended.unwrap();
        assert!(worker.log_text().ends_with("all well\n"), "{}", worker.log_text());
    }
}

#[test]
fn a_file_deleted_while_it_is_open_outlives_the_leader_of_its_shard() {
    let mut at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    at.run(0, "head -c 300000 /dev/urandom >held && sha256sum <held >/run/lab/shared/sum").unwrap();
    let hold = "exec 3<held; rm held; touch /run/lab/shared/held
        until [ -e /run/lab/shared/killed ]; do sleep 0.05; done
        # Nothing of it is cached: it is read through a new leader.
        sha256sum <&3 | diff - /run/lab/shared/sum && echo all well";
    at.remount(0).unwrap();
    let recipe = move |node: &Node| {
        let script = format!("cd /mnt/forebay/alice && {{ {hold}\n}}");
        Ok(node.command("/bin/bash").args(["-euo", "pipefail", "-c", &script]).user(&User::alice()))
    };
    let holder = Daemon::start(at.client(0), "holder", recipe).unwrap();
    let shared = at.lab.shared();
    holder.wait_ready(SOON, || shared.join("held").exists()).unwrap();
    // Whoever leads the file's shard is among the first three.
    for host in ["s1", "s2", "s3"] {
        at.cluster.kill(&[host]).unwrap();
        at.run(1, "mkdir probe && rmdir probe").unwrap();
        at.cluster.restart(&[host]).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
    }
    std::fs::write(shared.join("killed"), "").unwrap();
    let ended = wait::until("it has ended", SOON, || {
        Ok(if holder.runs()? { wait::Seen::NotYet(holder.log_end()) } else { wait::Seen::Yes(()) })
    });
    ended.unwrap();
    assert!(holder.log_text().ends_with("all well\n"), "{}", holder.log_text());
}
