//! Between a cold tier and the hot one, without Slurm: import, read-through, recall, evict, and what goes wrong.

use std::time::Duration;

use forebay_tests::demo::cold::ColdTier;
use forebay_tests::demo::dataset::Recipe;
use forebay_tests::{Cluster, ClusterSettings, Lab, Mounted, User, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(90);
const RECIPE: Recipe = Recipe { seed: 5, small_files: 150, large_mib: 24 };

/// A filesystem with an attached folder as its cold tier, and a dataset in that, imported at `/data`.
fn with_dataset() -> Mounted {
    let at = Mounted::start(2, &ClusterSettings::default()).unwrap();
    RECIPE.lay(&at.cold_folder("set").unwrap(), &at.lab.shared().join("sums")).unwrap();
    at.attach_cold().unwrap();
    let done = at.cluster.ask(&["fs", "import", "demo", "file:///run/lab/cold/set/", "/data"]).unwrap();
    assert_eq!(done["files"], u64::from(RECIPE.small_files) + 1);
    at
}

/// Bytes on all drives.
fn live(at: &Mounted) -> u64 {
    let status = at.cluster.ask(&["status"]).unwrap();
    status["drives"].as_array().unwrap().iter().filter_map(|drive| drive["live_bytes"].as_u64()).sum()
}

const CHECK: &str = "cd /mnt/forebay/data && sha256sum -c --quiet /run/lab/shared/sums";

#[test]
fn an_import_is_names_only_and_reads_bring_the_bytes() {
    let at = with_dataset();
    let sizes = at.run(0, "cd ../data; find . -type f -printf '%P %s\\n' | sort").unwrap();
    let there = std::process::Command::new("find")
        .args([".", "-type", "f", "-printf", "%P %s\\n"])
        .current_dir(at.lab.cold().join("set"))
        .output()
        .unwrap();
    let mut there: Vec<&str> = std::str::from_utf8(&there.stdout).unwrap().lines().collect();
    there.sort_unstable();
    assert_eq!(sizes.lines().collect::<Vec<_>>(), there);
    assert!(live(&at) < 1 << 20, "an import moves no bytes");
    at.run(0, CHECK).unwrap();
    at.run(1, CHECK).unwrap();
    // A second import of the same changes nothing and brings nothing twice.
    at.cluster.ask(&["fs", "import", "demo", "file:///run/lab/cold/set/", "/data"]).unwrap();
    assert_eq!(at.run(1, "cd ../data; find . -type f -printf '%P %s\\n' | sort").unwrap(), sizes);
    let said = at
        .cluster
        .forebay(at.client(0))
        .unwrap()
        .args(["fs", "import", "demo", "file:///elsewhere/set/", "/data"])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("file:///run/lab/cold"), "{}", said.stderr);
    let said = at
        .cluster
        .forebay(at.client(0))
        .unwrap()
        .args(["fs", "import", "demo", "file:///run/lab/cold/none/", "/none"])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("none") && said.stderr.contains("does not exist"), "{}", said.stderr);
}

#[test]
fn recall_and_evict_move_bytes_by_range_and_lose_none() {
    let at = with_dataset();
    let half = RECIPE.large_mib << 19;
    let part = at.cluster.ask(&["fs", "recall", "demo", "/data/large.bin", "--range", &format!("0-{half}")]).unwrap();
    let moved = part["moved_bytes"].as_u64().unwrap();
    assert!((half..RECIPE.large_mib << 20).contains(&moved), "half of the file was asked for: {part}");
    let all = at.cluster.ask(&["fs", "recall", "demo", "/data"]).unwrap();
    assert_eq!(all["files"], u64::from(RECIPE.small_files) + 1);
    let again = at.cluster.ask(&["fs", "recall", "demo", "/data"]).unwrap();
    assert_eq!(again["moved_bytes"], 0, "what is hot is not moved again");
    at.wait_status("the dataset is hot", |status| {
        status["drives"].as_array().unwrap().iter().filter_map(|d| d["live_bytes"].as_u64()).sum::<u64>()
            > RECIPE.large_mib << 20
    })
    .unwrap();
    // With the tier gone, hot bytes are read all the same.
    let (cold, away) = (at.lab.cold().join("set"), at.lab.cold().join("away"));
    std::fs::rename(&cold, &away).unwrap();
    at.run(0, CHECK).unwrap();
    std::fs::rename(&away, &cold).unwrap();
    // What was changed here goes to the tier before its hot copy is freed.
    at.cluster
        .as_alice(at.client(0), "head -c 3000000 /dev/urandom >own; sync own; sha256sum own >/run/lab/shared/own")
        .unwrap();
    let before = live(&at);
    at.cluster.ask(&["fs", "evict", "demo", "/data", "--tier", "cold"]).unwrap();
    at.cluster.ask(&["fs", "evict", "demo", "/alice"]).unwrap();
    at.wait_status("the hot copies are freed", |status| {
        status["drives"].as_array().unwrap().iter().filter_map(|d| d["live_bytes"].as_u64()).sum::<u64>() < before / 4
    })
    .unwrap();
    at.remount(1).unwrap();
    at.run(1, "sha256sum -c --quiet /run/lab/shared/own").unwrap();
    at.run(1, CHECK).unwrap();
}

#[test]
fn a_source_that_changed_or_vanished_is_an_error_that_names_it_and_no_wrong_byte_is_served() {
    let at = with_dataset();
    at.lab.expect_logged(&["request failed op=\"Read\" * error=*sample-00007.bin has changed since it was imported"]);
    let cold = at.lab.cold().join("set");
    let path = "part-00/sample-00007.bin";
    let old = std::fs::read(cold.join(path)).unwrap();
    std::fs::write(cold.join(path), vec![0xab; old.len()]).unwrap();
    std::fs::remove_file(cold.join("part-00/sample-00008.bin")).unwrap();
    let recall = |path: &str| {
        let output = at.cluster.forebay(at.client(0)).unwrap().args(["fs", "recall", "demo", path]).output().unwrap();
        assert!(!output.status.success(), "{path} was recalled: {}", output.stdout);
        output.stderr
    };
    let said = recall("/data/part-00/sample-00007.bin");
    assert!(said.contains("sample-00007.bin") && said.contains("changed"), "{said}");
    let said = recall("/data/part-00/sample-00008.bin");
    assert!(said.contains("sample-00008.bin") && said.contains("does not exist"), "{said}");
    assert!(at.run(0, "cat ../data/part-00/sample-00007.bin >/dev/null").is_err(), "a changed object was served");
    at.run(0, "cmp ../data/part-00/sample-00009.bin <(sha256sum /dev/null) >/dev/null 2>&1 || cat ../data/part-00/sample-00009.bin >/dev/null").unwrap();
}

#[test]
fn an_object_store_that_stops_answering_delays_a_recall_and_damages_nothing() {
    let lab = Lab::builder().storage_hosts(6).node("cold").node("c1").start().unwrap();
    let settings = ClusterSettings { log: "info,forebay_server=debug".to_owned(), ..ClusterSettings::default() };
    let cluster = Cluster::start(&lab, &settings).unwrap();
    let mut cold = ColdTier::start(&lab, true).unwrap();
    let c1 = lab.node("c1");
    cluster.mount(&c1).unwrap();
    RECIPE.lay(&cold.folder(&lab, "set").unwrap(), &lab.shared().join("sums")).unwrap();
    cold.publish("set").unwrap();
    cold.attach(&cluster).unwrap();
    cluster.ask(&["fs", "import", "demo", "s3://cold/set/", "/data"]).unwrap();
    let listed = cluster.ask(&["fs", "tier", "list", "demo"]).unwrap().to_string();
    assert!(listed.contains("s3://cold") && !listed.contains("secret"), "{listed}");
    cold.server().unwrap().kill().unwrap();
    let recall = cluster
        .forebay(&c1)
        .unwrap()
        .args(["--json", "fs", "recall", "demo", "/data"])
        .spawn(&c1.log_path("recall"))
        .unwrap();
    // Hot or in flight, nothing of it is wrong; it goes on as soon as the store is back.
    wait::until_true("a storage host has found the store away", SOON, || lab_says(&lab, "will be tried again"))
        .unwrap();
    cold.server().unwrap().restart().unwrap();
    cold.server().unwrap().wait_log("listening at", SOON).unwrap();
    assert!(recall.wait(SOON).unwrap().success(), "{}", std::fs::read_to_string(c1.log_path("recall")).unwrap());
    // A store that hangs without closing the connection.
    cluster.ask(&["fs", "evict", "demo", "/data"]).unwrap();
    cold.server().unwrap().signal(Signal::SIGSTOP).unwrap();
    let recall = cluster
        .forebay(&c1)
        .unwrap()
        .args(["--json", "fs", "recall", "demo", "/data"])
        .spawn(&c1.log_path("again"))
        .unwrap();
    c1.shell(&User::root(), "ls -lR /mnt/forebay/data >/dev/null").unwrap();
    cold.server().unwrap().signal(Signal::SIGCONT).unwrap();
    assert!(recall.wait(SOON).unwrap().success(), "{}", std::fs::read_to_string(c1.log_path("again")).unwrap());
    c1.shell(&User::root(), CHECK).unwrap();
    let said = std::fs::read_to_string(c1.log_path("again")).unwrap();
    let done: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(done["files"], u64::from(RECIPE.small_files) + 1);
}

/// Whether a storage host has logged this.
fn lab_says(lab: &Lab, text: &str) -> bool {
    let logs = std::fs::read_dir(lab.logs()).unwrap().flatten().map(|entry| entry.path());
    let mut hosts = logs.filter(|path| path.to_string_lossy().contains("forebayd"));
    hosts.any(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text))
}
