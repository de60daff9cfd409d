//! Where things are: the build outputs and the workspace outside, and the fixed places inside a node.

use std::path::{Path, PathBuf};

use crate::error::LabError;

/// Inside a node: the folder of the build outputs (read and execute for everybody).
pub const BIN: &str = "/run/lab/bin";
/// Inside a node: a folder shared by all nodes, writable by everybody (the site's other filesystem).
pub const SHARED: &str = "/run/lab/shared";
/// Inside a node: the cold tier's folder, shared by all nodes.
pub const COLD: &str = "/run/lab/cold";
/// Inside a node: the node's own disk, which survives a power failure.
pub const DISK: &str = "/run/lab/disk";
/// Inside a node: the logs of all nodes.
pub const LOG: &str = "/run/lab/log";
/// Inside a node: `/etc/slurm` of all nodes.
pub const SLURM: &str = "/etc/slurm";

/// Folder of the running program's build outputs (`$CARGO_TARGET_DIR/debug`).
pub fn build_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("/proc/self/exe is readable");
    let dir = exe.parent().expect("a program lies in a folder");
    if dir.ends_with("deps") { dir.parent().expect("deps lies in a folder").to_owned() } else { dir.to_owned() }
}

/// Path of a program (or `lib….so`) of this workspace, outside.
pub fn built(name: &str) -> Result<PathBuf, LabError> {
    let path = build_dir().join(name);
    if path.exists() { Ok(path) } else { Err(LabError::NotBuilt(path)) }
}

/// Path of a program (or `lib….so`) of this workspace as seen inside a node.
pub fn inside(name: &str) -> Result<PathBuf, LabError> {
    built(name)?;
    Ok(Path::new(BIN).join(name))
}

/// Root folder of the workspace whose test runs. Asked when it runs: two checkouts that share a build folder share the
/// compiled test as well.
pub fn workspace() -> PathBuf {
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo or nextest runs this");
    of_crate.parent().expect("this crate lies in a workspace").to_owned()
}

/// Fails unless `program` can be found; `package` is named as the remedy.
pub fn require(program: &str, package: &str) -> Result<PathBuf, LabError> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
        .ok_or_else(|| LabError::MissingProgram { program: program.to_owned(), package: package.to_owned() })
}
