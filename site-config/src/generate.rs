//! Configuration for Slurm and systemd, made from a [`SiteConfig`].
//!
//! Everything here is text in, text out; asking the installed Slurm for its version is the caller's work.

mod lua;
mod systemd;

use crate::schema::SiteConfig;
use crate::value::SlurmVersion;

pub use lua::job_submit;
pub use systemd::{Unit, systemd};

/// From this release on Prolog and Epilog have a timeout each.
const SEPARATE_TIMEOUTS: SlurmVersion = SlurmVersion::Release(25, 5);

/// The lines of `slurm.conf` that Forebay needs, for Slurm `version` ([`SlurmVersion::Auto`] counts as the oldest).
#[must_use]
pub fn slurm_conf(config: &SiteConfig, version: SlurmVersion) -> String {
    let version = version.max(SlurmVersion::OLDEST);
    let libexec = config.paths.libexec.display();
    // A hook ends by itself well before Slurm's patience does: Slurm drains the node of a hook it has to kill.
    let prolog_s = (2 * config.node.prolog_budget.0 + 30).max(60);
    let epilog_s = (2 * config.flush.epilog_budget.0 + 30).max(120);
    let timeouts = match version >= SEPARATE_TIMEOUTS {
        true => format!("PrologTimeout={prolog_s}\nEpilogTimeout={epilog_s}"),
        false => format!("PrologEpilogTimeout={}", prolog_s.max(epilog_s)),
    };
    format!(
        "\
# Forebay's part of slurm.conf for Slurm {version}, by `forebay-site gen slurm.conf`: include it from slurm.conf.
# A key that the site sets already has to be merged by hand, lists item by item; Slurm takes each key once.
# slurmctld and every slurmd have to be restarted, `scontrol reconfigure` is not enough.

# Alloc: Prolog runs when nodes are given, not at the first step. Contain: the job's namespaces start after Prolog.
# DeferBatch: the script starts when Prolog has ended on every node, so that no node lacks the job's view.
PrologFlags=Alloc,Contain,DeferBatch
Prolog={libexec}/prolog
Epilog={libexec}/epilog
# Never leave the default, which is to wait for ever.
{timeouts}
# A job whose Prolog fails is queued again and not held.
SchedulerParameters=nohold_on_prolog_fail
# Held jobs go on ageing, so that waiting for data costs no place in the queue.
PriorityFlags=ACCRUE_ALWAYS
# job_submit.lua lies beside slurm.conf: `forebay-site gen job_submit`.
JobSubmitPlugins=lua
JobRequeue=1
"
    )
}

/// The line of `plugstack.conf` that loads the SPANK plugin.
#[must_use]
pub fn plugstack(config: &SiteConfig) -> String {
    format!(
        "\
# Forebay's line of plugstack.conf, by `forebay-site gen plugstack`. It has to be on every host that submits or runs
# jobs. `required`, so that a wrong --forebay= is refused at submission; the plugin never fails a hook that would
# drain a node.
required {}
",
        config.paths.spank.display()
    )
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
