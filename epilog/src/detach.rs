//! What Epilog does: ask, then remove what Prolog left.

use forebay_hook::{Deadline, JobKey, Settings, StateDir, call};
use forebay_wire::node::{Detach, FaultClass, NodeReply, NodeRequest};

/// What Slurm is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The node may take the next job.
    Done,
    /// This node is broken, proven by its daemon: Slurm drains it.
    Drain,
}

/// Detaches the job that `var` describes.
pub fn run(settings: &Settings, var: impl Fn(&str) -> Option<String>, deadline: Deadline) -> Verdict {
    let key = match JobKey::read(var) {
        Ok(key) => key,
        Err(error) => {
            eprintln!("forebay-epilog: {error}");
            return Verdict::Done;
        }
    };
    let question =
        Detach { job: key.leader, restart: key.restart, node: key.node, budget_ms: deadline.daemon_budget_ms() };
    let verdict = match call(&settings.socket, NodeRequest::Detach(question), deadline) {
        Ok(NodeReply::Detached { .. } | NodeReply::NoView) => Verdict::Done,
        Ok(NodeReply::Failed(fault)) => {
            eprintln!("forebay-epilog: job {}: {}: {}", key.job, fault.code, fault.text);
            if fault.class == FaultClass::Node { Verdict::Drain } else { Verdict::Done }
        }
        Ok(other) => {
            eprintln!("forebay-epilog: job {}: the Forebay client answered a detach with {other:?}", key.job);
            Verdict::Done
        }
        Err(error) => {
            eprintln!("forebay-epilog: job {}: {error}", key.job);
            Verdict::Done
        }
    };
    if let Err(error) = StateDir::new(&settings.job_dir).remove_unless_newer(key.job, key.restart) {
        eprintln!("forebay-epilog: job {}: {error}", key.job);
    }
    verdict
}
