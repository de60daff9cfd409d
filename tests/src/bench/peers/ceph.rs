//! CephFS: a monitor, a manager and a metadata server on the first server, an OSD on each; metadata in three copies, file data
//! erasure-coded 4+2.

use std::fs;

use super::{MOUNT, STEP, Stage};
use crate::error::{Context, LabError};
use crate::node::{Node, NodeCommand, User};
use crate::paths;
use crate::process::Daemon;
use crate::wait::{self, Seen};

/// Debian packages.
pub const PACKAGES: [&str; 7] = ["ceph-common", "ceph-mon", "ceph-mgr", "ceph-mds", "ceph-osd", "ceph-fuse", "attr"];
/// The client's daemon.
pub const CLIENT: [&str; 1] = ["ceph-fuse"];

/// Folder of what every node has to know; all nodes see it.
const SHARED: &str = "/run/lab/shared/ceph";
const SETTINGS: &str = "/run/lab/shared/ceph/ceph.conf";
const DATA_POOL: &str = "cephfs_ec";
/// Size of the file that is an OSD's drive.
const DRIVE_BYTES: u64 = 8 << 30;
const MEMORY_BYTES: u64 = 1 << 30;

/// Starts everything, in the order in which it depends on each other.
pub fn serve(stage: &Stage) -> Result<(), LabError> {
    let first = stage.first();
    write_settings(stage)?;
    start_monitor(first)?;
    let data = format!("{}/mgr.x", paths::DISK);
    let rights = ["mon", "allow profile mgr", "mds", "allow *", "osd", "allow *"];
    new_daemon(first, "mgr.x", &data, &rights)?;
    start(first, "ceph-mgr", "x")?;
    for (number, node) in stage.servers.iter().enumerate() {
        start_drive(first, node, &number.to_string())?;
    }
    make_pools(first)?;
    let data = format!("{}/mds.a", paths::DISK);
    let rights = ["mon", "allow profile mds", "osd", "allow rwx", "mds", "allow *", "mgr", "allow profile mds"];
    new_daemon(first, "mds.a", &data, &rights)?;
    start(first, "ceph-mds", "a")?;
    wait_said(first, "the metadata server is active", &["mds", "stat"], |said| said.contains("up:active"))
}

fn write_settings(stage: &Stage) -> Result<(), LabError> {
    let (first, disk, log) = (stage.first(), paths::DISK, paths::LOG);
    let (address, fsid) = (first.address(), new_uuid()?);
    let network = format!("{address}/16");
    let settings = format!(
        "[global]
        fsid = {fsid}
        mon host = [v2:{address}:3300,v1:{address}:6789]
        public network = {network}
        cluster network = {network}
        auth cluster required = cephx
        auth service required = cephx
        auth client required = cephx
        keyring = {SHARED}/keyring.admin
        run dir = /run
        admin socket = /run/$name.$pid.asok
        pid file = /run/$name.pid
        log file = {log}/ceph-$name.log
        crash dir = /run/ceph-crash
        osd crush chooseleaf type = 0
        osd pool default size = 3
        osd pool default min size = 2
        osd pool default pg num = 8
        osd pool default pgp num = 8
        osd pool default pg autoscale mode = off
        mon max pg per osd = 400
        mon data avail warn = 2
        mon data avail crit = 1
        mon warn on insecure global id reclaim = false
        mon warn on insecure global id reclaim allowed = false
        mon warn on pool no redundancy = false
        [mon]
        mon data = {disk}/mon.$id
        mon cluster log file = {log}/ceph-cluster.log
        [mgr]
        mgr data = {disk}/mgr.$id
        keyring = {disk}/mgr.$id/keyring
        [mds]
        mds data = {disk}/mds.$id
        keyring = {disk}/mds.$id/keyring
        [osd]
        osd data = {disk}/osd.$id
        keyring = {disk}/osd.$id/keyring
        osd objectstore = bluestore
        osd memory target = {MEMORY_BYTES}
        bluestore block create = true
        bluestore block size = {DRIVE_BYTES}
        bluestore block wal create = false
        bluestore block db create = false
        bdev async discard = false
        osd scrub load threshold = 0.01\n"
    );
    let settings: String = settings.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let script = format!(
        "mkdir -p {SHARED} && cd {SHARED} && cat > ceph.conf
        ceph-authtool -C keyring.admin -g -n client.admin \
            --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *'
        ceph-authtool -C keyring.mon -g -n mon. --cap mon 'allow *'
        ceph-authtool keyring.mon --import-keyring keyring.admin
        monmaptool --create --clobber --fsid {fsid} --addv a '[v2:{address}:3300,v1:{address}:6789]' monmap
        ceph-mon --mkfs -i a -c ceph.conf --monmap monmap --keyring keyring.mon"
    );
    first.command("/bin/bash").args(["-euc", &script]).input(settings).deadline(STEP).run()?;
    Ok(())
}

fn start_monitor(node: &Node) -> Result<(), LabError> {
    let monitor = start(node, "ceph-mon", "a")?;
    monitor.wait_ready(STEP, || {
        let status = ceph(node, &["--connect-timeout", "5", "mon", "stat"]).output();
        status.is_ok_and(|said| said.status.success())
    })
}

/// Makes the folder and the key of a daemon of the first server.
fn new_daemon(node: &Node, name: &str, data: &str, rights: &[&str]) -> Result<(), LabError> {
    node.shell(&User::root(), &format!("mkdir -p {data}"))?;
    ceph(node, &["auth", "get-or-create", name]).args(rights).args(["-o", &format!("{data}/keyring")]).run()?;
    Ok(())
}

/// Makes an OSD of a server's disk, and starts it.
fn start_drive(first: &Node, node: &Node, number: &str) -> Result<(), LabError> {
    let (data, uuid) = (format!("{}/osd.{number}", paths::DISK), new_uuid()?);
    let key = node.command("ceph-authtool").arg("--gen-print-key").run()?;
    let key = key.trim();
    let secret = format!("{{\"cephx_secret\": \"{key}\"}}");
    ceph(first, &["osd", "new", &uuid, number, "-i", "-"]).input(secret).run()?;
    let script = format!(
        "mkdir -p {data} && ceph-authtool -C {data}/keyring -n osd.{number} --add-key {key}
        ceph-osd -i {number} -c {SETTINGS} --mkfs --osd-uuid {uuid}"
    );
    node.command("/bin/bash").args(["-euc", &script]).deadline(STEP).run()?;
    start(node, "ceph-osd", number)?;
    Ok(())
}

fn make_pools(first: &Node) -> Result<(), LabError> {
    let steps: [&[&str]; 8] = [
        &["osd", "erasure-code-profile", "set", "four_two", "k=4", "m=2", "crush-failure-domain=osd"],
        &["osd", "pool", "create", "cephfs_meta", "16", "16", "replicated"],
        &["osd", "pool", "create", "cephfs_default", "8", "8", "replicated"],
        &["osd", "pool", "create", DATA_POOL, "32", "32", "erasure", "four_two"],
        &["osd", "pool", "set", DATA_POOL, "allow_ec_overwrites", "true"],
        &["osd", "pool", "application", "enable", DATA_POOL, "cephfs"],
        &["fs", "new", "cephfs", "cephfs_meta", "cephfs_default"],
        &["fs", "add_data_pool", "cephfs", DATA_POOL],
    ];
    steps.into_iter().try_for_each(|step| ceph(first, step).run().map(drop))
}

fn start(node: &Node, program: &'static str, id: &str) -> Result<Daemon, LabError> {
    let id = id.to_owned();
    Daemon::start(node, program, move |node| Ok(node.command(program).args(["-f", "-i", &id, "-c", SETTINGS])))
}

fn ceph(node: &Node, args: &[&str]) -> NodeCommand {
    node.command("ceph").args(["-c", SETTINGS]).args(args).deadline(STEP)
}

fn wait_said(node: &Node, what: &str, args: &[&str], wanted: fn(&str) -> bool) -> Result<(), LabError> {
    wait::until(what, STEP, || {
        let said = ceph(node, args).output()?.stdout;
        Ok(if wanted(&said) { Seen::Yes(()) } else { Seen::NotYet(said) })
    })
}

fn new_uuid() -> Result<String, LabError> {
    let file = "/proc/sys/kernel/random/uuid";
    Ok(fs::read_to_string(file).context(|| format!("read {file}"))?.trim().to_owned())
}

/// Mounts it.
pub fn mount(node: &Node) -> Result<(), LabError> {
    node.command("ceph-fuse").args(["-c", SETTINGS, "-n", "client.admin", MOUNT]).deadline(STEP).run()?;
    Ok(())
}

/// Lets file data go to the erasure-coded pool, and waits until all of it can be used.
pub fn set_layout(stage: &Stage) -> Result<(), LabError> {
    let set = ["-n", "ceph.dir.layout.pool", "-v", DATA_POOL, MOUNT];
    stage.clients[0].command("setfattr").args(set).run()?;
    wait_said(stage.first(), "all placement groups are clean", &["pg", "stat"], all_clean)
}

/// Whether `ceph pg stat` knows no placement group that is anything but active and clean.
fn all_clean(said: &str) -> bool {
    let groups = said.split(';').next().unwrap_or_default();
    groups.split_once(" pgs: ").is_some_and(|(all, states)| states.trim() == format!("{} active+clean", all.trim()))
}

#[cfg(test)]
#[path = "ceph_tests.rs"]
mod tests;
