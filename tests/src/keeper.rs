//! The keeper: the one process of a lab outside its namespaces, which ends the lab and removes its files.
//!
//! Protocol: the owner starts `forebay-lab __keeper <id>` in a process group of its own and holds the write end of its
//! standard input, the *lifeline*. The keeper starts the hub's first process, writes the hub's process id and a newline to its
//! standard output, and waits. The lab ends when the lifeline closes (the owner dropped the lab, or died in any way), when the
//! keeper gets SIGTERM, or when the hub dies. The byte `K` on the lifeline detaches the lab: it then outlives its owner.
//! Invariants: the hub's first process ends when the keeper's end of its standard input closes, so killing the keeper ends the
//! lab as well; then only files stay, which the next lab sweeps up.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Context, LabError};
use crate::{spec, wait};

/// How long the hub's processes may take to be gone after SIGKILL.
const HUB_END: Duration = Duration::from_secs(60);
/// The lifeline's byte that lets the lab outlive its owner.
pub const DETACH: u8 = b'K';

/// Runs the keeper of lab `id` until the lab has ended and its files are gone.
pub fn run(id: &str) -> Result<(), LabError> {
    let state = spec::state_dir(id);
    let signals = block_signals()?;
    let mut hub = start_hub(&state)?;
    println!("{}", hub.id());
    std::io::stdout().flush().context(|| "tell the owner".to_owned())?;
    let result = wait_for_end(&signals);
    let ended = end_hub(&mut hub);
    remove(&state)?;
    result.and(ended)
}

fn block_signals() -> Result<SignalFd, LabError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        set.add(signal);
    }
    set.thread_block().context(|| "block signals".to_owned())?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context(|| "signalfd".to_owned())
}

fn start_hub(state: &Path) -> Result<Child, LabError> {
    unshare(CloneFlags::CLONE_NEWPID).context(|| "make a process namespace".to_owned())?;
    let log = File::create(state.join("log/hub.log")).context(|| "open the hub's log".to_owned())?;
    let mut hub = Command::new("/proc/self/exe")
        .args(["__hub".as_ref(), state.as_os_str()])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context(|| "start the hub".to_owned())?;
    let mut ready = [0];
    let mut stdout = hub.stdout.take().expect("the hub's output is piped");
    match stdout.read(&mut ready) {
        Ok(1) => Ok(hub),
        _ => {
            let status = hub.wait().context(|| "wait for the hub".to_owned())?;
            Err(LabError::Lab(format!("hub did not start ({status})")))
        }
    }
}

fn wait_for_end(signals: &SignalFd) -> Result<(), LabError> {
    let mut lifeline = std::io::stdin();
    let mut attached = true;
    loop {
        let stdin = lifeline.as_fd();
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if attached {
            fds.push(PollFd::new(stdin, PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.context(|| "poll".to_owned())?,
        };
        let pending = fds.get(1).and_then(|fd| fd.any()).unwrap_or(false);
        if signals.read_signal().context(|| "read a signal".to_owned())?.is_some() {
            return Ok(());
        }
        if pending {
            let mut byte = [0];
            match lifeline.read(&mut byte).context(|| "read the lifeline".to_owned())? {
                1 if byte[0] == DETACH => attached = false,
                _ => return Ok(()),
            }
        }
    }
}

fn end_hub(hub: &mut Child) -> Result<(), LabError> {
    hub.kill().context(|| "kill the hub".to_owned())?;
    wait::until("the hub's processes are gone", HUB_END, || {
        Ok(match hub.try_wait().context(|| "wait for the hub".to_owned())? {
            Some(status) => wait::Seen::Yes(status.signal()),
            None => wait::Seen::NotYet(String::new()),
        })
    })
    .map(|_| ())
}

/// Removes a lab's files. Its mounts were in namespaces that have ended, so nothing can be mounted below.
pub fn remove(state: &Path) -> Result<(), LabError> {
    match std::fs::remove_dir_all(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", state.display()))
        }
        _ => Ok(()),
    }
}
