//! The conformance cases: on one mount, on two mounts in turn, and on a filesystem of the kernel's, which says whether
//! the cases themselves are right.

use std::time::Duration;

use forebay_tests::cluster::MOUNT;
use forebay_tests::node::own_program;
use forebay_tests::{ClusterSettings, Mounted, paths};

const LONG: Duration = Duration::from_secs(300);

fn play(at: &Mounted, folders: &[&str]) -> String {
    let program = own_program(at.client(0), "forebay-posix").unwrap();
    let said = program.args(folders).deadline(LONG).output().unwrap();
    assert!(said.status.success(), "on {folders:?}:\n{}{}", said.stdout, said.stderr);
    said.stdout
}

#[test]
fn every_rule_holds_on_one_mount_on_two_in_turn_and_on_a_local_filesystem() {
    let at = Mounted::start(1, &ClusterSettings::default()).expect("a cluster, mounted");
    println!("local: {}", play(&at, &["--local", paths::DISK]));
    println!("one mount: {}", play(&at, &[MOUNT]));
    let second = at.cluster.mount_again(at.client(0)).unwrap();
    println!("two mounts: {}", play(&at, &[MOUNT, &second]));
}
