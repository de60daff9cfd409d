//! What the parts of a lab tell each other: files in the lab's state folder, as JSON.
//!
//! `lab.json` says what runs (for `forebay-lab` on another terminal, and for sweeping up after a killed keeper);
//! `nodes/<name>/spec.json` tells a node's first process what to build.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, LabError};

/// Folder that holds the state folders of all labs.
pub const STATE_PARENT: &str = "/var/tmp";
/// Start of a state folder's name; the lab's id follows.
pub const STATE_PREFIX: &str = "forebay-lab-";
/// Environment variable that every process of a lab carries, with the lab's id.
pub const MARK: &str = "FOREBAY_LAB";

/// What runs in a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabRecord {
    /// The lab's id: its owner's process id and a number.
    pub id: String,
    /// Process that made the lab.
    pub owner_pid: u32,
    /// Process that ends it and removes its files.
    pub keeper_pid: u32,
    /// First process of the hub, on the host's numbering.
    pub hub_pid: u32,
    /// First process of each running node, on the host's numbering.
    pub nodes: BTreeMap<String, u32>,
}

/// What the first process of a node builds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Host name.
    pub name: String,
    /// The lab's state folder.
    pub state: PathBuf,
    /// Folders bound below `/run/lab`: name there, folder outside, read-only.
    pub binds: Vec<(String, PathBuf, bool)>,
    /// Names and addresses of all nodes, for `/etc/hosts`.
    pub hosts: Vec<(String, Ipv4Addr)>,
}

/// State folder of the lab with this id.
pub fn state_dir(id: &str) -> PathBuf {
    Path::new(STATE_PARENT).join(format!("{STATE_PREFIX}{id}"))
}

/// Own folder of node `name` below the lab's state folder.
pub fn node_dir(state: &Path, name: &str) -> PathBuf {
    state.join("nodes").join(name)
}

/// Writes `value` so that a reader sees the old or the new file, never half of one.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), LabError> {
    let text = serde_json::to_vec_pretty(value).expect("plain data is always JSON");
    let new = path.with_extension("new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .context(|| format!("write {}", path.display()))
}

/// Reads what [`write`] wrote.
pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, LabError> {
    let text = std::fs::read(path).context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).context(|| format!("parse {}", path.display()))
}
