//! Slurm through its own commands: no shell, a deadline, bounded output.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::core::{JobRef, SlurmJob};
use crate::slurm::{Slurm, SlurmError, parse_jobs};

/// Longest time a command may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes of a job list: 100,000 jobs at 4 KiB each.
const JOBS_MAX_BYTES: u64 = 512 << 20;
/// Most bytes of a script; Slurm itself allows 4 MiB.
const SCRIPT_MAX_BYTES: u64 = 8 << 20;
/// Most bytes of messages.
const MESSAGE_MAX_BYTES: u64 = 64 << 10;

/// Slurm's commands on this machine.
#[derive(Clone, Debug)]
pub struct SlurmCommands {
    squeue: PathBuf,
    scontrol: PathBuf,
    conf: PathBuf,
}

struct Output {
    ok: bool,
    stdout: Vec<u8>,
    stderr: String,
}

async fn read_bounded(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(from) = from {
        from.take(most + 1).read_to_end(&mut out).await?;
    }
    Ok(out)
}

impl SlurmCommands {
    /// Commands at these paths, with `SLURM_CONF` set to `conf`.
    #[must_use]
    pub fn new(squeue: PathBuf, scontrol: PathBuf, conf: PathBuf) -> Self {
        Self { squeue, scontrol, conf }
    }

    async fn run(&self, program: &PathBuf, args: &[&str], most: u64) -> Result<Output, SlurmError> {
        let name = program.display().to_string();
        let cannot = |reason: std::io::Error| SlurmError::Program { program: name.clone(), reason: reason.to_string() };
        let mut child = Command::new(program)
            .args(args)
            .env("SLURM_CONF", &self.conf)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let whole = async {
            let (out, err) = tokio::try_join!(read_bounded(stdout, most), read_bounded(stderr, MESSAGE_MAX_BYTES))?;
            if out.len() as u64 > most {
                return Err(std::io::Error::other(format!("more than {most} bytes of output")));
            }
            Ok((child.wait().await?, out, err))
        };
        match tokio::time::timeout(TIMEOUT, whole).await {
            Err(_) => Err(SlurmError::Down { reason: format!("{name} took more than {} s", TIMEOUT.as_secs()) }),
            Ok(Err(error)) => Err(cannot(error)),
            Ok(Ok((status, stdout, stderr))) => {
                let stderr = String::from_utf8_lossy(&stderr).trim().replace('\n', "; ");
                Ok(Output { ok: status.success(), stdout, stderr })
            }
        }
    }

    /// Runs `scontrol` on a job, reading from its messages whose fault a failure is.
    async fn control(&self, job: &str, args: &[&str]) -> Result<(), SlurmError> {
        let output = self.run(&self.scontrol, args, MESSAGE_MAX_BYTES).await?;
        if output.ok {
            return Ok(());
        }
        Err(failure(job, &format!("scontrol {}", args.join(" ")), output.stderr))
    }
}

/// What a message of Slurm's means.
fn failure(job: &str, command: &str, reason: String) -> SlurmError {
    const GONE: [&str; 6] = [
        "Invalid job id",
        "already finished",
        "already completing",
        "Job/step already",
        "no longer pending",
        "Job is pending execution",
    ];
    const DOWN: [&str; 6] =
        ["Unable to contact", "Connection refused", "timed out", "Communication", "Socket", "resolve"];
    let says = |words: &[&str]| words.iter().any(|word| reason.to_lowercase().contains(&word.to_lowercase()));
    if says(&GONE) {
        SlurmError::NotThere { job: job.into(), reason }
    } else if says(&DOWN) {
        SlurmError::Down { reason }
    } else {
        SlurmError::Refused { command: command.into(), reason }
    }
}

#[async_trait]
impl Slurm for SlurmCommands {
    async fn jobs(&self) -> Result<Vec<SlurmJob>, SlurmError> {
        let output = self.run(&self.squeue, &["--json"], JOBS_MAX_BYTES).await?;
        if !output.ok {
            return Err(failure("", "squeue --json", output.stderr));
        }
        parse_jobs(&output.stdout)
            .map_err(|error| SlurmError::Malformed { command: "squeue --json".into(), reason: error.to_string() })
    }

    async fn script(&self, job: u32) -> Result<Option<String>, SlurmError> {
        let job = job.to_string();
        let args = ["write", "batch_script", &job, "-"];
        let output = self.run(&self.scontrol, &args, SCRIPT_MAX_BYTES).await?;
        // scontrol of 22.05 exits with 0 when it has failed, so its messages count.
        if !output.ok || (output.stdout.is_empty() && !output.stderr.is_empty()) {
            return match failure(&job, "scontrol write batch_script", output.stderr) {
                SlurmError::NotThere { .. } => Ok(None),
                error => Err(error),
            };
        }
        Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()).filter(|script| !script.is_empty()))
    }

    async fn release(&self, job: &JobRef) -> Result<(), SlurmError> {
        self.control(&job.0, &["release", &job.0]).await
    }

    async fn hold(&self, job: &JobRef) -> Result<(), SlurmError> {
        self.control(&job.0, &["hold", &job.0]).await
    }

    async fn cancel(&self, job: &JobRef) -> Result<(), SlurmError> {
        // scontrol has no cancel; scancel lies beside it.
        let scancel = self.scontrol.with_file_name("scancel");
        let output = self.run(&scancel, &[&job.0], MESSAGE_MAX_BYTES).await?;
        if output.ok { Ok(()) } else { Err(failure(&job.0, "scancel", output.stderr)) }
    }

    async fn set_admin_comment(&self, job: &JobRef, text: &str) -> Result<(), SlurmError> {
        let (job_id, comment) = (format!("jobid={}", job.0), format!("admincomment={text}"));
        self.control(&job.0, &["update", &job_id, &comment]).await
    }

    async fn split(&self, array: u32, tasks: &[u32], comment: &str) -> Result<(), SlurmError> {
        let list: Vec<String> = tasks.iter().map(u32::to_string).collect();
        let job = format!("{array}_[{}]", list.join(","));
        // Slurm gives a task an entry of its own when something about it alone is changed.
        let comment = format!("admincomment={comment}");
        self.control(&job, &["update", &format!("jobid={job}"), &comment]).await
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
