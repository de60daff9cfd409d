//! What Prolog does: ask, then leave the answer for the SPANK plugin.

use std::collections::BTreeMap;

use forebay_hook::{Deadline, EnvError, JobKey, Placement, Settings, StateDir, call, call_fault, env_fault};
use forebay_wire::node::{Attach, Fault, FaultClass, JobState, NodeReply, NodeRequest};

/// What Slurm is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The job may start here; the SPANK plugin deals with what is wrong, if anything.
    Go,
    /// This node is broken, proven by its daemon: Slurm drains it and tries the job elsewhere.
    Drain,
}

/// Attaches the job that `var` describes.
pub fn run(settings: &Settings, var: impl Fn(&str) -> Option<String>, deadline: Deadline) -> Verdict {
    let key = match JobKey::read(&var) {
        Ok(key) => key,
        Err(error) => return without_key(settings, &var, &error),
    };
    let placement = match Placement::read(&var) {
        Ok(placement) => placement,
        Err(error) => {
            leave_fault(settings, key.job, key.restart, env_fault(&error, &key.node));
            return Verdict::Go;
        }
    };
    let question = Attach {
        job: key.leader,
        restart: key.restart,
        uid: placement.uid,
        gid: placement.gid,
        node: key.node.clone(),
        nodes: placement.nodes,
        budget_ms: deadline.daemon_budget_ms(),
    };
    let reply = call(&settings.socket, NodeRequest::Attach(question), deadline);
    match reply {
        Ok(NodeReply::Attached { view, env }) => {
            leave(settings, key.job, &JobState { restart: key.restart, view, env, fault: None });
            Verdict::Go
        }
        Ok(NodeReply::NoView) => {
            // A state of an earlier attempt, or of a job long ago with the same id, would speak for this one.
            if let Err(error) = StateDir::new(&settings.job_dir).remove(key.job) {
                eprintln!("forebay-prolog: job {}: {error}", key.job);
            }
            Verdict::Go
        }
        Ok(NodeReply::Failed(fault)) => {
            let verdict = if fault.class == FaultClass::Node { Verdict::Drain } else { Verdict::Go };
            leave_fault(settings, key.job, key.restart, fault);
            verdict
        }
        Ok(other) => {
            let reason = format!("an attach with {other:?}");
            let error = forebay_hook::CallError::Garbled { socket: settings.socket.clone(), reason };
            leave_fault(settings, key.job, key.restart, call_fault(&error, &key.node));
            Verdict::Go
        }
        Err(error) => {
            leave_fault(settings, key.job, key.restart, call_fault(&error, &key.node));
            Verdict::Go
        }
    }
}

/// Without a usable environment there is nobody to attach; the job hears of it when its id, at least, is known.
fn without_key(settings: &Settings, var: impl Fn(&str) -> Option<String>, error: &EnvError) -> Verdict {
    let number = |name| var(name).and_then(|text| text.parse().ok());
    match number("SLURM_JOB_ID") {
        Some(job) => {
            let node = var("SLURMD_NODENAME").unwrap_or_else(|| "(unnamed)".to_owned());
            leave_fault(settings, job, number("SLURM_JOB_RESTART_COUNT").unwrap_or(0), env_fault(error, &node));
        }
        None => eprintln!("forebay-prolog: {error}"),
    }
    Verdict::Go
}

fn leave_fault(settings: &Settings, job: u32, restart: u32, fault: Fault) {
    eprintln!("forebay-prolog: job {job}: {}: {}", fault.code, fault.text);
    let state = JobState { restart, view: String::new(), env: BTreeMap::new(), fault: Some(fault) };
    leave(settings, job, &state);
}

/// Writes the state. When it cannot be written, an older one must not stay: the plugin then finds none and fails a
/// job that needs its data, which is right, and leaves alone one that does not.
fn leave(settings: &Settings, job: u32, state: &JobState) {
    let dir = StateDir::new(&settings.job_dir);
    if let Err(error) = dir.write(job, state) {
        eprintln!("forebay-prolog: job {job}: {error}");
        if let Err(error) = dir.remove(job) {
            eprintln!("forebay-prolog: job {job}: {error}");
        }
    }
}
