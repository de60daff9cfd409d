//! On a node, right before a task: give it its variables, or end it with a reason.
//!
//! This is the only hook on a node whose failure fails the job and never drains the node, and the last one that runs
//! as root, who alone may read the job's state.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_hook::{Deadline, StateDir, call, call_fault, hostlist, is_own};
use forebay_wire::node::{Attach, Fault, JobState, NodeReply, NodeRequest};

use crate::dispatch::Refused;
use crate::host::Host;
use crate::options::{Chosen, PluginArgs};
use crate::submit::OUR_ENV;

/// Set in jobs that have directives.
const DIRECTIVES: &str = "FOREBAY_DIRECTIVES";
/// Longest time the daemon may take where Prolog has not asked it.
const ATTACH_BUDGET: Duration = Duration::from_secs(5);

/// Sets the task's variables from the job's state.
///
/// A fault that the daemon stated ends the task. Where Prolog has left no answer of the daemon's, the daemon is asked
/// again when the job asks for Forebay, and no view ends the task; other jobs do not suffer from an outage of ours.
pub fn prepare(host: &mut dyn Host, args: &PluginArgs, chosen: &Chosen) -> Result<(), Refused> {
    let wanted = chosen.strict || chosen.spec.is_some() || has_directives(host);
    let outcome = match state(host, args) {
        Ok(None) if wanted => attach(host, args),
        Ok(None) => Ok(BTreeMap::new()),
        Ok(Some(state)) => judge(host, state, wanted),
        Err(reason) if wanted => Err(no_view(host, &reason)),
        Err(reason) => {
            host.log_error(&format!("forebay: {reason}"));
            Ok(BTreeMap::new())
        }
    };
    let outcome = outcome.and_then(|env| set(host, env, chosen));
    outcome.map_err(|text| {
        // All tasks of a node fail for one reason: the first one tells.
        if host.local_task().unwrap_or(0) == 0 {
            host.tell_user(&text);
        }
        Refused
    })
}

/// The variables for a task, or why it ends.
type Outcome = Result<BTreeMap<String, String>, String>;

/// What a job's state means for its task.
fn judge(host: &dyn Host, state: JobState, wanted: bool) -> Outcome {
    match state.fault {
        Some(fault) => Err(faulty(&fault)),
        None if wanted && state.view.is_empty() => Err(no_view(host, "its state names no view")),
        _ => Ok(state.env),
    }
}

/// Asks the daemon in Prolog's place: Slurm leaves Prolog out when an attempt of a job starts on a node within two
/// minutes of the end of the one before.
fn attach(host: &mut dyn Host, args: &PluginArgs) -> Outcome {
    let (Some(job), Some((uid, gid))) = (host.job_id(), host.owner()) else {
        return Err(no_view(host, "Slurm does not tell whose job it is"));
    };
    let (restart, node) = (host.restart().unwrap_or(0), host.machine());
    let listed = host.getenv("SLURM_JOB_NODELIST").and_then(|list| hostlist::expand(&list).ok());
    let nodes = listed.filter(|nodes| !nodes.is_empty()).unwrap_or_else(|| vec![node.clone()]);
    let deadline = Deadline::start(ATTACH_BUDGET);
    let budget_ms = deadline.daemon_budget_ms();
    let question = Attach { job, restart, uid, gid, node: node.clone(), nodes, budget_ms };
    match call(&args.socket, NodeRequest::Attach(question), deadline) {
        Ok(NodeReply::Attached { view, env }) => {
            let state = JobState { restart, view, env: env.clone(), fault: None };
            // Other tasks would only have to ask again.
            if let Err(error) = StateDir::new(&args.job_dir).write(job, &state) {
                host.log_error(&format!("forebay: {error}"));
            }
            Ok(env)
        }
        Ok(NodeReply::Failed(fault)) => Err(faulty(&fault)),
        Ok(_) => Err(no_view(host, "the node's Forebay client knows no view of it")),
        Err(error) => Err(faulty(&call_fault(&error, &node))),
    }
}

fn set(host: &mut dyn Host, env: BTreeMap<String, String>, chosen: &Chosen) -> Result<(), String> {
    let ours = env.iter().filter(|(name, _)| name.starts_with(OUR_ENV)).map(|(n, v)| (n.as_str(), v.as_str()));
    ours.chain(chosen.spec.is_some().then_some((DIRECTIVES, "1")))
        .try_for_each(|(name, value)| host.setenv(name, value).map_err(|code| not_set(name, code)))
}

fn has_directives(host: &dyn Host) -> bool {
    host.getenv(DIRECTIVES).is_some_and(|value| !value.is_empty() && value != "0")
}

/// The daemon's answer for this attempt. That for an earlier one is none, as is a fault of Prolog's own, who then had
/// no answer either. A later attempt than Slurm tells is ours: Slurm 22.05 always tells 0 here, and Prolog knows.
fn state(host: &dyn Host, args: &PluginArgs) -> Result<Option<JobState>, String> {
    let job = host.job_id().ok_or("Slurm does not tell the job's id")?;
    let restart = host.restart().unwrap_or(0);
    let state = StateDir::new(&args.job_dir).read(job).map_err(|error| error.to_string())?;
    let answered = |state: &JobState| !state.fault.as_ref().is_some_and(is_own);
    Ok(state.filter(|state| state.restart >= restart && answered(state)))
}

fn faulty(fault: &Fault) -> String {
    format!("forebay: {}: {}", fault.code, fault.text)
}

fn not_set(name: &str, code: i32) -> String {
    format!("forebay: E-JOB-ENV: Slurm does not take variable {name} (error {code}). Tell your site.")
}

fn no_view(host: &dyn Host, reason: &str) -> String {
    let (job, node) = (host.job_id().unwrap_or(0), host.machine());
    format!(
        "forebay: E-JOB-NOVIEW: job {job} asks for its data through Forebay, but node {node} does not have it: {reason}. \
         It is ended, as it would run without its data. Submit it again, with --exclude={node} if it happens there \
         only, and tell your site."
    )
}

#[cfg(test)]
#[path = "task_tests.rs"]
pub mod tests;
