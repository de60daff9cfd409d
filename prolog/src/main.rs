//! Slurm's Prolog on a compute node: asks the node's client daemon to attach the job, and leaves the answer in a job
//! state file for the SPANK plugin.
//!
//! Slurm runs it as root, without arguments and without PATH, before the first task of a job on this node; it may run
//! any number of times for one attempt. A Prolog that fails drains its node, so this one fails only when the daemon
//! has proven a fault of this very node. Everything else is written into the state file, where the plugin fails the
//! job and leaves the node alone, and ends with 0. It takes at most the budget (`[node] prolog_budget`, 15 s).
#![forbid(unsafe_code)]

mod attach;

use std::process::ExitCode;
use std::time::Duration;

use forebay_hook::{Deadline, Settings};

const DEFAULT_BUDGET: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let (settings, problems) = Settings::load(std::env::args_os().skip(1), ("node", "prolog_budget"), DEFAULT_BUDGET);
    for problem in problems {
        eprintln!("forebay-prolog: {problem}");
    }
    let deadline = Deadline::start(settings.budget);
    match attach::run(&settings, |name| std::env::var(name).ok(), deadline) {
        attach::Verdict::Go => ExitCode::SUCCESS,
        attach::Verdict::Drain => ExitCode::FAILURE,
    }
}
