//! A node of a lab, and commands that run on it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Context, LabError};
use crate::lab::Inner;
use crate::ns::Namespaces;
use crate::{paths, spec, wait};

/// Deadline of a command that sets none.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long a killed process may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(20);
/// Search path of commands on a node.
pub const PATH: &str = "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user of the lab's nodes. alice and bob exist only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home folder, shared by all nodes.
    pub home: String,
}

impl User {
    /// The superuser.
    pub fn root() -> Self {
        User { name: "root".to_owned(), uid: 0, gid: 0, home: "/root".to_owned() }
    }

    /// An ordinary user, 2001.
    pub fn alice() -> Self {
        Self::ordinary("alice", 2001)
    }

    /// Another ordinary user, 2002.
    pub fn bob() -> Self {
        Self::ordinary("bob", 2002)
    }

    /// A system account of this machine (such as `munge`).
    pub fn system(name: &str) -> Result<Self, LabError> {
        let found = nix::unistd::User::from_name(name).context(|| format!("look up user {name}"))?;
        let user = found.ok_or_else(|| LabError::Lab(format!("needs the system user {name}: install its package")))?;
        Ok(User { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: "/".to_owned() })
    }

    fn ordinary(name: &str, id: u32) -> Self {
        User { name: name.to_owned(), uid: id, gid: id, home: format!("/home/{name}") }
    }
}

/// A named node of a running lab. Cloning is cheap; the lab's end makes every use fail with a clear error.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    name: String,
}

impl Node {
    pub(crate) fn new(inner: Arc<Inner>, name: String) -> Self {
        Node { inner, name }
    }

    /// The node's host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's address, which all other nodes reach.
    pub fn address(&self) -> Ipv4Addr {
        self.inner.address(&self.name).expect("a node is made with its address")
    }

    /// The node's own disk as this machine sees it (inside it is [`paths::DISK`]); survives a power failure.
    pub fn disk(&self) -> PathBuf {
        spec::node_dir(self.inner.state(), &self.name).join("disk")
    }

    /// The node's `/`, mounts included, as this machine reaches it.
    pub fn root(&self) -> Result<PathBuf, LabError> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.inner.init_pid(&self.name)?)))
    }

    /// Where the log of `program` on this node goes, as this machine sees it.
    pub fn log_path(&self, program: &str) -> PathBuf {
        self.inner.state().join("log").join(format!("{}-{program}.log", self.name))
    }

    /// A command to be run on this node as root, with a clean environment. `program` without a slash is looked up in the build
    /// outputs and the system's folders.
    pub fn command(&self, program: impl AsRef<OsStr>) -> NodeCommand {
        NodeCommand::new(self.clone(), program.as_ref())
    }

    /// Runs `script` in a shell on this node as `user`; the result is its standard output.
    pub fn shell(&self, user: &User, script: &str) -> Result<String, LabError> {
        self.command("/bin/bash").args(["-euc", script]).user(user).run()
    }
}

/// A command line to be run on a node.
pub struct NodeCommand {
    node: Node,
    line: Vec<OsString>,
    command: Command,
    input: Vec<u8>,
    deadline: Duration,
}

/// What a finished command said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl NodeCommand {
    fn new(node: Node, program: &OsStr) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env(spec::MARK, node.inner.id());
        // A Ctrl-C on the terminal is for the lab's owner, who ends the lab in order.
        command.process_group(0);
        let line = vec![program.to_owned()];
        NodeCommand { node, line, command, input: Vec::new(), deadline: COMMAND_DEADLINE }.user(&User::root())
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.line.push(arg.as_ref().to_owned());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, |command, arg| command.arg(arg))
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs it as `user`, in the user's home (root: in `/`).
    pub fn user(mut self, user: &User) -> Self {
        self.command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
        self.command.current_dir(if user.uid == 0 { "/" } else { &user.home });
        if user.uid != 0 {
            self.command.uid(user.uid).gid(user.gid);
        }
        self
    }

    /// Runs it in this folder of the node.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives it these bytes as standard input (default: none).
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How long [`Self::output`] and [`Self::run`] wait before they kill it (default: a minute).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        self.line.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Starts it, with both outputs appended to the file `log` of this machine.
    pub fn spawn(mut self, log: &Path) -> Result<NodeChild, LabError> {
        let open = || File::options().create(true).append(true).open(log);
        let out = open().context(|| format!("open {}", log.display()))?;
        let err = out.try_clone().context(|| format!("open {}", log.display()))?;
        self.start(out.into(), err.into())
    }

    /// Runs it to its end. Ending with an error is not an error here.
    pub fn output(mut self) -> Result<Output, LabError> {
        let spool = || tempfile::tempfile().context(|| "make a temporary file".to_owned());
        let (mut out, mut err) = (spool()?, spool()?);
        let clone = |file: &File| file.try_clone().map(Stdio::from).context(|| "clone a file".to_owned());
        let child = self.start(clone(&out)?, clone(&err)?)?;
        let result = child.wait(self.deadline);
        let (stdout, stderr) = (read_back(&mut out)?, read_back(&mut err)?);
        match result {
            Ok(status) => Ok(Output { status, stdout, stderr }),
            Err(error) => {
                child.kill()?;
                Err(match error {
                    LabError::Deadline { waited, .. } => LabError::Deadline {
                        what: format!("on {}: `{}` has ended", self.node.name, self.line()),
                        waited,
                        last_seen: stdout + &stderr,
                    },
                    other => other,
                })
            }
        }
    }

    /// Runs it to its end; anything but success is an error. The result is its standard output.
    pub fn run(self) -> Result<String, LabError> {
        let (node, command) = (self.node.name.clone(), self.line());
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let status = output.status.to_string();
        Err(LabError::CommandFailed { node, command, status, output: output.stdout + &output.stderr })
    }

    fn start(&mut self, out: Stdio, err: Stdio) -> Result<NodeChild, LabError> {
        let input = if self.input.is_empty() { Stdio::null() } else { spooled(&self.input)?.into() };
        self.command.stdin(input).stdout(out).stderr(err);
        let pid = self.node.inner.init_pid(&self.node.name)?;
        let namespaces = Namespaces::of(pid).context(|| format!("enter {}", self.node.name))?;
        let what = || format!("on {}: start `{}`", self.node.name, self.line.join(OsStr::new(" ")).display());
        let child = namespaces.spawn(&mut self.command).context(what)?;
        let child = NodeChild::adopt(self.line(), child);
        self.node.inner.watch(child.clone());
        Ok(child)
    }
}

fn spooled(bytes: &[u8]) -> Result<File, LabError> {
    let mut file = tempfile::tempfile().context(|| "make a temporary file".to_owned())?;
    file.write_all(bytes).and_then(|()| file.rewind()).context(|| "spool standard input".to_owned())?;
    Ok(file)
}

fn read_back(file: &mut File) -> Result<String, LabError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .context(|| "read a command's output".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A program running on a node. Dropping it does not end it: the lab's end does.
#[derive(Clone)]
pub struct NodeChild {
    line: String,
    child: Arc<Mutex<Child>>,
}

impl NodeChild {
    /// Wraps a process of the harness's own inside the hub.
    pub(crate) fn adopt(line: String, child: Child) -> Self {
        NodeChild { line, child: Arc::new(Mutex::new(child)) }
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Process id on this machine's numbering.
    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Result<Option<ExitStatus>, LabError> {
        self.lock().try_wait().context(|| format!("wait for `{}`", self.line))
    }

    /// Waits until it has ended.
    pub fn wait(&self, deadline: Duration) -> Result<ExitStatus, LabError> {
        wait::until(&format!("`{}` has ended", self.line), deadline, || {
            Ok(self.ended()?.map_or(wait::Seen::NotYet(String::new()), wait::Seen::Yes))
        })
    }

    /// Sends a signal; does nothing when it has already ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let mut child = self.lock();
        if child.try_wait().context(|| format!("wait for `{}`", self.line))?.is_none() {
            kill(Pid::from_raw(child.id().cast_signed()), signal)
                .context(|| format!("send {signal} to `{}`", self.line))?;
        }
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&self) -> Result<ExitStatus, LabError> {
        self.signal(Signal::SIGKILL)?;
        self.wait(KILL_DEADLINE)
    }
}

/// Fails unless the build outputs hold `program`; the command then runs it from [`paths::BIN`].
pub fn own_program(node: &Node, program: &str) -> Result<NodeCommand, LabError> {
    Ok(node.command(paths::inside(program)?))
}
