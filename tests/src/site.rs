//! A whole site in a lab: compute nodes with the filesystem mounted, a Slurm with our hooks, and the stager on `ctl`.
//!
//! Everything that Slurm reads of ours comes out of `forebay-site gen`, from one `site.toml`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, KEY, MOUNT};
use crate::error::{Context, LabError};
use crate::lab::{CONTROLLER, Lab};
use crate::node::{Node, NodeCommand, User, own_program};
use crate::process::Daemon;
use crate::slurm::Slurm;
use crate::slurm_config::SlurmSettings;
use crate::{paths, wait};

/// The site's configuration, on every node.
pub const SITE_FILE: &str = "/etc/forebay/site.toml";
/// Folder of Prolog and Epilog, on every node.
const LIBEXEC: &str = "/etc/slurm/forebay";
const UP: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_secs(30);

/// A running site.
pub struct Site {
    /// Its Slurm.
    pub slurm: Slurm,
    /// Its stager.
    pub stagerd: Daemon,
    controller: Node,
}

impl Site {
    /// Mounts the cluster's filesystem on the lab's compute nodes and starts Slurm and the stager.
    pub fn start(lab: &Lab, cluster: &Cluster) -> Result<Self, LabError> {
        let controller = lab.node(CONTROLLER);
        let text = site_toml(cluster);
        let is_compute = |name: &String| name.starts_with('n');
        let nodes: Vec<Node> = lab.names().iter().filter(|name| is_compute(name)).map(|name| lab.node(name)).collect();
        for node in nodes.iter().chain([&controller]) {
            cluster.equip(node)?;
            configure(node, &text)?;
        }
        install_hooks(lab)?;
        own_program(&controller, "forebay-site")?.args(["check", "--file", SITE_FILE]).run()?;
        nodes.iter().try_for_each(|node| cluster.mount(node))?;
        let generated =
            |what: &str| own_program(&controller, "forebay-site")?.args(["gen", what, "--file", SITE_FILE]).run();
        let settings = SlurmSettings {
            fragment: merged(&generated("slurm.conf")?),
            plugstack: generated("plugstack")?,
            job_submit_lua: Some(generated("job_submit")?),
            files: Vec::new(),
        };
        let slurm = Slurm::start(lab, &settings)?;
        let recipe = |node: &Node| {
            let stagerd = own_program(node, "forebay-stagerd")?.args(["--config", SITE_FILE]);
            Ok(stagerd.env("FOREBAY_LOG", "info"))
        };
        let site = Site { slurm, stagerd: Daemon::start(&controller, "forebay-stagerd", recipe)?, controller };
        site.stagerd_ready()?;
        Ok(site)
    }

    /// Waits until the stager answers.
    pub fn stagerd_ready(&self) -> Result<(), LabError> {
        let answers = || self.job_json(&["status"]).is_ok();
        self.stagerd.wait_ready(UP, answers)
    }

    /// Kills the stager with SIGKILL, starts it again and waits until it answers.
    pub fn crash_stagerd(&mut self) -> Result<(), LabError> {
        self.stagerd.restart()?;
        self.stagerd_ready()
    }

    /// `forebay job args…` on the controller, as `user`.
    pub fn job(&self, user: &User, args: &[&str]) -> Result<NodeCommand, LabError> {
        let forebay = own_program(&self.controller, "forebay")?.args(["--site", SITE_FILE, "job"]);
        Ok(forebay.args(args).user(user).deadline(ASK))
    }

    /// What `forebay job args… --json` answers to root.
    pub fn job_json(&self, args: &[&str]) -> Result<Value, LabError> {
        let said = self.job(&User::root(), args)?.arg("--json").run()?;
        serde_json::from_str(&said).context(|| format!("parse what `forebay job {}` answered: {said}", args.join(" ")))
    }

    /// The stager's view of one job.
    pub fn status(&self, job: u32) -> Result<Value, LabError> {
        let answer = self.job_json(&["status", &job.to_string()])?;
        Ok(find_job(&answer, job).cloned().unwrap_or(answer))
    }

    /// The phase of one job, as in `STAGING`; empty where the stager does not know it.
    pub fn phase(&self, job: u32) -> String {
        let status = self.status(job).unwrap_or_default();
        status["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a job's staging is in one of these phases.
    pub fn wait_phase(&self, job: u32, phases: &[&str], deadline: Duration) -> Result<String, LabError> {
        wait::until(&format!("the staging of job {job} is {}", phases.join(" or ")), deadline, || {
            let seen = self.phase(job);
            Ok(if phases.contains(&seen.as_str()) { wait::Seen::Yes(seen) } else { wait::Seen::NotYet(seen) })
        })
    }

    /// Fails unless no node is drained, failed or down.
    pub fn assert_none_drained(&self) -> Result<(), LabError> {
        let drained = self.slurm.drained_nodes()?;
        if drained.is_empty() { Ok(()) } else { Err(LabError::Slurm(format!("nodes were drained: {drained:?}"))) }
    }
}

/// The entry of a job in an answer that holds one or several.
fn find_job(answer: &Value, job: u32) -> Option<&Value> {
    match answer {
        Value::Array(all) => all.iter().find_map(|one| find_job(one, job)),
        Value::Object(fields) if fields.get("job").and_then(Value::as_u64) == Some(job.into()) => Some(answer),
        Value::Object(fields) => {
            fields.values().filter(|v| v.is_array() || v.is_object()).find_map(|v| find_job(v, job))
        }
        _ => None,
    }
}

fn configure(node: &Node, text: &str) -> Result<(), LabError> {
    node.command("/bin/bash").args(["-euc", "cat >/etc/forebay/site.toml"]).input(text).run()?;
    Ok(())
}

fn site_toml(cluster: &Cluster) -> String {
    let hosts = cluster.addresses().iter().map(|host| format!("{host:?}")).collect::<Vec<_>>().join(", ");
    format!(
        "\
schema = 1
[cluster]
name = \"lab\"
[storage]
hosts = [{hosts}]
filesystem = \"{}\"
key_file = \"{KEY}\"
[store]
journal = \"{}/stagerd\"
[slurm]
poll = \"1s\"
comment_min_interval = \"1s\"
[node]
mount = \"{MOUNT}\"
[stage_in]
backoff = [\"1s\", \"2s\"]
[paths]
libexec = \"{LIBEXEC}\"
spank = \"{}/libspank_forebay.so\"
bin = \"{}\"
",
        cluster.filesystem(),
        paths::DISK,
        paths::BIN,
        paths::BIN,
    )
}

/// Slurm calls the hooks by the names they have where Forebay is installed.
fn install_hooks(lab: &Lab) -> Result<(), LabError> {
    let dir = lab.slurm_dir().join("forebay");
    fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
    for hook in ["prolog", "epilog"] {
        let program = paths::inside(&format!("forebay-{hook}"))?;
        let link = dir.join(hook);
        symlink(&program, &link).context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

/// The generated lines with the lab's own scheduler parameters, which make Slurm quick, merged in: Slurm takes each key once.
fn merged(fragment: &str) -> String {
    const QUICK: &str = "bf_interval=2,sched_interval=2,batch_sched_delay=0";
    let line = |line: &str| match line.strip_prefix("SchedulerParameters=") {
        Some(ours) => format!("SchedulerParameters={ours},{QUICK}\n"),
        None => format!("{line}\n"),
    };
    fragment.lines().map(line).collect()
}

/// Makes a folder of the cold tier that everybody may write to, as this machine sees it.
pub fn cold_folder(cold: &Path, name: &str) -> Result<std::path::PathBuf, LabError> {
    use std::os::unix::fs::PermissionsExt;
    let path = cold.join(name);
    fs::create_dir_all(&path)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)))
        .context(|| format!("make {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
