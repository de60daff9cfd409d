//! A real Slurm on the nodes of a lab: `munged` everywhere, `slurmctld` on `ctl`, `slurmd` on the compute nodes.
//!
//! Every daemon runs in the foreground as a child of this process, so killing one is exact.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use crate::error::{Context, LabError};
use crate::lab::{CONTROLLER, Lab};
use crate::node::{Node, NodeCommand, User};
use crate::process::Daemon;
pub use crate::slurm_config::SlurmSettings;
use crate::slurm_config::slurm_conf;
use crate::{paths, wait};

const UP: Duration = Duration::from_secs(90);
const ASK: Duration = Duration::from_secs(30);
/// Programs of Slurm the lab runs, with their Debian packages.
const PROGRAMS: [(&str, &str); 4] =
    [("munged", "munge"), ("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sbatch", "slurm-client")];

/// A running Slurm.
pub struct Slurm {
    controller: Node,
    nodes: Vec<String>,
    daemons: BTreeMap<String, Daemon>,
    munge: User,
}

impl Slurm {
    /// Configures and starts Slurm on the lab's `ctl` and `n…` nodes; all nodes are idle when this returns.
    pub fn start(lab: &Lab, settings: &SlurmSettings) -> Result<Self, LabError> {
        for (program, package) in PROGRAMS {
            paths::require(program, package)?;
        }
        let nodes: Vec<String> = lab.names().into_iter().filter(|name| is_compute(name)).collect();
        let munge = User::system("munge")?;
        write_config(lab, settings, &nodes)?;
        write_munge_key(lab, &munge)?;
        let mut slurm = Slurm { controller: lab.node(CONTROLLER), nodes, daemons: BTreeMap::new(), munge };
        let all: Vec<Node> = slurm.nodes.iter().map(|name| lab.node(name)).chain([lab.node(CONTROLLER)]).collect();
        all.iter().try_for_each(|node| slurm.run_munged(node))?;
        all.iter().try_for_each(|node| slurm.await_munged(node))?;
        let controller = slurm.controller.clone();
        slurm.launch(&controller, "slurmctld", |node| Ok(node.command("slurmctld").arg("-D")))?;
        for name in slurm.nodes.clone() {
            slurm.run_slurmd(&lab.node(&name))?;
        }
        slurm.wait_idle(UP)?;
        Ok(slurm)
    }

    /// Names of the compute nodes.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// A command of Slurm (or anything else), to be run on the controller as `user`.
    pub fn command(&self, user: &User, program: &str) -> NodeCommand {
        self.controller.command(program).user(user).deadline(ASK)
    }

    /// Submits `script` with `sbatch args…` from the user's home; the result is the job's id.
    pub fn submit(&self, user: &User, script: &str, args: &[&str]) -> Result<u32, LabError> {
        let said = self.command(user, "sbatch").arg("--parsable").args(args).input(script).run()?;
        let id = said.trim().split(';').next().unwrap_or_default();
        id.parse().map_err(|_| LabError::Slurm(format!("sbatch answered {said:?} where a job id was expected")))
    }

    /// What Slurm knows about a job.
    pub fn job(&self, id: u32) -> Result<Job, LabError> {
        let text = self.command(&User::root(), "scontrol").args(["show", "job"]).arg(id.to_string()).run()?;
        Ok(Job::parse(&text))
    }

    /// Waits until `wanted` says yes about the job.
    pub fn wait_job(
        &self,
        id: u32,
        what: &str,
        deadline: Duration,
        wanted: impl Fn(&Job) -> bool,
    ) -> Result<Job, LabError> {
        wait::until(&format!("job {id} {what}"), deadline, || {
            let job = self.job(id)?;
            Ok(if wanted(&job) { wait::Seen::Yes(job) } else { wait::Seen::NotYet(job.text) })
        })
    }

    /// Waits until the job is over, its nodes given back.
    pub fn wait_job_end(&self, id: u32, deadline: Duration) -> Result<Job, LabError> {
        self.wait_job(id, "is over", deadline, Job::is_over)
    }

    /// Names and reasons of nodes that are drained, failed or down.
    pub fn drained_nodes(&self) -> Result<Vec<(String, String)>, LabError> {
        let table = self.command(&User::root(), "sinfo").args(["-h", "-N", "-o", "%N|%T|%E"]).run()?;
        let fields = |line: &str| line.splitn(3, '|').map(str::to_owned).collect::<Vec<_>>();
        let bad = |state: &str| ["drain", "down", "fail"].iter().any(|word| state.contains(word));
        let rows = table.lines().map(fields).filter(|row| row.len() == 3 && bad(&row[1]));
        Ok(rows.map(|row| (row[0].clone(), format!("{}: {}", row[1], row[2]))).collect())
    }

    /// Waits until all compute nodes are idle.
    pub fn wait_idle(&self, deadline: Duration) -> Result<(), LabError> {
        wait::until("all compute nodes are idle", deadline, || {
            for daemon in self.daemons.values() {
                daemon.wait_ready(Duration::ZERO, || daemon.runs().unwrap_or(false))?;
            }
            let seen = self.command(&User::root(), "sinfo").args(["-h", "-N", "-o", "%N %T"]).output()?.stdout;
            let idle = seen.lines().filter(|line| line.ends_with(" idle")).count();
            Ok(if idle == self.nodes.len() { wait::Seen::Yes(()) } else { wait::Seen::NotYet(seen) })
        })
    }

    /// The controller's daemon, to be killed and restarted.
    pub fn slurmctld(&mut self) -> &mut Daemon {
        self.daemons.get_mut("ctl/slurmctld").expect("started with the cluster")
    }

    /// The daemon of compute node `name`, to be killed and restarted.
    pub fn slurmd(&mut self, name: &str) -> &mut Daemon {
        self.daemons.get_mut(&format!("{name}/slurmd")).expect("the name is one of Slurm::nodes")
    }

    /// Cuts the power of a compute node.
    pub fn power_fail(&mut self, lab: &Lab, name: &str) -> Result<(), LabError> {
        lab.power_fail(name)?;
        self.daemons.retain(|key, _| key.split('/').next() != Some(name));
        Ok(())
    }

    /// Boots a compute node after [`Self::power_fail`] and starts its daemons.
    pub fn boot(&mut self, lab: &Lab, name: &str) -> Result<(), LabError> {
        lab.boot(name)?;
        let node = lab.node(name);
        self.run_munged(&node)?;
        self.await_munged(&node)?;
        self.run_slurmd(&node)
    }

    fn run_slurmd(&mut self, node: &Node) -> Result<(), LabError> {
        // A node that was shut down and one whose power failed come back the same way: with what their disk holds.
        self.launch(node, "slurmd", |node| Ok(node.command("slurmd").arg("-D")))
    }

    fn run_munged(&mut self, node: &Node) -> Result<(), LabError> {
        let munge = self.munge.clone();
        self.launch(node, "munged", move |node| {
            let paths = [("key-file", "/etc/slurm/munge/munge.key"), ("socket", "/run/munge/munge.socket.2")];
            let own = [("pid-file", "/run/munge/munged.pid"), ("seed-file", "/run/munge/munged.seed")];
            let args = paths.iter().chain(&own).map(|(key, value)| format!("--{key}={value}"));
            Ok(node.command("munged").user(&munge).args(["--foreground", "--num-threads=4"]).args(args))
        })
    }

    fn await_munged(&self, node: &Node) -> Result<(), LabError> {
        let daemon = &self.daemons[&format!("{}/munged", node.name())];
        daemon.wait_ready(ASK, || {
            let probe = node.command("munge").args(["-n", "-o", "/dev/null"]).output();
            probe.is_ok_and(|output| output.status.success())
        })
    }

    fn launch(
        &mut self,
        node: &Node,
        program: &str,
        recipe: impl Fn(&Node) -> Result<NodeCommand, LabError> + Send + Sync + 'static,
    ) -> Result<(), LabError> {
        let daemon = Daemon::start(node, program, recipe)?;
        self.daemons.insert(format!("{}/{program}", node.name()), daemon);
        Ok(())
    }
}

fn is_compute(name: &str) -> bool {
    name.strip_prefix('n').is_some_and(|number| number.parse::<u32>().is_ok())
}

fn write_config(lab: &Lab, settings: &SlurmSettings, nodes: &[String]) -> Result<(), LabError> {
    let address = lab.node(CONTROLLER).address().to_string();
    let mut files = settings.files.clone();
    files.push(("slurm.conf".to_owned(), slurm_conf(settings, CONTROLLER, &address, nodes)));
    // A file without any line makes every command complain.
    files.push(("plugstack.conf".to_owned(), format!("# SPANK plugins\n{}", settings.plugstack)));
    files.extend(settings.job_submit_lua.iter().map(|text| ("job_submit.lua".to_owned(), text.clone())));
    for (name, text) in files {
        let path = lab.slurm_dir().join(name);
        let dir = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, text))
            .context(|| format!("write {}", path.display()))?;
    }
    for (name, program) in nodes.iter().map(|name| (name.as_str(), "slurmd")).chain([(CONTROLLER, "slurmctld")]) {
        let dir = lab.node(name).disk().join(program);
        fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
    }
    Ok(())
}

fn write_munge_key(lab: &Lab, munge: &User) -> Result<(), LabError> {
    let dir = lab.slurm_dir().join("munge");
    let key = dir.join("munge.key");
    let own = |path: &std::path::Path, mode| {
        chown(path, Some(munge.uid), Some(munge.gid))?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    let write = || {
        let mut bytes = vec![0; 128];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        fs::create_dir_all(&dir)?;
        fs::write(&key, bytes)?;
        own(&key, 0o400)?;
        own(&dir, 0o700)
    };
    write().context(|| format!("write {}", key.display()))
}

/// What `scontrol show job` says.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Fields by name (`JobState`, `Reason`, `NodeList`, `AdminComment`, …).
    pub fields: BTreeMap<String, String>,
    /// The text they were read from.
    pub text: String,
}

impl Job {
    /// Fields that have a line of their own, and values with spaces.
    const OWN_LINE: [&str; 8] =
        ["AdminComment", "Comment", "SystemComment", "Command", "WorkDir", "StdErr", "StdIn", "StdOut"];

    pub(crate) fn parse(text: &str) -> Self {
        let mut fields = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            match line.split_once('=') {
                Some((name, value)) if Self::OWN_LINE.contains(&name) => {
                    fields.insert(name.to_owned(), value.to_owned());
                }
                _ => Self::parse_words(line, &mut fields),
            }
        }
        Job { fields, text: text.to_owned() }
    }

    fn parse_words(line: &str, fields: &mut BTreeMap<String, String>) {
        let mut last = None;
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    fields.insert(name.to_owned(), value.to_owned());
                    last = Some(name.to_owned());
                }
                // A value with spaces goes on until the next name.
                _ => {
                    if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                        *value = format!("{value} {word}");
                    }
                }
            }
        }
    }

    /// A field, empty when Slurm does not show it.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// `PENDING`, `RUNNING`, `COMPLETED`, …
    pub fn state(&self) -> &str {
        self.field("JobState")
    }

    /// Why it is pending or failed.
    pub fn reason(&self) -> &str {
        self.field("Reason")
    }

    /// Whether it neither waits, runs nor completes.
    pub fn is_over(&self) -> bool {
        let live = ["PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "REQUEUED", ""];
        !live.contains(&self.state())
    }
}

#[cfg(test)]
#[path = "slurm_tests.rs"]
mod tests;
