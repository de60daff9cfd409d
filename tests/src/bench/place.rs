//! What is measured: a folder that clients work in, on a filesystem of any kind.
//!
//! Every group of figures runs on any [`Place`]: Forebay, a peer, or this machine's own disk. The first client has it mounted
//! all the time, the others only while a figure needs them.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise, syncfs};

use crate::error::{Context, LabError};
use crate::node::{Node, User};
use crate::paths;

/// A folder on a filesystem that is measured.
pub trait Place {
    /// Its name in the figures.
    fn label(&self) -> &'static str;

    /// Nodes that can have it mounted, each a client of its own.
    fn clients(&self) -> &[Node];

    /// Nodes that serve it: every process there is counted as the servers'.
    fn servers(&self) -> &[Node];

    /// Programs of which a client's daemon may be one; processes on a client that run none of them are not counted.
    fn programs(&self) -> &'static [&'static str];

    /// The folder, as a client with the mount sees it.
    fn folder(&self) -> &str;

    /// What the servers count of themselves that costs, so far.
    fn counters(&self) -> Result<Vec<Counter>, LabError> {
        Ok(Vec::new())
    }

    /// Mounts it on a client.
    fn mount(&self, client: usize) -> Result<(), LabError>;

    /// Unmounts it on a client, which writes back everything; its daemon has ended when this returns.
    fn unmount(&self, client: usize) -> Result<(), LabError>;

    /// Forgets what the first client, and the kernel on behalf of the servers, has cached of it.
    fn forget(&self) -> Result<(), LabError> {
        leave()?;
        self.unmount(0)?;
        self.servers().iter().try_for_each(|node| drop_pages(&node.disk()))?;
        self.mount(0)
    }

    /// The folder, as this machine reaches it through a client that has the mount.
    fn outside(&self, client: usize) -> Result<PathBuf, LabError> {
        let folder = Path::new(self.folder());
        Ok(self.clients()[client].root()?.join(folder.strip_prefix("/").unwrap_or(folder)))
    }

    /// Runs a shell script on the first client.
    fn shell(&self, script: &str) -> Result<String, LabError> {
        self.clients()[0].shell(&User::root(), script)
    }
}

/// Something that servers count.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// End of the metric's name.
    pub name: &'static str,
    /// Unit of the metric: so many for each operation.
    pub unit: &'static str,
    /// How many so far.
    pub count: f64,
}

/// This machine's own disk, which is always mounted; as many clients as wanted are threads beside each other.
pub struct Local {
    clients: Vec<Node>,
    folder: String,
}

impl Local {
    /// The name of this place in the figures.
    pub const LABEL: &'static str = "local";

    /// A folder on the disk of a node, for so many clients.
    pub fn of(node: &Node, clients: usize) -> Result<Self, LabError> {
        let local = Local { clients: vec![node.clone(); clients], folder: format!("{}/bench", paths::DISK) };
        local.shell(&format!("mkdir -p {}", local.folder))?;
        Ok(local)
    }
}

impl Place for Local {
    fn label(&self) -> &'static str {
        Self::LABEL
    }

    fn clients(&self) -> &[Node] {
        &self.clients
    }

    fn servers(&self) -> &[Node] {
        &[]
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn folder(&self) -> &str {
        &self.folder
    }

    fn mount(&self, _client: usize) -> Result<(), LabError> {
        Ok(())
    }

    fn unmount(&self, _client: usize) -> Result<(), LabError> {
        Ok(())
    }

    fn forget(&self) -> Result<(), LabError> {
        leave()?;
        drop_pages(&self.clients[0].disk().join("bench"))
    }
}

/// Leaves the folder that is measured, which cannot be unmounted otherwise.
pub fn leave() -> Result<(), LabError> {
    std::env::set_current_dir("/").context(|| "leave the folder".to_owned())
}

/// Writes back and drops what the kernel caches of the files below a folder.
///
/// File by file and only here: dropping all of this machine's caches would be everybody's loss.
fn drop_pages(folder: &Path) -> Result<(), LabError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move || format!("forget the pages of {path}")
    };
    let dir = File::open(folder).context(failed(folder))?;
    syncfs(&dir).context(failed(folder))?;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A server may remove what was listed a moment ago.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().context(failed(&folder))?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(file) = File::open(&path)
            {
                fadvise(&file, 0, None, Advice::DontNeed).context(failed(&path))?;
            }
        }
    }
    Ok(())
}
