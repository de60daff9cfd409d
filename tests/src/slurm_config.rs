//! The configuration files of a lab's Slurm: the part that makes it run in namespaces, and the caller's parts.

use std::collections::BTreeSet;

/// What a test or the demo wants of its Slurm.
#[derive(Clone, Debug, Default)]
pub struct SlurmSettings {
    /// Lines of slurm.conf, as `forebay-site gen slurm.conf` prints them. A key set here replaces the lab's own.
    pub fragment: String,
    /// Contents of plugstack.conf.
    pub plugstack: String,
    /// Contents of job_submit.lua; the fragment has to name the plugin.
    pub job_submit_lua: Option<String>,
    /// Further files below `/etc/slurm`: name and contents.
    pub files: Vec<(String, String)>,
}

/// slurm.conf for controller `controller` at `address` and these compute nodes.
pub fn slurm_conf(settings: &SlurmSettings, controller: &str, address: &str, nodes: &[String]) -> String {
    let nodes = nodes.join(",");
    let base = format!(
        "\
ClusterName=lab
SlurmctldHost={controller}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/run/lab/disk/slurmctld
SlurmdSpoolDir=/run/lab/disk/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/run/lab/log/ctl-slurmctld-file.log
SlurmdLogFile=/run/lab/log/%n-slurmd-file.log
SlurmctldDebug=debug
SlurmdDebug=debug
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=5,batch_sched_delay=0
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=30
InactiveLimit=0
KillWait=3
MinJobAge=600
UnkillableStepTimeout=20
TCPTimeout=2
MessageTimeout=10
BatchStartTimeout=20
PrologEpilogTimeout=60
PrologFlags=Alloc,Contain
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
NodeName={nodes} CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"
    );
    let replaced: BTreeSet<String> = settings.fragment.lines().filter_map(key).collect();
    let kept = base.lines().filter(|line| key(line).is_none_or(|key| !replaced.contains(&key)));
    kept.chain(settings.fragment.lines()).map(|line| format!("{line}\n")).collect()
}

/// The key a line sets, in lower case as Slurm compares them.
fn key(line: &str) -> Option<String> {
    let line = line.trim_start();
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| key.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "slurm_config_tests.rs"]
mod tests;
