//! Metadata outlives the hosts that lead it.

use std::time::Duration;

use forebay_tests::churn::Churn;
use forebay_tests::{ClusterSettings, Daemon, Mounted, Node, User, wait};

const SOON: Duration = Duration::from_secs(120);

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
    let workers = Churn::start(&at).unwrap();
    for round in 0..3 {
        workers.wait_progress().unwrap();
        let two = leaders(&at);
        // One, then one more: the second while the first one's shards have just found a new leader.
        let down: Vec<&str> = two.iter().map(String::as_str).collect();
        at.cluster.kill(&down[..1]).unwrap();
        if round > 0 {
            at.cluster.kill(&down[1..]).unwrap();
        }
        workers.wait_progress().unwrap();
        // With hosts dead and names coming and going, there is nothing to be found.
        assert_clean(&at);
        at.cluster.restart(&down).unwrap();
        at.cluster.wait_down(&[], SOON).unwrap();
    }
    workers.wait_progress().unwrap();
    workers.end().unwrap();
    assert_clean(&at);
}

/// `forebay fsck` ends with 0 and has looked at something.
fn assert_clean(at: &Mounted) {
    let fsck = at.cluster.forebay(at.client(0)).unwrap().args(["fsck", at.cluster.filesystem()]);
    let said = fsck.deadline(SOON).run().unwrap();
    assert!(said.contains(" in 8 shards checked, 0 findings, 0 repaired") && !said.starts_with('0'), "{said}");
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
