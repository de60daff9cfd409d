//! Starting the daemon in the background and waiting until it is mounted: what `mount` runs.
//!
//! Protocol: the daemon is given a pipe as its standard output. It writes [`READY`] when it is mounted, or why it is
//! not, and closes the pipe either way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::unistd::{dup2_stdout, setsid};

use crate::daemon::MountRequest;
use crate::{MountError, daemon};

/// What the daemon writes when it is mounted.
const READY: &str = "mounted\n";
/// The option by which it knows that it is to report on its standard output.
const REPORT_OPTION: &str = "--report-on-stdout";
/// How long a daemon may take beyond the timeout of its operations.
const GRACE: Duration = Duration::from_secs(30);

/// Starts this program again as the daemon, with `arguments` after source and mountpoint, and waits.
pub fn start(request: &MountRequest, arguments: &[String]) -> Result<(), MountError> {
    let mountpoint = daemon::check_mountpoint(&request.mountpoint)?;
    let log = &request.options.log;
    let open = OpenOptions::new().create(true).append(true).mode(0o640).open(log);
    let log_failed = |source| MountError::Start {
        what: format!("log {} (mount option log=FILE names another)", log.display()),
        source,
    };
    let no_program = |source| MountError::Start { what: "forebay-client".into(), source };
    let program = std::env::current_exe().map_err(no_program)?;
    let what = program.display().to_string();
    let mut child = Command::new(&program)
        .arg(REPORT_OPTION)
        .arg(&request.source.text)
        .arg(&mountpoint)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(open.map_err(log_failed)?)
        .spawn()
        .map_err(|source| MountError::Start { what: what.clone(), source })?;
    let patience = request.options.timeout + GRACE;
    let report = wait_report(&mut child, patience).map_err(|source| MountError::Start { what, source })?;
    match report {
        Some(text) if text == READY => Ok(()),
        Some(text) if text.trim().is_empty() => {
            let text = format!("forebay-client ended without a word; look into {}", log.display());
            Err(MountError::Daemon { text })
        }
        Some(text) => Err(MountError::Daemon { text: text.trim().into() }),
        None => {
            let (pid, seconds) = (child.id(), patience.as_secs());
            // It has no mount to take down: it was waited for until one would be there.
            let _ = child.kill();
            Err(MountError::Silent { pid, seconds, log: log.clone() })
        }
    }
}

/// What the daemon reports; `None` where it does not in time.
fn wait_report(child: &mut Child, patience: Duration) -> io::Result<Option<String>> {
    let mut pipe = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    let (heard, report) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("report".into()).spawn(move || {
        let mut text = String::new();
        // What is not UTF-8 reads as nothing, which is reported as such.
        let _ = pipe.read_to_string(&mut text);
        let _ = heard.send(text);
    })?;
    Ok(report.recv_timeout(patience).ok())
}

/// In the daemon: leaves the caller's session and control groups, so that neither the end of a login nor the end of a
/// job takes the mount with it.
pub fn detach_from_caller() {
    if let Err(error) = setsid() {
        tracing::info!(%error, "no session of its own");
    }
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for root in groups.lines().filter_map(cgroup_root) {
        if let Err(error) = std::fs::write(root.join("cgroup.procs"), std::process::id().to_string()) {
            tracing::debug!(root = %root.display(), %error, "stays in the caller's control group");
        }
    }
}

/// The top of the hierarchy that a line of `/proc/self/cgroup` is of; `None` where the process is at the top already,
/// or where a service manager has put it: it knows what belongs to what it started.
fn cgroup_root(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let managed = path.split('/').any(|part| part.ends_with(".service") || part.ends_with(".mount"));
    if path == "/" || (managed && !path.contains("slurm")) {
        return None;
    }
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    Some(Path::new("/sys/fs/cgroup").join(name))
}

/// In the daemon: says that it is mounted, and lets go of the pipe.
pub fn report_ready() {
    report(READY);
}

/// In the daemon: says why it is not.
pub fn report_failure(error: &MountError) {
    report(&error.to_string());
}

fn report(text: &str) {
    let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    let closed = File::options().write(true).open("/dev/null").and_then(|null| Ok(dup2_stdout(null)?));
    if let Err(error) = written.and(closed) {
        tracing::warn!(%error, "the caller could not be told");
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
