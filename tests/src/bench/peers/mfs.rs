//! MooseFS: a master, a chunk server on each server, every chunk in three copies.

use super::{MOUNT, STEP, Stage};
use crate::error::LabError;
use crate::node::{Node, User};
use crate::paths;
use crate::process::Daemon;
use crate::wait::{self, Seen};

/// Debian packages.
pub const PACKAGES: [&str; 4] = ["moosefs-master", "moosefs-chunkserver", "moosefs-client", "moosefs-cli"];
/// The client's daemon.
pub const CLIENT: [&str; 1] = ["mfsmount"];

const MASTER: &str = "s1";
/// Where the master listens for clients.
const PORT: &str = "9421";
const COPIES: &str = "3";

/// Starts the master beside the first chunk server, and all chunk servers.
pub fn serve(stage: &Stage) -> Result<(), LabError> {
    let master = start_master(stage.first())?;
    master.wait_ready(STEP, || chunk_servers(stage).is_ok())?;
    for node in &stage.servers {
        start_chunk_server(node)?;
    }
    wait::until("all chunk servers are known to the master", STEP, || {
        let said = chunk_servers(stage)?;
        let known = |node: &Node| said.split_whitespace().any(|word| word == node.name());
        Ok(if stage.servers.iter().all(known) { Seen::Yes(()) } else { Seen::NotYet(said) })
    })
}

/// The master's list of chunk servers.
fn chunk_servers(stage: &Stage) -> Result<String, LabError> {
    stage.first().command("mfscli").args(["-H", MASTER, "-P", PORT, "-SCS"]).run()
}

fn start_master(node: &Node) -> Result<Daemon, LabError> {
    let disk = paths::DISK;
    let settings = format!(
        "WORKING_USER = root\nWORKING_GROUP = root\nLOCK_MEMORY = 0\nDATA_PATH = {disk}/master\n\
         EXPORTS_FILENAME = {disk}/master/mfsexports.cfg\n"
    );
    let script = format!(
        "mkdir -p {disk}/master && cd {disk}/master && cat > mfsmaster.cfg
        echo '* / rw,alldirs,admin,maproot=0:0' > mfsexports.cfg
        printf 'MFSM NEW' > metadata.mfs"
    );
    node.command("/bin/bash").args(["-euc", &script]).input(settings).run()?;
    let settings = format!("{disk}/master/mfsmaster.cfg");
    Daemon::start(node, "mfsmaster", move |node| {
        Ok(node.command("mfsmaster").args(["-f", "-a", "-c", &settings, "start"]))
    })
}

fn start_chunk_server(node: &Node) -> Result<Daemon, LabError> {
    let disk = paths::DISK;
    let settings = format!(
        "WORKING_USER = root\nWORKING_GROUP = root\nLOCK_MEMORY = 0\nDATA_PATH = {disk}/chunks\n\
         HDD_CONF_FILENAME = {disk}/chunks/mfshdd.cfg\nHDD_FSYNC_BEFORE_CLOSE = 0\nMASTER_HOST = {MASTER}\n"
    );
    let script = format!(
        "mkdir -p {disk}/chunks/hdd && cd {disk}/chunks && cat > mfschunkserver.cfg && echo $PWD/hdd > mfshdd.cfg"
    );
    node.command("/bin/bash").args(["-euc", &script]).input(settings).run()?;
    let settings = format!("{disk}/chunks/mfschunkserver.cfg");
    Daemon::start(node, "mfschunkserver", move |node| {
        Ok(node.command("mfschunkserver").args(["-f", "-c", &settings, "start"]))
    })
}

/// Mounts it.
pub fn mount(node: &Node) -> Result<(), LabError> {
    node.command("mfsmount").args([MOUNT, "-H", MASTER, "-P", PORT]).deadline(STEP).run()?;
    Ok(())
}

/// Sets the number of copies, and lets removed files go at once: kept for a day, they would be work for the figures after them.
pub fn set_copies(node: &Node) -> Result<(), LabError> {
    node.shell(&User::root(), &format!("mfssetgoal -r {COPIES} {MOUNT} && mfssettrashtime -r 0 {MOUNT}"))?;
    Ok(())
}
