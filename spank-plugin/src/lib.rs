//! Forebay's SPANK plugin: what Slurm's commands and step daemons load.
//!
//! Job: in `sbatch`, `salloc` and `srun`, offer `--forebay=` and `--forebay-strict` and refuse a directive that is
//! wrong (`submit`); before each task on a node, set the `FOREBAY_*` variables that Prolog left in the job's state
//! file, asking the daemon where Prolog had no answer, or end the task with a reason (`task`). `dispatch` says which
//! of them a call of Slurm's is for.
//!
//! Invariants: one call, one answer, no thread, nothing kept but the options; no panic reaches C; on a node only the
//! hook before a task ever fails, because every other failure would drain the node; a job that asks for data never
//! runs without it (I6). The bindings (`sys`, `numbers`) are written by hand: seven functions and a dozen numbers
//! that have been stable for as long as SPANK has, so that the plugin needs from Slurm's headers nothing but the
//! version. Without headers the crate is empty, see `build.rs`.

#[cfg(any(slurm_headers, test))]
mod dispatch;
#[cfg(all(slurm_headers, not(test)))]
mod exports;
#[cfg(any(slurm_headers, test))]
mod host;
#[cfg(slurm_headers)]
mod numbers;
#[cfg(any(slurm_headers, test))]
mod options;
#[cfg(all(slurm_headers, not(test)))]
mod slurm;
#[cfg(any(slurm_headers, test))]
mod submit;
#[cfg(all(slurm_headers, not(test)))]
mod sys;
#[cfg(any(slurm_headers, test))]
mod task;
