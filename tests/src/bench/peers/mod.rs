//! Other filesystems to measure beside Forebay, from Debian's packages: six servers and some clients in a lab of their own.
//!
//! A peer stands where Forebay would: each server on a node of its own with its data on that node's disk, each client on another, and
//! redundancy that bears the loss of two servers. Whatever it makes is inside its lab, and gone with it, however that ends.

mod ceph;
mod gluster;
mod mfs;
mod packages;

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::usage;
use crate::error::LabError;
use crate::lab::Lab;
use crate::node::{Node, User};
use crate::wait::{self, Seen};

/// Where a peer is mounted on its clients.
const MOUNT: &str = "/mnt/peer";
const FOLDER: &str = "/mnt/peer/bench";
const SERVERS: u32 = 6;
/// How long a peer may take for one step of its start.
const STEP: Duration = Duration::from_secs(120);
const UNMOUNTED: Duration = Duration::from_secs(60);
/// Lines of each log that are shown after a failure.
const TAIL: usize = 4;

/// A filesystem that can be measured beside Forebay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// GlusterFS, one volume dispersed 4+2.
    Gluster,
    /// MooseFS, three copies: its free version has no erasure code.
    Mfs,
    /// CephFS, metadata in three copies, data erasure-coded 4+2.
    Ceph,
}

impl Peer {
    /// All of them.
    pub const ALL: [Peer; 3] = [Peer::Gluster, Peer::Mfs, Peer::Ceph];

    /// Its name on the command line and in the figures.
    pub fn label(self) -> &'static str {
        match self {
            Peer::Gluster => "gluster",
            Peer::Mfs => "mfs",
            Peer::Ceph => "ceph",
        }
    }

    /// The peer of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.label() == name)
    }

    /// Installs its packages where they are missing.
    pub fn install(self) -> Result<(), LabError> {
        packages::install(match self {
            Peer::Gluster => &gluster::PACKAGES,
            Peer::Mfs => &mfs::PACKAGES,
            Peer::Ceph => &ceph::PACKAGES,
        })
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Peer::Gluster => &gluster::CLIENT,
            Peer::Mfs => &mfs::CLIENT,
            Peer::Ceph => &ceph::CLIENT,
        }
    }
}

/// Nodes for a peer.
struct Stage {
    lab: Lab,
    servers: Vec<Node>,
    clients: Vec<Node>,
}

impl Stage {
    fn start(clients: usize) -> Result<Self, LabError> {
        let names: Vec<String> = (1..=clients).map(|number| format!("c{number}")).collect();
        let builder = Lab::builder().storage_hosts(SERVERS);
        let lab = names.iter().fold(builder, |builder, name| builder.node(name)).start()?;
        let servers = (1..=SERVERS).map(|number| lab.node(&format!("s{number}"))).collect();
        let clients = names.iter().map(|name| lab.node(name)).collect();
        Ok(Stage { lab, servers, clients })
    }

    /// The server that others ask first.
    fn first(&self) -> &Node {
        &self.servers[0]
    }

    /// Adds the ends of the logs to an error.
    fn explain(&self, error: LabError) -> LabError {
        LabError::Peer { error: Box::new(error), logs: tails(&self.lab.logs()) }
    }
}

/// A peer that runs, mounted on its first client.
pub struct Running {
    peer: Peer,
    stage: Stage,
}

impl Running {
    /// Starts a peer with so many clients.
    pub fn start(peer: Peer, clients: usize) -> Result<Self, LabError> {
        let running = Running { peer, stage: Stage::start(clients)? };
        running.serve().map_err(|error| running.explain(error))?;
        Ok(running)
    }

    fn serve(&self) -> Result<(), LabError> {
        match self.peer {
            Peer::Gluster => gluster::serve(&self.stage)?,
            Peer::Mfs => mfs::serve(&self.stage)?,
            Peer::Ceph => ceph::serve(&self.stage)?,
        }
        self.mount(0)?;
        match self.peer {
            Peer::Gluster => {}
            Peer::Mfs => mfs::set_copies(&self.stage.clients[0])?,
            Peer::Ceph => ceph::set_layout(&self.stage)?,
        }
        self.shell(&format!("mkdir -p {FOLDER}")).map(drop)
    }

    /// Adds to an error what the daemons logged last.
    pub fn explain(&self, error: LabError) -> LabError {
        self.stage.explain(error)
    }

    /// Ends everything.
    pub fn end(self) -> Result<(), LabError> {
        self.stage.lab.end()
    }
}

impl Place for Running {
    fn label(&self) -> &'static str {
        self.peer.label()
    }

    fn clients(&self) -> &[Node] {
        &self.stage.clients
    }

    fn servers(&self) -> &[Node] {
        &self.stage.servers
    }

    fn programs(&self) -> &'static [&'static str] {
        self.peer.programs()
    }

    fn folder(&self) -> &str {
        FOLDER
    }

    fn mount(&self, client: usize) -> Result<(), LabError> {
        let node = &self.stage.clients[client];
        node.shell(&User::root(), &format!("mkdir -p {MOUNT}"))?;
        match self.peer {
            Peer::Gluster => gluster::mount(node),
            Peer::Mfs => mfs::mount(node),
            Peer::Ceph => ceph::mount(node),
        }?;
        node.command("mountpoint").args(["-q", MOUNT]).run().map(drop)
    }

    fn unmount(&self, client: usize) -> Result<(), LabError> {
        let node = &self.stage.clients[client];
        node.command("umount").arg(MOUNT).deadline(UNMOUNTED).run()?;
        wait::until("the client's daemon has ended", UNMOUNTED, || {
            let left = usage::running(node, self.programs())?;
            Ok(if left.is_empty() { Seen::Yes(()) } else { Seen::NotYet(format!("processes {left:?}")) })
        })
    }
}

/// The last lines of every log in a folder and below.
fn tails(folder: &Path) -> String {
    let (mut folders, mut logs) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { folders.push(path) } else { logs.push(path) }
        }
    }
    logs.sort();
    let tail = |path: &Path| {
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let name = path.strip_prefix(folder).unwrap_or(path).display();
        let last = lines[lines.len().saturating_sub(TAIL)..].iter();
        Some(last.map(|line| format!("{name}: {line}\n")).collect::<String>())
    };
    logs.iter().filter_map(|path| tail(path)).collect()
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
