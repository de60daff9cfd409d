//! Forebay as a place to measure.

use serde_json::Value;

use super::place::{Counter, Place};
use crate::cluster::{Cluster, ClusterSettings, MOUNT};
use crate::error::LabError;
use crate::lab::Lab;
use crate::mounted::Mounted;
use crate::node::Node;

/// A Forebay cluster of six hosts; the first client has it mounted.
pub struct Ours {
    /// The cluster and its clients.
    pub at: Mounted,
    folder: String,
}

impl Ours {
    /// The name of this place in the figures.
    pub const LABEL: &'static str = "forebay";

    /// Starts a cluster with so many metadata shards, and so many clients.
    pub fn start(clients: usize, shards: u16) -> Result<Self, LabError> {
        let log = "warn,forebayd=info".to_owned();
        let settings = ClusterSettings { shards, log, ..ClusterSettings::default() };
        let names: Vec<String> = (1..=clients).map(|number| format!("c{number}")).collect();
        let builder = Lab::builder().storage_hosts(settings.hosts);
        let lab = names.iter().fold(builder, |builder, name| builder.node(name)).start()?;
        lab.expect_anything_logged();
        let cluster = Cluster::start(&lab, &settings)?;
        let clients = names.iter().map(|name| lab.node(name)).collect();
        let ours = Ours { at: Mounted { cluster, clients, lab }, folder: format!("{MOUNT}/bench") };
        ours.mount(0)?;
        ours.shell(&format!("mkdir -p {}", ours.folder))?;
        Ok(ours)
    }

    /// Ends everything.
    pub fn end(self) -> Result<(), LabError> {
        self.at.lab.end()
    }
}

impl Place for Ours {
    fn label(&self) -> &'static str {
        Self::LABEL
    }

    fn clients(&self) -> &[Node] {
        &self.at.clients
    }

    fn servers(&self) -> &[Node] {
        self.at.cluster.hosts()
    }

    fn programs(&self) -> &'static [&'static str] {
        &["forebay-client", "mount.forebay"]
    }

    fn folder(&self) -> &str {
        &self.folder
    }

    fn counters(&self) -> Result<Vec<Counter>, LabError> {
        let status = self.at.cluster.ask(&["status"])?;
        let sum = |list: &Value, field: &str| -> f64 {
            list.as_array().into_iter().flatten().filter_map(|one| one[field].as_f64()).sum()
        };
        Ok(vec![
            Counter { name: "log_entries", unit: "entries/op", count: sum(&status["shards"], "applied") },
            Counter { name: "drive_flushes", unit: "flushes/op", count: sum(&status["drives"], "flushes") },
        ])
    }

    fn mount(&self, client: usize) -> Result<(), LabError> {
        self.at.cluster.mount(self.at.client(client))
    }

    fn unmount(&self, client: usize) -> Result<(), LabError> {
        self.at.cluster.unmount(self.at.client(client))
    }
}
