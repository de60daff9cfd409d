//! GlusterFS: one volume, dispersed 4+2 over a brick of each server.

use super::{MOUNT, STEP, Stage};
use crate::error::LabError;
use crate::node::{Node, NodeCommand};
use crate::paths;
use crate::process::Daemon;
use crate::wait::{self, Seen};

/// Debian packages.
pub const PACKAGES: [&str; 3] = ["glusterfs-server", "glusterfs-client", "glusterfs-cli"];
/// The client's daemon.
pub const CLIENT: [&str; 1] = ["glusterfs"];

const VOLUME: &str = "bench";
const SETTINGS: &str = "/etc/glusterd-bench.vol";

/// Starts a management daemon on each server, joins them and starts the volume.
pub fn serve(stage: &Stage) -> Result<(), LabError> {
    let mut daemons = Vec::new();
    for node in &stage.servers {
        daemons.push(start(node)?);
    }
    for daemon in &daemons {
        let answers = || gluster(daemon.node(), &["volume", "list"]).output().is_ok_and(|said| said.status.success());
        daemon.wait_ready(STEP, answers)?;
    }
    for node in &stage.servers[1..] {
        gluster(stage.first(), &["peer", "probe", node.name()]).run()?;
    }
    stage.servers.iter().try_for_each(|node| joined(node, stage.servers.len() - 1))?;
    let create = ["volume", "create", VOLUME, "disperse", "6", "redundancy", "2"];
    let bricks = stage.servers.iter().map(|node| format!("{}:{}/brick", node.name(), paths::DISK));
    // Forced: GlusterFS does not like bricks on the filesystem of `/`.
    gluster(stage.first(), &create).args(bricks).arg("force").run()?;
    gluster(stage.first(), &["volume", "start", VOLUME]).run()?;
    wait::until("all bricks are online", STEP, || {
        let said = gluster(stage.first(), &["volume", "status", VOLUME]).output()?.stdout;
        Ok(if online_bricks(&said) == stage.servers.len() { Seen::Yes(()) } else { Seen::NotYet(said) })
    })
}

fn start(node: &Node) -> Result<Daemon, LabError> {
    // Logs have a fixed place, which is this machine's outside the lab.
    let script = format!(
        "logs={log}/{name}-glusterfs && mkdir -p {disk}/glusterd $logs/bricks /var/log/glusterfs
        mount --bind $logs /var/log/glusterfs && cat > {SETTINGS}",
        log = paths::LOG,
        name = node.name(),
        disk = paths::DISK
    );
    let settings = format!(
        "volume management
            type mgmt/glusterd
            option working-directory {disk}/glusterd
            option transport-type socket
            option transport.socket.listen-port 24007
            option transport.socket.keepalive-time 10
            option transport.socket.keepalive-interval 2
            option transport.socket.read-fail-log off
            option ping-timeout 0
            option event-threads 1
        end-volume\n",
        disk = paths::DISK
    );
    node.command("/bin/bash").args(["-euc", &script]).input(settings).run()?;
    Daemon::start(node, "glusterd", |node| {
        let log = "/var/log/glusterfs/glusterd.log";
        Ok(node.command("glusterd").args(["-N", "-f", SETTINGS, "-l", log, "--log-level", "WARNING"]))
    })
}

/// Waits until a server knows so many others and is connected to them.
fn joined(node: &Node, others: usize) -> Result<(), LabError> {
    wait::until(&format!("{} has joined the others", node.name()), STEP, || {
        let said = gluster(node, &["peer", "status"]).output()?.stdout;
        let joined = said.matches("Peer in Cluster (Connected)").count() == others;
        Ok(if joined { Seen::Yes(()) } else { Seen::NotYet(said) })
    })
}

fn gluster(node: &Node, args: &[&str]) -> NodeCommand {
    node.command("gluster").arg("--mode=script").args(args).deadline(STEP)
}

/// Bricks that `gluster volume status` calls online. A name that is too long for its column puts the rest on the next line.
fn online_bricks(status: &str) -> usize {
    let online = |brick: &&str| brick.split_whitespace().skip(1).take(4).any(|word| word == "Y");
    status.split("Brick ").skip(1).filter(online).count()
}

/// Mounts the volume.
pub fn mount(node: &Node) -> Result<(), LabError> {
    let log = format!("{}/{}-glusterfs.log", paths::LOG, node.name());
    let options = format!("log-file={log},log-level=WARNING");
    let source = format!("s1:/{VOLUME}");
    node.command("mount").args(["-t", "glusterfs", "-o", &options, &source, MOUNT]).deadline(STEP).run()?;
    Ok(())
}

#[cfg(test)]
#[path = "gluster_tests.rs"]
mod tests;
