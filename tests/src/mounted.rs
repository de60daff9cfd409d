//! The usual stage of a filesystem test: storage hosts, six unless set otherwise, and clients with the filesystem mounted; no Slurm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, ClusterSettings, MOUNT};
use crate::error::LabError;
use crate::lab::Lab;
use crate::node::Node;
use crate::site::cold_folder;
use crate::wait;

const REPORTED: Duration = Duration::from_secs(60);

/// A cluster with clients `c1`, `c2`, …
pub struct Mounted {
    /// The cluster.
    pub cluster: Cluster,
    /// The clients, in order; their filesystem is mounted.
    pub clients: Vec<Node>,
    /// The lab; ends after the others.
    pub lab: Lab,
}

impl Mounted {
    /// Starts the hosts and so many clients.
    pub fn start(clients: u32, settings: &ClusterSettings) -> Result<Self, LabError> {
        let names: Vec<String> = (1..=clients).map(|number| format!("c{number}")).collect();
        let builder =
            names.iter().fold(Lab::builder().storage_hosts(settings.hosts), |builder, name| builder.node(name));
        let lab = builder.start()?;
        let cluster = Cluster::start(&lab, settings)?;
        let clients: Vec<Node> = names.iter().map(|name| lab.node(name)).collect();
        clients.iter().try_for_each(|node| cluster.mount(node))?;
        Ok(Mounted { cluster, clients, lab })
    }

    /// A client, from 0.
    pub fn client(&self, place: usize) -> &Node {
        &self.clients[place]
    }

    /// Runs a shell script as alice in her folder of the mount of client `place`.
    pub fn run(&self, place: usize, script: &str) -> Result<String, LabError> {
        self.cluster.as_alice(self.client(place), script)
    }

    /// Unmounts and mounts on a client: everything is written back, nothing is cached any more.
    pub fn remount(&self, place: usize) -> Result<(), LabError> {
        self.cluster.unmount(self.client(place))?;
        self.cluster.mount(self.client(place))
    }

    /// A path on the mount of client `place`, as this machine reaches it.
    pub fn path(&self, place: usize, below: &str) -> Result<PathBuf, LabError> {
        Ok(self.client(place).root()?.join(Path::new(MOUNT).strip_prefix("/").expect("absolute")).join(below))
    }

    /// Makes a folder of the cold tier, as this machine sees it; its tier is not attached by that.
    pub fn cold_folder(&self, name: &str) -> Result<PathBuf, LabError> {
        cold_folder(&self.lab.cold(), name)
    }

    /// Attaches the lab's cold folder as tier `cold`.
    pub fn attach_cold(&self) -> Result<(), LabError> {
        let url = format!("file://{}", crate::paths::COLD);
        self.cluster.ask(&["fs", "tier", "attach", self.cluster.filesystem(), "cold", &url])?;
        Ok(())
    }

    /// Chunks that drives found damaged, in all.
    pub fn corrupt_chunks(&self) -> Result<u64, LabError> {
        let status = self.cluster.ask(&["status"])?;
        let drives = status["drives"].as_array().cloned().unwrap_or_default();
        Ok(drives.iter().filter_map(|drive| drive["corrupt_chunks"].as_u64()).sum())
    }

    /// Waits until the status of the cluster is as wanted.
    pub fn wait_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, LabError> {
        wait::until(what, REPORTED, || {
            let status = self.cluster.ask(&["status"])?;
            Ok(if wanted(&status) { wait::Seen::Yes(status) } else { wait::Seen::NotYet(status.to_string()) })
        })
    }
}
