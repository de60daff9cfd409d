//! What is asked of the benchmark.

use std::path::PathBuf;

use super::peers::Peer;

/// Groups of figures, in the order they are measured.
pub const GROUPS: [&str; 9] = ["seq", "rand", "sync", "small", "md", "tree", "shared", SCALE, FAILOVER];
/// Creation with more mounts and shards: measured only when asked for by name.
pub const SCALE: &str = "scale";
/// The death of leaders: Forebay's alone.
pub const FAILOVER: &str = "failover";

const ENTRIES: u32 = 20_000;
const FILES: u32 = 5000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// File for one JSON line a figure.
    pub json: Option<PathBuf>,
    /// Only this group.
    pub only: Option<String>,
    /// Other filesystems to measure beside Forebay.
    pub peers: Vec<Peer>,
    /// Files that each thread creates, looks at, reads and removes. The default is so many that what a client may keep back is a
    /// small part of them.
    pub files: u32,
    /// Files of the tree that is unpacked and looked through.
    pub entries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { json: None, only: None, peers: Vec::new(), files: FILES, entries: ENTRIES }
    }
}

impl Options {
    /// Reads command-line arguments; the error says what is wrong with them.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options::default();
        while let Some(arg) = args.next() {
            let mut value = |what: &str| args.next().ok_or_else(|| format!("{arg} needs {what}"));
            match arg.as_str() {
                "--json" => options.json = Some(PathBuf::from(value("a file")?)),
                "--only" => options.only = Some(group(value("a group")?)?),
                "--peers" => options.peers = peers(&value("a list of peers")?)?,
                "--files" => options.files = number("--files", &value("a number of files")?)?,
                "--entries" => options.entries = number("--entries", &value("a number of files")?)?,
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(options)
    }

    /// Files that each of several mounts creates.
    pub fn files_of_mount(&self) -> u32 {
        self.files.div_ceil(2)
    }

    /// Whether a group is to be measured.
    pub fn wants(&self, group: &str) -> bool {
        self.only.as_ref().map_or(group != SCALE, |only| only == group)
    }
}

fn group(name: String) -> Result<String, String> {
    if GROUPS.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(format!("there is no group {name}; there are: {}", GROUPS.join(", ")))
}

fn peers(list: &str) -> Result<Vec<Peer>, String> {
    let mut peers = Vec::new();
    for name in list.split(',') {
        let known = || Peer::ALL.map(Peer::label).join(", ");
        let peer = Peer::named(name).ok_or_else(|| format!("there is no peer {name:?}; there are: {}", known()))?;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    Ok(peers)
}

fn number(option: &str, number: &str) -> Result<u32, String> {
    let parsed = number.parse().ok().filter(|&parsed| parsed > 0);
    parsed.ok_or_else(|| format!("{option} needs a number above 0, not {number:?}"))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
