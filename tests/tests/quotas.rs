//! Quotas as administrators set them and users meet them, on two nodes.

use std::time::Duration;

use forebay_tests::{ClusterSettings, Mounted, User};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// `forebay fs quota args…` on the first client, as its administrator.
fn quota(at: &Mounted, args: &[&str]) -> (Option<i32>, String) {
    let command = at.cluster.forebay(at.client(0)).unwrap().args(["fs", "quota"]).args(args).deadline(SOON);
    let output = command.output().unwrap();
    (output.status.code(), output.stdout + &output.stderr)
}

fn done(at: &Mounted, args: &[&str]) -> String {
    let (code, said) = quota(at, args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

/// The row of an owner.
fn row(at: &Mounted, owner: &str) -> Value {
    let said = done(at, &["list", at.cluster.filesystem(), "--all", "--json"]);
    let rows: Value = serde_json::from_str(&said).unwrap();
    let rows = rows.as_array().unwrap().clone();
    rows.into_iter().find(|row| row["owner"] == owner).unwrap_or_else(|| panic!("{owner} is not listed: {said}"))
}

/// What a script of alice's prints on a client; how it ends does not count.
fn try_it(at: &Mounted, place: usize, script: &str) -> String {
    at.run(place, &format!("({script}) 2>&1 || true")).unwrap()
}

#[test]
fn users_and_directories_are_limited_on_every_node_and_mv_copies_between_quotas() {
    let at = Mounted::start(2, &ClusterSettings { drive_mib: 512, ..ClusterSettings::default() }).unwrap();
    let fs = at.cluster.filesystem().to_owned();
    let fs = fs.as_str();
    // A user, by a name that only this node knows.
    assert!(
        done(&at, &["set", fs, "--user", "alice", "--hard-limit", "12MiB", "--hard-files", "300"]).contains("alice")
    );
    let dd = |name: &str, mib: u32| format!("dd if=/dev/zero of={name} bs=1M count={mib} conv=fsync");
    assert!(!try_it(&at, 0, &dd("a", 7)).contains("quota"));
    assert!(try_it(&at, 1, &dd("b", 7)).contains("Disk quota exceeded"));
    assert!(!try_it(&at, 1, &format!("rm b; {}", dd("b", 4))).contains("quota"));
    let alice = row(&at, "user alice");
    assert_eq!(alice["used_bytes"], 11 << 20, "{alice}");
    assert_eq!((&alice["limits"]["hard_bytes"], &alice["in_force"]), (&Value::from(12 << 20), &Value::from(true)));
    // Files, made by a node in a directory of its own: what it had not told of yet passes the limit.
    let many = "mkdir many; for n in $(seq 6000); do : >many/f$n || break; done; ls many | wc -l";
    let said = try_it(&at, 0, many);
    assert!(said.contains("Disk quota exceeded"), "{said}");
    let made: u64 = said.lines().last().unwrap().trim().parse().unwrap();
    assert!((250..6000).contains(&made), "{said}");
    assert!(try_it(&at, 1, ": >one-more").contains("Disk quota exceeded"));
    at.run(0, "rm -r many a b").unwrap();
    at.run(1, ": >one-more; rm one-more").unwrap();
    done(&at, &["unset", fs, "--user", "alice"]);

    // A directory with something in it, as df and quota list see it; mv copies what it cannot rename.
    at.client(0)
        .shell(&User::root(), "mkdir -p /mnt/forebay/projects/team/deep; chmod 777 /mnt/forebay/projects/team")
        .unwrap();
    at.client(0)
        .shell(&User::root(), "for n in 1 2 3; do head -c 100000 /dev/zero >/mnt/forebay/projects/team/deep/$n; done")
        .unwrap();
    let said = done(
        &at,
        &["set", fs, "--path", "/projects/team", "--hard-limit", "4MiB", "--soft-limit", "3MiB", "--grace", "1h"],
    );
    assert!(said.contains("/projects/team") && said.contains("5 files and directories"), "{said}");
    assert_eq!(row(&at, "/projects/team")["used_bytes"], 300_000);
    at.run(1, "mkdir tree; for n in $(seq 5); do head -c 10000 /dev/zero >tree/$n; done; ln tree/1 tree/linked")
        .unwrap();
    at.run(1, "mv tree /mnt/forebay/projects/team/tree; ls /mnt/forebay/projects/team/tree | wc -l").unwrap();
    let team = row(&at, "/projects/team");
    assert_eq!((&team["used_files"], &team["complete"]), (&Value::from(5 + 6), &Value::from(true)), "{team}");
    // What df says is what is left of the quota, below it too.
    let df = at.run(1, "df --output=size,avail -B1 /mnt/forebay/projects/team/tree | tail -1").unwrap();
    let df: Vec<u64> = df.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let left = (4 << 20) - team["used_bytes"].as_u64().unwrap();
    assert_eq!(df, [4 << 20, left / 4096 * 4096], "{team}");
    let into = "head -c 5000000 /dev/zero >/mnt/forebay/projects/team/large; sync /mnt/forebay/projects/team/large";
    assert!(try_it(&at, 1, into).contains("Disk quota exceeded"));
    at.client(1).shell(&User::root(), "rm -r /mnt/forebay/projects/team").unwrap();
    forebay_tests::wait::until_true("the quota goes with its directory", SOON, || {
        done(&at, &["list", fs]).contains("no limits yet")
    })
    .unwrap();
    wrong_usage(&at, fs);
}

fn wrong_usage(at: &Mounted, fs: &str) {
    for (args, words, code) in [
        (&["set", fs, "--user", "alice"][..], &["--hard-limit"][..], 2),
        (&["set", fs, "--hard-limit", "1GiB"], &["--path", "--user"], 2),
        (&["set", fs, "--user", "alice", "--path", "/x", "--hard-limit", "1GiB"], &["cannot be used with"], 2),
        (&["set", fs, "--user", "nobody-here", "--hard-limit", "1GiB"], &["nobody-here", "number"], 2),
        (&["set", fs, "--path", "/", "--hard-limit", "1GiB"], &["below the filesystem's root"], 2),
        (&["set", fs, "--path", "/none", "--hard-limit", "1GiB"], &["/none"], 3),
        (&["set", fs, "--user", "0", "--hard-limit", "lots"], &["lots"], 2),
        (&["unset", fs, "--group", "77"], &["group 77", "quota list"], 2),
        (&["list", "none-such"], &["none-such", fs], 2),
    ] {
        let (got, said) = quota(at, args);
        assert_eq!(got, Some(code), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: no {word:?} in {said}");
        }
    }
}
