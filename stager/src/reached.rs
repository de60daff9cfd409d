//! Whether a job has come to where somebody waits for it; the daemon and its callers must agree on it.

use forebay_wire::stager::{JobPhase, JobStatus, WaitFor};

/// How waiting for a job ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// It has come to where it was waited for.
    Yes,
    /// It never will without somebody mending something.
    Never,
}

/// Whether a job has reached `until`; `None` while it may still.
#[must_use]
pub fn reached(status: &JobStatus, until: WaitFor) -> Option<Reached> {
    use JobPhase::{
        Admitted, Bound, Cancelling, Closed, Done, Flushing, New, Outgoing, Parked, Ready, Resolving, Running, Sealed,
        Staging, WaitInfra, WaitUser,
    };
    match (status.phase, until) {
        (WaitUser | Cancelling, _) => Some(Reached::Never),
        (New | Resolving | Admitted | Staging | WaitInfra, _) => None,
        (Closed, _) if status.slurm_state == "PENDING" || status.slurm_state == "CANCELLED" => Some(Reached::Never),
        (_, WaitFor::Ready) => Some(Reached::Yes),
        (Ready | Bound | Running | Flushing | Sealed | Outgoing, WaitFor::Out) => None,
        (Parked, WaitFor::Out) => Some(Reached::Never),
        (Done | Closed, WaitFor::Out) => {
            let failed = status.outputs.iter().any(|output| output.problem.is_some() && !output.committed);
            Some(if failed { Reached::Never } else { Reached::Yes })
        }
    }
}
