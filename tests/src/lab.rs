//! A lab: named nodes with their own processes, network, mounts and host name, on one machine, gone without trace at its end.
//!
//! The *hub* is a process namespace that holds all nodes and the bridge between them; killing its first process kills
//! everything. The [`crate::keeper`] does that when the lab is dropped or its owner dies in any way. The owner enters
//! namespaces to run commands, so it needs no agent inside.
//! Invariants: nothing is mounted, linked or configured outside the hub; every child of the owner inside the hub is reaped
//! before the lab is gone, because a process namespace ends only then.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Context, LabError};
use crate::footprint::Footprint;
use crate::keeper;
use crate::logs::Expected;
use crate::node::{Node, NodeChild, User};
use crate::ns::{Namespaces, children_of};
use crate::spec::{self, LabRecord, NodeSpec};
use crate::{paths, wait};

/// The harness's own program.
pub const PROGRAM: &str = "forebay-lab";
/// The node that carries Slurm's controller.
pub const CONTROLLER: &str = "ctl";

const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(90);

/// How many nodes a lab has, and what they see.
#[derive(Default)]
pub struct Builder {
    names: Vec<String>,
    binds: Vec<(String, PathBuf, bool)>,
}

impl Builder {
    /// Adds the controller `ctl` and compute nodes `n1` … `nN` (the nodes only; [`crate::Slurm::start`] starts Slurm on them).
    pub fn slurm_nodes(self, count: u32) -> Self {
        (1..=count).fold(self.node(CONTROLLER), |builder, n| builder.node(&format!("n{n}")))
    }

    /// Adds storage hosts `s1` … `sN`.
    pub fn storage_hosts(self, count: u32) -> Self {
        (1..=count).fold(self, |builder, n| builder.node(&format!("s{n}")))
    }

    /// Adds one node.
    pub fn node(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Makes the folder `source` of this machine visible on all nodes as `/run/lab/<name>`, read-only.
    pub fn bind(mut self, name: &str, source: impl Into<PathBuf>) -> Self {
        self.binds.push((name.to_owned(), source.into(), true));
        self
    }

    /// Starts the lab; it is up when this returns.
    pub fn start(self) -> Result<Lab, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        paths::require("ip", "iproute2")?;
        let program = paths::built(PROGRAM)?;
        sweep();
        let id = new_id();
        let state = spec::state_dir(&id);
        make_state(&state)?;
        let keeper = Keeper::start(&program, &id).inspect_err(|_| {
            // Nothing runs: without a keeper the files are the only thing to take back.
            let _ = keeper::remove(&state);
        })?;
        let record = LabRecord {
            id: id.clone(),
            owner_pid: std::process::id(),
            keeper_pid: keeper.process.id(),
            hub_pid: keeper.hub_pid,
            nodes: BTreeMap::new(),
        };
        let hosts = self.names.iter().zip(0..).map(|(name, place)| (name.clone(), address(place))).collect();
        let mut binds = self.binds;
        binds.push(("bin".to_owned(), paths::build_dir(), true));
        for name in ["shared", "cold", "log"] {
            binds.push((name.to_owned(), state.join(name), false));
        }
        let shared = Shared { record, children: Vec::new() };
        let inner =
            Inner { id, state, program, hosts, binds, expected: Expected::default(), shared: Mutex::new(shared) };
        let lab = Lab { inner: Arc::new(inner), keeper };
        lab.inner.start_hub_network()?;
        lab.inner.boot(&self.names)?;
        Ok(lab)
    }
}

/// A running lab; dropping it ends everything in it.
pub struct Lab {
    inner: Arc<Inner>,
    keeper: Keeper,
}

impl Lab {
    /// A lab to be described.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Name of this lab, unique on this machine.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The node `name`; panics on a name the lab was not built with, which is a mistake in the test.
    pub fn node(&self, name: &str) -> Node {
        assert!(self.inner.address(name).is_some(), "the lab has no node {name}");
        Node::new(self.inner.clone(), name.to_owned())
    }

    /// Names of all nodes, in the order they were added.
    pub fn names(&self) -> Vec<String> {
        self.inner.hosts.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The shared folder, as this machine sees it ([`paths::SHARED`] inside).
    pub fn shared(&self) -> PathBuf {
        self.inner.state.join("shared")
    }

    /// The cold tier's folder, as this machine sees it ([`paths::COLD`] inside).
    pub fn cold(&self) -> PathBuf {
        self.inner.state.join("cold")
    }

    /// The folder of all logs, as this machine sees it ([`paths::LOG`] inside).
    pub fn logs(&self) -> PathBuf {
        self.inner.state.join("log")
    }

    /// The folder that all nodes see as `/etc/slurm`.
    pub fn slurm_dir(&self) -> PathBuf {
        self.inner.state.join("slurm")
    }

    /// Cuts the power of a node: every process and mount of it is gone at once, its disk stays.
    pub fn power_fail(&self, name: &str) -> Result<(), LabError> {
        self.inner.power_fail(name)
    }

    /// Boots a node after [`Self::power_fail`]; its daemons are the caller's to start.
    pub fn boot(&self, name: &str) -> Result<(), LabError> {
        self.inner.boot(&[name.to_owned()])
    }

    /// What has to be gone when this lab has ended.
    pub fn footprint(&self) -> Footprint {
        Footprint::of(&self.inner.lock().record)
    }

    /// What ends the lab from another thread, while this one uses it.
    pub fn stopper(&self) -> Stopper {
        Stopper { inner: self.inner.clone(), keeper_pid: self.keeper.process.id() }
    }

    /// Keeps the logs beside the build outputs, for somebody to look at after the lab's end.
    pub fn save_logs(&self) {
        self.inner.save_logs();
    }

    /// The test provokes complaints (ERROR and WARN lines of our daemons) that hold one of these texts, in
    /// which `*` stands for anything. Any other fails it when the lab is dropped.
    pub fn expect_logged(&self, texts: &[&str]) {
        self.inner.expected.add(texts);
    }

    /// Whatever daemons complain of is no failure.
    pub fn expect_anything_logged(&self) {
        self.inner.expected.add_everything();
    }

    /// Ends the lab and reports what it failed to end.
    pub fn end(mut self) -> Result<(), LabError> {
        let complaints = self.complaints();
        self.keeper.end(&self.inner)?;
        if complaints.is_empty() { Ok(()) } else { Err(LabError::Complaints(complaints)) }
    }

    /// What our daemons complained of, once: keeps the logs when there is anything.
    fn complaints(&self) -> String {
        if self.keeper.over || !self.logs().exists() {
            return String::new();
        }
        let found = self.inner.expected.complaints(&self.logs()).unwrap_or_else(|error| error.to_string());
        if !found.is_empty() {
            self.inner.save_logs();
        }
        found
    }

    /// Waits until somebody else ends the lab (`forebay-lab down`, or a signal to this process, which then does not return).
    pub fn wait_for_end(mut self) -> Result<(), LabError> {
        while self.keeper.process.try_wait().context(|| "wait for the keeper".to_owned())?.is_none() {
            self.inner.reap();
            std::thread::sleep(Duration::from_millis(100));
        }
        self.keeper.end(&self.inner)
    }

    /// Lets the lab outlive this process, which should end soon: commands it has started stay its children, and the lab cannot be
    /// gone before it. `forebay-lab down <id>` ends the lab. The result is the id.
    pub fn detach(mut self) -> Result<String, LabError> {
        self.keeper.detach()?;
        Ok(self.inner.id.clone())
    }
}

/// Ends a lab that somebody else owns. The owner's later calls fail.
pub struct Stopper {
    inner: Arc<Inner>,
    keeper_pid: u32,
}

impl Stopper {
    /// Ends the lab; its files are gone when this returns.
    pub fn stop(&self) -> Result<(), LabError> {
        kill(Pid::from_raw(self.keeper_pid.cast_signed()), Signal::SIGTERM).context(|| "stop the lab".to_owned())?;
        wait::until_true("the lab has ended", END, || {
            self.inner.reap();
            !self.inner.state.exists()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        let complaints = if panicking { String::new() } else { self.complaints() };
        if panicking {
            self.inner.save_logs();
        }
        if let Err(error) = self.keeper.end(&self.inner) {
            eprintln!("lab {}: {error}", self.inner.id);
        }
        assert!(complaints.is_empty(), "{}", LabError::Complaints(complaints));
    }
}

struct Keeper {
    process: Child,
    lifeline: Option<ChildStdin>,
    hub_pid: u32,
    over: bool,
}

impl Keeper {
    fn start(program: &Path, id: &str) -> Result<Self, LabError> {
        let log_path = spec::state_dir(id).join("log/keeper.log");
        let log = File::create(&log_path).context(|| format!("open {}", log_path.display()))?;
        let mut process = Command::new(program)
            .args(["__keeper", id])
            .env(spec::MARK, id)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context(|| format!("start {}", program.display()))?;
        let mut line = String::new();
        let stdout = process.stdout.take().expect("the keeper's output is piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        match (read, line.trim().parse()) {
            (Ok(_), Ok(hub_pid)) => Ok(Keeper { lifeline: process.stdin.take(), process, hub_pid, over: false }),
            _ => {
                let status = process.wait().context(|| "wait for the keeper".to_owned())?;
                let said: String = ["keeper.log", "hub.log"]
                    .map(|log| fs::read_to_string(log_path.with_file_name(log)).unwrap_or_default())
                    .concat();
                Err(LabError::Lab(format!("did not start ({status}): {said}")))
            }
        }
    }

    /// Ends the lab once; later calls do nothing.
    fn end(&mut self, inner: &Inner) -> Result<(), LabError> {
        self.lifeline = None;
        if std::mem::replace(&mut self.over, true) {
            return Ok(());
        }
        let keeper_log = inner.state.join("log/keeper.log");
        let status = wait::until("the lab has ended", END, || {
            inner.reap();
            let ended = self.process.try_wait().context(|| "wait for the keeper".to_owned())?;
            Ok(ended.map_or_else(
                || wait::Seen::NotYet(fs::read_to_string(&keeper_log).unwrap_or_default()),
                wait::Seen::Yes,
            ))
        })?;
        inner.reap();
        if status.success() { Ok(()) } else { Err(LabError::Lab(format!("did not end cleanly ({status})"))) }
    }

    fn detach(&mut self) -> Result<(), LabError> {
        let mut lifeline = self.lifeline.take().expect("a lab is detached once");
        lifeline.write_all(&[keeper::DETACH]).context(|| "detach the lab".to_owned())?;
        self.over = true;
        Ok(())
    }
}

/// What the lab's handles share.
pub(crate) struct Inner {
    id: String,
    state: PathBuf,
    program: PathBuf,
    hosts: Vec<(String, Ipv4Addr)>,
    binds: Vec<(String, PathBuf, bool)>,
    expected: Expected,
    shared: Mutex<Shared>,
}

struct Shared {
    record: LabRecord,
    children: Vec<NodeChild>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.hosts.iter().find(|(host, _)| host == name).map(|&(_, address)| address)
    }

    pub(crate) fn init_pid(&self, name: &str) -> Result<u32, LabError> {
        self.lock().record.nodes.get(name).copied().ok_or_else(|| LabError::NodeDown(name.to_owned()))
    }

    /// Takes note of a child of this process inside the hub, so that its end does not go unnoticed.
    pub(crate) fn watch(&self, child: NodeChild) {
        let mut shared = self.lock();
        shared.children.retain(|child| matches!(child.ended(), Ok(None)));
        shared.children.push(child);
    }

    fn reap(&self) {
        self.lock().children.retain(|child| matches!(child.ended(), Ok(None)));
    }

    /// Keeps the logs of a failed test beside the build outputs.
    fn save_logs(&self) {
        let target = paths::build_dir().join("lab-logs").join(&self.id);
        let copy = || {
            fs::create_dir_all(&target)?;
            for entry in fs::read_dir(self.state.join("log"))?.flatten() {
                fs::copy(entry.path(), target.join(entry.file_name()))?;
            }
            std::io::Result::Ok(())
        };
        match copy() {
            Ok(()) => eprintln!("logs of the lab: {}", target.display()),
            Err(error) => eprintln!("logs of the lab could not be kept in {}: {error}", target.display()),
        }
    }

    fn start_hub_network(&self) -> Result<(), LabError> {
        self.ip(self.lock().record.hub_pid, "link add br0 type bridge\nlink set br0 up\nlink set lo up\n")
    }

    /// Runs a batch of `ip` commands in the network of process `pid`.
    fn ip(&self, pid: u32, batch: &str) -> Result<(), LabError> {
        let namespaces = Namespaces::network_of(pid).context(|| format!("enter the network of process {pid}"))?;
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = namespaces.spawn(&mut command).context(|| "start ip".to_owned())?;
        let stdin = child.stdin.take().expect("piped");
        { stdin }.write_all(batch.as_bytes()).context(|| "write to ip".to_owned())?;
        let output = child.wait_with_output().context(|| "wait for ip".to_owned())?;
        if output.status.success() {
            return Ok(());
        }
        Err(LabError::Lab(format!("network: ip said: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Starts the first processes of these nodes and plugs them into the network.
    fn boot(&self, names: &[String]) -> Result<(), LabError> {
        let hub_pid = self.lock().record.hub_pid;
        let hub = Namespaces::of(hub_pid).context(|| "enter the hub".to_owned())?;
        let parents = names.iter().map(|name| self.spawn_node(&hub, name)).collect::<Result<Vec<_>, _>>()?;
        let (mut links, mut inits) = (String::new(), Vec::new());
        for (name, mut parent) in names.iter().zip(parents) {
            let pid = self.await_node(name, &mut parent)?;
            links += &format!("link add v-{name} type veth peer name eth0 netns {pid}\n");
            links += &format!("link set v-{name} master br0 up\n");
            inits.push((name, pid));
            self.watch(NodeChild::adopt(format!("node {name}"), parent));
        }
        // A bridge port of an earlier boot goes some time after its namespace, when the kernel comes to it.
        wait::until("the nodes' old network links are gone", START, || {
            let old = self.link_names(hub_pid)?;
            let stale: Vec<_> = names.iter().filter(|name| old.contains(&format!("v-{name}"))).collect();
            Ok(if stale.is_empty() { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{stale:?}")) })
        })?;
        self.ip(hub_pid, &links)?;
        for (name, pid) in inits {
            let address = self.address(name).expect("a node is made with its address");
            self.ip(pid, &format!("link set lo up\naddr add {address}/16 dev eth0\nlink set eth0 up\n"))?;
            self.lock().record.nodes.insert(name.clone(), pid);
        }
        spec::write(&self.state.join("lab.json"), &self.lock().record)
    }

    fn link_names(&self, pid: u32) -> Result<Vec<String>, LabError> {
        let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).context(|| "read the hub's links".to_owned())?;
        Ok(table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect())
    }

    fn spawn_node(&self, hub: &Namespaces, name: &str) -> Result<Child, LabError> {
        let dir = spec::node_dir(&self.state, name);
        let disk = dir.join("disk");
        fs::create_dir_all(&disk).context(|| format!("make {}", disk.display()))?;
        let mut binds = self.binds.clone();
        binds.push(("disk".to_owned(), disk, false));
        let node = NodeSpec { name: name.to_owned(), state: self.state.clone(), binds, hosts: self.hosts.clone() };
        spec::write(&dir.join("spec.json"), &node)?;
        let log = File::create(self.state.join(format!("log/{name}-init.log"))).context(|| "open a log".to_owned())?;
        let mut command = Command::new(&self.program);
        command.arg("__node").arg(&self.state).arg(name).env_clear().env(spec::MARK, &self.id).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        hub.spawn(&mut command).context(|| format!("start node {name}"))
    }

    /// Waits until a node's first process is ready; the result is its id on this machine's numbering.
    fn await_node(&self, name: &str, parent: &mut Child) -> Result<u32, LabError> {
        let mut ready = [0];
        let mut stdout = parent.stdout.take().expect("the node's output is piped");
        let read = std::io::Read::read(&mut stdout, &mut ready);
        match (read, children_of(parent.id()).first()) {
            (Ok(1), Some(&pid)) => Ok(pid),
            _ => {
                let _ = parent.wait();
                let said = fs::read_to_string(self.state.join(format!("log/{name}-init.log"))).unwrap_or_default();
                Err(LabError::Lab(format!("node {name} did not start: {said}")))
            }
        }
    }

    fn power_fail(&self, name: &str) -> Result<(), LabError> {
        let pid = self.init_pid(name)?;
        self.lock().record.nodes.remove(name);
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).context(|| format!("kill node {name}"))?;
        wait::until_true(&format!("node {name} is gone"), START, || {
            self.reap();
            !Path::new(&format!("/proc/{pid}")).exists()
        })?;
        spec::write(&self.state.join("lab.json"), &self.lock().record)
    }
}

fn address(place: u16) -> Ipv4Addr {
    let [high, low] = (place + 10).to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}

/// The owner's process id, which [`sweep`] looks at, and something that no earlier lab of the same number had.
fn new_id() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static LABS: AtomicU32 = AtomicU32::new(1);
    let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{:x}.{}", std::process::id(), since_epoch.as_millis(), LABS.fetch_add(1, Ordering::Relaxed))
}

fn make_state(state: &Path) -> Result<(), LabError> {
    let folder = |name: &str, mode: u32| {
        let path = state.join(name);
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .context(|| format!("make {}", path.display()))
    };
    folder("", 0o755)?;
    for name in ["nodes", "slurm", "home"] {
        folder(name, 0o755)?;
    }
    for name in ["shared", "cold", "log"] {
        folder(name, 0o1777)?;
    }
    for user in [User::alice(), User::bob()] {
        let home = format!("home/{}", user.name);
        folder(&home, 0o755)?;
        chown(state.join(&home), Some(user.uid), Some(user.gid)).context(|| format!("give {home} to its user"))?;
    }
    Ok(())
}

/// Removes the files of labs whose owner and keeper were both killed before they could.
fn sweep() {
    let alive = |pid: &str| Path::new("/proc").join(pid).exists();
    for entry in fs::read_dir(spec::STATE_PARENT).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = name.strip_prefix(spec::STATE_PREFIX).and_then(|id| id.split('-').next()) else { continue };
        let record: Option<LabRecord> = spec::read(&entry.path().join("lab.json")).ok();
        let kept = record.is_some_and(|record| alive(&record.keeper_pid.to_string()));
        if !kept && !alive(owner) {
            // Another lab starting at the same time may be sweeping the same folder.
            let _ = keeper::remove(&entry.path());
        }
    }
}
