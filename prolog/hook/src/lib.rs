//! What Slurm's hooks on a node share.
//!
//! Job: read the environment Slurm gives a hook ([`JobKey`], [`Placement`]), expand hostlists ([`hostlist`]), ask the
//! node's client daemon one question within a deadline ([`call`]), keep one state file a job ([`StateDir`]), and take
//! settings from the command line and `site.toml` ([`Settings`]).
//!
//! Invariants: nothing a user can set redirects a hook (paths come from the command line and a file of root's, never
//! from the environment); no wait is longer than the hook's budget; no reply, file or list is read without a limit; no
//! thread and no async runtime, because a hook starts and ends within milliseconds. This crate does not know what the
//! daemon does with a question, nor which failure drains a node: that is each hook's own policy.
#![forbid(unsafe_code)]

mod call;
pub mod hostlist;
mod job;
mod own_fault;
mod settings;
mod state;

pub use call::{CallError, Deadline, MAX_REPLY_BYTES, call};
pub use job::{EnvError, JobKey, Placement};
pub use own_fault::{CLIENT_AWAY, CLIENT_LATE, CLIENT_REPLY, HOOK_ENV, call_fault, env_fault, is_own};
pub use settings::{DEFAULT_SITE, Settings, SettingsError};
pub use state::{MAX_STATE_BYTES, StateDir, StateError};
