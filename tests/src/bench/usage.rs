//! What the daemons of a place use: processor time, memory and bytes written to disk, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use super::place::Place;
use crate::error::{Context, LabError};
use crate::node::Node;

/// Clock ticks a second in `/proc/<pid>/stat`; Linux shows all architectures the same.
const TICKS: f64 = 100.0;

/// What one process has used since it started, and its memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time, the kernel's on its behalf included.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_bytes: f64,
    /// Bytes it caused to be written to disk.
    pub written_bytes: f64,
}

/// The daemons of a place at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Of the servers, by process id.
    pub servers: BTreeMap<u32, Process>,
    /// Of the clients that are mounted, by process id.
    pub clients: BTreeMap<u32, Process>,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// Processor time of the servers.
    pub server_cpu_seconds: f64,
    /// Processor time of the clients.
    pub client_cpu_seconds: f64,
    /// Bytes that all of them caused to be written to disk.
    pub written_bytes: f64,
}

impl Usage {
    /// Looks at the daemons of a place.
    pub fn of(place: &dyn Place) -> Result<Self, LabError> {
        let mut usage = Usage::default();
        for node in place.servers() {
            usage.servers.extend(processes(node)?.into_iter().map(|pid| (pid, look(pid))));
        }
        for node in place.clients() {
            usage.clients.extend(running(node, place.programs())?.into_iter().map(|pid| (pid, look(pid))));
        }
        Ok(usage)
    }

    /// What was used since an earlier look; a process that has come since counts from its start.
    pub fn since(&self, before: &Usage) -> Spent {
        let spent = |what: fn(&Process) -> f64, now: &BTreeMap<u32, Process>, then: &BTreeMap<u32, Process>| {
            now.iter().map(|(pid, process)| what(process) - then.get(pid).map_or(0.0, what)).sum::<f64>()
        };
        Spent {
            server_cpu_seconds: spent(|process| process.cpu_seconds, &self.servers, &before.servers),
            client_cpu_seconds: spent(|process| process.cpu_seconds, &self.clients, &before.clients),
            written_bytes: spent(|process| process.written_bytes, &self.servers, &before.servers)
                + spent(|process| process.written_bytes, &self.clients, &before.clients),
        }
    }
}

/// Processes of a node that run one of these programs.
pub fn running(node: &Node, programs: &[&str]) -> Result<Vec<u32>, LabError> {
    let mut pids = processes(node)?;
    pids.retain(|pid| programs.contains(&program(*pid).as_str()));
    Ok(pids)
}

/// All processes of a node but its first, which is the lab's.
fn processes(node: &Node) -> Result<Vec<u32>, LabError> {
    let root = node.root()?;
    let first = root.parent().and_then(|dir| dir.file_name()?.to_str()?.parse::<u32>().ok());
    let file = root.with_file_name("ns/pid");
    let space = fs::read_link(&file).context(|| format!("read {}", file.display()))?;
    let entries = fs::read_dir("/proc").context(|| "list /proc".to_owned())?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let inside = |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == space);
    Ok(pids.filter(|pid| Some(*pid) != first).filter(inside).collect())
}

/// The name of the program that a process runs: some daemons overwrite their command lines.
fn program(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// What a process uses; nothing when it has just ended.
fn look(pid: u32) -> Process {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    Process {
        cpu_seconds: cpu_seconds(&read("stat")).unwrap_or(0.0),
        rss_bytes: field(&read("status"), "VmRSS").unwrap_or(0.0) * 1024.0,
        written_bytes: field(&read("io"), "write_bytes").unwrap_or(0.0),
    }
}

/// Processor time in a line of `/proc/<pid>/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of a program may hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// The number after `name:` in a file of such lines.
fn field(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
