//! Reading `squeue --json`, from 22.05 (plain values) to the later shapes (`{"set", "infinite", "number"}`, lists of
//! states). Unknown fields are ignored; a job without an id, a user or a known state is left out and counted.

use serde_json::Value;

use crate::core::{SlurmJob, SlurmState};

/// Output that is no job list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON.
    #[error("not JSON: {reason}")]
    Json {
        /// Where and why.
        reason: String,
    },
    /// It has no list of jobs.
    #[error("no list 'jobs'")]
    NoJobs,
    /// Slurm reports errors in it.
    #[error("errors reported: {errors}")]
    Reported {
        /// The errors as JSON.
        errors: String,
    },
    /// Most entries could not be read, so that jobs would look as if they were gone.
    #[error("{unread} of {all} jobs are not understood")]
    Unread {
        /// Entries not understood.
        unread: usize,
        /// All entries.
        all: usize,
    },
}

/// Reads a job list. Any entry that cannot be read spoils the list: a job left out would look as if it were gone.
pub fn parse_jobs(text: &[u8]) -> Result<Vec<SlurmJob>, ParseError> {
    let document: Value = serde_json::from_slice(text).map_err(|e| ParseError::Json { reason: e.to_string() })?;
    if let Some(errors) = document.get("errors").and_then(Value::as_array).filter(|errors| !errors.is_empty()) {
        return Err(ParseError::Reported { errors: Value::from(errors.clone()).to_string() });
    }
    let jobs = document.get("jobs").and_then(Value::as_array).ok_or(ParseError::NoJobs)?;
    let read: Vec<SlurmJob> = jobs.iter().filter_map(job).collect();
    let unread = jobs.len() - read.len();
    if unread > 0 {
        return Err(ParseError::Unread { unread, all: jobs.len() });
    }
    Ok(read)
}

/// A number in any of the shapes Slurm has printed it in.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Object(fields) if fields.get("set").is_some_and(|set| set == &Value::Bool(false)) => None,
        Value::Object(fields) => number(fields.get("number")),
        _ => None,
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The state: flags such as `COMPLETING` come beside the base state, and say more than it.
fn state(value: Option<&Value>) -> Option<SlurmState> {
    let words: Vec<&str> = match value? {
        Value::String(word) => vec![word.as_str()],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let known: Vec<SlurmState> = words.iter().filter_map(|word| SlurmState::from_word(word)).collect();
    let flag = |state| known.contains(&state).then_some(state);
    flag(SlurmState::Completing).or(flag(SlurmState::Configuring)).or(known.first().copied())
}

fn job(value: &Value) -> Option<SlurmJob> {
    let id = |name: &str| number(value.get(name)).and_then(|n| u32::try_from(n).ok());
    let set = |name: &str| id(name).filter(|n| *n != 0);
    let array_job = set("array_job_id");
    let offset = id("het_job_offset").unwrap_or(0);
    Some(SlurmJob {
        job: id("job_id")?,
        submit_s: number(value.get("submit_time"))?,
        restart: id("restart_cnt").unwrap_or(0),
        array_job,
        array_task: array_job.and_then(|_| id("array_task_id")),
        array_pending: text(value.get("array_task_string")),
        het_leader: set("het_job_id").filter(|_| offset != 0 && offset != u32::MAX),
        state: state(value.get("job_state"))?,
        uid: id("user_id")?,
        gid: id("group_id")?,
        user: text(value.get("user_name")),
        name: text(value.get("name")),
        work_dir: text(value.get("current_working_directory")),
        admin_comment: text(value.get("admin_comment")),
        batch: value.get("batch_flag").is_some_and(|flag| flag.as_bool() == Some(true) || flag.as_u64() == Some(1)),
        held: number(value.get("priority")) == Some(0),
        nodes: text(value.get("nodes")),
        reason: text(value.get("state_reason")),
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
