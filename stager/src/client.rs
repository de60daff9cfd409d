//! `forebay job …`: blocking calls of the stager's socket, and what is printed.
//!
//! No async runtime and no daemon code is needed to ask. Every call has a deadline. Exit codes are those of the
//! command line: 0 ok, 2 usage, 3 source missing or denied, 4 quota or size, 5 staging failed, 6 out failed, 7 still
//! waiting, 8 stager, filesystem or cold tier away, 9 version mismatch.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_wire::node::FaultClass;
use forebay_wire::stager::{
    CheckReport, JobPhase, JobStatus, Problem, StagerCall, StagerReply, StagerRequest, VERSION, WaitFor,
};
use serde::Serialize;

use crate::core::short_size;
use crate::reached::{Reached, reached};

/// Longest answer, in bytes.
const REPLY_MAX_BYTES: u64 = 256 << 20;
/// Longest time an answer may take, beyond what the request itself waits for.
const PATIENCE: Duration = Duration::from_secs(330);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or whoever did has gone.
    #[error(
        "the stager does not answer on {socket}: {reason}; is forebay-stagerd running? (systemctl status forebay-stagerd)"
    )]
    Away {
        /// The socket.
        socket: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// The answer is not understood.
    #[error("the stager's answer on {socket} is not understood: {reason}; use the same release of Forebay")]
    Malformed {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ClientError {
    /// The documented exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Away { .. } => 8,
            Self::Malformed { .. } => 9,
        }
    }
}

/// What a command prints and exits with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// Exit code.
    pub exit_code: u8,
    /// Text for people; goes to standard error where the stager refused.
    pub text: String,
    /// The answer as JSON, for `--json`.
    pub json: String,
}

/// The stager's socket.
#[derive(Clone, Debug)]
pub struct StagerClient {
    socket: PathBuf,
}

impl StagerClient {
    /// A client of the socket at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { socket: path.into() }
    }

    /// Asks, and waits for the answer.
    pub fn call(&self, request: StagerRequest) -> Result<StagerReply, ClientError> {
        let own_wait = match &request {
            StagerRequest::Wait { timeout_ms, .. } => Duration::from_millis(*timeout_ms),
            _ => Duration::ZERO,
        };
        let line = self.exchange(request, PATIENCE.saturating_add(own_wait)).map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::WouldBlock => "no answer in time".to_owned(),
                _ => error.to_string(),
            };
            ClientError::Away { socket: self.socket.clone(), reason }
        })?;
        serde_json::from_slice(&line)
            .map_err(|error| ClientError::Malformed { socket: self.socket.clone(), reason: error.to_string() })
    }

    fn exchange(&self, request: StagerRequest, patience: Duration) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        let mut call = serde_json::to_vec(&StagerCall { version: VERSION, request })?;
        call.push(b'\n');
        stream.write_all(&call)?;
        let mut line = Vec::new();
        BufReader::new(stream.take(REPLY_MAX_BYTES)).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        Ok(line)
    }

    /// `forebay job check`.
    pub fn check(&self, script: &Path) -> Result<Printed, ClientError> {
        let shown = script.display();
        match std::fs::read_to_string(script) {
            Ok(script) => self.call(StagerRequest::Check { script }).map(|reply| print(&reply, None)),
            Err(error) => {
                let text = format!("{shown} cannot be read: {error}\n");
                let json = serde_json::json!({ "error": text.trim() }).to_string();
                Ok(Printed { exit_code: 2, text, json })
            }
        }
    }

    /// `forebay job status`.
    pub fn status(&self, job: Option<u32>) -> Result<Printed, ClientError> {
        self.call(StagerRequest::Status { job }).map(|reply| print(&reply, None))
    }

    /// `forebay job wait`.
    pub fn wait(&self, job: u32, until: WaitFor, timeout: Duration) -> Result<Printed, ClientError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.call(StagerRequest::Wait { job, until, timeout_ms }).map(|reply| print(&reply, Some(until)))
    }

    /// `forebay job retry`.
    pub fn retry(&self, job: u32) -> Result<Printed, ClientError> {
        self.call(StagerRequest::Retry { job }).map(|reply| print(&reply, None))
    }

    /// `forebay job cancel`.
    pub fn cancel(&self, job: u32) -> Result<Printed, ClientError> {
        self.call(StagerRequest::Cancel { job }).map(|reply| print(&reply, None))
    }

    /// `forebay job report`.
    pub fn report(&self, job: u32) -> Result<Printed, ClientError> {
        self.call(StagerRequest::Report { job }).map(|reply| print(&reply, None))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What an answer prints and exits with; `until` is what was waited for.
#[must_use]
pub fn print(reply: &StagerReply, until: Option<WaitFor>) -> Printed {
    match reply {
        StagerReply::Checked(report) => {
            Printed { exit_code: check_code(report), text: check_text(report), json: json(report) }
        }
        StagerReply::Jobs(jobs) => Printed { exit_code: 0, text: table(jobs), json: json(jobs) },
        StagerReply::Job(job) => {
            Printed { exit_code: until.map_or(0, |until| wait_code(job, until)), text: one(job), json: json(job) }
        }
        StagerReply::Report(report) => Printed { exit_code: 0, text: report.text.clone(), json: json(report) },
        StagerReply::Pong { version } => {
            Printed { exit_code: 0, text: format!("forebay-stagerd {version}\n"), json: json(reply) }
        }
        StagerReply::Refused(refusal) => Printed {
            exit_code: refusal.exit_code,
            text: format!("{} ({})\n", refusal.text, refusal.code),
            json: json(refusal),
        },
    }
}

/// Exit code of waiting.
#[must_use]
pub fn wait_code(job: &JobStatus, until: WaitFor) -> u8 {
    match reached(job, until) {
        Some(Reached::Yes) => 0,
        None => 7,
        Some(Reached::Never) => match job.phase {
            JobPhase::Parked | JobPhase::Done | JobPhase::Closed if until == WaitFor::Out => 6,
            _ => 5,
        },
    }
}

fn problem_code(problem: &Problem) -> u8 {
    let code = problem.code.as_str();
    if code.starts_with("E-DIR") {
        2
    } else if code.ends_with("-QUOTA") || code.ends_with("-SIZE") {
        4
    } else if problem.class == FaultClass::User {
        3
    } else {
        8
    }
}

fn check_code(report: &CheckReport) -> u8 {
    report.problems.iter().map(problem_code).min().unwrap_or(0)
}

fn problem_text(problem: &Problem) -> String {
    let place = match (problem.line, problem.column) {
        (0, _) => String::new(),
        (line, 0) => format!("line {line}: "),
        (line, column) => format!("line {line}, column {column}: "),
    };
    format!("{place}{}; {} ({})", problem.text, problem.remedy, problem.code)
}

fn check_text(report: &CheckReport) -> String {
    let mut out = String::new();
    for input in &report.inputs {
        let size = short_size(input.bytes);
        let _ = writeln!(out, "in   {:<16} {:>8} files {size:>7}  {}", input.name, input.files, input.uri);
    }
    if report.scratch_bytes > 0 {
        let _ = writeln!(out, "scratch {}", short_size(report.scratch_bytes));
    }
    for output in &report.outputs {
        let _ = writeln!(out, "out  {:<16} to {}", output.path, output.uri);
    }
    for problem in &report.problems {
        let _ = writeln!(out, "{}", problem_text(problem));
    }
    if report.problems.is_empty() {
        out.push_str("no problems found\n");
    }
    out
}

fn phase(phase: JobPhase) -> String {
    json(&phase).trim_matches('"').to_owned()
}

fn table(jobs: &[JobStatus]) -> String {
    if let [job] = jobs {
        return one(job);
    }
    if jobs.is_empty() {
        return "no jobs\n".into();
    }
    let mut out = format!("{:>10} {:<16} {:>3} {:<10} {:<12} {}\n", "JOB", "NAME", "ATT", "PHASE", "SLURM", "WHAT");
    for job in jobs {
        let phase = phase(job.phase);
        let _ = writeln!(
            out,
            "{:>10} {:<16} {:>3} {phase:<10} {:<12} {}",
            job.job,
            job.name,
            job.restart + 1,
            job.slurm_state,
            job.comment
        );
    }
    out
}

fn one(job: &JobStatus) -> String {
    let mut out = format!(
        "job {} ({})  attempt {}  {}  Slurm says {}\n{}\n",
        job.job,
        job.name,
        job.restart + 1,
        phase(job.phase),
        job.slurm_state,
        job.comment
    );
    for input in &job.inputs {
        let _ = writeln!(
            out,
            "in   {} {} of {} hot, {} of {} files  {}",
            input.name,
            short_size(input.ready_bytes),
            short_size(input.bytes),
            input.ready_files,
            input.files,
            input.uri
        );
    }
    for output in &job.outputs {
        let state = if output.committed { "committed" } else { "not committed" };
        let (done, files) = (short_size(output.done_bytes), output.done_files);
        let _ = writeln!(out, "out  {} {state}, {done} in {files} files  {}", output.path, output.uri);
        if let Some(problem) = &output.problem {
            let _ = writeln!(out, "     {}", problem_text(problem));
        }
    }
    if let Some(problem) = &job.problem {
        let _ = writeln!(out, "{}", problem_text(problem));
    }
    if let Some(eta) = job.eta_s {
        let _ = writeln!(out, "inputs are expected in {eta} s");
    }
    if !job.view.is_empty() {
        let _ = writeln!(out, "view {}", job.view);
    }
    out
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
