//! Slurm's Epilog on a compute node: asks the node's client daemon to flush the job's dirty data and to end its
//! attachment, and removes the job's state file.
//!
//! Slurm runs it as root, without arguments and without PATH, after the last task of a job on this node: also when
//! Prolog never ran, when nothing is mounted, and once more after the node was booted again. An Epilog that fails
//! drains its node, so this one fails only when the daemon has proven a fault of this very node. What is left undone
//! otherwise, the stager finds and finishes. It takes at most the budget (`[flush] epilog_budget`, 20 s).
#![forbid(unsafe_code)]

mod detach;

use std::process::ExitCode;
use std::time::Duration;

use forebay_hook::{Deadline, Settings};

const DEFAULT_BUDGET: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let (settings, problems) = Settings::load(std::env::args_os().skip(1), ("flush", "epilog_budget"), DEFAULT_BUDGET);
    for problem in problems {
        eprintln!("forebay-epilog: {problem}");
    }
    let deadline = Deadline::start(settings.budget);
    match detach::run(&settings, |name| std::env::var(name).ok(), deadline) {
        detach::Verdict::Done => ExitCode::SUCCESS,
        detach::Verdict::Drain => ExitCode::FAILURE,
    }
}
