//! The environment Slurm gives Prolog and Epilog: no PATH, no HOME, `SLURM_*` and text of users' (`SPANK_*`, ignored).

use crate::hostlist;

/// A variable that Slurm should have set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name} {reason}: is this run by slurmd as Prolog or Epilog?")]
pub struct EnvError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Which attempt of which job, and where: what every hook knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobKey {
    /// Slurm's job id: names the state file. For an array task its own, for a part of a het job the part's.
    pub job: u32,
    /// The job id the view belongs to: as `job`, but the leader's for a part of a het job.
    pub leader: u32,
    /// Which attempt, from 0.
    pub restart: u32,
    /// This node's name as Slurm knows it.
    pub node: String,
}

/// Whose job it is and where it runs: what Prolog must know besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The job's user.
    pub uid: u32,
    /// The job's group.
    pub gid: u32,
    /// All nodes of the job.
    pub nodes: Vec<String>,
}

impl JobKey {
    /// Reads the key through `var`, which looks a variable up.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let job = number(&var, "SLURM_JOB_ID")?;
        let leader = if var("SLURM_HET_JOB_ID").is_some() { number(&var, "SLURM_HET_JOB_ID")? } else { job };
        // Slurm leaves the count out of some hooks of a first attempt.
        let restart =
            if var("SLURM_JOB_RESTART_COUNT").is_some() { number(&var, "SLURM_JOB_RESTART_COUNT")? } else { 0 };
        let node = var("SLURMD_NODENAME").filter(|name| !name.is_empty()).ok_or_else(|| missing("SLURMD_NODENAME"))?;
        Ok(Self { job, leader, restart, node })
    }
}

impl Placement {
    /// Reads the placement through `var`, which looks a variable up.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let (uid, gid) = (number(&var, "SLURM_JOB_UID")?, number(&var, "SLURM_JOB_GID")?);
        // slurmd says SLURM_NODELIST, slurmctld and newer versions say SLURM_JOB_NODELIST.
        let name = if var("SLURM_JOB_NODELIST").is_some() { "SLURM_JOB_NODELIST" } else { "SLURM_NODELIST" };
        let list = var(name).filter(|list| !list.is_empty()).ok_or_else(|| missing(name))?;
        let nodes = hostlist::expand(&list).map_err(|e| EnvError { name, reason: format!("is wrong ({e})") })?;
        Ok(Self { uid, gid, nodes })
    }
}

fn missing(name: &'static str) -> EnvError {
    EnvError { name, reason: "is not set".to_owned() }
}

fn number(var: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<u32, EnvError> {
    let text = var(name).ok_or_else(|| missing(name))?;
    text.parse().map_err(|_| EnvError { name, reason: format!("is {text:?}, not a number") })
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
