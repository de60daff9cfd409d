//! The first process of the hub and of each node: builds the mounts, then reaps orphans until it is killed.
//!
//! A node sees this machine's `/` with its own `/proc`, `/run`, `/tmp`, `/var/tmp`, `/mnt`, `/dev/shm` (tmpfs), its own
//! `/etc` (an overlay: a bind of single files would be detached by the kernel whenever the machine renames a new file into
//! place), `/usr/sbin` (an overlay with our mount program), `/home` and `/run/lab` (see [`crate::paths`]). Readiness is one byte on standard output.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Context, LabError};
use crate::node::User;
use crate::spec::{self, NodeSpec};

const NO_DATA: Option<&str> = None;

/// First process of the hub: owns the network that joins the nodes, and with its death everything ends.
pub fn hub(state: &Path) -> Result<(), LabError> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context(|| "make the hub's namespaces".to_owned())?;
    private_mounts()?;
    drop_foreign_mounts(&[state.to_owned(), crate::paths::build_dir()]);
    tell_ready()?;
    reap(true)
}

/// Parent of a node's first process: makes the node's namespaces and ends with it.
pub fn node_parent(state: &Path, name: &str) -> Result<(), LabError> {
    // Ids of mount namespaces come from batches per CPU, and the kernel refuses to bind a namespace "older" than its parent:
    // on one CPU the order is right, whatever CPU the hub was made on. The node itself runs on all of them again.
    let all = sched_getaffinity(Pid::from_raw(0)).context(|| "read the CPU set".to_owned())?;
    let first = (0..CpuSet::count()).find(|&cpu| all.is_set(cpu).unwrap_or(false)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first).context(|| "choose a CPU".to_owned())?;
    sched_setaffinity(Pid::from_raw(0), &one).context(|| "pin to one CPU".to_owned())?;
    let flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).context(|| "make the node's namespaces".to_owned())?;
    sched_setaffinity(Pid::from_raw(0), &all).context(|| "unpin".to_owned())?;
    let status = Command::new("/proc/self/exe")
        .args([OsStr::new("__node-init"), state.as_os_str(), OsStr::new(name)])
        .stdin(Stdio::null())
        .status()
        .context(|| format!("start {name}"))?;
    Err(LabError::Lab(format!("node {name} ended ({status})")))
}

/// First process of a node.
pub fn node(state: &Path, name: &str) -> Result<(), LabError> {
    let dir = spec::node_dir(state, name);
    let node: NodeSpec = spec::read(&dir.join("spec.json"))?;
    private_mounts()?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NO_DATA).context(|| "mount /proc".to_owned())?;
    nix::unistd::sethostname(name).context(|| "set the host name".to_owned())?;
    let run = stage_run(&node, &dir)?;
    let home = node.state.join("home");
    bind(&home, Path::new("/home"))?;
    etc(&node, &dir)?;
    sbin(&dir)?;
    for (target, mode) in [("/mnt", "755"), ("/tmp", "1777"), ("/dev/shm", "1777")] {
        tmpfs(Path::new(target), mode)?;
    }
    mount(Some(&run), "/run", NO_DATA, MsFlags::MS_MOVE, NO_DATA).context(|| "move /run into place".to_owned())?;
    // Last: the lab's own state folder lies below it.
    tmpfs(Path::new(spec::STATE_PARENT), "1777")?;
    tell_ready()?;
    reap(false)
}

fn private_mounts() -> Result<(), LabError> {
    mount(NO_DATA, "/", NO_DATA, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NO_DATA)
        .context(|| "make all mounts private".to_owned())
}

fn tmpfs(target: &Path, mode: &str) -> Result<(), LabError> {
    fs::create_dir_all(target).context(|| format!("make {}", target.display()))?;
    let options = format!("mode={mode}");
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
        .context(|| format!("mount a tmpfs on {}", target.display()))
}

fn bind(source: &Path, target: &Path) -> Result<(), LabError> {
    fs::create_dir_all(target).context(|| format!("make {}", target.display()))?;
    mount(Some(source), target, NO_DATA, MsFlags::MS_BIND | MsFlags::MS_REC, NO_DATA)
        .context(|| format!("bind {} on {}", source.display(), target.display()))
}

/// Builds the node's `/run` aside, because folders to be bound may themselves lie below what it will cover.
fn stage_run(node: &NodeSpec, dir: &Path) -> Result<PathBuf, LabError> {
    let run = dir.join("run");
    tmpfs(&run, "755")?;
    for (name, mode) in [("munge", 0o755), ("slurm", 0o755), ("lock", 0o1777), ("user", 0o755)] {
        let path = run.join(name);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .context(|| format!("make {}", path.display()))?;
    }
    if let Some(munge) = nix::unistd::User::from_name("munge").context(|| "look up munge".to_owned())? {
        chown(run.join("munge"), Some(munge.uid.as_raw()), Some(munge.gid.as_raw()))
            .context(|| "give /run/munge to munge".to_owned())?;
    }
    for (name, source, read_only) in &node.binds {
        let target = run.join("lab").join(name);
        bind(source, &target)?;
        if *read_only {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(NO_DATA, &target, NO_DATA, flags, NO_DATA).context(|| format!("make {name} read-only"))?;
        }
    }
    Ok(run)
}

/// Lays a layer of the node's own over a folder of this machine.
fn overlay(target: &str, layers: &Path) -> Result<(), LabError> {
    tmpfs(layers, "755")?;
    let (upper, work) = (layers.join("upper"), layers.join("work"));
    for path in [&upper, &work] {
        fs::create_dir(path).context(|| format!("make {}", path.display()))?;
    }
    let options = format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .context(|| format!("overlay {target}"))
}

/// `mount -t forebay` looks for `/sbin/mount.forebay`, and nowhere else.
fn sbin(dir: &Path) -> Result<(), LabError> {
    overlay("/usr/sbin", &dir.join("sbin"))?;
    let link = Path::new("/usr/sbin/mount.forebay");
    symlink(Path::new(crate::paths::BIN).join(crate::cluster::CLIENT_PROGRAM), link)
        .context(|| format!("link {}", link.display()))
}

fn etc(node: &NodeSpec, dir: &Path) -> Result<(), LabError> {
    overlay("/etc", &dir.join("etc"))?;
    let hosts = node
        .hosts
        .iter()
        .fold("127.0.0.1 localhost\n".to_owned(), |text, (name, address)| text + &format!("{address} {name}\n"));
    write_etc("hosts", &hosts)?;
    write_etc("fuse.conf", "user_allow_other\n")?;
    let users = [User::alice(), User::bob()];
    add_accounts("passwd", &users, |u| format!("{0}:x:{1}:{2}::{3}:/bin/bash\n", u.name, u.uid, u.gid, u.home))?;
    add_accounts("group", &users, |u| format!("{}:x:{}:\n", u.name, u.gid))?;
    bind(&node.state.join("slurm"), Path::new(crate::paths::SLURM))
}

fn write_etc(name: &str, text: &str) -> Result<(), LabError> {
    let path = Path::new("/etc").join(name);
    fs::write(&path, text).context(|| format!("write {}", path.display()))
}

fn add_accounts(file: &str, users: &[User], line: impl Fn(&User) -> String) -> Result<(), LabError> {
    let old = fs::read_to_string(Path::new("/etc").join(file)).context(|| format!("read /etc/{file}"))?;
    let ours = |line: &&str| users.iter().any(|user| line.split(':').next() == Some(&user.name));
    let mut text: String = old.lines().filter(|line| !ours(line)).map(|line| format!("{line}\n")).collect();
    users.iter().for_each(|user| text += &line(user));
    write_etc(file, &text)
}

/// Lets go of mounts that belong to others: a private copy would keep them busy after this machine unmounts them.
fn drop_foreign_mounts(keep: &[PathBuf]) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines().rev() {
        let Some((point, kind, source)) = mount_fields(line) else { continue };
        let system = ["/proc", "/sys", "/dev"].iter().any(|top| point.starts_with(top));
        let disk = source.starts_with("/dev/") && !point.starts_with("/mnt") && !point.starts_with("/media");
        let needed = point == Path::new("/") || keep.iter().any(|path| path.starts_with(&point));
        if !system && !needed && (!disk || kind.starts_with("fuse")) {
            // A mount that cannot be let go of is only a pinned copy, not a fault of the lab.
            let _ = umount2(&point, MntFlags::MNT_DETACH);
        }
    }
}

/// Mount point, filesystem type and source of a line of mountinfo.
fn mount_fields(line: &str) -> Option<(PathBuf, String, String)> {
    let (front, back) = line.split_once(" - ")?;
    let point = front.split(' ').nth(4)?.replace("\\040", " ");
    let mut back = back.split(' ');
    Some((PathBuf::from(point), back.next()?.to_owned(), back.next()?.to_owned()))
}

fn tell_ready() -> Result<(), LabError> {
    let mut stdout = std::io::stdout();
    stdout.write_all(b"r").and_then(|()| stdout.flush()).context(|| "tell that the node is ready".to_owned())
}

/// Reaps orphans; with `lifeline`, ends when standard input closes.
fn reap(lifeline: bool) -> Result<(), LabError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().context(|| "block SIGCHLD".to_owned())?;
    let signals =
        SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context(|| "signalfd".to_owned())?;
    let stdin = std::io::stdin();
    loop {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if lifeline {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.context(|| "poll".to_owned())?,
        };
        if fds.get(1).and_then(|fd| fd.any()).unwrap_or(false) {
            return Ok(());
        }
        while signals.read_signal().context(|| "read a signal".to_owned())?.is_some() {}
    }
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
