//! A cluster's life: every process dies and comes back, and what is refused names the thing and the remedy.

use std::time::Duration;

use forebay_tests::node::own_program;
use forebay_tests::{Cluster, ClusterSettings, Lab, Mounted, User, wait};

const SOON: Duration = Duration::from_secs(90);

#[test]
fn every_process_dies_and_all_data_is_there_afterwards() {
    let mut at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    let make = "mkdir -p tree; for i in $(seq 120); do mkdir -p tree/$((i % 9)); head -c $((i * 1009)) /dev/urandom >tree/$((i % 9))/f$i; done
        ln -s f9 tree/0/link; ln tree/1/f1 tree/hard; setfattr -n user.k -v v tree/1/f1; chmod 600 tree/1/f1; head -c 30000000 /dev/urandom >tree/big
        touch -d '2001-02-03 04:05:06 UTC' tree/2/f2; sync";
    at.run(0, make).unwrap();
    let picture = "find tree -printf '%P %y %m %s %n %u %l\\n' | sort; find tree -type f | sort | xargs sha256sum
        getfattr --only-values -n user.k tree/hard; stat -c %Y tree/2/f2";
    let before = at.run(0, picture).unwrap();
    let names = at.cluster.names();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    at.cluster.kill(&all).unwrap();
    // A client that is mounted goes on when the hosts are back, without being touched.
    at.cluster.restart(&all).unwrap();
    at.cluster.wait_down(&[], SOON).unwrap();
    assert_eq!(at.run(0, picture).unwrap(), before);
    at.run(0, "echo after >tree/after; sync tree/after").unwrap();
    assert_eq!(at.run(1, "cat tree/after; rm tree/after").unwrap(), "after\n");
    // Now the clients die as well, and nobody shuts anything down in order.
    at.cluster.kill(&all).unwrap();
    for client in &at.clients {
        client.shell(&User::root(), "pkill -9 -x forebay-client; umount -l /mnt/forebay").unwrap();
    }
    at.cluster.restart(&all).unwrap();
    at.clients.iter().try_for_each(|client| at.cluster.mount(client)).unwrap();
    assert_eq!(at.run(1, picture).unwrap(), before);
    at.cluster.daemon("s1").stop(SOON).unwrap();
    at.cluster.restart(&["s1"]).unwrap();
    assert_eq!(at.run(0, picture).unwrap(), before);
}

/// A peer of the next version: shows its own greeting, reads the other's, closes.
const NEWER: &str = "
import socket, struct, sys
s = socket.create_server(('0.0.0.0', 7999)); print('up', flush=True)
while True:
    c, _ = s.accept(); theirs = c.recv(42, socket.MSG_WAITALL)
    c.sendall(theirs[:8] + struct.pack('<H', struct.unpack('<H', theirs[8:10])[0] + 1) + bytes(32)); c.close()
";
/// A client of an older version; prints what the host answers.
const OLDER: &str = "
import socket, struct, sys
c = socket.create_connection((sys.argv[1], 7000), 20); c.sendall(b'forebay\\n' + struct.pack('<H', 0) + bytes(32))
got = b''
while True:
    more = c.recv(1000)
    if not more: break
    got += more
print(got[:8] == b'forebay\\n', len(got))
";

#[test]
fn what_is_refused_is_named_with_its_remedy() {
    let mut at = Mounted::start(1, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() }).unwrap();
    at.lab.expect_logged(&["connection refused"]);
    let c1 = at.client(0).clone();
    twice_on_one_directory(&at);
    let refused = |command: forebay_tests::NodeCommand, words: &[&str]| {
        let line = command.line();
        let output = command.output().unwrap();
        let said = output.stdout + &output.stderr;
        assert!(!output.status.success(), "{line} was not refused: {said}");
        for word in words {
            assert!(said.contains(word), "{line}: no {word:?} in {said}");
        }
        output.status.code()
    };
    // Another key.
    own_program(&c1, "forebay").unwrap().args(["cluster", "keygen", "/tmp/other.key"]).run().unwrap();
    let other = |key: &str| {
        let hosts = at.cluster.addresses().join(",");
        own_program(&c1, "forebay").unwrap().args(["--hosts", &hosts, "--key", key, "status"]).deadline(SOON)
    };
    assert_eq!(refused(other("/tmp/other.key"), &["refused our cluster key", "is the key file"]), Some(2));
    assert_eq!(refused(other("/tmp/none.key"), &["/tmp/none.key"]), Some(2));
    c1.shell(
        &User::root(),
        "mkdir -p /mnt/second /mnt/third; cp /tmp/other.key /tmp/open.key; chmod 644 /tmp/open.key; touch /mnt/file",
    )
    .unwrap();
    assert_eq!(refused(other("/tmp/open.key"), &["chmod 600 /tmp/open.key"]), Some(2));
    a_host_without_the_key_is_refused(&at);
    refused(
        own_program(&c1, "forebay").unwrap().args(["cluster", "keygen", "/tmp/other.key"]),
        &["/tmp/other.key exists"],
    );
    // Mounts.
    let source = |fs: &str| format!("{}/{fs}", at.cluster.addresses().join(","));
    let mount = |fs: &str, point: &str, options: &str| {
        let line = ["-t", "forebay", &source(fs), point, "-o", options].map(str::to_owned);
        c1.command("mount").args(line).deadline(SOON)
    };
    let key = "key=/etc/forebay/cluster.key,log=/tmp/log,timeo=20";
    let stranger = "key=/tmp/other.key,log=/tmp/log,node_socket=none,timeo=20";
    let alone = format!("{key},node_socket=none");
    for (fs, point, options, words, code) in [
        ("demo", "/mnt/second", stranger, &["cluster key", "is the key file"][..], 32),
        ("nope", "/mnt/second", &alone, &["nope", "demo"], 32),
        ("demo", "/mnt/forebay", &alone, &["/mnt/forebay", "in use", "umount it first"], 32),
        ("demo", "/mnt/second", key, &["another forebay-client", "node_socket=none"], 32),
        ("demo", "/mnt/missing", &alone, &["/mnt/missing"], 32),
        ("demo", "/mnt/file", &alone, &["/mnt/file"], 32),
        ("demo", "/mnt/second", "colour=blue", &["colour"], 1),
    ] {
        assert_eq!(refused(mount(fs, point, options), words), Some(code), "{fs} on {point} with {options}");
    }
    // The command line names what there is.
    let ask = |args: &[&str]| at.cluster.forebay(&c1).unwrap().args(args);
    assert_eq!(refused(ask(&["fs", "recall", "nope", "/x"]), &["nope", "demo"]), Some(2));
    assert_eq!(refused(ask(&["fs", "tier", "list", "nope"]), &["nope", "demo"]), Some(2));
    assert_eq!(refused(ask(&["fs", "recall", "demo", "/no/such"]), &["/no/such", "demo"]), Some(3));
    mount("demo", "/mnt/third", &format!("{key},node_socket=none,ro")).run().unwrap();
    refused(c1.command("touch").arg("/mnt/third/x"), &["Read-only"]);
    c1.command("umount").arg("/mnt/third").run().unwrap();
    // Versions.
    let address = at.cluster.hosts()[0].address().to_string();
    let said = c1.command("python3").args(["-c", OLDER, &address]).run().unwrap();
    assert_eq!(said, "True 10\n", "an older client is told the version, and nothing else");
    let host = at.cluster.daemon("s1");
    host.wait_log("upgrade the older one", SOON).unwrap();
    let newer = c1.command("python3").args(["-c", NEWER]).spawn(&c1.log_path("newer")).unwrap();
    wait::until_true("the newer peer listens", SOON, || {
        std::fs::read_to_string(c1.log_path("newer")).is_ok_and(|text| text.contains("up"))
    })
    .unwrap();
    let ask = own_program(&c1, "forebay").unwrap().args([
        "--hosts",
        "127.0.0.1:7999",
        "--key",
        "/etc/forebay/cluster.key",
        "status",
    ]);
    assert_eq!(refused(ask.deadline(SOON), &["version", "upgrade the older one"]), Some(9));
    newer.kill().unwrap();
    let nobody = own_program(&c1, "forebay").unwrap().args([
        "--hosts",
        "127.0.0.1:7998",
        "--key",
        "/etc/forebay/cluster.key",
        "status",
    ]);
    assert_eq!(refused(nobody.deadline(SOON), &["127.0.0.1:7998"]), Some(8));
    at.run(0, "echo still >works; cat works").unwrap();
}

/// A second daemon on a host's directory, and one on its drive.
fn twice_on_one_directory(at: &Mounted) {
    let host = &at.cluster.hosts()[5];
    let second = |dir: &str, drive: &str| {
        let forebayd = own_program(host, "forebayd").unwrap().args([
            "--dir",
            dir,
            "--name",
            "twin",
            "--key",
            "/etc/forebay/cluster.key",
        ]);
        let output = forebayd.args(["--listen", "127.0.0.1:7444", "--drive", drive]).deadline(SOON).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "a second forebayd ran: {}", output.stderr);
        output.stdout + &output.stderr
    };
    let said = second("/run/lab/disk/forebay", "/run/lab/disk/drive9:600MiB");
    assert!(said.contains("/run/lab/disk/forebay") && said.contains("use"), "{said}");
    let said = second("/run/lab/disk/elsewhere", "/run/lab/disk/drive0:600MiB");
    assert!(said.contains("/run/lab/disk/drive0"), "{said}");
}

/// A storage host that has another key is let into no cluster, and one without a key does not start.
fn a_host_without_the_key_is_refused(at: &Mounted) {
    let host = &at.cluster.hosts()[4];
    let forebayd = |key: &str| {
        let forebayd = own_program(host, "forebayd").unwrap().args(["--dir", "/run/lab/disk/stranger", "--key", key]);
        forebayd.args(["--listen", "0.0.0.0:7445", "--name", "stranger", "--drive", "/run/lab/disk/d:600MiB"])
    };
    let output = forebayd("/tmp/none.key").deadline(SOON).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!((output.stdout + &output.stderr).contains("/tmp/none.key"));
    own_program(host, "forebay").unwrap().args(["cluster", "keygen", "/tmp/strange.key"]).run().unwrap();
    let log = host.log_path("stranger");
    let stranger = forebayd("/tmp/strange.key").spawn(&log).unwrap();
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    wait::until_true("the stranger listens", SOON, || text().contains("listening")).unwrap();
    let create = own_program(host, "forebay").unwrap().args(["--key", "/etc/forebay/cluster.key", "cluster", "create"]);
    let create = create.args(["--name", "other", "--ec", "1+1"]).arg(format!("{}:7445", host.address()));
    let output = create.deadline(SOON).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("refused our cluster key"), "{}", output.stderr);
    stranger.kill().unwrap();
}

#[test]
fn a_cluster_is_formed_once_of_hosts_that_are_free() {
    let lab = Lab::builder().storage_hosts(6).start().unwrap();
    let cluster = Cluster::unformed(&lab, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() }).unwrap();
    let create = |code: &str, hosts: &[String]| {
        let forebay = own_program(&lab.node("s1"), "forebay").unwrap().args([
            "--key",
            "/etc/forebay/cluster.key",
            "cluster",
            "create",
            "--name",
            "lab",
        ]);
        let output = forebay.args(["--ec", code, "--shards", "8"]).args(hosts).deadline(SOON).output().unwrap();
        (output.status.code(), output.stdout + &output.stderr)
    };
    let (code, said) = create("4+2", &cluster.addresses()[..5]);
    assert!(code == Some(2) && said.contains('6'), "five hosts cannot carry 4+2: {said}");
    cluster.form().unwrap();
    let (code, said) = create("4+2", &cluster.addresses());
    assert!(code == Some(2) && said.contains("already belongs to cluster"), "{said}");
    let status = cluster.ask(&["status"]).unwrap();
    assert_eq!(status["geometry"], "4+2");
    assert_eq!(status["hosts"].as_array().map(Vec::len), Some(6));
    // Five hosts have each shard, and every host has as many as any other, give or take one.
    let shards = status["shards"].as_array().unwrap();
    let replicas = |shard: &serde_json::Value| shard["replicas"].as_array().map(Vec::len);
    assert!(shards.len() == 8 && shards.iter().all(|shard| replicas(shard) == Some(5)), "{shards:?}");
    let on = |host: u64| {
        shards.iter().filter(|shard| shard["replicas"].as_array().is_some_and(|all| all.contains(&host.into()))).count()
    };
    assert!((1..=6).all(|host| (6..=7).contains(&on(host))), "{shards:?}");
    assert_eq!(cluster.ask(&["fs", "list"]).unwrap()[0]["name"], "demo");
}
