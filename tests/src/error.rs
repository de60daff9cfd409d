//! What goes wrong in a lab, with enough beside it to see why without opening a log.

use std::path::PathBuf;
use std::time::Duration;

/// A fault of the harness, or of a program it ran.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A lab needs namespaces, mounts and other users' processes.
    #[error("a lab needs root: run this as root (it changes nothing outside its own namespaces)")]
    NotRoot,
    /// A program the harness calls is not installed.
    #[error("{program} is not installed: apt-get install {package}, or run tests/run, which installs it")]
    MissingProgram {
        /// File name of the program.
        program: String,
        /// Debian package that has it.
        package: String,
    },
    /// A program of this workspace is not built.
    #[error("{0} is not built: cargo build --workspace --bins")]
    NotBuilt(PathBuf),
    /// No node has this name.
    #[error("the lab has no node {0}")]
    UnknownNode(String),
    /// The node's processes are gone (power failure), or were never started.
    #[error("node {0} is powered off: boot it first")]
    NodeDown(String),
    /// A system call or a file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, naming the file or process.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A condition did not come true in time.
    #[error("{what}: not so after {:.1} s{}", waited.as_secs_f64(), detail(.last_seen))]
    Deadline {
        /// The awaited condition.
        what: String,
        /// How long was waited.
        waited: Duration,
        /// The last thing seen while waiting, empty when there is nothing to show.
        last_seen: String,
    },
    /// A program ended with something else than success.
    #[error("on {node}: `{command}` ended with {status}{}", detail(.output))]
    CommandFailed {
        /// Where it ran.
        node: String,
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: String,
        /// Its standard output and standard error.
        output: String,
    },
    /// Daemons logged ERROR or WARN lines that nobody expected.
    #[error("complaints in the daemons' logs that the test does not expect:\n{0}")]
    Complaints(String),
    /// The lab did not come up, or died.
    #[error("the lab {0}")]
    Lab(String),
    /// Something to be measured was not.
    #[error("not everything was measured:\n{0}")]
    Bench(String),
    /// Debian packages that a peer of the benchmark needs are not there and cannot be installed.
    #[error(
        "cannot install {packages}: apt-get install {packages} by hand, or leave it out of --peers; apt-get said:\n{said}"
    )]
    Packages {
        /// Their names.
        packages: String,
        /// The end of what was said meanwhile.
        said: String,
    },
    /// A peer of the benchmark did not start, or failed at the work.
    #[error("{error}\nthe ends of its logs:\n{logs}\nto go on without it, leave it out of --peers")]
    Peer {
        /// What went wrong.
        error: Box<LabError>,
        /// The last lines that its daemons logged.
        logs: String,
    },
    /// An answer of Slurm could not be read.
    #[error("slurm: {0}")]
    Slurm(String),
}

fn detail(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("; seen:\n{}", text.trim_end()) }
}

/// Names what was attempted beside an I/O error.
pub trait Context<T> {
    /// Turns an I/O error into [`LabError::Io`] with `what` in front.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<std::io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io { what: what(), source: source.into() })
    }
}
