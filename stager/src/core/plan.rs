//! From a script's directives to a new record.

use forebay_directive::{Directives, Gate, Notify, Ready, Substitutions, mark};
use forebay_wire::node::FaultClass;
use forebay_wire::stager::Problem;

use crate::core::effect::ScratchDir;
use crate::core::ids::{JobKey, Millis};
use crate::core::policy::Policy;
use crate::core::record::{InputRecord, OutputRecord, OutputState, Record, Stage};
use crate::core::slurm_job::SlurmJob;

/// What marks a job as ours in its admin comment.
pub const MARK: &str = "forebay:";

/// The text of `--forebay=` that the job carries.
#[must_use]
pub fn option_text(job: &SlurmJob) -> &str {
    job.admin_comment.strip_prefix(mark::COMMENT_REQUEST).unwrap_or_default().trim()
}

/// Whether the job was marked when it was submitted.
#[must_use]
pub fn is_marked(job: &SlurmJob) -> bool {
    job.admin_comment.starts_with(MARK)
}

/// A user's error.
#[must_use]
pub fn user_problem(code: &str, text: impl Into<String>, remedy: impl Into<String>) -> Problem {
    let (text, remedy) = (text.into(), remedy.into());
    Problem { code: code.into(), class: FaultClass::User, text, remedy, line: 0, column: 0 }
}

/// Reads the job's directives; `None` where it has none.
pub fn read_directives(script: &str, option: &str) -> Result<Option<Directives>, Problem> {
    match Directives::from_script_and_option(script, option) {
        Ok(directives) if directives.is_empty() => Ok(None),
        Ok(directives) => Ok(Some(directives)),
        Err(error) => Err(Problem {
            code: error.code.to_string(),
            class: FaultClass::User,
            text: error.text,
            remedy: error.remedy,
            line: error.line,
            column: error.column,
        }),
    }
}

/// What `%` substitutions stand for in the job.
#[must_use]
pub fn substitutions(job: &SlurmJob) -> Substitutions {
    Substitutions {
        job: job.job,
        array_job: job.array_job,
        array_task: job.array_task,
        user: if job.user.is_empty() { job.uid.to_string() } else { job.user.clone() },
        job_name: job.name.clone(),
        work_dir: job.work_dir.clone(),
    }
}

fn inputs(directives: &Directives, with: &Substitutions, lazy: bool) -> Result<Vec<InputRecord>, Problem> {
    let one = |input: &forebay_directive::Input| {
        let place = input.source.resolve(with).map_err(expand_problem)?;
        Ok(InputRecord {
            name: input.name.clone(),
            uri: place.to_string(),
            include: input.include.clone(),
            exclude: input.exclude.clone(),
            wait_hot: !lazy && input.ready == Ready::All,
            probed: None,
            dataset: None,
            inode: None,
            imported: None,
            hot: false,
            recalled_bytes: 0,
            dropped: false,
            skipped: None,
        })
    };
    directives.inputs.iter().map(one).collect()
}

fn outputs(directives: &Directives, with: &Substitutions) -> Result<Vec<OutputRecord>, Problem> {
    let one = |output: &forebay_directive::Output| {
        Ok(OutputRecord {
            scratch: output.path.scratch().to_owned(),
            path: output.path.resolve(with).map_err(expand_problem)?,
            uri: output.destination.resolve(with).map_err(expand_problem)?.to_string(),
            when: output.when,
            conflict: output.conflict,
            required: output.required == forebay_directive::Commit::Required,
            marker: output.marker.clone(),
            probed: None,
            state: OutputState::Waiting,
            committed: None,
            problem: None,
        })
    };
    directives.outputs.iter().map(one).collect()
}

fn expand_problem(error: forebay_directive::ExpandError) -> Problem {
    user_problem("E-DIR-VALUE", error.to_string(), "scancel the job, correct the directive and submit again")
}

/// A record for a job with these directives, or with the reason why they cannot be met.
#[must_use]
pub fn new_record(
    key: JobKey,
    job: SlurmJob,
    read: Result<Directives, Problem>,
    now: Millis,
    policy: &Policy,
) -> Record {
    let (directives, mut blocked) = match read {
        Ok(directives) => (directives, None),
        Err(problem) => (Directives::default(), Some(problem)),
    };
    let gate = match directives.options.gate {
        Gate::Auto if policy.lazy_by_default => Gate::Lazy,
        Gate::Auto => Gate::Hold,
        gate => gate,
    };
    let with = substitutions(&job);
    let both = inputs(&directives, &with, gate == Gate::Lazy).and_then(|i| Ok((i, outputs(&directives, &with)?)));
    let (inputs, outputs) = both.unwrap_or_else(|problem| {
        blocked = Some(problem);
        (Vec::new(), Vec::new())
    });
    let kept = directives.scratch.iter().filter_map(|scratch| scratch.keep_s).max();
    let stage = if blocked.is_some() { Stage::New } else { Stage::Resolving };
    // What its user held is released by its user.
    let held = job.held && is_marked(&job) && job.admin_comment != mark::COMMENT_USER_HOLD;
    let mut record = Record {
        key,
        generation: 1,
        round: 0,
        attempt: job.restart,
        next_attempt: None,
        stage,
        since_ms: now,
        history: Vec::new(),
        missing_since_ms: None,
        gate,
        on_error: directives.options.on_error,
        wait_ms: directives.options.wait_s.map_or(policy.hold_max_ms, |s| s.saturating_mul(1000)),
        wait_since_ms: now,
        comments: policy.comments && directives.options.notify == Notify::Comment,
        scratch: directives
            .scratch
            .iter()
            .map(|scratch| ScratchDir { name: scratch.name.clone(), capacity_bytes: scratch.capacity_bytes })
            .collect(),
        keep_s: kept.unwrap_or(forebay_directive::Scratch::DEFAULT_KEEP_S),
        keep_claimed: kept.is_some(),
        inputs,
        outputs,
        view: false,
        view_begun: false,
        restage: false,
        held,
        hold_wanted: false,
        withdrawn: false,
        started: false,
        resumed: false,
        nodes: Vec::new(),
        nodes_read_ms: None,
        ended_ms: None,
        ending: None,
        remove_at_ms: None,
        parked_ms: None,
        blocked,
        retries: Vec::new(),
        comment: (job.admin_comment.clone(), 0),
        attach: String::new(),
        seen: job,
    };
    record.history.push((now, record.phase()));
    record
}
