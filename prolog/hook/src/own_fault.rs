//! Faults that a hook states itself, because the daemon could not.
//!
//! They say that Forebay was not reachable, not that the job needs it: whoever raises them must know the latter.

use forebay_wire::node::{Fault, FaultClass};

use crate::call::CallError;
use crate::job::EnvError;

/// Nobody listens on the daemon's socket.
pub const CLIENT_AWAY: &str = "E-CLIENT-AWAY";
/// The daemon did not answer within the budget.
pub const CLIENT_LATE: &str = "E-CLIENT-LATE";
/// The daemon's answer made no sense.
pub const CLIENT_REPLY: &str = "E-CLIENT-REPLY";
/// Slurm gave the hook an environment that it cannot work with.
pub const HOOK_ENV: &str = "E-HOOK-ENV";

/// Whether a fault is a hook's own statement, made without knowing whether the job uses Forebay.
#[must_use]
pub fn is_own(fault: &Fault) -> bool {
    [CLIENT_AWAY, CLIENT_LATE, CLIENT_REPLY, HOOK_ENV].contains(&fault.code.as_str())
}

/// The fault of a question without an answer. It may be shared by many nodes, so it is never the node's.
#[must_use]
pub fn call_fault(error: &CallError, node: &str) -> Fault {
    let code = match error {
        CallError::Away { .. } => CLIENT_AWAY,
        CallError::Late { .. } => CLIENT_LATE,
        CallError::Stranger { .. } | CallError::Broken { .. } | CallError::Garbled { .. } => CLIENT_REPLY,
    };
    infra(code, node, error)
}

/// The fault of an environment that lacks something.
#[must_use]
pub fn env_fault(error: &EnvError, node: &str) -> Fault {
    infra(HOOK_ENV, node, error)
}

fn infra(code: &str, node: &str, error: &dyn std::error::Error) -> Fault {
    let text = format!(
        "Forebay is not available on node {node}: {error}. The job is not at fault: submit it again, \
         with --exclude={node} if it happens there only, and tell your site."
    );
    Fault { class: FaultClass::Infra, code: code.to_owned(), text }
}
