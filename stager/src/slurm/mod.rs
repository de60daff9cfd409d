//! The door to Slurm: its job list, and the few commands the stager gives.
//!
//! Every command is idempotent or harmless when repeated. A controller that is down is a passing condition; a job that
//! Slurm does not know (any more) is an answer, not a failure of ours.

mod command;
mod parse;

pub use command::SlurmCommands;
pub use parse::{ParseError, parse_jobs};

use async_trait::async_trait;

use crate::core::{JobRef, SlurmJob};

/// Why a call to Slurm gave nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlurmError {
    /// The controller cannot be reached or does not answer in time.
    #[error("Slurm's controller does not answer: {reason}")]
    Down {
        /// What was seen.
        reason: String,
    },
    /// Slurm does not know the job, or it is over, or it is in no state for the command.
    #[error("{job}: {reason}")]
    NotThere {
        /// The job, as it was named.
        job: String,
        /// What Slurm said.
        reason: String,
    },
    /// Slurm refuses.
    #[error("{command}: {reason}")]
    Refused {
        /// What was run.
        command: String,
        /// What Slurm said.
        reason: String,
    },
    /// The program could not be run.
    #[error("{program} cannot be run: {reason}; set [slurm] squeue and scontrol in site.toml")]
    Program {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// What Slurm printed is not understood.
    #[error("{command} printed something that is not understood: {reason}")]
    Malformed {
        /// What was run.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Slurm.
#[async_trait]
pub trait Slurm: Send + Sync {
    /// Every job the controller knows, ended ones included as long as it keeps them.
    async fn jobs(&self) -> Result<Vec<SlurmJob>, SlurmError>;
    /// A job's script; `None` where it has none.
    async fn script(&self, job: u32) -> Result<Option<String>, SlurmError>;
    /// Lets a held job start.
    async fn release(&self, job: &JobRef) -> Result<(), SlurmError>;
    /// Keeps a pending job from starting.
    async fn hold(&self, job: &JobRef) -> Result<(), SlurmError>;
    /// Cancels a job.
    async fn cancel(&self, job: &JobRef) -> Result<(), SlurmError>;
    /// Sets a job's admin comment.
    async fn set_admin_comment(&self, job: &JobRef, text: &str) -> Result<(), SlurmError>;
    /// Gives tasks of a pending array job entries of their own, by setting the admin comment they have.
    async fn split(&self, array: u32, tasks: &[u32], comment: &str) -> Result<(), SlurmError>;
}
