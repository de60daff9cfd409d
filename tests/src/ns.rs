//! Namespaces of a process, and starting a program inside them.
//!
//! A thread enters the namespaces, starts the program and ends: the program is then a plain child of this process, so
//! killing and waiting for it is exact, and no other thread of this process is moved.

use std::fs::File;
use std::io;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};

/// The namespaces of one process, held open.
pub struct Namespaces {
    files: Vec<(File, CloneFlags)>,
}

/// Order of entering: mounts last, because they replace `/proc`.
const ALL: [(&str, CloneFlags); 5] = [
    ("pid", CloneFlags::CLONE_NEWPID),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

impl Namespaces {
    /// All namespaces of process `pid`.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::open(pid, &ALL)
    }

    /// Only the network of process `pid`: a program started there keeps this machine's processes and mounts.
    pub fn network_of(pid: u32) -> io::Result<Self> {
        Self::open(pid, &[("net", CloneFlags::CLONE_NEWNET)])
    }

    fn open(pid: u32, kinds: &[(&str, CloneFlags)]) -> io::Result<Self> {
        let open = |&(name, flag): &(&str, CloneFlags)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?, flag));
        Ok(Namespaces { files: kinds.iter().map(open).collect::<io::Result<_>>()? })
    }

    /// Starts `command` inside. Relative names in it are looked up inside; open files given to it stay as they are.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // Changing mounts needs a root and working folder that no other thread shares.
                    unshare(CloneFlags::CLONE_FS)?;
                    for (file, flag) in &self.files {
                        setns(file, *flag)?;
                    }
                    command.spawn()
                })
                .join()
                .expect("entering namespaces does not panic")
        })
    }
}

/// Host process ids of the children of process `pid`.
pub fn children_of(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
