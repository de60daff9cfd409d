//! `forebay dev`: the filesystem alone, in one process.

use std::time::Duration;

use forebay_tests::node::own_program;
use forebay_tests::{Daemon, Lab, Node, User};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(90);

#[test]
fn one_process_serves_a_filesystem_that_is_there_again_the_next_time() {
    let lab = Lab::builder().node("a").start().unwrap();
    let a = lab.node("a");
    let as_root = |script: &str| a.shell(&User::root(), script);
    as_root("mkdir -p /mnt/dev").unwrap();
    let recipe = |node: &Node| {
        let forebay = own_program(node, "forebay")?.args(["dev", "--drive-mib", "256"]);
        Ok(forebay.args(["--dir", "/run/lab/disk/dev", "--mount", "/mnt/dev"]))
    };
    let mut dev = Daemon::start(&a, "forebayd-dev", recipe).unwrap();
    let mounted = |times: usize| dev_says(&a, "is mounted") >= times;
    dev.wait_ready(SOON, || mounted(1)).unwrap();
    let write = "cd /mnt/dev; mkdir d; echo hello >d/f; head -c 5000000 /dev/urandom >big; sha256sum big d/f >/run/lab/disk/sums";
    as_root(write).unwrap();
    // Nothing was synced: ending in order writes it back.
    assert!(dev.stop(SOON).unwrap().success(), "{}", dev.log_text());
    as_root("! mountpoint -q /mnt/dev").unwrap();
    dev.restart().unwrap();
    dev.wait_ready(SOON, || mounted(2)).unwrap();
    as_root("cd /mnt/dev; sha256sum -c --quiet /run/lab/disk/sums; rm -r d big; ls -A | wc -l | grep -qx 0").unwrap();
    let second = recipe(&a).unwrap().deadline(SOON).output().unwrap();
    assert!(!second.status.success() && second.stderr.contains("use"), "{second:?}");
    // Ctrl-C.
    dev.signal(Signal::SIGINT).unwrap();
    dev.wait_ready(SOON, || as_root("! mountpoint -q /mnt/dev").is_ok()).ok();
    as_root("! mountpoint -q /mnt/dev").unwrap();
}

/// How often the process has said this.
fn dev_says(node: &Node, text: &str) -> usize {
    std::fs::read_to_string(node.log_path("forebayd-dev")).unwrap_or_default().matches(text).count()
}
