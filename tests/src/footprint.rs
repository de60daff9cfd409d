//! What a lab may have left behind, measured from `/proc` and the file system of this machine, never assumed.
//!
//! Four independent looks: processes that carry the lab's mark or live in one of its namespaces, mounts whose table line
//! names the lab's folder, namespaces of the lab that something still holds, files below the lab's folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::{self, LabRecord};

const KINDS: [&str; 5] = ["pid", "mnt", "net", "uts", "ipc"];

/// What has to be gone after a lab: made while it runs, asked after its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Footprint {
    /// The lab's id.
    pub lab_id: String,
    /// Its namespaces, as `/proc` names them (`net:[4026532008]`); those of this machine are not among them.
    pub namespaces: BTreeSet<String>,
}

/// What is still there; each entry names the thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    /// Running processes: id and command line.
    pub processes: Vec<String>,
    /// Mounts, with the process whose table shows them.
    pub mounts: Vec<String>,
    /// Namespaces still held.
    pub namespaces: Vec<String>,
    /// Files and folders.
    pub files: Vec<PathBuf>,
}

impl Leftovers {
    /// How many things are left, the `leftovers` of the demo's report.
    pub fn count(&self) -> usize {
        self.processes.len() + self.mounts.len() + self.namespaces.len() + self.files.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

impl Footprint {
    /// Of a running lab.
    pub(crate) fn of(record: &LabRecord) -> Self {
        let own = namespaces_of("self");
        let all = record.nodes.values().chain([&record.hub_pid]).flat_map(|pid| namespaces_of(&pid.to_string()));
        Footprint { lab_id: record.id.clone(), namespaces: all.filter(|name| !own.contains(name)).collect() }
    }

    /// What of it is still there.
    pub fn leftovers(&self) -> Leftovers {
        let folder = spec::state_dir(&self.lab_id);
        let mark = format!("{}={}", spec::MARK, self.lab_id);
        let mut found = Leftovers::default();
        let (mut tables, mut held) = (BTreeSet::new(), BTreeSet::new());
        for pid in processes() {
            let inside: Vec<String> =
                namespaces_of(&pid).into_iter().filter(|name| self.namespaces.contains(name)).collect();
            if (!inside.is_empty() || carries(&pid, &mark, &folder)) && pid != std::process::id().to_string() {
                found.processes.push(format!("{pid} {}", command_line(&pid)));
            }
            held.extend(inside);
            // Processes in one mount namespace show the same table.
            let space = fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap_or_default();
            if tables.insert(space) {
                let lines = mounts_of(&pid);
                found.mounts.extend(
                    lines.iter().filter(|line| self.names(line, &folder)).map(|line| format!("process {pid}: {line}")),
                );
            }
        }
        found.namespaces = held.into_iter().collect();
        walk(&folder, &mut found.files);
        found
    }

    /// Whether a line of a mount table belongs to the lab: by folder, or as a namespace bound to a file.
    fn names(&self, line: &str, folder: &Path) -> bool {
        line.contains(&*folder.to_string_lossy()) || self.namespaces.iter().any(|name| line.contains(name.as_str()))
    }
}

/// What a lab known only by its id has left: as [`Footprint::leftovers`], without the look at its namespaces.
pub fn leftovers(lab_id: &str) -> Leftovers {
    Footprint { lab_id: lab_id.to_owned(), namespaces: BTreeSet::new() }.leftovers()
}

fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

fn namespaces_of(pid: &str) -> BTreeSet<String> {
    let link = |kind: &&str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    KINDS.iter().filter_map(link).map(|name| name.to_string_lossy().into_owned()).collect()
}

fn carries(pid: &str, mark: &str, folder: &Path) -> bool {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let folder = folder.to_string_lossy().into_owned();
    read("environ").split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        || read("cmdline").split(|&byte| byte == 0).any(|arg| arg.starts_with(folder.as_bytes()))
}

fn command_line(pid: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if bytes.is_empty() {
        // Already dead, but not yet waited for by its parent.
        return fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned() + " (zombie)";
    }
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

fn mounts_of(pid: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    table.lines().map(str::to_owned).collect()
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    found.push(path.to_owned());
    if meta.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| walk(&entry.path(), found));
    }
}
